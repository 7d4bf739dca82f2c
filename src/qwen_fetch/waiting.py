"""Wait for a call without being at its mercy."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["call_with_ticks"]

T = TypeVar("T")
_TICK = 0.1


def call_with_ticks(call: Callable[[], T], tick: Callable[[], None], bound: float | None = None) -> T:
    """Run `call` in a thread of its own, so that it can be left: at its time limit, or when asked to stop.

    Args:
        call: What to run. When it is left, its thread ends with the process at the latest.
        tick: Called ten times a second meanwhile; what it raises ends the wait.
        bound: Seconds; None: as long as it takes.

    Raises:
        TimeoutError: No result within `bound`.
        BaseException: What the call or the tick raised.
    """
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    waited = 0.0
    while thread.is_alive():
        thread.join(_TICK)
        waited += _TICK
        tick()
        if bound is not None and waited > bound and thread.is_alive():
            raise TimeoutError(f"no answer within {bound:g} s")
    if failure:
        raise failure[0]
    return result[0]
