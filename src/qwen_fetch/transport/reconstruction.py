"""Where the Xet store has a range of a file: its answer, checked and brought into the order in which to read. Pure.

The answer lists terms, each a run of chunks of one xorb (a container of some 64 MiB), and for each xorb the
addresses at which runs of its chunks can be read. An address is good for one exact range of bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Run", "runs"]


@dataclass(frozen=True, slots=True)
class Run:
    """Chunks that follow each other in a file and in the store.

    Attributes:
        url: Where they are, signed.
        start: The first byte to ask for there.
        end: The byte after the last.
        before: Chunks that come with them first, and are not of the run.
        count: Its chunks.
        length: Bytes that they hold.
        skip: The first of these, which come before the range that was asked for.
    """

    url: str
    start: int
    end: int
    before: int
    count: int
    length: int
    skip: int = 0


def runs(answer: Any, wanted: int) -> list[Run]:
    """The runs that hold a range of a file, in order.

    Args:
        answer: The store's answer (version 1), as read from JSON.
        wanted: Bytes of the range.

    Raises:
        ValueError: The answer makes no sense.
    """
    try:
        found: list[Run] = []
        last: tuple[str, int] | None = None  # the xorb, and the chunk that would continue the run
        for term in answer["terms"]:
            xorb, first, end = str(term["hash"]), _number(term["range"]["start"]), _number(term["range"]["end"])
            run = _run(answer["fetch_info"][xorb], first, end, _number(term["unpacked_length"]))
            if found and last == (xorb, first) and (found[-1].url, found[-1].start) == (run.url, run.start):
                joined = found.pop()
                run = replace(joined, count=joined.count + run.count, length=joined.length + run.length)
            found.append(run)
            last = (xorb, end)
        skip = _number(answer["offset_into_first_range"])
        found[0] = replace(found[0], skip=skip)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"an answer without {error}") from error
    if skip >= found[0].length or sum(run.length for run in found) - skip < wanted:
        raise ValueError("an answer for another range")
    return found


def _run(entries: Any, first: int, end: int, length: int) -> Run:
    for entry in entries:
        chunks, stored = entry["range"], entry["url_range"]
        before = first - _number(chunks["start"])
        if before >= 0 and end <= _number(chunks["end"]):
            start, stop = _number(stored["start"]), _number(stored["end"]) + 1
            if first < end and start < stop and length:
                return Run(str(entry["url"]), start, stop, before, end - first, length)
    raise ValueError("an answer that leads nowhere")


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"a number ({type(value).__name__} instead)")
    return value
