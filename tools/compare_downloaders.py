"""Measure qwen-fetch beside hf, aria2c, modelscope, wget and curl: same repo, same server, one run. See --help."""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # also runs where the package is not installed

from bench.main import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # either way, what was started is ended too
    sys.exit(main())
