"""The results as a page of Markdown tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.big import BIG, cells
from bench.results import HEAD, row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.big import Growth
    from bench.results import Result

__all__ = ["page"]


def page(
    scenes: Sequence[tuple[str, Sequence[Result]]],
    titles: Mapping[str, str],
    about: Mapping[str, Any],
    growth: Sequence[Growth] = (),
) -> str:
    """A page for the documentation.

    Args:
        scenes: Name and results of each scene.
        titles: What happens in a scene, by its name.
        about: The command, and the machine: `command`, `cores`, `python`, `runs`.
        growth: The figures of the scene without bytes, if it was measured.
    """
    lines = [
        "# Measured side by side",
        "",
        f"    {about['command']}",
        "",
        f"One run of this, on {about['cores']} cores that serve as well, with Python {about['python']}. Figures are",
        f"medians of {about['runs']} rounds, or of one where a line decides. Peak: the largest process. Twice: served",
        "more than once. Left: in files that belong to no finished file. Machines differ: compare within a table.",
    ]
    for name, results in scenes:
        lines += ["", f"## {name}: {titles[name]}", "", *pipes([HEAD, *map(row, results)])]
    if growth:
        lines += ["", f"## {BIG}: shards of 500 MB, sparse, from a source without a disk", "", *pipes(cells(growth))]
    return "\n".join(lines) + "\n"


def pipes(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of a head and rows, in Markdown; columns that are empty in all rows are left out."""
    used = [column for column in range(len(rows[0])) if any(cells[column] for cells in rows[1:])]
    lines = ["| " + " | ".join(cells[column] for column in used) + " |" for cells in rows]
    lines.insert(1, "|" + "---|" * len(used))
    return lines
