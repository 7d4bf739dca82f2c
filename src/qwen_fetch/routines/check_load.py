"""Prove that what was downloaded can be loaded here, without loading it; and say what this machine can do with it.

Component by component: every weight has the digest that the Hub lists, the shapes in the headers are those that the
configuration asks for, the small parts can be built. The models are built on torch's meta device, where tensors have
shapes and no memory, so that 58 GB are read once and never held.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from qwen_fetch.base import catalogue
from qwen_fetch.base.events import Note, Phase
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.units import size_text
from qwen_fetch.cache.store import Store
from qwen_fetch.listing import snapshot
from qwen_fetch.loading.checkpoint import download_command, open_checkpoint
from qwen_fetch.loading.environment import check_cuda, check_packages, import_torch
from qwen_fetch.loading.explain_load import explain_load
from qwen_fetch.loading.hardware import look
from qwen_fetch.loading.loader import Request, has_cuda
from qwen_fetch.loading.placement import Wishes, choose
from qwen_fetch.loading.weights import COMPONENTS
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
    placement = choose(machine, checkpoint.weights, request.wishes)
    check_packages(checkpoint.class_name)
    if has_cuda(machine):
        check_cuda()
    digests = _compare_digests(settings, checkpoint, emit, tick)
    emit(Phase("components"))
    import_torch()
    for name in checkpoint.components:
        tick()
        _check_component(settings, checkpoint, name)
    return Loadable(checkpoint, machine, placement, digests)


def _compare_digests(settings: Settings, checkpoint: Checkpoint, emit: Listener, tick: Callable[[], None]) -> int:
    store = Store(settings.hub_cache, settings.repo_id)
    known = snapshot.cached(settings, store)
    if known is None:
        return 0
    wanted = [file for file in known.files if store.pointer(known.commit, file) in checkpoint.files]
    report = check(settings, store, known, wanted, emit, tick)
    for file in report.in_state(FileState.CORRUPT):
        command = download_command(settings)
        raise Problem(catalogue.DAMAGED_WEIGHTS, path=file.path, detail="its digest is not the Hub's", command=command)
    return len(report.files)


def _check_component(settings: Settings, checkpoint: Checkpoint, name: str) -> None:
    library, class_name = checkpoint.components[name]
    folder = checkpoint.folder / name
    try:
        component = getattr(import_module(library), class_name)
        if name not in COMPONENTS:
            component.from_pretrained(folder, local_files_only=True)
            return
        shapes = _shapes(component, folder, library)
    except Exception as error:
        detail = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        command = download_command(settings, "--verify")
        raise Problem(catalogue.LOAD_FAILED, class_name=class_name, detail=detail, command=command) from error
    stored = {tensor.name: tensor.shape for tensor in checkpoint.tensors[name]}
    if detail := _difference(shapes, stored, by_name=library == "diffusers"):
        raise Problem(
            catalogue.SHAPES_DIFFER, component=name, detail=detail, command=download_command(settings, "--verify")
        )


def _shapes(component: Any, folder: Any, library: str) -> dict[str, tuple[int, ...]]:
    """The weights that the configuration asks for."""
    import torch  # noqa: PLC0415 - heavy

    with torch.device("meta"):
        if library == "diffusers":
            model = component.from_config(component.load_config(folder, local_files_only=True))
        else:
            model = component(component.config_class.from_pretrained(folder, local_files_only=True))
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


def _difference(wanted: dict[str, tuple[int, ...]], stored: dict[str, tuple[int, ...]], *, by_name: bool) -> str:
    """What differs, in words; empty if nothing does.

    transformers renames weights when it loads them (`visual.*` became `model.visual.*`), so there the shapes are
    counted, whatever their names.
    """
    if by_name:
        differing = sorted(name for name in wanted.keys() | stored.keys() if wanted.get(name) != stored.get(name))
        first = differing[0] if differing else ""
        return (
            f"{len(differing)} tensors, such as {first}: {stored.get(first)} for {wanted.get(first)}" if first else ""
        )
    few, many = Counter(wanted.values()), Counter(stored.values())
    if few == many:
        return ""
    return (
        f"{len(stored)} tensors for {len(wanted)}; missing shapes {[*(few - many)][:3]}, unknown {[*(many - few)][:3]}"
    )
