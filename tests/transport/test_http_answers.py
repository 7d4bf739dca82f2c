"""A table of what the hosts can answer, and what follows for the HTTP source."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
from http_script import fetch, part
from scripted import DATA, LOGIN_PAGE, Reply, Scripted

from qwen_fetch.transport.source import FailureKind

if TYPE_CHECKING:
    from qwen_fetch.transport.http import HttpSource

K = FailureKind

pytestmark = pytest.mark.usefixtures("no_proxy_of_this_machine")

whole = Reply("200 OK", DATA)

TABLE = [
    # window, the data host's answers -> bytes that arrive, failure, Range headers sent
    pytest.param((100, 300), [part(100, 300)], (100, 300), None, ["100-299"], id="the range"),
    pytest.param((0, 1000), [part(0, 1000)], (0, 1000), None, ["0-999"], id="all of it"),
    pytest.param((100, 300), [part(100, 300, total="*")], (100, 300), None, ["100-299"], id="a total it does not tell"),
    pytest.param(
        (100, 300),
        [
            Reply(
                "206 Partial Content\nContent-Range: bytes 100-299/1000\nTransfer-Encoding: chunked",
                b"c8\r\n" + DATA[100:300] + b"\r\n0\r\n\r\n",
            )
        ],
        (100, 300),
        None,
        ["100-299"],
        id="in chunks",
    ),
    pytest.param((100, 300), [part(101, 301)], (100, 100), K.WRONG_RANGE, ["100-299"], id="another start"),
    pytest.param((100, 300), [part(100, 301)], (100, 100), K.WRONG_RANGE, ["100-299"], id="more than asked"),
    pytest.param((100, 300), [part(100, 250)], (100, 250), K.CUT, ["100-299"], id="less than asked: what came is good"),
    pytest.param((100, 300), [part(100, 300, total=999)], (100, 100), K.WRONG_LENGTH, ["100-299"], id="another file"),
    pytest.param(
        (100, 300),
        [Reply("206 Partial Content", DATA[100:300])],
        (100, 300),
        None,
        ["100-299"],
        id="no range said, and the length is right",
    ),
    pytest.param(
        (100, 300),
        [Reply("206 Partial Content", DATA[100:299])],
        (100, 100),
        K.WRONG_RANGE,
        ["100-299"],
        id="no range said, and another length",
    ),
    pytest.param(
        (100, 300),
        [part(100, 300, stated="Bytes 100-299/1000")],
        (100, 300),
        None,
        ["100-299"],
        id="in capitals",
    ),
    pytest.param(
        (600, 1000),
        [Reply("200 OK\nTransfer-Encoding: chunked", b"3e8\r\n" + DATA + b"\r\n0\r\n\r\n")],
        (600, 1000),
        None,
        ["600-999"],
        id="the whole, of unknown length",
    ),
    pytest.param(
        (0, 1000),
        [Reply("206 Partial Content\nContent-Range: bytes 0-999/1000\nContent-Encoding: gzip", DATA)],
        (0, 0),
        K.ENCODED,
        ["0-999"],
        id="packed",
    ),
    pytest.param((0, 1000), [Reply("501 Not Implemented")], (0, 0), K.NO_RANGES, ["0-999"], id="ranges are not known"),
    pytest.param(
        (100, 300), [part(100, 300, stated="chars 1-2/3")], (100, 100), K.WRONG_RANGE, ["100-299"], id="nonsense said"
    ),
    pytest.param(
        (600, 1000), [whole], (600, 1000), None, ["600-999"], id="the whole, and the end is wanted: skip the rest"
    ),
    pytest.param((0, 1000), [whole], (0, 1000), None, ["0-999"], id="the whole, and all is wanted"),
    pytest.param((100, 300), [whole], (100, 100), K.NO_RANGES, ["100-299"], id="the whole, and a middle is wanted"),
    pytest.param(
        (0, 1000), [Reply("200 OK", DATA[:999])], (0, 0), K.WRONG_LENGTH, ["0-999"], id="the whole, too short"
    ),
    pytest.param((0, 1000), [Reply("416 Range Not Satisfiable")], (0, 0), K.NO_RANGES, ["0-999"], id="no such range"),
    pytest.param((0, 100), [Reply("403 Forbidden")] * 2, (0, 0), K.REFUSED, ["0-99", ""], id="an expired URL"),
    pytest.param((0, 100), [Reply("404 Not Found")], (0, 0), K.REFUSED, ["0-99"], id="a URL that leads nowhere"),
    pytest.param((0, 100), [Reply("429 Too Many Requests")], (0, 0), K.THROTTLED, ["0-99"], id="too many requests"),
    pytest.param((0, 100), [Reply("503 Service Unavailable")], (0, 0), K.SERVER, ["0-99"], id="a fault of the server"),
    pytest.param(
        (0, 100),
        [Reply("302 Found\nLocation: /x"), part(0, 100)],
        (0, 100),
        None,
        ["0-99", "0-99"],
        id="sent on by the data host",
    ),
    pytest.param(
        (0, 100),
        [Reply(f"302 Found\nLocation: /{number}") for number in range(5)],
        (0, 0),
        K.ODD,
        ["0-99"] * 5,
        id="sent on and on",
    ),
    pytest.param(
        (0, 100),
        [Reply("302 Found\nLocation: gopher://x")],
        (0, 0),
        K.ODD,
        ["0-99"],
        id="sent to what is no address",
    ),
    pytest.param((0, 100), [LOGIN_PAGE], (0, 0), K.NOT_DATA, ["0-99"], id="a login page"),
    pytest.param(
        (0, 100),
        [Reply("206 Partial Content\nContent-Range: bytes 0-99/1000\nContent-Type: text/html", b"x" * 100)],
        (0, 0),
        K.NOT_DATA,
        ["0-99"],
        id="a page that pretends",
    ),
    pytest.param(
        (0, 1000),
        [Reply("206 Partial Content\nContent-Range: bytes 0-999/1000\nContent-Length: 1000", DATA[:400], "close")],
        (0, 400),
        K.CUT,
        ["0-999"],
        id="closed in the middle",
    ),
    pytest.param((0, 100), [Reply("", b"", "close")], (0, 0), K.CUT, ["0-99"], id="closed without a word"),
    pytest.param((0, 100), [Reply("", b"", "reset")], (0, 0), K.CUT, ["0-99"], id="reset without a word"),
    pytest.param((0, 100), [Reply("", b"SSH-2.0-OpenSSH_9\r\n", "close")], (0, 0), K.ODD, ["0-99"], id="not HTTP"),
]


@pytest.mark.parametrize(("window", "replies", "arrives", "kind", "ranges"), TABLE)
def test_table(
    source: HttpSource,
    data: Scripted,
    window: tuple[int, int],
    replies: list[Reply],
    arrives: tuple[int, int],
    kind: FailureKind | None,
    ranges: list[str],
) -> None:
    data.replies += replies
    got, failure = fetch(source, *window)
    assert got == DATA[slice(*arrives)]
    assert (failure and failure.kind) == kind
    assert data.ranges == ranges
    if failure:
        assert "secret" not in str(failure)
        assert failure.detail.isprintable()
        # Whatever happened, the source can be used again.
        data.replies.append(part(0, 1000))
        assert fetch(source, 0, 1000) == (DATA, None)


AT_ENDPOINT = [
    pytest.param(Reply("404 Not Found"), K.MISSING, id="no such file"),
    pytest.param(Reply("410 Gone"), K.MISSING, id="gone"),
    pytest.param(Reply("401 Unauthorized"), K.DENIED, id="no token"),
    pytest.param(Reply("403 Forbidden"), K.DENIED, id="not with this token"),
    pytest.param(Reply("429 Too Many Requests"), K.THROTTLED, id="too many requests"),
    pytest.param(Reply("500 Internal Server Error"), K.SERVER, id="a fault"),
    pytest.param(Reply("302 Found"), K.ODD, id="a redirect to nowhere"),
    pytest.param(Reply("302 Found\nLocation: /again"), K.ODD, id="a circle"),
    pytest.param(Reply("302 Found\nLocation: ftp://127.0.0.1/x"), K.ODD, id="another protocol"),
    pytest.param(Reply("302 Found\nLocation: file:///etc/passwd"), K.ODD, id="a file of this machine"),
    pytest.param(Reply("302 Found\nLocation: http://[::1"), K.ODD, id="no URL at all"),
    pytest.param(Reply("302 Found\nLocation: http://127.0.0.1:99999/x"), K.ODD, id="no such port"),
    pytest.param(Reply("", b"", "close"), K.CUT, id="closed without a word"),
]


@pytest.mark.parametrize(("reply", "kind"), AT_ENDPOINT)
def test_what_the_endpoint_may_say(endpoint: Scripted, source: HttpSource, reply: Reply, kind: FailureKind) -> None:
    endpoint.always = reply
    got, failure = fetch(source, 0, 100)
    assert got == b""
    assert failure is not None
    assert failure.kind is kind
    assert len(endpoint.asked) <= 6


@pytest.mark.parametrize(
    ("reply", "again"),
    [
        pytest.param(Reply("403 Forbidden"), True, id="expired"),
        pytest.param(Reply("404 Not Found"), True, id="unknown"),
        pytest.param(LOGIN_PAGE, True, id="a page"),
        pytest.param(part(5, 100), True, id="another range"),
        pytest.param(Reply("503 Service Unavailable"), False, id="a fault says nothing about the URL"),
        pytest.param(Reply("", b"", "close"), False, id="neither does a cut"),
    ],
)
def test_the_url_is_asked_for_again_when_it_was_refused(
    source: HttpSource, data: Scripted, endpoint: Scripted, reply: Reply, again: bool
) -> None:
    asked_as_a_whole = [reply] if reply.head.startswith("403") else []
    data.replies += [reply, *asked_as_a_whole, part(0, 100)]
    _, failure = fetch(source, 0, 100)
    assert failure is not None
    assert len(endpoint.asked) == 1
    assert fetch(source, 0, 100) == (DATA[:100], None)
    assert len(endpoint.asked) == 1 + again


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        pytest.param("7", 7, 7, id="seconds"),
        pytest.param(format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True), 1, 86_400, id="a date"),
        pytest.param(format_datetime(datetime.now(UTC) - timedelta(days=60), usegmt=True), 0, 0, id="a date gone by"),
        pytest.param("soon", None, None, id="nonsense"),
        pytest.param("-5", None, None, id="negative"),
        pytest.param("9" * 400, None, None, id="for ever"),
    ],
)
def test_how_long_the_server_asks_to_wait(
    source: HttpSource, data: Scripted, value: str, low: float | None, high: float | None
) -> None:
    for status in ("429 Too Many Requests", "503 Service Unavailable"):
        data.replies.append(Reply(f"{status}\nRetry-After: {value}"))
        _, failure = fetch(source, 0, 100)
        assert failure is not None
        if low is None or high is None:
            assert failure.retry_after is None
        else:
            assert failure.retry_after is not None
            assert low <= failure.retry_after <= high
