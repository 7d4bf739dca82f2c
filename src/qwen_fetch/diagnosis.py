"""From a foreign exception to a problem that helps: one translator for all libraries underneath.

`huggingface_hub` wraps what happened in exceptions of its own, often several deep, so the whole chain of
causes is looked at, and classes are told by their names: that costs no import and survives a library's
change of name (`requests`, `httpx`, `httpx2`).
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from qwen_fetch import errors
from qwen_fetch.errors import Problem
from qwen_fetch.sources import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_fetch.settings import Settings

__all__ = ["problem_of"]

_KEPT = "Everything received so far."
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_OFFLINE_SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


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
            return _of_failure(cause, settings, path, tries)
        if problem := _of_hub_error(cause, settings) or _of_network_error(cause, settings):
            return problem
    for cause in _chain(error):
        if isinstance(cause, OSError) and cause.errno is not None:
            return _of_os_error(cause, path)
    detail = f"{type(error).__name__}: {_one_line(error)}"
    return Problem(errors.UNEXPECTED, kept=_KEPT, detail=detail)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _of_failure(failure: Failure, settings: Settings, path: str, tries: int) -> Problem:
    detail = failure.detail
    if failure.kind is FailureKind.DENIED:
        return Problem(errors.ACCESS, kept=_KEPT, host=settings.host, repo_id=settings.repo_id, detail=detail)
    if failure.kind is FailureKind.MISSING:
        return Problem(errors.NOT_FOUND, kept=_KEPT, host=settings.host, subject=path, detail=detail)
    if failure.kind in {FailureKind.UNREACHABLE, FailureKind.UNTRUSTED}:
        return Problem(
            errors.NETWORK,
            kept=_KEPT,
            host=settings.host,
            detail=detail,
            cause="The network is down, a name cannot be found, or something in between refuses the connection.",
        )
    return Problem(errors.GAVE_UP, kept=_KEPT, path=path, tries=max(tries, 1), detail=detail)


def _of_hub_error(error: BaseException, settings: Settings) -> Problem | None:
    names = _names(error)
    where = {"kept": _KEPT, "host": settings.host}
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if "OfflineModeIsEnabled" in names:
        variable = next((name for name in _OFFLINE_SWITCHES if os.environ.get(name)), _OFFLINE_SWITCHES[0])
        return Problem(errors.OFFLINE, kept=_KEPT, variable=variable)
    if "RevisionNotFoundError" in names:
        subject = f"the revision {settings.revision} of {settings.repo_id}"
        return Problem(errors.NOT_FOUND, **where, subject=subject, detail=f"status {status}")
    if "GatedRepoError" in names or status in {401, 403}:
        return Problem(errors.ACCESS, **where, repo_id=settings.repo_id, detail=f"status {status}")
    if "RepositoryNotFoundError" in names or status == 404:
        return Problem(errors.NOT_FOUND, **where, subject=settings.repo_id, detail=f"status {status}")
    if "HfHubHTTPError" in names and status is not None:
        return Problem(errors.HUB_ERROR, **where, detail=f"status {status}")
    if "JSONDecodeError" in names:
        return Problem(errors.HUB_ERROR, **where, detail="with something that is not JSON: a login or filter page?")
    return None


def _of_network_error(error: BaseException, settings: Settings) -> Problem | None:
    names = _names(error)
    if names.isdisjoint(
        {"TransportError", "TimeoutException", "TimeoutError", "gaierror", "SSLError", "ConnectionError"}
    ):
        return None
    detail = "no answer in time" if "Timeout" in type(error).__name__ else _one_line(error)
    cause = "The network is down, the name cannot be found, or something in between refuses the connection."
    return Problem(errors.NETWORK, kept=_KEPT, host=settings.host, detail=detail, cause=cause)


def _of_os_error(error: OSError, path: str) -> Problem:
    place = str(error.filename or path or "the cache")
    detail = (error.strerror or _one_line(error)).lower()
    if error.errno in _FULL:
        return Problem(errors.DISK_FULL, kept=_KEPT, path=place, detail=f"The system says: {detail}.")
    return Problem(errors.FILE_SYSTEM, kept=_KEPT, path=place, detail=detail)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or "no further detail"
