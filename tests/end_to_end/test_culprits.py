"""Who is blamed: real answers and failures of the system, told by a download and by `--diagnose` alike."""

from __future__ import annotations

import http.server
import socket
import ssl
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from proxies import CERTIFICATE, LOGIN, Front, HttpProxy, Listener, SocksProxy, exactly, read_head

from qwen_fetch.localhub.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench import OpenHub, Tool

HELPERS = Path(__file__).parents[1] / "helpers"
TOKEN = "hf_SecretTokenOfTheUser"
EXIT = {"usage": 2, "certificate-file": 2} | dict.fromkeys(
    ("gated", "token-scope", "repo-disabled", "legal-block", "bad-token", "access-denied"), 5
) | {"not-found": 6}  # fmt: skip
FEW = ("--max-retries", "1", "--timeout", "2")


@dataclass
class Row:
    """One thing that is in the way.

    Attributes:
        name: In words.
        problem: What it has to be called; its exit code is 4 unless `EXIT` says otherwise.
        faults: What the Hub does.
        says: What the message has to mention.
        hub: Options of the Hub.
        arguments: Of both commands.
        environment: Variables of both commands.
        instead: Starts what stands in the Hub's place or before it; given the Hub's port, it returns the endpoint.
    """

    name: str
    problem: str
    faults: tuple[Fault, ...] = ()
    says: str = ""
    hub: dict[str, object] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    instead: Callable[[ExitStack, int, dict[str, str]], str] | None = None


def refusal(status: int, *, code: str = "", said: str = "", kind: str = "api", body: bytes = b"") -> tuple[Fault, ...]:
    headers = {name: text for name, text in (("X-Error-Code", code), ("X-Error-Message", said)) if text}
    if body:
        headers["Content-Type"] = "application/json"
    return (Fault(kind, status=status, headers=headers, body=body),)


@dataclass
class Rude(Listener):
    """Says something else than HTTP, or nothing."""

    words: bytes = b""
    silent: bool = False

    def handle(self, line: socket.socket) -> None:
        line.settimeout(20)
        read_head(line)
        if self.silent:
            exactly(line, 1)  # until the client hangs up
        line.sendall(self.words)


@dataclass
class No(Listener):
    """A proxy that refuses."""

    def handle(self, line: socket.socket) -> None:
        read_head(line)
        line.sendall(b"HTTP/1.1 403 Forbidden by policy\r\nContent-Length: 0\r\n\r\n")


def secure(certificate: Path) -> Callable[[ExitStack, int, dict[str, str]], str]:
    """TLS before the Hub, with that certificate, which is trusted unless it is the filter's."""

    class Own(Front):
        def _serve(self, line: socket.socket) -> None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            try:
                with line, context.wrap_socket(line, server_side=True) as wrapped:
                    self.handle(wrapped)
            except OSError:
                return

    def start(stack: ExitStack, port: int, environment: dict[str, str]) -> str:
        if certificate.name != "filter.pem":
            environment["SSL_CERT_FILE"] = str(certificate)
        return f"https://127.0.0.1:{stack.enter_context(Own(behind=port)).port}"

    return start


def closed(_stack: ExitStack, _port: int, _environment: dict[str, str]) -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def no_name(_stack: ExitStack, _port: int, _environment: dict[str, str]) -> str:
    return "http://hub.invalid"


def plain(_stack: ExitStack, port: int, environment: dict[str, str]) -> str:
    environment["SSL_CERT_FILE"] = str(CERTIFICATE)
    return f"https://127.0.0.1:{port}"


def rude(words: bytes, *, silent: bool = False) -> Callable[[ExitStack, int, dict[str, str]], str]:
    return lambda stack, _port, _environment: (
        f"http://127.0.0.1:{stack.enter_context(Rude(words=words, silent=silent)).port}"
    )


def proxy(
    make: Callable[[], Listener], scheme: str = "http", target: str = "https"
) -> Callable[[ExitStack, int, dict[str, str]], str]:
    def start(stack: ExitStack, _port: int, environment: dict[str, str]) -> str:
        environment["ALL_PROXY"] = f"{scheme}://127.0.0.1:{stack.enter_context(make()).port}"
        return f"{target}://hub.invalid"

    return start


def proxy_away(_stack: ExitStack, _port: int, environment: dict[str, str]) -> str:
    environment["HTTPS_PROXY"] = closed(_stack, _port, environment)
    return "https://hub.invalid"


