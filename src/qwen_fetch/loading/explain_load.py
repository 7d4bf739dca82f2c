"""What this machine can do with the model, in words: before the download or after it, and without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_fetch.base.problem import Problem
from qwen_fetch.base.units import size_text
from qwen_fetch.loading.architecture import qwen_image_edit
from qwen_fetch.loading.checkpoint import open_checkpoint
from qwen_fetch.loading.hardware import look
from qwen_fetch.loading.ladder import choose, faster_with
from qwen_fetch.loading.loader import wishes_for
from qwen_fetch.loading.lora import find_lora, with_loras

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_fetch.loading.loader import Request
    from qwen_fetch.loading.placement import Wishes
    from qwen_fetch.loading.weights import Weights

__all__ = ["explain_load"]


def explain_load(request: Request) -> Iterator[str]:
    """Line by line: the model, the machine, the placement and the rungs that were ruled out.

    Raises:
        Problem: It does not fit on this machine; or its sizes are not known before it is downloaded.
    """
    weights, wishes, where = _weights(request)
    yield f"model      {request.folder or request.settings.repo_id}, {size_text(weights.bytes)} of weights, {where}"
    machine = look()
    yield f"machine    {machine}"
    placement = choose(machine, weights, wishes, request.work)
    yield from placement.lines()
    yield from faster_with(machine, weights, wishes, placement, request.work)
    if wishes.device_map == "auto":
        kept = "read into RAM" if placement.load == "copied" else "page-locked" if placement.pinned else "mapped"
        yield f"{'asked':<10} device_map='auto': placed as above; low_cpu_mem_usage={wishes.low_cpu_mem_usage}: {kept}"


def _weights(request: Request) -> tuple[Weights, Wishes, str]:
    try:
        checkpoint = open_checkpoint(request.settings, request.folder)
    except Problem as problem:
        if problem.id != "not-downloaded" or not request.settings.repo_id.startswith("Qwen/Qwen-Image-Edit"):
            raise
        return qwen_image_edit(), request.wishes, "not whole on this disk yet (sizes as published)"
    loras = tuple(find_lora(text, request.settings, checkpoint) for text in request.loras)
    wishes = wishes_for(checkpoint, request.wishes)
    return with_loras(checkpoint.weights, loras), wishes, f"in {checkpoint.folder}"
