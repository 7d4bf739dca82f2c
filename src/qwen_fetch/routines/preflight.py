"""Before the first byte: what would make this download fail hours later, or what the environment is mistaken about.

Nothing is said when all is well.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.shell import offline_switch, quoted, set_variable, unset_variable
from qwen_fetch.base.units import size_text
from qwen_fetch.cache import disk
from qwen_fetch.cache.locks import locks_hold
from qwen_fetch.diagnosis.local import local_problem
from qwen_fetch.transfer.plan import Action
from qwen_fetch.transport.environment import environment
from qwen_fetch.transport.proxy import proxy_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qwen_fetch.base.files import RepoFile
    from qwen_fetch.base.settings import Settings
    from qwen_fetch.cache.material import Material
    from qwen_fetch.cache.store import Store
    from qwen_fetch.transfer.plan import Plan

__all__ = ["check_cache", "check_environment", "check_names", "check_room"]

_ENTRIES = 4  # files that one of the repo makes: its bytes, its pointer, its lock, a note beside that
_SPARE_ENTRIES = 20  # folders, listings, records
_PROBE = ".probe-"
_UNCHANGED = "Nothing was changed."
_MARGIN = 64 << 20  # for small files, trees and what else is written meanwhile
_OLDEST = {"huggingface_hub": (2, 4)}


def check_environment(endpoint: str) -> Iterator[str]:
    """What the environment says that has no effect, or another one than its owner may think.

    Args:
        endpoint: The Hub's address.

    Raises:
        Problem: (offline-switch) the network is switched off for every Hub client; (usage) what is named as a proxy
            cannot be one; (certificate-file) what is named for certificates is not there.
    """
    proxy_for(urlsplit(endpoint))
    environment().check()
    if variable := offline_switch():
        raise Problem(catalogue.OFFLINE, variable=variable, unset=unset_variable(variable))
    if os.environ.get("HF_HUB_ENABLE_HF_TRANSFER"):
        yield "HF_HUB_ENABLE_HF_TRANSFER has had no effect since huggingface_hub 1.0"
    for name, oldest in _OLDEST.items():
        with suppress(PackageNotFoundError, ValueError):
            if tuple(int(part) for part in version(name).split(".")[:2]) < oldest:
                wanted = ".".join(map(str, oldest))
                yield f"{name} {version(name)} is older than {wanted}, the oldest tried: pip install -U {name}"


def check_cache(settings: Settings, store: Store) -> Iterator[str]:
    """Whether the cache can be written, and what its file system does not do.

    Raises:
        Problem: Nothing can be stored there.
    """
    try:
        disk.make_folder(store.blobs, store.cache_dir)
        with tempfile.TemporaryDirectory(dir=store.repo, prefix=_PROBE) as folder:
            probe = Path(folder, "file")
            probe.write_bytes(b"probe")
            disk.give_name(probe, probe.with_name("renamed"))
    except OSError as error:
        if Path(str(error.filename)).name.startswith(_PROBE):
            error.filename = str(store.repo)  # the folder refuses, not what was to be tried in it
        raise local_problem(error, settings, str(store.repo), kept=_UNCHANGED) from error
    if not store.symlinks_work:
        yield "symlinks do not work here, so files are stored in the snapshot folder itself"
    if not locks_hold(store):
        store.share_partials = False
        yield "locks do not hold on this file system: partial files are kept apart for each machine"


def check_names(settings: Settings, store: Store, commit: str, files: Sequence[RepoFile]) -> None:
    """Whether this system takes the names and paths that are to come.

    Raises:
        Problem: (unfit-name, path-too-long) It does not.
    """
    found = disk.unfit(
        [file.path for file in files],
        windows=disk.takes_windows_names_only(store.repo),
        case=disk.case_matters(store.repo),
        name=disk.longest_name(store.repo),
    )
    if found:
        raise Problem(
            catalogue.UNFIT_NAME,
            kept=_UNCHANGED,
            path=found[0],
            detail=found[1].capitalize(),
            command=settings.command(),
            pattern=quoted(found[0]),
            set_home=_another_disk(),
        )
    most = disk.longest_path()
    places = (place for file in files for place in (store.pointer(commit, file), store.spare_name(file)))
    longest = max(places, key=lambda place: len(str(place)), default=store.repo)
    if most is not None and len(str(longest)) > most:
        raise Problem(catalogue.PATH_TOO_LONG, kept=_UNCHANGED, path=longest, length=len(str(longest)))


def check_room(settings: Settings, store: Store, plan: Plan) -> Iterator[str]:
    """Whether everything that is still to come fits: what is fetched, and what has to be copied.

    Yields:
        What is copied, and why.

    Raises:
        Problem: (no-room, no-inodes) it does not; (file-too-large) the file system has a limit below a file's size.
    """
    coming = [step for step in plan.steps if not step.complete]
    if not coming:
        return
    set_home = _another_disk()
    largest = max(step.file.size for step in coming)
    if why := disk.file_size_limit(store.repo, largest):
        raise Problem(
            catalogue.FILE_TOO_LARGE, path=store.cache_dir, size=size_text(largest), detail=why, set_home=set_home
        )
    entries = disk.free_entries(store.repo)
    if entries is not None and entries < len(coming) * _ENTRIES + _SPARE_ENTRIES:
        raise Problem(catalogue.NO_ENTRIES, kept=_UNCHANGED, path=store.cache_dir, set_home=set_home)
    copied = _bytes_to_copy(store, plan)
    if copied:
        yield f"{size_text(copied)} will be copied: they lie on another disk, or this one has no links"
    free, needed = store.free_bytes, plan.bytes_to_fetch + copied
    if free >= needed + _MARGIN:
        return
    raise Problem(
        catalogue.NO_ROOM,
        kept=_UNCHANGED,
        needed=size_text(needed) + (f", {size_text(copied)} of it copied," if copied else ""),
        path=store.cache_dir,
        free=size_text(free),
        short=size_text(needed + _MARGIN - free),
        largest=_largest(store),
        cleanup=settings.command("--cleanup"),
        set_home=set_home,
    )


def _another_disk() -> str:
    """The command that puts the cache elsewhere."""
    return set_variable("HF_HOME", "D:\\huggingface" if os.name == "nt" else "/path/on/a/larger/disk")


def _bytes_to_copy(store: Store, plan: Plan) -> int:
    """Bytes that are on this machine, and that this disk cannot give a second name to."""
    copied = 0
    placed = {step.file.digest.hex for step in plan.steps if step.action is not Action.LINK}
    for step in plan.steps:
        if step.action is Action.ADOPT and not _takes_over(store, step.sources[0]):
            copied += step.have
        elif step.action is Action.LINK:
            # One path gets the bytes themselves, each other one a copy of them.
            if step.file.digest.hex in placed and not (store.symlinks_work or store.hard_links_work):
                copied += step.file.size
            placed.add(step.file.digest.hex)
    return copied


def _takes_over(store: Store, source: Material) -> bool:
    """Whether its bytes can be had without a copy, if they prove right."""
    if store.repo in source.path.parents:
        return True  # moved at the worst
    try:
        near = disk.is_one_volume(source.path.resolve(), store.repo)
    except OSError:
        return False
    return near and (store.hard_links_work if source.whole else store.clones_work)


def _largest(store: Store) -> str:
    """The largest things in the cache, that could be freed."""
    sizes = []
    for repo in store.cache_dir.glob("models--*"):
        blobs = [path for path in (repo / "blobs").glob("*") if path.is_file() and not path.is_symlink()]
        sizes.append(
            (sum(path.stat().st_size for path in blobs), repo.name.removeprefix("models--").replace("--", "/"))
        )
    shown = [f"{name} {size_text(size)}" for size, name in sorted(sizes, reverse=True)[:3] if size]
    return (
        f"The largest in this cache: {', '.join(shown)}." if shown else "The cache holds nothing that could be freed."
    )
