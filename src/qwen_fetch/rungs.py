"""The arithmetic of each rung of the ladder: what it takes on this machine, or why it is not possible.

The three phases of an edit need memory one after the other: the text encoder reads prompt and picture, the
transformer denoises, the VAE decodes. A rung's peak is what lies on the GPU all the time, and the largest phase.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwen_fetch.placement import Part, Placement, RuledOut, Strategy, gib

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_fetch.hardware import Device, Hardware
    from qwen_fetch.placement import Method, Wishes
    from qwen_fetch.weights import Component, Weights

__all__ = ["judge"]

_GIB = 2**30
# Activations at 1024x1024 with one reference picture of 1 Mpx, traced on shapes alone; attention counted as fused.
_READ_TEXT = int(0.44 * _GIB)
_DENOISE = int(0.77 * _GIB)  # 9642 tokens
_DECODE = int(3.38 * _GIB)  # the encoder takes 1.89 GiB
_DECODE_TILED = int(0.22 * _GIB)
# Estimates.
_RESERVE = int(1.5 * _GIB)  # on every GPU: the driver's context, workspaces, fragmentation
_PROCESS = 3 * _GIB  # RAM of Python, torch and the CUDA runtime
_CPU_WORK = 4 * _GIB  # RAM for the activations on a CPU
_USABLE = 0.95  # of the available RAM: the rest is for the system
_PLENTIFUL = 0.8  # of the available RAM: up to there the weights are read fully into it where that is no necessity
_BLOCKS_IN_FLIGHT = 3  # one computes, the next one arrives, and `record_stream` lets go of the last one late
_LEAVES_IN_FLIGHT = 2  # the two largest, embedding and head, are never neighbours

_STREAMS = {Strategy.BLOCK_STREAM, Strategy.BLOCK_STREAM_LOW_RAM, Strategy.TEXT_ENCODER_STREAM, Strategy.LEAF_STREAM}
_COPIES = {Strategy.MODEL_OFFLOAD, Strategy.BLOCK_STREAM, Strategy.BLOCK_STREAM_LOW_RAM}
_ON_ONE_GPU = _STREAMS | {Strategy.RESIDENT, Strategy.MODEL_OFFLOAD}
# bitsandbytes places its own weights; fp8 casting makes copies, so nothing can stay mapped.
_POSSIBLE = {
    "nf4": {Strategy.RESIDENT, Strategy.MODEL_OFFLOAD},
    "fp8": set(Strategy) - {Strategy.SEVERAL_GPUS, Strategy.LEAF_STREAM},
}
_CONVERTIBLE = {Strategy.RESIDENT, Strategy.MODEL_OFFLOAD, Strategy.BLOCK_STREAM, Strategy.CPU}


def judge(strategy: Strategy, hardware: Hardware, weights: Weights, wishes: Wishes) -> Placement | RuledOut:
    """One rung on one machine: what it takes, or why it is not possible.

    Args:
        strategy: The rung.
        hardware: What there is.
        weights: As they lie in memory.
        wishes: What was asked for.
    """
    case = _Case(hardware, weights, wishes)
    rung = case.contradiction(strategy) or _ARITHMETIC[strategy](case)
    if isinstance(rung, Placement):
        rung = case.shortage(rung) or rung
    return rung if isinstance(rung, Placement) else RuledOut(strategy, rung)


@dataclass(frozen=True)
class _Case:
    """One machine, one set of weights as they lie in memory, one set of wishes."""

    hardware: Hardware
    weights: Weights
    wishes: Wishes

    @property
    def gpus(self) -> list[Device]:
        """The GPUs that may be used, the one with most memory free first."""
        named = self.wishes.device_map
        devices = self.hardware.devices
        if named == "cuda":
            devices = tuple(device for device in devices if device.name.startswith("cuda"))
        elif named not in {"auto", "balanced"}:
            devices = tuple(device for device in devices if device.name == named)
        return sorted(devices, key=lambda device: -device.free)

    @property
    def gpu(self) -> Device:
        """The GPU that does the work."""
        return self.gpus[0]

    def contradiction(self, strategy: Strategy) -> str:
        """What rules a rung out before any arithmetic; empty if nothing does."""
        wishes = self.wishes
        if wishes.strategy not in {None, strategy}:
            return f"strategy='{wishes.strategy}' was asked for"
        if wishes.quantization and strategy not in _POSSIBLE[wishes.quantization]:
            return f"does not work with {wishes.quantization}"
        if wishes.dtype != "bfloat16" and strategy not in _CONVERTIBLE:
            return f"the weights are stored in bfloat16, and cannot stay in their files as {wishes.dtype}"
        if strategy is Strategy.CPU:
            if wishes.device_map not in {"auto", "cpu"}:
                return f"device_map={wishes.device_map!r} was asked for"
            # With a GPU, hours on the CPU are nobody's wish, unless it was told.
            told = wishes.device_map == "cpu" or wishes.strategy
            return "there is a GPU" if self.hardware.devices and not told else ""
        return self._gpu_contradiction(strategy)

    def _gpu_contradiction(self, strategy: Strategy) -> str:
        wishes = self.wishes
        if not self.gpus:
            return "no GPU" if wishes.device_map == "auto" else f"no GPU that device_map={wishes.device_map!r} names"
        if self.gpu.shares_ram and wishes.quantization:
            return f"{wishes.quantization} needs a CUDA GPU"
        if self.gpu.shares_ram and strategy is not Strategy.RESIDENT:
            return "the GPU's memory is the RAM: nothing is gained by moving parts"
        if strategy is Strategy.SEVERAL_GPUS:
            return "one GPU" if len(self.gpus) < 2 else ""
        if wishes.strategy:
            return ""
        if wishes.device_map == "balanced" or (wishes.device_map != "auto" and strategy is not Strategy.RESIDENT):
            return f"device_map={wishes.device_map!r} was asked for"
        if wishes.low_cpu_mem_usage and strategy in _COPIES:
            return "it keeps a copy of the weights in RAM, and low_cpu_mem_usage=True was asked for"
        return ""

    def shortage(self, placement: Placement) -> str:
        """Which memory does not suffice; empty if all do."""
        for device in self.hardware.devices:
            if (need := placement.vram.get(device.name, 0)) > device.free:
                return f"needs {gib(need)} on {device.name}, {gib(device.free)} are free"
        if placement.ram > self.hardware.ram * _USABLE:
            return f"needs {gib(placement.ram)} of RAM, {gib(self.hardware.ram)} are available"
        if placement.pinned > self.hardware.pinnable:
            return f"needs {gib(placement.pinned)} of pinned RAM, {gib(self.hardware.pinnable)} can be spared"
        return ""

    def copies(self, size: int) -> int:
        """How many bytes of RAM weights of `size` take if there is room to read them fully; 0: they stay mapped."""
        room = self.hardware.ram * _PLENTIFUL - _PROCESS
        return 0 if self.wishes.low_cpu_mem_usage or size > room else size

    def peak(self, *, always: int, text: int = 0, denoise: int = 0, decode: int = 0) -> tuple[int, bool]:
        """The peak on the GPU, and whether the VAE has to work tile by tile for it.

        Args:
            always: Bytes of weights on the GPU all the time.
            text: More, while the text encoder works.
            denoise: More, while the transformer works.
            decode: More, while the VAE works.
        """
        for tiled in (False, True):
            phases = (text + _READ_TEXT, denoise + _DENOISE, decode + (_DECODE_TILED if tiled else _DECODE))
            peak = _RESERVE + always + max(phases)
            if peak <= self.gpu.free:
                break
        return peak, tiled

    def placement(
        self,
        strategy: Strategy,
        reason: str,
        parts: tuple[Part, ...],
        *,
        vram: dict[str, int],
        tiled: bool = False,
        copied: bool = False,
        held: int = 0,
        pinned: int = 0,
    ) -> Placement:
        """A rung's result: `held` are bytes of weights that RAM holds besides the `pinned` ones."""
        return Placement(
            strategy=strategy,
            parts=parts,
            load="copied" if copied else "mapped",
            tiled=tiled,
            vram=vram,
            ram=_PROCESS + held + pinned,
            pinned=pinned,
            reason=reason + (", the VAE in tiles" if tiled else ""),
            quantization=self.wishes.quantization,
        )


