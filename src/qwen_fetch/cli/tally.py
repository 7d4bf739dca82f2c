"""What has happened so far, counted: reconnects, files, and the outages with their length."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qwen_fetch.base.events import FileDone, Mismatch, Progress, Retry, Switch
from qwen_fetch.base.units import time_text

if TYPE_CHECKING:
    from qwen_fetch.base.events import Event

__all__ = ["Outage", "Tally", "counted"]

_NOTICED = 5.0  # seconds without anything moving that make a pause an outage


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which everybody waited: why, and for how many seconds; None while it lasts."""

    reason: str
    seconds: float | None = None


@dataclass(slots=True)
class Tally:
    """Counts of events. A short break of all connections is a reconnect and no outage."""

    files: int = 0
    reconnects: int = 0
    switches: int = 0
    mismatches: int = 0
    reason: str = ""
    outages: list[float] = field(default_factory=list)
    _since: float | None = None
    _told: bool = False
    _done: int = 0
    _phase: str = ""

    def take(self, event: Event, now: float) -> Outage | None:
        """Count an event at `now` (monotonic seconds); returns the outage that it begins or ends, if any."""
        match event:
            case FileDone():
                self.files += 1
            case Retry():
                self.reconnects += 1
                self.reason = event.reason
            case Switch():
                self.switches += 1
            case Mismatch():
                self.mismatches += 1
            case Progress():
                return self._outage(event, now)
        return None

    @property
    def is_outage(self) -> bool:
        """Whether everybody is waiting, and has been for a while."""
        return self._told

    def waited(self, now: float) -> float:
        """Seconds that everybody has been waiting."""
        return now - self._since if self._since is not None else 0.0

    def words(self) -> list[str]:
        """What happened beside the work, in words."""
        said = [
            counted(self.reconnects, "reconnect"),
            counted(self.switches, "switch", "switches"),
            f"{counted(self.mismatches, 'file')} fetched again" if self.mismatches else "",
            f"{counted(len(self.outages), 'outage')} ({time_text(sum(self.outages))})" if self.outages else "",
        ]
        return [text for text in said if text]

    def _outage(self, event: Progress, now: float) -> Outage | None:
        # A new try is no end of it, and a look at the disk is none: bytes are, and the answer that was waited for.
        moved = (event.phase, event.done) != (self._phase, self._done)
        self._phase, self._done = event.phase, event.done
        if self._since is not None and moved:
            seconds, told = now - self._since, self._told
            self._since, self._told = None, False
            if told:
                self.outages.append(seconds)
                return Outage(self.reason, round(seconds, 1))
        elif event.waiting:
            self._since = now if self._since is None else self._since
            if not self._told and now - self._since >= _NOTICED:
                self._told = True
                return Outage(event.reason or event.waiting)
        return None


def counted(count: int, one: str, many: str = "") -> str:
    """``2 reconnects``; empty for none."""
    return f"{count:,} {one if count == 1 else many or one + 's'}" if count else ""
