"""Rows on a terminal: tqdm draws the bars, and this is what it cannot do: whole frames, resizing, text above them.

The cursor rests at the start of the first row. So whatever a terminal does with long lines when its width changes, all
that was drawn is below it and can be erased. A frame is one write: nothing flickers.
"""

from __future__ import annotations

import io
from functools import cache
from threading import RLock
from typing import TYPE_CHECKING, Any

from qwen_fetch.base.door import clean, draw, drawing, one_line, say, while_drawn
from qwen_fetch.cli.terminal import ERASE, paint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tqdm import tqdm

    from qwen_fetch.cli.scene import Row
    from qwen_fetch.cli.terminal import Terminal

__all__ = ["Canvas"]

_BARS = {True: "─╸━", False: "-#"}  # empty, (half,) full: with blocks and without
_STATES = {"": 0, "moving": 1, "waiting": 4}  # of OSC 9;4


class Canvas:
    """A block of rows at the end of what the terminal shows.

    Args:
        terminal: Where to.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._paper = io.StringIO()
        self._bars: list[tqdm[Any]] = []
        self._shown: list[Row] = []
        self._size = terminal.size()
        self._task = ""

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows, as they are now; what was drawn for another size is erased."""
        size = self._terminal.size()
        if size != self._size:
            self.erase()
            self._size = size
        return size

    def draw(self, rows: Sequence[Row]) -> None:
        """Show these rows in place of those before."""
        with drawing:
            while_drawn(self.erase)
            self._draw(rows)

    def _draw(self, rows: Sequence[Row]) -> None:
        while len(self._bars) > len(rows):
            self._bars.pop().close()
            self._shown.pop()
        for place, row in enumerate(rows):
            if place == len(self._bars):
                self._bars.append(self._make(place, row))
                self._shown.append(row)
            elif row != self._shown[place]:
                self._set(self._bars[place], row)
                self._shown[place] = row
        self._commit()

    def above(self, text: str) -> None:
        """Say something above the rows; it stays."""
        say(self._terminal.fitted(self._terminal.signs(one_line(text, 2000))), file=self._terminal.stream)

    def task_bar(self, state: str, share: float = 0.0) -> None:
        """Show the state (``moving``, ``waiting``, or nothing) in the task bar, where there is one."""
        task = f"\x1b]9;4;{_STATES[state]};{100 * share:.0f}\x1b\\"
        if self._terminal.task_bar and task != self._task:
            self._task = task
            self._paper.write(task)

    def erase(self) -> None:
        """Leave nothing of it on the screen."""
        with drawing:
            if not self._bars:
                return
            while self._bars:
                self._bars.pop().close()
            self._shown.clear()
            self._paper.seek(0)
            self._paper.truncate()  # what tqdm wrote for closing: erasing is one code
            self._paper.write(ERASE)
            self._commit()

    def close(self) -> None:
        """Leave the terminal as it was."""
        with drawing:
            self.erase()
            while_drawn(None)
            if self._task:
                self.task_bar("")
                self._commit()

    def _make(self, place: int, row: Row) -> tqdm[Any]:
        bar = _engine()(
            total=1,
            position=place,
            leave=False,
            file=self._paper,
            ncols=self._size[0],
            ascii=_BARS[self._terminal.blocks],
            bar_format="{desc}",
        )
        self._set(bar, row)
        return bar

    def _set(self, bar: tqdm[Any], row: Row) -> None:
        colour = row.colour if self._terminal.colour else ""
        before, after = (self._terminal.signs(clean(text)) for text in (row.before, row.after))
        if row.share is None:
            word, space, rest = before.partition(" ")
            bar.bar_format = _literal(paint(word, colour, wanted=bool(colour)) + space + rest)
        else:
            bar.n = row.share
            bar.colour = colour or None
            bar.bar_format = f"{_literal(before)} {{bar}} {_literal(after)}"
        bar.refresh()

    def _commit(self) -> None:
        if text := self._paper.getvalue():
            self._paper.seek(0)
            self._paper.truncate()
            draw(text if not self._bars else text + "\r", self._terminal.stream)


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


@cache
def _engine() -> type[tqdm[Any]]:
    from tqdm import tqdm  # noqa: PLC0415 - 0.05 s that --help need not pay

    tqdm.set_lock(RLock())  # its own imports multiprocessing, and makes a semaphore
    return tqdm
