"""Mend a download of Qwen/Qwen-Image-Edit: find what is wrong, fetch only that, verify. See --help."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # also runs where the package is not installed

from qwen_fetch.cli.fix import main

if __name__ == "__main__":
    sys.exit(main())
