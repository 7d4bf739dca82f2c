"""The HTTP source against a server that answers from a script: a table of what can come back and what follows."""

import hashlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import scripted
from scripted import Reply, Scripted

from qwen_fetch.integrity import Digest
from qwen_fetch.snapshot import RepoFile
from qwen_fetch.sources import Failure, FailureKind
from qwen_fetch.sources.connection import shown
from qwen_fetch.sources.endpoint import Endpoint
from qwen_fetch.sources.http import Addresses, HttpSource

K = FailureKind
DATA = bytes(i * 7 % 251 for i in range(1000))
FILE = RepoFile("vae/shard 1.safetensors", len(DATA), Digest("sha256", hashlib.sha256(DATA).hexdigest()))
TOKEN = "hf_made_up"

pytestmark = pytest.mark.usefixtures("no_proxy_of_this_machine")


@pytest.fixture
def data() -> Iterator[Scripted]:
    with Scripted() as server:
        yield server


@pytest.fixture
def endpoint(data: Scripted) -> Iterator[Scripted]:
    with Scripted(always=to(data.url + "/blob?X-Signature=secret")) as server:
        yield server


@pytest.fixture
def source(endpoint: Scripted) -> Iterator[HttpSource]:
    source = open_source(endpoint)
    yield source
    source.close()


def open_source(endpoint: Scripted, *, timeout: float = 5.0, stall_timeout: float = 5.0) -> HttpSource:
    addresses = Addresses(Endpoint(endpoint.url, TOKEN, timeout), "a/b", "c" * 40)
    return HttpSource(addresses, timeout, stall_timeout)


def to(location: str, status: int = 302) -> Reply:
    return Reply(f"{status} Found\nLocation: {location}")


def part(start: int, end: int, *, total: object = len(DATA), stated: str = "", **options: object) -> Reply:
    """A right answer to `start` to `end`, except for what is given."""
    head = f"206 Partial Content\nContent-Range: {stated or f'bytes {start}-{end - 1}/{total}'}"
    return Reply(head, DATA[start:end], **options)  # type: ignore[arg-type]


def fetch(source: HttpSource, start: int, end: int) -> tuple[bytes, Failure | None]:
    return scripted.fetch(source, FILE, start, end)


whole = Reply("200 OK", DATA)
page = Reply("200 OK\nContent-Type: text/html; charset=utf-8", b"<html>Please log in</html>")

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
        (100, 100),
        K.WRONG_RANGE,
        ["100-299"],
        id="no range said",
    ),
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
    pytest.param(
        (0, 1000), [Reply("416 Range Not Satisfiable")], (0, 0), K.WRONG_LENGTH, ["0-999"], id="no such range"
    ),
    pytest.param((0, 100), [Reply("403 Forbidden")], (0, 0), K.REFUSED, ["0-99"], id="an expired URL"),
    pytest.param((0, 100), [Reply("404 Not Found")], (0, 0), K.REFUSED, ["0-99"], id="a URL that leads nowhere"),
    pytest.param((0, 100), [Reply("429 Too Many Requests")], (0, 0), K.THROTTLED, ["0-99"], id="too many requests"),
    pytest.param((0, 100), [Reply("503 Service Unavailable")], (0, 0), K.SERVER, ["0-99"], id="a fault of the server"),
    pytest.param(
        (0, 100), [Reply("302 Found\nLocation: /x")], (0, 0), K.SERVER, ["0-99"], id="sent on by the data host"
    ),
    pytest.param((0, 100), [page], (0, 0), K.NOT_DATA, ["0-99"], id="a login page"),
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
    pytest.param(
        (0, 100), [Reply("", b"SSH-2.0-OpenSSH_9\r\n", "close")], (0, 0), K.UNREACHABLE, ["0-99"], id="not HTTP"
    ),
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
    pytest.param(Reply("302 Found"), K.SERVER, id="a redirect to nowhere"),
    pytest.param(Reply("302 Found\nLocation: /again"), K.SERVER, id="a circle"),
    pytest.param(Reply("302 Found\nLocation: ftp://127.0.0.1/x"), K.UNREACHABLE, id="another protocol"),
    pytest.param(Reply("302 Found\nLocation: file:///etc/passwd"), K.UNREACHABLE, id="a file of this machine"),
    pytest.param(Reply("302 Found\nLocation: http://[::1"), K.UNREACHABLE, id="no URL at all"),
    pytest.param(Reply("302 Found\nLocation: http://127.0.0.1:99999/x"), K.UNREACHABLE, id="no such port"),
    pytest.param(Reply("", b"", "close"), K.UNREACHABLE, id="closed without a word"),
]


