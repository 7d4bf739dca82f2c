"""Bring a big Hub model through a line that breaks, know what is there, and load it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qwen_fetch.loader import load_pipeline

__all__ = ["load_pipeline"]

__version__ = "0.1.0"

_LAZY = {"load_pipeline": "qwen_fetch.loader"}  # where the public functions live: importing the package stays free


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