TABLE = [
    Row("gated", "gated", refusal(401, code="GatedRepo"), "No token was sent"),
    Row("gated, and the listing is open", "gated", refusal(403, code="GatedRepo", kind="resolve"), "has not done so"),
    Row(
        "a fine-grained token without the permission",
        "token-scope",
        refusal(403, said="Please enable access to public gated repositories in your fine-grained token settings"),
        "settings/tokens",
        arguments=("--token", TOKEN),
    ),
    Row(
        "the same for the files alone",
        "token-scope",
        refusal(403, said="Your fine-grained token does not have the permission", kind="resolve"),
        arguments=("--token", TOKEN),
    ),
    Row(
        "the same, said in JSON",
        "token-scope",
        refusal(403, body=b'{"error": "the token lacks the scope for this repo"}'),
        "lacks the scope",
        arguments=("--token", TOKEN),
    ),
    Row("taken away", "repo-disabled", refusal(403, said="Access to this resource is disabled."), "disabled"),
    Row("withheld by law", "legal-block", refusal(451), "451"),
    Row("a stale token for a private repo", "bad-token", hub={"token": "right"}, arguments=("--token", TOKEN)),
    Row("a private repo", "not-found", hub={"token": "right"}, says="private"),
    Row("refused, and not why", "access-denied", refusal(403), "403"),
    Row("an unknown revision", "not-found", says="revision", arguments=("--revision", "nope")),
    Row("an unknown repo", "not-found", says="no/such", arguments=("--repo-id", "no/such")),
    Row("a server that is no Hub", "not-found", refusal(404), "does not say why"),
    Row("a fault of the Hub", "hub-outage", refusal(503), "503"),
    Row("too many requests", "rate-limited", refusal(429), "429"),
    *(
        Row(f"an answer that no Hub gives: {status}", "odd-answer", refusal(status), str(status))
        for status in (400, 405, 418, 501)
    ),
    Row("a circle", "odd-answer", (Fault("api", status=302, headers={"Location": "/api/again"}),), "redirects"),
    Row("no JSON", "odd-answer", (Fault("api", status=200, body=b"OK"),)),
    Row("a login page", "login-page", (Fault("api", html_page=True),), "Welcome"),
    Row("a page in place of weights", "login-page", (Fault("cdn", html_page=True),), "Welcome", hub={"xet": False}),
    Row(
        "the data host refuses every address",
        "data-host-blocked",
        (Fault("cdn", status=403),),
        hub={"xet": False},
    ),
    Row("a fault of the data host", "hub-outage", (Fault("cdn", status=502),), "502", hub={"xet": False}),
    Row("nothing listens", "connection-refused", instead=closed),
    Row("no name server", "no-network", instead=no_name),
    Row("no answer", "network", says="not answer", instead=rude(b"", silent=True)),
    Row("hung up on", "network", says="closed the connection", instead=rude(b"")),
    Row("another protocol", "odd-answer", instead=rude(b"SSH-2.0-OpenSSH_9\r\n")),
    Row("plain http where TLS is wanted", "not-tls", says="TLS", instead=plain),
    Row("an intercepted connection", "tls-intercepted", says="Example Filter", instead=secure(HELPERS / "filter.pem")),
    Row("a certificate of 2020", "certificate-date", says="clock", instead=secure(HELPERS / "expired.pem")),
    Row("a certificate of another name", "certificate-name", instead=secure(HELPERS / "elsewhere.pem")),
    Row("certificates that are not there", "certificate-file", environment={"SSL_CERT_FILE": "/nowhere/ca.pem"}),
    Row("the proxy is down", "proxy", says="connection refused", instead=proxy_away),
    Row("the proxy refuses", "proxy", says="Forbidden by policy", instead=proxy(No)),
    Row("it wants a login", "proxy-login", says="407", instead=proxy(lambda: HttpProxy(login=LOGIN))),
    Row("for plain http too", "proxy-login", says="407", instead=proxy(lambda: HttpProxy(login=LOGIN), target="http")),
    Row("SOCKS as well", "proxy-login", instead=proxy(lambda: SocksProxy(login=LOGIN), "socks5h")),
    Row("no proxy at all", "usage", says="HTTP_PROXY", environment={"HTTP_PROXY": "ftp://x"}),
    Row("switched off", "offline-switch", says="HF_HUB_OFFLINE", environment={"HF_HUB_OFFLINE": "1"}),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_the_download_and_the_diagnosis_blame_the_same(
    row: Row, tool: Tool, open_hub: OpenHub, tiny_repo: Path
) -> None:
    hub = open_hub(tiny_repo, **row.hub)
    for fault in row.faults:
        hub.faults.add(fault)
    tool.extra = dict(row.environment)
    with ExitStack() as stack:
        port = int(hub.endpoint.rpartition(":")[2])
        tool.endpoint = row.instead(stack, port, tool.extra) if row.instead else hub.endpoint
        for mode in (FEW, ("--diagnose", "--timeout", "2")):
            ended = tool.run(*mode, *row.arguments)
            assert f"[{row.problem}]" in ended.err, ended
            assert ended.code == EXIT.get(row.problem, 4), ended
            assert row.says in ended.err, ended
            assert "{" not in ended.err, ended
            assert ended.seconds < 12
    assert hub.log.weight_bytes() < 1000  # a look asks for one byte


def test_a_wrong_clock_is_told_from_a_refusal(
    tool: Tool, open_hub: OpenHub, tiny_repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = open_hub(tiny_repo, xet=False)
    hub.faults.add(Fault("cdn", status=403))
    monkeypatch.setattr(
        http.server.BaseHTTPRequestHandler, "date_time_string", lambda *_: "Mon, 01 Jun 2020 10:00:00 GMT"
    )
    tool.endpoint = hub.endpoint
    for mode in (FEW, ("--diagnose",)):
        ended = tool.run(*mode)
        assert ended.code == 4, ended
        assert "[clock-wrong]" in ended.err, ended
        assert "ahead" in ended.err
