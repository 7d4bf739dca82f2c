"""The Xet source against servers that answer from a script: a table of what can come back and what follows."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from scripted import Reply, Scripted, fetch

from qwen_fetch.integrity import Digest
from qwen_fetch.snapshot import RepoFile
from qwen_fetch.sources import Failure, FailureKind
from qwen_fetch.sources.endpoint import Endpoint
from qwen_fetch.sources.xet import Admission, XetSource

if TYPE_CHECKING:
    from collections.abc import Iterator

K = FailureKind
DATA = bytes(i * 7 % 251 for i in range(1000))
FILE = RepoFile("vae/shard.safetensors", len(DATA), Digest("sha256", hashlib.sha256(DATA).hexdigest()), "f" * 64)
CHUNK, STORED = 250, 258  # bytes of each of the four chunks, without and with its header
SIZE = CHUNK.to_bytes(3, "little")
XORB = b"".join(b"\0" + SIZE + b"\0" + SIZE + DATA[at : at + CHUNK] for at in range(0, len(DATA), CHUNK))
HUB_TOKEN, STORE_TOKEN = "hf_secret", "store-secret"
JSON = "200 OK\nContent-Type: application/json"

pytestmark = pytest.mark.usefixtures("no_proxy_of_this_machine")


@dataclass
class Place:
    """The three hosts: who gives tokens, who says where bytes are, who has them."""

    hub: Scripted
    service: Scripted
    data: Scripted
    admission: Admission
    source: XetSource

    def token(self, **changes: Any) -> Reply:
        given = {"casUrl": self.service.url + "/", "accessToken": STORE_TOKEN, "exp": time.time() + 3600} | changes
        return Reply(JSON, json.dumps(given).encode())

    def where(self, *terms: dict[str, Any], skip: int = 0, **entries: list[dict[str, Any]]) -> Reply:
        """The service's answer; `DATA` in an address stands for the data host."""
        told = {"terms": terms, "offset_into_first_range": skip, "fetch_info": entries}
        return Reply(JSON, json.dumps(told).replace("DATA", self.data.url).encode())

    def chunks(self, first: int, end: int, *, skip: int = 0, **changes: Any) -> Reply:
        """Its right answer for some of the file's chunks, except for what is given."""
        run = term("a", first, end) | changes
        return self.where(run, skip=skip, a=[entry(first, end)])

    def fetch(self, start: int, end: int) -> tuple[bytes, Failure | None]:
        return fetch(self.source, FILE, start, end)

    def fails(self, start: int, end: int) -> tuple[bytes, Failure]:
        """The failure, which is told well; and whatever happened, the source can be used again."""
        got, failure = self.fetch(start, end)
        assert failure is not None
        assert failure.detail.startswith("Xet: ")
        assert failure.detail.isprintable()
        assert "secret" not in str(failure)
        assert len(failure.detail) < 300
        self.hub.always = self.token()
        self.service.replies[:] = [self.chunks(0, 4)]
        self.data.replies[:] = [part(0, 4)]
        assert self.fetch(0, 1000) == (DATA, None)
        return got, failure


def term(xorb: str, first: int, end: int) -> dict[str, Any]:
    return {"hash": xorb, "range": {"start": first, "end": end}, "unpacked_length": (end - first) * CHUNK}


def entry(first: int, end: int, url: str = "DATA/xorb?X-Signature=secret") -> dict[str, Any]:
    stored = {"start": first * STORED, "end": end * STORED - 1}
    return {"range": {"start": first, "end": end}, "url": url, "url_range": stored}


def part(first: int, end: int, *, stated: str = "", **options: Any) -> Reply:
    """The data host's right answer for some of the xorb's chunks, except for what is given."""
    start, stop = first * STORED, end * STORED
    head = f"206 Partial Content\nContent-Range: {stated or f'bytes {start}-{stop - 1}/{len(XORB)}'}"
    return Reply(head, XORB[start:stop], **options)


@pytest.fixture
def place() -> Iterator[Place]:
    with Scripted() as hub, Scripted() as service, Scripted() as data:
        admission = Admission(Endpoint(hub.url, HUB_TOKEN, 5.0), "a/b", "c" * 40)
        source = XetSource(admission, 5.0, 5.0)
        place = Place(hub, service, data, admission, source)
        hub.always = place.token()
        yield place
        source.close()


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


