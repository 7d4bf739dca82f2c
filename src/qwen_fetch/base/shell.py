"""The environment: what it switches on, and advice in the words of the user's own operating system and shell."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Literal

__all__ = [
    "Tool",
    "is_switched_on",
    "offline_switch",
    "program",
    "quoted",
    "set_variable",
    "shown_path",
    "unset_variable",
]

Tool = Literal["download", "repair", "edit", "this"]

_OFFLINE_SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
# Each command as a script of the checkout, and as it is installed.
_TOOLS = {
    "download": ("download_qwen_edit_hub.py", "qwen-fetch"),
    "repair": ("fix_download.py", "qwen-fetch-repair"),
    "edit": ("edit_image.py", "qwen-fetch-edit"),
}
_SAFE = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
_SAFE_ON_WINDOWS = re.compile(r"[\w@%+=:,./\\-]+", re.ASCII)


def is_switched_on(name: str) -> bool:
    """Whether an environment variable says yes, as the Hub client reads it."""
    return os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}


def offline_switch() -> str:
    """The environment variable that keeps every Hub client offline; empty when none does."""
    return next(filter(is_switched_on, _OFFLINE_SWITCHES), "")


def quoted(word: str) -> str:
    """A word as the shell wants it."""
    if (_SAFE_ON_WINDOWS if os.name == "nt" else _SAFE).fullmatch(word):
        return word
    return f'"{word}"' if os.name == "nt" else "'" + word.replace("'", "'\"'\"'") + "'"


def program(tool: Tool = "download") -> str:
    """How a command is started, in the way in which the user started the one that runs: to be copied as it is."""
    started = Path(sys.argv[0] if sys.argv else "")
    this = next((names for names in _TOOLS.values() if started.name in names), _TOOLS["download"])
    script, installed = this if tool == "this" else _TOOLS[tool]
    if started.name in {known for known, _ in _TOOLS.values()}:
        return f"python {quoted(shown_path(started.with_name(script)))}"
    if started.parts[-2:] == ("qwen_fetch", "__main__.py") and installed == "qwen-fetch":
        return "python -m qwen_fetch"
    if started.stem in {known for _, known in _TOOLS.values()} and len(started.parts) > 1:
        from shutil import which  # noqa: PLC0415 - 5 ms, and seldom needed

        if which(installed) is None:  # in an environment that is not on the path
            return quoted(str(started.with_name(installed + started.suffix)))
    return installed


def shown_path(path: str | os.PathLike[str]) -> str:
    """A path as it is typed from here: the way there, or where there is none (another drive), all of it."""
    try:
        return os.path.relpath(path)
    except ValueError:
        return str(Path(path).resolve())


def unset_variable(name: str) -> str:
    """The command that forgets an environment variable."""
    if os.name == "nt":
        return f"Remove-Item Env:{name}  (in cmd: set {name}=)"
    return f"set -e {name}" if _is_fish() else f"unset {name}"


def set_variable(name: str, value: str) -> str:
    """The command that sets an environment variable."""
    if os.name == "nt":
        return f"$env:{name} = '{value}'  (in cmd: set {name}={value})"
    return f"set -x {name} {quoted(value)}" if _is_fish() else f"export {name}={quoted(value)}"


def _is_fish() -> bool:
    return os.environ.get("SHELL", "").endswith("fish")
