"""What is to be made: one edit as a value, and many of them from pictures, prompts, variations or a file of jobs."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.loading.work import ONE_EDIT, Work

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "GUIDANCE",
    "NO_PICTURES",
    "Edit",
    "Size",
    "expanded",
    "from_lines",
    "numbered",
    "parse_size",
    "pictures_in",
    "settled",
    "work_of",
]

GUIDANCE = 4.0  # as the model cards say
NO_PICTURES = (Path(),)
"""Stands for pictures that each job names itself."""
_STEPS = {"QwenImageEditPipeline": 50, "QwenImageEditPlusPipeline": 40}  # likewise
_SUFFIXES = {".avif", ".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".jxl", ".png", ".tif", ".tiff", ".webp"}
Size = tuple[int, int] | Literal["input"] | None


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit.

    Attributes:
        images: The pictures it starts from; several only for the Plus editions.
        prompt: What to do.
        output: The PNG to write.
        steps: Denoising steps, 2 or more; None: what the model card says, or the Lightning LoRA.
        seed: The same seed gives the same picture on the same machine; None: a new one.
        size: Width and height in pixels; ``input``: those of the last picture; None: about 1 Mpx in its shape.
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
    size: Size = None
    guidance: float | None = None
    negative: str = " "

    def __post_init__(self) -> None:  # noqa: D105 - see the class
        checks = (
            (bool(self.images), "an edit wants a picture to start from"),
            (
                self.steps is None or self.steps >= 2,
                "--steps wants 2 or more: one step divides by zero in this model's schedule, and the picture is black",
            ),
            (self.seed is None or 0 <= self.seed < 2**63, "--seed wants a number of 0 or more"),
            (self.guidance is None or self.guidance >= 1, "--guidance wants a number of 1 or more"),
            (
                not isinstance(self.size, tuple) or all(64 <= side <= 4096 for side in self.size),
                "--size wants sides of 64 to 4096 pixels, such as 1024x768",
            ),
        )
        for right, detail in checks:
            if not right:
                raise Problem(catalogue.USAGE, detail=f"{detail}.")


def settled(edit: Edit, class_name: str, lightning: int | None) -> Edit:
    """The same with steps and guidance as the model card says, or as the Lightning LoRA wants them."""
    steps = edit.steps or lightning or _STEPS.get(class_name, 50)
    return replace(edit, steps=steps, guidance=edit.guidance or (1.0 if lightning else GUIDANCE))


def work_of(edits: Sequence[Edit]) -> Work:
    """What they are together, as far as memory and time depend on it: the largest of each.

    Args:
        edits: Settled ones.
    """
    guided = any((edit.guidance or 1) > 1 for edit in edits)
    sizes = [edit.size[0] * edit.size[1] for edit in edits if isinstance(edit.size, tuple)]
    return Work(
        edits=len(edits),
        passes=max(edit.steps or 0 for edit in edits) * (2 if guided else 1),
        texts=len({(edit.images, edit.prompt) for edit in edits}) * (2 if guided else 1),
        pixels=max([*sizes, 0 if len(sizes) == len(edits) else ONE_EDIT.pixels]),
        pictures=max(len(edit.images) for edit in edits),
    )


def parse_size(text: str) -> Size:
    """``input`` or ``WIDTHxHEIGHT``.

    Raises:
        ValueError: It is neither.
    """
    if text == "input":
        return "input"
    width, _, height = text.lower().partition("x")
    return int(width), int(height)


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder, by their names.

    Raises:
        Problem: (usage) It holds none.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not found:
        raise Problem(catalogue.USAGE, detail=f"{folder} holds no pictures.")
    return found


def expanded(first: Edit, prompts: Sequence[str], *, variations: int, each: bool) -> list[Edit]:
    """Every picture, or all together, with every prompt, so many times.

    Args:
        first: What they share; its output is the folder, or the one picture's name.
        prompts: What to do.
        variations: With how many seeds.
        each: Every picture by itself.
    """
    sets = [(image,) for image in first.images] if each else [first.images]
    edits = []
    for images, (one, prompt), number in product(sets, enumerate(prompts), range(variations)):
        words = [images[0].stem] if each else [first.output.stem]
        words += [str(one + 1)] if len(prompts) > 1 else []
        words += [str(number + 1)] if variations > 1 else []
        folder = first.output if each else first.output.parent
        output = folder / f"{'-'.join(words)}.png"
        if not each and len(prompts) * variations == 1:
            output = first.output
        seed = None if first.seed is None else first.seed + number
        edits.append(replace(first, images=images, prompt=prompt, output=output, seed=seed))
    return edits


def from_lines(lines: Iterable[str], shared: Edit, source: str) -> list[Edit]:
    """A job for each line: a JSON object with the fields of `Edit`, or just a prompt for the shared pictures.

    Args:
        lines: Empty ones are nothing.
        shared: What a line does not say; its output is the folder.
        source: Where they are from, for messages.

    Raises:
        Problem: (usage) A line makes no sense; it says which.
    """
    edits = []
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            values = json.loads(text) if text.lstrip().startswith("{") else {"prompt": text.strip()}
            edits.append(_from_values(values, shared, number))
        except (ValueError, TypeError, Problem) as error:
            detail = f"{source}, line {number}: {error}"
            raise Problem(catalogue.USAGE, detail=detail.rstrip(".") + ".") from None
    if not edits:
        raise Problem(catalogue.USAGE, detail=f"{source} holds no jobs.")
    return edits


def numbered(edits: Sequence[Edit]) -> list[Edit]:
    """The same, each with an output of its own: pictures of different folders may have one name."""
    taken: set[Path] = set()
    result = []
    for edit in edits:
        output, number = edit.output, 1
        while output in taken:
            number += 1
            output = edit.output.with_stem(f"{edit.output.stem}_{number}")
        taken.add(output)
        result.append(replace(edit, output=output))
    return result


def _from_values(values: dict[str, Any], shared: Edit, number: int) -> Edit:
    known = {field.name for field in fields(Edit)} | {"image"}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(sorted(known))}")
    if not isinstance(values.get("prompt"), str):
        raise TypeError("it wants a prompt")
    images = values.pop("images", values.pop("image", None))
    if images is not None:
        values["images"] = tuple(map(Path, [images] if isinstance(images, str) else images))
    elif shared.images == NO_PICTURES:
        raise ValueError("it wants an image, for none is on the command line")
    if isinstance(size := values.get("size"), str):
        values["size"] = parse_size(size)
    elif size is not None:
        values["size"] = (int(size[0]), int(size[1]))
    values["output"] = shared.output / values.get("output", f"{number:04}.png")
    return replace(shared, **values)
