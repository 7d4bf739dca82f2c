"""The small files of the made-up repo: configs as they are, vocabularies as large as the scale says."""

import json
from collections.abc import Iterator

_README = b"""---
license: apache-2.0
library_name: diffusers
pipeline_tag: image-to-image
---
# A made-up Qwen-Image-Edit

Right names and proportions, no model: the weights are pseudo-random bytes.
"""
_ATTRIBUTES = b"""*.safetensors filter=lfs diff=lfs merge=lfs -text
processor/tokenizer.json filter=lfs diff=lfs merge=lfs -text
"""
_CHAT_TEMPLATE = (
    b"{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
)
_SPECIAL = {"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645, "<|image_pad|>": 151655}

_CONFIGS: dict[str, object] = {
    "model_index.json": {
        "_class_name": "QwenImageEditPipeline",
        "_diffusers_version": "0.35.0.dev0",
        "processor": ["transformers", "Qwen2VLProcessor"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
        "tokenizer": ["transformers", "Qwen2Tokenizer"],
        "transformer": ["diffusers", "QwenImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKLQwenImage"],
    },
    "processor/preprocessor_config.json": {
        "image_processor_type": "Qwen2VLImageProcessor",
        "max_pixels": 12_845_056,
        "merge_size": 2,
        "min_pixels": 3_136,
        "patch_size": 14,
        "processor_class": "Qwen2_5_VLProcessor",
        "temporal_patch_size": 2,
    },
    "processor/video_preprocessor_config.json": {
        "merge_size": 2,
        "patch_size": 14,
        "processor_class": "Qwen2_5_VLProcessor",
        "video_processor_type": "Qwen2VLVideoProcessor",
    },
    "scheduler/scheduler_config.json": {
        "_class_name": "FlowMatchEulerDiscreteScheduler",
        "_diffusers_version": "0.35.0.dev0",
        "base_image_seq_len": 256,
        "base_shift": 0.5,
        "max_image_seq_len": 8_192,
        "max_shift": 0.9,
        "num_train_timesteps": 1_000,
        "shift": 1.0,
        "shift_terminal": 0.02,
        "time_shift_type": "exponential",
        "use_dynamic_shifting": True,
    },
    "text_encoder/config.json": {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "hidden_size": 3_584,
        "intermediate_size": 18_944,
        "max_position_embeddings": 128_000,
        "model_type": "qwen2_5_vl",
        "num_attention_heads": 28,
        "num_hidden_layers": 28,
        "num_key_value_heads": 4,
        "rope_scaling": {"mrope_section": [16, 24, 24], "type": "mrope"},
        "rope_theta": 1_000_000.0,
        "torch_dtype": "bfloat16",
        "vocab_size": 152_064,
    },
    "text_encoder/generation_config.json": {"eos_token_id": [151645, 151643], "pad_token_id": 151643},
    "transformer/config.json": {
        "_class_name": "QwenImageTransformer2DModel",
        "_diffusers_version": "0.35.0.dev0",
        "attention_head_dim": 128,
        "axes_dims_rope": [16, 56, 56],
        "guidance_embeds": False,
        "in_channels": 64,
        "joint_attention_dim": 3_584,
        "num_attention_heads": 24,
        "num_layers": 60,
        "out_channels": 16,
        "patch_size": 2,
    },
    "vae/config.json": {
        "_class_name": "AutoencoderKLQwenImage",
        "_diffusers_version": "0.35.0.dev0",
        "attn_scales": [],
        "base_dim": 96,
        "dim_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "temperal_downsample": [False, True, True],
        "z_dim": 16,
    },
}


def small_files(scale: float) -> dict[str, bytes]:
    """Return path and content of every file that is neither a weight, an index nor `tokenizer.json`.

    The vocabulary and the merges are scaled like the weights. As in the real repo, `processor/` and
    `tokenizer/` hold the same files: two paths, one blob.

    Args:
        scale: Size relative to the real vocabulary, 1.0 for 2.8 MB.
    """
    files = {path: _pretty(config) for path, config in _CONFIGS.items()}
    files["README.md"] = _README
    files[".gitattributes"] = _ATTRIBUTES
    words = max(64, round(151_643 * scale))
    vocabulary = json.dumps({word: number for number, word in enumerate(_words(words))}).encode()
    merges = "".join(f"{word[:3]} {word[3:]}\n" for word in _words(words)).encode()
    for part in ("processor", "tokenizer"):
        files[f"{part}/added_tokens.json"] = _pretty(_SPECIAL)
        files[f"{part}/chat_template.jinja"] = _CHAT_TEMPLATE
        files[f"{part}/merges.txt"] = b"#version: 0.2\n" + merges
        files[f"{part}/special_tokens_map.json"] = _pretty(
            {"additional_special_tokens": list(_SPECIAL), "eos_token": "<|im_end|>"}
        )
        files[f"{part}/tokenizer_config.json"] = _pretty(
            {"model_max_length": 131_072, "tokenizer_class": "Qwen2Tokenizer", "unk_token": None}
        )
        files[f"{part}/vocab.json"] = vocabulary
    return files


def tokenizer_json(size: int) -> bytes:
    """Return a JSON text of exactly `size` bytes that looks like a tokenizer file."""
    words = list(_words(size // 16))  # each takes less than 16 bytes; spaces make up the rest
    text = json.dumps({"version": "1.0", "model": {"type": "BPE", "merges": words}}, separators=(",", ":"))
    return text.encode().ljust(size)


def _words(count: int) -> Iterator[str]:
    """Yield `count` different words of eight letters."""
    for number in range(count):
        yield "".join(chr(ord("a") + (number * 2_654_435_761 >> shift) % 16) for shift in range(0, 32, 4))


def _pretty(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
