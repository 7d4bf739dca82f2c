"""Build the pipeline from its folder and put its parts where the placement says. The only module that drives diffusers.

The arguments follow diffusers 0.42.1. `use_stream` only where there are streams; on a CPU the same hooks run without
them, which is how the tests compare pixels.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import accelerate
import diffusers
import torch
import transformers
from diffusers.hooks import apply_group_offloading
from huggingface_hub import constants

from qwen_fetch.loading.placement import Strategy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_fetch.loading.checkpoint import Checkpoint
    from qwen_fetch.loading.placement import Part, Placement

__all__ = ["build", "is_out_of_memory", "peak_vram", "pins_exactly", "place", "release"]

_CPU = torch.device("cpu")


def build(checkpoint: Checkpoint, placement: Placement, dtype: torch.dtype, **given: Any) -> Any:
    """The pipeline that the snapshot names, from its folder alone, still on the CPU.

    The dtype always reaches `from_pretrained`: without it transformer and VAE come up in fp32, which is 99 GB.

    Args:
        checkpoint: The files.
        placement: For how the weights are read.
        dtype: What is computed in.
        given: Components that are not to be loaded.
    """
    options: dict[str, Any] = {"dtype": dtype, "local_files_only": True}
    with _offline(), _without_bars():
        if placement.quantization == "nf4":
            parts = _build_nf4(checkpoint, placement.part("transformer").device, options)
        else:
            # No device_map: diffusers refuses it together with low_cpu_mem_usage=False, and does not know "auto".
            parts = {"low_cpu_mem_usage": placement.load == "mapped"}
        pipeline = getattr(diffusers, checkpoint.class_name).from_pretrained(
            checkpoint.folder, **parts, **options, **given
        )
    gc.collect()  # the loader leaves a reference cycle that holds every shard it read (diffusers 0.42.1)
    return pipeline


def place(pipeline: Any, placement: Placement, dtype: torch.dtype) -> None:
    """Put the parts where the placement says.

    Raises:
        torch.OutOfMemoryError: A device is fuller than was expected; the pipeline is of no use any more.
        RuntimeError: Likewise, for page-locked RAM.
    """
    if placement.quantization == "fp8":
        pipeline.transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
    if placement.tiled:
        pipeline.vae.enable_tiling()
    if placement.strategy is Strategy.MODEL_OFFLOAD:
        pipeline.enable_model_cpu_offload(device=placement.part("transformer").device)
        return
    # Of several devices the pipeline computes on the one that the VAE's hooks name. Without hooks it would be that of
    # its first part by the alphabet, the text encoder.
    spread = placement.strategy is Strategy.SEVERAL_GPUS
    for part in placement.parts:
        module = getattr(pipeline, part.component)
        if part.method in {"block-stream", "leaf-stream"}:
            _stream(module, part)
        elif spread:
            _dispatch(module, part)
        else:
            module.to(part.device)


def release() -> None:
    """Give back what a pipeline that was let go of had taken."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that some memory did not suffice; page-locked RAM has no class of its own."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error)
    )


def peak_vram() -> dict[str, int]:
    """The most that torch has held on each GPU so far, in bytes."""
    if not torch.cuda.is_available():
        return {}
    return {f"cuda:{index}": torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count())}


def pins_exactly() -> bool:
    """Whether page-locked memory really takes what was asked for: measured with a block of 3 MiB."""
    asked = 3 * 2**20

    def held() -> int:
        return int(torch.cuda.host_memory_stats().get("allocated_bytes.current", 0))

    torch.cuda.init()
    before = held()
    block = torch.empty(asked, dtype=torch.uint8, pin_memory=True)
    return bool(held() - before == block.numel())


@contextmanager
def _offline() -> Iterator[None]:
    """No library may ask the Hub for anything meanwhile, whatever it thinks is missing."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def _without_bars() -> Iterator[None]:
    """The bars of the libraries count shards that are only mapped: they would flash by and tell nothing."""
    shown = [
        logging
        for logging in (diffusers.utils.logging, transformers.utils.logging)
        if logging.is_progress_bar_enabled()
    ]
    for logging in shown:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        for logging in shown:
            logging.enable_progress_bar()


def _stream(module: torch.nn.Module, part: Part) -> None:
    device = torch.device(part.device)
    streams = device.type == "cuda"
    by_block = part.method == "block-stream"
    apply_group_offloading(
        module,
        onload_device=device,
        offload_device=_CPU,
        offload_type="block_level" if by_block else "leaf_level",
        num_blocks_per_group=1 if by_block else None,
        use_stream=streams,
        record_stream=streams,
        low_cpu_mem_usage=not part.pinned,  # of the hooks: pin on the way, and keep no pinned copy
    )


def _dispatch(module: torch.nn.Module, part: Part) -> None:
    """Put a model, or each of its blocks, on its device, with hooks that move the inputs there and the result back."""
    device_map = {"": part.device}
    if part.split:
        devices = [device for device, count in part.split for _ in range(count)]
        device_map = {name: part.device for name, _ in module.named_children() if name != "transformer_blocks"}
        device_map |= {f"transformer_blocks.{number}": device for number, device in enumerate(devices)}
    # Without `main_device` accelerate takes any one out of a set.
    accelerate.dispatch_model(
        module,
        device_map=device_map,
        main_device=part.device,
        skip_keys=getattr(module, "_skip_keys", None),
        force_hooks=True,
    )


def _build_nf4(checkpoint: Checkpoint, device: str, options: dict[str, Any]) -> dict[str, Any]:
    """Transformer and text encoder in 4 bits, one after the other: bitsandbytes loads each straight to the GPU.

    What is packed already loads as it is. Needs a CUDA GPU.
    """
    parts = {}
    for name, library in (("text_encoder", transformers), ("transformer", diffusers)):
        more = dict(options)
        if not checkpoint.packed:
            more["quantization_config"] = library.BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=options["dtype"]
            )
        model = getattr(library, checkpoint.components[name][1]).from_pretrained(
            checkpoint.folder, subfolder=name, device_map={"": device}, **more
        )
        parts[name] = model.to("cpu")
        release()
    return parts
