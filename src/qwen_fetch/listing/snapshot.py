"""Which listing counts: what the Hub says now, or what was said before; and which of its files are wanted."""

from __future__ import annotations

from contextlib import suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.settings import DEFAULT_ENDPOINT
from qwen_fetch.base.units import day_text
from qwen_fetch.listing.cached import cached, cached_tree, record, record_ref, who_said
from qwen_fetch.transport.source import AWAY, Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_fetch.base.files import RepoFile, Snapshot
    from qwen_fetch.cache.store import Store
    from qwen_fetch.listing.cached import Said
    from qwen_fetch.listing.hub import Hub

__all__ = ["differing", "fetch", "old_word_counts", "select"]

_AWAY = {*AWAY, FailureKind.STALLED, FailureKind.CUT, FailureKind.SERVER}


def select(listed: Snapshot, include: Sequence[str], exclude: Sequence[str]) -> list[RepoFile]:
    """The files that match a pattern of `include` (empty: all) and none of `exclude`.

    A pattern is a glob over the whole path, as for `hf download --include`: ``*`` crosses slashes, and a
    pattern that ends with a slash means everything below it.

    Raises:
        Problem: (no-match) Nothing is left; the message lists what there is.
    """

    def hit(path: str, patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(path, p + "*" if p.endswith("/") else p) for p in patterns)

    wanted = [f for f in listed.files if (not include or hit(f.path, include)) and not hit(f.path, exclude)]
    if not wanted:
        raise Problem(
            catalogue.NO_MATCH,
            repo_id=listed.repo_id,
            patterns=", ".join([*include, *(f"(not) {pattern}" for pattern in exclude)]),
            listing="\n".join(f"         {file.path}" for file in listed.files),
        )
    return wanted


def fetch(hub: Hub, store: Store, *, keep: bool, afresh: bool = False) -> Snapshot:
    """Which commit the revision is, and what it holds: asked of the Hub, and compared with what was said before.

    A commit's tree never changes, so the same endpoint is asked for it once. What another one says for the same
    commit is compared, and where the two differ, that is said, whoever is believed.

    Args:
        hub: Whom to ask, and with which token.
        store: The repo's place in the cache, where the tree may be known already.
        keep: Whether ref and tree are written to the cache (a dry run leaves no trace). Then also, with the Hub
            out of reach, the commit recorded last is taken, and that is said.
        afresh: Ask for the tree even if this endpoint has listed it before.

    Raises:
        Failure: The Hub does not answer.
        Problem: The listing is unsafe, or the network is switched off.
    """
    from qwen_fetch.listing.online import Online  # noqa: PLC0415 - sockets and TLS, which --status-only does without

    settings = hub.settings
    if hub.token and settings.is_exposed:
        hub.note(f"The token travels to {settings.host} over plain http: everybody on the way can read it")
    online = Online(settings, hub.token, hub.tick, hub.count)
    try:
        commit = online.commit()
    except Failure as failure:
        known = cached(settings, store) if keep and failure.kind in _AWAY else None
        if known is None:
            raise
        hub.note(f"{settings.host} cannot be asked ({failure.detail}): going on with what was listed last")
        return known
    known, said = cached_tree(settings, store, commit), who_said(store, commit)
    if known is not None and not afresh and said is not None and said.endpoint == settings.hub_endpoint:
        listed = known
    else:
        listed = asked = online.tree(commit)
        if known is not None and (paths := differing(known, listed)):
            believes_old = old_word_counts(said, settings.endpoint, settings.hub_endpoint)
            hub.note(_contradiction(settings.host, said, paths, believes_old=believes_old))
            listed = known if believes_old else asked
    with suppress(OSError):  # a cache that cannot be written may be whole; if it is not, the download says why
        if keep and listed is not known:
            record(store, listed, settings.hub_endpoint)
        if keep:
            record_ref(store, settings.revision, commit)
    return listed


def differing(one: Snapshot, other: Snapshot) -> list[str]:
    """The paths of which two listings of a commit say different things, or of which only one says anything."""
    ours, theirs = ({file.path: (file.size, file.digest) for file in listed.files} for listed in (one, other))
    return sorted(path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path))


def old_word_counts(said: Said | None, chosen: str | None, endpoint: str) -> bool:
    """Whether what was said before is believed rather than what `endpoint` says now, where the two differ.

    Only the default Hub's word outlives another's, and not that of an endpoint that the user has chosen for this run.
    """
    return said is not None and said.endpoint == DEFAULT_ENDPOINT != endpoint and chosen is None


def _contradiction(host: str, said: Said | None, paths: Sequence[str], *, believes_old: bool) -> str:
    before = "this cache holds, whoever said it,"
    if said is not None:
        before = f"{said.endpoint} did on {day_text(said.when)}"
    some = ", ".join(paths[:3]) + (", …" if len(paths) > 3 else "")
    winner = "the former is believed" if believes_old else f"{host} is believed"
    return f"{host} lists {len(paths)} files of this commit otherwise than {before} ({some}): {winner}"
