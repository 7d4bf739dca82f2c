"""What the person in front of the terminal sees: bars, plain lines for a log, or JSON lines for a program.

All are listeners to the same events. They write to stderr and never fail the download: when nobody
can be shown anything any more (a closed pipe), they fall silent.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, Protocol, TextIO

from qwen_fetch.cli.lines import JsonLines, Lines
from qwen_fetch.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_fetch.base.events import Event

__all__ = ["Display", "Style"]

Style = Literal["auto", "bar", "plain", "json", "off"]


class _View(Protocol):
    def show(self, event: Event) -> None: ...

    def close(self) -> None: ...


class Display:
    """Shows events in one style.

    Args:
        style: How; auto: bars on a terminal that can show them, plain lines elsewhere.
        stream: Where to; stderr.
        verbose: Every file and every retry is told.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        style: Style,
        stream: TextIO | None = None,
        *,
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        terminal = Terminal.of(stream or sys.stderr)
        if style == "auto":
            style = "bar" if terminal.wants_bars else "plain"
        self._view = _view(style, terminal, clock, verbose=verbose)
        self._lock = threading.Lock()  # workers report too

    def __call__(self, event: Event) -> None:
        """Show an event."""
        with self._lock:
            if self._view is None:
                return
            try:
                self._view.show(event)
            except (OSError, ValueError):  # nobody is reading any more
                self._view = None

    def close(self) -> None:
        """Leave the terminal tidy."""
        with self._lock:
            view, self._view = self._view, None
            if view is not None:
                with suppress(OSError, ValueError):
                    view.close()


def _view(style: Style, terminal: Terminal, clock: Callable[[], float], *, verbose: bool) -> _View | None:
    match style:
        case "bar":
            from qwen_fetch.cli.screen import Screen  # noqa: PLC0415 - what is not drawn need not be loaded

            return Screen(terminal, clock, verbose=verbose)
        case "plain":
            return Lines(terminal.stream, clock, verbose=verbose)
        case "json":
            return JsonLines(terminal.stream, clock)
    return None