def _resident(case: _Case) -> Placement:
    weights, gpu = case.weights, case.gpu
    peak, tiled = case.peak(always=weights.bytes)
    # In shared memory the copy in RAM would be a second one.
    copied = 0 if gpu.shares_ram else case.copies(weights.bytes)
    return case.placement(
        Strategy.RESIDENT,
        f"all of it fits on {gpu.name}",
        _parts(gpu),
        vram={gpu.name: peak},
        tiled=tiled,
        copied=bool(copied),
        held=copied or _casts(case),
    )


def _several_gpus(case: _Case) -> Placement | str:
    """The text encoder whole on one GPU, or streamed; the transformer on another one, or spread over all."""
    weights, main = case.weights, case.gpu
    text = weights.text_encoder
    hosts: list[Device | None] = [*reversed(case.gpus), None]
    found = [
        (host, share, tiled) for tiled in (False, True) for host in hosts if (share := _spread(case, host, tiled=tiled))
    ]
    if not found:
        return "the transformer does not fit on all of them together"
    # A text encoder that stays is better than one that moves, one piece than many, and the VAE whole than in tiles.
    host, share, tiled = min(found, key=lambda one: (one[0] is None, len(one[1]), one[2]))
    begin = next(iter(share))
    whole = len(share) == 1
    vram = {device.name: _taken(case, device, host, tiled=tiled) for device in case.gpus}
    for name, count in share.items():
        vram[name] += weights.transformer.bytes if whole else count * max(weights.transformer.blocks.values())
    vram[begin] += 0 if whole else weights.transformer.rest
    used = {main.name, begin, *share, *([host.name] if host else [])}
    copied = case.copies(weights.bytes)
    where = f"fits on {begin}" if whole else f"is spread over {len(share)} GPUs"
    return case.placement(
        Strategy.SEVERAL_GPUS,
        f"the transformer {where}, the text encoder " + (f"fits on {host.name}" if host else "passes through"),
        (
            Part("transformer", begin) if whole else Part("transformer", begin, "split", split=tuple(share.items())),
            Part("text_encoder", host.name) if host else Part("text_encoder", main.name, "leaf-stream"),
            Part("vae", main.name),
        ),
        vram={name: need for name, need in vram.items() if name in used},
        tiled=tiled,
        copied=bool(copied),
        held=copied or (0 if host else _staging(text)),
    )


