"""What the stream in front of the person can show: a cursor that moves, colours, blocks, a bar in the task list."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, TextIO

from qwen_fetch.base.door import clean, draw
from qwen_fetch.base.shell import is_switched_on

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ERASE", "SPINNER", "Terminal", "paint"]

ERASE = "\r\x1b[J"  # from the start of this line to the end of the screen
_CODES = {"red": 31, "green": 32, "yellow": 33, "blue": 34}  # of the terminal's own palette: right on light and dark
_OBEY = 0x0004  # ENABLE_VIRTUAL_TERMINAL_PROCESSING
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_SIGNS = f"━╸─→✓·…{SPINNER}"  # all that is drawn beside letters
_PLAIN = str.maketrans({"→": "->", "✓": "ok", "·": "-", "…": "~"} | dict(zip(SPINNER, "|/-\\" * 3, strict=False)))


@dataclass(frozen=True, slots=True)
class Terminal:
    """What a stream can do.

    Attributes:
        stream: Where to.
        is_terminal: Somebody looks at it.
        moves: The cursor can be moved: lines can be drawn in place.
        colour: Colours are welcome.
        blocks: The encoding has the signs of a bar.
        task_bar: Progress can be shown in the task bar or the tab (OSC 9;4).
    """

    stream: TextIO
    is_terminal: bool
    moves: bool
    colour: bool
    blocks: bool
    task_bar: bool

    @classmethod
    def of(cls, stream: TextIO | None, environment: Mapping[str, str] = os.environ) -> Terminal:
        """Look at a stream, and at what the environment says of it; None: a program without a console has none."""
        stream = stream or io.StringIO()
        is_terminal = not stream.closed and stream.isatty()
        moves = is_terminal and environment.get("TERM") != "dumb" and _obeys_codes(stream)
        # As Python itself reads them: who wants none gets none.
        colour = (moves or bool(environment.get("FORCE_COLOR"))) and not environment.get("NO_COLOR")
        return cls(stream, is_terminal, moves, colour, _can_hold(stream, _SIGNS), moves and _has_task_bar(environment))

    @property
    def wants_bars(self) -> bool:
        """Whether bars are drawn unless somebody says otherwise."""
        return self.moves and not is_switched_on("HF_HUB_DISABLE_PROGRESS_BARS")

    def size(self) -> tuple[int, int]:
        """Columns that can be written to without reaching the edge, where terminals differ; and rows."""
        columns, rows = 0, 0
        with suppress(OSError, ValueError):  # a stream without a file, or closed
            columns, rows = os.get_terminal_size(self.stream.fileno())
        if not columns or not rows:
            fallback = shutil.get_terminal_size()
            columns, rows = columns or fallback.columns, rows or fallback.lines
        return max(columns - 1, 1), rows

    def say(self, text: str, colour: str = "") -> None:
        """Print a text, its first word in a colour.

        Raises:
            OSError: It cannot be written to.
        """
        word, space, rest = clean(self.signs(text)).partition(" ")
        draw(f"{paint(word, colour, wanted=self.colour)}{space}{rest}\n", self.stream)

    def fitted(self, text: str) -> str:
        """A text whose lines end between words, where somebody looks; in a log as it is."""
        if not self.is_terminal:
            return text
        width = self.size()[0]
        lines = (wrap(line, width, subsequent_indent="  ", break_long_words=False) for line in text.splitlines())
        return "\n".join(itertools.chain.from_iterable(lines))

    def signs(self, text: str) -> str:
        """A text in signs that the encoding has."""
        return text if self.blocks else text.translate(_PLAIN)


def paint(text: str, colour: str, *, wanted: bool) -> str:
    """A text in a colour, where colours are wanted."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if wanted and colour else text


def _obeys_codes(stream: TextIO) -> bool:
    """Whether codes are obeyed and not shown: Windows has to be asked for it."""
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415 - only there
        import msvcrt  # noqa: PLC0415

        try:
            console = msvcrt.get_osfhandle(stream.fileno())
        except (OSError, ValueError):  # a stream without a file
            return True
        mode = ctypes.c_ulong()
        windows = ctypes.windll.kernel32
        known = windows.GetConsoleMode(console, ctypes.byref(mode))
        return bool(known and windows.SetConsoleMode(console, mode.value | _OBEY))
    else:  # noqa: RET505 - for a type checker, one of the two is not there
        return True


def _can_hold(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _has_task_bar(environment: Mapping[str, str]) -> bool:
    """Windows Terminal, ConEmu, Ghostty and WezTerm; others take OSC 9 for a notification, and nest badly."""
    if environment.get("TMUX") or environment.get("STY"):
        return False
    named = environment.get("TERM_PROGRAM", "").lower() in {"ghostty", "wezterm"}
    return named or bool(environment.get("WT_SESSION")) or environment.get("ConEmuANSI") == "ON"
