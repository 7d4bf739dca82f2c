"""What findings mean: a table."""

from dataclasses import replace

import pytest

from qwen_fetch.diagnosis.probe import Answer, Findings, Reach
from qwen_fetch.diagnosis.verdict import table, verdict

HUB = "huggingface.co"
CDN = "cas-bridge.xethub.hf.co"
WELL = Findings(
    has_route=True,
    neutral_name="",
    proxy="",
    proxy_reach="",
    endpoint=Reach(HUB, "ok", "ok", "", "ok"),
    api=Answer(200, skew=1.0),
    data=Reach(CDN, "ok", "ok", "", "ok"),
    data_answer=Answer(206, skew=1.0),
)
NO_ANSWER = Answer(detail="no answer in time")
NOT_TRUSTED = Reach(HUB, "ok", "ok", "", "not trusted: self-signed certificate", "Example Filter Root")

TABLE = [
    pytest.param(WELL, None, id="all is well"),
    pytest.param(
        replace(WELL, has_route=False, neutral_name="no", endpoint=Reach(HUB, "name not known"), api=NO_ANSWER),
        "no-network",
        id="the cable is out",
    ),
    pytest.param(
        replace(WELL, neutral_name="name not known", endpoint=Reach(HUB, "name not known"), api=NO_ANSWER),
        "no-network",
        id="no name server answers",
    ),
    pytest.param(
        replace(WELL, neutral_name="ok", endpoint=Reach(HUB, "name not known"), api=NO_ANSWER),
        "name-not-found",
        id="this name only",
    ),
    pytest.param(
        replace(WELL, endpoint=Reach(HUB, "ok", "connection refused"), api=Answer(detail="connection refused")),
        "connection-refused",
        id="refused",
    ),
    pytest.param(
        replace(WELL, endpoint=Reach(HUB, "ok", "ok", "no answer within 4 s", ""), api=NO_ANSWER),
        "ipv6-black-hole",
        id="IPv6 goes nowhere",
    ),
    pytest.param(
        replace(WELL, proxy="http://proxy:3128", proxy_reach="connection refused", api=NO_ANSWER),
        "proxy",
        id="the proxy is down",
    ),
    pytest.param(
        replace(
            WELL,
            proxy="http://proxy:3128",
            proxy_reach="ok",
            endpoint=Reach(HUB, "name not known"),
            api=Answer(detail="Tunnel connection failed: 407 Proxy Authentication Required"),
        ),
        "proxy",
        id="the proxy wants a login; it looks names up itself",
    ),
    pytest.param(
        replace(WELL, endpoint=NOT_TRUSTED, api=Answer(detail="certificate verify failed")),
        "tls-intercepted",
        id="somebody opens the connection",
    ),
    pytest.param(
        replace(WELL, endpoint=Reach(HUB, "ok", "no answer within 4 s"), api=NO_ANSWER),
        "network",
        id="packets are dropped",
    ),
    pytest.param(replace(WELL, api=Answer(200, page=True, title="Log in")), "login-page", id="a login page"),
    pytest.param(replace(WELL, api=Answer(503)), "hub-outage", id="the Hub has a fault"),
    pytest.param(replace(WELL, api=Answer(429)), "rate-limited", id="too many requests"),
    pytest.param(replace(WELL, data_answer=NO_ANSWER), "data-host-blocked", id="only the data host is blocked"),
    pytest.param(
        replace(WELL, data_answer=Answer(200, page=True, title="Blocked")), "login-page", id="a filter for data only"
    ),
    pytest.param(
        replace(WELL, api=Answer(200, skew=-3600.0), data_answer=Answer(403)),
        "clock-wrong",
        id="signed addresses look expired because the clock is wrong",
    ),
    pytest.param(replace(WELL, data_answer=Answer(403)), "data-host-blocked", id="refused with the right time"),
    pytest.param(replace(WELL, data_answer=Answer(502)), "hub-outage", id="the data host has a fault"),
    pytest.param(replace(WELL, data=None, data_answer=None), None, id="no data host is known"),
]


@pytest.mark.parametrize(("findings", "expected"), TABLE)
def test_table(findings: Findings, expected: str | None) -> None:
    problem = verdict(findings, "kept")
    assert (problem.id if problem else None) == expected
    if problem:
        assert problem.kept == "kept"
        assert "{" not in "\n".join(problem.lines())
    assert all(name and text for name, text in table(findings))


def test_the_issuer_and_the_ignored_variable_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/company.pem")
    problem = verdict(replace(WELL, endpoint=NOT_TRUSTED, api=Answer(detail="certificate verify failed")))
    assert problem is not None
    assert "Example Filter Root" in problem.what
    assert "REQUESTS_CA_BUNDLE is set, but Hub clients ignore it" in problem.why
    assert "SSL_CERT_FILE" in problem.do[0]
    assert "/etc/company.pem" in problem.do[0]
