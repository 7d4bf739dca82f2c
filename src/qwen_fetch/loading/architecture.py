"""The tensors of Qwen-Image-Edit as its architecture gives them: for plans before anything is downloaded.

The dimensions are those of its `transformer/config.json` and `text_encoder/config.json`. The sums are the
40,860,802,176, 16,584,333,312 and 253,785,062 bytes of its shards without their headers. The 2509 and 2511
editions have the same tensors.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from qwen_fetch.loading.weights import Component, Tensor, Weights

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["qwen_image_edit"]

_BYTES = 2  # bf16
_DIM, _HEAD, _BLOCKS, _TEXT = 3_072, 128, 60, 3_584  # transformer: 24 heads of 128; joint_attention_dim
_LM_LAYERS, _LM_KV, _LM_MLP, _VOCABULARY = 28, 4 * 128, 18_944, 152_064
_VISION_LAYERS, _VISION, _VISION_MLP = 32, 1_280, 3_420
_VAE_PARAMETERS = 126_892_531


def qwen_image_edit() -> Weights:
    """The weights of `Qwen/Qwen-Image-Edit` in bf16."""
    return Weights(
        _component("transformer", _transformer()),
        _component("text_encoder", _text_encoder()),
        # It always stays on the device whole, so its parts do not matter.
        _component("vae", iter([("weights", (_VAE_PARAMETERS,))])),
    )


def _component(name: str, shapes: Iterator[tuple[str, tuple[int, ...]]]) -> Component:
    return Component(name, tuple(Tensor(key, shape, prod(shape) * _BYTES) for key, shape in shapes))


def _linear(name: str, inner: int, outer: int, *, bias: bool = True) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (outer, inner)
    if bias:
        yield f"{name}.bias", (outer,)


def _transformer() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _linear("time_text_embed.timestep_embedder.linear_1", 256, _DIM)
    yield from _linear("time_text_embed.timestep_embedder.linear_2", _DIM, _DIM)
    yield "txt_norm.weight", (_TEXT,)
    yield from _linear("img_in", 64, _DIM)
    yield from _linear("txt_in", _TEXT, _DIM)
    for number in range(_BLOCKS):
        block = f"transformer_blocks.{number}"
        for stream in ("img", "txt"):
            yield from _linear(f"{block}.{stream}_mod.1", _DIM, 6 * _DIM)
            yield from _linear(f"{block}.{stream}_mlp.net.0.proj", _DIM, 4 * _DIM)
            yield from _linear(f"{block}.{stream}_mlp.net.2", 4 * _DIM, _DIM)
        for part in ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0", "to_add_out"):
            yield from _linear(f"{block}.attn.{part}", _DIM, _DIM)
        for part in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
            yield f"{block}.attn.{part}.weight", (_HEAD,)
    yield from _linear("norm_out.linear", _DIM, 2 * _DIM)
    yield from _linear("proj_out", _DIM, 64)


def _text_encoder() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "visual.patch_embed.proj.weight", (_VISION, 3, 2, 14, 14)
    for number in range(_VISION_LAYERS):
        layer = f"visual.blocks.{number}"
        yield f"{layer}.norm1.weight", (_VISION,)
        yield f"{layer}.norm2.weight", (_VISION,)
        yield from _linear(f"{layer}.attn.qkv", _VISION, 3 * _VISION)
        yield from _linear(f"{layer}.attn.proj", _VISION, _VISION)
        yield from _linear(f"{layer}.mlp.gate_proj", _VISION, _VISION_MLP)
        yield from _linear(f"{layer}.mlp.up_proj", _VISION, _VISION_MLP)
        yield from _linear(f"{layer}.mlp.down_proj", _VISION_MLP, _VISION)
    yield "visual.merger.ln_q.weight", (_VISION,)
    yield from _linear("visual.merger.mlp.0", 4 * _VISION, 4 * _VISION)
    yield from _linear("visual.merger.mlp.2", 4 * _VISION, _TEXT)
    yield "model.embed_tokens.weight", (_VOCABULARY, _TEXT)
    for number in range(_LM_LAYERS):
        layer = f"model.layers.{number}"
        yield f"{layer}.input_layernorm.weight", (_TEXT,)
        yield f"{layer}.post_attention_layernorm.weight", (_TEXT,)
        yield from _linear(f"{layer}.self_attn.q_proj", _TEXT, _TEXT)
        yield from _linear(f"{layer}.self_attn.k_proj", _TEXT, _LM_KV)
        yield from _linear(f"{layer}.self_attn.v_proj", _TEXT, _LM_KV)
        yield from _linear(f"{layer}.self_attn.o_proj", _TEXT, _TEXT, bias=False)
        yield from _linear(f"{layer}.mlp.gate_proj", _TEXT, _LM_MLP, bias=False)
        yield from _linear(f"{layer}.mlp.up_proj", _TEXT, _LM_MLP, bias=False)
        yield from _linear(f"{layer}.mlp.down_proj", _LM_MLP, _TEXT, bias=False)
    yield "model.norm.weight", (_TEXT,)
    yield from _linear("lm_head", _TEXT, _VOCABULARY, bias=False)
