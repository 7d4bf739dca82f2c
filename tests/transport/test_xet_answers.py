"""A table of what the hosts can answer, and what follows for the Xet source."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from scripted import DATA, LOGIN_PAGE, Reply
from xet_script import CHUNK, JSON, XORB, entry, part, term

from qwen_fetch.transport.source import FailureKind

if TYPE_CHECKING:
    from xet_script import Place

K = FailureKind

pytestmark = pytest.mark.usefixtures("no_proxy_of_this_machine")

middle = (300, 700)
in_parts = Reply(f"{part(1, 3).head}\nTransfer-Encoding: chunked", b"204\r\n%s\r\n0\r\n\r\n" % part(1, 3).body)

FROM_THE_STORE = [
    # window, the data host's answer -> where the bytes that arrive end, failure, Range header sent
    pytest.param(middle, part(1, 3), 700, None, "258-773", id="the range"),
    pytest.param(middle, part(1, 3, stated="bytes 258-773/*"), 700, None, "258-773", id="a total it does not tell"),
    pytest.param(middle, in_parts, 700, None, "258-773", id="in the chunks of HTTP"),
    pytest.param((0, 1000), Reply("200 OK", XORB), 1000, None, "0-1031", id="the whole xorb, and all is wanted"),
    pytest.param(middle, Reply("200 OK", XORB), 300, K.NO_RANGES, "258-773", id="the whole, and a middle is wanted"),
    pytest.param(
        (500, 1000), Reply("200 OK", XORB), 500, K.NO_RANGES, "516-1031", id="the whole, and its end is wanted"
    ),
    pytest.param((0, 500), Reply("200 OK", XORB), 0, K.NO_RANGES, "0-515", id="the whole, and its begin is wanted"),
    pytest.param(middle, part(0, 2), 300, K.WRONG_RANGE, "258-773", id="another range"),
    pytest.param(middle, part(1, 4), 300, K.WRONG_RANGE, "258-773", id="more than asked"),
    pytest.param(middle, part(1, 2), 500, K.CUT, "258-773", id="less than asked: what came is good"),
    pytest.param(middle, Reply("206 Partial Content", XORB), 300, K.WRONG_RANGE, "258-773", id="no range said"),
    pytest.param(middle, LOGIN_PAGE, 300, K.NOT_DATA, "258-773", id="a login page"),
    pytest.param(middle, Reply("401 Unauthorized"), 300, K.REFUSED, "258-773", id="not let in"),
    pytest.param(middle, Reply("403 Forbidden"), 300, K.REFUSED, "258-773", id="an expired address"),
    pytest.param(middle, Reply("404 Not Found"), 300, K.REFUSED, "258-773", id="an address that leads nowhere"),
    pytest.param(middle, Reply("302 Found\nLocation: /x"), 300, K.ODD, "258-773", id="sent on"),
    pytest.param(middle, Reply("503 Service Unavailable"), 300, K.SERVER, "258-773", id="a fault of the server"),
    pytest.param(middle, Reply("", b"", "close"), 300, K.CUT, "258-773", id="closed without a word"),
    pytest.param(
        middle,
        Reply(f"{part(1, 3).head}\nContent-Length: 516", part(1, 3).body[:416], "close"),
        650,
        K.CUT,
        "258-773",
        id="closed in the middle of a chunk",
    ),
    pytest.param(
        middle,
        Reply(f"{part(1, 3).head}\nContent-Length: 516", part(1, 3).body[:500], "close"),
        700,
        None,
        "258-773",
        id="closed behind what was wanted",
    ),
    pytest.param(middle, Reply(part(1, 3).head, b"\xff" * 516), 300, K.NOT_DATA, "258-773", id="no chunks"),
]


@pytest.mark.parametrize(("window", "reply", "until", "kind", "asked"), FROM_THE_STORE)
def test_what_the_store_may_send(
    place: Place, window: tuple[int, int], reply: Reply, until: int, kind: FailureKind | None, asked: str
) -> None:
    start, end = window
    place.service.replies.append(place.chunks(start // CHUNK, -(-end // CHUNK), skip=start % CHUNK))
    place.data.replies.append(reply)
    if kind is None:
        assert place.fetch(start, end) == (DATA[start:end], None)
    else:
        got, failure = place.fails(start, end)
        assert (got, failure.kind) == (DATA[start:until], kind)
    assert place.data.ranges[0] == asked


ONE = [term("a", 0, 4)]


def elsewhere(url: str) -> Reply:
    told = {"terms": ONE, "offset_into_first_range": 0, "fetch_info": {"a": [entry(0, 4, url)]}}
    return Reply(JSON, json.dumps(told).encode())


FROM_THE_SERVICE = [
    pytest.param(Reply("401 Unauthorized"), K.REFUSED, id="not with this token"),
    pytest.param(Reply("403 Forbidden"), K.REFUSED, id="forbidden"),
    pytest.param(Reply("404 Not Found"), K.REFUSED, id="no such file"),
    pytest.param(Reply("416 Range Not Satisfiable"), K.WRONG_LENGTH, id="no such range"),
    pytest.param(Reply("500 Internal Server Error", b"secret"), K.SERVER, id="a fault"),
    pytest.param(Reply("302 Found\nLocation: /x"), K.ODD, id="sent on"),
    pytest.param(Reply("", b"", "close"), K.CUT, id="closed without a word"),
    pytest.param(Reply(f"{JSON}\nContent-Length: 99", b'{"terms": [', "close"), K.CUT, id="half an answer"),
    pytest.param(Reply("", b"SSH-2.0-OpenSSH_9\r\n", "close"), K.ODD, id="not HTTP"),
    pytest.param(LOGIN_PAGE, K.NOT_DATA, id="a login page"),
    pytest.param(Reply(JSON), K.NOT_DATA, id="nothing"),
    pytest.param(Reply(JSON, b'{"terms": ['), K.NOT_DATA, id="half a text"),
    pytest.param(Reply(JSON, b"\xff\xfe\xfd"), K.NOT_DATA, id="no text"),
    pytest.param(Reply(JSON, b"[" * 100_000), K.NOT_DATA, id="a text without a bottom"),
    pytest.param(Reply(JSON, b'{"terms": []}'), K.NOT_DATA, id="another answer"),
    pytest.param(
        Reply(JSON, json.dumps({"terms": [term("\x1b[31m" * 999, 0, 4)], "fetch_info": {}}).encode()),
        K.NOT_DATA,
        id="control codes without an end",
    ),
    pytest.param(elsewhere("ftp://127.0.0.1/x?secret"), K.ODD, id="another protocol"),
    pytest.param(elsewhere("file:///etc/passwd?secret"), K.ODD, id="a file of this machine"),
    pytest.param(elsewhere("http://[::1/?secret"), K.ODD, id="no address"),
    pytest.param(elsewhere("http://127.0.0.1:99999/?secret"), K.ODD, id="no such port"),
    pytest.param(elsewhere("http://a\x1bb.invalid/?secret"), K.ODD, id="control codes for a name"),
    pytest.param("DATA/xorb?X-Signature=secret and blanks", K.ODD, id="an address that cannot be sent"),
]


@pytest.mark.parametrize(("reply", "kind"), FROM_THE_SERVICE)
def test_what_the_service_may_say(place: Place, reply: Reply | str, kind: FailureKind) -> None:
    if isinstance(reply, str):
        reply = elsewhere(reply.replace("DATA", place.data.url))
    place.service.replies.append(reply)
    got, failure = place.fails(0, 1000)
    assert (got, failure.kind) == (b"", kind)
    assert len(place.service.asked) == 2


FROM_THE_HUB: list[Any] = [
    pytest.param(Reply("401 Unauthorized"), K.DENIED, id="no token"),
    pytest.param(Reply("404 Not Found"), K.MISSING, id="no such repo"),
    pytest.param(Reply("429 Too Many Requests"), K.THROTTLED, id="too many requests"),
    pytest.param(Reply("500 Internal Server Error"), K.SERVER, id="a fault"),
    pytest.param(Reply("", b"", "close"), K.CUT, id="closed without a word"),
    pytest.param(Reply("302 Found\nLocation: http://login.invalid/"), K.NOT_DATA, id="sent to another host"),
    pytest.param(LOGIN_PAGE, K.NOT_DATA, id="a login page"),
    pytest.param(Reply(JSON, b"[" * 100_000), K.NOT_DATA, id="a text without a bottom"),
    pytest.param(Reply(JSON, b'["secret"]'), K.NOT_DATA, id="a list"),
    pytest.param(Reply(JSON, b'{"accessToken": "secret", "exp": 1}'), K.NOT_DATA, id="no address"),
    pytest.param({"exp": "soon"}, K.NOT_DATA, id="an end that is no time"),
    pytest.param({"exp": None}, K.NOT_DATA, id="no end"),
    pytest.param({"exp": 10**400}, K.NOT_DATA, id="an end beyond all times"),
    pytest.param({"accessToken": "secret\r\nX-Other: 1"}, K.ODD, id="a token that cannot be sent"),
    pytest.param({"casUrl": "http://[::1"}, K.ODD, id="no address at all"),
    pytest.param({"casUrl": None}, K.ODD, id="nothing for an address"),
]


@pytest.mark.parametrize(("reply", "kind"), FROM_THE_HUB)
def test_what_the_hub_may_say(place: Place, reply: Reply | dict[str, Any], kind: FailureKind) -> None:
    place.hub.always = reply if isinstance(reply, Reply) else place.token(**reply)
    got, failure = place.fetch(0, 1000)
    assert got == b""
    assert failure is not None
    assert failure.kind is kind
    assert failure.detail.startswith("Xet: ")
    assert failure.detail.isprintable()
    assert "secret" not in str(failure)
    assert len(place.hub.asked) == 1


@pytest.mark.parametrize("host", ["hub", "service", "data"])
def test_how_long_a_server_asks_to_wait(place: Place, host: str) -> None:
    place.service.replies.append(place.chunks(0, 4))
    getattr(place, host).replies.insert(0, Reply("429 Too Many Requests\nRetry-After: 7"))
    _, failure = place.fails(0, 1000)
    assert (failure.kind, failure.retry_after) == (K.THROTTLED, 7)
