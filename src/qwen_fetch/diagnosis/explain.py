"""After a failure of the network: look for its cause, and tell that instead of the symptom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.waiting import call_with_ticks

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_fetch.base.problem import Problem
    from qwen_fetch.base.settings import Settings

__all__ = ["explain"]

_BOUND = 10.0  # seconds for the whole look
_SYMPTOMS = (
    catalogue.NETWORK,
    catalogue.OUTAGE,
    catalogue.NO_PROGRESS,
    catalogue.URL_REFUSED,
    catalogue.NOT_THE_FILE,
    catalogue.PORTAL,  # whose page has a title
    catalogue.TLS,  # whose certificate has an issuer
    catalogue.CONNECTION_REFUSED,
)


def explain(
    problem: Problem, settings: Settings, path: str, tick: Callable[[], None], token: str | None = None
) -> Problem:
    """The cause of a problem, if it is a symptom of something in the network that can be seen from here.

    Args:
        problem: What the download ended with.
        settings: Which Hub and repo.
        path: A large file, to look at the host that has its bytes, if the problem names none; empty: not known.
        tick: Called several times a second; what it raises ends the look.
        token: The token for the endpoint, as the download sent it.
    """
    if problem.kind not in _SYMPTOMS:
        return problem
    from qwen_fetch.diagnosis.probe import LOOK, probe  # noqa: PLC0415 - only when something went wrong
    from qwen_fetch.diagnosis.verdict import verdict  # noqa: PLC0415

    try:
        about = str(problem.facts.get("path") or path)
        findings = call_with_ticks(lambda: probe(settings, about, min(LOOK, settings.timeout), token), tick, _BOUND)
    except TimeoutError:
        return problem
    cause = verdict(findings, settings, problem.kept)
    return problem if cause is None or cause.kind is catalogue.NETWORK else cause
