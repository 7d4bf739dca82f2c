"""`python -m qwen_fetch`."""

import sys

from qwen_fetch.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
