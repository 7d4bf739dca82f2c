"""Load the pipeline from the local snapshot and place it where it runs best on this machine.

In this order: everything that can be checked without torch (files, packages, memory), then torch, then the plan with
what torch can really use, then the weights. Nothing is ever fetched.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from qwen_fetch.base import catalogue
from qwen_fetch.base.door import say
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.settings import DEFAULT_REPO, Settings
from qwen_fetch.base.units import time_text
from qwen_fetch.loading.checkpoint import open_checkpoint
from qwen_fetch.loading.environment import check_cuda, check_packages, import_torch
from qwen_fetch.loading.hardware import EXACT_PINNING, Hardware, look, look_with_torch, peak_ram
from qwen_fetch.loading.ladder import choose, faster_with
from qwen_fetch.loading.lora import find_lightning, find_lora, with_loras
from qwen_fetch.loading.placement import Placement, Wishes, gib
from qwen_fetch.loading.reading import read_ahead
from qwen_fetch.loading.work import ONE_EDIT, Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from qwen_fetch.loading.checkpoint import Checkpoint
    from qwen_fetch.loading.lightning import Passes
    from qwen_fetch.loading.lora import Lora
    from qwen_fetch.loading.placement import Strategy
    from qwen_fetch.loading.weights import Dtype, Quantization, Weights

__all__ = ["Loaded", "Plan", "Request", "has_cuda", "load", "load_pipeline", "plan", "wishes_for"]

_SHORT = {
    "auto": "bfloat16",
    "bf16": "bfloat16",
    "fp16": "float16",
    "half": "float16",
    "fp32": "float32",
    "float": "float32",
}
_SEVERAL = 10  # edits that a pipeline in a program may be loaded for
_ALLOC_CONF = "PYTORCH_ALLOC_CONF"


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be loaded, and how.

    Attributes:
        settings: Which repo, revision and cache.
        wishes: Where to, explicitly or not.
        folder: A folder with the files, instead of the cache.
        progress: Whether phases and bars are shown on stderr.
        loras: Each ``FILE``, ``FOLDER`` or ``REPO[:FILE]``, with ``@WEIGHT`` or without.
        lightning: The LoRA for so many passes, and its scheduler.
        work: What it is loaded for; the fastest placement for it is taken.

    Raises:
        Problem: (usage) A value makes no sense.
    """

    settings: Settings
    wishes: Wishes
    folder: Path | None = None
    progress: bool = True
    loras: tuple[str, ...] = ()
    lightning: Passes | None = None
    work: Work = ONE_EDIT

    def __post_init__(self) -> None:  # noqa: D105 - see the class
        if self.lightning not in {None, 4, 8}:
            raise Problem(catalogue.USAGE, detail=f"lightning wants 4 or 8 passes, not {self.lightning!r}.")

    def say(self, text: str) -> None:
        """Tell the user, on stderr."""
        if self.progress:
            say(text, file=sys.stderr)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be loaded, and where to.

    Attributes:
        checkpoint: The files.
        loras: What is added to them.
        weights: Of both, as stored.
        wishes: As asked for, and as the files are packed.
        placement: Where the parts will go.
    """

    checkpoint: Checkpoint
    loras: tuple[Lora, ...]
    weights: Weights
    wishes: Wishes
    placement: Placement


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pipeline ready to work, and what it took.

    Attributes:
        pipeline: The diffusers pipeline.
        placement: Where its parts are.
        checkpoint: Where it came from.
        loras: What was added to it.
        seconds: How long it took.
        peak_ram: The most RAM the process has had so far, in bytes.
        peak_vram: The most that torch has had on each GPU so far, in bytes.
    """

    pipeline: Any
    placement: Placement
    checkpoint: Checkpoint
    loras: tuple[Lora, ...]
    seconds: float
    peak_ram: int
    peak_vram: dict[str, int]


