"""What follows a failure: a table, and the laws of the pauses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_fetch.base.settings import Transport
from qwen_fetch.transfer.retry import Decision, Health, decide, pause
from qwen_fetch.transport.source import Failure, FailureKind

BOTH: tuple[Transport, ...] = ("xet", "http")
HTTP: tuple[Transport, ...] = ("http",)
K = FailureKind

TABLE = [
    # kind, used, allowed, failures in a row -> give up, waits, transport
    pytest.param(K.CUT, "http", HTTP, 0, False, False, "http", id="a cut that gained something: at once"),
    pytest.param(K.CUT, "http", BOTH, 0, False, False, "http", id="what works is not left"),
    pytest.param(K.CUT, "http", HTTP, 1, False, False, "http", id="the first cut without gain: at once"),
    pytest.param(K.CUT, "http", HTTP, 2, False, True, "http", id="the second: after a pause"),
    pytest.param(K.CUT, "http", HTTP, 10, True, False, "http", id="ten in a row: enough"),
    pytest.param(K.WRONG_LENGTH, "http", HTTP, 3, True, False, "http", id="another length, three times: it stays"),
    pytest.param(K.STALLED, "xet", BOTH, 1, False, False, "http", id="a silent Xet stream: HTTP, at once"),
    pytest.param(K.SERVER, "http", BOTH, 1, False, False, "xet", id="a fault over HTTP: Xet, at once"),
    pytest.param(K.SERVER, "http", HTTP, 1, False, True, "http", id="a fault and no other way: a pause"),
    pytest.param(K.DENIED, "http", HTTP, 1, True, False, "http", id="no access: no use to ask again"),
    pytest.param(K.DENIED, "xet", BOTH, 1, False, False, "http", id="no access over Xet: HTTP may do"),
    pytest.param(K.DENIED, "http", BOTH, 2, True, False, "http", id="no access over both: enough"),
    pytest.param(K.REFUSED, "http", HTTP, 1, False, False, "http", id="an expired URL: a new one, at once"),
]


@pytest.mark.parametrize(("kind", "used", "allowed", "failures", "give_up", "waits", "transport"), TABLE)
def test_table(
    kind: K, used: Transport, allowed: tuple[Transport, ...], failures: int, give_up: bool, waits: bool, transport: str
) -> None:
    decision = decide(Failure(kind, ""), used, allowed, failures, most=10)
    assert decision.give_up == give_up
    assert (decision.wait > 0) == waits
    assert decision.transport == transport


def test_the_server_is_obeyed_when_it_asks_to_wait() -> None:
    decision = decide(Failure(K.THROTTLED, "", retry_after=7), "http", HTTP, 1, most=10)
    assert decision == Decision(give_up=False, wait=7, transport="http")


def test_but_not_for_a_day() -> None:
    assert decide(Failure(K.THROTTLED, "", retry_after=86_400), "http", HTTP, 1, most=10).wait == 300


@given(failures=st.integers(1, 10_000), jitter=st.floats(0, 1))
def test_pauses_are_bounded(failures: int, jitter: float) -> None:
    assert 0.3 < pause(failures, jitter) <= 75


def test_pauses_double() -> None:
    assert [pause(n, 0.5) for n in range(1, 10)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_a_failed_transport_rests_and_longer_each_time() -> None:
    health = Health(BOTH)
    assert health.order(BOTH, 0) == ("xet", "http")
    health.failed("xet", 0)
    assert health.order(BOTH, 59) == ("http", "xet")
    assert health.order(BOTH, 61) == ("xet", "http")
    health.failed("xet", 100)
    assert health.order(BOTH, 219) == ("http", "xet")
    assert health.order(BOTH, 221) == ("xet", "http")
    assert health.order(HTTP, 0) == HTTP


def test_only_the_preferred_transport_rests() -> None:
    health = Health(BOTH)
    health.failed("http", 0)
    assert health.order(BOTH, 1) == ("xet", "http")


@pytest.mark.parametrize("kind", [K.UNREACHABLE, K.SERVER, K.CUT, K.STALLED, K.THROTTLED])
def test_a_night_is_waited_out_and_no_more(kind: K) -> None:
    # Every pause at its longest: the tries of twelve hours.
    for failures in (1, 10, 100, 1000):
        assert not decide(Failure(kind, ""), "http", HTTP, failures, most=None).give_up
        assert decide(Failure(kind, ""), "http", HTTP, failures, most=None, late=True).give_up


@pytest.mark.parametrize("kind", [K.DENIED, K.MISSING, K.UNTRUSTED])
def test_what_cannot_heal_ends_at_once(kind: K) -> None:
    assert decide(Failure(kind, ""), "http", HTTP, 1, most=None).give_up
