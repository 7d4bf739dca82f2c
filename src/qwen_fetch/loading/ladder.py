"""Where the parts of the pipeline run best: pure, from (hardware, weights, wishes) to a placement.

The ladder of `Strategy` is judged rung by rung (`rungs`); of those that fit the one that is estimated to be fastest for
the work is taken, and every other one is kept with the reason why not. `python -m qwen_fetch.loading.table` prints what
that gives for common machines.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.units import time_text
from qwen_fetch.loading.placement import Placement, RuledOut, Strategy, Wishes, reasons
from qwen_fetch.loading.rungs import judge
from qwen_fetch.loading.work import ONE_EDIT, Work

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_fetch.loading.hardware import Hardware
    from qwen_fetch.loading.weights import Quantization, Weights

__all__ = ["choose", "faster_with", "ladder"]

_SAME = 1.15
_WORTH = 0.5  # of the time, at most, before other pictures are offered
_PRICE = {"fp8": "slightly other pictures", "nf4": "somewhat other pictures; needs bitsandbytes"}


def ladder(hardware: Hardware, weights: Weights, wishes: Wishes, work: Work = ONE_EDIT) -> list[Placement | RuledOut]:
    """Every rung: what it takes, or why it is not possible."""
    loaded = weights.as_loaded(wishes.dtype, wishes.quantization)
    return [judge(strategy, hardware, loaded, wishes, work) for strategy in Strategy]


def choose(
    hardware: Hardware,
    weights: Weights,
    wishes: Wishes,
    work: Work = ONE_EDIT,
    *,
    after: Strategy | None = None,
) -> Placement:
    """The rung that fits and is estimated to be fastest.

    Args:
        hardware: What there is.
        weights: Of the pipeline, as stored.
        wishes: What was asked for.
        work: What for.
        after: Only what takes less than this rung: it was tried, and the memory did not suffice.

    Raises:
        Problem: (does-not-fit) None does; it says what would.
    """
    rungs = ladder(hardware, weights, wishes, work)
    ruled_out = [rung for rung in rungs if isinstance(rung, RuledOut)]
    fitting = [rung for rung in rungs if isinstance(rung, Placement)]
    if after is not None:
        tried = next((rung for rung in fitting if rung.strategy is after), None)
        fitting = [rung for rung in fitting if tried is None or _takes_less(rung, tried)]
    if fitting:
        # An estimate cannot tell what is nearly equal: then the one that moves least.
        least = min(map(_total, fitting))
        best = next(rung for rung in fitting if _total(rung) <= _SAME * least)
        slower = [
            RuledOut(rung.strategy, f"takes about {time_text(_total(rung))}") for rung in fitting if rung is not best
        ]
        return replace(best, ruled_out=(*ruled_out, *slower))
    raise Problem(
        catalogue.DOES_NOT_FIT,
        wishes=wishes,
        machine=hardware,
        reasons="Every rung that fits was tried" if after else "; ".join(reasons(ruled_out)),
        instead=_instead(hardware, weights, wishes, work),
    )


def faster_with(
    hardware: Hardware, weights: Weights, wishes: Wishes, placement: Placement, work: Work = ONE_EDIT
) -> Iterator[str]:
    """What fewer bits would gain, where it is much: a line each."""
    quantizations: tuple[Quantization, ...] = () if wishes.quantization or wishes.strategy else ("fp8", "nf4")
    for quantization in quantizations:
        try:
            other = choose(hardware, weights, replace(wishes, quantization=quantization), work)
        except Problem:
            continue
        if _total(other) <= _WORTH * _total(placement):
            yield (
                f"{'or':<10} --quantization {quantization}: about {time_text(_total(other))} instead of "
                f"{time_text(_total(placement))}, estimated ({_PRICE[quantization]})"
            )


def _total(placement: Placement) -> float:
    """Seconds."""
    return placement.seconds.total if placement.seconds else float("inf")


def _takes_less(rung: Placement, tried: Placement) -> bool:
    """Whether a rung may succeed where the memory did not suffice for another, on the GPU or page-locked."""
    order = [*Strategy]
    one, other = (
        (placement.peak_vram, placement.pinned, -order.index(placement.strategy)) for placement in (rung, tried)
    )
    return one < other


def _instead(hardware: Hardware, weights: Weights, wishes: Wishes, work: Work) -> str:
    """What would fit where the wishes do not."""
    for other in (Wishes(), Wishes(quantization="fp8"), Wishes(quantization="nf4"), Wishes(device_map="cpu")):
        fitting = [rung for rung in ladder(hardware, weights, other, work) if isinstance(rung, Placement)]
        if fitting and other != wishes:
            rung = min(fitting, key=_total)
            return f"This fits: {other} ({rung.strategy}: {rung.reason}; about {time_text(_total(rung))})."
    return (
        "Close other programs, or use another machine. Calculated to suffice: a CUDA GPU with 6 GiB free and 10 GiB "
        "of RAM, 64 GB of RAM without a GPU (hours for a picture), or a Mac with 96 GB."
    )
