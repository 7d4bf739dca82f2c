"""What is tried: the line, what goes wrong on it, and what happens to the process."""

from __future__ import annotations

from dataclasses import dataclass

from bench.line import Line

__all__ = ["SCENES", "Scene"]


@dataclass(frozen=True, slots=True)
class Scene:
    """A download under conditions.

    Attributes:
        name: For `--scene`.
        title: For people.
        server: Options of the embedded Hub; None: the fastest server there is.
        line: Bytes per second that all connections together can carry, for the ideal time; None: no bound.
        only_xet: Whether only peers that can do Xet take part.
        splits: Connections per file for a peer that splits files.
        kill_every: Seconds after which the process is killed and started again; None: never.
        times_ideal: Give up after so many times the ideal time (without a line: seconds).
        size: Times the size of the repo in other scenes: start-up should not decide, and kills need time to fall.
        real_size: All 57.7 GB, served from sparse files, whatever the scale and `size` are. It takes so much disk
            and time that it has to be asked for.
        once: Whether one run is enough: the line decides, and it is the same each time.
        far: What lies between client and server; None: nothing but the loopback. It takes root, and is measured on
            request alone.
    """

    name: str
    title: str
    server: tuple[str, ...] | None = None
    line: float | None = None
    only_xet: bool = False
    splits: int = 1
    kill_every: float | None = None
    times_ideal: float = 300.0
    size: int = 1
    real_size: bool = False
    once: bool = False
    far: Line | None = None


_FAR = 400e6 / 8  # bytes per second
_PAYLOAD = 1448 / 1500  # of a packet


def _long(name: str, title: str, line: Line, *, xet: bool) -> Scene:
    return Scene(
        f"long-line-{name}",
        title,
        server=() if xet else ("--no-xet",),
        line=line.rate * _PAYLOAD,
        only_xet=xet,
        splits=4,
        times_ideal=12,
        once=True,
        far=line,
    )


SCENES = (
    Scene("clean-http", "no limit, plain HTTP", splits=4, size=2),
    Scene("clean-xet", "no limit, Xet", only_xet=True, size=2),
    Scene(
        "four-lines",
        "4 connections of 20 MB/s each",
        server=("--no-xet", "--connection-rate", "20M"),
        line=80e6,
        times_ideal=10,
        size=2,
        once=True,
    ),
    Scene(
        "shared-line",
        "one line of 100 MB/s",
        server=("--no-xet", "--line-rate", "100M"),
        line=100e6,
        times_ideal=10,
        size=2,
        once=True,
    ),
    Scene(
        "latency",
        "100 MB/s, 80 ms before every answer",
        server=("--no-xet", "--line-rate", "100M", "--latency-ms", "80"),
        line=100e6,
        times_ideal=10,
        size=2,
        once=True,
    ),
    Scene(
        "latency-xet",
        "the same over Xet",
        server=("--line-rate", "100M", "--latency-ms", "80"),
        line=100e6,
        only_xet=True,
        times_ideal=10,
        size=2,
        once=True,
    ),
    Scene(
        "bad-evening",
        "100 MB/s, cut every 200 MB, a silent connection every 15 s, killed every 20 s",
        server=(
            *("--no-xet", "--line-rate", "100M"),
            *("--fault", "any-data:cut_after=200000000,per_connection=1"),
            *("--fault", "any-data:silent_after=1000000,every=15"),
        ),
        line=100e6,
        kill_every=20,
        times_ideal=3,
        size=4,
        once=True,
    ),
    Scene(
        "flip",
        "100 MB/s, a byte flipped in transit, once",
        server=("--no-xet", "--line-rate", "100M", "--fault", "any-data:flip_at=1000000,times=1"),
        line=100e6,
        times_ideal=10,
        once=True,
    ),
    Scene(
        "real-size",
        "all 57.7 GB over 300 MB/s, cut every 500 MB, killed every 60 s",
        server=("--no-xet", "--line-rate", "300M", "--fault", "any-data:cut_after=500000000,per_connection=1"),
        line=300e6,
        kill_every=60,
        times_ideal=3,
        real_size=True,
        once=True,
    ),
    *(
        _long(
            f"{loss:g}-{tcp}-{'xet' if xet else 'http'}",
            f"400 Mbit/s, 100 ms, {loss:g} % loss, {tcp}, {'Xet' if xet else 'HTTP'}",
            Line(_FAR, 0.1, loss / 100, tcp),
            xet=xet,
        )
        for loss, tcp in ((0.05, "cubic"), (0.01, "cubic"), (0.05, "bbr"))
        for xet in (True, False)
    ),
)