def load_pipeline(
    repo_id: str = DEFAULT_REPO,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    device_map: str | torch.device | int | None = "auto",
    low_cpu_mem_usage: bool = False,
    dtype: torch.dtype | str | None = None,
    torch_dtype: torch.dtype | str | None = None,
    quantization: Quantization | None = None,
    strategy: str | None = None,
    lora: str | Path | Sequence[str | Path] = (),
    lightning: Passes | None = None,
    progress: bool = True,
) -> Any:
    """Load a downloaded Qwen-Image pipeline, placed for this machine, without the network.

    `device_map="auto"` together with `low_cpu_mem_usage=False`, which diffusers refuses, means here: hold the weights
    in RAM where it is plentiful, copied or page-locked, and place the parts where they run best.

    Args:
        repo_id: ``owner/name`` as it was downloaded, or the path of a folder that holds the files.
        revision: Branch, tag or commit; None: ``main``.
        cache_dir: The Hub cache; None: what HF_HUB_CACHE or HF_HOME says.
        device_map: ``auto``; ``balanced``: spread over several GPUs; or the one device that is to hold everything,
            ``cuda``, ``cuda:1``, ``mps``, ``cpu``, as text, number or `torch.device`; None: ``auto``.
        low_cpu_mem_usage: True: keep no copy of the weights in RAM, read them from the disk when they are needed.
        dtype: What is computed in, as text or `torch.dtype`; None or ``auto``: bfloat16, as the weights are stored.
        torch_dtype: The same, by its older name.
        quantization: ``fp8``: the transformer's weights in one byte each; ``nf4``: in 4 bits, with bitsandbytes.
        strategy: A rung of the ladder (`qwen_fetch.loading.placement.Strategy`) instead of the first that fits.
        lora: LoRAs to add, each a file, a folder or ``owner/name[:file]`` as downloaded, with ``@WEIGHT`` or without.
        lightning: Add the Lightning LoRA for 4 or 8 passes, with the scheduler that it was trained with. Then call
            the pipeline with `num_inference_steps` 4 or 8 and `true_cfg_scale=1.0`.
        progress: Show phases and bars on stderr.

    Returns:
        The diffusers pipeline that the snapshot's `model_index.json` names, such as `QwenImageEditPipeline`.

    Raises:
        Problem: It is not here or not whole, a package is missing, the memory does not suffice: with what to do.
    """
    folder = Path(repo_id).expanduser()
    wishes = Wishes(
        f"cuda:{device_map}" if isinstance(device_map, int) else str(device_map or "auto"),
        low_cpu_mem_usage,
        quantization,
        cast("Strategy | None", strategy),
        _named(dtype, torch_dtype),
    )
    settings = Settings(
        repo_id=DEFAULT_REPO if folder.is_dir() else repo_id,
        revision=revision or "main",
        cache_dir=Path(cache_dir) if cache_dir is not None else None,
    )
    work = Work(_SEVERAL, lightning or ONE_EDIT.passes, texts=_SEVERAL * (1 if lightning else 2))
    loras = [lora] if isinstance(lora, (str, Path)) else lora
    request = Request(
        settings, wishes, folder if folder.is_dir() else None, progress, tuple(map(str, loras)), lightning, work
    )
    return load(request).pipeline


def _named(dtype: object, torch_dtype: object) -> Dtype:
    """One dtype, by its name."""
    if dtype is not None and torch_dtype is not None and str(dtype) != str(torch_dtype):
        raise Problem(catalogue.USAGE, detail=f"dtype={dtype!r} and torch_dtype={torch_dtype!r} exclude each other.")
    name = str(dtype or torch_dtype or "auto").removeprefix("torch.")
    return cast("Dtype", _SHORT.get(name, name))


def wishes_for(checkpoint: Checkpoint, wishes: Wishes) -> Wishes:
    """The same; of a model that was saved in 4 bits nothing else can be made.

    Raises:
        Problem: (usage) Something else was asked for.
    """
    if not checkpoint.packed or wishes.quantization == "nf4":
        return wishes
    if wishes.quantization or wishes.dtype != "bfloat16":
        detail = f"{checkpoint.folder} was saved in few bits already: it loads as it is, without {wishes}."
        raise Problem(catalogue.USAGE, detail=detail)
    return replace(wishes, quantization="nf4")


def plan(request: Request) -> Plan:
    """Everything that can be said before torch is imported.

    Raises:
        Problem: It cannot be loaded, and why.
    """
    checkpoint = open_checkpoint(request.settings, request.folder)
    wishes = wishes_for(checkpoint, request.wishes)
    loras = [find_lora(text, request.settings, checkpoint) for text in request.loras]
    if request.lightning:
        loras.append(find_lightning(request.lightning, request.settings, checkpoint))
    check_packages(checkpoint.class_name, wishes.quantization, lora=bool(loras))
    machine = look()
    if has_cuda(machine) and wishes.device_map != "cpu":
        check_cuda()
    weights = with_loras(checkpoint.weights, tuple(loras))
    return Plan(checkpoint, tuple(loras), weights, wishes, choose(machine, weights, wishes, request.work))


