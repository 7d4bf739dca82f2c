"""Measure the placements on this machine, on random weights of the real architecture: peak memory, seconds a step.

    python tools/measure_placement.py --cap 15.5              the card limited to 15.5 GB, as an RTX 4080 has free
    python tools/measure_placement.py --calibrate             the rates that the estimates assume, in seconds
    python tools/measure_placement.py --device cpu --tiny     a trial of the script itself, without a GPU

Nothing is downloaded. The weights are written to a temporary folder first, as many of the transformer's 60 blocks as
RAM and disk hold; then every rung of the ladder is loaded in a process of its own, so that its peaks are its own, and
makes one edit at 1024x1024 with guidance.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # also runs where the package is not installed

from qwen_fetch.base.problem import Problem
from qwen_fetch.base.settings import Settings
from qwen_fetch.loading.architecture import qwen_image_edit
from qwen_fetch.loading.checkpoint import open_checkpoint
from qwen_fetch.loading.estimate import rates_of
from qwen_fetch.loading.hardware import EXACT_PINNING, Device, Hardware, available_ram, peak_ram
from qwen_fetch.loading.ladder import choose
from qwen_fetch.loading.placement import Strategy, Wishes, gib

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT_TOKENS = 1_450  # a prompt and the reference picture
TILE, BLOCK, SIDE = 16 << 20, 1 << 30, 8_192  # bytes, bytes, elements
RAM_SHARE, DISK_SHARE = 0.6, 0.9  # of what is free, for the weights that are written

# The defaults of the diffusers classes are the real dimensions; those of the text encoder are from its config.json.
REAL_TEXT = {
    "hidden_size": 3_584,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152_064,
    "rope_parameters": {"type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6},
}
TINY_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 512,
    "rope_parameters": {"type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e6},
}
REAL_VISION = {"depth": 32, "hidden_size": 1_280, "intermediate_size": 3_420, "out_hidden_size": 3_584}
TINY_VISION = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32}
TINY_TRANSFORMER = {
    "in_channels": 16,
    "out_channels": 4,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "axes_dims_rope": (4, 6, 6),
}
TINY_VAE = {
    "base_dim": 8,
    "z_dim": 4,
    "num_res_blocks": 1,
    "latents_mean": [0.0] * 4,
    "latents_std": [1.0] * 4,
}


def main() -> int:
    """Write the weights, then measure every rung."""
    arguments = _parser().parse_args()
    if arguments.calibrate:
        calibrate(arguments.device)
        return 0
    if arguments.rung:
        print(json.dumps(measure(arguments)))
        return 0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        blocks = write_weights(Path(name), tiny=arguments.tiny)
        print(f"{blocks} blocks; device {arguments.device}, cap {arguments.cap or 'none'}")
        print(f"{'rung':<22}{'GPU peak':>11}{'calculated':>11}{'RAM peak':>11}{'pinned':>11}{'load':>9}{'step':>9}")
        for rung in arguments.rungs:
            command = [sys.executable, __file__, *sys.argv[1:], "--folder", name, "--rung", rung]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this script
            if ended.returncode:
                print(f"{rung:<22}  {(ended.stderr.strip().splitlines() or ['failed'])[-1][:90]}")
            else:
                print(_row(rung, json.loads(ended.stdout.splitlines()[-1])))
    return 0


def write_weights(folder: Path, *, tiny: bool) -> int:
    """Save a pipeline of random weights, without its tokenizer; returns the number of its blocks."""
    import diffusers  # noqa: PLC0415 - heavy
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    blocks = 2 if tiny else _blocks_that_fit(folder)
    config = transformers.Qwen2_5_VLConfig(
        text_config=TINY_TEXT if tiny else REAL_TEXT,
        vision_config=TINY_VISION if tiny else REAL_VISION,
        tie_word_embeddings=False,
        dtype="bfloat16",
    )
    with torch.device("meta"):
        models = {
            "transformer": diffusers.QwenImageTransformer2DModel(
                num_layers=blocks, **(TINY_TRANSFORMER if tiny else {})
            ),
            "vae": diffusers.AutoencoderKLQwenImage(**(TINY_VAE if tiny else {})),
            "text_encoder": transformers.Qwen2_5_VLForConditionalGeneration(config),
        }
    tile = torch.empty(TILE // 2, dtype=torch.bfloat16).normal_(0, 0.02).view(torch.uint8).numpy().tobytes()
    for name, model in models.items():
        (folder / name).mkdir()
        file = "model.safetensors" if name == "text_encoder" else "diffusion_pytorch_model.safetensors"
        write_tensors(folder / name / file, {key: tuple(one.shape) for key, one in model.state_dict().items()}, tile)
        model.config.save_pretrained(folder / name) if name == "text_encoder" else model.save_config(folder / name)
    diffusers.FlowMatchEulerDiscreteScheduler(shift_terminal=0.02, use_dynamic_shifting=True).save_pretrained(
        folder / "scheduler"
    )
    index = {
        "_class_name": "QwenImageEditPipeline",
        "processor": [None, None],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
        "tokenizer": [None, None],
        "transformer": ["diffusers", "QwenImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKLQwenImage"],
    }
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return blocks


def write_tensors(path: Path, shapes: dict[str, tuple[int, ...]], tile: bytes) -> None:
    """Write a safetensors file in bf16, filled with the same random tile again and again: as fast as the disk is."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for begin in range(0, end, len(tile)):
            file.write(memoryview(tile)[: end - begin])


