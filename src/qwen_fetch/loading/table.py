"""The table of placements for common machines: what `python -m qwen_fetch.loading.table` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_fetch.base.door import say
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.settings import DEFAULT_REPO
from qwen_fetch.base.units import time_text
from qwen_fetch.loading.architecture import qwen_image_edit
from qwen_fetch.loading.hardware import MAC_GPU_SHARE, Device, Hardware
from qwen_fetch.loading.ladder import choose
from qwen_fetch.loading.placement import Wishes, gib
from qwen_fetch.loading.work import Work

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["machine", "machines", "print_table"]

_GIB = 2**30
_FREE_VRAM = 0.97  # of the card's memory, beside a desktop; 15.6 of 16 GiB on an RTX 4080
_FREE_RAM = 0.92  # of what is installed, beside a system with nothing else running


_CARDS = {8: "RTX 4060", 12: "RTX 4070", 16: "RTX 4080", 24: "RTX 4090", 32: "RTX 5090", 48: "RTX 6000 Ada", 80: "H100"}


def machine(gpus: int, vram: int, ram: int) -> Hardware:
    """A desk machine as sold: `vram` on each of the GPUs and `ram`, in GB, before anything has been taken of them."""
    card = _CARDS.get(vram, "")
    devices = tuple(Device(f"cuda:{index}", int(vram * _GIB * _FREE_VRAM), card) for index in range(gpus))
    return Hardware(devices, int(ram * _GIB * _FREE_RAM), exact_pinning=True, platform="linux")


def machines() -> Iterator[tuple[str, Hardware]]:
    """The machines of the table, with their names."""
    for gpus in (1, 2, 4):
        for vram in (8, 12, 16, 24, 32, 48, 80):
            for ram in (16, 32, 64, 128, 256) if gpus == 1 else (32, 64, 128):
                yield f"{gpus} x {vram} GB, {ram} GB RAM", machine(gpus, vram, ram)
    for ram in (32, 64, 96, 128):
        free = int(ram * _GIB * _FREE_RAM)
        mps = Device("mps", min(int(ram * _GIB * MAC_GPU_SHARE), free), f"{ram} GB")
        yield f"Mac, {ram} GB RAM", Hardware((mps,), free, platform="darwin")
    for ram in (32, 64, 128):
        yield f"CPU, {ram} GB RAM", machine(0, 0, ram)


def print_table() -> None:
    """One line for each machine: the placement, its peaks and its reason, or why there is none."""
    weights = qwen_image_edit()
    say(f"Placements of {DEFAULT_REPO} in bf16 for one edit of 1 Mpx; memory calculated, times estimated: 50 steps")
    say("with guidance, and 4 with Lightning, for which another placement may be faster.\n")
    columns = f"{'GPU peak':>9} {'RAM peak':>9} {'pinned':>9} {'50 steps':>9} {'Lightning':>9}"
    say(f"{'machine':<24} {'placement':<21} {columns}  reason")
    for name, hardware in machines():
        try:
            found = choose(hardware, weights, Wishes())
            fast = choose(hardware, weights, Wishes(), Work(passes=4, texts=1))
        except Problem as problem:
            say(f"{name:<24} {'none':<21} {'':>49}  {problem.facts['reasons']}")
            continue
        vram = gib(found.peak_vram) if found.vram else "-"
        pinned = gib(found.pinned) if found.pinned else "-"
        times = " ".join(f"{time_text(one.seconds.total) if one.seconds else '':>9}" for one in (found, fast))
        also = f"; Lightning: {fast.strategy}" if fast.strategy is not found.strategy else ""
        say(f"{name:<24} {found.strategy:<21} {vram:>9} {gib(found.ram):>9} {pinned:>9} {times}  {found.reason}{also}")


if __name__ == "__main__":
    print_table()
