"""A terminal that keeps what it shows: for tests that look at the screen."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pyte

if TYPE_CHECKING:
    import pytest

__all__ = ["Glass"]


class Glass(io.StringIO):
    """A stream that is a terminal of so many columns and rows.

    Args:
        patch: For the size, which the program asks the environment for where a stream has no file.
        columns: At the beginning.
        rows: At the beginning.
        encoding: What it can show.
    """

    def __init__(self, patch: pytest.MonkeyPatch, columns: int = 80, rows: int = 24, encoding: str = "utf-8") -> None:
        super().__init__()
        self._patch = patch
        self._encoding = encoding
        self.written: list[str] = []
        self._open(columns, rows)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        text.encode(self._encoding)
        self.written.append(text)
        self._feed(text)
        return len(text)

    @property
    def lines(self) -> list[str]:
        """What is seen, without empty lines at the end."""
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"

    def resize(self, columns: int, rows: int = 24) -> None:
        """As modern terminals do it: lines that are too long for the new width go on in the next row."""
        lines, first = self.lines, self.screen.cursor.y
        assert self.screen.cursor.x == 0, "where the cursor goes is left to the terminal"
        self._open(columns, rows)
        self._feed("".join(f"{line}\n" for line in lines[:first]))
        row = self.screen.cursor.y
        self._feed("\n".join(lines[first:]))
        self.screen.cursor_position(row + 1, 1)

    def _open(self, columns: int, rows: int) -> None:
        self._patch.setenv("COLUMNS", str(columns))
        self._patch.setenv("LINES", str(rows))
        self.screen = pyte.Screen(columns, rows)
        self.screen.set_mode(pyte.modes.LNM)  # a line feed also returns, as the terminal driver has it

    def _feed(self, text: str) -> None:
        pyte.Stream(self.screen).feed(text)
