"""The whole job on a small Hub inside this machine: what was shown to work here, line by line.

Every check runs the real command in a process of its own, against the embedded Hub, in a temporary cache
on the file system of the real one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import qwen_fetch
from qwen_fetch.base import catalogue
from qwen_fetch.base.door import say
from qwen_fetch.base.files import RepoFile
from qwen_fetch.base.integrity import Digest
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.settings import DEFAULT_REPO
from qwen_fetch.base.units import size_text
from qwen_fetch.cache.locks import BlobLock
from qwen_fetch.cache.store import Store
from qwen_fetch.localhub.content import make_repo
from qwen_fetch.localhub.faults import Fault, Faults
from qwen_fetch.localhub.hub import LocalHub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qwen_fetch.base.settings import Settings

__all__ = ["self_test"]

_SCALE = 0.0015  # of 57.7 GB: 87 MB
_LINE = 30_000_000  # bytes per second: slow enough to be killed in the middle
_SHARD = "vae/diffusion_pytorch_model.safetensors"
_PATIENCE = 60.0  # seconds that one run of the command may take


def self_test(settings: Settings, tick: Callable[[], None]) -> int:
    """Run all checks and print a line for each.

    Args:
        settings: For the cache folder, whose file system is the one that matters.
        tick: Called several times a second; what it raises ends the test.

    Returns:
        0 when everything works.

    Raises:
        Problem: (self-test-failed) something does not.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="qwen-fetch-self-test-", dir=_place(settings)) as folder:
        root = Path(folder)
        say(f"Trying the whole job on this machine, in {root}")
        repo = root / "repo"
        make_repo(repo, scale=_SCALE)
        bench = _Bench(root, repo, tick)
        failed = 0
        checks = _checks()
        for name, check in checks:
            tick()
            try:
                seen = check(bench)
            except (_Failed, OSError) as failure:
                failed += 1
                say(f"FAILED  {name}: {failure}")
            else:
                say(f"ok      {name}: {seen}")
    if failed:
        raise Problem(catalogue.SELF_TEST, failed=failed, total=len(checks))
    say(f"Everything works here ({time.monotonic() - began:.0f} s).")
    return 0


class _Failed(Exception):  # noqa: N818 - a result of the test, not an error of it
    """A check did not show what it should."""