def calibrate(device: str) -> None:
    """Print what the estimates assume of this machine, and what it does."""
    import torch  # noqa: PLC0415 - heavy

    on_gpu = device.startswith("cuda")
    model = torch.cuda.get_device_name(device) if on_gpu else "CPU"
    rates = rates_of(Device(device, 0, model))
    print(f"{model}: measured, and assumed by qwen_fetch.loading.estimate where it assumes it")
    matrix = torch.randn(SIDE if on_gpu else 1024, SIDE if on_gpu else 1024, dtype=torch.bfloat16, device=device)
    multiplied = _per_second(lambda: matrix @ matrix, 2 * matrix.shape[0] ** 3, device)
    print(f"{'multiplied, bf16':<28}{multiplied / 1e12:>9.1f} TFLOPS {rates.flop / 1e12 if on_gpu else 0:>9.1f} TFLOPS")
    block = torch.empty(BLOCK if on_gpu else TILE, dtype=torch.uint8)
    copied = _per_second(block.clone, block.numel(), device)
    print(f"{'copied within RAM':<28}{copied / 1e9:>9.1f} GB/s")
    if not on_gpu:
        return
    pinned = _per_second(block.pin_memory, block.numel(), device)
    ready, there = block.pin_memory(), block.to(device)
    for what, action, assumed in (
        ("page-locked", None, 1.17e9),
        ("to the GPU, page-locked", lambda: there.copy_(ready, non_blocking=True), rates.bus),
        ("to the GPU, pageable", lambda: block.to(device), 4.5e9),
        ("back, pageable", there.cpu, 1.7e9),
    ):
        rate = pinned if action is None else _per_second(action, block.numel(), device)
        print(f"{what:<28}{rate / 1e9:>9.1f} GB/s   {assumed / 1e9:>9.1f} GB/s")


