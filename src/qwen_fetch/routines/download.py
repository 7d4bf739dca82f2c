"""The main job: from what the Hub lists to a whole, verified snapshot in the standard cache."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from qwen_fetch.base import catalogue
from qwen_fetch.base.awake import kept_awake
from qwen_fetch.base.events import FileDone, Note, Phase, Progress, Started, Waiting
from qwen_fetch.base.problem import ExitCode, Problem
from qwen_fetch.base.units import size_text
from qwen_fetch.cache.disk import file_size
from qwen_fetch.cache.linking import link
from qwen_fetch.cache.material import search
from qwen_fetch.cache.memory import Memory, survey
from qwen_fetch.cache.store import Store
from qwen_fetch.diagnosis.explain import explain
from qwen_fetch.listing import snapshot
from qwen_fetch.listing.hub import Hub
from qwen_fetch.routines.patience import Patience
from qwen_fetch.routines.preflight import check_cache, check_environment, check_names, check_room
from qwen_fetch.routines.report import make_report
from qwen_fetch.routines.verify import compare_digests
from qwen_fetch.transfer.adopt import adopt
from qwen_fetch.transfer.plan import make_plan
from qwen_fetch.transfer.transfer import Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from qwen_fetch.base.events import Event, Listener
    from qwen_fetch.base.files import RepoFile, Snapshot
    from qwen_fetch.base.settings import Settings
    from qwen_fetch.routines.report import Report
    from qwen_fetch.transfer.plan import Plan, Step

__all__ = ["Download", "Result"]

_SAVE_PERIOD = 1.0  # seconds between two writings of what was verified


@dataclass(frozen=True, slots=True)
class Result:
    """What a download did; sizes in bytes."""

    report: Report
    bytes_fetched: int
    bytes_resumed: int
    bytes_adopted: int
    seconds: float
    snapshot_path: str

    def as_json(self) -> dict[str, Any]:
        """The contract of `--json`."""
        return self.report.as_json() | {
            "bytes_fetched": self.bytes_fetched,
            "bytes_resumed": self.bytes_resumed,
            "bytes_adopted": self.bytes_adopted,
            "seconds": round(self.seconds, 3),
            "snapshot_path": self.snapshot_path,
        }


class Download:
    """One run of the main job.

    Args:
        settings: What, where to, how.
        emit: Told what happens.
        tick: Called several times a second; what it raises (a signal) ends the run, and everything is kept.
        resume: Continue partials; False throws those of the wanted files away.
        force: Fetch again even what is complete.
    """

    def __init__(
        self,
        settings: Settings,
        emit: Listener,
        tick: Callable[[], None] = lambda: None,
        *,
        resume: bool = True,
        force: bool = False,
    ) -> None:
        self.settings = settings
        self.store = Store.open(settings.hub_cache, settings.repo_id)
        self.store.on_wait = lambda what: emit(Waiting(what))
        self._tell = emit
        self._memory = Memory(self.store)
        self._tick = tick
        self._hub = Hub(settings, self._alive, lambda text: emit(Note(text)))
        self._patience = Patience(settings, self._hub, self._emit, self._alive)
        self._resume = resume
        self._force = force
        self._afresh = False  # whether the listing is asked for though it is known
        self._commit = ""
        self._files: dict[str, RepoFile] = {}
        self._phase = ""
        self._total = 0
        self._large_path = ""  # a file that is fetched, for a look at the host that has its bytes
        self._save_at = 0.0
        self._began = time.monotonic()

    def plan(self, *, keep: bool = False) -> tuple[Snapshot, Plan]:
        """Ask the Hub, look at the disk, and decide; changes nothing unless `keep` (see `snapshot.fetch`).

        Raises:
            Problem: The Hub cannot be asked, or no file matches.
        """
        self._enter("listing")
        listed = self._patience.call(lambda: snapshot.fetch(self._hub, self.store, keep=keep, afresh=self._afresh))
        wanted = snapshot.select(listed, self.settings.include, self.settings.exclude)
        disk = survey(self.store, self._memory, listed.commit, wanted)
        material = search(self.store, listed.commit, wanted, disk, self.settings.adopt, self._memory)
        plan = make_plan(wanted, disk, material, restart=not self._resume, force=self._force)
        self._emit(
            Started(
                self.settings.repo_id,
                self.settings.revision,
                listed.commit,
                len(wanted),
                plan.bytes_total,
                plan.bytes_have,
                str(self.store.snapshot(listed.commit)),
                plan.bytes_to_adopt,
            )
        )
        return listed, plan

    def run(self) -> Result:
        """Fetch what is missing, check it, link it.

        Raises:
            Problem: It could not be finished. Everything received is kept.
        """
        elsewhere = self.settings.elsewhere
        try:
            return self._run_here()
        except Problem as problem:
            if elsewhere is None or problem.exit_code is not ExitCode.NETWORK:
                self._enter("diagnosis")
                token = self._hub.token
                raise explain(problem, self.settings, self._large_path, self._tick, token) from problem
            self._emit(Note(f"{problem.what} Going on with {elsewhere.host}."))
        return Download(elsewhere, self._tell, self._tick, resume=self._resume, force=self._force).run()

    def _run_here(self) -> Result:
        """The same, as far as this endpoint is concerned."""
        try:
            return self._run()
        except Problem as problem:
            if problem.kind is catalogue.NOT_COMPLETE:
                # Somebody else has changed a file after it was checked: look once more at what is there.
                self._emit(Note(f"{problem.what} Looking again."))
            elif problem.kind is catalogue.STALE_LISTING:
                self._emit(Note(f"{problem.facts['path']}: another digest is served than was listed; asking again"))
                self._afresh = True
            else:
                raise
        self._resume, self._force = True, False
        return self._run()

    def _prepare(self) -> tuple[Snapshot, Plan, dict[str, int]]:
        """Look before the first byte, plan, and take over what is on this machine.

        Returns:
            What the Hub lists, the plan for what is left, and the bytes taken over, by path.
        """
        for note in check_environment(self.settings.hub_endpoint):
            self._emit(Note(note))
        before = self.store.commit_of(self.settings.revision)
        listed, plan = self.plan(keep=True)
        if before not in {None, listed.commit}:
            self._emit(Note(f"{self.settings.revision} has moved from {str(before)[:8]} to {listed.commit[:8]}"))
        if not plan.complete:
            for note in check_cache(self.settings, self.store):
                self._emit(Note(note))
            check_names(self.settings, self.store, listed.commit, [step.file for step in plan.steps])
            for note in check_room(self.settings, self.store, plan):
                self._emit(Note(note))
        files = [step.file for step in plan.steps]
        self._commit, self._files = listed.commit, {file.path: file for file in files}
        self._total = plan.bytes_total
        adopted = self._adopt(listed.commit, plan)
        if self._read_once(plan) or adopted:
            disk = survey(self.store, self._memory, listed.commit, files)
            plan = make_plan(files, disk, restart=not self._resume, force=self._force)
        return listed, plan, adopted

    def _read_once(self, plan: Plan) -> bool:
        """Compare what is here whole, and was not read since it was touched; returns whether there was something."""
        commit = self._commit
        whole = [step.file for step in plan.steps if step.complete]
        places = {file.path: self.store.place(commit, file) for file in whole}
        unread = [
            file
            for file in whole
            if file_size(places[file.path]) == file.size and self._memory.recall(places[file.path]) is None
        ]
        if unread:
            size = size_text(sum(file.size for file in unread))
            self._emit(Note(f"{size} are here that this program has not read before: comparing their digests, once"))
            compare_digests(self.store, self._memory, commit, unread, self._emit, self._tick)
        return bool(unread)

    def _run(self) -> Result:
        listed, plan, adopted = self._prepare()
        missing = [step for step in plan.steps if not step.complete]
        self._large_path = next((step.file.path for step in missing if step.file.is_large), "")
        for step in missing:
            if step.reason:
                self._emit(Note(f"{step.file.path}: {step.reason}"))
        received = self._fetch(listed.commit, missing)
        folder, report = self._link_all(listed, [step.file for step in plan.steps])
        return Result(
            report=report,
            bytes_fetched=received,
            bytes_resumed=sum(step.have - adopted.get(step.file.path, 0) for step in missing),
            bytes_adopted=sum(adopted.values()),
            seconds=time.monotonic() - self._began,
            snapshot_path=str(folder),
        )

    def _fetch(self, commit: str, missing: Sequence[Step]) -> int:
        """Move the bytes; returns how many came over the line."""
        self._enter("download")
        if not missing:
            return 0
        from qwen_fetch.transport.choice import make_sources  # noqa: PLC0415 - not for `--status-only`

        sources = make_sources(self.settings, self._hub.token, commit, [step.file for step in missing])
        transfer = Transfer(self.settings, self.store, commit, missing, sources, self._emit)
        try:
            with kept_awake(wanted=self.settings.keep_awake):
                transfer.run(self._tick)
        finally:
            self._memory.save()
        return transfer.bytes_received

    def _link_all(self, listed: Snapshot, files: Sequence[RepoFile]) -> tuple[Path, Report]:
        """Lead every path to its bytes, look at every file, and have `snapshot_download` find them.

        Raises:
            Problem: (not-complete) A file is not there.
        """
        self._enter("link")
        try:
            notes = link(self.store, listed.commit, files, self._memory, self._alive)
        finally:
            self._memory.save()
        for note in notes:
            self._emit(Note(note))
        report = make_report(self.settings, self.store, listed, files)
        if not report.complete:
            missing = [file for file in report.files if file.state != "complete"]
            raise Problem(
                catalogue.NOT_COMPLETE,
                kept="Everything received so far.",
                missing=len(missing),
                total=len(report.files),
                command=self.settings.command(),
            )
        return self._hub.last_word(listed.commit), report

    def _adopt(self, commit: str, plan: Plan) -> dict[str, int]:
        """Take over what is on this machine already; the bytes gained, by path."""
        try:
            return adopt(self.store, commit, plan.steps, self._memory, self._emit, self._tick)
        finally:
            self._memory.save()

    def _emit(self, event: Event) -> None:
        """Tell the listener; and a file that was just verified need not be read again to know that.

        The transfer counts what it was given to fetch; the user, everything that was asked for.
        """
        if isinstance(event, Progress) and event.total and self._phase == "download":
            event = replace(event, done=event.done + self._total - event.total, total=self._total)
        if isinstance(event, FileDone) and (file := self._files.get(event.path)):
            self._memory.add(self.store.place(self._commit, file), file.digest.hex)
            if time.monotonic() >= self._save_at:  # not for each of thousands of small files: it is written as a whole
                self._memory.save()
                self._save_at = time.monotonic() + _SAVE_PERIOD
        self._tell(event)

    def _enter(self, phase: str) -> None:
        self._phase = phase
        self._emit(Phase(phase))

    def _alive(self, waiting: str = "", reason: str = "", next_try: float | None = None) -> None:
        listed = self._hub.listed if self._phase == "listing" else 0
        self._emit(Progress(self._phase, listed, 0, (), waiting, reason, next_try))
        self._tick()
