"""Which transports a run has, and how a worker opens a connection over each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.shell import is_switched_on
from qwen_fetch.transport.endpoint import Endpoint
from qwen_fetch.transport.http import Addresses, HttpSource
from qwen_fetch.transport.xet import Admission, XetSource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwen_fetch.base.files import RepoFile
    from qwen_fetch.base.settings import Settings, Transport
    from qwen_fetch.transport.source import Source

__all__ = ["make_sources"]


def make_sources(
    settings: Settings, token: str | None, commit: str, files: Sequence[RepoFile]
) -> dict[Transport, Callable[[], Source]]:
    """How to open a connection, by transport; the preferred transport first.

    HF_HUB_DISABLE_XET is honoured unless Xet is asked for by name.

    Args:
        settings: Which transport is wished for, and how patient to be.
        token: The token for the endpoint, if any.
        commit: The pinned commit.
        files: What is to be fetched.

    Raises:
        Problem: (usage) Xet is asked for, and the Hub does not offer it.
    """
    endpoint = Endpoint(settings.hub_endpoint, token, settings.timeout)
    pace = settings.timeout, settings.stall_timeout, settings.limit_rate
    offered = [file.xet_hash is not None for file in files]
    sources: dict[Transport, Callable[[], Source]] = {}
    if settings.transport == "xet" and not any(offered):
        raise Problem(
            catalogue.USAGE, detail=f"{settings.host} does not offer these files over Xet: use --transport auto."
        )
    if settings.transport == "xet" or (
        settings.transport == "auto" and any(offered) and not is_switched_on("HF_HUB_DISABLE_XET")
    ):
        admission = Admission(endpoint, settings.repo_id, commit)
        sources["xet"] = lambda: XetSource(admission, *pace)
    if settings.transport != "xet" or not all(offered):
        addresses = Addresses(endpoint, settings.repo_id, commit)
        sources["http"] = lambda: HttpSource(addresses, *pace)
    return sources
