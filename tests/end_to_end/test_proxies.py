"""A Hub that can be reached through a proxy only: every kind of proxy, http and https, with and without a login."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from proxies import CERTIFICATE, LOGIN, NOWHERE, Front, HttpProxy, SocksProxy

if TYPE_CHECKING:
    from pathlib import Path

    from workbench import OpenHub, Tool

SCHEMES = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"]
FEW = ("--max-retries", "1", "--timeout", "3")
USER, PASSWORD = LOGIN


def start(stack: ExitStack, scheme: str, login: tuple[str, str] | None) -> HttpProxy | SocksProxy:
    if scheme.startswith("socks"):
        return stack.enter_context(SocksProxy(login=login))
    return stack.enter_context(HttpProxy(secure=scheme == "https", login=login))


def address(scheme: str, port: int, *, login: bool) -> str:
    who = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@" if login else ""
    return f"{scheme}://{who}127.0.0.1:{port}"


@pytest.mark.parametrize("login", [False, True], ids=["open", "login"])
@pytest.mark.parametrize("target", ["http", "https"])
@pytest.mark.parametrize(
    ("scheme", "variable"),
    [*((scheme, "ALL_PROXY") for scheme in SCHEMES), ("http", "HTTP_PROXY"), ("socks5h", "https_proxy")],
    ids=lambda it: it,
)
def test_everything_goes_through_it(
    tool: Tool, open_hub: OpenHub, tiny_repo: Path, scheme: str, variable: str, target: str, login: bool
) -> None:
    hub = open_hub(tiny_repo, xet=False)
    port = int(hub.endpoint.rpartition(":")[2])
    with ExitStack() as stack:
        proxy = start(stack, scheme, LOGIN if login else None)
        if target == "https":
            port = stack.enter_context(Front(behind=port)).port
        # Where the proxy resolves names, nobody else can.
        host = "hub.invalid" if scheme in {"http", "https", "socks4a", "socks5h"} else NOWHERE
        tool.endpoint = f"{target}://{host}:{port}"
        named = address(scheme, proxy.port, login=login)
        # The data host is plain http, whatever the endpoint is.
        both = {variable: named} if variable == "ALL_PROXY" else {"HTTP_PROXY": named, "https_proxy": named}
        tool.extra = both | {"SSL_CERT_FILE": str(CERTIFICATE), "HF_TOKEN": "made-up"}
        ended = tool.run(*FEW)
        assert ended.code == 0, ended
        assert tool.tree_is(tiny_repo)
        hosts = {asked.split(" ")[-1].removeprefix("http://").rpartition(":")[0] for asked in proxy.asked}
        assert hosts <= {host, "localhost", "127.0.0.1"}
        assert host in hosts
        if scheme in {"http", "https"} and target == "http":
            assert not any(asked.startswith("CONNECT") for asked in proxy.asked)
    assert PASSWORD not in ended.err


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_proxy_that_wants_a_login_is_named(tool: Tool, scheme: str) -> None:
    with ExitStack() as stack:
        proxy = start(stack, scheme, LOGIN)
        tool.endpoint = "https://hub.invalid:1"
        tool.extra = {"ALL_PROXY": address(scheme, proxy.port, login=False)}
        ended = tool.run(*FEW)
    assert ended.code == 4, ended
    assert f"{scheme}://127.0.0.1:{proxy.port}" in ended.err


@pytest.mark.parametrize("rules", ["127.0.0.1,localhost", "127.0.0.0/8 localhost", ".0.0.1,*"])
def test_what_no_proxy_names_does_without(tool: Tool, open_hub: OpenHub, tiny_repo: Path, rules: str) -> None:
    hub = open_hub(tiny_repo, xet=False)
    tool.endpoint = hub.endpoint
    tool.extra = {"ALL_PROXY": "http://127.0.0.1:9", "NO_PROXY": rules}
    assert tool.run(*FEW).code == 0


@pytest.mark.parametrize(
    "named",
    [
        "ftp://proxy:1",
        "http://",
        "http://s3cret@:80",
        "proxy with blanks",
        "http://me:s3cret@proxy:99999",
        "socks9://x",
    ],
)
def test_what_cannot_be_a_proxy_is_said_at_once(tool: Tool, named: str) -> None:
    tool.extra = {"HTTP_PROXY": named}
    ended = tool.run(*FEW)
    assert ended.code == 2, ended
    assert "HTTP_PROXY wants an address" in ended.err
    assert "s3cret" not in ended.err
