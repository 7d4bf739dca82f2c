"""How events, names, amounts and times are put into words: the same in bars, lines and the summary."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from qwen_fetch.base.door import one_line
from qwen_fetch.base.events import FileDone, Mismatch, Note, Progress, Retry, Started, Switch, Waiting
from qwen_fetch.base.units import size_text, time_text

if TYPE_CHECKING:
    from qwen_fetch.base.events import Event

__all__ = [
    "PHASES",
    "clock_text",
    "home_text",
    "left_text",
    "name_text",
    "progress_line",
    "sentence",
    "shortened",
]

PHASES = {
    "download": "opening connections",
    "listing": "asking the Hub what there is",
    "adopt": "taking over what is here",
    "verify": "comparing digests",
    "link": "putting everything in its place",
    "diagnosis": "finding out what is wrong",
    "files": "looking at the files",
    "components": "building every component",
}
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.\w+")

_WHOLE = {"diffusion_pytorch_model.safetensors", "model.safetensors"}  # the weights of a component in one file


def name_text(path: str, width: int) -> str:
    """A file as people call it: ``transformer 3/9``, ``vae``, or its path, the middle left out if need be."""
    folder, _, name = path.rpartition("/")
    if shard := _SHARD.fullmatch(name):
        path = f"{folder or shard['stem']} {int(shard['number'])}/{int(shard['count'])}"
    elif folder and name in _WHOLE:
        path = folder
    return shortened(path, width)


def shortened(text: str, width: int) -> str:
    """A text in one line of at most `width` characters: its beginning and its end, which tell most."""
    text = one_line(text, 1000)  # before anything is left out: half a secret would not be known as one
    if len(text) <= width:
        return text
    head = max(width - 1, 0) // 2
    tail = max(width - 1 - head, 0)
    return text[:head] + "…" + text[len(text) - tail :]


def home_text(path: str) -> str:
    """A path as people write it: from their home."""
    try:
        home = str(Path.home())
    except RuntimeError:  # a container without one
        return path
    return "~" + path[len(home) :] if len(home) > 1 and path.startswith(home + os.sep) else path


def left_text(seconds: float) -> str:
    """A time left, no more exact than it is known: ``1 h 01``, ``12 min``, ``40 s``."""
    if seconds >= 100 * 3600:
        return f"{seconds / 86_400:.0f} days"
    if seconds >= 3570:
        minutes = round(seconds / 60)
        return f"{minutes // 60} h {minutes % 60:02}"
    if seconds >= 90:
        return f"{seconds / 60:.0f} min"
    return f"{5 * round(seconds / 5)} s" if seconds > 20 else f"{seconds:.0f} s"


def clock_text(seconds: float) -> str:
    """A time that runs: ``00:42``, ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def sentence(event: Event) -> str:
    """What an event says to people; empty for what is shown otherwise."""
    match event:
        case Started():
            left = event.bytes_total - event.bytes_have
            where = "on this machine" if event.bytes_adopt else "here"
            here = f", {size_text(event.bytes_have)} already {where}" if event.bytes_have else ""
            todo = f"{size_text(left)} to fetch" if left else "nothing to fetch"
            return (
                f"{event.repo_id} at {event.revision} ({event.commit[:8]}): {event.files} files, "
                f"{size_text(event.bytes_total)}{here}, {todo}, to {event.folder}"
            )
        case Retry():
            where = f"{event.path} at byte {event.offset:,}: " if event.path else ""
            when = f"next try in {event.wait:.0f} s" if event.wait >= 1 else "trying again"
            return f"{where}{event.reason.rstrip('.')}; {when}"
        case Switch():
            return f"{event.path} goes on over {event.transport.upper()} from byte {event.offset:,}: {event.reason}"
        case Mismatch():
            return (
                f"{event.path} arrived with a wrong digest: {size_text(event.dropped)} thrown away, fetching it again"
            )
        case FileDone():
            return f"{event.path}  {size_text(event.size)}, verified"
        case Waiting():
            return f"Waiting: {event.what}"
        case Note():
            return f"note: {event.text}"
    return ""


def progress_line(event: Progress, rate: float, left: float | None, more: str = "") -> str:
    """Progress in one line of a log."""
    if event.waiting:
        return f"{event.phase}: {event.waiting}"
    if not event.total:
        return f"{event.phase} ..." + (f" {event.done:,} files" if event.done else "")
    parts = [
        f"{event.phase}: {size_text(event.done)} of {size_text(event.total)} ({100 * event.done // event.total} %)",
        f"{size_text(rate)}/s" if rate > 0 else "",
        f"{time_text(left)} left" if left is not None and event.done < event.total else "",
        more,
        "; ".join(f"{name_text(file.path, 40)} {100 * file.done // max(file.size, 1)} %" for file in event.files),
    ]
    return ", ".join(filter(None, parts))
