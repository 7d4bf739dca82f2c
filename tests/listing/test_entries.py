"""What is said of files becomes values only if it cannot do harm."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_fetch.base.problem import ExitCode, Problem
from qwen_fetch.base.settings import Settings
from qwen_fetch.listing.entries import Entry, snapshot_of

COMMIT = "c" * 40
GOOD = {"size": 10, "blob_id": "b" * 40, "sha256": "a" * 64, "xet_hash": "d" * 64}


UNSAFE = [
    pytest.param("../x", {}, id="out of the folder"),
    pytest.param("a/../../x", {}, id="out of the folder, on a way round"),
    pytest.param("a/..", {}, id="the folder itself"),
    pytest.param("/etc/passwd", {}, id="absolute"),
    pytest.param("", {}, id="no name"),
    pytest.param(".", {}, id="this folder"),
    pytest.param("a//b", {}, id="an empty part"),
    pytest.param("a/", {}, id="a folder"),
    pytest.param("a/./b", {}, id="a part that is this folder"),
    pytest.param("a\\..\\b", {}, id="a Windows path"),
    pytest.param("\\\\server\\share", {}, id="a Windows share"),
    pytest.param("//server/share/x", {}, id="a share"),
    pytest.param("C:x", {}, id="a drive"),
    pytest.param("C:/x", {}, id="a drive's root"),
    pytest.param("a/C:x", {}, id="a drive further on: joined, it takes over"),
    pytest.param("a\nb", {}, id="a line break"),
    pytest.param("a\x00b", {}, id="a null"),
    pytest.param("a\x1b[2Jb", {}, id="a terminal's escape"),
    pytest.param("a\x7fb", {}, id="delete"),
    pytest.param("a\x9b2Jb", {}, id="a terminal's escape in one byte"),
    pytest.param("a\ud800b", {}, id="half a character"),
    pytest.param("a", {"size": -1}, id="a negative size"),
    pytest.param("a", {"size": "10"}, id="a size that is text"),
    pytest.param("a", {"size": 1.5}, id="half a byte"),
    pytest.param("a", {"size": None}, id="no size"),
    pytest.param("a", {"size": True}, id="a size that is true"),
    pytest.param("a", {"sha256": "a" * 63}, id="a short digest"),
    pytest.param("a", {"sha256": "A" * 64}, id="a digest in capitals"),
    pytest.param("a", {"sha256": "../" * 20 + "aaaa"}, id="a digest that is a path"),
    pytest.param("a", {"sha256": "a" * 64 + "\n"}, id="a digest and a line break"),
    pytest.param("a", {"sha256": 5}, id="a digest that is a number"),
    pytest.param("a", {"sha256": None, "blob_id": "b" * 39}, id="a short blob id"),
    pytest.param("a", {"sha256": None, "blob_id": None}, id="no digest"),
    pytest.param("a", {"sha256": ""}, id="an empty digest"),
    pytest.param("a", {"blob_id": "../x"}, id="a blob id that is a path"),
    pytest.param("a", {"size": 1 << 60}, id="more than there is"),
    pytest.param("a" * 256, {}, id="a name too long"),
    pytest.param(5, {}, id="a number"),
    pytest.param(None, {}, id="nothing"),
    pytest.param("fine", {}, id="the same twice"),
    pytest.param("fine/x", {}, id="below a file"),
]


@pytest.mark.parametrize(("path", "wrong"), UNSAFE)
def test_what_cannot_be_stored_safely_is_refused(path: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(Problem) as caught:
        snapshot_of(Settings(), COMMIT, [Entry("fine", **GOOD), Entry(path, **(GOOD | wrong))])
    assert caught.value.id == "unsafe-listing"
    assert caught.value.exit_code == ExitCode.CORRUPT
    assert "".join(caught.value.lines()).isprintable()


@pytest.mark.parametrize(
    "path", ["a b", "a/b.c", ".gitattributes", "ä/日本.txt", "…", "-rf", "ab:c", "con.txt", "a..b", "[x]*?"]
)
def test_unusual_names_are_names(path: str) -> None:
    assert [file.path for file in snapshot_of(Settings(), COMMIT, [Entry(path, **GOOD)]).files] == [path]


@pytest.mark.parametrize("xet_hash", ["*" * 64, "d" * 63, "D" * 64, "../x", 5, ["d" * 64], None])
def test_a_xet_hash_that_is_none_leaves_plain_http(xet_hash: Any) -> None:
    (file,) = snapshot_of(Settings(), COMMIT, [Entry("a", **(GOOD | {"xet_hash": xet_hash}))]).files
    assert file.xet_hash is None


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=60)
    | st.sampled_from(["../x", "a" * 64]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(entries=st.lists(st.builds(Entry, anything, anything, anything, anything, anything), max_size=4))
def test_whatever_is_said_is_a_snapshot_or_a_problem(entries: list[Entry]) -> None:
    with suppress(Problem):
        listed = snapshot_of(Settings(), COMMIT, entries)
        assert all(".." not in file.path.split("/") for file in listed.files)
