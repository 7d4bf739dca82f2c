"""What findings mean: a table."""

from dataclasses import replace

import pytest

from qwen_fetch.base.settings import Settings
from qwen_fetch.diagnosis.probe import Answer, Findings, Reach
from qwen_fetch.diagnosis.verdict import table, verdict
from qwen_fetch.transport.source import Failure
from qwen_fetch.transport.source import FailureKind as K

SETTINGS = Settings(endpoint="https://huggingface.co", token="")
HUB = "huggingface.co"
CDN = "cas-bridge.xethub.hf.co"
WELL = Findings(
    has_route=True,
    neutral_name="",
    endpoint=Reach(HUB, "ok", "ok", "", "ok"),
    api=Answer(200, skew=1.0),
    data=Reach(CDN, "ok", "ok", "", "ok"),
    data_answer=Answer(206, skew=1.0),
)


def no(kind: K, detail: str = "seen", host: str = HUB) -> Answer:
    return Answer(failure=Failure(kind, f"{host}: {detail}", where=f"https://{host}"))


def said(status: int, kind: K, *, code: str = "", words: str = "", host: str = HUB, title: str = "") -> Answer:
    failure = Failure(kind, f"{host} answered {status}", status=status, code=code, said=words, where=f"https://{host}")
    return Answer(status, failure, title=title, skew=1.0)


NAMELESS = Reach(HUB, "name not known")
NOT_TRUSTED = Reach(HUB, "ok", "ok", "", "not trusted: self-signed certificate", "Example Filter Root")

