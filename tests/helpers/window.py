"""The real command in a real terminal of so many columns: what a person sees, and what is left at the end."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING

import pyte
from workbench import TOOL

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench import Tool

assert sys.platform != "win32"  # which has no terminals of this kind

__all__ = ["Window"]


class Window:
    """A run of the command in a terminal.

    Args:
        tool: The command, with its cache and its Hub.
        arguments: The options.
        columns: Of the terminal.
        variables: More of the environment.
    """

    def __init__(self, tool: Tool, *arguments: str, columns: int = 80, variables: dict[str, str] | None = None) -> None:
        self.screen = pyte.Screen(columns, 40)
        self._stream = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        self.frames: list[str] = []
        self.raw = b""
        self._master, slave = pty.openpty()
        self._size(columns)
        environment = {**tool.environment, "TERM": "xterm", "LANG": "C.UTF-8", **(variables or {})}
        environment.pop("HF_HUB_DISABLE_PROGRESS_BARS", None)
        self.process = subprocess.Popen(
            [sys.executable, str(TOOL), *arguments],
            env=environment | (variables or {}),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def lines(self) -> list[str]:
        """What is seen now, without empty lines at the end."""
        with self._lock:
            lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def until(self, seen: Callable[[list[str]], bool], seconds: float = 30) -> list[str]:
        """Wait until the screen shows something; returns its lines."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if seen(lines := self.lines):
                return lines
            time.sleep(0.02)
        raise AssertionError("\n".join(["never seen; the last screen:", *self.lines]))

    def resize(self, columns: int) -> None:
        """As a person drags the corner."""
        self._size(columns)
        with self._lock:
            self.screen.resize(40, columns)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def wait(self, seconds: float = 60) -> int:
        """The exit code, when all that was written has been read."""
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code

    def _size(self, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the other end was closed
                data = b""
            if not data:
                os.close(self._master)
                return
            with self._lock:
                self.raw += data
                self._stream.feed(data)
