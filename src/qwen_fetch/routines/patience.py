"""Ask the Hub until it answers: wait for a network that is gone, and go on without a token that it refuses."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from qwen_fetch.base import catalogue
from qwen_fetch.base.events import Note, Retry
from qwen_fetch.base.problem import ExitCode, Problem
from qwen_fetch.base.shell import unset_variable
from qwen_fetch.base.waiting import Aside
from qwen_fetch.diagnosis.translate import problem_of
from qwen_fetch.transfer.retry import RULES, Rule, pause
from qwen_fetch.transport.look import LOOK_PERIOD, is_reachable
from qwen_fetch.transport.source import AWAY, Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_fetch.base.events import Listener
    from qwen_fetch.base.settings import Settings
    from qwen_fetch.listing.hub import Hub

__all__ = ["Patience"]

T = TypeVar("T")


class Patience:
    """How often and how long the Hub is asked.

    Args:
        settings: After how many tries to give up.
        hub: Who is asked, and with which token.
        emit: Told of each try that failed.
        alive: Called several times a second with what is waited for, why, and for how many seconds; what it raises
            ends the wait.
    """

    def __init__(self, settings: Settings, hub: Hub, emit: Listener, alive: Callable[[str, str, float], None]) -> None:
        self._settings = settings
        self._hub = hub
        self._emit = emit
        self._alive = alive

    def call(self, call: Callable[[], T]) -> T:
        """Call until it works; a network that is gone for a moment is waited for.

        Raises:
            Problem: It does not work.
        """
        failures, began = 0, time.monotonic()
        while True:
            try:
                return call()
            except Exception as error:
                problem = problem_of(error, self._settings)
                if problem.kind is catalogue.ACCESS and self._hub.token:
                    self._without_token()
                    continue
                failures += 1
                if problem.exit_code is not ExitCode.NETWORK:
                    raise self._refusal(problem) from error
                rule = RULES[error.kind] if isinstance(error, Failure) else Rule(again=not isinstance(error, Problem))
                bounds = [self._settings.max_retries, rule.most, None if rule.again else 1]
                late = time.monotonic() - began >= self._settings.give_up_here
                if late or failures >= min((bound for bound in bounds if bound), default=failures + 1):
                    raise problem from error
                wait = pause(failures)
                self._emit(Retry("", 0, problem.what, wait, failures))
                self._sleep(
                    wait, problem.what, error.where if isinstance(error, Failure) and error.kind in AWAY else ""
                )

    def _without_token(self) -> None:
        """A public repo needs no token, and a stale one is refused: try once without."""
        self._emit(Note(f"{self._settings.host} refuses the token from {self._hub.token_source}; trying without it"))
        self._hub.forget_token()

    def _refusal(self, problem: Problem) -> Problem:
        """A refusal after a token was tried in vain is about that token."""
        # Without a token, a private repo looks like one that does not exist.
        told = {catalogue.ACCESS, catalogue.NOT_FOUND, catalogue.GATED}
        if problem.kind not in told or not self._hub.token_was_refused:
            return problem
        source = self._hub.token_source
        unset = unset_variable(source) if source.isupper() else f"hf auth logout (it is in {source})"
        return Problem(
            catalogue.BAD_TOKEN,
            host=self._settings.host,
            source=source,
            repo_id=self._settings.repo_id,
            unset=unset,
            said="It has expired, was revoked, or is for another Hub.",
        )

    def _sleep(self, seconds: float, reason: str, where: str) -> None:
        """Wait, but no longer than until `where` can be reached again."""
        began = time.monotonic()
        look: Aside[bool] | None = None
        while (left := began + seconds - time.monotonic()) > 0:
            self._alive(f"next try in {left:.0f} s ({reason.rstrip('.')})", reason, left)
            time.sleep(min(0.1, left))
            if look is None:
                look = Aside(lambda: self._look(where)) if where else None
            elif not look.is_running:
                if look.wait():
                    return
                look = None

    @staticmethod
    def _look(where: str) -> bool:
        time.sleep(LOOK_PERIOD)
        return is_reachable(where)
