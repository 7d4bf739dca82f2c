"""Whether each component of a checkpoint can be built, without its weights.

The models are built on torch's meta device, where tensors have shapes and no memory: what the configuration asks for
can then be compared with what the headers of the files say.
"""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from typing import TYPE_CHECKING, Any

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.loading.weights import COMPONENTS

if TYPE_CHECKING:
    from pathlib import Path

    from qwen_fetch.loading.checkpoint import Checkpoint

__all__ = ["check_component"]


def check_component(checkpoint: Checkpoint, name: str, *, verify_command: str) -> None:
    """Build one component: a small one for good, one with weights by its shapes alone.

    Imports the component's library, such as diffusers.

    Args:
        checkpoint: The files.
        name: Of the component.
        verify_command: What the user is told to run when the files are to blame.

    Raises:
        Problem: (load-failed) it cannot be built; (shapes-differ) its weights are those of another model.
    """
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
        raise Problem(catalogue.LOAD_FAILED, class_name=class_name, detail=detail, command=verify_command) from error
    if checkpoint.packed:  # in shapes of its own
        return
    stored = {tensor.name: tensor.shape for tensor in checkpoint.tensors[name]}
    if detail := _difference(shapes, stored, by_name=library == "diffusers"):
        raise Problem(catalogue.SHAPES_DIFFER, component=name, detail=detail, command=verify_command)


def _shapes(component: Any, folder: Path, library: str) -> dict[str, tuple[int, ...]]:
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
