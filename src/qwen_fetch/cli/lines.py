"""Progress as lines: for a log that somebody reads in the morning, and as JSON for a program."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from qwen_fetch.base.door import say
from qwen_fetch.base.events import Attempt, FileDone, Phase, Progress, Retry, Waiting
from qwen_fetch.base.units import time_text
from qwen_fetch.cli.pace import Pace
from qwen_fetch.cli.tally import Tally, counted
from qwen_fetch.cli.wording import progress_line, sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_fetch.base.events import Event
    from qwen_fetch.cli.tally import Outage

__all__ = ["JsonLines", "Lines"]

_MINUTE = 60.0
_HOUR = 3600.0
_SMALL = 10_000_000  # bytes: smaller files are counted, not listed


class Lines:
    """Plain lines. Progress often at first, then once a minute; a line per event, and less and less often the same.

    Args:
        stream: Where to.
        clock: Monotonic seconds.
        verbose: Every retry and every file gets its line.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float], *, verbose: bool = False) -> None:
        self._stream = stream
        self._clock = clock
        self._verbose = verbose
        self._pace = Pace()
        self._tally = Tally()
        self._began = self._last = clock()
        self._said: dict[str, tuple[float, float]] = {}  # by reason: when next, and after how long again
        self._waiting = ""
        self._unsaid = self._small = 0

    def show(self, event: Event) -> None:
        """Say what an event says, if it is time."""
        now = self._clock()
        if outage := self._tally.take(event, now):
            self._say_outage(outage)
        if isinstance(event, Progress):
            self._progress(event, now)
        elif isinstance(event, Phase):
            self._pace = Pace()
        elif (text := sentence(event)) and self._is_news(event, now):
            self._line(text)

    def close(self) -> None:
        """Nothing is open."""

    def _progress(self, event: Progress, now: float) -> None:
        self._pace.see(now, event.done)
        # Why nothing moves is told when it begins; the rest is waiting.
        if (
            event.waiting
            or self._tally.is_outage
            or now - self._last < min(_MINUTE, max(1.0, (now - self._began) / 20))
        ):
            return
        self._last = now
        small = f"{counted(self._small, 'small file')} done" if self._small else ""
        unsaid = [small, counted(self._unsaid, "retry", "retries")]
        self._small = self._unsaid = 0
        left = self._pace.left(event.total - event.done)
        self._line(progress_line(event, self._pace.rate, left, ", ".join(filter(None, unsaid))))

    def _say_outage(self, outage: Outage) -> None:
        if outage.seconds is None:
            self._line(f"Nothing moves: {outage.reason.rstrip('.')}. Waiting for it to end; nothing is lost.")
        else:
            self._line(f"It goes on, after {time_text(outage.seconds)}.")

    def _is_news(self, event: Event, now: float) -> bool:
        """Whether an event deserves its line: what comes by the dozen is counted in the next line of progress."""
        if self._verbose:
            return True
        if isinstance(event, FileDone) and event.size < _SMALL:
            self._small += 1
            return False
        if isinstance(event, Waiting):
            known, self._waiting = self._waiting, event.what
            return event.what != known
        if not isinstance(event, Retry):
            return True
        due, pause = self._said.get(event.reason, (now, _MINUTE))
        if self._tally.is_outage or now < due:
            self._unsaid += 1
            return False
        self._said[event.reason] = (now + pause, min(2 * pause, _HOUR))  # a line that breaks all night is told once
        return True

    def _line(self, text: str) -> None:
        say(text, file=self._stream)


class JsonLines:
    """One JSON object per event; progress once a second.

    Args:
        stream: Where to.
        clock: Monotonic seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock
        self._pace = Pace()
        self._last = clock()
        self._waiting = ""

    def show(self, event: Event) -> None:
        """Write an event."""
        values = asdict(event)
        if isinstance(event, Attempt):
            return  # several a second: they are for the log
        if isinstance(event, Waiting):
            if event.what == self._waiting:
                return
            self._waiting = event.what
        if isinstance(event, Phase):
            self._pace = Pace()
        if isinstance(event, Progress):
            now = self._clock()
            self._pace.see(now, event.done)
            if now - self._last < 1.0:
                return
            self._last = now
            left = self._pace.left(event.total - event.done)
            values["bytes_per_second"] = round(self._pace.rate)
            values["seconds_left"] = round(left, 1) if left is not None else None
        say(json.dumps({"event": type(event).__name__.lower(), **values}), file=self._stream)

    def close(self) -> None:
        """Nothing is open."""