TABLE = [
    pytest.param(WELL, None, id="all is well"),
    pytest.param(
        replace(WELL, has_route=False, neutral_name="no", endpoint=NAMELESS, api=no(K.NO_NAME)),
        "no-network",
        id="the cable is out",
    ),
    pytest.param(
        replace(WELL, neutral_name="name not known", endpoint=NAMELESS, api=no(K.NO_NAME)),
        "no-network",
        id="no name server answers",
    ),
    pytest.param(
        replace(WELL, neutral_name="ok", endpoint=NAMELESS, api=no(K.NO_NAME)), "name-not-found", id="this name only"
    ),
    pytest.param(
        replace(WELL, endpoint=Reach(HUB, "ok", "connection refused"), api=no(K.CLOSED)),
        "connection-refused",
        id="refused",
    ),
    pytest.param(
        replace(WELL, endpoint=Reach(HUB, "ok", "ok", "no answer within 4 s", ""), api=no(K.STALLED)),
        "ipv6-black-hole",
        id="IPv6 goes nowhere",
    ),
    pytest.param(replace(WELL, endpoint=Reach(HUB), api=no(K.PROXY_AWAY)), "proxy", id="the proxy is down"),
    pytest.param(replace(WELL, endpoint=Reach(HUB), api=no(K.PROXY_REFUSES)), "proxy", id="the proxy says no"),
    pytest.param(replace(WELL, endpoint=Reach(HUB), api=no(K.PROXY_LOGIN)), "proxy-login", id="it wants a login"),
    pytest.param(
        replace(WELL, endpoint=NOT_TRUSTED, api=no(K.UNTRUSTED)), "tls-intercepted", id="somebody opens the connection"
    ),
    pytest.param(replace(WELL, api=no(K.EXPIRED)), "certificate-date", id="a certificate of yesterday"),
    pytest.param(replace(WELL, api=no(K.OTHER_HOST)), "certificate-name", id="a certificate of somebody else"),
    pytest.param(replace(WELL, api=no(K.NOT_TLS)), "not-tls", id="plain http where TLS is wanted"),
    pytest.param(
        replace(WELL, endpoint=Reach(HUB, "ok", "no answer within 4 s"), api=no(K.UNREACHABLE)),
        "network",
        id="packets are dropped",
    ),
    pytest.param(replace(WELL, api=no(K.CUT)), "network", id="cut before the answer: nobody is named"),
    pytest.param(replace(WELL, api=said(200, K.NOT_DATA, title="Log in")), "login-page", id="a login page"),
    pytest.param(replace(WELL, api=said(503, K.SERVER)), "hub-outage", id="the Hub has a fault"),
    pytest.param(replace(WELL, api=said(429, K.THROTTLED)), "rate-limited", id="too many requests"),
    pytest.param(replace(WELL, api=said(400, K.ODD)), "odd-answer", id="an answer that no Hub gives"),
    pytest.param(replace(WELL, api=said(451, K.DENIED)), "legal-block", id="withheld by law"),
    pytest.param(replace(WELL, api=said(401, K.DENIED)), "access-denied", id="refused, and not why"),
    pytest.param(
        replace(WELL, api=said(401, K.DENIED), token_refused=True), "bad-token", id="the token is not accepted"
    ),
    pytest.param(replace(WELL, api=said(401, K.DENIED, code="GatedRepo")), "gated", id="gated"),
    pytest.param(
        replace(WELL, data=None, data_answer=None, file=said(403, K.DENIED, code="GatedRepo")),
        "gated",
        id="gated, and the listing is open",
    ),
    pytest.param(
        replace(WELL, api=said(403, K.DENIED, words="enable access in your fine-grained token settings")),
        "token-scope",
        id="a token without the permission",
    ),
    pytest.param(
        replace(WELL, api=said(403, K.DENIED, words="Access to this resource is disabled.")),
        "repo-disabled",
        id="taken away",
    ),
    pytest.param(replace(WELL, api=said(404, K.MISSING, code="RevisionNotFound")), "not-found", id="no such revision"),
    pytest.param(replace(WELL, data_answer=no(K.STALLED, host=CDN)), "data-host-blocked", id="no way to the data"),
    pytest.param(
        replace(WELL, data_answer=said(200, K.NOT_DATA, host=CDN, title="Blocked")), "login-page", id="a data filter"
    ),
    pytest.param(
        replace(WELL, api=Answer(200, skew=-3600.0), data_answer=said(403, K.REFUSED, host=CDN)),
        "clock-wrong",
        id="signed addresses look expired because the clock is wrong",
    ),
    pytest.param(
        replace(WELL, data_answer=said(403, K.REFUSED, host=CDN)), "data-host-blocked", id="refused with the right time"
    ),
    pytest.param(replace(WELL, data_answer=said(502, K.SERVER, host=CDN)), "hub-outage", id="the data host's fault"),
    pytest.param(replace(WELL, data=None, data_answer=None), None, id="no data host is known"),
]


@pytest.mark.parametrize(("findings", "expected"), TABLE)
def test_table(findings: Findings, expected: str | None) -> None:
    problem = verdict(findings, SETTINGS, "kept")
    assert (problem.id if problem else None) == expected
    if problem:
        assert problem.kept == "kept"
        assert "{" not in "\n".join(problem.lines())
    assert all(name and text for name, text in table(findings))


@pytest.mark.parametrize(
    ("issuer", "said"),
    [
        ("Kaspersky Anti-Virus Personal Root Certificate", "An antivirus opens the connection"),
        ("Zscaler Intermediate Root CA, Zscaler Inc.", "A company's filter opens the connection"),
        ("mitmproxy", "A debugging proxy opens the connection"),
        ("Example Filter Root", "That issuer is not among those"),
    ],
)
def test_the_issuer_is_named_and_what_it_is_only_if_its_name_says_so(issuer: str, said: str) -> None:
    problem = verdict(replace(WELL, endpoint=replace(NOT_TRUSTED, issuer=issuer), api=no(K.UNTRUSTED)), SETTINGS)
    assert problem is not None
    assert issuer in problem.what
    assert problem.why.startswith(said)
    assert "SSL_CERT_FILE" in problem.do[0]
