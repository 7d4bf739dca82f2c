"""Placements: the table of common machines, the laws, and what the facts rule out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_fetch.base.problem import ExitCode, Problem
from qwen_fetch.loading.architecture import qwen_image_edit
from qwen_fetch.loading.hardware import Device, Hardware
from qwen_fetch.loading.ladder import choose, faster_with, ladder
from qwen_fetch.loading.placement import Placement, RuledOut, Strategy, Wishes
from qwen_fetch.loading.table import machine
from qwen_fetch.loading.weights import COMPONENTS, Component, Tensor, Weights
from qwen_fetch.loading.work import Work

GIB = 2**30
WEIGHTS = qwen_image_edit()
STREAMS = {Strategy.BLOCK_STREAM, Strategy.BLOCK_STREAM_LOW_RAM, Strategy.TEXT_ENCODER_STREAM, Strategy.LEAF_STREAM}

TABLE = [
    # GPUs, GB each, GB of RAM -> rung
    (1, 8, 16, "leaf-stream"),
    (1, 8, 32, "leaf-stream"),
    (1, 8, 128, "block-stream"),
    (1, 16, 32, "leaf-stream"),
    (1, 16, 64, "block-stream-low-ram"),
    (1, 16, 128, "block-stream"),
    (1, 24, 128, "block-stream"),
    (1, 32, 128, "block-stream"),
    (1, 48, 32, "text-encoder-stream"),
    (1, 48, 64, "text-encoder-stream"),
    (1, 48, 128, "text-encoder-stream"),
    (1, 80, 32, "resident"),
    (1, 80, 256, "resident"),
    (2, 16, 128, "block-stream"),
    (2, 24, 32, "several-gpus"),
    (2, 48, 64, "several-gpus"),
    (4, 12, 128, "block-stream"),
    (4, 16, 128, "several-gpus"),
    (4, 80, 128, "resident"),
    (0, 0, 64, "cpu"),
    (0, 0, 128, "cpu"),
]


@pytest.mark.parametrize(("gpus", "vram", "ram", "strategy"), TABLE)
def test_common_machines(gpus: int, vram: int, ram: int, strategy: str) -> None:
    assert choose(machine(gpus, vram, ram), WEIGHTS, Wishes()).strategy == strategy


def test_16_gb_and_128_gb_of_ram_streams_blocks_within_8_gib() -> None:
    found = choose(machine(1, 16, 128), WEIGHTS, Wishes())
    assert found.strategy is Strategy.BLOCK_STREAM
    assert found.peak_vram <= 8 * GIB
    assert found.part("transformer").method == "block-stream"
    assert found.part("text_encoder").method == "leaf-stream"
    assert found.part("transformer").pinned
    assert found.part("text_encoder").pinned
    assert found.part("vae").method == "resident"
    assert not found.tiled


def test_rounded_pinning_is_not_forced_on_64_gb() -> None:
    """An allocator that rounds would take 60 GiB for the transformer alone."""
    rounding = Hardware((Device("cuda:0", 15 * GIB),), 59 * GIB, exact_pinning=False, platform="linux")
    assert choose(rounding, WEIGHTS, Wishes()).strategy is Strategy.LEAF_STREAM


def test_windows_may_pin_half_of_its_ram() -> None:
    windows = Hardware((Device("cuda:0", 15 * GIB),), 59 * GIB, exact_pinning=True, platform="win32")
    assert choose(windows, WEIGHTS, Wishes()).strategy is Strategy.LEAF_STREAM


@pytest.mark.parametrize(
    ("wishes", "strategy"),
    [
        (Wishes(low_cpu_mem_usage=True), Strategy.LEAF_STREAM),
        (Wishes(quantization="nf4"), Strategy.MODEL_OFFLOAD),
        (Wishes(quantization="fp8"), Strategy.BLOCK_STREAM),
        (Wishes(device_map="cpu"), Strategy.CPU),
        (Wishes(strategy=Strategy.LEAF_STREAM), Strategy.LEAF_STREAM),
        (Wishes(device_map="cuda:0", strategy=Strategy.BLOCK_STREAM), Strategy.BLOCK_STREAM),
    ],
)
def test_explicit_arguments_win(wishes: Wishes, strategy: Strategy) -> None:
    assert choose(machine(1, 16, 128), WEIGHTS, wishes).strategy is strategy


@pytest.mark.parametrize(
    ("hardware", "wishes", "instead"),
    [
        (machine(1, 16, 128), Wishes(device_map="cuda"), "block-stream"),
        (machine(1, 16, 128), Wishes(device_map="balanced"), "block-stream"),
        (machine(1, 16, 128), Wishes(device_map="cuda:7"), "block-stream"),
        (machine(1, 16, 128), Wishes(strategy=Strategy.MODEL_OFFLOAD), "block-stream"),
        (machine(1, 8, 64), Wishes(quantization="nf4"), "block-stream-low-ram"),
        (machine(0, 0, 128), Wishes(quantization="nf4"), "cpu"),
        (machine(0, 0, 16), Wishes(), "Close other programs"),
        (Hardware((Device("mps", 48 * GIB),), 58 * GIB, platform="darwin"), Wishes(), "device_map='cpu'"),
        (machine(1, 16, 128), Wishes(dtype="float32"), "block-stream"),
    ],
)
def test_what_cannot_be_done_is_a_problem_that_says_what_can(hardware: Hardware, wishes: Wishes, instead: str) -> None:
    with pytest.raises(Problem) as raised:
        choose(hardware, WEIGHTS, wishes)
    assert raised.value.id == "does-not-fit"
    assert raised.value.exit_code == ExitCode.CANNOT_LOAD
    assert instead in raised.value.do[0]
    assert str(wishes) in raised.value.what


def test_fp8_on_24_gb_holds_one_model_at_a_time() -> None:
    assert choose(machine(1, 24, 128), WEIGHTS, Wishes(quantization="fp8")).strategy is Strategy.MODEL_OFFLOAD


def test_after_a_rung_that_failed_comes_one_that_takes_less() -> None:
    hardware, wishes = machine(1, 80, 128), Wishes()
    seen = []
    after = None
    while True:
        try:
            found = choose(hardware, WEIGHTS, wishes, after=after)
        except Problem:
            break
        seen.append(found.strategy)
        after = found.strategy
    assert seen == [
        Strategy.RESIDENT,
        Strategy.TEXT_ENCODER_STREAM,
        Strategy.MODEL_OFFLOAD,
        Strategy.BLOCK_STREAM,
        Strategy.BLOCK_STREAM_LOW_RAM,
        Strategy.LEAF_STREAM,
    ]


HARDWARE = st.builds(
    Hardware,
    st.lists(st.integers(1 * GIB, 100 * GIB), max_size=4).map(
        lambda sizes: tuple(Device(f"cuda:{index}", free) for index, free in enumerate(sizes))
    )
    | st.integers(1 * GIB, 200 * GIB).map(lambda free: (Device("mps", free),)),
    st.integers(1 * GIB, 300 * GIB),
    st.booleans(),
    st.sampled_from(["linux", "win32"]),
)
WISHES = st.builds(
    Wishes,
    st.sampled_from(["auto", "balanced", "cuda", "cuda:1", "mps", "cpu"]),
    st.booleans(),
    st.sampled_from([None, "fp8", "nf4"]),
    st.none() | st.sampled_from(Strategy),
    st.sampled_from(["bfloat16", "float32"]),
)


@settings(deadline=None, max_examples=300)
@given(HARDWARE, WISHES)
def test_laws(hardware: Hardware, wishes: Wishes) -> None:
    free = {device.name: device.free for device in hardware.devices}
    for rung in ladder(hardware, WEIGHTS, wishes):
        if isinstance(rung, RuledOut):
            assert rung.reason
            continue
        _fits(rung, hardware, free)
        _does_what_was_asked(rung, wishes)
        _is_not_ruled_out_by_the_facts(rung, free)


def _fits(rung: Placement, hardware: Hardware, free: dict[str, int]) -> None:
    assert all(need <= free[device] for device, need in rung.vram.items())
    assert rung.ram <= hardware.ram
    assert rung.pinned <= hardware.pinnable
    assert rung.pinned <= rung.ram
    assert {part.component for part in rung.parts} == set(COMPONENTS)
    assert {part.device for part in rung.parts} <= set(rung.vram) | {"cpu"}


def _does_what_was_asked(rung: Placement, wishes: Wishes) -> None:
    devices = {device.partition(":")[0] for device in rung.vram} or {"cpu"}
    assert wishes.strategy in {None, rung.strategy}
    if wishes.device_map in {"cuda", "mps", "cpu"}:
        assert devices == {wishes.device_map}
    if wishes.device_map == "cuda:1":
        assert set(rung.vram) == {"cuda:1"}
    if wishes.device_map == "balanced" and not wishes.strategy:
        assert rung.strategy is Strategy.SEVERAL_GPUS
    if wishes.low_cpu_mem_usage and not wishes.strategy:
        assert not rung.pinned
        assert rung.load == "mapped"


def _is_not_ruled_out_by_the_facts(rung: Placement, free: dict[str, int]) -> None:
    largest = max(free.values(), default=0)
    if rung.strategy in STREAMS | {Strategy.MODEL_OFFLOAD, Strategy.SEVERAL_GPUS}:
        assert "mps" not in rung.vram  # no streams, and nothing to gain
    if rung.strategy is Strategy.MODEL_OFFLOAD and rung.quantization is None:
        assert largest > 39 * GIB  # the transformer alone has 38.05 GiB
    if rung.strategy is Strategy.RESIDENT and rung.quantization is None:
        assert largest > 55 * GIB
    if rung.pinned:
        # Copied and pinned at once would be twice the weights.
        assert rung.load == "mapped"
    text_encoder = rung.part("text_encoder")
    assert text_encoder.method != "block-stream"  # it would be moved whole
    if rung.strategy is Strategy.SEVERAL_GPUS:
        split = rung.part("transformer").split
        assert not split or sum(count for _, count in split) == 60
        assert len(free) > 1


@settings(deadline=None)
@given(st.integers(0, 200 * GIB), st.integers(0, 200 * GIB))
def test_more_memory_never_takes_longer(vram: int, ram: int) -> None:
    """But for the seconds in which plentiful RAM is filled with a copy, as low_cpu_mem_usage=False asks."""

    def seconds(more: int) -> float:
        hardware = Hardware((Device("cuda:0", vram + more),), ram + more, exact_pinning=True, platform="linux")
        try:
            found = choose(hardware, WEIGHTS, Wishes()).seconds
        except Problem:
            return float("inf")
        assert found is not None
        return found.total

    assert seconds(8 * GIB) <= 1.15 * seconds(0) + 4


def test_a_model_without_blocks_is_not_cut() -> None:
    whole = Weights(
        Component("transformer", (Tensor("weight", (GIB, 10), 20 * GIB),)), WEIGHTS.text_encoder, WEIGHTS.vae
    )
    reasons = {rung.strategy: rung for rung in ladder(machine(2, 16, 128), whole, Wishes())}
    assert isinstance(reasons[Strategy.BLOCK_STREAM], RuledOut)
    assert isinstance(reasons[Strategy.SEVERAL_GPUS], RuledOut)


def test_the_work_decides() -> None:
    """Pinning 54 GiB takes most of a minute: it pays for 100 passes, and not for 4 in one edit."""
    hardware = machine(1, 16, 128)
    assert choose(hardware, WEIGHTS, Wishes(), Work(passes=100)).strategy is Strategy.BLOCK_STREAM
    assert choose(hardware, WEIGHTS, Wishes(), Work(passes=4, texts=1)).strategy is Strategy.LEAF_STREAM
    assert choose(hardware, WEIGHTS, Wishes(), Work(20, 4, texts=20)).part("transformer").pinned


def test_a_larger_picture_needs_more() -> None:
    small, large = (choose(machine(1, 80, 32), WEIGHTS, Wishes(), Work(pixels=pixels)) for pixels in (2**20, 2**22))
    assert large.peak_vram > small.peak_vram
    assert large.seconds
    assert small.seconds
    assert large.seconds.a_pass > 2 * small.seconds.a_pass


@pytest.mark.parametrize("vram", [16, 24])
def test_little_ram_is_told_what_fewer_bits_gain(vram: int) -> None:
    hardware = machine(1, vram, 32)
    found = choose(hardware, WEIGHTS, Wishes())
    assert found.seconds
    assert found.seconds.total > 3600
    told = [*faster_with(hardware, WEIGHTS, Wishes(), found)]
    assert "--quantization nf4: about " in told[-1]
    assert "h" in told[-1].partition("instead of")[2]
    nf4 = Wishes(quantization="nf4")
    assert [*faster_with(hardware, WEIGHTS, nf4, choose(hardware, WEIGHTS, nf4))] == []
    roomy = machine(1, 16, 128)
    assert [*faster_with(roomy, WEIGHTS, Wishes(), choose(roomy, WEIGHTS, Wishes()))] == []
