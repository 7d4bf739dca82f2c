"""No secret and no control code gets out, wherever it came from and whichever way out there is."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from qwen_fetch.localhub.faults import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from workbench import Ended, OpenHub, Tool

SECRET = "s3cr3t-w0rd"
TOKEN = f"hf_{SECRET}"
FEW = ("--timeout", "2", "--stall-timeout", "1", "--max-retries", "1")
WAYS = {
    "plain": (),
    "json": ("--json",),
    "verbose": ("-v",),
    "progress": ("--progress", "json"),
    "bar": ("--progress", "bar"),
}

PAGE = b"<title>a\x1b[2J\xe2\x80\xaeb\x07</title>"

CASES: dict[str, Any] = {
    # environment, options, a fault -> exit code
    "a token with a blank": ({"HF_TOKEN": f"{TOKEN} x"}, (), None, 2),
    "a token with a line end in it": ({"HF_TOKEN": f"{TOKEN}\nx"}, (), None, 2),
    "a token with an umlaut": ({}, ("--token", f"{TOKEN}ü"), None, 2),
    "a token with blanks around it": ({"HF_TOKEN": f"  {TOKEN}\n"}, (), Fault("resolve", status=500), 4),
    "user and password in the endpoint": ({"HF_ENDPOINT": f"http://me:{SECRET}@127.0.0.1:9"}, (), None, 2),
    "the same by option": ({}, ("--endpoint", f"http://me:{SECRET}@127.0.0.1:9"), None, 2),
    "an endpoint in quotes": ({"HF_ENDPOINT": f'"http://{SECRET}"'}, (), None, 2),
    "an endpoint of another kind": ({}, ("--endpoint", f"ftp://{SECRET}"), None, 2),
    "a proxy's password": ({"http_proxy": f"http://me:a/{SECRET}#b@127.0.0.1:9", "no_proxy": ""}, (), None, None),
    "a signed address that is refused": (
        {},
        ("--transport", "http"),
        Fault(
            "resolve",
            path="*.safetensors",
            status=302,
            headers={"Location": f"http://127.0.0.1:9/x?X-Amz-Signature={SECRET}"},
        ),
        4,
    ),
    "an address that is none": (
        {},
        ("--transport", "http"),
        Fault("resolve", path="*.safetensors", status=302, headers={"Location": f"http://[::1?Signature={SECRET}"}),
        4,
    ),
    "a server that repeats the token": (
        {"HF_TOKEN": TOKEN},
        (),
        Fault("api", status=500, headers={"X-Error-Message": f"bad {TOKEN}"}, body=f"Bearer {TOKEN}".encode()),
        4,
    ),
    "a code that is the token": ({"HF_TOKEN": TOKEN}, (), Fault("api", status=403, headers={"X-Error-Code": TOKEN}), 5),
    "escapes in a code": ({}, (), Fault("api", status=403, headers={"X-Error-Code": "a\x1b[2Jb\x9b5n"}), 5),
    "a page with escapes in its title": (
        {},
        (),
        Fault("api", status=200, headers={"Content-Type": "text/html"}, body=PAGE),
        4,
    ),
}


def check(ended: Ended, log: Path) -> None:
    texts = [ended.out, ended.err, log.read_text(encoding="utf-8") if log.exists() else ""]
    for text in texts:
        for secret in (SECRET, b64encode(f"me:{SECRET}".encode()).decode(), b64encode(TOKEN.encode()).decode()):
            assert secret not in text
        assert not any(code in text for code in ("\x1b[2J", "\x9b", "\u202e", "\x07", "\x00"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_nothing_gets_out(tool: Tool, open_hub: OpenHub, small_repo: Path, tmp_path: Path, case: str, way: str) -> None:
    environment, options, fault, code = CASES[case]
    hub = open_hub(small_repo, xet=False)
    if fault is not None:
        hub.faults.add(fault)
    tool.endpoint, tool.extra = hub.endpoint, environment
    log = tmp_path / "log"
    ended = tool.run("--selective", "vae/*", *options, *FEW, *WAYS[way], "--log", str(log))
    check(ended, log)
    if code is not None:
        assert ended.code == code, ended
    assert ended.code != 1, ended
    if code == 2:
        assert ended.err.count("error:") == 1


def test_a_token_over_plain_http_is_said_once(tool: Tool, open_hub: OpenHub, small_repo: Path) -> None:
    hub = open_hub(small_repo)
    tool.extra = {"HF_TOKEN": TOKEN}
    tool.endpoint = hub.endpoint
    assert "plain http" not in tool.run("--dry-run").err  # nobody is on the way
    tool.endpoint = "http://hub.invalid"
    ended = tool.run("--dry-run", *FEW)
    assert ended.err.count("plain http") == 1
    check(ended, small_repo / "no log")
