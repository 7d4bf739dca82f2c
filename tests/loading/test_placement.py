"""What placements are made of: wishes, and the sizes that everything is calculated from."""

import pytest

from qwen_fetch.base.problem import Problem
from qwen_fetch.loading.architecture import qwen_image_edit
from qwen_fetch.loading.placement import Wishes
from qwen_fetch.loading.weights import COMPONENTS
from qwen_fetch.localhub.content import REAL_SIZES

GB = 10**9
WEIGHTS = qwen_image_edit()


@pytest.mark.parametrize(
    "wishes", [{"device_map": "gpu"}, {"quantization": "int3"}, {"strategy": "fast"}, {"dtype": "int8"}]
)
def test_a_wish_that_makes_no_sense(wishes: dict[str, str]) -> None:
    with pytest.raises(Problem) as raised:
        Wishes(**wishes)  # type: ignore[arg-type]
    assert raised.value.id == "usage"


def test_the_architecture_has_the_sizes_of_the_real_files() -> None:
    for name in COMPONENTS:
        files = sum(size for path, size in REAL_SIZES.items() if path.startswith(name))
        # What is left are the headers.
        assert 0 < files - getattr(WEIGHTS, name).bytes < 300_000
    assert len(WEIGHTS.transformer.tensors) == 1933
    assert len(WEIGHTS.text_encoder.tensors) == 729
    assert len(WEIGHTS.transformer.blocks) == 60
    assert set(WEIGHTS.transformer.blocks.values()) == {679_662_592}
    assert not WEIGHTS.text_encoder.blocks  # its layers lie too deep for block-level offloading


def test_pinned_memory_is_counted_as_the_allocator_takes_it() -> None:
    transformer, text_encoder = WEIGHTS.transformer, WEIGHTS.text_encoder
    assert transformer.pinned(exact=True, blocks_only=True) == 40_779_755_520
    assert round(transformer.pinned(exact=False, blocks_only=True) / GB, 1) == 64.4
    assert round(text_encoder.pinned(exact=False, blocks_only=False) / GB, 1) == 31.4
    fp8 = WEIGHTS.as_loaded("bfloat16", "fp8").transformer
    assert round(fp8.pinned(exact=False, blocks_only=True) / GB, 1) == 32.2


def test_quantized_sizes() -> None:
    assert round(WEIGHTS.as_loaded("bfloat16", "fp8").transformer.bytes / GB, 1) == 20.5
    nf4 = WEIGHTS.as_loaded("bfloat16", "nf4")
    assert round(nf4.transformer.bytes / GB, 1) == 11.5
    assert round(nf4.text_encoder.bytes / GB, 1) == 6.2
    assert WEIGHTS.as_loaded("float32", None).bytes == 2 * WEIGHTS.bytes
