"""Mirrors as they are: what can be proved right is taken, and what cannot work ends at once with the true sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mirror import WEIGHTS, Manner, Mirror
from workbench import SHARD, Tool

if TYPE_CHECKING:
    from pathlib import Path

    from workbench import OpenHub

ONCE, TWICE = 1.05, 2.1  # times the size of the weights that may be sent
WORKS = {
    "as the Hub": (Manner(), ONCE),
    "no commit named": (Manner(commit=False), ONCE),
    "no trees (404)": (Manner(tree=404), ONCE),
    "no trees (501)": (Manner(tree=501), ONCE),
    "no HEAD (405)": (Manner(head=405), ONCE),
    "no HEAD (501)": (Manner(head=501), ONCE),
    "neither trees nor HEAD": (Manner(tree=404, head=405, commit=False), ONCE),
    "below a path": (Manner(prefix="/api/hf/mirror"), ONCE),
    "one redirect": (Manner(hops=1), ONCE),
    "four redirects": (Manner(hops=4), ONCE),
    "relative redirects": (Manner(hops=2, location="relative", prefix="/hf"), ONCE),
    "redirects with blanks": (Manner(hops=2, location="blank"), ONCE),
    "redirects with an umlaut": (Manner(hops=2, location="umlaut"), ONCE),
    "redirects to whole addresses": (Manner(hops=2, location="whole"), ONCE),
    "HTTP/1.0": (Manner(old=True), ONCE),
    "a range unsaid": (Manner(ranges="unsaid"), ONCE),
    "a range in Bytes": (Manner(ranges="Bytes"), ONCE),
    "a range of unknown whole": (Manner(ranges="star"), ONCE),
    "shorter ranges than asked for": (Manner(ranges="short"), ONCE),
    "chunked ranges": (Manner(ranges="chunked"), ONCE),
    "the whole instead of a range": (Manner(ranges="whole"), TWICE),
    "the whole, of a length unsaid": (Manner(ranges="whole-unsaid"), TWICE),
    "no ranges (416)": (Manner(ranges="416"), TWICE),
    "no ranges (501)": (Manner(ranges="501"), TWICE),
    "no ranges (403)": (Manner(ranges="403"), TWICE),
    "no ranges (400)": (Manner(ranges="400"), TWICE),
}
ENDS = {
    "names only": (Manner(tree=404, sizes=False), 4, "bare-listing"),
    "a coding unasked": (Manner(coding="gzip"), 4, "not-the-file"),
    "a circle": (Manner(hops=99), 4, "odd-answer"),
    "another digest than listed": (Manner(etag="f" * 64), 9, "stale-listing"),
}


def weights(repo: Path) -> int:
    return sum(path.stat().st_size for path in repo.rglob(f"*{WEIGHTS}"))


@pytest.mark.parametrize(("manner", "most"), WORKS.values(), ids=WORKS)
def test_what_can_be_proved_right_is_taken(
    tool: Tool, open_hub: OpenHub, small_repo: Path, manner: Manner, most: float
) -> None:
    hub = open_hub(small_repo, xet=False)
    with Mirror(hub.endpoint, small_repo, manner) as mirror:
        tool.endpoint = mirror.endpoint + "/"
        ended = tool.run("--token", "hf_madeup")
        assert ended.code == 0, ended
        assert tool.tree_is(small_repo)
        assert mirror.sent <= most * weights(small_repo)


@pytest.mark.parametrize(("manner", "code", "problem"), ENDS.values(), ids=ENDS)
def test_what_cannot_work_ends_at_once(
    tool: Tool, open_hub: OpenHub, small_repo: Path, manner: Manner, code: int, problem: str
) -> None:
    hub = open_hub(small_repo, xet=False)
    with Mirror(hub.endpoint, small_repo, manner) as mirror:
        tool.endpoint = mirror.endpoint
        ended = tool.run()
        assert ended.code == code, ended
        assert f"[{problem}]" in ended.err
        assert ended.seconds < 12
        assert mirror.sent <= TWICE * weights(small_repo)


def test_a_partial_goes_on_without_ranges(tool: Tool, open_hub: OpenHub, small_repo: Path) -> None:
    hub = open_hub(small_repo, xet=False)
    tool.endpoint = hub.endpoint
    tool.run("--limit-rate", "8M", stop_after=2.0)
    kept = sum(path.stat().st_size for path in tool.blobs.glob("*"))
    assert kept > 0
    with Mirror(hub.endpoint, small_repo, Manner(ranges="416")) as mirror:
        tool.endpoint = mirror.endpoint
        ended = tool.run()
        assert ended.code == 0, ended
        assert tool.tree_is(small_repo)
        assert mirror.sent <= weights(small_repo) * ONCE


def test_a_damaged_cache_on_the_way_heals_for_all(open_hub: OpenHub, small_repo: Path, tmp_path: Path) -> None:
    hub = open_hub(small_repo, xet=False)
    with Mirror(hub.endpoint, small_repo, Manner(damaged=SHARD)) as mirror:
        for home in ("one", "other"):
            machine = Tool(tmp_path / home, mirror.endpoint)
            before = mirror.sent
            ended = machine.run()
            assert ended.code == 0, ended
            assert machine.tree_is(small_repo)
            assert ("told to ask for it again" in ended.err) == (home == "one")
            more = (small_repo / SHARD).stat().st_size * 1.1 if home == "one" else 0
            assert mirror.sent - before <= weights(small_repo) * 1.01 + more


@pytest.mark.parametrize(
    "endpoint",
    [
        "  ",
        "huggingface.co",
        "ftp://huggingface.co",
        '"https://huggingface.co"',
        "https://",
        "https://a b",
        "http://x:0",
    ],
)
@pytest.mark.parametrize("way", ["option", "environment"])
def test_what_cannot_be_an_endpoint_is_said_at_once(tool: Tool, endpoint: str, way: str) -> None:
    if way == "environment":
        if not endpoint.strip():
            pytest.skip("a blank variable is none")
        tool.extra = {"HF_ENDPOINT": endpoint}
    ended = tool.run(*(("--endpoint", endpoint) if way == "option" else ()))
    assert ended.code == 2, ended
    assert "wants an address such as https://huggingface.co" in ended.err
