"""Look at everything that can be wrong, mend what is, fetch what is missing, and verify.

The mending itself is a download: a plan made from what the disk really holds, with every good byte adopted. What this
adds is the look at everything first, a finding for each fault, and the tidying afterwards. It can be interrupted at
any moment and run again, and where nothing is wrong it changes nothing.
"""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_fetch.base.shell import is_switched_on
from qwen_fetch.base.units import size_text
from qwen_fetch.cache.material import search
from qwen_fetch.cache.memory import Memory, survey
from qwen_fetch.cache.store import Store
from qwen_fetch.listing import snapshot
from qwen_fetch.listing.cached import cached
from qwen_fetch.routines.cleanup import WHY, cleanup
from qwen_fetch.routines.download import Download
from qwen_fetch.routines.report import FileState, make_report
from qwen_fetch.routines.verify import check, listing
from qwen_fetch.transfer.plan import Action, make_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qwen_fetch.base.events import Listener
    from qwen_fetch.base.files import Snapshot
    from qwen_fetch.base.settings import Settings
    from qwen_fetch.cache.store import Leftover
    from qwen_fetch.routines.download import Result
    from qwen_fetch.routines.report import FileReport, Report
    from qwen_fetch.transfer.plan import Step

__all__ = ["Finding", "Repair", "repair"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SPARE = {"orphan", "temporary", "pointer", "partial"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or of use.

    Attributes:
        subject: What it is about: a path in the repo, a file of the cache, a variable.
        what: What was seen.
        mend: What is done about it; empty where that is the user's business.
    """

    subject: str
    what: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Repair:
    """What was found and done.

    Attributes:
        findings: In the order they were found.
        report: Where the snapshot stands now.
        result: Of the download that mended it; None where nothing had to be fetched or linked, or nothing was to
            be changed.
    """

    findings: tuple[Finding, ...]
    report: Report
    result: Result | None

    def as_json(self) -> dict[str, Any]:
        """For `--json`: the findings, and the contract of status, or of download."""
        shown = self.result.as_json() | self.report.as_json() if self.result else self.report.as_json()
        return {"findings": [asdict(finding) for finding in self.findings], **shown}


def repair(
    settings: Settings,
    emit: Listener,
    tick: Callable[[], None] = lambda: None,
    *,
    on_finding: Callable[[Finding], None] = lambda _: None,
    mend: bool = True,
) -> Repair:
    """Find what is wrong, and mend it.

    Args:
        settings: Which repo in which cache; `adopt` holds folders to look at besides the usual ones.
        emit: Told what happens.
        tick: Called several times a second; what it raises ends it, and everything is kept.
        on_finding: Told of each finding at once.
        mend: False changes nothing.

    Raises:
        Problem: It could not be mended.
    """
    findings: list[Finding] = []

    def note(finding: Finding) -> None:
        findings.append(finding)
        on_finding(finding)

    store = Store.open(settings.hub_cache, settings.repo_id)
    for finding in _environment(store):
        note(finding)
    known = listing(settings, store, emit, tick)
    for finding in _records(settings, store, known):
        note(finding)
    wanted = snapshot.select(known, settings.include, settings.exclude)
    report = check(settings, store, known, wanted, emit, tick)
    settings = replace(settings, adopt=(*settings.adopt, *_usual_places(settings, store)))
    memory = Memory(store)
    disk = survey(store, memory, known.commit, wanted)
    plan = make_plan(wanted, disk, search(store, known.commit, wanted, disk, settings.adopt, memory))
    for step, file in zip(plan.steps, report.files, strict=True):
        if fault := _of_file(store, known, step, file):
            note(fault)
    used = {step.sources[0].path for step in plan.steps if step.sources}
    for finding in _of_leftovers(report, store, known, used):
        note(finding)
    if not mend:
        return Repair(tuple(findings), report, None)
    result = None
    if not plan.complete or findings:
        result = Download(settings, emit, tick).run()
        cleanup(settings, list(_leftovers(make_report(settings, store, known, wanted), store, known)))
        report = check(settings, store, known, wanted, emit, tick)
    return Repair(tuple(findings), report, result)


def _environment(store: Store) -> Iterator[Finding]:
    """Settings of this machine that stand in the way."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if is_switched_on(name):
            yield Finding(name, "is set, and keeps every Hub client off the network; unset it")
    for name, value in sorted(os.environ.items()):
        if re.fullmatch(r"HF_XET_\w*TIMEOUT", name) and value.isdigit():
            yield Finding(name, f"has no unit and is ignored; write {value}s")
    for folder in (store.blobs, store.repo / "snapshots", store.locks):
        if folder.exists() and not os.access(folder, os.W_OK):
            yield Finding(str(folder), "cannot be written to by this user; change its owner or its mode")


def _records(settings: Settings, store: Store, known: Snapshot) -> Iterator[Finding]:
    """The branch's ref and the listing."""
    ref = store.repo / "refs" / settings.revision
    if ref.is_file() and not _COMMIT.fullmatch(settings.revision):
        commit = ref.read_text(encoding="utf-8", errors="replace")
        if not _COMMIT.fullmatch(commit.strip()):
            yield Finding(f"refs/{settings.revision}", "holds no commit", f"written again: {known.commit[:8]}")
        elif commit.strip() != known.commit:
            what = f"stands for {commit[:8]}, and the Hub says {known.commit[:8]}"
            yield Finding(f"refs/{settings.revision}", what, "moved there")
    tree = store.repo / "trees" / f"{known.commit}.json"
    if store.snapshot(known.commit).is_dir() and cached(replace(settings, revision=known.commit), store) is None:
        what = "is damaged" if tree.exists() else "is missing, so nothing can be said offline"
        yield Finding(f"trees/{known.commit}.json", what, "fetched again")


def _of_file(store: Store, known: Snapshot, step: Step, file: FileReport) -> Finding | None:
    """What is wrong with one file."""
    if step.action is Action.KEEP:
        return None
    what = store.pointer_fault(known.commit, step.file)
    if file.state is FileState.CORRUPT or step.reason:
        what = file.reason or step.reason
    elif not what:
        what = "is not linked" if step.action is Action.LINK else "is missing"
        if file.state is FileState.PARTIAL and file.bytes < file.size:
            what = f"is unfinished, {size_text(file.bytes)} of {size_text(file.size)}"
    return Finding(step.file.path, what, _mend(step))


def _mend(step: Step) -> str:
    size = size_text(step.file.size - step.have)
    match step.action:
        case Action.LINK:
            return "linked"
        case Action.ADOPT if step.sources[0].whole:
            return f"taken over from {step.sources[0].path}"
        case Action.ADOPT:
            return f"goes on at byte {step.have:,} of {step.sources[0].path.name}, {size} to fetch"
        case Action.RESUME:
            return f"goes on at byte {step.have:,}, {size} to fetch"
    return f"fetched, {size}"


def _of_leftovers(report: Report, store: Store, known: Snapshot, used: set[Path]) -> Iterator[Finding]:
    for leftover in _leftovers(report, store, known):
        if leftover.path not in used:
            yield Finding(
                _shown(leftover, store), f"{leftover.kind}, {size_text(leftover.bytes)}, of no use", "removed"
            )
    for leftover in report.leftovers:
        if leftover.kind == "foreign":
            yield Finding(_shown(leftover, store), f"{size_text(leftover.bytes)}; {WHY['foreign']}")


def _leftovers(report: Report, store: Store, known: Snapshot) -> Iterator[Leftover]:
    """What is of no use even to the next download; lock files of a healthy cache are not worth a word.

    Unfinished files that this listing does not name belong to another revision, whose download may go on.
    """
    digests = {file.digest.hex for file in known.files}
    for leftover in report.leftovers:
        unfinished = leftover.kind in {"partial", "orphan"}
        if leftover.kind in _SPARE and not (unfinished and leftover.path.name.split(".")[0] not in digests):
            yield leftover
    for leftover in store.leftovers():
        if leftover.kind == "lock" and leftover.bytes:
            yield leftover  # a flock is an empty file: a note or a soft lock that its process did not take away


def _shown(leftover: Leftover, store: Store) -> str:
    path = leftover.path
    return path.relative_to(store.repo).as_posix() if path.is_relative_to(store.repo) else path.name


def _usual_places(settings: Settings, store: Store) -> Iterator[Path]:
    """Folders where an earlier download of the same model may lie: they are named after it."""
    home, here = Path.home(), Path.cwd()
    variables = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE", "DIFFUSERS_CACHE")
    roots = [here, here / "models", here / "checkpoints", home, home / "models", home / "Downloads"]
    roots += [home / ".cache" / "huggingface" / name for name in (".", "hub", "diffusers")]
    roots += [home / ".cache" / "modelscope" / "hub" / "models" / settings.repo_id.split("/")[0]]
    roots += [Path(os.environ[name]) for name in variables if os.environ.get(name)]
    name = _plain(settings.repo_id.rpartition("/")[2]).removesuffix("edit")  # the editions share files
    seen = {store.repo.resolve()}
    for root in roots:
        if root.resolve() == store.cache_dir or not root.is_dir():
            continue  # the cache's other repos are always looked at
        for folder in sorted(_folders(root)):
            if name in _plain(folder.name) and folder.resolve() not in seen:
                seen.add(folder.resolve())
                yield folder


def _folders(root: Path) -> list[Path]:
    try:
        return [path for path in root.iterdir() if path.is_dir()]
    except OSError:
        return []


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
