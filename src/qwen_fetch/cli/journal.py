"""The log of a night: a dated line for every attempt, retry, switch and wait, without secrets."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from qwen_fetch.base.door import say
from qwen_fetch.base.events import Progress, Waiting
from qwen_fetch.cli.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qwen_fetch.base.events import Event
    from qwen_fetch.base.problem import Problem

__all__ = ["Journal"]

_PROGRESS_SECONDS = 60.0


class Journal:
    """A listener that appends to a file; a full disk or a closed file ends the log, never the download.

    Args:
        path: The file; made if it is not there, and never emptied.
        clock: Seconds since 1970.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._file: TextIO | None = path.open("a", encoding="utf-8")
        self._clock = clock
        self._progress = 0.0
        self._waiting: Event | None = None
        self._tally = Tally()

    def __call__(self, event: Event) -> None:
        """Write an event, if it says something new."""
        now = self._clock()
        if outage := self._tally.take(event, now):
            self._write(now, "outage", asdict(outage))
        if isinstance(event, Progress):
            if not event.total or now - self._progress < _PROGRESS_SECONDS:
                return
            self._progress = now
        elif isinstance(event, Waiting):
            if event == self._waiting:
                return
            self._waiting = event
        values = asdict(event)
        values.pop("files", None) if isinstance(event, Progress) else None
        self._write(now, type(event).__name__.lower(), values)

    def problem(self, problem: Problem) -> None:
        """Write how the run ended, if not well."""
        self._write(self._clock(), "problem", problem.as_json())

    def close(self) -> None:
        """End the log."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # a full disk
                file.close()

    def _write(self, now: float, name: str, values: dict[str, object]) -> None:
        if self._file is None:
            return
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
        words = " ".join(f"{key}={json.dumps(value)}" for key, value in values.items() if value not in ("", None))
        try:
            say(f"{when} {name:<9} {words}", file=self._file)
        except OSError:
            self.close()