@pytest.mark.parametrize(("reply", "kind"), AT_ENDPOINT)
def test_what_the_endpoint_may_say(endpoint: Scripted, source: HttpSource, reply: Reply, kind: FailureKind) -> None:
    endpoint.always = reply
    got, failure = fetch(source, 0, 100)
    assert got == b""
    assert failure is not None
    assert failure.kind is kind
    assert len(endpoint.asked) <= 6


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
    assert failure.kind is K.UNREACHABLE
    assert "no answer in time" in failure.detail


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


@pytest.mark.parametrize(
    ("reply", "again"),
    [
        pytest.param(Reply("403 Forbidden"), True, id="expired"),
        pytest.param(Reply("404 Not Found"), True, id="unknown"),
        pytest.param(page, True, id="a page"),
        pytest.param(part(5, 100), True, id="another range"),
        pytest.param(Reply("503 Service Unavailable"), False, id="a fault says nothing about the URL"),
        pytest.param(Reply("", b"", "close"), False, id="neither does a cut"),
    ],
)
def test_the_url_is_asked_for_again_when_it_was_refused(
    source: HttpSource, data: Scripted, endpoint: Scripted, reply: Reply, again: bool
) -> None:
    data.replies += [reply, part(0, 100)]
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


# --- where things are, and who is told the token


def test_the_token_reaches_the_endpoint_only(source: HttpSource, data: Scripted, endpoint: Scripted) -> None:
    # The data host is another port of the same name: that is somebody else already.
    endpoint.replies += [to("/a/b/elsewhere"), to(f"//127.0.0.1:{data.port}/blob")]
    data.replies.append(part(0, 100))
    assert fetch(source, 0, 100) == (DATA[:100], None)
    assert [asked.headers.get("authorization") for asked in endpoint.asked] == [f"Bearer {TOKEN}"] * 2
    assert [asked.headers.get("authorization") for asked in data.asked] == [None]
    assert endpoint.asked[0].line == f"HEAD /a/b/resolve/{'c' * 40}/vae/shard%201.safetensors HTTP/1.1"
    assert endpoint.asked[1].line == "HEAD /a/b/elsewhere HTTP/1.1"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://hub.example/x", True),
        ("https://hub.example:443/x", True),
        ("https://HUB.example/x", True),
        ("http://hub.example/x", False),
        ("http://hub.example:443/x", False),
        ("https://hub.example:8443/x", False),
        ("https://cdn.hub.example/x", False),
        ("https://hub.example.evil/x", False),
        ("https://hub.example@evil/x", False),
    ],
)
def test_who_the_endpoint_is(url: str, told: bool) -> None:
    endpoint = Endpoint("https://hub.example", TOKEN, 1)
    assert ("Authorization" in endpoint.headers(url)) is told
    assert endpoint.owns(url) is told
    assert "Authorization" not in Endpoint("https://hub.example", None, 1).headers(url)


def test_an_endpoint_that_serves_the_bytes_itself_needs_no_data_host(source: HttpSource, endpoint: Scripted) -> None:
    endpoint.replies += [Reply("200 OK\nContent-Length: 1000"), part(0, 100)]
    # A real server sends no body to HEAD; the connection is not used again in any case.
    assert fetch(source, 0, 100) == (DATA[:100], None)
    assert [asked.headers.get("authorization") for asked in endpoint.asked] == [f"Bearer {TOKEN}"] * 2
    endpoint.always = Reply("403 Forbidden")
    _, failure = fetch(source, 0, 100)
    assert failure is not None
    assert failure.kind is K.DENIED


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://cdn.example/a/b?X-Amz-Signature=secret", "https://cdn.example/a/b"),
        ("https://user:secret@cdn.example:8443/a", "https://cdn.example:8443/a"),
        ("http://cdn.example/a#secret", "http://cdn.example/a"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
    ],
)
def test_a_url_is_shown_without_what_is_secret(url: str, text: str) -> None:
    assert shown(url) == text


# --- ended from outside


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


# --- TLS


