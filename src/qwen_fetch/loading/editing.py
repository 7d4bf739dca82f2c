"""Edit pictures with a downloaded Qwen-Image-Edit: look at everything first, load once, make and save each."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.units import time_text
from qwen_fetch.loading.checkpoint import open_checkpoint
from qwen_fetch.loading.jobs import settled, work_of
from qwen_fetch.loading.loader import load, plan
from qwen_fetch.loading.outputs import check_name, check_output, noted, save
from qwen_fetch.loading.pictures import fitted, framed, read_picture
from qwen_fetch.loading.placement import Strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from qwen_fetch.loading.jobs import Edit
    from qwen_fetch.loading.loader import Loaded, Plan, Request
    from qwen_fetch.loading.placement import Placement

__all__ = ["Made", "run"]

_EDITORS = {"QwenImageEditPipeline", "QwenImageEditPlusPipeline"}
_MULTIPLE = 16  # pixels: 8 for the VAE, 2 for the transformer's patches
_READ_FIRST = 20  # pictures that are read to see whether they can be; of more, the rest when their turn comes
_PACKAGES = ("torch", "diffusers", "transformers")


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one edit.

    Attributes:
        edit: As it was made: nothing is left open but the seed of one that failed.
        output: Where the picture is.
        problem: Why there is none.
    """

    edit: Edit
    output: Path
    problem: Problem | None = None


def run(edits: Sequence[Edit], request: Request, *, overwrite: bool = False, on_made: Callable[[Made], None]) -> int:
    """Make every edit with one load; one that fails stops no other.

    What an earlier run of the same edits made is kept.

    Args:
        edits: Each with an output of its own.
        request: The model, and where it goes.
        overwrite: Whether a picture that is there already may be replaced.
        on_made: Told after each, in their order.

    Returns:
        How many failed.

    Raises:
        Problem: Nothing can be made: the model cannot be loaded, or an input or an output is wrong.
    """
    for edit in edits:
        check_name(edit.output)
        _check_guidance(edit, request)
    class_name = open_checkpoint(request.settings, request.folder).class_name
    if class_name not in _EDITORS:
        raise Problem(catalogue.EDITS_NOTHING, class_name=class_name)
    edits = [settled(edit, class_name, request.lightning) for edit in edits]
    request = replace(request, work=work_of(edits))
    planned = plan(request)
    kept = {edit.output: _job(edit, planned, request) for edit in edits} if len(edits) > 1 and not overwrite else {}
    kept = {output: job for output, job in kept.items() if noted(output).get("job") == job}
    _check(edits, planned, kept, overwrite=overwrite)
    left = [edit for edit in edits if edit.output not in kept]
    if kept:
        request.say(f"{len(kept)} of {len(edits)} pictures are there already, from the same edits.")
    for edit in edits:
        if edit.output in kept:
            on_made(Made(edit, edit.output))
    return _Session(request, planned, left, on_made).run() if left else 0


