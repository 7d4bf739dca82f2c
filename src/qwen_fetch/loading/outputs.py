"""Pictures out: the place is looked at before the first minute, and what was made is never lost or written over."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["check_name", "check_output", "noted", "save"]

_ROOM = 64 << 20  # bytes: more than a PNG of the largest picture takes
_KEY = "qwen-fetch"  # of the PNG's text that holds the settings


def check_name(path: Path) -> None:
    """Whether it is the name of a PNG.

    Raises:
        Problem: (output-refused) It is not.
    """
    if path.suffix.lower() != ".png":
        raise _refused(path, "its name must end with .png, which keeps the settings")


def check_output(path: Path, inputs: Iterable[Path], *, overwrite: bool, count: int = 1) -> None:
    """Whether the picture can be written there, before anything is made.

    Args:
        path: Of the PNG.
        inputs: The pictures that it is made from.
        overwrite: Whether what lies there may be replaced.
        count: How many pictures go to that folder, for the room that they need.

    Raises:
        Problem: (output-unwritable) It cannot; (output-refused) it would replace something.
    """
    if not path.parent.is_dir():
        raise _unwritable(path, f"the folder {path.parent} is not there")
    if path.is_dir():
        raise _refused(path, "it is a folder")
    if path.exists() and not overwrite:
        if any(one.exists() and path.samefile(one) for one in inputs):
            raise _refused(path, "it is the picture that is edited; --overwrite replaces it")
        raise _refused(path, "it is there already; --overwrite replaces it")
    probe = _part(path)
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _unwritable(path, (error.strerror or str(error)).lower()) from None
    if (free := shutil.disk_usage(path.parent).free) < _ROOM * count:
        need = _ROOM * count >> 20
        raise _unwritable(path, f"the disk has {free >> 20} MB free, and {count} pictures may take {need} MB")


def save(picture: Any, path: Path, settings: dict[str, Any]) -> Path:
    """Write the PNG in one step; returns where it is.

    Where it cannot be written any more, the folder for temporary files is better than nothing.

    Raises:
        Problem: (output-unwritable) It cannot be written there either.
    """
    failed: OSError | None = None
    for place in (path, Path(tempfile.gettempdir()) / path.name):
        try:
            _write(picture, place, settings)
        except OSError as error:
            failed = error
        else:
            return place
    raise _unwritable(path, (failed.strerror or str(failed)).lower() if failed else "") from failed


def noted(path: Path) -> dict[str, Any]:
    """The settings that a picture was made with, as `save` noted them; empty: none are in it."""
    from PIL import Image  # noqa: PLC0415 - of the extra `load`

    with suppress(OSError, ValueError, SyntaxError), Image.open(path) as image:
        settings = json.loads(getattr(image, "text", {}).get(_KEY, "{}"))
        return settings if isinstance(settings, dict) else {}
    return {}


def _write(picture: Any, path: Path, settings: dict[str, Any]) -> None:
    from PIL.PngImagePlugin import PngInfo  # noqa: PLC0415 - as above

    info = PngInfo()
    info.add_text("Software", f"qwen-fetch {__version__}")
    info.add_itxt(_KEY, json.dumps(settings, ensure_ascii=False))
    part = _part(path)
    try:
        picture.save(part, format="PNG", pnginfo=info)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}.part")


def _unwritable(path: Path, detail: str) -> Problem:
    return Problem(catalogue.OUTPUT_UNWRITABLE, path=path, detail=detail)


def _refused(path: Path, detail: str) -> Problem:
    return Problem(catalogue.OUTPUT_REFUSED, path=path, detail=detail)
