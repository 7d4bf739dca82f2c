"""What `Qwen/Qwen-Image-Edit` is known to hold, for the time before the Hub was ever asked.

The weights' sizes follow from the architecture and its sharding; small files change now and then, so only their names
are here. Never used to verify anything.
"""

from __future__ import annotations

__all__ = ["KNOWN_TREE"]

_TRANSFORMER = (
    4_989_364_312,
    4_984_214_160,
    4_946_470_000,
    4_984_213_736,
    4_946_471_896,
    4_946_451_560,
    4_908_690_520,
    4_984_232_856,
    1_170_918_840,
)
_TEXT_ENCODER = (4_968_243_304, 4_991_495_816, 4_932_751_040, 1_691_924_384)
_TOKENS = "added_tokens.json chat_template.jinja merges.txt special_tokens_map.json tokenizer_config.json vocab.json"
_SMALL = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/generation_config.json",
    "text_encoder/model.safetensors.index.json",
    "transformer/config.json",
    "transformer/diffusion_pytorch_model.safetensors.index.json",
    "vae/config.json",
    "processor/preprocessor_config.json",
    "processor/video_preprocessor_config.json",
    *(f"{folder}/{name}" for folder in ("processor", "tokenizer") for name in _TOKENS.split()),
)

KNOWN_TREE: dict[str, int | None] = {
    **dict.fromkeys(_SMALL),
    **{
        f"transformer/diffusion_pytorch_model-{number:05d}-of-00009.safetensors": size
        for number, size in enumerate(_TRANSFORMER, start=1)
    },
    **{
        f"text_encoder/model-{number:05d}-of-00004.safetensors": size
        for number, size in enumerate(_TEXT_ENCODER, start=1)
    },
    "vae/diffusion_pytorch_model.safetensors": 253_806_966,
    "processor/tokenizer.json": 11_421_896,
}
"""Size in bytes of each file a pipeline needs, by path; None where it is not known."""
