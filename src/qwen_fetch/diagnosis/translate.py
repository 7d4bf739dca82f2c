"""From any exception to a problem that helps.

Exceptions come wrapped in others, often several deep, so the whole chain of causes is looked at.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.door import OutputError, one_line
from qwen_fetch.base.problem import Problem
from qwen_fetch.diagnosis.culprit import culprit
from qwen_fetch.diagnosis.local import local_problem
from qwen_fetch.transport.source import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_fetch.base.settings import Settings

__all__ = ["problem_of"]

_KEPT = "Everything received so far."


def problem_of(error: BaseException, settings: Settings, *, path: str = "", tries: int = 0) -> Problem:
    """What an exception means to the user.

    Args:
        error: What was raised.
        settings: Which Hub and repo it was about.
        path: The file it was about, if any.
        tries: How many attempts in a row had failed.
    """
    for cause in _chain(error):
        if isinstance(cause, Problem):
            return cause
        if isinstance(cause, Failure):
            return culprit(cause, settings, path=path, tries=tries)
        if isinstance(cause, OutputError):
            detail = (cause.strerror or "no further detail").lower()
            return Problem(catalogue.OUTPUT, kept=_KEPT, stream=cause.stream, detail=detail)
        if isinstance(cause, ModuleNotFoundError):
            return Problem(catalogue.NOT_INSTALLED, package=cause.name, python=sys.executable)
        if isinstance(cause, TimeoutError) and cause.errno is None:  # what was asked aside
            return culprit(Failure(FailureKind.STALLED, "no answer in time"), settings)
    for cause in _chain(error):
        if isinstance(cause, OSError) and cause.errno is not None:
            return local_problem(cause, settings, path, kept=_KEPT)
    detail = f"{type(error).__name__}: {_one_line(error)}"
    return Problem(catalogue.UNEXPECTED, kept=_KEPT, detail=detail)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _one_line(error: BaseException) -> str:
    return one_line(str(error)) or "no further detail"
