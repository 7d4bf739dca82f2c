"""Edit a picture with a downloaded Qwen-Image-Edit: load the pipeline, run it, save the PNG."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.units import time_text
from qwen_fetch.base.version import __version__
from qwen_fetch.loading.loader import load, plan
from qwen_fetch.loading.placement import Strategy

if TYPE_CHECKING:
    from pathlib import Path

    from qwen_fetch.loading.checkpoint import Checkpoint
    from qwen_fetch.loading.loader import Loaded, Request

__all__ = ["GUIDANCE", "Edit", "run"]

GUIDANCE = 4.0  # as the model cards say
_STEPS = {"QwenImageEditPipeline": 50, "QwenImageEditPlusPipeline": 40}  # likewise
_MULTIPLE = 16  # pixels: 8 for the VAE, 2 for the transformer's patches


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit.

    Attributes:
        images: The pictures it starts from; several only for the Plus editions.
        prompt: What to do.
        output: The PNG to write.
        steps: Denoising steps, 2 or more; None: what the model card says, or the Lightning LoRA.
        seed: The same seed gives the same picture on the same machine; None: a new one.
        size: Width and height in pixels; None: about 1 Mpx in the shape of the last picture.
        guidance: How strictly the prompt is followed; above 1, each step costs two passes. None: what the model
            card says; 1 with a Lightning LoRA.
        negative: What to avoid.

    Raises:
        Problem: (usage) A value makes no sense.
    """

    images: tuple[Path, ...]
    prompt: str
    output: Path
    steps: int | None = None
    seed: int | None = None
    size: tuple[int, int] | None = None
    guidance: float | None = None
    negative: str = " "

    def __post_init__(self) -> None:  # noqa: D105 - see the class
        checks = (
            (
                self.steps is None or self.steps >= 2,
                "--steps wants 2 or more: one step divides by zero in this model's schedule, and the picture is black",
            ),
            (self.output.suffix.lower() == ".png", "-o wants a name that ends with .png, which keeps the settings"),
            (self.seed is None or 0 <= self.seed < 2**63, "--seed wants a number of 0 or more"),
            (self.guidance is None or self.guidance >= 1, "--guidance wants a number of 1 or more"),
            (
                self.size is None or all(side >= _MULTIPLE and side % _MULTIPLE == 0 for side in self.size),
                f"--size wants multiples of {_MULTIPLE}, such as 1024x768",
            ),
        )
        for right, detail in checks:
            if not right:
                raise Problem(catalogue.USAGE, detail=f"{detail}.")


def run(edit: Edit, request: Request) -> Path:
    """Load the pipeline, make the edit, save it.

    Raises:
        Problem: It cannot be loaded, a picture cannot be read, or the memory does not suffice.
    """
    if request.lightning and (edit.guidance or 1) > 1:
        detail = "--lightning was trained without guidance: leave --guidance away."
        raise Problem(catalogue.USAGE, detail=detail)
    checkpoint = plan(request).checkpoint  # what can be said at once comes before the minutes of loading
    if len(edit.images) > 1 and "Plus" not in checkpoint.class_name:
        raise Problem(catalogue.USAGE, detail=f"{checkpoint.class_name} takes one picture; 2509 and 2511 take several.")
    images = [_open(path) for path in edit.images]
    loaded = load(request)
    seed = secrets.randbelow(2**32) if edit.seed is None else edit.seed
    edit = _with_defaults(edit, checkpoint, request)
    began = time.monotonic()
    try:
        picture = _infer(loaded, edit, images, seed, progress=request.progress)
    except Exception as error:
        from qwen_fetch.loading.placing import is_out_of_memory  # noqa: PLC0415 - imports torch

        if not is_out_of_memory(error):
            raise
        strategy = loaded.placement.strategy
        raise Problem(
            catalogue.OUT_OF_MEMORY,
            device=loaded.placement.part("transformer").device,
            task="this edit",
            strategy=strategy,
            instead=f"Try a smaller picture, such as --size 768x768, or --strategy {_below(strategy)}.",
        ) from error
    _save(picture, edit, seed, loaded, request)
    request.say(f"{edit.steps} steps in {time_text(time.monotonic() - began)}, seed {seed}.")
    return edit.output


def _with_defaults(edit: Edit, checkpoint: Checkpoint, request: Request) -> Edit:
    steps = edit.steps or request.lightning or _STEPS.get(checkpoint.class_name, 50)
    guidance = edit.guidance or (1.0 if request.lightning else GUIDANCE)
    return replace(edit, steps=steps, guidance=guidance)


def _open(path: Path) -> Any:
    from PIL import Image, ImageOps  # noqa: PLC0415 - of the extra `load`

    try:
        with Image.open(path) as image:
            # As cameras mean it: turned upright, and without transparency.
            return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError) as error:
        raise Problem(catalogue.USAGE, detail=f"{path} is not a picture that can be read ({error}).") from error


def _infer(loaded: Loaded, edit: Edit, images: list[Any], seed: int, *, progress: bool) -> Any:
    import torch  # noqa: PLC0415 - heavy
    from tqdm import tqdm  # noqa: PLC0415 - likewise

    pipeline = loaded.pipeline
    pipeline.set_progress_bar_config(disable=True)
    size = dict(zip(("width", "height"), edit.size, strict=True)) if edit.size else {}
    with tqdm(desc="Editing", total=edit.steps, unit="step", disable=not progress) as bar:

        def after_step(_pipeline: Any, _step: int, _time: Any, values: dict[str, Any]) -> dict[str, Any]:
            bar.update()
            return values

        return pipeline(
            image=images if len(images) > 1 else images[0],
            prompt=edit.prompt,
            negative_prompt=edit.negative if (edit.guidance or 1) > 1 else None,
            true_cfg_scale=edit.guidance,
            num_inference_steps=edit.steps,
            # On the CPU, so that a seed gives the same noise wherever the parts are placed.
            generator=torch.Generator("cpu").manual_seed(seed),
            callback_on_step_end=after_step,
            **size,
        ).images[0]


def _save(picture: Any, edit: Edit, seed: int, loaded: Loaded, request: Request) -> None:
    from PIL.PngImagePlugin import PngInfo  # noqa: PLC0415 - of the extra `load`

    settings = asdict(edit) | {
        "images": [path.name for path in edit.images],
        "output": edit.output.name,
        "seed": seed,
        "size": list(picture.size),
        "model": str(request.folder or request.settings.repo_id),
        "commit": loaded.checkpoint.commit,
        "quantization": request.wishes.quantization,
        "loras": [lora.as_json() for lora in loaded.loras],
        "lightning": request.lightning,
    }
    info = PngInfo()
    info.add_text("Software", f"qwen-fetch {__version__}")
    info.add_itxt("qwen-fetch", json.dumps(settings, ensure_ascii=False))
    part = edit.output.with_name(edit.output.name + ".part")
    try:
        picture.save(part, format="PNG", pnginfo=info)
        part.replace(edit.output)
    except OSError as error:
        detail = (error.strerror or str(error)).lower()
        raise Problem(catalogue.FILE_SYSTEM, path=edit.output, detail=detail) from error


def _below(strategy: Strategy) -> Strategy:
    """A rung that takes less of the GPU."""
    rungs = list(Strategy)
    return rungs[min(rungs.index(strategy) + 1, rungs.index(Strategy.LEAF_STREAM))]
