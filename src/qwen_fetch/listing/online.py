"""The Hub, asked over our own line: which commit a revision is, and what it holds.

Nothing of the answer is believed before `entries` has looked at it, and all of it is bounded: bytes, pages, entries,
and time. Pages are followed by their cursor alone: where the server says that the next one is, nobody goes.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.shell import offline_switch, unset_variable
from qwen_fetch.base.waiting import call_with_ticks
from qwen_fetch.listing.entries import Entry, is_commit, snapshot_of, unsafe
from qwen_fetch.transport.endpoint import Endpoint
from qwen_fetch.transport.source import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qwen_fetch.base.files import Snapshot
    from qwen_fetch.base.settings import Settings

__all__ = ["Online"]

_MOST_BYTES = 32 << 20  # of one answer: a hundred times a page of the Hub
_MOST_PAGES = 1_000
_MOST_ENTRIES = 1_000_000
_NO_TREES = {FailureKind.MISSING, FailureKind.ODD}
_TIMEOUTS = 2.0  # in which all the pages together must come
_NEXT = re.compile(r'<([^<>]*)>\s*;\s*rel="?next"?')


class Online:
    """One repo on one Hub.

    Args:
        settings: Repo, revision, endpoint, timeout.
        token: The token for the endpoint, if any.
        tick: Called a few times a second while an answer is waited for; what it raises ends the wait.
        found: Told after each page how many files are listed so far.
    """

    def __init__(
        self,
        settings: Settings,
        token: str | None,
        tick: Callable[[], None] = lambda: None,
        found: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._endpoint = Endpoint(settings.hub_endpoint, token, settings.timeout)
        self._tick = tick
        self._found = found

    def commit(self) -> str:
        """The commit that the revision stands for: one request, none where the revision is a commit.

        Raises:
            Failure: There is no answer.
            Problem: There is one that is no commit; or the network is switched off.
        """
        settings = self._settings
        if is_commit(settings.revision):
            return settings.revision
        info, _ = self._get(f"/revision/{quote(settings.revision, safe='')}", settings.timeout)
        commit = info.get("sha") if isinstance(info, dict) else None
        if not is_commit(commit):
            raise unsafe(settings, f"commit {commit!r:.100}")
        return str(commit)

    def tree(self, commit: str) -> Snapshot:
        """What the commit holds: a request for every thousand files.

        Raises:
            Failure: There is no answer.
            Problem: There is one that is unsafe, or has no end; or the network is switched off.
        """
        bound = self._settings.timeout * _TIMEOUTS
        return call_with_ticks(lambda: snapshot_of(self._settings, commit, self._entries(commit)), self._tick, bound)

    def _entries(self, commit: str) -> Iterator[Entry]:
        query, seen, count, files = "recursive=true&expand=false", set[str](), 0, 0
        while query not in seen and len(seen) < _MOST_PAGES:
            seen.add(query)
            try:
                page, query = self._get(f"/tree/{commit}?{query}")
            except Failure as failure:
                if len(seen) > 1 or not failure.status or failure.kind not in _NO_TREES:
                    raise
                yield from self._siblings(commit, failure)
                return
            if not isinstance(page, list):
                raise unsafe(self._settings, f"{type(page).__name__} instead of a list of files")
            for item in page:
                count += 1
                if entry := _entry(item):
                    files += 1
                    yield entry
            self._found(files)
            if count > _MOST_ENTRIES:
                raise unsafe(self._settings, f"more than {_MOST_ENTRIES:,} files")
            if not query:
                return
        raise unsafe(self._settings, "pages without an end")

    def _siblings(self, commit: str, failure: Failure) -> Iterator[Entry]:
        """The same from what is said about the repo as a whole: there are mirrors that list no trees."""
        try:
            info, _ = self._get(f"/revision/{commit}?blobs=true")
        except Failure:
            raise failure from None
        siblings = info.get("siblings") if isinstance(info, dict) else None
        if not isinstance(siblings, list) or not all(isinstance(item, dict) for item in siblings):
            raise failure
        if any("size" not in item for item in siblings):
            raise Problem(catalogue.BARE_LISTING, host=self._settings.host)
        for item in siblings[: _MOST_ENTRIES + 1]:
            large = item.get("lfs")
            sha256 = None if large is None else large.get("sha256", "") if isinstance(large, dict) else ""
            yield Entry(item.get("rfilename"), item["size"], item.get("blobId"), sha256)

    def _get(self, what: str, bound: float | None = None) -> tuple[Any, str]:
        """The answer to a question about the repo, and the query of the page after it."""
        if variable := offline_switch():
            raise Problem(catalogue.OFFLINE, variable=variable, unset=unset_variable(variable))
        url = f"{self._endpoint.address}/api/models/{self._settings.repo_id}{what}"

        def ask() -> tuple[bytes, str]:
            return self._endpoint.read(url, _MOST_BYTES)

        body, link = ask() if bound is None else call_with_ticks(ask, self._tick, bound)
        following = _NEXT.search(link)
        try:
            query = urlsplit(following[1]).query if following else ""
            return json.loads(body), query
        except (ValueError, RecursionError):
            host = self._settings.host
            raise Failure(FailureKind.ODD, f"{host} sent something else than what was asked for") from None


def _entry(item: object) -> Entry | None:
    """What a page says of one file; None for a folder."""
    if not isinstance(item, dict):
        return Entry(None, None, None)
    if item.get("type") == "directory":
        return None
    large = item.get("lfs")
    if large is None:
        return Entry(item.get("path"), item.get("size"), item.get("oid"))
    if not isinstance(large, dict) or large.get("size") != item.get("size"):
        return Entry(item.get("path"), None, None)
    return Entry(item.get("path"), item.get("size"), item.get("oid"), large.get("oid") or "", item.get("xetHash"))
