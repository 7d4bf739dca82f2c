"""What the user asked for, checked and made definite: which repo, where to, over which line, how patiently."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from qwen_fetch.base import catalogue
from qwen_fetch.base.door import keep_secret
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.shell import program, quoted

__all__ = ["DEFAULT_ENDPOINT", "DEFAULT_REPO", "Settings", "Transport", "TransportChoice", "checked_token"]

DEFAULT_REPO = "Qwen/Qwen-Image-Edit"
DEFAULT_ENDPOINT = "https://huggingface.co"

Transport = Literal["xet", "http"]
TransportChoice = Literal["auto", "xet", "http"]

_DAY = 86_400
_ADDRESS = re.compile(r"[!#-;=?-~]+")  # no blanks, quotes, brackets of a text, nothing outside ASCII
_BEARER = re.compile(r"[A-Za-z0-9._~+/=-]+")  # RFC 6750
_NEARBY = 15.0  # seconds that a cache in the house may be silent when there is somebody else to ask
# What was given is not repeated: it may hold a password.
_AN_ENDPOINT = "wants an address such as https://huggingface.co, without user, password or query"
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
# As `git check-ref-format` has it, and no option.
_NOT_IN_A_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|(^|/)\.|\.lock(/|$)|[./]$|^[/-]|^@$")
_LONGEST_REF = 255  # bytes
_CARRIED = {  # options that a proposed command repeats where they are not the default
    "transport": "--transport",
    "max_workers": "--max-workers",
    "timeout": "--timeout",
    "stall_timeout": "--stall-timeout",
    "max_retries": "--max-retries",
    "give_up_after": "--give-up-after",
    "limit_rate": "--limit-rate",
    "keep_awake": "--no-keep-awake",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One request, valid by construction.

    Attributes:
        repo_id: ``owner/name`` on the Hub.
        revision: Branch, tag or commit.
        cache_dir: The Hub cache (the folder that holds ``models--…``); None: what the environment says.
        endpoint: The Hub's address, ``https://host``; None: what the environment says. After a comma, where to go on
            when it is out of reach.
        token: The user's token; None: what the environment or the login says.
        include: Globs over repo paths; empty means all.
        exclude: Globs over repo paths.
        max_workers: Connections; None: 4 to begin with, and as many as help.
        transport: How weights travel.
        timeout: Seconds for a connection and for an answer about metadata.
        stall_timeout: Seconds without a byte after which a connection is given up.
        max_retries: Tries in a row without a new byte on disk before giving up; None: as many as fit.
        give_up_after: Seconds without a new byte on disk before giving up.
        limit_rate: Bytes per second of all connections together; None: no limit.
        keep_awake: Whether the machine is kept from going to sleep by itself while bytes move.
        adopt: Folders that may hold files, or parts of them, to take over.

    Raises:
        Problem: (usage) a value makes no sense.
    """

    repo_id: str = DEFAULT_REPO
    revision: str = "main"
    cache_dir: Path | None = None
    endpoint: str | None = None
    token: str | None = field(default=None, repr=False)
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    max_workers: int | None = None
    transport: TransportChoice = "auto"
    timeout: float = 15.0
    stall_timeout: float = 30.0
    max_retries: int | None = None
    give_up_after: float = 12 * 3600.0
    limit_rate: int | None = None
    keep_awake: bool = True
    adopt: tuple[Path, ...] = ()

    def __post_init__(self) -> None:  # noqa: D105 - see the class
        if self.token is not None:
            object.__setattr__(self, "token", checked_token(self.token, "--token"))
        if self.endpoint is not None:
            object.__setattr__(self, "endpoint", self.endpoint.strip())
        checks = (
            (_is_repo_id(self.repo_id), f"--repo-id wants owner/name, not {self.repo_id!r}"),
            (_is_revision(self.revision), f"--revision wants a branch, a tag or a commit, not {self.revision!r}"),
            (0 < self.timeout <= _DAY, f"--timeout wants seconds, above 0 and at most a day, not {self.timeout:g}"),
            (
                0 < self.stall_timeout <= _DAY,
                f"--stall-timeout wants seconds, above 0 and at most a day, not {self.stall_timeout:g}",
            ),
            (
                self.max_workers is None or 1 <= self.max_workers <= 64,
                f"--max-workers wants 1 to 64 connections, not {self.max_workers}",
            ),
            (
                self.max_retries is None or self.max_retries >= 1,
                f"--max-retries wants at least 1 try, not {self.max_retries}",
            ),
            (
                0 < self.give_up_after <= 365 * _DAY,
                f"--give-up-after wants a time such as 90m or 12h, at most a year, not {self.give_up_after:g} s",
            ),
            (
                self.limit_rate is None or self.limit_rate >= 1024,
                f"--limit-rate wants at least 1K bytes a second, not {self.limit_rate}",
            ),
            (
                self.transport in get_args(TransportChoice),
                f"--transport wants auto, xet or http, not {self.transport!r}",
            ),
            (
                self.endpoint is None or all(map(_is_endpoint, self.endpoint.split(","))),
                f"--endpoint {_AN_ENDPOINT}",
            ),
        )
        for right, detail in checks:
            if not right:
                raise Problem(catalogue.USAGE, detail=f"{detail}.")

    @property
    def hub_cache(self) -> Path:
        """The cache folder, absolute."""
        place = self.cache_dir
        if place is None:
            from huggingface_hub import constants  # noqa: PLC0415 - reads the environment, so not before it is settled

            place = Path(constants.HF_HUB_CACHE)
        try:
            return place.expanduser().resolve()
        except RuntimeError as error:  # containers run as users that nobody has heard of
            detail = "This user has no home folder: say where the cache is, with --cache-dir or HF_HOME."
            raise Problem(catalogue.USAGE, detail=detail) from error

    @property
    def hub_endpoint(self) -> str:
        """The Hub's address, without a slash at the end."""
        if self.endpoint is not None:
            return self.endpoint.split(",")[0].rstrip("/")
        from huggingface_hub import constants  # noqa: PLC0415 - as above

        endpoint = str(constants.ENDPOINT).strip().rstrip("/")
        if not _is_endpoint(endpoint):
            raise Problem(catalogue.USAGE, detail=f"HF_ENDPOINT {_AN_ENDPOINT}.")
        return endpoint

    @property
    def elsewhere(self) -> Settings | None:
        """The same request, to the address after this one; None: there is none."""
        _, _, others = (self.endpoint or "").partition(",")
        return replace(self, endpoint=others) if others else None

    @property
    def give_up_here(self) -> float:
        """Seconds without a new byte after which this address is given up; not the request, where there is another."""
        return min(self.give_up_after, _NEARBY) if self.elsewhere else self.give_up_after

    @property
    def is_exposed(self) -> bool:
        """Whether what is sent to the Hub can be read on the way: plain http to another machine."""
        with suppress(ValueError):
            if ip_address(self.host).is_loopback:
                return False
        return self.hub_endpoint.startswith("http:") and self.host != "localhost"

    @property
    def host(self) -> str:
        """The Hub's host name, for messages."""
        return urlsplit(self.hub_endpoint).hostname or self.hub_endpoint

    def command(self, *more: str) -> str:
        """A command line that repeats this request, for the user to copy; never holds the token.

        Args:
            more: Further words.
        """
        words = [program()]
        if self.repo_id != DEFAULT_REPO:
            words += ["--repo-id", self.repo_id]
        if self.revision != "main":
            words += ["--revision", quoted(self.revision)]
        if self.cache_dir is not None:
            words += ["--cache-dir", quoted(str(self.cache_dir))]
        if self.include:
            words += ["--selective", *map(quoted, self.include)]
        if self.adopt:
            words += ["--adopt", *(quoted(str(folder)) for folder in self.adopt)]
        if self.exclude:
            words += ["--exclude", *map(quoted, self.exclude)]
        if self.endpoint is not None:
            words += ["--endpoint", quoted(self.endpoint)]
        goes_on = all(word.startswith("--transport") or not word.startswith("--") for word in more)
        for each in fields(self) if goes_on else ():  # another mode has no use for how bytes travel
            value = getattr(self, each.name)
            if each.name in _CARRIED and value != each.default and _CARRIED[each.name] not in more:
                said = f"{value:g}" if isinstance(value, float) else quoted(str(value))
                words += [_CARRIED[each.name], *([] if isinstance(value, bool) else [said])]
        return " ".join([*words, *more])


def checked_token(text: str, source: str) -> str:
    """A token as it can be sent, without the blanks around it; never shown from now on.

    Args:
        text: What was given.
        source: Where, in words.

    Raises:
        Problem: (usage) It holds what no token does; it is not repeated.
    """
    token = text.strip()
    keep_secret(token)
    if token and not _BEARER.fullmatch(token):
        why = "holds characters that no token has, such as blanks, line ends or letters with accents: copy it again"
        raise Problem(catalogue.USAGE, detail=f"The token from {source} {why}.")
    return token


def _is_repo_id(text: str) -> bool:
    return bool(_REPO_ID.fullmatch(text)) and ".." not in text and "--" not in text


def _is_endpoint(text: str) -> bool:
    try:
        url = urlsplit(text)
        return (
            url.scheme in {"http", "https"}
            and bool(url.hostname)
            and url.port != 0
            and not (url.username or url.query or url.fragment)
            and _ADDRESS.fullmatch(text) is not None
        )
    except ValueError:  # brackets or a port that make no sense
        return False


def _is_revision(text: str) -> bool:
    fits = 0 < len(text.encode(errors="replace")) <= _LONGEST_REF
    return fits and text.isprintable() and not _NOT_IN_A_REF.search(text)
