"""The Hub client: the few calls of `huggingface_hub` that this program makes, each with a bound on its wait.

The only importer of `HfApi` and `snapshot_download`.
"""

from __future__ import annotations

import logging
import os
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_fetch.base.waiting import call_with_ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from huggingface_hub import HfApi
    from tqdm.asyncio import tqdm_asyncio

    from qwen_fetch.base.settings import Settings

__all__ = ["Hub"]


class Hub:
    """One repo on one Hub, as `huggingface_hub` sees it.

    Args:
        settings: Repo, revision, cache, endpoint, token, timeouts.
        tick: Called a few times a second while a call is under way; what it raises ends the wait.
        note: Told what the client would have logged.
    """

    def __init__(
        self,
        settings: Settings,
        tick: Callable[[], None] = lambda: None,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self._tick = tick
        # The client reads these once, at its first import; what the user has set stays.
        os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", str(ceil(settings.timeout)))
        os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", str(ceil(settings.stall_timeout)))
        import huggingface_hub.utils.logging  # noqa: F401, PLC0415 - makes its log handler, which is replaced next

        logger = logging.getLogger("huggingface_hub")
        logger.handlers[:] = [_Notes(note)]
        logger.propagate = False
        self._forgotten = False

    @property
    def token(self) -> str | None:
        """The token to send to the endpoint: the user's, or what the environment or the login holds."""
        return None if self._forgotten else self._found[0]

    @property
    def token_source(self) -> str:
        """Where that token comes from, in words."""
        return self._found[1]

    @property
    def token_was_refused(self) -> bool:
        """Whether `forget_token` was called."""
        return self._forgotten

    def forget_token(self) -> None:
        """Go on without a token: the Hub refused it, and a public repo needs none."""
        self._forgotten = True
        self.__dict__.pop("_api", None)

    @cached_property
    def _found(self) -> tuple[str | None, str]:
        if self.settings.token is not None:
            return self.settings.token or None, "--token"
        from huggingface_hub import constants, get_token  # noqa: PLC0415 - heavy, and only needed online

        variables = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
        variable = next((name for name in variables if os.environ.get(name)), "")
        return get_token(), variable or constants.HF_TOKEN_PATH

    @cached_property
    def _api(self) -> HfApi:
        from huggingface_hub import HfApi  # noqa: PLC0415 - as above

        return HfApi(endpoint=self.settings.hub_endpoint, token=self.token or False)

    def resolve(self, *, keep: bool) -> str:
        """The commit that the revision stands for: one request.

        Args:
            keep: Also record it in the cache's ``refs``. Then, with the Hub out of reach, the commit
                recorded last is taken, and noted.
        """
        settings = self.settings

        def ask() -> str:
            if keep:
                cache = settings.hub_cache
                return self._api.resolve_revision(
                    settings.repo_id, revision=settings.revision, cache_dir=cache
                ).resolved
            return str(self._api.repo_info(settings.repo_id, revision=settings.revision).sha)

        # The client's metadata calls have no timeout of their own.
        return call_with_ticks(ask, self._tick, settings.timeout)

    def tree(self, commit: str) -> Iterator[tuple[Any, ...]]:
        """Path, size, git blob id, sha256 and Xet hash (or None) of each file at a commit: one request."""
        from huggingface_hub import RepoFile  # noqa: PLC0415 - heavy, only online

        entries = call_with_ticks(
            lambda: list(self._api.list_repo_tree(self.settings.repo_id, revision=commit, recursive=True)),
            self._tick,
            self.settings.timeout,
        )
        for entry in entries:
            if isinstance(entry, RepoFile):
                yield entry.path, entry.size, entry.blob_id, entry.lfs and entry.lfs.sha256, entry.xet_hash

    def record(self, commit: str) -> None:
        """Let the client ask for the tree of a commit, and cache it."""
        self._snapshot_download(commit, allow_patterns=[], local_files_only=False)

    def last_word(self, commit: str) -> Path:
        """Have `snapshot_download` find the snapshot as every other program will: it asks nobody.

        Returns:
            The snapshot's folder.

        Raises:
            Exception: A file that was asked for is not there, as the client raises it.
        """
        wanted, unwanted = self.settings.include or None, self.settings.exclude or None
        return self._snapshot_download(commit, allow_patterns=wanted, ignore_patterns=unwanted)

    def _snapshot_download(
        self,
        commit: str,
        *,
        allow_patterns: Sequence[str] | None,
        ignore_patterns: Sequence[str] | None = None,
        local_files_only: bool = True,
    ) -> Path:
        from huggingface_hub import ResolvedRevision, snapshot_download  # noqa: PLC0415 - heavy, only online

        settings = self.settings
        folder = call_with_ticks(
            lambda: snapshot_download(
                settings.repo_id,
                revision=ResolvedRevision(commit, settings.revision, settings.repo_id),
                cache_dir=settings.hub_cache,
                endpoint=settings.hub_endpoint,
                token=self.token or False,
                etag_timeout=settings.timeout,
                allow_patterns=None if allow_patterns is None else list(allow_patterns),
                ignore_patterns=None if ignore_patterns is None else list(ignore_patterns),
                max_workers=settings.max_workers,
                tqdm_class=_silent_tqdm(),
                local_files_only=local_files_only,
            ),
            self._tick,
        )
        return Path(folder)


class _Notes(logging.Handler):
    """Hands the client's warnings on, instead of letting it write between the lines of this program."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if not text.startswith("No files matched"):  # asked for: see `snapshot.fetch`
            self._note(text)


def _silent_tqdm() -> type[tqdm_asyncio[Any]]:
    from tqdm.auto import tqdm  # noqa: PLC0415 - 0.05 s that --help need not pay

    class Silent(tqdm):  # type: ignore[type-arg]
        """A bar that counts and shows nothing."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **(kwargs | {"disable": True}))

    return Silent
