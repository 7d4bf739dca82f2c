"""Machines that the tests make up."""

import os
from pathlib import Path


def with_gpu(folder: Path) -> str:
    """A PATH with an `nvidia-smi` that knows an RTX 4080."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '0, 15900, NVIDIA GeForce RTX 4080'\n", encoding="utf-8")
    program.chmod(0o755)
    return os.pathsep.join((str(folder), os.environ["PATH"]))
