"""How large the weights of a pipeline are and how they are cut into blocks: pure, without torch.

The sizes come from the headers of the safetensors files (`headers`), or, before a download, from the known
architecture (`architecture`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Literal

__all__ = ["COMPONENTS", "Component", "Dtype", "Quantization", "Tensor", "Weights"]

Quantization = Literal["fp8", "nf4"]
Dtype = Literal["bfloat16", "float16", "float32"]

COMPONENTS = ("transformer", "text_encoder", "vae")
"""The parts of a Qwen-Image pipeline that hold weights, the largest first."""

_BLOCK = re.compile(r"(\w+\.\d+)\.")
_FP8_SKIPS = (
    "norm",
    "pos_embed",
    "lora_",
)  # `_skip_layerwise_casting_patterns` of the transformer, and PEFT
_NF4_SKIPS = ("embed_tokens", "lm_head", "lora_")  # an Embedding, what transformers never quantises, and LoRAs
_NF4_SHARE = (0.5 + 4 / 64) / 2  # of bf16: 4 bits a weight, and a 4-byte scale for every 64 weights


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a checkpoint; `bytes` as stored in memory."""

    name: str
    shape: tuple[int, ...]
    bytes: int

    @property
    def leaf(self) -> str:
        """The module that owns it: its weight and bias travel together."""
        return self.name.rpartition(".")[0]

    @property
    def is_matrix(self) -> bool:
        """Whether it belongs to a linear layer or an embedding, and not to a norm or a bias."""
        return len(self.shape) >= 2 and prod(self.shape) > max(self.shape)


@dataclass(frozen=True)
class Component:
    """One model of the pipeline; all sizes in bytes."""

    name: str
    tensors: tuple[Tensor, ...]

    @cached_property
    def bytes(self) -> int:
        """All weights."""
        return sum(tensor.bytes for tensor in self.tensors)

    @cached_property
    def blocks(self) -> dict[str, int]:
        """Size of each block that block-level offloading moves as one, by its name, in the order of the model.

        diffusers looks for lists of modules among the direct children only. The text encoder has none there
        (``model.layers.0`` lies deeper), so it must be offloaded leaf by leaf: block-level would move it whole.
        """
        blocks: dict[str, int] = defaultdict(int)
        for tensor in self.tensors:
            if match := _BLOCK.match(tensor.name):
                blocks[match[1]] += tensor.bytes
        return dict(sorted(blocks.items(), key=lambda block: int(block[0].rpartition(".")[2])))

    @property
    def rest(self) -> int:
        """What lies outside of the blocks."""
        return self.bytes - sum(self.blocks.values())

    @cached_property
    def largest_leaf(self) -> int:
        """The largest module without children: what leaf-level offloading moves as one."""
        leaves: dict[str, int] = defaultdict(int)
        for tensor in self.tensors:
            leaves[tensor.leaf] += tensor.bytes
        return max(leaves.values(), default=0)

    def pinned(self, *, exact: bool, blocks_only: bool) -> int:
        """What the page-locked copy of the weights takes.

        Group offloading pins tensor by tensor (`ModuleGroup._to_cpu`, diffusers 0.42.1), and torch rounds each
        allocation up to a power of two (`CachingHostAllocator.h`, torch 2.13) unless told not to.

        Args:
            exact: Whether torch was told (`PYTORCH_ALLOC_CONF`, see `environment`).
            blocks_only: Block-level offloading: the rest of the model is not pinned.
        """
        chosen = [tensor for tensor in self.tensors if not blocks_only or _BLOCK.match(tensor.name)]
        return sum(tensor.bytes if exact else _power_of_two(tensor.bytes) for tensor in chosen)

    def cast(self, dtype: Dtype) -> Component:
        """The same component in another dtype."""
        size = 4 if dtype == "float32" else 2
        if sum(prod(tensor.shape) for tensor in self.tensors) * size == self.bytes:
            return self
        # One byte for each number: packed bits, which no dtype changes.
        tensors = (
            tensor if tensor.bytes <= prod(tensor.shape) else replace(tensor, bytes=prod(tensor.shape) * size)
            for tensor in self.tensors
        )
        return Component(self.name, tuple(tensors))

    def quantized(self, quantization: Quantization | None) -> Component:
        """The same component as it lies in memory when quantised.

        fp8 stores the matrices of the transformer in one byte a weight and computes in bf16 (layerwise
        casting); nf4 is bitsandbytes' 4-bit format for the linear layers of transformer and text encoder.
        """
        shares = {"fp8": {"transformer": 0.5}, "nf4": {"transformer": _NF4_SHARE, "text_encoder": _NF4_SHARE}}
        share = shares.get(quantization or "", {}).get(self.name)
        if share is None:
            return self
        skips = _FP8_SKIPS if quantization == "fp8" else _NF4_SKIPS
        return Component(
            self.name,
            tuple(
                replace(tensor, bytes=int(tensor.bytes * share))
                if tensor.is_matrix and not any(skip in tensor.name for skip in skips)
                else tensor
                for tensor in self.tensors
            ),
        )


@dataclass(frozen=True)
class Weights:
    """The weights of a pipeline of the Qwen-Image family."""

    transformer: Component
    text_encoder: Component
    vae: Component

    @property
    def bytes(self) -> int:
        """All of them."""
        return self.transformer.bytes + self.text_encoder.bytes + self.vae.bytes

    def as_loaded(self, dtype: Dtype, quantization: Quantization | None) -> Weights:
        """As they lie in memory in that dtype, or quantised."""
        components = (self.transformer, self.text_encoder, self.vae)
        return Weights(*(component.cast(dtype).quantized(quantization) for component in components))


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length() if size else 0
