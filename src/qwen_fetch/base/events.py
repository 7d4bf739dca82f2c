"""What happens, as typed events: bars, plain lines, JSON lines and the log are listeners to the same few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_fetch.base.settings import Transport

__all__ = [
    "Attempt",
    "Event",
    "FileDone",
    "FileProgress",
    "Listener",
    "Mismatch",
    "Note",
    "Phase",
    "Progress",
    "Retry",
    "Started",
    "Switch",
    "Waiting",
]


@dataclass(frozen=True, slots=True)
class Started:
    """The first line: what will happen, how big it is and where it goes. Sizes in bytes.

    Of `bytes_have`, `bytes_adopt` lie elsewhere on this machine and still have to prove right.
    """

    repo_id: str
    revision: str
    commit: str
    files: int
    bytes_total: int
    bytes_have: int
    folder: str
    bytes_adopt: int = 0


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the work: ``listing``, ``adopt``, ``download``, ``verify``, ``link``; or ``done``."""

    name: str


@dataclass(frozen=True, slots=True)
class FileProgress:
    """One file in flight, in bytes."""

    path: str
    done: int
    size: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the work stands; sent a few times a second.

    Attributes:
        phase: Which part of the work.
        done: Bytes that are here, those of earlier runs included; without a total, things found so far.
        total: Bytes in all; 0 where nobody knows how much there is.
        files: The files in flight.
        waiting: What everybody is waiting for, if nothing moves; else empty.
        reason: Why, in fewer words, where it is a fault.
        next_try: Seconds until somebody tries again, where that is known.
    """

    phase: str
    done: int
    total: int
    files: tuple[FileProgress, ...] = ()
    waiting: str = ""
    reason: str = ""
    next_try: float | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request has ended: the bytes `start` to `end` of a file.

    `outcome` is ``done``, with what a cache on the way said; or why not.
    """

    path: str
    transport: Transport
    start: int
    end: int
    seconds: float
    outcome: str


@dataclass(frozen=True, slots=True)
class Retry:
    """An attempt failed and another follows in `wait` seconds. `failures` of them in a row gained nothing."""

    path: str
    offset: int
    reason: str
    wait: float
    failures: int


@dataclass(frozen=True, slots=True)
class Switch:
    """A file goes on over another transport, from the same byte."""

    path: str
    offset: int
    transport: Transport
    reason: str


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A file that had arrived whole has the wrong digest: its `dropped` bytes were thrown away."""

    path: str
    dropped: int


@dataclass(frozen=True, slots=True)
class FileDone:
    """A file was checked and has its final name."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing can be done until somebody else is finished: `what` names whom."""

    what: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something the user should know, in a sentence."""

    text: str


Event = Started | Phase | Attempt | Progress | Retry | Switch | Mismatch | FileDone | Waiting | Note
if TYPE_CHECKING:
    Listener = Callable[[Event], None]