class Tls(Scripted):
    """A server with a certificate of its own."""

    context: ssl.SSLContext

    def wrap(self, connection: socket.socket) -> socket.socket:
        return self.context.wrap_socket(connection, server_side=True)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, and its key, in one file."""
    if not (openssl := shutil.which("openssl")):
        pytest.skip("there is no openssl here to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    extra = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key", "-out", "cert"]
    subprocess.run([openssl, *words.split(), *extra], cwd=folder, check=True, capture_output=True)
    (folder / "both").write_bytes((folder / "key").read_bytes() + (folder / "cert").read_bytes())
    return folder / "both"


@pytest.fixture
def tls(certificate: Path) -> Iterator[Tls]:
    with Tls() as server:
        server.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.context.load_cert_chain(certificate)
        server.url = server.url.replace("http:", "https:")
        yield server


def test_a_certificate_that_nobody_vouches_for(endpoint: Scripted, source: HttpSource, tls: Tls) -> None:
    endpoint.always = to(f"{tls.url}/blob")
    _, failure = fetch(source, 0, 100)
    assert failure is not None
    assert failure.kind is K.UNTRUSTED
    assert failure.detail.isprintable()


def test_an_abort_never_hands_over_bytes_as_they_came_over_the_line(
    endpoint: Scripted, source: HttpSource, tls: Tls, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With TLS the system still holds encrypted bytes when a connection is ended from outside.
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    content = DATA * 200
    file = RepoFile("big", len(content), Digest("sha256", hashlib.sha256(content).hexdigest()))
    end = len(content) - 1
    tls.replies.append(Reply(f"206 Partial Content\nContent-Range: bytes 0-{end}/{len(content)}", content, "hang"))
    endpoint.always = to(f"{tls.url}/blob")
    pieces = source.window(file, 0, len(content))
    got = bytearray(next(pieces))
    assert tls.hanging.wait(5)  # all the rest is in the system's buffers by now
    source.abort()
    with suppress(Failure):
        for piece in pieces:
            got += piece
    assert got == content[: len(got)]


# --- no way there


def test_a_refused_connection(endpoint: Scripted, source: HttpSource) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    endpoint.always = to(f"http://127.0.0.1:{port}/blob?X-Signature=secret")
    _, failure = fetch(source, 0, 100)
    assert failure is not None
    assert failure.kind is K.UNREACHABLE
    assert failure.detail == "127.0.0.1: connection refused"


def test_a_name_that_does_not_resolve(endpoint: Scripted, source: HttpSource, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    endpoint.always = to("http://nowhere.invalid/blob")
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *a, **k: (unknown if host == "nowhere.invalid" else real)(host, *a, **k)
    )
    _, failure = fetch(source, 0, 100)
    assert failure is not None
    assert failure.kind is K.UNREACHABLE
    assert "nowhere.invalid: name or service not known" in failure.detail


# --- through a proxy


class Proxy(Scripted):
    """Answers CONNECT from its script, and then passes everything on."""

    def answer(self, connection: socket.socket, line: str, reply: Reply) -> bool:
        connection.sendall(reply.raw)
        if not reply.head.startswith("200"):
            return False
        host, _, port = line.split()[1].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5) as other:
            back = threading.Thread(target=pass_on, args=(other, connection), daemon=True)
            back.start()
            pass_on(connection, other)
            back.join(5)
        return False


def pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    # The length is no part of an answer to CONNECT, but clients have to bear it.
    with Proxy(always=Reply("200 Connection established")) as server:
        yield server


def test_the_proxy_of_the_environment_is_used_for_both_hosts(
    source: HttpSource, data: Scripted, endpoint: Scripted, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://me:p%40ss@127.0.0.1:{proxy.port}")
    monkeypatch.delenv("REQUEST_METHOD", raising=False)
    data.replies.append(part(0, 100))
    assert fetch(source, 0, 100) == (DATA[:100], None)
    assert [asked.line.split()[:2] for asked in proxy.asked] == [
        ["CONNECT", f"127.0.0.1:{endpoint.port}"],
        ["CONNECT", f"127.0.0.1:{data.port}"],
    ]
    assert {asked.headers["proxy-authorization"] for asked in proxy.asked} == {"Basic bWU6cEBzcw=="}
    assert not any("authorization" in asked.headers for asked in proxy.asked)  # the token is not the proxy's business
    assert not any("proxy-authorization" in asked.headers for asked in data.asked)


@pytest.mark.parametrize("form", ["127.0.0.1", "127.0.0.1:{0},127.0.0.1:{1}", "*"])
def test_no_proxy_is_honoured(
    source: HttpSource, data: Scripted, endpoint: Scripted, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", form.format(endpoint.port, data.port))
    data.replies.append(part(0, 100))
    assert fetch(source, 0, 100) == (DATA[:100], None)
    assert not proxy.asked


def test_https_goes_through_its_own_proxy_and_shows_no_password(
    endpoint: Scripted, proxy: Proxy, source: HttpSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{proxy.port}")
    proxy.always = Reply("407 Proxy Authentication Required")
    endpoint.always = to("https://cdn.invalid/blob?X-Signature=secret")
    _, failure = fetch(source, 0, 100)
    assert failure is not None
    assert failure.kind is K.UNREACHABLE
    assert "407" in failure.detail
    assert "secret" not in str(failure)
    assert proxy.asked[0].line.startswith("CONNECT cdn.invalid:443")
