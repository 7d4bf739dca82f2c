"""Record the screen of a download as an animated picture for the README: the real command on the embedded Hub.

A download of the real size goes on over a line of 40 MB/s, the network goes away and comes back, somebody presses
Ctrl-C, and the same command goes on. Run from the root of a checkout: python tools/record_screen.py docs/screen.svg
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from html import escape
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import pyte

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # also runs where the package is not installed

from qwen_fetch.localhub.content import make_repo
from qwen_fetch.localhub.faults import Fault
from qwen_fetch.localhub.hub import LocalHub

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

assert sys.platform != "win32"  # noqa: S101 - which has no terminals of this kind

ROOT = Path(__file__).resolve().parents[1]
COLUMNS, ROWS = 96, 11
CELL, LINE = 8.4, 19.0  # pixels
RATE = 40_000_000  # bytes/s
HERE = 12_000_000_000  # bytes
COLOURS = {"green": "g", "brown": "y", "blue": "b", "red": "r"}  # as pyte calls them
STYLE = """
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#24292f}
rect{fill:#f6f8fa}.g{fill:#1a7f37}.y{fill:#9a6700}.b{fill:#0969da}.r{fill:#cf222e}.f{visibility:hidden}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}rect{fill:#0d1117}
.g{fill:#3fb950}.y{fill:#d29922}.b{fill:#58a6ff}.r{fill:#f85149}}
@media(prefers-reduced-motion:reduce){.f{animation:none!important}.poster{visibility:visible!important}}
"""

Run = tuple[int, str, str]  # column, text, colour
Frame = tuple[tuple[Run, ...], ...]  # its rows


class Recorder:
    """A terminal that commands run in, one after the other, and the frames that it showed."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.frames: list[tuple[float, Frame]] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *words: str) -> None:
        """Type `qwen-fetch` and the words."""
        self._feed(f"$ {' '.join(['qwen-fetch', *words])}\r\n".encode())
        master, slave = pty.openpty()
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        command = [sys.executable, "-c", "import sys; from qwen_fetch.cli.main import main; sys.exit(main())", *words]
        self._process = subprocess.Popen(  # noqa: S603
            command, stdin=slave, stdout=slave, stderr=slave, env=self._environment, start_new_session=True
        )
        os.close(slave)
        threading.Thread(target=self._read, args=(master,), daemon=True).start()

    def watch(self, seconds: float, every: float = 1.0) -> None:
        """Keep a frame now and then."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(every, left))
            self.keep(min(every, left))

    def keep(self, seconds: float) -> None:
        """Keep what is seen now, to be shown for so long."""
        with self._lock:
            frame = tuple(tuple(_runs(self._screen.buffer[row])) for row in range(ROWS))
        if self.frames and self.frames[-1][1] == frame:
            seconds += self.frames.pop()[0]
        self.frames.append((seconds, frame))

    def interrupt(self) -> None:
        """Press Ctrl-C, and wait for the end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            time.sleep(0.3)

    def _read(self, master: int) -> None:
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                data = b""
            if not data:
                os.close(master)
                return
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        with self._lock:
            self._stream.feed(data)


def _runs(row: dict[int, pyte.screens.Char]) -> Iterable[Run]:
    cells = [(column, row[column].data, COLOURS.get(row[column].fg, "")) for column in range(COLUMNS)]
    for colour, group in groupby(cells, lambda cell: cell[2]):
        part = list(group)
        for words in re.finditer(
            r"\S+(?: \S+)*", "".join(cell[1] for cell in part)
        ):  # wide gaps are not left to the font
            yield part[0][0] + words.start(), words[0], colour


def svg(frames: Sequence[tuple[float, Frame]], poster: int) -> str:
    """The picture: each different line once, and frames that are seen one after the other."""
    total = sum(seconds for seconds, _ in frames)
    lines: dict[tuple[Run, ...], str] = {}
    body, keys, began = [], [], 0.0
    for number, (seconds, frame) in enumerate(frames):
        uses = []
        for row, runs in enumerate(frame):
            if runs:
                name = lines.setdefault(runs, f"l{len(lines)}")
                uses.append(f'<use href="#{name}" y="{row * LINE:g}"/>')
        start, end = 100 * began / total, 100 * (began + seconds) / total
        began += seconds
        first = "visible" if number == 0 else "hidden"
        last = f"{end:.2f}%{{visibility:hidden}}" if number < len(frames) - 1 else ""
        keys.append(f"@keyframes f{number}{{0%{{visibility:{first}}}{start:.2f}%{{visibility:visible}}{last}}}")
        kind = "f poster" if number == poster else "f"
        animation = f"animation:f{number} {total:.0f}s step-end infinite"
        body.append(f'<g class="{kind}" style="{animation}">{"".join(uses)}</g>')
    defined = [f'<g id="{name}">{"".join(map(_text, runs))}</g>' for runs, name in lines.items()]
    width, height = COLUMNS * CELL + 24, ROWS * LINE + 20
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}">',
            "<title>qwen-fetch at work: a download, an outage, Ctrl-C, and the same command again</title>",
            f"<style>{STYLE}{''.join(keys)}</style>",
            '<rect width="100%" height="100%" rx="8"/>',
            f"<defs>{''.join(defined)}</defs>",
            '<g transform="translate(12 24)">',
            *body,
            "</g>",
            "</svg>",
            "",
        ]
    )


def _text(run: Run) -> str:
    column, text, colour = run
    kind = f' class="{colour}"' if colour else ""
    return f'<text x="{column * CELL:g}" textLength="{len(text) * CELL:g}"{kind}>{escape(text)}</text>'


def record(work: Path) -> list[tuple[float, Frame]]:
    """Make the repo, serve it, and let the command run.

    Args:
        work: Where the repo and the cache are made: 13 GB on a file system that has holes.
    """
    repo = work / "repo"
    make_repo(repo, scale=1.0, sparse=True)
    with LocalHub(repo, xet=False) as hub:
        names = ("PATH", "SYSTEMROOT")
        environment = {name: os.environ[name] for name in names if name in os.environ} | {
            "HOME": str(work),
            "HF_ENDPOINT": hub.endpoint,
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "PYTHONPATH": str(ROOT / "src"),
        }
        before = Recorder(environment)  # what an earlier evening brought
        before.start()
        while hub.log.weight_bytes() < HERE:
            time.sleep(0.1)
        before.interrupt()
        hub.line_rate = RATE
        terminal = Recorder(environment)
        terminal.start()
        terminal.watch(0.4, 0.2)
        terminal.watch(8)
        hub.faults.add(Fault("any-data", close_at_once=True))
        terminal.watch(10)
        hub.faults.clear()
        terminal.watch(8)
        terminal.interrupt()
        terminal.keep(3)
        terminal.start()
        terminal.watch(0.4, 0.2)
        terminal.watch(6)
        terminal.interrupt()
    return terminal.frames


def main() -> int:
    """Record and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path, help="such as docs/screen.svg")
    parser.add_argument("--work", type=Path, help="where 13 GB can be written (default: a temporary folder)")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(dir=arguments.work))
    try:
        frames = record(work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    arguments.picture.write_text(svg(frames, poster=7), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
