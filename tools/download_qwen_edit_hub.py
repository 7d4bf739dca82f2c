"""Download Qwen/Qwen-Image-Edit into the Hugging Face cache; run it again after any interruption. See --help."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # also runs where the package is not installed

from qwen_fetch.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
