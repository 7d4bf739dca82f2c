"""Where the store has a range: its answer brought into the order in which to read, or refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from qwen_fetch.transport.reconstruction import Run, runs

ABSENT = object()


def term(xorb: str, first: int, end: int, length: int) -> dict[str, Any]:
    return {"hash": xorb, "range": {"start": first, "end": end}, "unpacked_length": length}


def entry(url: str, first: int, end: int, start: int, last: int) -> dict[str, Any]:
    """An address for the chunks `first` to `end` (excluded), which are the bytes `start` to `last` (included)."""
    return {"url": url, "range": {"start": first, "end": end}, "url_range": {"start": start, "end": last}}


def answer(terms: list[dict[str, Any]], skip: int = 0, **entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"offset_into_first_range": skip, "terms": terms, "fetch_info": entries}


TABLE = [
    # the store's answer, bytes wanted -> the runs: url, start, end, before, count, length, skip
    pytest.param(
        answer([term("a", 0, 3, 300)], a=[entry("A", 0, 3, 0, 323)]), 300, [Run("A", 0, 324, 0, 3, 300)], id="one term"
    ),
    pytest.param(
        answer([term("a", 4, 6, 200)], 50, a=[entry("A", 4, 6, 432, 647)]),
        150,
        [Run("A", 432, 648, 0, 2, 200, skip=50)],
        id="a range that begins within a chunk",
    ),
    pytest.param(
        answer([term("a", 4, 6, 200)], a=[entry("A", 1, 9, 108, 971)]),
        10,
        [Run("A", 108, 972, 3, 2, 200)],
        id="an address that begins earlier and ends later",
    ),
    pytest.param(
        answer([term("a", 0, 2, 200), term("a", 2, 3, 100), term("a", 3, 4, 9)], 150, a=[entry("A", 0, 4, 0, 340)]),
        159,
        [Run("A", 0, 341, 0, 4, 309, skip=150)],
        id="terms that continue each other are one run",
    ),
    pytest.param(
        answer([term("a", 0, 1, 100), term("a", 2, 3, 100)], a=[entry("A", 0, 3, 0, 323)]),
        200,
        [Run("A", 0, 324, 0, 1, 100), Run("A", 0, 324, 2, 1, 100)],
        id="a chunk between two terms is left out",
    ),
    pytest.param(
        answer([term("a", 2, 3, 100), term("a", 0, 2, 200)], a=[entry("A", 0, 3, 0, 323)]),
        300,
        [Run("A", 0, 324, 2, 1, 100), Run("A", 0, 324, 0, 2, 200)],
        id="terms in the other order",
    ),
    pytest.param(
        answer([term("a", 0, 1, 100), term("a", 0, 1, 100)], a=[entry("A", 0, 1, 0, 107)]),
        200,
        [Run("A", 0, 108, 0, 1, 100)] * 2,
        id="the same chunk twice",
    ),
    pytest.param(
        answer([term("a", 0, 2, 200), term("a", 2, 3, 100)], a=[entry("A", 0, 2, 0, 215), entry("A", 2, 3, 216, 323)]),
        300,
        [Run("A", 0, 216, 0, 2, 200), Run("A", 216, 324, 0, 1, 100)],
        id="an address for each range",
    ),
    pytest.param(
        answer(
            [term("a", 999, 1000, 100), term("b", 0, 2, 150)],
            99,
            a=[entry("A", 999, 1000, 5000, 5107)],
            b=[entry("B", 0, 2, 0, 165)],
        ),
        151,
        [Run("A", 5000, 5108, 0, 1, 100, skip=99), Run("B", 0, 166, 0, 2, 150)],
        id="from one xorb into the next",
    ),
    pytest.param(
        answer(
            [term("a", 0, 1, 100), term("b", 1, 2, 100), term("a", 1, 2, 100)],
            a=[entry("A", 0, 2, 0, 215)],
            b=[entry("B", 1, 2, 108, 215)],
        ),
        300,
        [Run("A", 0, 216, 0, 1, 100), Run("B", 108, 216, 0, 1, 100), Run("A", 0, 216, 1, 1, 100)],
        id="another xorb between two terms",
    ),
    pytest.param(
        answer([term("a", 5, 6, 100)], a=[entry("A", 0, 2, 0, 215), entry("C", 5, 6, 540, 647)]),
        100,
        [Run("C", 540, 648, 0, 1, 100)],
        id="the address that has the chunk",
    ),
]


@pytest.mark.parametrize(("given", "wanted", "expected"), TABLE)
def test_table(given: dict[str, Any], wanted: int, expected: list[Run]) -> None:
    assert runs(given, wanted) == expected


GOOD = answer(
    [term("a", 1, 3, 200), term("b", 0, 1, 100)], 50, a=[entry("A", 1, 3, 108, 323)], b=[entry("B", 0, 1, 0, 107)]
)

NONSENSE = [
    # where in a good answer, and what is there instead
    *[(place, ABSENT) for place in ("terms", "fetch_info", "offset_into_first_range")],
    *[(f"terms 0 {key}", ABSENT) for key in ("hash", "range", "unpacked_length", "range start", "range end")],
    *[(f"fetch_info a 0 {key}", ABSENT) for key in ("url", "range", "url_range", "range end", "url_range start")],
    ("terms", []),
    ("terms", None),
    ("terms", "a1"),
    ("terms", 5),
    ("terms", [None]),
    ("terms 1", []),
    ("terms 0 hash", "c"),
    ("terms 0 range", [1, 3]),
    ("terms 0 range start", -1),
    ("terms 0 range start", True),
    ("terms 0 range start", "1"),
    ("terms 0 range start", 1.0),
    ("terms 0 range start", 0),  # before the only address
    ("terms 0 range end", 4),  # after it
    ("terms 0 range end", 1),  # no chunk
    ("terms 0 unpacked_length", 0),
    ("terms 0 unpacked_length", None),
    ("terms 1 unpacked_length", 0),
    ("fetch_info", None),
    ("fetch_info", []),
    ("fetch_info a", []),
    ("fetch_info a", None),
    ("fetch_info a", {}),
    ("fetch_info a 0", "A"),
    ("fetch_info a 0 range start", -1),
    ("fetch_info a 0 url_range", None),
    ("fetch_info a 0 url_range start", -1),
    ("fetch_info a 0 url_range start", 324),  # ends before it begins
    ("fetch_info a 0 url_range end", False),
    ("offset_into_first_range", 200),  # beyond the first run
    ("offset_into_first_range", -1),
    ("offset_into_first_range", "0"),
]


@pytest.mark.parametrize(("place", "value"), NONSENSE)
def test_an_answer_that_makes_no_sense_is_refused(place: str, value: object) -> None:
    assert len(runs(GOOD, 50)) == 2
    given = copy.deepcopy(GOOD)
    *path, last = (int(key) if key.isdecimal() else key for key in place.split())
    inner: Any = given
    for key in path:
        inner = inner[key]
    if value is ABSENT:
        del inner[last]
    else:
        inner[last] = value
    with pytest.raises(ValueError, match="an answer"):
        runs(given, 50)


def test_fewer_bytes_than_are_wanted() -> None:
    assert runs(GOOD, 250)
    with pytest.raises(ValueError, match="an answer for another range"):
        runs(GOOD, 251)


@pytest.mark.parametrize("given", [None, [], "terms", 7, {}, [GOOD]], ids=repr)
def test_what_is_no_answer_at_all(given: object) -> None:
    with pytest.raises(ValueError, match="an answer"):
        runs(given, 1)


def test_an_error_does_not_show_what_may_be_secret() -> None:
    given = copy.deepcopy(GOOD)
    given["fetch_info"]["a"][0]["url_range"]["start"] = "https://cdn.example/a?X-Signature=secret"
    with pytest.raises(ValueError, match="an answer") as caught:
        runs(given, 250)
    assert "secret" not in str(caught.value)
