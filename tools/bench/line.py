"""A long line on one machine: two network namespaces, and between them a rate, a delay and a loss (`line.c`)."""

# mypy: disable-error-code="attr-defined, unreachable"
# Namespaces and TUN devices are there on Linux alone; `missing` says so elsewhere.

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Ends", "Line", "laid", "missing"]

_NEAR, _FAR = "10.77.0.1", "10.77.0.2"
_TUN = "/dev/net/tun"
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_SET_INTERFACE = 0x400454CA  # TUNSETIFF
_PACKETS = 0x1001  # IFF_TUN | IFF_NO_PI
_LEAST_QUEUE = 100_000  # bytes
_BUFFERS = "4096 131072 33554432"  # bytes a socket may buffer: they must not be what bounds it
_START = 0.2  # seconds


@dataclass(frozen=True, slots=True)
class Line:
    """What lies between two machines.

    Attributes:
        rate: Bytes per second each way.
        round_trip: Seconds there and back.
        loss: The share of packets that get lost, each way.
        tcp: The congestion control of both sides: ``cubic``, ``bbr``.
    """

    rate: float
    round_trip: float
    loss: float
    tcp: str = "cubic"


@dataclass(frozen=True, slots=True)
class Ends:
    """The two machines.

    Attributes:
        near: What to put before a command for it to run where the client is.
        far: The same for the server.
        address: Of the server.
    """

    near: tuple[str, ...]
    far: tuple[str, ...]
    address: str = _FAR


def missing() -> str:
    """What this machine lacks for a long line; empty: nothing."""
    if sys.platform != "linux":
        return "Linux"
    if os.geteuid():
        return "root"
    if not os.access(_TUN, os.W_OK):
        return _TUN
    return next((f"the command {name}" for name in ("ip", "cc", "sysctl") if shutil.which(name) is None), "")


@contextmanager
def laid(line: Line, work: Path) -> Iterator[Ends]:
    """Lay the line; it is gone in the end, whatever happens.

    Raises:
        RuntimeError: This machine cannot (see `missing`).
    """
    if lack := missing():
        raise RuntimeError(f"a long line needs {lack}")
    names = [f"line-{os.getpid()}-{end}" for end in ("near", "far")]
    program = work / "line"
    _run("cc", "-O2", "-o", str(program), str(Path(__file__).with_suffix(".c")))
    devices: list[int] = []
    process = None
    try:
        for name, own, other in zip(names, (_NEAR, _FAR), (_FAR, _NEAR), strict=True):
            _run("ip", "netns", "add", name)
            devices.append(_device(name))
            _configure(name, own, other, line.tcp)
        process = subprocess.Popen([*_first(), str(program), *_told(line), *map(str, devices)], pass_fds=devices)
        time.sleep(_START)
        if process.poll() is not None:
            raise RuntimeError(f"the line ended with code {process.returncode}")
        near, far = (("ip", "netns", "exec", name) for name in names)
        yield Ends(near, far)
    finally:
        if process is not None:
            process.kill()
            process.wait()
        for device in devices:
            os.close(device)
        for name in names:
            with suppress(subprocess.CalledProcessError):  # there may be none yet
                _run("ip", "netns", "del", name)


def _told(line: Line) -> list[str]:
    queue = max(line.rate * line.round_trip, _LEAST_QUEUE)
    return [f"{value:.0f}" for value in (line.rate, line.round_trip * 5e5, line.loss * 1e6, queue)]


def _first() -> list[str]:
    """The line must not wait for what is measured: it runs before all of that, where the system allows it."""
    ahead = ["chrt", "-f", "10"]
    if shutil.which(ahead[0]) and not subprocess.run([*ahead, "true"], check=False, capture_output=True).returncode:
        return ahead
    return []


def _configure(name: str, own: str, other: str, tcp: str) -> None:
    with suppress(subprocess.CalledProcessError, FileNotFoundError):
        _run("modprobe", f"tcp_{tcp}")
    allowed = "net.ipv4.tcp_allowed_congestion_control"
    with suppress(subprocess.CalledProcessError):
        _run("sysctl", "-qw", f"{allowed}=reno cubic {tcp}")
    for command in (
        ("ip", "link", "set", "lo", "up"),
        ("ip", "address", "add", own, "peer", other, "dev", "line"),
        ("ip", "link", "set", "line", "mtu", "1500", "txqueuelen", "10000", "up"),
        ("sysctl", "-qw", f"net.ipv4.tcp_congestion_control={tcp}"),
        ("sysctl", "-qw", f"net.ipv4.tcp_rmem={_BUFFERS}", f"net.ipv4.tcp_wmem={_BUFFERS}"),
        ("sysctl", "-qw", "net.ipv4.tcp_no_metrics_save=1"),  # no connection knows what one before it has found
    ):
        _run("ip", "netns", "exec", name, *command)


def _device(name: str) -> int:
    """A TUN device inside a namespace; what is read from it and written to it crosses the line."""
    import fcntl  # noqa: PLC0415 - Linux alone comes here

    system = ctypes.CDLL(None, use_errno=True)
    home, away = os.open("/proc/self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        if system.setns(away, _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "setns")
        device = os.open(_TUN, os.O_RDWR)
        fcntl.ioctl(device, _SET_INTERFACE, struct.pack("16sH22s", b"line", _PACKETS, b""))
    finally:
        system.setns(home, _NEW_NETWORK)
        os.close(home)
        os.close(away)
    return device


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