class _Bench:
    """A repo to serve, and the command with a cache for each check."""

    def __init__(self, root: Path, repo: Path, tick: Callable[[], None]) -> None:
        self.root = root
        self.repo = repo
        self.size = sum(path.stat().st_size for path in repo.rglob("*") if path.is_file())
        self._tick = tick
        self._homes = 0

    def new_home(self) -> Path:
        """An empty Hugging Face home."""
        self._homes += 1
        return self.root / f"home-{self._homes}"

    @contextmanager
    def hub(self, *, xet: bool, line_rate: float | None = None, faults: Faults | None = None) -> Iterator[LocalHub]:
        """The embedded Hub, serving the repo."""
        with LocalHub(self.repo, repo_id=DEFAULT_REPO, xet=xet, line_rate=line_rate, faults=faults) as hub:
            yield hub

    def start(self, home: Path, endpoint: str, *arguments: str) -> subprocess.Popen[str]:
        """Start the command with nothing of the user's settings."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        environment |= {
            "HF_HOME": str(home),
            "HF_ENDPOINT": endpoint,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "PYTHONPATH": str(Path(qwen_fetch.__file__).parents[1]),
        }
        return subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "qwen_fetch", "--progress", "plain", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, home: Path, endpoint: str, *arguments: str, expect: int = 0) -> tuple[str, str]:
        """Run the command to its end; stdout and stderr."""
        with self.start(home, endpoint, *arguments) as process:
            out, err = self._wait(process)
        if process.returncode != expect:
            lines = err.strip().splitlines() or ["no message"]
            told = next((line for line in lines if line.startswith("error: ")), lines[-1])
            raise _Failed(
                f"exit code {process.returncode} instead of {expect} ({told.removeprefix('error: ').strip()})"
            )
        return out, err

    def kill_in_the_middle(self, home: Path, hub: LocalHub, *arguments: str) -> int:
        """Start the command and kill it when a third of the bytes are served; returns the bytes served."""
        with self.start(home, hub.endpoint, *arguments) as process:
            until = time.monotonic() + _PATIENCE
            try:
                while hub.log.weight_bytes() < self.size / 3:
                    self._tick()
                    if process.poll() is not None or time.monotonic() > until:
                        raise _Failed("it could not be killed in the middle")
                    time.sleep(0.02)
            finally:
                process.kill()
            process.communicate()
        return hub.log.weight_bytes()

    def check_tree(self, home: Path) -> None:
        """Compare every byte of the snapshot with the repo."""
        store = Store(home / "hub", DEFAULT_REPO)
        commit = (store.repo / "refs" / "main").read_text(encoding="utf-8")
        for source in self.repo.rglob("*"):
            copy = store.snapshot(commit) / source.relative_to(self.repo)
            if source.is_file() and (not copy.is_file() or copy.read_bytes() != source.read_bytes()):
                raise _Failed(f"{copy.name} is not what the Hub served")

    def _wait(self, process: subprocess.Popen[str]) -> tuple[str, str]:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                return process.communicate(timeout=0.2)
            except subprocess.TimeoutExpired:
                try:
                    self._tick()
                except BaseException:
                    process.kill()
                    raise
                if time.monotonic() > until:
                    process.kill()
                    raise _Failed(f"no end after {_PATIENCE:.0f} s") from None


def _checks() -> list[tuple[str, Callable[[_Bench], str]]]:
    return [
        ("symlinks", _symlinks),
        ("locks", _locks),
        ("download over Xet", lambda bench: _download(bench, xet=True)),
        ("download over HTTP", lambda bench: _download(bench, xet=False)),
        ("resume after a kill, Xet", lambda bench: _resume(bench, xet=True)),
        ("resume after a kill, HTTP", lambda bench: _resume(bench, xet=False)),
        ("a stop keeps everything", _stop),
        ("a flipped byte is caught", _flip),
        ("status without a network", _offline),
    ]


def _symlinks(bench: _Bench) -> str:
    store = Store(bench.root / "probe", DEFAULT_REPO)
    return "yes" if store.symlinks_work else "none here: files are stored in the snapshot folder itself"


def _locks(bench: _Bench) -> str:
    store = Store(bench.root / "probe", DEFAULT_REPO)
    file = RepoFile("probe", 0, Digest("sha256", "0" * 64))
    first, second = BlobLock(store, file), BlobLock(store, file)
    if not first.take():
        raise _Failed("a free lock could not be taken")
    try:
        if second.take():
            second.release()
            raise _Failed("a lock was given twice: two downloads into this cache at once would not be safe")
    finally:
        first.release()
    return "they hold"


def _download(bench: _Bench, *, xet: bool) -> str:
    home = bench.new_home()
    with bench.hub(xet=xet) as hub:
        began = time.monotonic()
        bench.run(home, hub.endpoint, "--transport", "xet" if xet else "http")
        seconds = time.monotonic() - began
    bench.check_tree(home)
    return f"{size_text(bench.size)} in {seconds:.1f} s, every byte right"


def _resume(bench: _Bench, *, xet: bool) -> str:
    home = bench.new_home()
    transport = ("--transport", "xet" if xet else "http")
    with bench.hub(xet=xet, line_rate=_LINE) as hub:
        before = bench.kill_in_the_middle(home, hub, *transport)
        hub.line_rate = None
        out, _ = bench.run(home, hub.endpoint, "--json", *transport)
        served = hub.log.weight_bytes()
    bench.check_tree(home)
    here = json.loads(out)["bytes_total"] - json.loads(out)["bytes_fetched"]
    twice = max(0, served - bench.size)
    if twice > _LINE:
        raise _Failed(f"{size_text(twice)} were fetched twice")
    return f"{size_text(here)} of {size_text(before)} were kept, {size_text(twice)} fetched twice"


def _stop(bench: _Bench) -> str:
    home = bench.new_home()
    with bench.hub(xet=False, line_rate=_LINE) as hub, bench.start(home, hub.endpoint) as process:
        while hub.log.weight_bytes() < bench.size / 4 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        process.communicate(timeout=_PATIENCE)
        seconds = time.monotonic() - began
    if os.name != "nt" and process.returncode != 143:  # on Windows, to terminate is to kill
        raise _Failed(f"exit code {process.returncode} instead of 143")
    kept = sum(path.stat().st_size for path in Store(home / "hub", DEFAULT_REPO).blobs.iterdir())
    return f"gone after {seconds:.1f} s, {size_text(kept)} kept"


def _flip(bench: _Bench) -> str:
    home = bench.new_home()
    fault = Fault("any-data", path=_SHARD, flip_at=100_000, times=1)
    with bench.hub(xet=False, faults=Faults(fault)) as hub:
        _, err = bench.run(home, hub.endpoint)
    if "wrong digest" not in err:
        raise _Failed("nobody noticed")
    bench.check_tree(home)
    return "noticed, fetched again, right at the end"


def _offline(bench: _Bench) -> str:
    home = bench.new_home()
    with bench.hub(xet=False) as hub:
        bench.run(home, hub.endpoint, "--exclude", "transformer/*")
        endpoint = hub.endpoint
    out, _ = bench.run(home, endpoint, "--status-only", "--json", expect=3)
    states = [file["state"] for file in json.loads(out)["files"]]
    return f"{states.count('complete')} files complete, {states.count('missing')} missing"


def _place(settings: Settings) -> Path | None:
    """A folder on the file system of the cache; None for the system's temporary folder."""
    folder = settings.hub_cache.parent
    return folder if os.access(folder, os.W_OK) else None
