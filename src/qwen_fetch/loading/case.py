"""One case to judge: a machine, weights as they lie in memory, and wishes; and the figures that every rung shares.

The three phases of an edit need memory one after the other: the text encoder reads prompt and picture, the
transformer denoises, the VAE decodes. A rung's peak is what lies on the GPU all the time, and the largest phase.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwen_fetch.loading.hardware import EXACT_PINNING
from qwen_fetch.loading.placement import Part, Placement, Strategy, gib

if TYPE_CHECKING:
    from qwen_fetch.loading.hardware import Device, Hardware
    from qwen_fetch.loading.placement import Method, Wishes
    from qwen_fetch.loading.weights import Component, Weights
    from qwen_fetch.loading.work import Work

__all__ = [
    "BLOCKS_IN_FLIGHT",
    "CPU_WORK",
    "LEAVES_IN_FLIGHT",
    "PROCESS",
    "RESERVE",
    "Case",
    "parts",
]

_GIB = 2**30
# Estimates; with this reserve, every peak that was measured is met.
RESERVE = int(1.2 * _GIB)  # on every GPU: the driver's context, workspaces, fragmentation
_SPARE = 2 * _GIB  # or the VAE works in tiles: torch's allocator kept up to 3.4 GiB more than it had given out
PROCESS = 3 * _GIB  # RAM of Python, torch and the CUDA runtime
CPU_WORK = 4 * _GIB  # RAM for the activations on a CPU
_USABLE = 0.95  # of the available RAM: the rest is for the system
_PLENTIFUL = 0.8  # of the available RAM: up to there the weights are read fully into it where that is no necessity
BLOCKS_IN_FLIGHT = 3  # one computes, the next one arrives, and `record_stream` lets go of the last one late
LEAVES_IN_FLIGHT = 2  # the two largest, embedding and head, are never neighbours

_COPIES = {Strategy.MODEL_OFFLOAD, Strategy.BLOCK_STREAM, Strategy.BLOCK_STREAM_LOW_RAM}
# bitsandbytes places its own weights; fp8 casting makes copies, so nothing can stay mapped.
_POSSIBLE = {
    "nf4": {Strategy.RESIDENT, Strategy.MODEL_OFFLOAD},
    "fp8": set(Strategy) - {Strategy.SEVERAL_GPUS, Strategy.LEAF_STREAM},
}
_CONVERTIBLE = {Strategy.RESIDENT, Strategy.MODEL_OFFLOAD, Strategy.BLOCK_STREAM, Strategy.CPU}


@dataclass(frozen=True)
class Case:
    """One machine, one set of weights as they lie in memory, one set of wishes, and the work they are for."""

    hardware: Hardware
    weights: Weights
    wishes: Wishes
    work: Work

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
            return f"device_map={wishes.device_map!r} was asked for" if self.hardware.devices else "no GPU"
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
            hint = self._hint if placement.pinned else ""
            return f"needs {gib(placement.ram)} of RAM, {gib(self.hardware.ram)} are available{hint}"
        if placement.pinned > self.hardware.pinnable:
            return (
                f"needs {gib(placement.pinned)} of pinned RAM, {gib(self.hardware.pinnable)} can be spared{self._hint}"
            )
        return ""

    @property
    def _hint(self) -> str:
        if self.hardware.exact_pinning:
            return ""
        return f" (less with PYTORCH_ALLOC_CONF={EXACT_PINNING} in the environment before torch 2.13 is imported)"

    def copies(self, size: int) -> int:
        """How many bytes of RAM weights of `size` take if there is room to read them fully; 0: they stay mapped."""
        room = self.hardware.ram * _PLENTIFUL - PROCESS
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
            work = self.work
            phases = (text + work.read_text, denoise + work.denoise, decode + work.decode(tiled=tiled))
            peak = RESERVE + always + max(phases)
            if peak + _SPARE <= self.gpu.free:
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
            ram=PROCESS + held + pinned,
            pinned=pinned,
            reason=reason + (", the VAE in tiles" if tiled else ""),
            quantization=self.wishes.quantization,
        )

    @property
    def converted(self) -> int:
        """RAM for weights that are converted on the way to the GPU; others go there straight from the files."""
        if self.wishes.dtype != "bfloat16":
            return self.weights.bytes
        return self.weights.transformer.bytes if self.wishes.quantization == "fp8" else 0

    @staticmethod
    def staging(component: Component) -> int:
        """Page-locked RAM for what is pinned piece by piece: torch's cache keeps the rounded blocks in flight."""
        return (LEAVES_IN_FLIGHT + 1) * (1 << component.largest_leaf.bit_length())


def parts(gpu: Device, **methods: Method) -> tuple[Part, ...]:
    """The parts on one GPU: whole, or by the methods named."""
    return tuple(Part(name, gpu.name, methods.get(name, "resident")) for name in ("transformer", "text_encoder", "vae"))
