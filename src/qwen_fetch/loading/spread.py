"""The rung of several GPUs: which one holds the text encoder, and how the transformer's blocks are shared out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_fetch.loading.case import LEAVES_IN_FLIGHT, RESERVE, Case
from qwen_fetch.loading.placement import Part, Placement, Strategy

if TYPE_CHECKING:
    from qwen_fetch.loading.hardware import Device
    from qwen_fetch.loading.weights import Component

__all__ = ["several_gpus"]


def several_gpus(case: Case) -> Placement | str:
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
        held=copied or (0 if host else case.staging(text)),
    )


def _taken(case: Case, device: Device, host: Device | None, *, tiled: bool) -> int:
    """What one of several GPUs needs besides its share of the transformer; the main one holds the VAE."""
    text, need = case.weights.text_encoder, RESERVE
    phases = [case.work.denoise]
    if device is host or (host is None and device is case.gpu):
        phases.append(case.work.read_text + (0 if host else LEAVES_IN_FLIGHT * text.largest_leaf))
        need += text.bytes if host else 0
    if device is case.gpu:
        phases.append(case.work.decode(tiled=tiled))
        need += case.weights.vae.bytes
    return need + max(phases)


def _spread(case: Case, host: Device | None, *, tiled: bool) -> dict[str, int]:
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
