"""Ctrl-C and SIGTERM in every phase: gone within a second, in order, and nothing lost."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock
from workbench import FIX, SHARD

from qwen_fetch.localhub.faults import Fault

if TYPE_CHECKING:
    from workbench import Bench

SIGNALS = {"ctrl-c": (signal.SIGINT, 130), "sigterm": (signal.SIGTERM, 143)}
SECOND = 1.0
BUSY = 0.6  # seconds that a busy machine may need on top
MOMENTS = 1

# phase: arguments, what keeps it there, what is here already ("whole": all, "broken": a shard is missing)
PHASES: dict[str, tuple[tuple[str, ...], Fault | None, str]] = {
    "listing": ((), Fault("api", delay=20.0), "empty"),
    "a listing that trickles": ((), Fault("api", slow=5.0), "empty"),
    "head": (("--transport", "http"), Fault("resolve", path="*.safetensors", delay=20.0), "empty"),
    "small files": ((), Fault("resolve", slow=20.0), "empty"),
    "weights": ((), Fault("any-data", slow=50_000.0), "empty"),
    "silent weights": ((), Fault("any-data", silent_after=1000), "empty"),
    "waiting for the network": ((), Fault("api", close_at_once=True), "empty"),
    "waiting for the data host": ((), Fault("any-data", status=503), "empty"),
    "waiting for a lock": ((), None, "locked"),
    "dry run": (("--dry-run",), Fault("api", delay=20.0), "empty"),
    "verify": (("--verify",), Fault("api", delay=20.0), "whole"),
    "verify, reading": (("--verify", "--force"), None, "whole"),
    "diagnosis": (("--diagnose",), Fault("api", delay=20.0), "empty"),
    "a run with nothing to do": ((), None, "whole"),
    "status": (("--status-only",), None, "whole"),
    "cleanup": (("--cleanup", "--yes"), None, "whole"),
    "self-test": (("--self-test",), None, "empty"),
    "fix": (("fix",), Fault("any-data", slow=50_000.0), "broken"),
}


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("phase", PHASES)
def test_it_ends_within_a_second(request: pytest.FixtureRequest, phase: str, name: str) -> None:
    arguments, fault, state = PHASES[phase]
    number, code = SIGNALS[name]
    bench: Bench = request.getfixturevalue("empty" if state == "empty" else "whole")
    if state in {"locked", "broken"}:
        bench.pointer(SHARD).unlink()
        bench.blob(SHARD).unlink()
    lock = FileLock(bench.tool.cache / ".locks/models--Qwen--Qwen-Image-Edit" / f"{bench.digest(SHARD)}.lock")
    if state == "locked":
        lock.acquire()
    if fault is not None:
        bench.hub.faults.add(fault)
    command: list[str] | None = None
    if arguments == ("fix",):
        arguments, command = (), [sys.executable, str(FIX)]
    moments = random.Random(f"{phase} {name}")
    for _ in range(MOMENTS):
        check(bench, arguments, command, number, code, moments.uniform(0.2, 1.2))
    lock.release()
    bench.hub.faults.clear()
    assert bench.tool.run("-q").code == 0
    bench.check()


def check(bench: Bench, arguments: Any, command: list[str] | None, number: int, code: int, moment: float) -> None:
    process = bench.tool.start(*arguments, command=command)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    began = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - began < SECOND + BUSY, err
    assert process.returncode in {code, 0, 3}, err  # it may have been done before
    assert "Traceback" not in err
    if process.returncode == code:
        assert "interrupted" in err or "terminated" in err, err


def test_a_signal_that_the_parent_ignores_stays_ignored(empty: Bench) -> None:
    empty.hub.faults.add(Fault("api", path="*/tree/*", delay=1.0))
    command = [
        sys.executable,
        "-c",
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.executable, sys.argv[1:])",
        sys.executable,
    ]
    from workbench import TOOL  # noqa: PLC0415

    process = empty.tool.start(command=[*command, str(TOOL)])
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


def test_the_second_one_ends_it_at_once(empty: Bench) -> None:
    empty.hub.line_rate = 100_000
    process = empty.tool.start()
    time.sleep(0.8)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
