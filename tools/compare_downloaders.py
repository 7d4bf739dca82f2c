"""Measure qwen-fetch beside hf, aria2c, modelscope, wget and curl: same repo, same server, one run. See --help."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # also runs where the package is not installed

from bench.main import main

if __name__ == "__main__":
    sys.exit(main())
