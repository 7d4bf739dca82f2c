"""The screen: events become a scene, and a few times a second the scene is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_fetch.base.events import FileDone, Mismatch, Note, Phase, Progress, Retry, Switch
from qwen_fetch.cli.canvas import Canvas
from qwen_fetch.cli.scene import Scene
from qwen_fetch.cli.wording import sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_fetch.base.events import Event
    from qwen_fetch.cli.terminal import Terminal

__all__ = ["Screen"]

_FRAME_SECONDS = 0.2
_PAUSE_SECONDS = 2.0  # between two frames: we were stopped (Ctrl-Z), and somebody else may have written since


class Screen:
    """Bars on a terminal.

    Args:
        terminal: Where to.
        clock: Monotonic seconds.
        verbose: Files that are done, retries and switches are listed above the bars as well.
    """

    def __init__(self, terminal: Terminal, clock: Callable[[], float], *, verbose: bool = False) -> None:
        self._clock = clock
        self._canvas = Canvas(terminal)
        self._scene = Scene()
        self._stays = (Note, Mismatch, *((FileDone, Retry, Switch) if verbose else ()))
        self._drawn = -_FRAME_SECONDS

    def show(self, event: Event) -> None:
        """Take an event; draw if it is time."""
        now = self._clock()
        self._scene.take(event, now)
        if event == Phase("done"):
            self.close()  # the result is printed next
        elif isinstance(event, self._stays):
            self._canvas.above(sentence(event))
            self._draw(now)
        elif isinstance(event, Phase) or (isinstance(event, Progress) and now - self._drawn >= _FRAME_SECONDS):
            self._draw(now)

    def close(self) -> None:
        """Leave nothing on the screen but what was written above the bars."""
        self._canvas.close()

    def _draw(self, now: float) -> None:
        if now - self._drawn > _PAUSE_SECONDS:
            self._canvas.erase()
        self._drawn = now
        columns, rows = self._canvas.size
        state = "waiting" if self._scene.is_waiting else "moving"
        if (share := self._scene.share) is not None:
            self._canvas.task_bar(state, share)
        self._canvas.draw(self._scene.rows(columns, rows, now))
