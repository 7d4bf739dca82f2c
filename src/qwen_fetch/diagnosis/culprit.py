"""From evidence to a problem: one table, for what a download meets and for what a look at the network finds.

Pure. Where the evidence names nobody, nobody is named: then the problem says what was seen.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.shell import set_variable
from qwen_fetch.transport.environment import environment
from qwen_fetch.transport.source import FailureKind

if TYPE_CHECKING:
    from qwen_fetch.base.problem import Kind
    from qwen_fetch.base.settings import Settings
    from qwen_fetch.transport.source import Failure

__all__ = ["culprit", "facts_of"]

_KINDS = {
    FailureKind.DENIED: catalogue.ACCESS,
    FailureKind.MISSING: catalogue.NOT_FOUND,
    FailureKind.UNREACHABLE: catalogue.NETWORK,
    FailureKind.NO_NAME: catalogue.NETWORK,
    FailureKind.CLOSED: catalogue.CONNECTION_REFUSED,
    FailureKind.PROXY_AWAY: catalogue.PROXY,
    FailureKind.PROXY_LOGIN: catalogue.PROXY_LOGIN,
    FailureKind.PROXY_REFUSES: catalogue.PROXY,
    FailureKind.NOT_TLS: catalogue.NOT_TLS,
    FailureKind.UNTRUSTED: catalogue.TLS,
    FailureKind.EXPIRED: catalogue.CERTIFICATE_DATE,
    FailureKind.OTHER_HOST: catalogue.CERTIFICATE_NAME,
    FailureKind.REFUSED: catalogue.URL_REFUSED,
    FailureKind.THROTTLED: catalogue.RATE_LIMITED,
    FailureKind.SERVER: catalogue.OUTAGE,
    FailureKind.ODD: catalogue.ODD_ANSWER,
    FailureKind.WRONG_RANGE: catalogue.NOT_THE_FILE,
    FailureKind.WRONG_LENGTH: catalogue.NOT_THE_FILE,
    FailureKind.NO_RANGES: catalogue.NOT_THE_FILE,
    FailureKind.ENCODED: catalogue.NOT_THE_FILE,
    FailureKind.NOT_DATA: catalogue.NOT_THE_FILE,
    FailureKind.STALE: catalogue.STALE_LISTING,
    FailureKind.CUT: catalogue.NO_PROGRESS,
    FailureKind.STALLED: catalogue.NO_PROGRESS,
}
# Where it is about no file, the endpoint was asked what there is.
_KINDS_OF_LISTING = _KINDS | {
    FailureKind.CUT: catalogue.NETWORK,
    FailureKind.STALLED: catalogue.NETWORK,
    FailureKind.NOT_DATA: catalogue.PORTAL,
    FailureKind.ENCODED: catalogue.ODD_ANSWER,
    FailureKind.WRONG_LENGTH: catalogue.ODD_ANSWER,
}
# What the endpoint says about its refusal: status (0: any), its code or words of its message (in lower case).
_REFUSALS: tuple[tuple[int, str, Kind], ...] = (
    (451, "", catalogue.LEGAL),
    (403, "fine-grained token", catalogue.TOKEN_SCOPE),
    (403, "permission", catalogue.TOKEN_SCOPE),
    (403, "scope", catalogue.TOKEN_SCOPE),
    (403, "is disabled", catalogue.DISABLED),
    (403, "disabledrepo", catalogue.DISABLED),
    (0, "gatedrepo", catalogue.GATED),
    (0, "reponotfound", catalogue.NOT_FOUND),
    (0, "revisionnotfound", catalogue.NOT_FOUND),
    (0, "entrynotfound", catalogue.NOT_FOUND),
)
_INTERCEPTORS = {  # words of the issuers that such products sign with, and what they are
    "antivirus": ("kaspersky", "eset", "avast", "avg ", "bitdefender", "norton", "dr.web", "bullguard", "adguard"),
    "company's filter": (
        *("zscaler", "fortinet", "fortigate", "palo alto", "sophos", "netskope", "umbrella", "blue coat", "forcepoint"),
        *("websense", "mcafee", "trellix", "check point", "barracuda", "watchguard", "squid"),
    ),
    "debugging proxy": ("mitmproxy", "fiddler", "charles proxy", "portswigger"),
}


def culprit(
    failure: Failure, settings: Settings, *, path: str = "", tries: int = 1, issuer: str = "", title: str = ""
) -> Problem:
    """The problem that a failure is evidence of.

    Args:
        failure: What was seen.
        settings: Which Hub and repo.
        path: The file it was about; empty: the listing.
        tries: How many attempts in a row had failed.
        issuer: Who issued the certificate that is not trusted, if that was looked at.
        title: Of the web page that came, if it had one.
    """
    kinds = _KINDS if path else _KINDS_OF_LISTING
    kind = _refusal(failure) or kinds[failure.kind]
    host = urlsplit(failure.where).hostname or settings.host
    return Problem(
        kind,
        kept="Everything received so far.",
        **facts_of(settings) | {"host": host},
        detail=failure.detail.removeprefix(f"{host} ").removeprefix(f"{host}: "),
        path=path,
        tries=max(tries, 1),
        other="http" if failure.detail.startswith("Xet") else "xet",
        title=f" ({title!r})" if title else "",
        ask=_whom_to_ask(host),
        **_about_proxy(failure),
        **_about_certificate(issuer),
        **_about_access(failure, settings, path),
    )


def facts_of(settings: Settings) -> dict[str, Any]:
    """What most messages mention."""
    return {
        "host": settings.host,
        "repo_id": settings.repo_id,
        "endpoint": settings.hub_endpoint,
        "command": settings.command(),
        "diagnose": f"See what is wrong on the way: `{settings.command('--diagnose')}`",
    }


def _refusal(failure: Failure) -> Kind | None:
    """What the endpoint's own words mean; None where it has none for it."""
    words = f"{failure.code} {failure.said}".lower()
    if failure.kind not in {FailureKind.DENIED, FailureKind.MISSING}:
        return None
    return next((kind for status, word, kind in _REFUSALS if status in {0, failure.status} and word in words), None)


