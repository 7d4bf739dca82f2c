"""The Hub client: what `huggingface_hub` is still asked for, the user's token and the last word of a run.

Neither opens a connection. The only importer of `snapshot_download`.
"""

from __future__ import annotations

import logging
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from qwen_fetch.base.settings import checked_token
from qwen_fetch.base.waiting import call_with_ticks

if TYPE_CHECKING:
    from collections.abc import Callable

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
        self.tick = tick
        self.note = note
        import huggingface_hub.utils.logging  # noqa: F401, PLC0415 - makes its log handler, which is replaced next

        logger = logging.getLogger("huggingface_hub")
        logger.handlers[:] = [_Notes(note)]
        logger.propagate = False
        self._forgotten = False
        self.listed = 0
        """How many files the Hub has listed so far."""

    def count(self, listed: int) -> None:
        """The Hub has listed so many files so far."""
        self.listed = listed

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

    @cached_property
    def _found(self) -> tuple[str | None, str]:
        if self.settings.token is not None:
            return self.settings.token or None, "--token"
        from huggingface_hub import constants, get_token  # noqa: PLC0415 - heavy, and only needed online

        variables = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
        variable = next((name for name in variables if os.environ.get(name)), "")
        source = variable or constants.HF_TOKEN_PATH
        token = os.environ[variable] if variable else get_token()
        return (checked_token(token, source) or None) if token else None, source

    def last_word(self, commit: str) -> Path:
        """Have `snapshot_download` find the snapshot as every other program will: it asks nobody.

        Returns:
            The snapshot's folder.

        Raises:
            Exception: A file that was asked for is not there, as the client raises it.
        """
        wanted, unwanted = self.settings.include or None, self.settings.exclude or None
        from huggingface_hub import ResolvedRevision, snapshot_download  # noqa: PLC0415 - heavy, not for --status-only

        folder = call_with_ticks(
            lambda: snapshot_download(
                self.settings.repo_id,
                revision=ResolvedRevision(commit, self.settings.revision, self.settings.repo_id),
                cache_dir=self.settings.hub_cache,
                allow_patterns=wanted and list(wanted),
                ignore_patterns=unwanted and list(unwanted),
                max_workers=4,
                local_files_only=True,
            ),
            self.tick,
        )
        return Path(folder)


class _Notes(logging.Handler):
    """Hands the client's warnings on, instead of letting it write between the lines of this program."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        self._note(record.getMessage())
