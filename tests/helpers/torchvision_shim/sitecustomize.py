"""Let torchvision be imported beside a torch that it was not compiled for.

torch's CPU build is offered without a torchvision of its own, and the usual torchvision is compiled for CUDA: importing
it then fails with "operator torchvision::nms does not exist". Declaring its operators is enough, for they are never
called here. Python imports a `sitecustomize` on its path at every start, so the commands under test have it too; where
the pair matches, nothing is done.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

OPERATORS = ("nms", "qnms", "roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d")
KEEP: list[Any] = []  # a Library takes its declarations along when it is collected


class DeclareOperators(MetaPathFinder):
    """Acts once, when torchvision is about to be imported."""

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "torchvision" and not KEEP:
            import torch  # noqa: PLC0415 - torchvision imports it anyway

            library = torch.library.Library("torchvision", "DEF")
            for operator in OPERATORS:
                library.define(f"{operator}(Tensor input) -> Tensor")
                library.define(f"_{operator}_backward(Tensor input) -> Tensor")
            KEEP.append(library)
        return None


def needed() -> bool:
    """Whether torch and torchvision come from different indexes."""
    try:
        torch, torchvision = version("torch"), version("torchvision")
    except PackageNotFoundError:
        return False
    return torch.partition("+")[2] == "cpu" and torchvision.partition("+")[2] != "cpu"


if needed():
    sys.meta_path.insert(0, DeclareOperators())
