"""Prove that what was downloaded can be loaded here, without loading it; and say what this machine can do with it.

Component by component: every weight has the digest that the Hub lists, the shapes in the headers are those that the
configuration asks for, the small parts can be built. 58 GB are read once and never held.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from qwen_fetch.base import catalogue
from qwen_fetch.base.events import Note, Phase
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.units import size_text
from qwen_fetch.cache.store import Store
from qwen_fetch.listing.cached import cached
from qwen_fetch.loading.checkpoint import open_checkpoint
from qwen_fetch.loading.components import check_component
from qwen_fetch.loading.environment import check_cuda, check_packages, import_torch
from qwen_fetch.loading.explain_load import explain_load
from qwen_fetch.loading.hardware import look
from qwen_fetch.loading.ladder import choose
from qwen_fetch.loading.loader import Request, has_cuda, wishes_for
from qwen_fetch.loading.placement import Wishes
from qwen_fetch.routines.report import FileState
from qwen_fetch.routines.verify import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qwen_fetch.base.events import Listener
    from qwen_fetch.base.settings import Settings
    from qwen_fetch.loading.checkpoint import Checkpoint
    from qwen_fetch.loading.hardware import Hardware
    from qwen_fetch.loading.placement import Placement

__all__ = ["Loadable", "check_load"]


@dataclass(frozen=True, slots=True)
class Loadable:
    """What was proved.

    Attributes:
        checkpoint: The files.
        machine: What there is.
        placement: Where the parts will go.
        digests: How many weight files have the digest that the Hub lists; 0 where no listing is known.
    """

    checkpoint: Checkpoint
    machine: Hardware
    placement: Placement
    digests: int

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"model      {self.checkpoint.class_name}, {size_text(self.checkpoint.size)} of weights"
        for name, (_, class_name) in self.checkpoint.components.items():
            tensors = self.checkpoint.tensors.get(name)
            what = f"{len(tensors)} tensors fit " if tensors else "builds "
            yield f"loads      {name}: {what}{class_name}"
        known = f"{self.digests} of {len(self.checkpoint.files)} weight files have the Hub's digest"
        yield f"digests    {known if self.digests else 'not compared: no listing of the Hub is known here'}"
        yield f"machine    {self.machine}"
        yield from self.placement.lines()

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "loads": True,
            "class": self.checkpoint.class_name,
            "folder": str(self.checkpoint.folder),
            "digests_compared": self.digests,
            "placement": asdict(self.placement),
        }


def check_load(settings: Settings, emit: Listener, tick: Callable[[], None] = lambda: None) -> Loadable:
    """Check everything that loading needs; reads every weight once and holds none.

    Raises:
        Problem: What is in the way: files, packages, or memory.
    """
    request = Request(settings, Wishes())
    emit(Phase("files"))
    try:
        checkpoint = open_checkpoint(settings)
    except Problem:
        for line in explain_load(request):  # before a download, this is what is wanted to be known
            emit(Note(line))
        raise
    machine = look()
    emit(Note(f"This machine has {machine}."))
    wishes = wishes_for(checkpoint, request.wishes)
    placement = choose(machine, checkpoint.weights, wishes)
    check_packages(checkpoint.class_name, wishes.quantization)
    if has_cuda(machine):
        check_cuda()
    digests = _compare_digests(settings, checkpoint, emit, tick)
    emit(Phase("components"))
    import_torch()
    for name in checkpoint.components:
        tick()
        check_component(checkpoint, name, verify_command=settings.command("--verify"))
    return Loadable(checkpoint, machine, placement, digests)


def _compare_digests(settings: Settings, checkpoint: Checkpoint, emit: Listener, tick: Callable[[], None]) -> int:
    store = Store.open(settings.hub_cache, settings.repo_id)
    known = cached(settings, store)
    if known is None:
        return 0
    wanted = [file for file in known.files if store.pointer(known.commit, file) in checkpoint.files]
    report = check(settings, store, known, wanted, emit, tick)
    for file in report.in_state(FileState.CORRUPT):
        command = settings.command()
        raise Problem(catalogue.DAMAGED_WEIGHTS, path=file.path, detail="its digest is not the Hub's", command=command)
    return len(report.files)
