"""Where the parts of the pipeline run best: pure, from (hardware, weights, wishes) to a placement.

The ladder of `Strategy` is judged rung by rung (`rungs`); the first that fits is taken, and every better one is
kept with the reason why not. `python -m qwen_fetch.loading.table` prints what that gives for common machines.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.loading.placement import Placement, RuledOut, Strategy, Wishes, reasons
from qwen_fetch.loading.rungs import judge

if TYPE_CHECKING:
    from qwen_fetch.loading.hardware import Hardware
    from qwen_fetch.loading.weights import Weights

__all__ = ["choose", "ladder"]


def ladder(hardware: Hardware, weights: Weights, wishes: Wishes) -> list[Placement | RuledOut]:
    """Every rung, best first: what it takes, or why it is not possible."""
    loaded = weights.as_loaded(wishes.dtype, wishes.quantization)
    return [judge(strategy, hardware, loaded, wishes) for strategy in Strategy]


def choose(hardware: Hardware, weights: Weights, wishes: Wishes, *, after: Strategy | None = None) -> Placement:
    """The best rung that fits.

    Args:
        hardware: What there is.
        weights: Of the pipeline, as stored.
        wishes: What was asked for.
        after: Begin below this rung: it was tried, and the memory did not suffice.

    Raises:
        Problem: (does-not-fit) None does; it says what would.
    """
    rungs = ladder(hardware, weights, wishes)
    if after is not None:
        rungs = rungs[list(Strategy).index(after) + 1 :]
    ruled_out: list[RuledOut] = []
    for rung in rungs:
        if isinstance(rung, Placement):
            return replace(rung, ruled_out=tuple(ruled_out))
        ruled_out.append(rung)
    raise Problem(
        catalogue.DOES_NOT_FIT,
        wishes=wishes,
        machine=hardware,
        reasons="; ".join(reasons(ruled_out)) or "every rung was tried",
        instead=_instead(hardware, weights, wishes),
    )


def _instead(hardware: Hardware, weights: Weights, wishes: Wishes) -> str:
    """What would fit where the wishes do not."""
    for other in (Wishes(), Wishes(quantization="fp8"), Wishes(quantization="nf4"), Wishes(device_map="cpu")):
        for rung in ladder(hardware, weights, other):
            if isinstance(rung, Placement) and other != wishes:
                return f"This fits: {other} ({rung.strategy}: {rung.reason})."
    return (
        "Close other programs, or use another machine. Calculated to suffice: a CUDA GPU with 6 GiB free and 10 GiB "
        "of RAM, 64 GB of RAM without a GPU (hours for a picture), or a Mac with 96 GB."
    )
