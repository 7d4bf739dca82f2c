"""A file on its way through the workers, and the ranges of it that are in their hands; nothing here decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from qwen_fetch.transfer.windows import Gaps

if TYPE_CHECKING:
    from qwen_fetch.base.files import RepoFile
    from qwen_fetch.base.problem import Problem
    from qwen_fetch.cache.locks import BlobLock
    from qwen_fetch.cache.partial import Partial
    from qwen_fetch.transfer.plan import Step

__all__ = ["Job", "State", "Window"]


class State(Enum):
    """Where a file stands."""

    WAITING = auto()  # not begun, or its lock is held by somebody else
    ACTIVE = auto()
    CHECKING = auto()  # all bytes are here
    DONE = auto()
    FAILED = auto()


@dataclass(eq=False, slots=True)
class Window:
    """A range of a file in the hands of one worker.

    Attributes:
        job: The file.
        start: Its first byte.
        position: The next byte to ask for.
        end: The byte after the last.
        direct: Whether its bytes go to the disk as they come, because all before them are there.
        pieces: The bytes received that have to wait.
        epoch: The file's count of restarts when it was handed out; bytes of an older one are void.
    """

    job: Job
    start: int
    position: int
    end: int
    direct: bool
    epoch: int
    pieces: bytearray = field(default_factory=bytearray)

    def accept(self, piece: memoryview) -> None:
        """Take in the next bytes of the window; those that waited go to the disk first, if its turn has come.

        Raises:
            OSError: The disk is full or fails.
        """
        partial = self.job.partial
        assert partial is not None  # noqa: S101 - an active job has one
        if not self.direct and self.job.front is self:
            partial.append(self.pieces)
            self.pieces, self.direct = bytearray(), True
        if self.direct:
            partial.append(piece)
        else:
            self.pieces += piece
        self.position += len(piece)
        self.job.received += len(piece)


@dataclass(eq=False, slots=True)
class Job:
    """One file to fetch.

    Attributes:
        step: The file, and whether its prefix is used.
        front: The window at the end of the partial: who has it is the only one that writes.
        ready: Windows that are whole and wait for their turn, by their first byte.
        whole: Only one worker at a time, for all the rest: the server does not do ranges.
        received: Bytes that came, those that wait in memory included; only good for seeing that it grows.
        mismatches: How often the finished file had the wrong digest.
        problem: Why it failed.
        busy: Its lock is held by somebody else.
    """

    step: Step
    lock: BlobLock
    state: State = State.WAITING
    partial: Partial | None = None
    gaps: Gaps = field(default_factory=lambda: Gaps(0, 0))
    flying: list[Window] = field(default_factory=list)
    front: Window | None = None
    ready: dict[int, Window] = field(default_factory=dict)
    epoch: int = 0
    whole: bool = False
    received: int = 0
    mismatches: int = 0
    problem: Problem | None = None
    busy: bool = False
    look_again: float = 0.0

    @property
    def file(self) -> RepoFile:
        """The file."""
        return self.step.file

    @property
    def on_disk(self) -> int:
        """Bytes of it on disk."""
        if self.state is State.DONE:
            return self.file.size
        if self.partial is None or self.state is State.WAITING:
            return self.step.have
        return self.partial.committed

    @property
    def hashed(self) -> int:
        """Bytes of it that its digest covers so far."""
        return self.partial.hashed if self.partial else 0
