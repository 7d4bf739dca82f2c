"""Estimates and calculated peaks beside what was measured on one H200: 30 of 60 blocks, 1024x1024, guidance on."""

from dataclasses import dataclass

import pytest

from qwen_fetch.loading.architecture import qwen_image_edit
from qwen_fetch.loading.estimate import rates_of
from qwen_fetch.loading.hardware import Device, Hardware
from qwen_fetch.loading.ladder import ladder
from qwen_fetch.loading.placement import Placement, Strategy, Wishes
from qwen_fetch.loading.weights import Component, Quantization, Weights
from qwen_fetch.loading.work import Work

GIB = 2**30


@dataclass(frozen=True)
class Measured:
    """One row of docs/loading.md.

    Attributes:
        rung: With its quantisation.
        peak: GiB that torch had given out.
        step: Seconds of two passes.
        moved: Seconds before the first and after the last step, beyond those of `resident`.
    """

    rung: Strategy
    quantization: Quantization | None
    peak: float
    step: float
    moved: float


MEASURED = [
    Measured(Strategy.RESIDENT, None, 39.0, 0.440, 0.0),
    Measured(Strategy.BLOCK_STREAM, None, 4.5, 0.855, 3.5),
    Measured(Strategy.LEAF_STREAM, None, 4.5, 1.895, 3.5),
    Measured(Strategy.TEXT_ENCODER_STREAM, None, 23.5, 0.442, 1.8),
    Measured(Strategy.MODEL_OFFLOAD, None, 20.2, 0.441, 29.9),
    Measured(Strategy.MODEL_OFFLOAD, "fp8", 17.8, 0.513, 22.5),
    Measured(Strategy.MODEL_OFFLOAD, "nf4", 8.2, 0.457, 9.2),
]


def half() -> Weights:
    weights = qwen_image_edit()
    numbers = tuple(f"transformer_blocks.{number}." for number in range(30))
    kept = [t for t in weights.transformer.tensors if t.name.startswith(numbers) or "transformer_blocks" not in t.name]
    return Weights(Component("transformer", tuple(kept)), weights.text_encoder, weights.vae)


def found(row: Measured) -> Placement:
    hardware = Hardware((Device("cuda:0", 130 * GIB, "NVIDIA H200"),), 120 * GIB, exact_pinning=True, platform="linux")
    wishes = Wishes(strategy=row.rung, quantization=row.quantization)
    rung = next(one for one in ladder(hardware, half(), wishes, Work(passes=2)) if one.strategy is row.rung)
    assert isinstance(rung, Placement)
    return rung


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row.rung}-{row.quantization}")
def test_what_was_measured(row: Measured) -> None:
    rung = found(row)
    seconds, still = rung.seconds, found(MEASURED[0]).seconds
    assert seconds
    assert still
    assert 0 <= rung.peak_vram / GIB - row.peak <= 1.6  # the rest is the driver's, and what lies between the blocks
    assert seconds.passes == pytest.approx(row.step, rel=0.12)
    assert seconds.text + seconds.rest - still.text - still.rest == pytest.approx(row.moved, rel=0.15, abs=2.6)


def test_pinning_takes_its_time() -> None:
    seconds, resident = found(MEASURED[1]).seconds, found(MEASURED[2]).seconds
    assert seconds
    assert resident
    assert seconds.load - resident.load == pytest.approx(31.5, rel=0.3)  # the text encoder's half of it included


def test_a_card_is_known_by_its_name() -> None:
    rates = {name: rates_of(Device("cuda:0", 1, name)) for name in ("NVIDIA GeForce RTX 4080", "Tesla T4", "new card")}
    assert 40e12 < rates["NVIDIA GeForce RTX 4080"].flop < 50e12  # about 4 s a pass
    assert len({rate.flop for rate in rates.values()}) == 3
    assert rates_of(Device("mps", 1, "arm64")).flop < 5e12
