"""The probe and `--diagnose`, against real sockets on loopback."""

from __future__ import annotations

import http.server
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qwen_fetch.diagnosis.certificates import issuer_name
from qwen_fetch.localhub.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench import OpenHub, Tool

PEM = Path(__file__).parents[1] / "helpers" / "filter.pem"  # self-signed; made for these tests alone


def rows(out: str) -> dict[str, str]:
    return {line[:16].strip(): line[17:] for line in out.splitlines()}


def test_nothing_is_wrong(tool: Tool, open_hub: OpenHub, small_repo: Path) -> None:
    tool.endpoint = open_hub(small_repo).endpoint
    ended = tool.run("--diagnose", "--token", "hf_secret")
    assert ended.code == 0, ended
    seen = rows(ended.out)
    assert seen["endpoint answer"] == "status 200"
    assert seen["data answer"] == "status 206"
    assert seen["data host"] == "localhost: ok"
    assert seen["token"] == "yes, from --token"
    assert ended.out.endswith("Nothing is wrong on the way.\n")
    assert "hf_secret" not in str(ended)
    assert "Signature" not in str(ended)


def test_a_json_result_is_one_object(tool: Tool) -> None:
    ended = tool.run("--diagnose", "--json")
    assert ended.code == 4, ended
    assert ended.json["problem"]["id"] == "connection-refused"
    assert ended.json["findings"]["endpoint IPv4"] == "connection refused"


def test_a_filter_page_is_named_by_its_title(tool: Tool, open_hub: OpenHub, small_repo: Path) -> None:
    hub = open_hub(small_repo)
    hub.faults.add(Fault("api", html_page=True))
    tool.endpoint = hub.endpoint
    ended = tool.run("--diagnose")
    assert ended.code == 4, ended
    assert "[login-page]" in ended.err
    assert "a page" in rows(ended.out)["endpoint answer"]


@pytest.fixture
def filter_port() -> Iterator[int]:
    """A server with a certificate that nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """The client hangs up: that is the point."""

    server = Server(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("mode", [("--diagnose",), ("--max-retries", "1")], ids=["diagnose", "download"])
def test_an_intercepted_connection_names_the_issuer(tool: Tool, filter_port: int, mode: tuple[str, ...]) -> None:
    tool.endpoint = f"https://127.0.0.1:{filter_port}"
    ended = tool.run(*mode)
    assert ended.code == 4, ended
    assert "[tls-intercepted]" in ended.err
    assert "issued by Example Filter Root, Example Filter Ltd" in ended.err
    assert "SSL_CERT_FILE" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("certificate", [b"", b"\x30", b"\x30\x84\xff\xff\xff\xff", b"not a certificate", bytes(1000)])
def test_a_broken_certificate_has_an_unknown_issuer(certificate: bytes) -> None:
    assert issuer_name(certificate) == "an unknown issuer"


def test_the_issuer_of_a_certificate() -> None:
    der = ssl.PEM_cert_to_DER_cert("-----BEGIN CERT" + PEM.read_text().split("-----BEGIN CERT")[1])
    assert issuer_name(der) == "Example Filter Root, Example Filter Ltd"
