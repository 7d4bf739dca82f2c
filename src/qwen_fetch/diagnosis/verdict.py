"""What the findings of a probe mean: the first cause that explains the rest, from the table of `culprit`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.diagnosis.culprit import culprit
from qwen_fetch.transport.source import FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_fetch.base.settings import Settings
    from qwen_fetch.diagnosis.probe import Answer, Findings, Reach

__all__ = ["table", "verdict"]

_SKEW = 300.0  # seconds of a wrong clock from which signed addresses look expired
_SILENT = {FailureKind.UNREACHABLE, FailureKind.STALLED, FailureKind.CUT}


def verdict(findings: Findings, settings: Settings, kept: str = "") -> Problem | None:
    """The problem that explains what was seen; None when nothing is wrong.

    Args:
        findings: What was seen.
        settings: Which Hub and repo was looked at.
        kept: What has been kept on disk.
    """
    problem = _of_endpoint(findings, settings) or _of_data(findings, settings)
    if problem is not None:
        problem.kept = kept
        problem.facts["diagnose"] = "Show what --diagnose prints to whoever runs the network."
    return problem


def table(findings: Findings) -> Iterator[tuple[str, str]]:
    """The findings as rows of a table, fit to be pasted into a bug report: no secrets."""
    yield "way out", "yes" if findings.has_route else "no route to anywhere"
    if findings.neutral_name:
        yield "other names", findings.neutral_name
    yield from _reach_rows("endpoint", findings.endpoint)
    if findings.token_refused:
        yield "endpoint token", "refused; asked again without it"
    yield from _answer_rows("endpoint", findings.api)
    if findings.file and findings.file.failure:
        yield from _answer_rows("file", findings.file)
    if findings.data:
        yield from _reach_rows("data", findings.data)
    if findings.data_answer:
        yield from _answer_rows("data", findings.data_answer)


def _of_endpoint(findings: Findings, settings: Settings) -> Problem | None:
    reach, failure = findings.endpoint, findings.api.failure
    if failure is None:
        file = findings.file
        if file and file.failure and not findings.data_answer and file.failure.kind is FailureKind.DENIED:
            return culprit(file.failure, settings)  # it is listed, and not given out
        return None
    kept, host = "", reach.host
    if failure.kind is FailureKind.NO_NAME:
        if findings.has_route and findings.neutral_name == "ok":
            return Problem(catalogue.DNS, kept=kept, host=host)
        return Problem(catalogue.NO_NETWORK, kept=kept, detail=f"{host}: {reach.name}")
    if failure.kind in _SILENT:
        if reach.ipv4 == "ok" and reach.ipv6 not in {"", "ok"}:
            return Problem(catalogue.IPV6, kept=kept, host=host)
        if not findings.has_route and not reach.ipv4 and not reach.ipv6 and reach.name:
            return Problem(catalogue.NO_NETWORK, kept=kept, detail=f"{host}: {reach.name}")
    problem = culprit(failure, settings, issuer=reach.issuer, title=findings.api.title)
    if findings.token_refused and problem.kind in {catalogue.ACCESS, catalogue.NOT_FOUND, catalogue.GATED}:
        said = "It has expired, was revoked, or is for another Hub."
        where = {"host": host, "repo_id": settings.repo_id, "source": "--token, HF_TOKEN or the login"}
        return Problem(catalogue.BAD_TOKEN, said=said, unset="hf auth logout", **where)
    return problem


def _of_data(findings: Findings, settings: Settings) -> Problem | None:
    """What is wrong with the host of the bytes, the endpoint being well."""
    data, answer = findings.data, findings.data_answer
    if data is None or answer is None or answer.failure is None:
        return None
    failure, skew = answer.failure, findings.api.skew
    if failure.kind is FailureKind.REFUSED:
        if skew is not None and abs(skew) > _SKEW:
            direction = "ahead" if skew > 0 else "behind"
            return Problem(catalogue.CLOCK, minutes=round(abs(skew) / 60), direction=direction)
        return _blocked(findings, data, failure.detail)
    if failure.kind in {*_SILENT, FailureKind.NO_NAME, FailureKind.CLOSED}:
        return _blocked(findings, data, failure.detail)
    # As about the listing: a page is a page, whichever file was asked for.
    problem = culprit(failure, settings, issuer=data.issuer, title=answer.title)
    problem.facts["host"] = data.host
    return problem


def _blocked(findings: Findings, data: Reach, detail: str) -> Problem:
    detail = detail.removeprefix(f"{data.host} ").removeprefix(f"{data.host}: ")
    return Problem(catalogue.BLOCKED_DATA_HOST, endpoint=findings.endpoint.host, host=data.host, detail=detail)


def _reach_rows(what: str, reach: Reach) -> Iterator[tuple[str, str]]:
    yield f"{what} host", f"{reach.host}: {reach.name or 'looked up by the proxy'}"
    for label, text in (("IPv4", reach.ipv4), ("IPv6", reach.ipv6), ("TLS", reach.tls)):
        if text:
            yield f"{what} {label}", text + (f" (issued by {reach.issuer})" if label == "TLS" and reach.issuer else "")


def _answer_rows(what: str, answer: Answer) -> Iterator[tuple[str, str]]:
    seen = [f"status {answer.status}"] if answer.status else []
    if answer.failure and not (answer.status and answer.failure.detail.startswith("status")):
        seen.append(answer.failure.detail)
    if answer.title:
        seen.append(f"a page {answer.title!r}")
    yield f"{what} answer", ", ".join(seen)
    if answer.cache:
        yield f"{what} cache", answer.cache
    if answer.skew is not None and abs(answer.skew) > _SKEW:
        yield f"{what} clock", f"this machine is {answer.skew / 60:+.0f} minutes off"
