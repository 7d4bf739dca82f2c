"""Where the parts of the pipeline go, as values: what can be wished for, the rungs there are, and what a rung takes.

All sizes are bytes. What is said about memory is calculated from exact shapes and from the source of diffusers 0.42.1
and torch 2.13.0, and agrees with what was measured on one GPU. Which rung is taken is decided in `ladder`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.units import time_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qwen_fetch.loading.weights import Dtype, Quantization

__all__ = ["Method", "Part", "Placement", "RuledOut", "Seconds", "Strategy", "Wishes", "gib", "reasons"]

Method = Literal["resident", "split", "model-offload", "block-stream", "leaf-stream"]

_GIB = 2**30


class Strategy(StrEnum):
    """The rungs of the ladder, roughly from those that want most of the GPU's memory to those that want least."""

    RESIDENT = "resident"  # everything on one GPU
    SEVERAL_GPUS = "several-gpus"  # the transformer's blocks spread over them
    MODEL_OFFLOAD = "model-offload"  # one whole model at a time on the GPU
    TEXT_ENCODER_STREAM = "text-encoder-stream"  # the transformer on the GPU, the text encoder from the mapped files
    BLOCK_STREAM = "block-stream"  # the transformer from pinned RAM block by block, the text encoder leaf by leaf
    BLOCK_STREAM_LOW_RAM = "block-stream-low-ram"  # the same, the text encoder from the mapped files
    LEAF_STREAM = "leaf-stream"  # both leaf by leaf from the mapped files
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for explicitly; it wins, or it is a Problem.

    Attributes:
        device_map: ``auto``; ``balanced``: spread over several GPUs; or the one device that is to hold everything:
            ``cuda``, ``cuda:1``, ``mps``, ``cpu``.
        low_cpu_mem_usage: Keep no copy of the weights in RAM. False: hold them there where there is room.
        quantization: ``fp8``, ``nf4``, or None for the weights as they are.
        strategy: This rung, instead of the first that fits.
        dtype: What is computed in.

    Raises:
        Problem: (usage) A value makes no sense.
    """

    device_map: str = "auto"
    low_cpu_mem_usage: bool = False
    quantization: Quantization | None = None
    strategy: Strategy | None = None
    dtype: Dtype = "bfloat16"

    def __post_init__(self) -> None:  # noqa: D105 - see the class
        checks = (
            (re.fullmatch(r"auto|balanced|cuda(:\d+)?|mps|cpu", self.device_map), "device_map", "auto or one device"),
            (self.quantization in {None, "fp8", "nf4"}, "quantization", "fp8 or nf4"),
            (self.strategy in {None, *Strategy}, "strategy", " or ".join(Strategy)),
            (self.dtype in {"bfloat16", "float16", "float32"}, "dtype", "bfloat16, float16 or float32"),
        )
        for right, name, wanted in checks:
            if not right:
                raise Problem(catalogue.USAGE, detail=f"{name} wants {wanted}, not {getattr(self, name)!r}.")

    def __str__(self) -> str:
        """As the arguments they came from."""
        words = [f"device_map={self.device_map!r}"]
        words += ["low_cpu_mem_usage=True"] if self.low_cpu_mem_usage else []
        words += [f"quantization={self.quantization!r}"] if self.quantization else []
        words += [f"strategy='{self.strategy}'"] if self.strategy else []
        words += [f"dtype={self.dtype!r}"] if self.dtype != "bfloat16" else []
        return ", ".join(words)


@dataclass(frozen=True, slots=True)
class Part:
    """Where one component goes.

    Attributes:
        component: Its name in the pipeline.
        device: Where it computes; a split one begins there.
        method: How it gets there.
        pinned: Whether it is streamed from RAM that was page-locked once; otherwise piece by piece on the way.
        split: For the method ``split``: how many blocks each device holds.
    """

    component: str
    device: str
    method: Method = "resident"
    pinned: bool = False
    split: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        """For people."""
        if self.method == "split":
            return f"{self.component}: " + ", ".join(f"{count} blocks on {device}" for device, count in self.split)
        if self.method == "resident":
            return f"{self.component}: on {self.device}"
        source = "pinned RAM" if self.pinned else "RAM" if self.method == "model-offload" else "the mapped files"
        return f"{self.component}: {self.method} from {source} to {self.device}"


@dataclass(frozen=True, slots=True)
class RuledOut:
    """A rung that is not possible here, and why."""

    strategy: Strategy
    reason: str


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long each phase takes, estimated.

    Attributes:
        load: Until the pipeline is placed.
        text: Reading prompts and pictures, in all.
        a_pass: One pass of the transformer.
        passes: All of them.
        rest: Moving models and decoding, in all.
    """

    load: float
    text: float
    a_pass: float
    passes: float
    rest: float

    @property
    def total(self) -> float:
        """Of all edits."""
        return self.load + self.text + self.passes + self.rest

    def __str__(self) -> str:
        """For people."""
        parts = [f"load {time_text(self.load)}", f"text {time_text(self.text)}"]
        parts += [f"passes {time_text(self.passes)} ({self.a_pass:.1f} s each)", f"rest {time_text(self.rest)}"]
        return f"about {time_text(self.total)}: {', '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where everything goes, and what that takes: calculated, in bytes.

    Attributes:
        strategy: The rung.
        parts: One for each component.
        load: ``copied``: the weights are read fully into RAM first; ``mapped``: when they are needed.
        tiled: Whether the VAE works tile by tile, which changes some pixels a little.
        vram: Peak on each GPU, by its name.
        ram: Peak of RAM that the system cannot take back.
        pinned: The share of it that is page-locked, as torch's allocator takes it.
        reason: Why this one, in a sentence.
        quantization: How the weights are stored.
        seconds: How long it takes, estimated.
        ruled_out: The other rungs, and why not.
    """

    strategy: Strategy
    parts: tuple[Part, ...]
    load: Literal["copied", "mapped"]
    tiled: bool
    vram: dict[str, int]
    ram: int
    pinned: int
    reason: str
    quantization: Quantization | None = None
    seconds: Seconds | None = None
    ruled_out: tuple[RuledOut, ...] = ()

    @property
    def peak_vram(self) -> int:
        """On the fullest GPU."""
        return max(self.vram.values(), default=0)

    def part(self, component: str) -> Part:
        """Where one component goes."""
        return next(part for part in self.parts if part.component == component)

    def lines(self) -> Iterator[str]:
        """For people: what is done, what it takes, and what was ruled out."""
        yield f"placement  {self.strategy}: {self.reason}"
        for part in self.parts:
            yield f"           {part}"
        for device, need in self.vram.items():
            yield f"{'GPU':<10} {gib(need)} at the peak on {device} (calculated)"
        pinned = f", {gib(self.pinned)} of it pinned" if self.pinned else ""
        yield f"{'RAM':<10} {gib(self.ram)} at the peak{pinned} (calculated)"
        if self.seconds:
            yield f"{'time':<10} {self.seconds} (estimated)"
        for reason in reasons(self.ruled_out):
            yield f"{'not':<10} {reason}"


def gib(count: float) -> str:
    """Bytes as memory is sold, in powers of 1024."""
    return f"{count / _GIB:.1f} GiB"


def reasons(ruled_out: Iterable[RuledOut]) -> list[str]:
    """Each reason once, with the rungs it rules out."""
    rungs: dict[str, list[str]] = {}
    for rung in ruled_out:
        rungs.setdefault(rung.reason, []).append(rung.strategy)
    return [f"{', '.join(names)}: {reason}" for reason, names in rungs.items()]