def load(request: Request, *, after: Strategy | None = None) -> Loaded:
    """Load and place; on a lack of memory the next rung of the ladder is taken, and said.

    Args:
        request: What.
        after: Begin below this rung: it was tried, and the memory did not suffice.

    Raises:
        Problem: It cannot be loaded, and why.
    """
    began = time.monotonic()
    planned = plan(request)
    if planned.placement.pinned:
        _ask_for_exact_pinning()
    request.say(f"Importing torch and diffusers, to load {planned.checkpoint.class_name} …")
    import_torch()
    machine = _machine(request.wishes)
    planned = _planned_again(planned, machine, request, after=after)
    if planned.placement.pinned and machine.exact_pinning:
        from qwen_fetch.loading.placing import pins_exactly  # noqa: PLC0415 - imports torch

        machine = replace(machine, exact_pinning=pins_exactly())
        planned = _planned_again(planned, machine, request, after=after)
    pipeline, planned = _down_the_ladder(request, planned, machine)
    from qwen_fetch.loading.placing import peak_vram  # noqa: PLC0415 - likewise

    seconds = time.monotonic() - began
    loaded = Loaded(pipeline, planned.placement, planned.checkpoint, planned.loras, seconds, peak_ram(), peak_vram())
    gpus = "".join(f", {gib(peak)} on {device}" for device, peak in loaded.peak_vram.items() if peak)
    request.say(f"Loaded in {time_text(loaded.seconds)}; peak: {gib(loaded.peak_ram)} of RAM{gpus}.")
    return loaded


def _planned_again(planned: Plan, machine: Hardware, request: Request, *, after: Strategy | None = None) -> Plan:
    return replace(planned, placement=choose(machine, planned.weights, planned.wishes, request.work, after=after))


def _down_the_ladder(request: Request, planned: Plan, machine: Hardware) -> tuple[Any, Plan]:
    while True:
        faster = faster_with(machine, planned.weights, planned.wishes, planned.placement, request.work)
        request.say("\n".join([*planned.placement.lines(), *faster]))
        try:
            return _build_and_place(request, planned, machine), planned
        except Problem:
            raise
        except Exception as error:
            from qwen_fetch.loading.placing import is_out_of_memory, release  # noqa: PLC0415 - imports torch

            if not is_out_of_memory(error):
                raise _load_failed(request, planned.checkpoint, error) from error
        # Outside of the handler, whose traceback holds the pipeline.
        release()
        tried = planned.placement.strategy
        request.say(f"The memory did not suffice for {tried}: the next rung is tried.")
        planned = _planned_again(planned, machine, request, after=tried)


def _build_and_place(request: Request, planned: Plan, machine: Hardware) -> Any:
    import torch  # noqa: PLC0415 - heavy

    from qwen_fetch.loading import adapters, placing  # noqa: PLC0415 - imports torch

    checkpoint, placement = planned.checkpoint, planned.placement
    dtype = getattr(torch, request.wishes.dtype)
    if checkpoint.size + placement.ram <= machine.ram:  # else what is read first would be dropped again
        read_ahead(checkpoint.files, progress=request.progress)
    pipeline = placing.build(checkpoint, placement, dtype)
    if planned.loras:
        request.say(f"Adding {', '.join(lora.name for lora in planned.loras)} …")
        # bitsandbytes' weights would lose by it; of mapped ones a copy would be made.
        adapters.add_loras(pipeline, planned.loras, fuse=placement.load == "copied" and placement.quantization != "nf4")
    if request.lightning:
        adapters.schedule_for_lightning(pipeline)
    request.say(f"Placing the parts ({placement.strategy}) …")
    placing.place(pipeline, placement, dtype)
    return pipeline


def _machine(wishes: Wishes) -> Hardware:
    """What torch can use; a GPU that only the system sees is a Problem."""
    machine = look_with_torch()
    if wishes.device_map != "cpu" and has_cuda(look()):
        check_cuda(torch_sees_it=has_cuda(machine))
    return machine


def has_cuda(machine: Hardware) -> bool:
    """Whether there is an NVIDIA GPU."""
    return any(device.name.startswith("cuda") for device in machine.devices)


def _ask_for_exact_pinning() -> None:
    """Tell torch's allocator, which reads this once, when torch is imported."""
    told = os.environ.get(_ALLOC_CONF, "")
    if "torch" not in sys.modules and EXACT_PINNING not in told:
        os.environ[_ALLOC_CONF] = ",".join(filter(None, [told, EXACT_PINNING]))


def _load_failed(request: Request, checkpoint: Checkpoint, error: Exception) -> Problem:
    detail = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    command = request.settings.command("--verify")
    return Problem(catalogue.LOAD_FAILED, class_name=checkpoint.class_name, detail=detail, command=command)
