"""NO_PROXY as curl reads it: a table."""

from __future__ import annotations

import pytest

from qwen_fetch.transport.proxy import bypasses

TABLE = [
    ("hub.example", 443, "", False),
    ("hub.example", 443, "*", True),
    ("hub.example", 443, "hub.example", True),
    ("HUB.example.", 443, "hub.EXAMPLE", True),
    ("a.hub.example", 443, "hub.example", True),
    ("a.hub.example", 443, ".hub.example", True),
    ("hub.example", 443, ".hub.example", True),
    ("a.hub.example", 443, "*.hub.example", True),
    ("xhub.example", 443, "hub.example", False),
    ("hub.example.org", 443, "hub.example", False),
    ("hub.example", 443, "other, hub.example", True),
    ("hub.example", 443, "other hub.example", True),
    ("hub.example", 443, "hub.example:443", True),
    ("hub.example", 8080, "hub.example:443", False),
    ("10.1.2.3", 80, "10.0.0.0/8", True),
    ("11.1.2.3", 80, "10.0.0.0/8", False),
    ("10.1.2.3", 80, "10.1.2.3", True),
    ("10.1.2.3", 80, "10.1.2.3:81", False),
    ("::1", 80, "::1", True),
    ("::1", 80, "[::1]", True),
    ("0:0:0:0:0:0:0:1", 80, "[::1]:80", True),
    ("fd00::5", 80, "[fd00::/8]", True),
    ("hub.example", 80, "10.0.0.0/8", False),
    ("hub.example", 80, ",, ,", False),
    ("hub.example", 80, ".", False),
]


@pytest.mark.parametrize(("host", "port", "rules", "without"), TABLE, ids=str)
def test_no_proxy(host: str, port: int, rules: str, without: bool) -> None:
    assert bypasses(host, port, rules) is without
