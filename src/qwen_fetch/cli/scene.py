"""What the screen shows, decided from events: a header, the whole, a row for each file in flight, and what happened.

Nothing here writes or looks at a clock; `canvas` draws the rows.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qwen_fetch.base.events import Event, Phase, Progress, Started, Waiting
from qwen_fetch.base.units import amount_text, size_text
from qwen_fetch.cli.pace import Pace
from qwen_fetch.cli.tally import Tally, counted
from qwen_fetch.cli.terminal import SPINNER
from qwen_fetch.cli.wording import (
    PHASES,
    clock_text,
    home_text,
    left_text,
    name_text,
    shortened,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Row", "Scene"]

_NARROW, _WIDE = 65, 99  # columns: below, amounts go and the time left moves down; above, files have a time left
_SHORTEST = 16  # characters of a name where it is narrow: text_encoder 1/4
_LONGEST = {False: 24, True: 40}  # where it is not, and where it is wide
_HELD_SECONDS = 1.0  # that a wait for somebody else is shown for after it was last reported
_SILENT_SECONDS = 5.0
_TURNS = 8  # a second


@dataclass(frozen=True, slots=True)
class Row:
    """One line: words, and where `share` is not None a bar after them, and more words.

    Attributes:
        before: Left of the bar.
        share: How much of the bar is full, 0 to 1.
        after: Right of the bar.
        colour: Of the bar; without one, of the first word of `before`.
    """

    before: str
    share: float | None = None
    after: str = ""
    colour: str = ""


class Scene:
    """The state of the screen. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._started: Started | None = None
        self._progress: Progress | None = None
        self._pace = Pace()
        self._files: dict[str, Pace] = {}  # in flight, in the order of their rows
        self._held: tuple[str, float, float] | None = None  # by whom, since when, last reported when
        self._names = 0  # the width of the longest name so far

    def take(self, event: Event, now: float) -> None:
        """Something has happened at `now`."""
        self.tally.take(event, now)
        match event:
            case Started():
                self._started = event
            case Phase(name="done"):
                self._progress = None
            case Phase():
                self._progress, self._pace, self._files = Progress(event.name, 0, 0), Pace(), {}
            case Waiting():
                since = self._held[1] if self._held and self._held[0] == event.what else now
                self._held = (event.what, since, now)
            case Progress():
                self._progress = event
                self._pace.see(now, event.done)
                self._follow(event, now)

    @property
    def share(self) -> float | None:
        """How much of all is here, 0 to 1; None while that is not known."""
        event = self._progress
        return event.done / event.total if event and event.total else None

    @property
    def is_waiting(self) -> bool:
        """Whether everybody waits."""
        return bool(self._progress and self._progress.waiting)

    def rows(self, columns: int, rows: int, now: float) -> list[Row]:
        """The lines, for a screen of so many columns and rows."""
        if self._progress is None:
            return []
        head = [Row(self._header(columns))] if self._started else []
        foot = [self._footer(columns, now)]
        files = list(self._file_rows(columns)) if self._progress.total else []
        room = max(rows - 2 - len(head) - len(foot), 0)
        whole = [self._whole(columns, now)]
        return [*head, *whole, *files[:room], *(row for row in foot if row.before)][: max(rows - 1, 1)]

    def _follow(self, event: Progress, now: float) -> None:
        """Keep a row's place while its file is in flight; a new file takes the place of one that has landed."""
        paths = [file.path for file in event.files]
        fresh = iter([path for path in paths if path not in self._files])
        kept: dict[str, Pace] = {}
        for path, pace in self._files.items():
            if path in paths:
                kept[path] = pace
            elif (new := next(fresh, None)) is not None:
                kept[new] = Pace()
        self._files = kept | {path: Pace() for path in fresh}
        for file in event.files:
            self._files[file.path].see(now, file.done)

    def _header(self, columns: int) -> str:
        started = self._started
        assert started is not None  # noqa: S101 - see `rows`
        what = f"{started.repo_id}@{shortened(started.revision, 16)}"
        where = (
            home_text(str(Path(started.folder).parents[2])) if len(Path(started.folder).parents) > 2 else started.folder
        )
        size = f"{size_text(started.bytes_total)} in {counted(started.files, 'file')}"
        place = "on this machine" if started.bytes_adopt else "here"
        here = f", {size_text(started.bytes_have)} {place}" if started.bytes_have else ""
        for right in (size + here, size, ""):
            room = columns - len(what) - 3 - (len(right) + 2 if right else 0)
            if room >= min(len(where), 24 if right else 12):
                left = f"{what} → {shortened(where, room)}"
                return left + right.rjust(columns - len(left)) if right else left
        return shortened(what, columns)

    def _whole(self, columns: int, now: float) -> Row:
        event = self._progress
        assert event is not None  # noqa: S101 - see `rows`
        if not event.total:
            sign = SPINNER[int(now * _TURNS) % len(SPINNER)]
            found = f", {counted(event.done, 'file')}" if event.done else ""
            return Row(f"{sign} {PHASES.get(event.phase, event.phase)}{found}", colour="blue")
        name = "total" if event.phase == "download" else event.phase
        still = self.is_waiting or self._held_by(now) != ""
        rate = 0.0 if still else self._pace.rate
        left = None if still else self._pace.left(event.total - event.done)
        colour = "yellow" if still or self._is_silent else "blue" if event.phase != "download" else "green"
        return self._bar(name, event.done, event.total, rate, left, columns, colour, whole=True)

    def _file_rows(self, columns: int) -> Iterator[Row]:
        event = self._progress
        assert event is not None  # noqa: S101 - see `rows`
        files = {file.path: file for file in event.files}
        colour = "yellow" if self.is_waiting or self._is_silent else "blue" if event.phase != "download" else "green"
        for path, pace in self._files.items():
            file = files[path]
            rate = 0.0 if self.is_waiting else pace.rate
            left = pace.left(file.size - file.done) if rate else None
            yield self._bar(path, file.done, file.size, rate, left, columns, colour)

    def _bar(
        self,
        name: str,
        done: int,
        total: int,
        rate: float,
        left: float | None,
        columns: int,
        colour: str,
        *,
        whole: bool = False,
    ) -> Row:
        name = name_text(name, _SHORTEST if columns < _NARROW else _LONGEST[columns > _WIDE])
        self._names = max(self._names, len(name))
        parts = [f"{100 * done // max(total, 1):3} %"]
        if columns >= _NARROW:
            parts.append(f"{amount_text(done, total):>12}")
        parts.append(f"{size_text(rate) + '/s' if rate else '':>10}")
        if columns >= _NARROW and (whole or columns > _WIDE):
            parts.append(f"{left_text(left) if left is not None and done < total else '':>7}")
        elif columns >= _NARROW:
            parts.append(" " * 7)
        width = min(self._names, _SHORTEST) if columns < _NARROW else self._names
        return Row(f"{name:<{width}}", done / max(total, 1), " ".join(parts), colour)

    def _footer(self, columns: int, now: float) -> Row:
        event = self._progress
        assert event is not None  # noqa: S101 - see `rows`
        if event.waiting:
            reason = (event.reason or event.waiting).rstrip(".")
            soon = f"next try in {event.next_try:.0f} s" if event.next_try is not None else ""
            return self._wait(reason, self.tally.waited(now), soon, columns)
        if held := self._held_by(now):
            return self._wait(held, now - self._held[1] if self._held else 0.0, "", columns)
        if self._is_silent and event.total:
            return self._wait("no byte comes", self._pace.quiet, "", columns)
        left = self._pace.left(event.total - event.done)
        parts = [
            f"{left_text(left)} left" if left is not None and columns < _NARROW and event.done < event.total else "",
            f"{counted(self.tally.files, 'file')} done, all verified" if self.tally.files else "",
            *self.tally.words(),
            f"last: {shortened(self.tally.reason, 60).rstrip('.')}" if self.tally.reason and columns > _WIDE else "",
        ]
        return Row(_fitted([part for part in parts if part], columns))

    def _wait(self, why: str, seconds: float, soon: str, columns: int) -> Row:
        label = "waiting "
        room = columns - len(label) - 3
        when = [text for text in (clock_text(seconds), soon) if text]
        # The reason goes before counts, and when the next try is before the end of a long reason.
        if len(why) + len(" · ".join(when)) <= room:
            tail = _fitted([*when, *self.tally.words(), "nothing lost"], room - len(why))
        else:
            tail = _fitted(when, room - 12)
        aligned = f"{'waiting':<{min(self._names, _SHORTEST)}} "
        if len(aligned) + len(why) + 3 + len(tail) <= columns:
            label = aligned
        why = shortened(why, columns - len(label) - len(tail) - 3)
        return Row(f"{label}{why} · {tail}", colour="yellow")

    @property
    def _is_silent(self) -> bool:
        return self._pace.quiet > _SILENT_SECONDS and self._progress is not None and self._progress.phase == "download"

    def _held_by(self, now: float) -> str:
        return self._held[0] if self._held and now - self._held[2] < _HELD_SECONDS else ""


def _fitted(parts: list[str], columns: int) -> str:
    """As many of the parts as fit, from the left."""
    fitting = itertools.takewhile(lambda count: len(" · ".join(parts[:count])) <= columns, range(1, len(parts) + 1))
    return " · ".join(parts[: max(fitting, default=1)])
