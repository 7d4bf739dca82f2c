"""What was measured: medians of runs, a table for people, JSON for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["HEAD", "Result", "as_json", "best_of", "medians", "row", "table"]


@dataclass(frozen=True, slots=True)
class Result:
    """One peer in one scene: one run, or the medians of several. Sizes in bytes.

    Attributes:
        scene: The scene's name.
        peer: The program, with its version.
        seconds: Wall time until it was done, restarts included.
        cpu_seconds: User and system time of all its processes.
        peak_bytes: Largest resident memory of a process.
        served_bytes: What the server sent of large files.
        twice_bytes: How many of these it had sent before.
        requests: How many the server answered.
        server_cpu_seconds: What serving cost.
        starts: How often the process was started.
        code: The last exit code.
        finished: Whether it ended by itself before its time was over.
        right: Whether every file has the right bytes.
        left_files: Files left behind that belong to no finished file.
        left_bytes: Their size.
        ideal_seconds: What the line alone would need; None without a line.
        runs: How many runs this stands for.
    """

    scene: str
    peer: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    served_bytes: int = 0
    twice_bytes: int = 0
    requests: int = 0
    server_cpu_seconds: float = 0.0
    starts: int = 1
    code: int = 0
    finished: bool = True
    right: bool = True
    left_files: int = 0
    left_bytes: int = 0
    ideal_seconds: float | None = None
    runs: int = 1

    @property
    def verdict(self) -> str:
        """How it ended, in a few words."""
        if not self.finished:
            return "NEVER FINISHED"
        if not self.right:
            return f"WRONG FILES, exit {self.code}"
        return "right" if not self.code else f"right, exit {self.code}"


def medians(runs: Sequence[Result]) -> Result:
    """One result for several runs of one peer in one scene: the medians of the costs, the worst of the outcomes.

    Raises:
        ValueError: There is none.
    """
    if not runs:
        raise ValueError("no runs")
    first = runs[0]
    return Result(
        first.scene,
        first.peer,
        seconds=median(run.seconds for run in runs),
        cpu_seconds=median(run.cpu_seconds for run in runs),
        peak_bytes=round(median(run.peak_bytes for run in runs)),
        served_bytes=round(median(run.served_bytes for run in runs)),
        twice_bytes=round(median(run.twice_bytes for run in runs)),
        requests=round(median(run.requests for run in runs)),
        server_cpu_seconds=median(run.server_cpu_seconds for run in runs),
        starts=round(median(run.starts for run in runs)),
        code=next((run.code for run in runs if run.code), 0),
        finished=all(run.finished for run in runs),
        right=all(run.right for run in runs),
        left_files=max(run.left_files for run in runs),
        left_bytes=max(run.left_bytes for run in runs),
        ideal_seconds=first.ideal_seconds,
        runs=len(runs),
    )


def best_of(results: Iterable[Result]) -> list[tuple[str, list[Result]]]:
    """The medians by scene, in the order in which they came; several runs of a peer become one result."""
    scenes: dict[str, dict[str, list[Result]]] = {}
    for result in results:
        scenes.setdefault(result.scene, {}).setdefault(result.peer, []).append(result)
    return [(scene, [medians(runs) for runs in peers.values()]) for scene, peers in scenes.items()]


HEAD = (
    "",
    "time",
    "of ideal",
    "MB/s",
    "CPU",
    "peak MB",
    "twice MB",
    "requests",
    "starts",
    "left MB",
    "server CPU",
    "",
)


def table(title: str, results: Sequence[Result]) -> str:
    """One scene as text, a line per peer, and what the first is to each other one."""
    rows = [HEAD, *map(row, results)]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(HEAD))]
    lines = [title]
    for cells in rows:
        numbers = (cell.rjust(width) for cell, width in zip(cells[1:-1], widths[1:], strict=False))
        lines.append("  ".join([cells[0].ljust(widths[0]), *numbers, cells[-1]]).rstrip())
    return "\n".join(lines)


def row(result: Result) -> tuple[str, ...]:
    """The cells of a result, as `HEAD` names them; empty where there is nothing to say."""
    useful = result.served_bytes - result.twice_bytes
    return (
        result.peer,
        f"{result.seconds:.2f} s",
        f"{result.seconds / result.ideal_seconds:.3f}" if result.ideal_seconds else "",
        f"{useful / result.seconds / 1e6:.0f}" if useful and result.seconds else "",
        f"{result.cpu_seconds:.2f} s",
        f"{result.peak_bytes / 1e6:.0f}",
        # Of a peer that did not get there, nobody knows which of its bytes came twice.
        f"{result.twice_bytes / 1e6:.1f}" if result.finished else "",
        str(result.requests),
        str(result.starts),
        f"{result.left_bytes / 1e6:.1f}" if result.left_files else "",
        f"{result.server_cpu_seconds:.2f} s",
        result.verdict,
    )


def as_json(results: Iterable[Result], about: dict[str, Any]) -> dict[str, Any]:
    """All results and what they were measured with."""
    return about | {"results": [asdict(result) | {"verdict": result.verdict} for result in results]}
