"""The machine at hand: which accelerators, how much of their memory and of the RAM is free.

`look` asks the system, without torch, so that a plan can be made before torch is imported; `look_with_torch` asks
torch, which knows exactly what it can use.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

__all__ = [
    "EXACT_PINNING",
    "MAC_GPU_SHARE",
    "Device",
    "Hardware",
    "available_ram",
    "look",
    "look_with_torch",
    "peak_ram",
]

EXACT_PINNING = "pinned_max_cached_size_mb:1"
"""For `PYTORCH_ALLOC_CONF`, before torch is imported: page-locked blocks above 1 MB are not rounded up to a power
of two (`CachingHostAllocator.h`; torch 2.13 or newer). Not `pinned_max_round_threshold_mb`: in 2.13 it lets cached
blocks overflow (pytorch PR 192722)."""

MAC_GPU_SHARE = 0.75
"""How much of the RAM macOS lets the GPU use by default, on machines that are large enough; reported."""

_ALLOC_CONF = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
_PINNED_SHARE = {"linux": 0.8}
_CGROUP = Path("/sys/fs/cgroup")
_DRM = Path("/sys/class/drm")
_GIB = 2**30
_LARGE_ENOUGH = 4 * _GIB


@dataclass(frozen=True, slots=True)
class Device:
    """An accelerator.

    Attributes:
        name: As torch calls it: ``cuda:0``, ``mps``.
        free: Bytes that can be used now.
        model: What it says it is.
    """

    name: str
    free: int
    model: str = ""

    @property
    def shares_ram(self) -> bool:
        """Whether its memory is the RAM, so that nothing is gained by moving parts between them."""
        return self.name.startswith("mps")


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine.

    Attributes:
        devices: Its accelerators; none: CPU only.
        ram: Bytes of RAM available now.
        exact_pinning: Whether page-locked memory takes no more than was asked for (`EXACT_PINNING`).
        unused: An accelerator that cannot be used, and why; in words.
        platform: As `sys.platform`.
    """

    devices: tuple[Device, ...]
    ram: int
    exact_pinning: bool = False
    platform: str = sys.platform
    unused: str = ""

    @property
    def pinnable(self) -> int:
        """How many bytes of RAM may be page-locked: no other program can get them back.

        On Windows the driver counts them against a budget of about half the RAM; reported, not measured.
        """
        return int(self.ram * _PINNED_SHARE.get(self.platform, 0.5))

    def __str__(self) -> str:
        """In a few words."""
        devices = [f"{device.name} ({device.model}) with {device.free / _GIB:.1f} GiB free" for device in self.devices]
        unused = f" ({self.unused})" if self.unused else ""
        return f"{', '.join(devices) or 'no GPU'}{unused}; {self.ram / _GIB:.1f} GiB of RAM available"


def look() -> Hardware:
    """What the system says, without torch: `nvidia-smi` for the GPUs, or AMD's driver."""
    ram = available_ram()
    devices, unused = _nvidia() or _mac(ram), ""
    if not devices:
        devices, unused = _amd()
    return Hardware(devices, ram, exact_pinning=_can_pin_exactly(), unused=unused)


def look_with_torch() -> Hardware:
    """What torch can use."""
    import torch  # noqa: PLC0415 - heavy, and it must find the environment as `loader` sets it

    ram = available_ram()
    devices: tuple[Device, ...] = ()
    unused = ""
    if torch.cuda.is_available():
        devices = tuple(
            Device(f"cuda:{index}", torch.cuda.mem_get_info(index)[0], torch.cuda.get_device_name(index))
            for index in range(torch.cuda.device_count())
        )
    elif torch.backends.mps.is_available():
        devices = (Device("mps", min(torch.mps.recommended_max_memory(), ram), platform.machine()),)
    elif torch.xpu.is_available():
        unused = "an Intel GPU is there; placing parts on it has never been tried, so it is left alone"
    else:
        _, unused = _amd()
    return Hardware(devices, ram, exact_pinning=_can_pin_exactly(), unused=unused)


def available_ram() -> int:
    """Bytes of RAM that programs can still take; in a container, what its limit leaves."""
    available = _system_ram()
    with suppress(OSError, ValueError):  # cgroup v2; elsewhere, or without a limit, there is no number to read
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        statistics = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        available = min(available, limit - used + int(statistics["inactive_file"]))
    return available


def peak_ram() -> int:
    """The most RAM that this process has had so far, in bytes."""
    if sys.platform == "win32":
        import psutil  # noqa: PLC0415 - comes with accelerate

        return int(psutil.Process().memory_info().peak_wset)
    else:  # noqa: RET505 - mypy takes no return for the end of what other systems see
        import resource  # noqa: PLC0415 - not on Windows

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _system_ram() -> int:
    with suppress(ImportError):
        import psutil  # noqa: PLC0415 - comes with accelerate; `--explain` works without it on Linux

        return int(psutil.virtual_memory().available)
    with suppress(OSError, StopIteration, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024
    if sys.platform != "win32":
        with suppress(ValueError):
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 0


def _nvidia() -> tuple[Device, ...]:
    command = ["nvidia-smi", "--query-gpu=index,memory.free,name", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout  # noqa: S603
        rows = [line.split(", ", 2) for line in answer.splitlines()]
        devices = [Device(f"cuda:{index}", int(free) * 2**20, model) for index, free, model in rows]
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()
    return _visible(devices)


def _amd() -> tuple[tuple[Device, ...], str]:
    """AMD's GPUs as its Linux driver knows them, where torch is the build for them; or why they are of no use.

    A small one is part of the CPU, and draws the screen.
    """
    free = []
    for path in sorted(_DRM.glob("card[0-9]*/device/mem_info_vram_total")):
        with suppress(OSError, ValueError):
            total, used = (int(path.with_name(f"mem_info_vram_{name}").read_text()) for name in ("total", "used"))
            free += [total - used] if total >= _LARGE_ENOUGH else []
    if not free:
        return (), ""
    version = ""
    with suppress(metadata.PackageNotFoundError):
        version = metadata.version("torch")
    if "+rocm" in version:
        return tuple(Device(f"cuda:{index}", size, "AMD") for index, size in enumerate(free)), ""
    return (), "an AMD GPU is there; torch's build for ROCm uses it: https://pytorch.org/get-started/locally/"


def _visible(devices: list[Device]) -> tuple[Device, ...]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves to torch, which counts them anew."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return tuple(devices)
    by_index = {device.name.removeprefix("cuda:"): device for device in devices}
    names = [name.strip() for name in chosen.split(",")]
    if any(name.startswith(("GPU-", "MIG-")) for name in names):
        return tuple(devices)  # names that only the driver can translate; torch will say
    visible = [by_index[name] for name in names if name in by_index]
    return tuple(Device(f"cuda:{index}", device.free, device.model) for index, device in enumerate(visible))


def _mac(ram: int) -> tuple[Device, ...]:
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return (Device("mps", int(ram * MAC_GPU_SHARE), "Apple GPU"),)
    return ()


def _can_pin_exactly() -> bool:
    """Whether torch is told, or can still be told, to take what it is asked for."""
    try:
        major, minor = metadata.version("torch").split(".")[:2]
    except (metadata.PackageNotFoundError, ValueError):
        return True  # torch will be installed in a version that can
    told = any(EXACT_PINNING in os.environ.get(name, "") for name in _ALLOC_CONF)
    return (int(major), int(minor)) >= (2, 13) and (told or "torch" not in sys.modules)
