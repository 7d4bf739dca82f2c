"""Wait for a call without being at its mercy."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Aside", "call_with_ticks", "within"]

T = TypeVar("T")
_TICK = 0.1


class Aside(Generic[T]):
    """A call in a thread of its own. When nobody waits for it any more, it ends with the process at the latest.

    Args:
        call: What to run; it begins at once.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._result: list[T] = []
        self._failure: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    def look(self) -> None:
        """Raise what it raised, if it has failed so far."""
        if self._failure:
            raise self._failure[0]

    def wait(self, tick: Callable[[], None] = lambda: None, bound: float | None = None) -> T:
        """Wait for its result.

        Args:
            tick: Called ten times a second meanwhile; what it raises ends the wait.
            bound: Seconds; None: as long as it takes.

        Raises:
            TimeoutError: No result within `bound`.
            BaseException: What the call or the tick raised.
        """
        waited = 0.0
        while self.is_running:
            self._thread.join(_TICK)
            waited += _TICK
            tick()
            if bound is not None and waited > bound and self.is_running:
                raise TimeoutError(f"no answer within {bound:g} s")
        self.look()
        return self._result[0]

    def _run(self) -> None:
        try:
            self._result.append(self._call())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self._failure.append(error)


def call_with_ticks(call: Callable[[], T], tick: Callable[[], None] = lambda: None, bound: float | None = None) -> T:
    """Run `call` so that it can be left: at its time limit, or when asked to stop. As `Aside.wait`."""
    return Aside(call).wait(tick, bound)


@contextmanager
def within(seconds: float, end: Callable[[], object]) -> Iterator[None]:
    """Bound what happens inside as a whole: after so many seconds, `end` is called in another thread.

    A time limit of a socket is one for each read: a byte a second passes under any.
    """
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
