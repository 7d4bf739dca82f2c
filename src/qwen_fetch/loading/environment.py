"""The packages that loading needs, looked at before any of them is imported.

Each of these states makes diffusers or transformers fail late, with a message about something else.
"""

from __future__ import annotations

import re
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem

if TYPE_CHECKING:
    from qwen_fetch.loading.weights import Quantization

__all__ = ["check_cuda", "check_packages", "import_torch"]

_NEEDED = {  # the lower bounds of the extra `load`, whose reasons are in pyproject.toml
    "torch": "2.13",
    "torchvision": "0.28",
    "diffusers": "0.42",
    "transformers": "5",
    "accelerate": "1.15",
    "pillow": "10",
}
_PEFT = {"peft": "0.17"}  # likewise; only where a LoRA is loaded
_CLASSES_SINCE = {"QwenImageEditPipeline": "0.35", "QwenImageEditPlusPipeline": "0.36"}
_INSTALL = 'pip install "qwen-fetch[load]"'


def check_packages(class_name: str, quantization: Quantization | None = None, *, lora: bool = False) -> None:
    """Whether everything is installed that the pipeline class needs, in versions that fit each other.

    Args:
        class_name: The pipeline's.
        quantization: How the weights are to be stored.
        lora: Whether LoRAs are to be loaded.

    Raises:
        Problem: (package-missing), (package-too-old), (torchvision-mismatch): with the command that mends it.
    """
    wanted = _NEEDED | (_PEFT if lora else {}) | ({"bitsandbytes": "0.46.1"} if quantization == "nf4" else {})
    for name, least in wanted.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            command = _INSTALL if name in _NEEDED | _PEFT else f"pip install {name}"
            raise Problem(catalogue.PACKAGE_MISSING, package=name, command=command) from None
        if _numbers(version) < _numbers(least):
            raise _too_old(name, version, least)
    _check_torchvision()
    _check_class(class_name)


def check_cuda(*, torch_sees_it: bool | None = None) -> None:
    """Whether torch can use the NVIDIA GPU that this machine has.

    Args:
        torch_sees_it: What torch says; None: not asked yet, so only its build is looked at.

    Raises:
        Problem: (torch-without-cuda).
    """
    version = metadata.version("torch")
    if "+cpu" in version if torch_sees_it is None else not torch_sees_it:
        raise Problem(catalogue.TORCH_WITHOUT_CUDA, version=version)


def import_torch() -> None:
    """Import torch and torchvision, and say so when they are not made for each other.

    Raises:
        Problem: (torchvision-mismatch), (torch-broken).
    """
    try:
        import torch  # noqa: F401, PLC0415 - the first import, after the environment is settled
    except (ImportError, OSError) as error:
        raise Problem(catalogue.TORCH_BROKEN, detail=_one_line(error)) from error
    try:
        import torchvision  # noqa: F401, PLC0415
    except (ImportError, OSError, RuntimeError) as error:  # "operator torchvision::nms does not exist"
        raise _mismatch(_one_line(error)) from error


def _check_torchvision() -> None:
    """The torch that this torchvision was built for is named in its requirements."""
    torch = metadata.version("torch").partition("+")[0]
    for requirement in metadata.requires("torchvision") or []:
        built_for = re.match(r"torch\s*\(?==\s*([\d.]+)", requirement)
        if built_for and built_for[1] != torch:
            raise _mismatch(f"it was built for torch {built_for[1]}")


def _check_class(class_name: str) -> None:
    """Whether diffusers has the pipeline's class: it lists its classes in the text of its package."""
    spec = util.find_spec("diffusers")
    if spec is None or spec.origin is None:
        raise Problem(catalogue.PACKAGE_MISSING, package="diffusers", command=_INSTALL)
    if f'"{class_name}"' not in Path(spec.origin).read_text(encoding="utf-8"):
        raise _too_old("diffusers", metadata.version("diffusers"), _CLASSES_SINCE.get(class_name, "?"), class_name)


def _too_old(name: str, version: str, least: str, class_name: str = "") -> Problem:
    return Problem(
        catalogue.PACKAGE_TOO_OLD,
        package=name,
        version=version,
        least=f"{least}, for {class_name}" if class_name else least,
        command=f"{_INSTALL} --upgrade",
    )


def _mismatch(detail: str) -> Problem:
    torch, torchvision = metadata.version("torch"), metadata.version("torchvision")
    return Problem(catalogue.TORCHVISION_MISMATCH, torch=torch, torchvision=torchvision, detail=detail)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
