"""What follows a failed attempt, as data: try again or not, at once or after a pause, over which transport.

Pure: no clock, no sleep, no network.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwen_fetch.transport.source import FailureKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_fetch.base.settings import Transport
    from qwen_fetch.transport.source import Failure

__all__ = ["RULES", "Decision", "Health", "Rule", "decide", "pause"]

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 60.0
_LONGEST_ASKED_PAUSE = 300.0


@dataclass(frozen=True, slots=True)
class Rule:
    """What one kind of failure asks for.

    Attributes:
        again: Whether the same question can get another answer.
        most: After how many tries in a row that cannot be expected any more; None: a night may pass.
        at_once: Whether the first repetition need not wait: the attempt itself was at fault.
    """

    again: bool = True
    most: int | None = None
    at_once: bool = False


RULES = {
    FailureKind.CUT: Rule(at_once=True),
    FailureKind.STALLED: Rule(at_once=True),
    FailureKind.UNREACHABLE: Rule(),
    FailureKind.NO_NAME: Rule(),
    FailureKind.CLOSED: Rule(),
    FailureKind.PROXY_AWAY: Rule(),
    FailureKind.PROXY_LOGIN: Rule(again=False),
    FailureKind.PROXY_REFUSES: Rule(again=False),
    FailureKind.NOT_TLS: Rule(again=False),
    FailureKind.UNTRUSTED: Rule(again=False),
    FailureKind.EXPIRED: Rule(again=False),
    FailureKind.OTHER_HOST: Rule(again=False),
    FailureKind.REFUSED: Rule(at_once=True, most=10),  # with a new URL
    FailureKind.DENIED: Rule(again=False),
    FailureKind.MISSING: Rule(again=False),
    FailureKind.THROTTLED: Rule(),
    FailureKind.SERVER: Rule(),
    FailureKind.ODD: Rule(most=3),
    FailureKind.WRONG_RANGE: Rule(at_once=True, most=4),
    FailureKind.WRONG_LENGTH: Rule(most=3),
    FailureKind.NO_RANGES: Rule(at_once=True, most=4),  # the whole rest in one piece
    FailureKind.ENCODED: Rule(again=False),
    FailureKind.NOT_DATA: Rule(),
    FailureKind.STALE: Rule(again=False),
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do after a failure.

    Attributes:
        give_up: Nothing more to try.
        wait: Seconds before the next try.
        transport: Over what.
    """

    give_up: bool
    wait: float
    transport: Transport


def decide(
    failure: Failure,
    used: Transport,
    allowed: Sequence[Transport],
    failures: int,
    most: int | None,
    *,
    late: bool = False,
) -> Decision:
    """What to do after a failure.

    Args:
        failure: What happened.
        used: Over which transport.
        allowed: The transports that this file can use.
        failures: Tries in a row that brought no new byte to the disk, this one included; 0 if it did bring some.
        most: After how many of these to give up; None: after as many as fit into the time.
        late: Whether the time is up.
    """
    rule = RULES[failure.kind]
    other = next((transport for transport in allowed if transport != used), used)
    asked = None if failure.retry_after is None else min(failure.retry_after, _LONGEST_ASKED_PAUSE)
    if failures == 0:
        return Decision(give_up=False, wait=asked or 0, transport=used)  # it works, if not for long
    bounds = [most, rule.most, None if rule.again else len(allowed)]
    if late or failures >= min((bound for bound in bounds if bound is not None), default=failures + 1):
        return Decision(give_up=True, wait=0, transport=used)
    if asked is not None:
        return Decision(give_up=False, wait=max(asked, pause(failures)), transport=other)
    first = failures == 1 and (rule.at_once or other != used)
    return Decision(give_up=False, wait=0 if first else pause(failures), transport=other)


def pause(failures: int, jitter: float | None = None) -> float:
    """Seconds to wait after so many failures in a row: doubling, bounded, and not in step with everybody else.

    Args:
        failures: 1 or more.
        jitter: 0 to 1; None: random.
    """
    jitter = random.random() if jitter is None else jitter  # noqa: S311 - not a secret
    return float(min(_FIRST_PAUSE * 2 ** min(failures - 1, 20), _LONGEST_PAUSE) * (0.75 + 0.5 * jitter))


class Health:
    """Whether Xet deserves to be the first choice: after a failure, HTTP is, for a while that doubles each time.

    Args:
        allowed: The transports of this run, the preferred one first.
    """

    _FIRST_REST = 60.0

    def __init__(self, allowed: Sequence[Transport]) -> None:
        self._allowed = tuple(allowed)
        self._rest = self._FIRST_REST
        self._until = float("-inf")

    def failed(self, transport: Transport, now: float) -> None:
        """A window over this transport failed at `now` (seconds of any clock)."""
        if transport == self._allowed[0] and now >= self._until:
            self._until = now + self._rest
            self._rest *= 2

    def order(self, available: Sequence[Transport], now: float) -> tuple[Transport, ...]:
        """The transports to use for a file that has `available`, the best one first."""
        usable = [transport for transport in self._allowed if transport in available]
        if len(usable) > 1 and now < self._until:
            usable.reverse()
        return tuple(usable)
