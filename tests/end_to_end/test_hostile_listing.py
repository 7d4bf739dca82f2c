"""What a hostile or broken endpoint lists: refused in one line and in time, and an honest run afterwards is whole."""

from __future__ import annotations

import gzip
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from scripted import Scripted
from workbench import REPO

from qwen_fetch.localhub.catalog import Revision
from qwen_fetch.localhub.faults import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from workbench import Bench, OpenHub, Tool

TIMEOUT = 1.0
IMPATIENT = ("--timeout", f"{TIMEOUT:g}", "--max-retries", "1")
JSON = {"Content-Type": "application/json"}
DIGEST = "a" * 40
GOOD = {"type": "file", "path": "config.json", "size": 2, "oid": DIGEST}
LARGE = GOOD | {"path": "a.safetensors", "lfs": {"oid": "b" * 64, "size": 2, "pointerSize": 135}}


def tree(*items: Any) -> bytes:
    return json.dumps(items).encode()


def answer(body: bytes, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault("api", path="*/tree/*", status=200, body=body, headers=JSON | named)


def commit(body: bytes) -> Fault:
    return Fault("api", path="*/revision/*", status=200, body=body, headers=JSON)


ATTACKS = {
    "a path out of the folder": (answer(tree(GOOD | {"path": "../../../x"})), 9),
    "an absolute path": (answer(tree(GOOD | {"path": "/x"})), 9),
    "a drive": (answer(tree(GOOD | {"path": "C:x"})), 9),
    "a terminal's escape in a path": (answer(tree(GOOD | {"path": "a\x1b]0;x\x07"})), 9),
    "a digest that is a path": (answer(tree(GOOD | {"oid": "../../x"})), 9),
    "a sha256 that is a path": (answer(tree(LARGE | {"lfs": {"oid": "../" * 20 + "abcd", "size": 2}})), 9),
    "a size that is text": (answer(tree(GOOD | {"size": "2"})), 9),
    "a size below nothing": (answer(tree(GOOD | {"size": -2})), 9),
    "a size without end": (
        answer(b'[{"path": "a", "size": %s}]' % (b"9" * 5000)),
        4,
    ),
    "two sizes": (answer(tree(LARGE | {"size": 3})), 9),
    "the same file twice": (answer(tree(GOOD, GOOD)), 9),
    "a file that is a folder too": (answer(tree(GOOD, GOOD | {"path": "config.json/x"})), 9),
    "a table for a list": (answer(b'{"files": []}'), 9),
    "a number for a file": (answer(b"[5]"), 9),
    "a list for what is large": (answer(tree(GOOD | {"lfs": [1]})), 9),
    "brackets without end": (answer(b"[" * 200_000), 4),
    "half an answer": (answer(b'[{"type": '), 4),
    "no text": (answer(b"\xff\xfe\x00"), 4),
    "a page": (Fault("api", path="*/tree/*", html_page=True), 4),
    "a bomb": (answer(gzip.compress(b"[" + b" " * 20_000_000 + b"]"), Content_Encoding="gzip"), 4),
    "pages in a circle": (answer(tree(GOOD), Link='<?cursor=x>; rel="next"'), 9),
    "byte by byte": (Fault("api", slow=1.0), 4),
    "silence": (Fault("api", silent_after=10), 4),
    "a commit that is a path": (commit(b'{"sha": "../../x"}'), 9),
    "a list for a commit": (commit(b'["c"]'), 9),
    "a commit that is a number": (commit(b'{"sha": 5}'), 9),
    "sent in a circle": (Fault("api", status=307, headers={"Location": "/api/models/x"}), 4),
    "sent to what is no address": (Fault("api", status=302, headers={"Location": "file:///etc/passwd"}), 4),
    "wait for ages": (Fault("api", status=429, headers={"Retry-After": "1000000000"}), 4),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_refused_in_time_and_costs_nothing(tool: Tool, open_hub: OpenHub, small_repo: Path, name: str) -> None:
    fault, code = ATTACKS[name]
    hub = open_hub(small_repo)
    tool.endpoint = hub.endpoint
    hub.faults.add(fault)
    ended = tool.run(*IMPATIENT)
    assert ended.code == code, ended
    assert ended.seconds < 3 * TIMEOUT + 1.5  # the rest is the start, and the look at the cause
    assert "Traceback" not in ended.err
    assert "\x1b" not in ended.err
    assert not list(tool.home.parent.glob("x"))
    if tool.blobs.exists():
        assert not list(tool.blobs.iterdir())
    hub.faults.clear()
    assert tool.run("--selective", "*.json").code == 0


def test_a_page_elsewhere_is_not_asked_and_gets_no_token(tool: Tool, open_hub: OpenHub, small_repo: Path) -> None:
    hub = open_hub(small_repo, token="hf_secret")
    tool.endpoint, tool.extra = hub.endpoint, {"HF_TOKEN": "hf_secret"}
    with Scripted() as elsewhere:
        hub.faults.add(
            Fault(
                "api",
                path="*/tree/*",
                times=1,
                status=200,
                body=tree(GOOD),
                headers=JSON | {"Link": f'<{elsewhere.url}/api/models/{REPO}/tree/main?cursor=x>; rel="next"'},
            )
        )
        ended = tool.run(*IMPATIENT, "--dry-run")
        assert ended.code == 0, ended
        assert elsewhere.asked == []
    # The cursor was taken, and the endpoint itself was asked with it.
    assert [request.path for request in hub.log.requests("api")][-1].endswith("/tree/" + hub.commit)


def test_an_endpoint_that_sends_elsewhere_does_not_send_the_token_along(
    tool: Tool, open_hub: OpenHub, small_repo: Path
) -> None:
    hub, other = open_hub(small_repo), open_hub(small_repo)
    tool.endpoint, tool.extra = hub.endpoint, {"HF_TOKEN": "hf_secret"}
    there = f"{other.endpoint}/api/models/{REPO}/revision/main"
    hub.faults.add(Fault("api", path="*/revision/*", status=307, headers={"Location": there}))
    assert tool.run("--dry-run").code == 0
    assert [request.headers.get("authorization") for request in other.log.requests()] == [None]


@pytest.mark.parametrize("order", ["the mirror first", "the mirror last"])
def test_a_mirror_that_lies_about_the_true_commit_is_noticed_and_healed(
    empty: Bench, open_hub: OpenHub, tmp_path: Path, order: str
) -> None:
    shutil.copytree(empty.repo, tmp_path / "evil")
    paths = ("vae/config.json", "vae/diffusion_pytorch_model.safetensors")
    for path in paths:
        content = bytearray((tmp_path / "evil" / path).read_bytes())
        content[-2] ^= 1
        (tmp_path / "evil" / path).write_bytes(content)
    mirror = open_hub(tmp_path / "evil")
    evil = mirror.catalog.revision("main")
    assert evil is not None
    mirror.catalog.add("main", Revision(empty.commit, evil.entries))
    honest = empty.hub.endpoint
    if order == "the mirror last":
        assert empty.tool.run().code == 0
    empty.tool.endpoint = mirror.endpoint
    ended = empty.tool.run()
    assert ended.code == 0, ended
    assert ("otherwise than" in ended.err) == (order == "the mirror last")
    # Whose word a verification used is said, and it is the Hub that is asked now.
    empty.tool.endpoint = honest
    ended = empty.tool.run("--verify")
    assert ended.code == 3, ended  # what the Hub lists is not here
    assert "otherwise than" in ended.err
    ended = empty.tool.run()
    assert ended.code == 0, ended
    assert mirror.endpoint in ended.err
    assert "2 files" in ended.err
    empty.check()
    assert "otherwise" not in empty.tool.run().err
