"""What the findings of a probe mean: a pure function to one problem, the first cause that explains the rest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.shell import set_variable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_fetch.diagnosis.probe import Answer, Findings, Reach

__all__ = ["table", "verdict"]

_SKEW = 300.0  # seconds of a wrong clock from which signed addresses look expired
_IGNORED_CA = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def verdict(findings: Findings, kept: str = "") -> Problem | None:
    """The problem that explains what was seen; None when nothing is wrong.

    Args:
        findings: What was seen.
        kept: What has been kept on disk.
    """
    endpoint, api = findings.endpoint, findings.api
    if problem := _of_way(findings, endpoint, api, kept):
        return problem
    if api.page:
        title = f" ({api.title!r})" if api.title else ""
        return Problem(catalogue.PORTAL, kept=kept, host=endpoint.host, title=title)
    if api.status >= 500:
        return Problem(catalogue.OUTAGE, kept=kept, host=endpoint.host, detail=f"status {api.status}")
    if api.status == 429:
        return Problem(catalogue.RATE_LIMITED, kept=kept, host=endpoint.host, detail=f"status {api.status}")
    if findings.data and findings.data_answer:
        return _of_data(findings, findings.data, findings.data_answer, kept)
    return None


def table(findings: Findings) -> Iterator[tuple[str, str]]:
    """The findings as rows of a table, fit to be pasted into a bug report: no secrets."""
    yield "way out", "yes" if findings.has_route else "no route to anywhere"
    if findings.neutral_name:
        yield "other names", findings.neutral_name
    yield "proxy", f"{findings.proxy}: {findings.proxy_reach}" if findings.proxy else "none"
    yield from _reach_rows("endpoint", findings.endpoint)
    yield from _answer_rows("endpoint", findings.api)
    if findings.data:
        yield from _reach_rows("data", findings.data)
    if findings.data_answer:
        yield from _answer_rows("data", findings.data_answer)


def _of_way(findings: Findings, reach: Reach, answer: Answer, kept: str) -> Problem | None:
    """What keeps a connection from being made."""
    if answer.status:
        return None
    if findings.proxy:
        detail = answer.detail if findings.proxy_reach == "ok" else findings.proxy_reach
        if "certificate" not in detail:
            return Problem(catalogue.PROXY, kept=kept, proxy=findings.proxy, host=reach.host, detail=detail)
    elif reach.name != "ok":
        if findings.has_route and findings.neutral_name == "ok":
            return Problem(catalogue.DNS, kept=kept, host=reach.host)
        return Problem(catalogue.NO_NETWORK, kept=kept, detail=f"{reach.host}: {reach.name}")
    if reach.tls.startswith("not trusted") or "certificate" in answer.detail:
        return _of_certificate(reach, kept)
    if reach.ipv4 == "ok" and reach.ipv6 not in {"", "ok"}:
        return Problem(catalogue.IPV6, kept=kept, host=reach.host)
    if "refused" in f"{reach.ipv4} {reach.ipv6}":
        return Problem(catalogue.CONNECTION_REFUSED, kept=kept, host=reach.host)
    return Problem(
        catalogue.NETWORK,
        kept=kept,
        host=reach.host,
        detail=answer.detail or reach.ipv4 or reach.ipv6,
        diagnose="--diagnose",
    )


def _of_certificate(reach: Reach, kept: str) -> Problem:
    ignored = next((name for name in _IGNORED_CA if os.environ.get(name)), "")
    note = f" {ignored} is set, but Hub clients ignore it." if ignored else ""
    return Problem(
        catalogue.TLS,
        kept=kept,
        host=reach.host,
        issuer=reach.issuer or "an unknown issuer",
        ignored=note,
        set_ca=set_variable("SSL_CERT_FILE", os.environ.get(ignored, "company-ca.pem")),
    )


def _of_data(findings: Findings, data: Reach, answer: Answer, kept: str) -> Problem | None:
    skew = findings.api.skew
    if answer.status in {401, 403} and skew is not None and abs(skew) > _SKEW:
        direction = "ahead" if skew > 0 else "behind"
        return Problem(catalogue.CLOCK, kept=kept, minutes=round(abs(skew) / 60), direction=direction)
    if data.tls.startswith("not trusted"):
        return _of_certificate(data, kept)
    if answer.page:
        return Problem(
            catalogue.PORTAL, kept=kept, host=data.host, title=f" ({answer.title!r})" if answer.title else ""
        )
    if not answer.status or answer.status in {401, 403}:
        detail = answer.detail or f"status {answer.status}"
        return Problem(
            catalogue.BLOCKED_DATA_HOST, kept=kept, endpoint=findings.endpoint.host, host=data.host, detail=detail
        )
    if answer.status >= 500:
        return Problem(catalogue.OUTAGE, kept=kept, host=data.host, detail=f"status {answer.status}")
    return None


def _reach_rows(what: str, reach: Reach) -> Iterator[tuple[str, str]]:
    yield f"{what} host", f"{reach.host}: {reach.name}"
    for label, text in (("IPv4", reach.ipv4), ("IPv6", reach.ipv6), ("TLS", reach.tls)):
        if text:
            yield f"{what} {label}", text + (f" (issued by {reach.issuer})" if label == "TLS" and reach.issuer else "")


def _answer_rows(what: str, answer: Answer) -> Iterator[tuple[str, str]]:
    page = f", a page {answer.title!r}" if answer.page else ""
    yield f"{what} answer", f"status {answer.status}{page}" if answer.status else answer.detail
    if answer.skew is not None and abs(answer.skew) > _SKEW:
        yield f"{what} clock", f"this machine is {answer.skew / 60:+.0f} minutes off"
