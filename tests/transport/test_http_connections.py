"""The connections of the HTTP source: kept, closed by the server, silent, ended from outside."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from http_script import FILE, fetch, open_source, part, to
from scripted import DATA, Reply, Scripted

from qwen_fetch.transport.source import Failure, FailureKind

if TYPE_CHECKING:
    import socket

    from qwen_fetch.transport.http import HttpSource

K = FailureKind

pytestmark = pytest.mark.usefixtures("no_proxy_of_this_machine")


def test_a_reset_in_the_middle_takes_nothing_of_what_had_come() -> None:
    # The reset is sent once the reader has what was sent before: a system may throw away what is unread.
    class Resetting(Scripted):
        def answer(self, connection: socket.socket, line: str, reply: Reply) -> bool:
            connection.sendall(reply.raw)
            go.wait(5)
            return super().answer(connection, line, Reply("", b"", "reset"))

    go = threading.Event()
    half = Reply("206 Partial Content\nContent-Range: bytes 0-999/1000\nContent-Length: 1000", DATA[:400])
    with Resetting([half]) as data, Scripted(always=to(data.url)) as endpoint:
        got = bytearray()
        pieces = open_source(endpoint).window(FILE, 0, 1000)
        while len(got) < 400:
            got += next(pieces)
        go.set()
        with pytest.raises(Failure) as caught:
            next(pieces)
        assert caught.value.kind is K.CUT
        assert got == DATA[:400]


@pytest.mark.parametrize("sent", [0, 400], ids=["no answer", "half an answer"])
def test_silence_is_a_stall(endpoint: Scripted, data: Scripted, sent: int) -> None:
    head = "206 Partial Content\nContent-Range: bytes 0-999/1000\nContent-Length: 1000" if sent else ""
    data.replies.append(Reply(head, DATA[:sent], "hang"))
    source = open_source(endpoint, stall_timeout=0.2)
    began = time.monotonic()
    got, failure = fetch(source, 0, 1000)
    assert got == DATA[:sent]
    assert failure is not None
    assert failure.kind is K.STALLED
    assert time.monotonic() - began < 3
    source.close()


def test_a_silent_endpoint_is_given_up(endpoint: Scripted) -> None:
    endpoint.replies.append(Reply("", b"", "hang"))
    source = open_source(endpoint, timeout=0.2)
    _, failure = fetch(source, 0, 100)
    assert failure is not None
    assert failure.kind is K.STALLED
    assert "answer" in failure.detail


def test_one_connection_serves_window_after_window(source: HttpSource, data: Scripted, endpoint: Scripted) -> None:
    data.replies += [part(0, 400), part(400, 1000)]
    assert fetch(source, 0, 400) == (DATA[:400], None)
    assert fetch(source, 400, 1000) == (DATA[400:], None)
    assert [asked.connection for asked in data.asked] == [1, 1]
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize("then", ["close", "reset"])
def test_an_idle_connection_that_the_server_closed_is_nobodys_fault(
    source: HttpSource, data: Scripted, then: str
) -> None:
    data.replies += [part(0, 400, then=then), part(400, 1000)]
    assert fetch(source, 0, 400) == (DATA[:400], None)
    time.sleep(0.05)
    assert fetch(source, 400, 1000) == (DATA[400:], None)
    assert [asked.connection for asked in data.asked] == [1, 2]


def test_a_server_that_says_that_it_closes_is_connected_to_again(source: HttpSource, data: Scripted) -> None:
    for number in range(3):
        answer = part(number * 100, number * 100 + 100, then="close")
        data.replies.append(replace(answer, head=f"{answer.head}\nConnection: close"))
        assert fetch(source, number * 100, number * 100 + 100) == (DATA[number * 100 :][:100], None)
    assert [asked.connection for asked in data.asked] == [1, 2, 3]


def test_a_server_that_closes_again_and_again_is_not_asked_for_ever(source: HttpSource, data: Scripted) -> None:
    data.replies += [part(0, 400)]
    data.always = Reply("", b"", "close")
    assert fetch(source, 0, 400) == (DATA[:400], None)
    _, failure = fetch(source, 400, 1000)
    assert failure is not None
    assert failure.kind is K.CUT
    assert len(data.asked) == 3


def test_a_window_that_is_left_early_does_not_spoil_the_next(source: HttpSource, data: Scripted) -> None:
    data.replies += [part(0, 1000), part(400, 1000)]
    pieces = source.window(FILE, 0, 1000)
    next(pieces)
    pieces.close()
    assert fetch(source, 400, 1000) == (DATA[400:], None)
    assert [asked.connection for asked in data.asked] == [1, 2]


@pytest.mark.parametrize("reused", [False, True], ids=["a new connection", "a kept connection"])
@pytest.mark.parametrize(
    ("sent", "said"),
    [
        pytest.param(0, "", id="before the answer"),
        pytest.param(400, "", id="within the answer"),
        pytest.param(400, "\nConnection: close", id="within the last answer of a connection"),
    ],
)
def test_abort_ends_a_blocked_window_at_once(
    source: HttpSource, data: Scripted, reused: bool, sent: int, said: str
) -> None:
    if reused:
        data.replies.append(part(0, 100))
        assert fetch(source, 0, 100)[1] is None
    head = f"206 Partial Content\nContent-Range: bytes 0-999/1000\nContent-Length: 1000{said}" if sent else ""
    data.replies += [Reply(head, DATA[:sent], "hang"), Reply("", b"", "hang")]

    def abort() -> None:
        data.hanging.wait(5)
        time.sleep(0.1)
        source.abort()

    thread = threading.Thread(target=abort)
    thread.start()
    began = time.monotonic()
    got, failure = fetch(source, 0, 1000)
    thread.join()
    assert time.monotonic() - began < 3
    assert got == DATA[:sent]
    assert failure is not None
    assert failure.kind is K.STALLED
    data.replies[:] = [part(0, 100)]
    assert fetch(source, 0, 100) == (DATA[:100], None)


def test_abort_of_nothing_does_nothing(source: HttpSource, data: Scripted) -> None:
    source.abort()
    data.replies += [part(0, 100), part(100, 200)]
    assert fetch(source, 0, 100) == (DATA[:100], None)
    source.abort()
    assert fetch(source, 100, 200) == (DATA[100:200], None)