def _per_second(action: Callable[[], object], amount: float, device: str) -> float:
    import torch  # noqa: PLC0415 - heavy

    def finish() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    action()
    finish()
    began, times = time.monotonic(), 0
    while times < 3 or time.monotonic() - began < 0.5:
        action()
        finish()
        times += 1
    return amount * times / (time.monotonic() - began)


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Load one rung and make one edit; bytes and seconds.

    Raises:
        Problem: The rung does not fit on this machine.
    """
    checkpoint = open_checkpoint(Settings(), arguments.folder)
    if "stream" in arguments.rung and "leaf" not in arguments.rung:
        os.environ["PYTORCH_ALLOC_CONF"] = EXACT_PINNING
    import torch  # noqa: PLC0415 - after its settings

    from qwen_fetch.loading import placing  # noqa: PLC0415 - imports torch

    machine = _machine(arguments)
    wishes = Wishes(strategy=arguments.rung)
    placement = choose(machine, checkpoint.weights, wishes)
    began = time.monotonic()
    pipeline = placing.build(checkpoint, placement, torch.bfloat16, tokenizer=None, processor=None)
    placing.place(pipeline, placement, torch.bfloat16)
    loaded = time.monotonic()
    steps = _edit(pipeline, arguments.steps)
    pinned = 0
    if torch.cuda.is_available():
        pinned = torch.cuda.host_memory_stats().get("allocated_bytes.peak", 0)
    return {
        "vram": max(placing.peak_vram().values(), default=0),
        "calculated": placement.peak_vram,
        "ram": peak_ram(),
        "pinned": pinned,
        "load": loaded - began,
        "step": (steps[-1] - steps[0]) / (len(steps) - 1),
    }


def _machine(arguments: argparse.Namespace) -> Hardware:
    import torch  # noqa: PLC0415

    if not arguments.device.startswith("cuda"):
        return Hardware((Device(arguments.device, available_ram()),), available_ram(), exact_pinning=True)
    free, total = torch.cuda.mem_get_info(arguments.device)
    if arguments.cap:
        torch.cuda.set_per_process_memory_fraction(min(1.0, arguments.cap * 1e9 / total), arguments.device)
        free = min(free, int(arguments.cap * 1e9))
    model = torch.cuda.get_device_name(arguments.device)
    return Hardware((Device(arguments.device, free, model),), available_ram(), exact_pinning=True)


def _edit(pipeline: Any, count: int) -> list[float]:
    """One edit with guidance; when each step ended. The first one prepares the streams, and is not counted."""
    import torch  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    device = pipeline._execution_device  # noqa: SLF001 - where diffusers itself puts its inputs
    words = torch.randint(0, 256, (1, TEXT_TOKENS), device=device)
    mask = torch.ones_like(words)
    with torch.no_grad():
        text = pipeline.text_encoder(input_ids=words, attention_mask=mask, output_hidden_states=True).hidden_states[-1]
    ended: list[float] = []

    def after_step(_pipeline: Any, _step: int, _time: Any, values: dict[str, Any]) -> dict[str, Any]:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        ended.append(time.monotonic())
        return values

    pipeline.set_progress_bar_config(disable=True)
    pipeline(
        image=Image.new("RGB", (1024, 1024)),
        prompt_embeds=text,
        prompt_embeds_mask=mask,
        negative_prompt_embeds=text,
        negative_prompt_embeds_mask=mask,
        true_cfg_scale=4.0,
        num_inference_steps=count + 1,
        callback_on_step_end=after_step,
    )
    return ended


def _blocks_that_fit(folder: Path) -> int:
    real = qwen_image_edit()
    room = min(RAM_SHARE * available_ram(), DISK_SHARE * shutil.disk_usage(folder).free - real.text_encoder.bytes)
    return max(2, min(len(real.transformer.blocks), int(room // max(real.transformer.blocks.values()))))


def _row(rung: str, found: dict[str, float]) -> str:
    sizes = "".join(f"{gib(found[name]):>11}" for name in ("vram", "calculated", "ram", "pinned"))
    return f"{rung:<22}{sizes}{found['load']:>7.1f} s{found['step']:>7.2f} s"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0", help="default: %(default)s")
    parser.add_argument("--cap", type=float, metavar="GB", help="let torch take no more of the card than this")
    parser.add_argument("--steps", type=int, default=3, help="steps to time (default: %(default)s)")
    parser.add_argument("--rungs", nargs="+", type=Strategy, default=[*Strategy], help="default: all")
    parser.add_argument("--calibrate", action="store_true", help="measure rates alone, beside those that are assumed")
    parser.add_argument("--tiny", action="store_true", help="a model of a few hundred kilobytes")
    parser.add_argument("--folder", type=Path, help="where the weights are written (default: the temporary folder)")
    parser.add_argument("--rung", type=Strategy, help=argparse.SUPPRESS)  # given to the process of one rung
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Problem as problem:
        sys.exit(f"{problem.what} {problem.why}")
