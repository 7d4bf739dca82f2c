"""Edit a picture with the downloaded Qwen/Qwen-Image-Edit, placed where it runs best on this machine. See --help."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # also runs where the package is not installed

from qwen_fetch.cli.edit import main

if __name__ == "__main__":
    sys.exit(main())
