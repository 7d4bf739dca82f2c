"""One edit on a loaded pipeline: texts encoded once, latents never thrown away, nothing black called a result."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.loading.placing import is_out_of_memory, release

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_pixels", "decode_in_any_case", "encode_once", "infer"]

_TEXTS = 32  # remembered, of about 10 MB each
_SMALL_TILES = {  # pixels
    "tile_sample_min_height": 128,
    "tile_sample_min_width": 128,
    "tile_sample_stride_height": 96,
    "tile_sample_stride_width": 96,
}


def infer(pipeline: Any, on_step: Callable[[], None], seed: int, **call: Any) -> Any:
    """Call the pipeline; returns the picture.

    Args:
        pipeline: Placed.
        on_step: Told after each step.
        seed: On the CPU, so that it gives the same noise wherever the parts are placed.
        call: Arguments of the pipeline.

    Raises:
        Problem: (no-picture) The numbers went wrong.
    """
    steps = call["num_inference_steps"]

    def after_step(_pipeline: Any, step: int, _time: Any, values: dict[str, Any]) -> dict[str, Any]:
        # Asking in each step would have the GPU wait for the CPU.
        if step in {0, steps - 1} and not bool(torch.isfinite(values["latents"]).all()):
            raise Problem(catalogue.NO_PICTURE, what=f"numbers that are none (NaN) after step {step + 1} of {steps}")
        on_step()
        return values

    random = torch.Generator("cpu").manual_seed(seed)
    picture = pipeline(**call, generator=random, callback_on_step_end=after_step).images[0]
    check_pixels(picture)
    return picture


def check_pixels(picture: Any) -> None:
    """Whether there is anything to see.

    Raises:
        Problem: (no-picture) Every pixel is the same.
    """
    if all(low == high for low, high in picture.getextrema()):
        raise Problem(catalogue.NO_PICTURE, what=f"a single colour, {picture.getpixel((0, 0))}")


def encode_once(pipeline: Any) -> None:
    """Let the pipeline remember what the text encoder made of a prompt and pictures, for the next edit with both."""
    encode = pipeline.encode_prompt
    known: OrderedDict[Any, Any] = OrderedDict()

    def encode_prompt(**call: Any) -> Any:
        images = call.get("image")
        pictures = images if isinstance(images, list) else [images]
        key = (call.get("prompt"), *map(_digest, pictures))
        if call.get("prompt_embeds") is not None:
            return encode(**call)
        if key not in known:
            known[key] = encode(**call)
        known.move_to_end(key)
        while len(known) > _TEXTS:
            known.popitem(last=False)
        return known[key]

    pipeline.encode_prompt = encode_prompt


def decode_in_any_case(pipeline: Any, say: Callable[[str], None]) -> None:
    """Let the VAE, where the memory does not suffice, decode the same latents in tiles, smaller tiles, on the CPU.

    Args:
        pipeline: Placed.
        say: Told when that happens.
    """
    vae = pipeline.vae
    decode = vae.decode

    def on_the_cpu(latents: torch.Tensor, **options: Any) -> Any:
        hook = vae.__dict__.pop("_hf_hook", None)  # of model offload, which would move it back
        home = next(vae.parameters()).device
        vae.to("cpu")
        try:
            return decode(latents.to("cpu"), **options)
        finally:
            vae.to(home)
            if hook is not None:
                vae._hf_hook = hook  # noqa: SLF001 - as accelerate does

    def in_tiles(latents: torch.Tensor, **options: Any) -> Any:
        vae.enable_tiling()
        return decode(latents, **options)

    def in_small_tiles(latents: torch.Tensor, **options: Any) -> Any:
        vae.enable_tiling(**_SMALL_TILES)
        return decode(latents, **options)

    def sturdy(latents: torch.Tensor, **options: Any) -> Any:
        ways = ((decode, ""), (in_tiles, "in tiles"), (in_small_tiles, "in smaller tiles"), (on_the_cpu, "on the CPU"))
        for way, name in ways:
            if name:
                release()
                say(f"The memory did not suffice to decode the picture: once more, {name}.")
            try:
                return way(latents, **options)
            except Exception as error:
                if not is_out_of_memory(error) or way is on_the_cpu:
                    raise
        raise AssertionError

    vae.decode = sturdy


def _digest(image: Any) -> Any:
    if image is None:
        return None
    return (image.size, hashlib.sha256(image.tobytes()).digest())
