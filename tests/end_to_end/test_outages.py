"""The network, the Hub or a name is gone for ten minutes: real sockets, and a clock for the pauses that runs faster."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from workbench import Tool

from qwen_fetch import download
from qwen_fetch.localhub.data import DataHandler
from qwen_fetch.localhub.faults import Fault
from qwen_fetch.localhub.hub import LocalHub
from qwen_fetch.localhub.serving import Server
from qwen_fetch.routines import patience
from qwen_fetch.transfer import retry, worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FASTER = 400  # times
GONE = 600 / FASTER  # seconds here: ten minutes
RATE = 20_000_000  # bytes/s of the line
SIZE = 34_660_000  # bytes of the weights, about


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch, no_proxy_of_this_machine: None) -> None:  # noqa: ARG001
    real = retry.pause
    for module in (retry, patience):
        monkeypatch.setattr(module, "pause", lambda failures, jitter=None: real(failures, jitter) / FASTER)
    for module in (patience, worker):
        monkeypatch.setattr(module, "LOOK_PERIOD", 2 / FASTER)
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_XET"):
        monkeypatch.delenv(name, raising=False)


class Evening:
    """A download under way, and the Hubs that it met one after the other at the same address."""

    def __init__(self, home: Path, repo: Path, *, xet: bool) -> None:
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            self.port = reserved.getsockname()[1]
        self.tool = Tool(home)
        self.repo = repo
        self.hubs: list[LocalHub] = []
        self._xet = xet
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def open(self) -> None:
        self.hubs.append(LocalHub(self.repo, xet=self._xet, port=self.port, line_rate=RATE))

    def close(self) -> None:
        for hub in self.hubs:
            hub.close()

    def start(self) -> None:
        self._thread.start()

    def until(self, share: float) -> None:
        """Wait until so much of the weights has come."""
        end = time.monotonic() + 30
        while self.bytes_sent < share * SIZE and time.monotonic() < end:
            time.sleep(0.005)

    @property
    def bytes_sent(self) -> int:
        return sum(hub.log.weight_bytes() for hub in self.hubs)

    def check(self) -> None:
        """It went on by itself, and nothing came twice but what was on its way."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert self._failed == []
        assert self.tool.tree_is(self.repo)
        assert self.bytes_sent <= 1.05 * SIZE

    def _run(self) -> None:
        endpoint = f"http://127.0.0.1:{self.port}"
        try:
            download(cache_dir=self.tool.cache, endpoint=endpoint, token="", timeout=2.0, stall_timeout=2.0)
        except BaseException as error:  # noqa: BLE001 - told by `check`
            self._failed.append(error)


@contextmanager
def nameless(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No name is found."""

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", unknown)
        yield


def away_at_the_start(evening: Evening, _monkeypatch: pytest.MonkeyPatch) -> None:
    evening.start()
    time.sleep(GONE)
    evening.open()


def away_from(share: float) -> Callable[[Evening, pytest.MonkeyPatch], None]:
    def happen(evening: Evening, _monkeypatch: pytest.MonkeyPatch) -> None:
        evening.open()
        evening.start()
        evening.until(share)
        evening.close()
        time.sleep(GONE)
        evening.open()

    return happen


def away_again_and_again(evening: Evening, _monkeypatch: pytest.MonkeyPatch) -> None:
    evening.open()
    evening.start()
    for share in (0.2, 0.4, 0.6, 0.8):
        evening.until(share)
        evening.close()
        time.sleep(GONE / 4)
        evening.open()


def the_data_host_moves(evening: Evening, _monkeypatch: pytest.MonkeyPatch) -> None:
    evening.open()
    evening.start()
    evening.until(0.3)
    (hub,) = evening.hubs
    *data, api = hub._servers
    for server in data:
        server.stop()
    new = Server(("127.0.0.1", 0), DataHandler, hub)
    hub._servers[:] = [new, api]
    hub.data_endpoint = f"http://127.0.0.1:{new.port}"


def names_are_gone(evening: Evening, monkeypatch: pytest.MonkeyPatch) -> None:
    evening.open()
    evening.start()
    evening.until(0.3)
    (hub,) = evening.hubs
    with nameless(monkeypatch):
        hub.faults.add(Fault("any-data", close_at_once=True, times=8))  # or the open connections would do
        time.sleep(GONE)


EVENINGS = {
    "the Hub is away at the start": away_at_the_start,
    "in the middle": away_from(0.4),
    "at the end": away_from(0.95),
    "again and again": away_again_and_again,
    "the data host moves for good": the_data_host_moves,
    "no name is found": names_are_gone,
}


@pytest.mark.parametrize("happen", EVENINGS.values(), ids=EVENINGS)
@pytest.mark.parametrize("xet", [False, True], ids=["http", "xet"])
def test_it_goes_on_by_itself(
    tmp_path: Path,
    small_repo: Path,
    monkeypatch: pytest.MonkeyPatch,
    happen: Callable[[Evening, pytest.MonkeyPatch], None],
    xet: bool,
) -> None:
    evening = Evening(tmp_path / "home", small_repo, xet=xet)
    with ExitStack() as stack:
        stack.callback(evening.close)
        happen(evening, monkeypatch)
        evening.check()
