"""The environment: what it switches on, and advice in the words of the user's own operating system and shell."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["is_switched_on", "offline_switch", "quoted", "set_variable", "shown_path", "unset_variable"]

_OFFLINE_SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
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
