"""The table of placements for common machines: what `python -m qwen_fetch.loading.table` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_fetch.base.door import say
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.settings import DEFAULT_REPO
from qwen_fetch.loading.architecture import qwen_image_edit
from qwen_fetch.loading.hardware import MAC_GPU_SHARE, Device, Hardware
from qwen_fetch.loading.ladder import choose
from qwen_fetch.loading.placement import Wishes, gib

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["machine", "machines", "print_table"]

_GIB = 2**30
_FREE_VRAM = 0.97  # of the card's memory, beside a desktop; 15.6 of 16 GiB on an RTX 4080
_FREE_RAM = 0.92  # of what is installed, beside a system with nothing else running


def machine(gpus: int, vram: int, ram: int) -> Hardware:
    """A desk machine as sold: `vram` on each of the GPUs and `ram`, in GB, before anything has been taken of them."""
    devices = tuple(Device(f"cuda:{index}", int(vram * _GIB * _FREE_VRAM), f"{vram} GB") for index in range(gpus))
    return Hardware(devices, int(ram * _GIB * _FREE_RAM), exact_pinning=True, platform="linux")


def machines() -> Iterator[tuple[str, Hardware]]:
    """The machines of the table, with their names."""
    for gpus in (1, 2, 4):
        for vram in (8, 12, 16, 24, 32, 48, 80):
            for ram in (32, 64, 128):
                yield f"{gpus} x {vram} GB, {ram} GB RAM", machine(gpus, vram, ram)
    for ram in (32, 64, 96, 128):
        free = int(ram * _GIB * _FREE_RAM)
        mps = Device("mps", min(int(ram * _GIB * MAC_GPU_SHARE), free), f"{ram} GB")
        yield f"Mac, {ram} GB", Hardware((mps,), free, platform="darwin")
    for ram in (32, 64, 128):
        yield f"CPU, {ram} GB RAM", machine(0, 0, ram)


def print_table() -> None:
    """One line for each machine: the placement, its peaks and its reason, or why there is none."""
    weights = qwen_image_edit()
    say(f"Placements of {DEFAULT_REPO} in bf16; all figures calculated, none measured on a GPU.\n")
    say(f"{'machine':<24} {'placement':<21} {'GPU peak':>9} {'RAM peak':>9} {'pinned':>9}  reason")
    for name, hardware in machines():
        try:
            found = choose(hardware, weights, Wishes())
        except Problem as problem:
            say(f"{name:<24} {'none':<21} {'':>9} {'':>9} {'':>9}  {problem.facts['reasons']}")
            continue
        vram = gib(found.peak_vram) if found.vram else "-"
        pinned = gib(found.pinned) if found.pinned else "-"
        say(f"{name:<24} {found.strategy:<21} {vram:>9} {gib(found.ram):>9} {pinned:>9}  {found.reason}")


if __name__ == "__main__":
    print_table()