def _model_offload(case: _Case) -> Placement:
    weights, gpu = case.weights, case.gpu
    peak, tiled = case.peak(
        always=0, text=weights.text_encoder.bytes, denoise=weights.transformer.bytes, decode=weights.vae.bytes
    )
    return case.placement(
        Strategy.MODEL_OFFLOAD,
        f"each model fits on {gpu.name} alone, and RAM holds the others",
        _parts(gpu, transformer="model-offload", text_encoder="model-offload", vae="model-offload"),
        vram={gpu.name: peak},
        tiled=tiled,
        copied=True,
        held=weights.bytes,
    )


def _block_stream(case: _Case) -> Placement | str:
    text = case.weights.text_encoder
    pinned = text.pinned(exact=case.hardware.exact_pinning, blocks_only=False)
    reason = "the transformer streams block by block and the text encoder leaf by leaf from pinned RAM"
    return _blocks(case, Strategy.BLOCK_STREAM, reason, text_pinned=pinned)


def _block_stream_low_ram(case: _Case) -> Placement | str:
    reason = "RAM can pin the transformer, which streams block by block; the text encoder comes from its files"
    return _blocks(case, Strategy.BLOCK_STREAM_LOW_RAM, reason, text_pinned=0)


def _blocks(case: _Case, strategy: Strategy, reason: str, *, text_pinned: int) -> Placement | str:
    weights, gpu = case.weights, case.gpu
    transformer, text = weights.transformer, weights.text_encoder
    if not transformer.blocks:
        return "the transformer has no blocks"
    peak, tiled = case.peak(
        always=weights.vae.bytes,
        text=_LEAVES_IN_FLIGHT * text.largest_leaf,
        denoise=transformer.rest + _BLOCKS_IN_FLIGHT * max(transformer.blocks.values()),
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
        # Never copied first: diffusers pins every block before it lets go of the first, so that both would be held.
        held=transformer.rest + (0 if text_pinned else _staging(text)),
        pinned=transformer.pinned(exact=case.hardware.exact_pinning, blocks_only=True) + text_pinned,
    )


def _text_encoder_stream(case: _Case) -> Placement:
    weights, gpu = case.weights, case.gpu
    text = weights.text_encoder
    peak, tiled = case.peak(
        always=weights.transformer.bytes + weights.vae.bytes, text=_LEAVES_IN_FLIGHT * text.largest_leaf
    )
    return case.placement(
        Strategy.TEXT_ENCODER_STREAM,
        f"the transformer fits on {gpu.name}; the text encoder passes through, from its files",
        _parts(gpu, text_encoder="leaf-stream"),
        vram={gpu.name: peak},
        tiled=tiled,
        held=_casts(case) + _staging(text),
    )


