"""A Qwen-Image-Edit of a few hundred kilobytes: the real classes, the real files, random weights.

The dimensions keep what the classes demand of each other: a head is as wide as the sum of the RoPE axes, the
transformer takes 4 latent channels of the VAE at once, the text is as wide as the text encoder, and the VAE has 4
levels, or a picture of 1 Mpx becomes 65,536 tokens.
"""

from __future__ import annotations

import json
import runpy
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

SHIM = Path(__file__).with_name("torchvision_shim")
runpy.run_path(str(SHIM / "sitecustomize.py"))  # before diffusers, which imports torchvision

import diffusers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

torch.set_num_threads(1)  # so small, threads only wait for each other

SPECIALS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
)
SCHEDULER = {
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 8192,
    "max_shift": 0.9,
    "shift_terminal": 0.02,
    "use_dynamic_shifting": True,
}


def make_tiny(folder: Path, *, plus: bool = False, layout_of_2025: bool = False) -> Path:
    """Save a pipeline in shards, as transformers 5 does or as it lies on the Hub since 2025."""
    torch.manual_seed(0)
    tokenizer = _tokenizer(folder)
    pipeline_class = diffusers.QwenImageEditPlusPipeline if plus else diffusers.QwenImageEditPipeline
    pipeline = pipeline_class(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(**SCHEDULER),
        vae=_vae(),
        text_encoder=_text_encoder(),
        tokenizer=tokenizer,
        processor=transformers.Qwen2VLProcessor(
            image_processor=transformers.Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=56 * 56),
            tokenizer=tokenizer,
            video_processor=transformers.Qwen2VLVideoProcessor(),
            chat_template=TEMPLATE,
        ),
        transformer=_transformer(),
    )
    pipeline.to(torch.bfloat16).save_pretrained(folder, max_shard_size="150KB")
    if layout_of_2025:
        _as_of_2025(folder)
    return folder


LORA_STYLES = ("diffusers", "lightx2v", "bare", "comfyui", "kohya", "peft")
_LORA_RANK, _LORA_ALPHA = 2, 4
_LORA_NAMES = {  # prefix, halves, and whether a scale stands beside them
    "diffusers": ("transformer.", ("lora_A", "lora_B"), False),
    "lightx2v": ("", ("lora_down", "lora_up"), True),
    "bare": ("", ("lora_A", "lora_B"), False),
    "comfyui": ("diffusion_model.", ("lora_A", "lora_B"), False),
    "kohya": ("lora_unet_", ("lora_down", "lora_up"), True),
    "peft": ("base_model.model.", ("lora_A", "lora_B"), False),
}


def make_lora(path: Path, style: str = "diffusers", *, seed: int = 1, width: int = 32, **metadata: str) -> Path:
    """Save a LoRA for the tiny transformer, with the names that programs give; strong enough to change the picture.

    The product is the same in every style: where a scale stands beside it, or in PEFT's configuration, one half is
    smaller by it.
    """
    random = torch.Generator().manual_seed(seed)
    prefix, (down, up), scaled = _LORA_NAMES[style]
    tensors: dict[str, torch.Tensor] = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    if style == "peft":
        (path.parent / "adapter_config.json").write_text(json.dumps({"r": _LORA_RANK, "lora_alpha": _LORA_ALPHA}))
    for number in range(4):
        for layer in ("attn.to_q", "attn.to_out.0", "attn.add_k_proj", "img_mod.1", "txt_mlp.net.2"):
            key = f"transformer_blocks.{number}.{layer}"
            inner = 128 if layer == "txt_mlp.net.2" else width
            outer = 192 if layer == "img_mod.1" else width
            key = prefix + (key.replace(".", "_") if style == "kohya" else key)
            scale = _LORA_ALPHA / _LORA_RANK if scaled or style == "peft" else 1
            one = torch.randn(_LORA_RANK, inner, generator=random).to(torch.bfloat16) / scale
            other = torch.randn(outer, _LORA_RANK, generator=random).to(torch.bfloat16) / 2
            tensors |= {f"{key}.{down}.weight": one, f"{key}.{up}.weight": other}
            if scaled:
                tensors[f"{key}.alpha"] = torch.tensor(float(_LORA_ALPHA))
    save_file(tensors, path, metadata=metadata or None)
    return path