page = Reply("200 OK\nContent-Type: text/html; charset=utf-8", b"<html>Please log in</html>")
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
    pytest.param(middle, page, 300, K.NOT_DATA, "258-773", id="a login page"),
    pytest.param(middle, Reply("401 Unauthorized"), 300, K.REFUSED, "258-773", id="not let in"),
    pytest.param(middle, Reply("403 Forbidden"), 300, K.REFUSED, "258-773", id="an expired address"),
    pytest.param(middle, Reply("404 Not Found"), 300, K.REFUSED, "258-773", id="an address that leads nowhere"),
    pytest.param(middle, Reply("302 Found\nLocation: /x"), 300, K.SERVER, "258-773", id="sent on"),
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
    pytest.param(Reply("302 Found\nLocation: /x"), K.SERVER, id="sent on"),
    pytest.param(Reply("", b"", "close"), K.CUT, id="closed without a word"),
    pytest.param(Reply(f"{JSON}\nContent-Length: 99", b'{"terms": [', "close"), K.CUT, id="half an answer"),
    pytest.param(Reply("", b"SSH-2.0-OpenSSH_9\r\n", "close"), K.UNREACHABLE, id="not HTTP"),
    pytest.param(page, K.NOT_DATA, id="a login page"),
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
    pytest.param(elsewhere("ftp://127.0.0.1/x?secret"), K.UNREACHABLE, id="another protocol"),
    pytest.param(elsewhere("file:///etc/passwd?secret"), K.UNREACHABLE, id="a file of this machine"),
    pytest.param(elsewhere("http://[::1/?secret"), K.UNREACHABLE, id="no address"),
    pytest.param(elsewhere("http://127.0.0.1:99999/?secret"), K.UNREACHABLE, id="no such port"),
    pytest.param(elsewhere("http://a\x1bb.invalid/?secret"), K.UNREACHABLE, id="control codes for a name"),
    pytest.param("DATA/xorb?X-Signature=secret and blanks", K.UNREACHABLE, id="an address that cannot be sent"),
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
    pytest.param(Reply("", b"", "close"), K.UNREACHABLE, id="closed without a word"),
    pytest.param(Reply("302 Found\nLocation: http://login.invalid/"), K.NOT_DATA, id="sent to another host"),
    pytest.param(page, K.NOT_DATA, id="a login page"),
    pytest.param(Reply(JSON, b"[" * 100_000), K.NOT_DATA, id="a text without a bottom"),
    pytest.param(Reply(JSON, b'["secret"]'), K.NOT_DATA, id="a list"),
    pytest.param(Reply(JSON, b'{"accessToken": "secret", "exp": 1}'), K.NOT_DATA, id="no address"),
    pytest.param({"exp": "soon"}, K.NOT_DATA, id="an end that is no time"),
    pytest.param({"exp": None}, K.NOT_DATA, id="no end"),
    pytest.param({"exp": 10**400}, K.NOT_DATA, id="an end beyond all times"),
    pytest.param({"accessToken": "secret\r\nX-Other: 1"}, K.UNREACHABLE, id="a token that cannot be sent"),
    pytest.param({"casUrl": "http://[::1"}, K.UNREACHABLE, id="no address at all"),
    pytest.param({"casUrl": None}, K.UNREACHABLE, id="nothing for an address"),
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


# --- several runs


@pytest.mark.parametrize(
    ("announced", "until"), [(200, 200), (300, 250)], ids=["more than announced", "less than announced"]
)
def test_a_run_of_another_length_than_announced_is_not_gone_on_from(place: Place, announced: int, until: int) -> None:
    first, second = term("a", 0, 1) | {"unpacked_length": announced}, term("a", 1, 4)
    place.service.replies.append(place.where(first, second, a=[entry(0, 1), entry(1, 4)]))
    place.data.replies.append(part(0, 1))
    got, failure = place.fails(0, 900)
    assert (got, failure.kind) == (DATA[:until], K.NOT_DATA)


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
    monkeypatch.setattr("qwen_fetch.sources.xet.time", clock)
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
