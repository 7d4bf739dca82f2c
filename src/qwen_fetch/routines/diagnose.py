"""What is wrong between here and the Hub, as a table that can be pasted into a bug report: no secrets."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.settings import DEFAULT_REPO
from qwen_fetch.base.shell import offline_switch, unset_variable
from qwen_fetch.base.version import __version__
from qwen_fetch.base.waiting import call_with_ticks
from qwen_fetch.cache.store import Store
from qwen_fetch.diagnosis.probe import probe
from qwen_fetch.diagnosis.verdict import table, verdict
from qwen_fetch.listing.cached import cached
from qwen_fetch.listing.hub import Hub
from qwen_fetch.transport.environment import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qwen_fetch.base.settings import Settings

__all__ = ["diagnose"]

_A_LARGE_FILE = "vae/diffusion_pytorch_model.safetensors"  # of the default repo
_PACKAGES = ("huggingface_hub", "httpx2", "lz4", "filelock", "tqdm")
_SWITCHES = ("HF_HUB_DISABLE_XET", "HF_HUB_ENABLE_HF_TRANSFER")


def diagnose(settings: Settings, tick: Callable[[], None]) -> tuple[list[tuple[str, str]], Problem | None]:
    """Look at this machine and at the way to the Hub; takes some ten seconds at most.

    Returns:
        The rows of the table, and the problem they show, if any.
    """
    hub = Hub(settings)
    if variable := offline_switch():
        problem = Problem(catalogue.OFFLINE, variable=variable, unset=unset_variable(variable))
        return list(_machine(settings, hub)), problem
    findings = call_with_ticks(lambda: probe(settings, _large_file(settings), token=hub.token), tick)
    return [*_machine(settings, hub), *table(findings)], verdict(findings, settings)


def _large_file(settings: Settings) -> str:
    known = cached(settings, Store(settings.hub_cache, settings.repo_id))
    if known:
        return next((file.path for file in known.files if file.is_large), "")
    return _A_LARGE_FILE if settings.repo_id == DEFAULT_REPO else ""


def _machine(settings: Settings, hub: Hub) -> Iterator[tuple[str, str]]:
    yield "qwen-fetch", f"{__version__}, Python {platform.python_version()}, {platform.platform()}"
    packages = []
    for name in _PACKAGES:
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            packages.append(f"{name} is missing")
    yield "packages", ", ".join(packages)
    yield "offline switch", offline_switch() or "none"
    yield "set", ", ".join(name for name in _SWITCHES if os.environ.get(name)) or "none of " + ", ".join(_SWITCHES)
    named = "--endpoint" if settings.endpoint else "HF_ENDPOINT" if os.environ.get("HF_ENDPOINT") else "the default"
    yield "endpoint", f"{settings.hub_endpoint} ({named})"
    yield "token", f"yes, from {hub.token_source}" if hub.token else "none"
    yield "cache", str(settings.hub_cache)
    yield from environment().rows()
