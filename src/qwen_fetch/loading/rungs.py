"""The arithmetic of each rung of the ladder: what it takes on this machine, or why it is not possible."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qwen_fetch.loading.case import BLOCKS_IN_FLIGHT, CPU_WORK, LEAVES_IN_FLIGHT, PROCESS, Case, parts
from qwen_fetch.loading.estimate import estimate
from qwen_fetch.loading.placement import Part, Placement, RuledOut, Strategy, gib
from qwen_fetch.loading.spread import several_gpus

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_fetch.loading.hardware import Hardware
    from qwen_fetch.loading.placement import Wishes
    from qwen_fetch.loading.weights import Weights
    from qwen_fetch.loading.work import Work

__all__ = ["judge"]


def judge(strategy: Strategy, hardware: Hardware, weights: Weights, wishes: Wishes, work: Work) -> Placement | RuledOut:
    """One rung on one machine: what it takes, or why it is not possible.

    Args:
        strategy: The rung.
        hardware: What there is.
        weights: As they lie in memory.
        wishes: What was asked for.
        work: What for.
    """
    case = Case(hardware, weights, wishes, work)
    rung = case.contradiction(strategy) or _ARITHMETIC[strategy](case)
    if isinstance(rung, Placement):
        rung = case.shortage(rung) or rung
    if not isinstance(rung, Placement):
        return RuledOut(strategy, rung)
    return replace(rung, seconds=estimate(rung, hardware, weights, work))


def _resident(case: Case) -> Placement:
    weights, gpu = case.weights, case.gpu
    peak, tiled = case.peak(always=weights.bytes)
    # In shared memory the copy in RAM would be a second one.
    copied = 0 if gpu.shares_ram else case.copies(weights.bytes)
    return case.placement(
        Strategy.RESIDENT,
        f"all of it fits on {gpu.name}",
        parts(gpu),
        vram={gpu.name: peak},
        tiled=tiled,
        copied=bool(copied),
        held=copied or case.converted,
    )


def _model_offload(case: Case) -> Placement:
    weights, gpu = case.weights, case.gpu
    peak, tiled = case.peak(
        always=0, text=weights.text_encoder.bytes, denoise=weights.transformer.bytes, decode=weights.vae.bytes
    )
    return case.placement(
        Strategy.MODEL_OFFLOAD,
        f"each model fits on {gpu.name} alone, and RAM holds the others",
        parts(gpu, transformer="model-offload", text_encoder="model-offload", vae="model-offload"),
        vram={gpu.name: peak},
        tiled=tiled,
        copied=True,
        held=weights.bytes,
    )


def _block_stream(case: Case) -> Placement | str:
    text = case.weights.text_encoder
    pinned = text.pinned(exact=case.hardware.exact_pinning, blocks_only=False)
    reason = "the transformer streams block by block and the text encoder leaf by leaf from pinned RAM"
    return _blocks(case, Strategy.BLOCK_STREAM, reason, text_pinned=pinned)


def _block_stream_low_ram(case: Case) -> Placement | str:
    reason = "RAM can pin the transformer, which streams block by block; the text encoder comes from its files"
    return _blocks(case, Strategy.BLOCK_STREAM_LOW_RAM, reason, text_pinned=0)


def _blocks(case: Case, strategy: Strategy, reason: str, *, text_pinned: int) -> Placement | str:
    weights, gpu = case.weights, case.gpu
    transformer, text = weights.transformer, weights.text_encoder
    if not transformer.blocks:
        return "the transformer has no blocks"
    peak, tiled = case.peak(
        always=weights.vae.bytes,
        text=LEAVES_IN_FLIGHT * text.largest_leaf,
        denoise=transformer.rest + BLOCKS_IN_FLIGHT * max(transformer.blocks.values()),
    )
    return case.placement(
        strategy,
        reason,
        (
            Part("transformer", gpu.name, "block-stream", pinned=True),
            Part("text_encoder", gpu.name, "leaf-stream", pinned=bool(text_pinned)),
            Part("vae", gpu.name),
        ),
        vram={gpu.name: peak},
        tiled=tiled,
        # Mapped, never copied first: diffusers 0.42.1 pins every block before it lets go of the first, so that a copy
        # is held beside the pinned one. Weights that are converted are such a copy.
        held=transformer.rest + case.converted + (0 if text_pinned else case.staging(text)),
        pinned=transformer.pinned(exact=case.hardware.exact_pinning, blocks_only=True) + text_pinned,
    )


def _text_encoder_stream(case: Case) -> Placement:
    weights, gpu = case.weights, case.gpu
    text = weights.text_encoder
    peak, tiled = case.peak(
        always=weights.transformer.bytes + weights.vae.bytes, text=LEAVES_IN_FLIGHT * text.largest_leaf
    )
    return case.placement(
        Strategy.TEXT_ENCODER_STREAM,
        f"the transformer fits on {gpu.name}; the text encoder passes through, from its files",
        parts(gpu, text_encoder="leaf-stream"),
        vram={gpu.name: peak},
        tiled=tiled,
        held=case.converted + case.staging(text),
    )


def _leaf_stream(case: Case) -> Placement:
    weights, gpu = case.weights, case.gpu
    text, transformer = weights.text_encoder, weights.transformer
    peak, tiled = case.peak(
        always=weights.vae.bytes,
        text=LEAVES_IN_FLIGHT * text.largest_leaf,
        denoise=BLOCKS_IN_FLIGHT * transformer.largest_leaf + transformer.rest,
    )
    held = case.staging(text)
    reason = "everything streams leaf by leaf from the mapped files"
    if case.hardware.ram - PROCESS - held < transformer.bytes:
        reason += f"; RAM cannot keep them all, so each pass reads {gib(transformer.bytes)} from the disk"
    else:
        reason += ", which RAM keeps: no time goes into page-locking"
    return case.placement(
        Strategy.LEAF_STREAM,
        reason,
        parts(gpu, transformer="leaf-stream", text_encoder="leaf-stream"),
        vram={gpu.name: peak},
        tiled=tiled,
        held=held,
    )


def _cpu(case: Case) -> Placement:
    weights = case.weights
    copied = case.copies(weights.bytes + CPU_WORK)
    # Mapped weights can be dropped from RAM, but what one phase works with must stay, or every step reads it anew.
    working = max(weights.transformer.bytes, weights.text_encoder.bytes, case.converted) + CPU_WORK
    return case.placement(
        Strategy.CPU,
        "no GPU: this takes hours for a picture" if not case.hardware.devices else "on the CPU, as asked: takes hours",
        tuple(Part(name, "cpu") for name in ("transformer", "text_encoder", "vae")),
        vram={},
        copied=bool(copied),
        held=copied or working,
    )


_ARITHMETIC: dict[Strategy, Callable[[Case], Placement | str]] = {
    Strategy.RESIDENT: _resident,
    Strategy.SEVERAL_GPUS: several_gpus,
    Strategy.MODEL_OFFLOAD: _model_offload,
    Strategy.BLOCK_STREAM: _block_stream,
    Strategy.BLOCK_STREAM_LOW_RAM: _block_stream_low_ram,
    Strategy.TEXT_ENCODER_STREAM: _text_encoder_stream,
    Strategy.LEAF_STREAM: _leaf_stream,
    Strategy.CPU: _cpu,
}
