"""How the Xet source reads: whom it asks what, run after run, over kept connections, with a token while it lasts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from scripted import DATA, Reply
from xet_script import HUB_TOKEN, JSON, STORE_TOKEN, entry, part, term

from qwen_fetch.transport.source import FailureKind

if TYPE_CHECKING:
    from xet_script import Place

pytestmark = pytest.mark.usefixtures("no_proxy_of_this_machine")


def test_who_is_asked_what_and_who_is_told_which_token(place: Place) -> None:
    place.service.replies += [place.chunks(1, 3, skip=50), place.chunks(2, 4, skip=200)]
    place.data.replies += [part(1, 3), part(2, 4)]
    assert place.fetch(300, 700) == (DATA[300:700], None)
    assert place.fetch(700, 1000) == (DATA[700:], None)
    assert [asked.line for asked in place.hub.asked] == [f"GET /api/models/a/b/xet-read-token/{'c' * 40} HTTP/1.1"]
    assert [asked.line for asked in place.service.asked] == [f"GET /v1/reconstructions/{'f' * 64} HTTP/1.1"] * 2
    assert [asked.line for asked in place.data.asked] == ["GET /xorb?X-Signature=secret HTTP/1.1"] * 2
    assert place.service.ranges == ["300-699", "700-999"]
    assert place.data.ranges == ["258-773", "516-1031"]
    told = [[asked.headers.get("authorization") for asked in host.asked] for host in (place.hub, place.service)]
    assert told == [[f"Bearer {HUB_TOKEN}"], [f"Bearer {STORE_TOKEN}"] * 2]
    assert not any("authorization" in asked.headers for asked in place.data.asked)
    assert {asked.connection for asked in (*place.service.asked, *place.data.asked)} == {1}


# --- several runs


@pytest.mark.parametrize(
    ("announced", "until"), [(200, 200), (300, 250)], ids=["more than announced", "less than announced"]
)
def test_a_run_of_another_length_than_announced_is_not_gone_on_from(place: Place, announced: int, until: int) -> None:
    first, second = term("a", 0, 1) | {"unpacked_length": announced}, term("a", 1, 4)
    place.service.replies.append(place.where(first, second, a=[entry(0, 1), entry(1, 4)]))
    place.data.replies.append(part(0, 1))
    got, failure = place.fails(0, 900)
    assert (got, failure.kind) == (DATA[:until], FailureKind.NOT_DATA)


def test_an_address_that_serves_two_runs_is_read_for_the_first_and_asked_for_again(place: Place) -> None:
    # The file is the chunks 0, 1, 0 and 3 of a xorb, say; each is kept once, and one address is given for all.
    terms = [term("a", 0, 2), term("b", 2, 3), term("a", 3, 4)]
    place.service.replies += [place.where(*terms, a=[entry(0, 4)], b=[entry(2, 3)]), place.chunks(3, 4)]
    place.data.replies += [part(0, 4), part(2, 3), part(3, 4)]
    assert place.fetch(0, 1000) == (DATA, None)
    assert place.service.ranges == ["0-999", "750-999"]
    assert place.data.ranges == ["0-1031", "516-773", "774-1031"]


def test_an_address_that_begins_earlier_even_for_a_run_alone_is_read(place: Place) -> None:
    place.service.replies.append(place.where(term("a", 2, 4), skip=10, a=[entry(1, 4)]))
    place.data.replies.append(part(1, 4))
    assert place.fetch(510, 1000) == (DATA[510:], None)


def test_runs_that_were_not_asked_for_are_not_fetched(place: Place) -> None:
    place.service.replies.append(place.where(term("a", 0, 1), term("a", 1, 4), a=[entry(0, 1), entry(1, 4)]))
    place.data.replies.append(part(0, 1))
    assert place.fetch(0, 200) == (DATA[:200], None)
    assert place.data.ranges == ["0-257"]


# --- connections and the clock


def test_an_answer_in_parts_keeps_the_connection(place: Place) -> None:
    told = place.chunks(0, 4).body
    body = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (100, told[:100], len(told) - 100, told[100:])
    place.service.always = Reply(f"{JSON}\nTransfer-Encoding: chunked", body)
    place.data.always = part(0, 4)
    for _ in range(3):
        assert place.fetch(0, 1000) == (DATA, None)
    assert [asked.connection for asked in place.service.asked] == [1, 1, 1]
    assert [asked.connection for asked in place.data.asked] == [1, 1, 1]


def test_hosts_that_close_after_each_answer_are_connected_to_again(place: Place) -> None:
    told, sent = place.chunks(0, 4), part(0, 4)
    place.service.always = Reply(f"{told.head}\nConnection: close", told.body, "close")
    place.data.always = Reply(f"{sent.head}\nConnection: close", sent.body, "close")
    for _ in range(2):
        assert place.fetch(0, 1000) == (DATA, None)
    assert [asked.connection for asked in place.data.asked] == [1, 2]


@pytest.mark.parametrize(
    ("lasts", "used"),
    [
        pytest.param(3600, 3540, id="until a minute before its end"),
        pytest.param(90, 60, id="for a minute at least"),
        pytest.param(-7200, 60, id="even if this machine's clock is wrong"),
    ],
)
def test_how_long_a_token_is_used(place: Place, monkeypatch: pytest.MonkeyPatch, lasts: float, used: float) -> None:
    clock: Any = SimpleNamespace(now=50.0, time=lambda: 1e9, monotonic=lambda: clock.now)
    monkeypatch.setattr("qwen_fetch.transport.xet.time", clock)
    place.hub.always = place.token(exp=1e9 + lasts)
    asked = []
    for passed in (0, 0, used - 1, used + 1, used + 2):
        clock.now = 50.0 + passed
        assert place.admission.get() == (place.service.url, STORE_TOKEN)
        asked.append(len(place.hub.asked))
    assert asked == [1, 1, 1, 2, 2]


def test_a_token_is_forgotten_once_and_not_the_one_that_came_after_it(place: Place) -> None:
    old = place.admission.get()
    place.hub.always = place.token(accessToken="another")
    place.admission.forget(old)
    assert place.admission.get() == (place.service.url, "another")
    place.admission.forget(old)  # a slower worker was refused as well
    assert place.admission.get() == (place.service.url, "another")
    assert len(place.hub.asked) == 2
