"""Put LoRAs into a pipeline, before its parts are placed: after that, hooks would hold the weights, or ignore them."""

from __future__ import annotations

import json
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import diffusers
import torch
from safetensors.torch import load_file

from qwen_fetch.loading.lightning import SCHEDULER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from qwen_fetch.loading.lora import Lora

__all__ = ["add_loras", "schedule_for_lightning"]

_PREFIXES = ("base_model.model.", "transformer.", "diffusion_model.")


def add_loras(pipeline: Any, loras: Sequence[Lora], *, fuse: bool) -> None:
    """Load the LoRAs into the transformer.

    Args:
        pipeline: Still on the CPU, without hooks.
        loras: Which, and how strongly.
        fuse: Add their product to the weights: no work is left for the passes. Only for weights that were copied: of
            mapped ones, it would make a copy.

    Raises:
        ValueError: diffusers took fewer layers than the file holds.
    """
    names = [f"lora_{number}" for number in range(len(loras))]
    for name, lora in zip(names, loras, strict=True):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # that is what several LoRAs are
            pipeline.load_lora_weights(_as_diffusers_reads_it(lora.path), adapter_name=name)
        layers = sum(name in getattr(module, "lora_A", ()) for module in pipeline.transformer.modules())
        if layers * 2 != len(lora.modules):
            raise ValueError(f"{layers} layers of {lora.name} were taken, of {len(lora.modules) // 2}")
    pipeline.set_adapters(names, [lora.weight for lora in loras])
    if fuse:
        pipeline.fuse_lora(adapter_names=names)
        pipeline.unload_lora_weights()


def schedule_for_lightning(pipeline: Any) -> None:
    """Give the pipeline the scheduler of the Lightning LoRAs, so that no call can fall into the repo's own."""
    pipeline.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(**SCHEDULER)


def _as_diffusers_reads_it(path: Path) -> str | dict[str, torch.Tensor]:
    """The file, or its tensors where diffusers 0.42.1 would ignore them for their names.

    It takes ``transformer.X.lora_A.weight`` as they are. Whatever else, it converts only where it sees an ``alpha``;
    without one, such keys match no prefix, and the LoRA does nothing.
    """
    tensors = load_file(path)
    if all(name.startswith("transformer.") and name.endswith((".lora_A.weight", ".lora_B.weight")) for name in tensors):
        return str(path)
    alpha = None
    with suppress(OSError, ValueError, KeyError):
        alpha = json.loads(path.with_name("adapter_config.json").read_text(encoding="utf-8"))["lora_alpha"]
    named = {_without_prefix(name).replace(".default.", "."): tensor for name, tensor in tensors.items()}
    for name, tensor in list(named.items()):
        for half in (".lora_A.weight", ".lora_down.weight"):
            if name.endswith(half):
                scale = torch.tensor(float(alpha if alpha is not None else tensor.shape[0]))
                named.setdefault(name.removesuffix(half) + ".alpha", scale)
    return named


def _without_prefix(name: str) -> str:
    while (prefix := next(filter(name.startswith, _PREFIXES), None)) is not None:
        name = name.removeprefix(prefix)
    return name
