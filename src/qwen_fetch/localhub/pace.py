"""Time for bytes: a line of a given rate, shared fairly."""

import threading
import time

# Seconds that are made up for:
_IDLE = 0.02  # an idle line has saved up nothing, but for a sleeper that is a little late
_FLOWING = 0.2  # in the middle of a reply it is this process that is late; a real line's queues would have been full


class Pacer:
    """Gives every sender its slot on a line, in the order they ask.

    A connection asks for one small piece at a time, so connections that ask all the time get equal shares.
    The schedule is absolute: sleeping a little too long delays a piece, not the line.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free = 0.0  # when the line is free again, on the monotonic clock

    def reserve(self, size: int, rate: float, *, flowing: bool = False) -> float:
        """Take the next slot for `size` bytes at `rate` bytes/s; return when it ends (monotonic seconds).

        `flowing`: the bytes before these were of the same reply, so that nobody had to ask for them.
        """
        with self._lock:
            now = time.monotonic()
            start = self._free if self._free > now - (_FLOWING if flowing else _IDLE) else now
            self._free = start + size / rate
            return self._free


def quantum(rate: float) -> int:
    """Return how many bytes to send at a time at `rate` bytes/s: 5 ms worth, 128 KiB at most."""
    return max(1, min(128 << 10, int(rate * 0.005)))