class _Session:
    """The edits that are left, on a pipeline that is loaded once."""

    def __init__(self, request: Request, planned: Plan, edits: Sequence[Edit], on_made: Callable[[Made], None]) -> None:
        self._request, self._planned, self._edits, self._on_made = request, planned, edits, on_made
        self._fell = False
        self._loaded: Loaded | None = None
        self._bar: Any = None

    def run(self) -> int:
        from tqdm import tqdm  # noqa: PLC0415 - heavy

        failed = done = 0
        self._load()
        total = sum(edit.steps or 0 for edit in self._edits)
        try:
            with tqdm(desc="Editing", total=total, unit="step", disable=not self._request.progress) as bar:
                self._bar = bar
                for number, edit in enumerate(self._edits, 1):
                    if len(self._edits) > 1:
                        bar.set_description(f"Picture {number} of {len(self._edits)}")
                    made = self._make(edit, bar)
                    failed += made.problem is not None
                    done += made.problem is None
                    bar.clear()
                    self._on_made(made)
                    bar.refresh()
        finally:
            if len(self._edits) > 1 and done < len(self._edits):
                self._request.say(f"{done} of {len(self._edits)} pictures were made; the same command makes the rest.")
        return failed

    def _load(self, after: Strategy | None = None) -> None:
        from qwen_fetch.loading.inference import decode_in_any_case, encode_once  # noqa: PLC0415 - imports torch

        self._loaded = load(self._request, after=after)
        self._loaded.pipeline.set_progress_bar_config(disable=True)
        encode_once(self._loaded.pipeline)
        decode_in_any_case(self._loaded.pipeline, self._say)

    def _say(self, text: str) -> None:
        """Tell the user, on a line of its own above the bar."""
        if self._bar is not None:
            self._bar.clear()
        self._request.say(text)
        if self._bar is not None:
            self._bar.refresh()

    def _make(self, edit: Edit, bar: Any) -> Made:
        job = _job(edit, self._planned, self._request)
        edit = edit if edit.seed is not None else replace(edit, seed=secrets.randbelow(2**32))
        began, before = time.monotonic(), bar.n
        try:
            picture = self._infer(edit, bar)
            output = save(picture, edit.output, self._settings(edit, picture) | {"job": job})
        except Exception as error:
            if len(self._edits) == 1 or self._loaded is None:
                raise
            bar.update(before + (edit.steps or 0) - bar.n)
            return Made(edit, edit.output, _problem_of(error))
        if output != edit.output:
            self._say(f"{edit.output} could not be written any more: the picture is in {output}.")
        self._say(f"{edit.steps} steps in {time_text(time.monotonic() - began)}, seed {edit.seed}.")
        return Made(edit, output)

    def _infer(self, edit: Edit, bar: Any) -> Any:
        pictures = [read_picture(path) for path in edit.images]
        for path, one in zip(edit.images, pictures, strict=True):
            for note in one.notes:
                self._say(f"{path}: {note}.")
        images = [one.image for one in pictures]
        call: dict[str, Any] = {
            "prompt": edit.prompt,
            "negative_prompt": edit.negative if (edit.guidance or 1) > 1 else None,
            "true_cfg_scale": edit.guidance,
            "num_inference_steps": edit.steps,
        }
        if isinstance(edit.size, tuple):
            call["width"], call["height"] = (-(-side // _MULTIPLE) * _MULTIPLE for side in edit.size)
        else:
            images[-1] = fitted(images[-1])
        call["image"] = images if len(images) > 1 else images[0]
        return framed(self._call(edit.seed or 0, call, bar), edit.size, pictures[-1])

    def _call(self, seed: int, call: dict[str, Any], bar: Any) -> Any:
        """Call the pipeline; where the memory does not suffice, once more on the next rung."""
        from qwen_fetch.loading.inference import infer  # noqa: PLC0415 - imports torch
        from qwen_fetch.loading.placing import is_out_of_memory, release  # noqa: PLC0415 - likewise

        before = bar.n
        while True:
            assert self._loaded is not None  # noqa: S101 - for the type checker: `run` loads first
            try:
                return infer(self._loaded.pipeline, bar.update, seed, **call)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                placement = self._loaded.placement
                if self._fell:
                    raise _out_of_memory(placement) from error
            # Outside of the handler, whose traceback holds the pipeline.
            self._fell, self._loaded = True, None
            release()
            bar.update(before - bar.n)
            strategy = placement.strategy
            self._say(f"The memory did not suffice for this edit with {strategy}: the next rung is tried.")
            try:
                self._load(after=placement.strategy)
            except Problem as none:
                raise _out_of_memory(placement) from none

    def _settings(self, edit: Edit, picture: Any) -> dict[str, Any]:
        """What is needed to make the picture again."""
        assert self._loaded is not None  # noqa: S101 - as above
        request, loaded = self._request, self._loaded
        return asdict(edit) | {
            "images": [path.name for path in edit.images],
            "images_sha256": [hashlib.sha256(path.read_bytes()).hexdigest() for path in edit.images],
            "output": edit.output.name,
            "made_size": list(picture.size),
            **_model(self._planned, request),
            "dtype": request.wishes.dtype,
            "strategy": loaded.placement.strategy,
            "versions": {name: metadata.version(name) for name in _PACKAGES},
        }


def _problem_of(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    return Problem(catalogue.UNEXPECTED, detail=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def _model(planned: Plan, request: Request) -> dict[str, Any]:
    return {
        "model": str(request.folder or request.settings.repo_id),
        "commit": planned.checkpoint.commit,
        "quantization": request.wishes.quantization,
        "loras": [lora.as_json() for lora in planned.loras],
        "lightning": request.lightning,
    }


def _job(edit: Edit, planned: Plan, request: Request) -> str:
    """A name for what is asked for, whatever the machine is."""
    asked = (
        [path.name for path in edit.images],
        (edit.prompt, edit.steps, edit.seed, edit.size, edit.guidance, edit.negative, edit.output.name),
        [(lora.name, lora.weight) for lora in planned.loras],
        (request.lightning, str(request.folder or request.settings.repo_id), planned.checkpoint.commit),
    )
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]


def _check_guidance(edit: Edit, request: Request) -> None:
    if request.lightning and (edit.guidance or 1) > 1:
        raise Problem(catalogue.USAGE, detail="--lightning was trained without guidance: leave --guidance away.")
    if request.lightning and edit.negative.strip():
        raise Problem(catalogue.USAGE, detail="--negative works by guidance, which --lightning switches off.")


def _check(edits: Sequence[Edit], planned: Plan, kept: dict[Path, str], *, overwrite: bool) -> None:
    """Everything that can be wrong with inputs and outputs, before the minutes of loading."""
    class_name = planned.checkpoint.class_name
    for edit in edits:
        if len(edit.images) > 1 and "Plus" not in class_name:
            detail = f"{class_name} takes one picture; 2509 and 2511 take several. Each by itself: --each."
            raise Problem(catalogue.USAGE, detail=detail)
        if edit.output not in kept:
            check_output(edit.output, edit.images, overwrite=overwrite, count=len(edits))
    for path in list(dict.fromkeys(path for edit in edits for path in edit.images))[:_READ_FIRST]:
        read_picture(path)
    if len(outputs := [edit.output for edit in edits]) != len(set(outputs)):
        raise Problem(catalogue.USAGE, detail="Two jobs have the same output.")


def _out_of_memory(placement: Placement) -> Problem:
    rungs = list(Strategy)
    below = rungs[min(rungs.index(placement.strategy) + 1, rungs.index(Strategy.LEAF_STREAM))]
    return Problem(
        catalogue.OUT_OF_MEMORY,
        device=placement.part("transformer").device,
        task="this edit",
        strategy=placement.strategy,
        instead=f"Try a smaller picture, such as --size 768x768, or --strategy {below}.",
    )