def _whom_to_ask(host: str) -> str:
    if host.endswith(("huggingface.co", ".hf.co")):
        return "Look at https://status.huggingface.co, and wait."
    return f"Ask whoever runs {host}, or use another endpoint: --endpoint https://huggingface.co"


def _about_proxy(failure: Failure) -> dict[str, Any]:
    said = environment().proxies
    scheme = urlsplit(failure.where).scheme or "https"
    _, source = said.get(scheme) or said.get("all") or ("", "The environment")
    variable = source if source.isupper() else "HTTPS_PROXY"
    return {"source": source, "set_proxy": set_variable(variable, "http://user:password@proxy:3128")}


def _about_certificate(issuer: str) -> dict[str, Any]:
    words = f"{issuer.lower()} "
    product = next((what for what, names in _INTERCEPTORS.items() if any(name in words for name in names)), "")
    article = "An" if product.startswith("a") else "A"
    return {
        "issuer": issuer or "an unknown issuer",
        "who": f"{article} {product} opens the connection and signs it anew, as that name shows. " if product else "",
        "set_ca": set_variable("SSL_CERT_FILE", "issuer.pem"),
        "today": datetime.now(UTC).astimezone().strftime("%Y-%m-%d"),
    }


def _about_access(failure: Failure, settings: Settings, path: str) -> dict[str, Any]:
    code = failure.code
    subject, said, check = settings.repo_id, "A name is misspelt, or it was renamed or deleted.", "Check --repo-id."
    if code == "RevisionNotFound":
        subject = f"the revision {settings.revision} of {settings.repo_id}"
        check = "Check --revision: a branch, a tag or a commit of this repo."
    elif path:
        subject = f"{path} of {settings.repo_id}"
        said, check = "It is listed, and is not there.", f"Ask for the listing once more: `{settings.command()}`"
    elif code == "RepoNotFound":
        said = "A name is misspelt, or the repo is private and no token was sent that may see it."
    elif not code:
        said, check = "It does not say why; a server that is no Hub says the same.", "Check --repo-id and --endpoint."
    anonymous = failure.status == 401
    return {
        "subject": subject,
        "said": said,
        "check": check,
        "login": "Log in with an account that may see it: `hf auth login`",
        "account": "No token was sent, or none that it knows."
        if anonymous
        else "The account of the token has not done so.",
    }