@contextmanager
def small_references() -> Iterator[None]:
    """The pipelines bring every picture to about 1 Mpx; 4096 pixels show the same and cost a hundredth."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus):
            real = module.calculate_dimensions
            patch.setattr(module, "calculate_dimensions", lambda _area, ratio, real=real: real(64 * 64, ratio))
        yield


def _transformer() -> torch.nn.Module:
    return diffusers.QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=4,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 6, 6),
    )


def _vae() -> torch.nn.Module:
    return diffusers.AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )


def _text_encoder() -> torch.nn.Module:
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "vocab_size": 512,
            "rope_parameters": {"type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e6},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
            "window_size": 112,
        },
        image_token_id=256 + SPECIALS.index("<|image_pad|>"),
        video_token_id=256 + SPECIALS.index("<|video_pad|>"),
        vision_start_token_id=256 + SPECIALS.index("<|vision_start|>"),
        vision_end_token_id=256 + SPECIALS.index("<|vision_end|>"),
        tie_word_embeddings=False,
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def _byte_names() -> list[str]:
    """The 256 characters by which byte-level BPE names the bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    names = {byte: chr(byte) for byte in printable} | {byte: chr(256 + index) for index, byte in enumerate(others)}
    return [names[byte] for byte in range(256)]


def _tokenizer(folder: Path) -> transformers.Qwen2Tokenizer:
    parts = folder.with_name(folder.name + "-tokenizer")
    parts.mkdir(parents=True)
    vocabulary = {name: index for index, name in enumerate(_byte_names())}
    (parts / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (parts / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "added_tokens_decoder": {
            str(256 + index): {"content": token, "special": True} for index, token in enumerate(SPECIALS)
        },
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "model_max_length": 131072,
    }
    (parts / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return transformers.Qwen2Tokenizer.from_pretrained(parts)


def _as_of_2025(folder: Path) -> None:
    """Turn what transformers 5 saves into what lies on the Hub: other names of files, of keys and of weights."""
    source = folder.with_name(folder.name + "-tokenizer")
    specials = {token: 256 + index for index, token in enumerate(SPECIALS)}
    for part in ("tokenizer", "processor"):
        for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
            (folder / part / name).write_bytes((source / name).read_bytes())
        (folder / part / "added_tokens.json").write_text(json.dumps(specials), encoding="utf-8")
    (folder / "tokenizer" / "tokenizer.json").unlink()  # the Hub has it in processor/ alone
    saved = json.loads((folder / "processor" / "processor_config.json").read_text(encoding="utf-8"))
    (folder / "processor" / "processor_config.json").unlink()
    image = saved["image_processor"] | {"processor_class": "Qwen2_5_VLProcessor"}
    image["min_pixels"], image["max_pixels"] = 56 * 56, 56 * 56
    image.pop("size", None)
    (folder / "processor" / "preprocessor_config.json").write_text(json.dumps(image), encoding="utf-8")
    (folder / "processor" / "video_preprocessor_config.json").write_text(
        json.dumps(saved["video_processor"]), encoding="utf-8"
    )
    _flatten_config(folder / "text_encoder" / "config.json")
    _rename_weights(folder / "text_encoder")


def _flatten_config(path: Path) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    flat = {key: value for key, value in text.items() if key not in {"model_type", "dtype", "layer_types"}}
    flat |= {"rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]}, "rope_theta": 1e6}
    config = flat | config | {"model_type": "qwen2_5_vl", "torch_dtype": "bfloat16", "tie_word_embeddings": False}
    config.pop("dtype", None)
    path.write_text(json.dumps(config), encoding="utf-8")


def _rename_weights(folder: Path) -> None:
    def legacy(key: str) -> str:
        return key.replace("model.visual.", "visual.").replace("model.language_model.", "model.")

    for path in folder.glob("*.safetensors"):
        save_file({legacy(key): tensor for key, tensor in load_file(path).items()}, path, metadata={"format": "pt"})
    for path in folder.glob("*.index.json"):
        index = json.loads(path.read_text(encoding="utf-8"))
        index["weight_map"] = {legacy(key): shard for key, shard in index["weight_map"].items()}
        path.write_text(json.dumps(index), encoding="utf-8")
