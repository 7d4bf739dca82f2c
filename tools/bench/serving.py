"""A Hub in a process of its own, so that what it costs is told apart from what the client costs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from bench.process import Child
from bench.recorded import record
from qwen_fetch.localhub import LocalHub

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["REPO_ID", "Served", "Server", "embedded", "fast", "fast_xet", "nginx"]

REPO_ID = "Qwen/Qwen-Image-Edit"
_PATIENCE = 30.0  # seconds for a server to start, or to end


@dataclass(frozen=True, slots=True)
class Served:
    """What a server has done in its life.

    Attributes:
        weight_bytes: Bytes of large files that it sent.
        requests: How many requests it answered.
        cpu_seconds: What that cost it, start-up included.
    """

    weight_bytes: int
    requests: int
    cpu_seconds: float


class Server:
    """A running Hub; `stop` says what it served."""

    def __init__(self, name: str, child: Child, log: Path) -> None:
        self.name = name
        self.endpoint = ""
        self._child = child
        self._log = log
        self._served: Served | None = None

    def __enter__(self) -> Self:
        """Return the server, which serves already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def stop(self) -> Served:
        """End it, so that its log is complete, and count. Stopping twice does no harm."""
        if self._served is None:
            self._child.kill(signal.SIGTERM)
            usage = self._child.wait(_PATIENCE)
            lines = self._log.read_text(encoding="utf-8").splitlines() if self._log.exists() else []
            # A client that is killed leaves sockets behind; the server logs each when it has noticed.
            weight = sum(map(_weight_bytes, lines))
            self._served = Served(weight, len(lines), usage.cpu_seconds)
        return self._served


def embedded(repo: Path, work: Path, options: Sequence[str] = (), before: Sequence[str] = ()) -> Server:
    """The embedded Hub, with the options of `python -m qwen_fetch.localhub`, and what stands before its command."""
    work.mkdir(parents=True)
    told, log = work / "hub.out", work / "requests.log"
    hub = [sys.executable, "-m", "qwen_fetch.localhub"]
    command = [*before, *hub, "--folder", str(repo), "--log", str(log), *options]
    server = Server("embedded", Child(command, os.environ, told), log)
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        text = told.read_text(encoding="utf-8") if told.exists() else ""
        if "HF_ENDPOINT=" in text and text.endswith("\n"):
            server.endpoint = text.split("HF_ENDPOINT=", 1)[1].split()[0]
            return server
        time.sleep(0.02)
    server.stop()
    raise TimeoutError(f"the embedded Hub did not start; see {told}")


def fast_xet(repo: Path, work: Path) -> Server:
    """The embedded Hub with its xorbs as files, which the kernel sends."""
    store = repo.with_name(f"{repo.name}.xorbs")
    if not store.exists():
        LocalHub(repo, store=store).close()  # makes them: a cost that is no server's
    return embedded(repo, work, ["--store", str(store)])


def nginx() -> str | None:
    """The nginx of this machine, if there is one."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def fast(repo: Path, work: Path) -> Server:
    """The fastest Hub for plain HTTP: nginx where it is installed, else the embedded one."""
    program = nginx()
    if program is None:
        return embedded(repo, work, ["--no-xet"])
    site = record(repo, work, REPO_ID)
    command = [program, "-e", str(work / "error.log"), "-c", str(site.config), "-p", str(work)]
    server = Server("nginx", Child(command, os.environ, work / "nginx.out"), site.log)
    server.endpoint = site.endpoint
    address = urlsplit(site.endpoint)
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        try:
            socket.create_connection((str(address.hostname), int(address.port or 0)), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return server
    server.stop()
    raise TimeoutError(f"nginx did not start; see {work}")


def _weight_bytes(line: str) -> int:
    """Bytes of a large file in one line of either server's log."""
    if line.startswith("{"):
        request = json.loads(line)
        return int(request["bytes_sent"]) if request["weight"] and request["kind"] in {"cdn", "xorb"} else 0
    host, count = line.split()
    return int(count) if host == "data" else 0
