"""The ways of the HTTP source: redirects, who is told the token, certificates, proxies."""

from __future__ import annotations

import hashlib
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from http_script import TOKEN, fetch, part, to
from scripted import DATA, Reply, Scripted

from qwen_fetch.base.files import RepoFile
from qwen_fetch.base.integrity import Digest
from qwen_fetch.transport.endpoint import Endpoint
from qwen_fetch.transport.source import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from qwen_fetch.transport.http import HttpSource

K = FailureKind

pytestmark = pytest.mark.usefixtures("no_proxy_of_this_machine")

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
    assert failure.kind is K.CLOSED
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
    assert failure.kind is K.NO_NAME
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
    assert failure.kind is K.PROXY_LOGIN
    assert "407" in failure.detail
    assert "secret" not in str(failure)
    assert proxy.asked[0].line.startswith("CONNECT cdn.invalid:443")
