"""How a problem is told: what happened, why, what to do, what was kept, and the exit code.

The kinds of problem are in `catalogue`. This module imports nothing of the package, so that everything may raise one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["ExitCode", "Kind", "Problem"]

_COMMAND = re.compile(r"([^`]*)`([^`]*)`")


class ExitCode(IntEnum):
    """How the command ends; scripts rely on these numbers."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    INCOMPLETE = 3
    NETWORK = 4
    ACCESS = 5
    NOT_FOUND = 6
    DISK_FULL = 7
    FILE_SYSTEM = 8
    CORRUPT = 9
    BUSY = 10
    CANNOT_LOAD = 11
    INTERRUPTED = 130
    TERMINATED = 143


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: the texts are `str.format` templates over the facts of the case.

    Attributes:
        id: Stable kebab-case name, for scripts, tests and bug reports.
        exit_code: What the process returns.
        what: What happened.
        why: The likely cause.
        do: What to do now, each a sentence, which a command in backticks may end.
    """

    id: str
    exit_code: ExitCode
    what: str
    why: str
    do: tuple[str, ...]


class Problem(Exception):  # noqa: N818 - it is told to the user as a problem, not as an error of the program
    """Something a user can meet, told so that it helps.

    Args:
        kind: Which problem it is.
        kept: What has been kept on disk, if anything was at stake.
        facts: Values for the templates of `kind`.
    """

    def __init__(self, kind: Kind, *, kept: str = "", **facts: object) -> None:
        self.kind = kind
        self.kept = kept
        self.facts = facts
        super().__init__(self.what)

    @property
    def id(self) -> str:
        """The stable name of this kind of problem."""
        return self.kind.id

    @property
    def exit_code(self) -> ExitCode:
        """What the process returns for it."""
        return self.kind.exit_code

    @property
    def what(self) -> str:
        """What happened."""
        return self.kind.what.format(**self.facts)

    @property
    def why(self) -> str:
        """The likely cause."""
        return self.kind.why.format(**self.facts)

    @property
    def steps(self) -> tuple[tuple[str, str], ...]:
        """What to do now: sentences, each with the command that ends it; empty where there is none."""
        return tuple(map(self._step, self.kind.do))

    @property
    def do(self) -> tuple[str, ...]:
        """The same as texts."""
        return tuple(text + command for text, command in self.steps)

    def as_json(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "id": self.id,
            "exit_code": int(self.exit_code),
            "what": self.what,
            "why": self.why,
            "do": list(self.do),
            "kept": self.kept,
        }

    def lines(self) -> list[str]:
        """The whole message, a line per part: what, why, what to do, what was kept."""
        parts = [("why", self.why), *(("do", line) for line in self.do), ("kept", self.kept)]
        return [
            f"error: {self.what} [{self.id}]",
            *(f"  {label + ':':<5} {text}" for label, text in parts if text),
        ]

    def _step(self, template: str) -> tuple[str, str]:
        said = template.format(**self.facts)
        if not (match := _COMMAND.fullmatch(said)):
            return said, ""
        text, command = match.groups()
        return (text, command) if command else (text.rstrip(": ") + ".", "")
