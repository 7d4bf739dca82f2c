"""How long a placement takes for the work at hand: estimated, from sizes and rates, so that the fastest one is taken.

The rates were fitted to what was measured on one H200 (docs/loading.md), where they give every measured phase to
about a tenth; for other cards, compute and bus are those of their data sheets in the same proportion. Nothing of
it was measured on a consumer card.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwen_fetch.loading.placement import Seconds, Strategy

if TYPE_CHECKING:
    from qwen_fetch.loading.hardware import Device, Hardware
    from qwen_fetch.loading.placement import Part, Placement
    from qwen_fetch.loading.weights import Component, Weights
    from qwen_fetch.loading.work import Work

__all__ = ["Rates", "estimate", "rates_of"]

_GB = 1e9
_CARDS = (  # part of the name -> dense bf16 TFLOPS, GB/s of the bus; the more special names first
    ("H200", 989, 55),
    ("H100", 989, 55),
    ("B200", 2250, 55),
    ("A100", 312, 25),
    ("L40", 362, 25),
    ("L4", 121, 25),
    ("A10", 125, 25),
    ("6000 Ada", 364, 25),
    ("PRO 6000", 500, 55),
    ("A6000", 155, 25),
    ("5090", 210, 55),
    ("5080", 113, 55),
    ("5070 Ti", 88, 55),
    ("5070", 62, 55),
    ("5060", 47, 27),
    ("4090", 165, 25),
    ("4080", 97, 25),
    ("4070 Ti", 80, 25),
    ("4070", 58, 25),
    ("4060", 44, 12),
    ("3090", 71, 25),
    ("3080", 60, 25),
    ("3070", 41, 25),
    ("3060", 25, 25),
    ("T4", 65, 12),
)
_UNKNOWN = (50, 20)  # a card that is not in the list
_COMPUTE = 0.46  # of the data sheet's TFLOPS: 455 of an H200's 989
_BUS = 0.87  # of the bus, where pinned blocks stream
_RAM = 67 * _GB  # a copy within RAM, on the way to the bus, of what is pinned piece by piece
_PAGEABLE_IN, _PAGEABLE_OUT = 4.5 * _GB, 1.7 * _GB  # whole models through pageable memory
_PIN = 1.17 * _GB  # page-locking, with the copy into it
_COPY = 15 * _GB
_DISK, _FAULTS = 2.5 * _GB, 0.6 * _GB  # read ahead by several threads; mapped pages as they are touched
_FIRST = 2.5  # seconds until streams are prepared
_BLOCKS = 60  # of which `Work.flop` speaks
_TEXT_FLOP, _DECODE_FLOP = 150e12, 45e12
_SLOWER = {"fp8": 1.16, "nf4": 1.04}  # weights are unpacked for each pass
_CPU, _MAC = 0.4e12, 1.2e12  # FLOP/s


@dataclass(frozen=True, slots=True)
class Rates:
    """What a device can do, per second.

    Attributes:
        flop: Computed.
        bus: Bytes from pinned RAM.
        staged: Bytes from RAM that is pinned piece by piece.
    """

    flop: float
    bus: float
    staged: float


def rates_of(device: Device) -> Rates:
    """Of a card by its name."""
    if device.shares_ram:
        return Rates(_MAC, 100 * _GB, 100 * _GB)
    tflops, bus = next((values for name, *values in _CARDS if name in device.model), _UNKNOWN)
    pinned = bus * _BUS * _GB
    return Rates(tflops * 1e12 * _COMPUTE, pinned, 1 / (1 / pinned + 1 / _RAM))


def estimate(placement: Placement, hardware: Hardware, weights: Weights, work: Work) -> Seconds:
    """How long it takes.

    Args:
        placement: Which one.
        hardware: Which machine.
        weights: As they lie in memory.
        work: What for.
    """
    device = next((one for one in hardware.devices if one.name == placement.part("transformer").device), None)
    rates = rates_of(device) if device else Rates(_CPU, 1, 1)
    cached = hardware.ram - placement.ram >= weights.transformer.bytes + weights.text_encoder.bytes
    text, transformer = placement.part("text_encoder"), placement.part("transformer")
    one_text = _TEXT_FLOP / rates.flop + _streamed(text, weights.text_encoder, rates, cached=cached)
    depth = len(weights.transformer.blocks) / _BLOCKS or 1
    compute, moved = depth * work.flop / rates.flop, _streamed(transformer, weights.transformer, rates, cached=cached)
    compute *= _SLOWER.get(placement.quantization or "", 1)
    # Pinned blocks come while the one before computes; pieces are pinned by the thread that would start the computing.
    a_pass = max(compute, moved) if transformer.pinned else compute + moved
    streams = any("stream" in part.method for part in placement.parts)
    offloaded = 0.0
    if placement.strategy is Strategy.MODEL_OFFLOAD:
        size = weights.text_encoder.bytes + weights.transformer.bytes
        offloaded = size / _PAGEABLE_IN + size / _PAGEABLE_OUT
    return Seconds(
        load=_loading(placement, weights, hardware),
        text=work.texts * one_text + (_FIRST if streams else 0),
        a_pass=a_pass,
        passes=work.edits * work.passes * a_pass,
        rest=work.edits * (offloaded + _DECODE_FLOP * work.pixels / 2**20 / rates.flop),
    )


def _streamed(part: Part, component: Component, rates: Rates, *, cached: bool) -> float:
    """Seconds to move a component through the GPU once."""
    if part.method == "block-stream":
        return component.bytes / rates.bus
    if part.method != "leaf-stream":
        return 0.0
    if part.pinned:
        return component.bytes / rates.bus
    return component.bytes / (rates.staged if cached else _FAULTS)


def _loading(placement: Placement, weights: Weights, hardware: Hardware) -> float:
    on_the_way = weights.bytes / _DISK
    on_the_way += weights.bytes / _COPY if placement.load == "copied" else 0.0
    placed = {"resident", "split"} if hardware.devices and not hardware.devices[0].shares_ram else set()
    parts = {"transformer": weights.transformer, "text_encoder": weights.text_encoder, "vae": weights.vae}
    on_the_gpu = sum(parts[part.component].bytes for part in placement.parts if part.method in placed)
    return 5.0 + on_the_way + on_the_gpu / _PAGEABLE_IN + placement.pinned / _PIN