def _leaf_stream(case: _Case) -> Placement:
    weights, gpu = case.weights, case.gpu
    text, transformer = weights.text_encoder, weights.transformer
    peak, tiled = case.peak(
        always=weights.vae.bytes,
        text=_LEAVES_IN_FLIGHT * text.largest_leaf,
        denoise=_BLOCKS_IN_FLIGHT * transformer.largest_leaf + transformer.rest,
    )
    held = _staging(text)
    reason = "little RAM: everything streams leaf by leaf from the mapped files"
    if case.hardware.ram - _PROCESS - held < transformer.bytes:
        reason += f"; RAM cannot keep them all, so each step reads {gib(transformer.bytes)} from the disk"
    return case.placement(
        Strategy.LEAF_STREAM,
        reason,
        _parts(gpu, transformer="leaf-stream", text_encoder="leaf-stream"),
        vram={gpu.name: peak},
        tiled=tiled,
        held=held,
    )


def _cpu(case: _Case) -> Placement:
    weights = case.weights
    copied = case.copies(weights.bytes + _CPU_WORK)
    # Mapped weights can be dropped from RAM, but what one phase works with must stay, or every step reads it anew.
    working = max(weights.transformer.bytes, weights.text_encoder.bytes, _casts(case)) + _CPU_WORK
    return case.placement(
        Strategy.CPU,
        "no GPU: this takes hours for a picture" if not case.hardware.devices else "on the CPU, as asked: takes hours",
        tuple(Part(name, "cpu") for name in ("transformer", "text_encoder", "vae")),
        vram={},
        copied=bool(copied),
        held=copied or working,
    )


_ARITHMETIC: dict[Strategy, Callable[[_Case], Placement | str]] = {
    Strategy.RESIDENT: _resident,
    Strategy.SEVERAL_GPUS: _several_gpus,
    Strategy.MODEL_OFFLOAD: _model_offload,
    Strategy.BLOCK_STREAM: _block_stream,
    Strategy.BLOCK_STREAM_LOW_RAM: _block_stream_low_ram,
    Strategy.TEXT_ENCODER_STREAM: _text_encoder_stream,
    Strategy.LEAF_STREAM: _leaf_stream,
    Strategy.CPU: _cpu,
}


def _parts(gpu: Device, **methods: Method) -> tuple[Part, ...]:
    return tuple(Part(name, gpu.name, methods.get(name, "resident")) for name in ("transformer", "text_encoder", "vae"))


def _casts(case: _Case) -> int:
    """RAM for weights that are converted on the way to the GPU; unconverted ones go straight from the files."""
    if case.wishes.dtype != "bfloat16":
        return case.weights.bytes
    return case.weights.transformer.bytes if case.wishes.quantization == "fp8" else 0


def _staging(component: Component) -> int:
    """Page-locked RAM for what is pinned piece by piece: torch's cache keeps the rounded blocks in flight."""
    return (_LEAVES_IN_FLIGHT + 1) * (1 << component.largest_leaf.bit_length())


def _taken(case: _Case, device: Device, host: Device | None, *, tiled: bool) -> int:
    """What one of several GPUs needs besides its share of the transformer; the main one holds the VAE."""
    text, need = case.weights.text_encoder, _RESERVE + max(_DENOISE, _READ_TEXT)
    if device is host:
        need += text.bytes
    if device is case.gpu:
        need += case.weights.vae.bytes + (0 if tiled else _DECODE - _DENOISE)
        need += 0 if host else _LEAVES_IN_FLIGHT * text.largest_leaf
    return need


def _spread(case: _Case, host: Device | None, *, tiled: bool) -> dict[str, int]:
    """How many of the transformer's blocks each GPU takes when the text encoder lies on `host`; empty: too little.

    The first GPU that can hold all of it does; otherwise each takes blocks in proportion to its room.
    """
    transformer = case.weights.transformer
    room = {device.name: device.free - _taken(case, device, host, tiled=tiled) for device in case.gpus}
    if room[case.gpu.name] < 0 or (host and room[host.name] < 0):
        return {}
    if whole := next((name for name, left in room.items() if left >= transformer.bytes), None):
        return {whole: len(transformer.blocks)}
    return _in_proportion(transformer, room)


def _in_proportion(transformer: Component, room: dict[str, int]) -> dict[str, int]:
    if not transformer.blocks:
        return {}
    block = max(transformer.blocks.values())
    first = next(iter(room))
    most = {name: (left - (transformer.rest if name == first else 0)) // block for name, left in room.items()}
    most = {name: count for name, count in most.items() if count > 0}
    total, blocks = sum(most.values()), len(transformer.blocks)
    if total < blocks or first not in most:
        return {}
    share = {name: blocks * count // total for name, count in most.items()}
    for name in sorted(share, key=lambda name: share[name] - most[name]):
        more = min(most[name] - share[name], blocks - sum(share.values()))
        share[name] += more
    return {name: count for name, count in share.items() if count}
