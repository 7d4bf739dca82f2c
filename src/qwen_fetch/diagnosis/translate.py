"""From a foreign exception to a problem that helps: one translator for all libraries underneath.

`huggingface_hub` wraps what happened in exceptions of its own, often several deep, so the whole chain of
causes is looked at, and classes are told by their names: that costs no import and survives a library's
change of name (`requests`, `httpx`, `httpx2`).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from qwen_fetch.base import catalogue
from qwen_fetch.base.door import one_line
from qwen_fetch.base.problem import Problem
from qwen_fetch.transport.source import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_fetch.base.settings import Settings

__all__ = ["problem_of"]

_KEPT = "Everything received so far."
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_NETWORK_ERRORS = {"TransportError", "TimeoutException", "TimeoutError", "gaierror", "SSLError", "ConnectionError"}


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
            return _of_os_error(cause, settings, path)
    detail = f"{type(error).__name__}: {_one_line(error)}"
    return Problem(catalogue.UNEXPECTED, kept=_KEPT, detail=detail)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


_KIND_OF_FAILURE = {
    FailureKind.DENIED: catalogue.ACCESS,
    FailureKind.MISSING: catalogue.NOT_FOUND,
    FailureKind.UNREACHABLE: catalogue.NETWORK,
    FailureKind.UNTRUSTED: catalogue.NETWORK,
    FailureKind.REFUSED: catalogue.URL_REFUSED,
    FailureKind.THROTTLED: catalogue.RATE_LIMITED,
    FailureKind.SERVER: catalogue.OUTAGE,
    FailureKind.WRONG_RANGE: catalogue.NOT_THE_FILE,
    FailureKind.WRONG_LENGTH: catalogue.NOT_THE_FILE,
    FailureKind.NO_RANGES: catalogue.NOT_THE_FILE,
    FailureKind.ENCODED: catalogue.NOT_THE_FILE,
    FailureKind.NOT_DATA: catalogue.NOT_THE_FILE,
    FailureKind.CUT: catalogue.NO_PROGRESS,
    FailureKind.STALLED: catalogue.NO_PROGRESS,
}


# Where it is about no file, the endpoint was asked what there is.
_KIND_OF_LISTING = {
    FailureKind.CUT: catalogue.NETWORK,
    FailureKind.STALLED: catalogue.NETWORK,
    FailureKind.NOT_DATA: catalogue.PORTAL,
}
_KIND_OF_CODE = {  # the Hub's `X-Error-Code`
    "GatedRepo": catalogue.GATED,
    "RepoNotFound": catalogue.NOT_FOUND,
    "RevisionNotFound": catalogue.NOT_FOUND,
}


def _of_failure(failure: Failure, settings: Settings, path: str, tries: int) -> Problem:
    kind = _KIND_OF_FAILURE[failure.kind] if path else _KIND_OF_LISTING.get(failure.kind)
    subject = path or settings.repo_id
    if failure.code == "RevisionNotFound":
        subject = f"the revision {settings.revision} of {settings.repo_id}"
    return Problem(
        _KIND_OF_CODE.get(failure.code) or kind or _KIND_OF_FAILURE[failure.kind],
        kept=_KEPT,
        **_facts(settings),
        detail=failure.detail,
        path=path,
        subject=subject,
        title="",
        tries=max(tries, 1),
        other="http" if failure.detail.startswith("Xet") else "xet",
    )


def _facts(settings: Settings) -> dict[str, Any]:
    """What most messages mention."""
    return {
        "host": settings.host,
        "repo_id": settings.repo_id,
        "endpoint": settings.hub_endpoint,
        "command": settings.command(),
        "diagnose": settings.command("--diagnose"),
    }


def _of_hub_error(error: BaseException, settings: Settings) -> Problem | None:
    names = _names(error)
    facts = _facts(settings)
    status = getattr(getattr(error, "response", None), "status_code", None)
    detail = f"status {status}"
    if "RevisionNotFoundError" in names:
        subject = f"the revision {settings.revision} of {settings.repo_id}"
        return Problem(catalogue.NOT_FOUND, kept=_KEPT, **facts, subject=subject, detail=detail)
    if "GatedRepoError" in names:
        return Problem(catalogue.GATED, kept=_KEPT, **facts)
    if "RepositoryNotFoundError" in names or status == 404:
        return Problem(catalogue.NOT_FOUND, kept=_KEPT, **facts, subject=settings.repo_id, detail=detail)
    if status in {401, 403}:
        return Problem(catalogue.ACCESS, kept=_KEPT, **facts, detail=detail)
    if status == 429:
        return Problem(catalogue.RATE_LIMITED, kept=_KEPT, **facts, detail=detail)
    if "HfHubHTTPError" in names and status is not None:
        return Problem(catalogue.OUTAGE, kept=_KEPT, **facts, detail=detail)
    if "JSONDecodeError" in names:
        return Problem(catalogue.PORTAL, kept=_KEPT, **facts, title="")
    return None


def _of_network_error(error: BaseException, settings: Settings) -> Problem | None:
    if _names(error).isdisjoint(_NETWORK_ERRORS):
        return None
    detail = "no answer in time" if "Timeout" in type(error).__name__ else _one_line(error)
    return Problem(catalogue.NETWORK, kept=_KEPT, **_facts(settings), detail=detail)


def _of_os_error(error: OSError, settings: Settings, path: str) -> Problem:
    place = str(error.filename or path or "the cache")
    detail = (error.strerror or _one_line(error)).lower()
    if error.errno in _FULL:
        cleanup = settings.command("--cleanup")
        return Problem(
            catalogue.DISK_FULL, kept=_KEPT, path=place, detail=f"The system says: {detail}.", cleanup=cleanup
        )
    return Problem(catalogue.FILE_SYSTEM, kept=_KEPT, path=place, detail=detail)


def _one_line(error: BaseException) -> str:
    return one_line(str(error)) or "no further detail"
