"""LoRAs: found on this disk, and compared with the model by their headers, before anything heavy begins."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_fetch.base import catalogue
from qwen_fetch.base.integrity import hash_file
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.settings import DEFAULT_REPO, Settings
from qwen_fetch.base.shell import program, quoted
from qwen_fetch.loading.checkpoint import snapshot_folder
from qwen_fetch.loading.headers import BadWeights, read_header, read_metadata
from qwen_fetch.loading.lightning import REPOS, edition_of, pattern
from qwen_fetch.loading.weights import Component, Tensor, Weights

if TYPE_CHECKING:
    from qwen_fetch.loading.checkpoint import Checkpoint
    from qwen_fetch.loading.lightning import Passes

__all__ = ["Lora", "find_lightning", "find_lora", "with_loras"]

_WEIGHT = re.compile(r"(?P<source>.+)@(?P<weight>-?\d+(\.\d+)?)")
_REPO = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(:(?P<file>.+))?", re.ASCII)
# One key as diffusers, PEFT, ComfyUI and kohya's scripts write it.
_KEY = re.compile(
    r"(?:base_model\.model\.|diffusion_model\.|transformer\.|lora_unet_)*"
    r"(?P<module>.+?)(?:\.default)?\.(?:lora_(?P<half>A|B|down|up)(?:\.default)?\.weight|alpha)"
)
_ORIGIN = ("base_model", "ss_base_model_version", "modelspec.architecture")  # what the metadata may say it is for


@dataclass(frozen=True, slots=True)
class Lora:
    """One LoRA that fits the model.

    Attributes:
        path: The file.
        name: As it was asked for, without its weight.
        weight: How strongly it works; 1: as it was trained.
        modules: Of the transformer, the tensors that it adds: as the model names them.
    """

    path: Path
    name: str
    weight: float
    modules: tuple[Tensor, ...]

    @property
    def sha256(self) -> str:
        """Of the file; reads all of it, once."""
        return _sha256(self.path)

    def as_json(self) -> dict[str, Any]:
        """For the picture's metadata: what is needed to find it again, and to know that it is the same."""
        return {"lora": self.name, "file": self.path.name, "weight": self.weight, "sha256": self.sha256}


def find_lora(text: str, settings: Settings, checkpoint: Checkpoint) -> Lora:
    """The LoRA that ``FILE``, ``FOLDER`` or ``REPO[:FILE]`` names, each with ``@WEIGHT``.

    Args:
        text: What was asked for.
        settings: For the cache in which a repo lies.
        checkpoint: The model that it must fit.

    Raises:
        Problem: (lora-not-here), (lora-does-not-fit), (lora-damaged), or (usage) it names several files.
    """
    named = None if Path(text).expanduser().exists() else _WEIGHT.fullmatch(text)
    source, weight = (named["source"], float(named["weight"])) if named else (text, 1.0)
    path = Path(source).expanduser()
    if path.is_dir():
        path = _only(path, sorted(path.glob("*.safetensors")), source)
    elif not path.is_file():
        path = _in_cache(source, settings)
    return _fitting(path, source, weight, checkpoint)


def find_lightning(passes: Passes, settings: Settings, checkpoint: Checkpoint) -> Lora:
    """The Lightning LoRA of this edition, in the cache.

    Raises:
        Problem: (lora-not-here) with the command that brings it; (lightning-unknown) there is none for this model.
    """
    edition = edition_of(checkpoint.class_name, checkpoint.folder)
    if edition is None:
        raise Problem(catalogue.LIGHTNING_UNKNOWN, model=checkpoint.class_name, known=", ".join(REPOS))
    repo = replace(settings, repo_id=REPOS[edition], revision="main")
    found = _files(repo, pattern(edition, passes))
    if not found:
        words = [program(), "--with-lightning", *(["8"] if passes == 8 else [])]
        words += ["--repo-id", f"Qwen/{edition}"] if f"Qwen/{edition}" != DEFAULT_REPO else []
        words += ["--cache-dir", quoted(str(settings.cache_dir))] if settings.cache_dir else []
        detail = f"the one of {passes} passes for {edition}, by lightx2v, 0.85 GB"
        raise Problem(catalogue.LORA_NOT_HERE, name="Lightning", detail=detail, command=" ".join(words))
    return _fitting(found[-1], f"{REPOS[edition]}:{found[-1].name}", 1.0, checkpoint)


def with_loras(weights: Weights, loras: tuple[Lora, ...]) -> Weights:
    """The weights with those of the LoRAs beside them, as they lie in memory while these are not fused."""
    added = tuple(tensor for lora in loras for tensor in lora.modules)
    transformer = Component(weights.transformer.name, (*weights.transformer.tensors, *added))
    return Weights(transformer, weights.text_encoder, weights.vae)


@cache
def _sha256(path: Path) -> str:
    hasher = hashlib.sha256()
    hash_file(path, hasher, 0, None)
    return hasher.hexdigest()


def _in_cache(source: str, settings: Settings) -> Path:
    named = _REPO.fullmatch(source)
    if named is None or (source.endswith(".safetensors") and not named["file"]):
        raise Problem(catalogue.USAGE, detail=f"--lora {source}: there is no such file or folder, and no repo's name.")
    repo = Settings(repo_id=named["repo"], cache_dir=settings.cache_dir)
    found = _files(repo, named["file"] or "*.safetensors")
    if not found:
        command = repo.command(*(["--selective", quoted(named["file"])] if named["file"] else []))
        raise Problem(catalogue.LORA_NOT_HERE, name=source, detail="it is not in the cache", command=command)
    return _only(snapshot_folder(repo), found, named["repo"])


def _files(settings: Settings, glob: str) -> list[Path]:
    """The files of a repo in the cache that match, the newest version last."""
    folder = snapshot_folder(settings)
    paths = folder.rglob("*.safetensors") if folder else ()
    matching = [path for path in paths if folder and fnmatchcase(path.relative_to(folder).as_posix(), glob)]
    return sorted(matching, key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)])


def _only(folder: Path | None, found: list[Path], source: str) -> Path:
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.relative_to(folder).as_posix() for path in found if folder) or "none"
    detail = f"--lora {source}: it holds {len(found)} LoRAs ({names}); name one, as {source}:FILE or by its path."
    raise Problem(catalogue.USAGE, detail=detail)


def _fitting(path: Path, name: str, weight: float, checkpoint: Checkpoint) -> Lora:
    """Compare every key and shape with the transformer's: one that fits nowhere would be ignored without a word."""
    try:
        tensors = read_header(path)
        metadata = read_metadata(path)
    except (BadWeights, OSError) as error:
        raise Problem(catalogue.LORA_DAMAGED, path=path, detail=str(error)) from None
    layers = [tensor for tensor in checkpoint.tensors["transformer"] if tensor.is_matrix or checkpoint.packed]
    shapes = {tensor.leaf: () if checkpoint.packed else tensor.shape for tensor in layers}
    by_flat_name = {leaf.replace(".", "_"): leaf for leaf in shapes}
    modules, strange = [], []
    for tensor in tensors:
        key = _KEY.fullmatch(tensor.name)
        leaf = by_flat_name.get(key["module"].replace(".", "_")) if key else None
        if key is None or leaf is None or not _joins(tensor, key["half"], shapes[leaf]):
            strange.append(tensor)
        elif key["half"]:
            modules.append(Tensor(f"{leaf}.lora_{key['half']}.weight", tensor.shape, prod(tensor.shape) * 2))
    if strange or not modules:
        what = f"{strange[0].name} {list(strange[0].shape)}" if strange else "it is empty"
        origin = next((str(metadata[key]) for key in _ORIGIN if metadata.get(key)), "")
        raise Problem(
            catalogue.LORA_DOES_NOT_FIT,
            name=name,
            detail=f"{len(strange)} of {len(tensors)} tensors belong nowhere, such as {what}",
            origin=f"Its metadata says that it is for {origin}." if origin else "It was made for another model.",
            model=checkpoint.class_name,
        )
    return Lora(path, name, weight, tuple(modules))


def _joins(tensor: Tensor, half: str | None, shape: tuple[int, ...]) -> bool:
    """Whether one half of a low-rank product has the width of the layer on its side."""
    if half is None:  # a scale
        return prod(tensor.shape) == 1
    if len(tensor.shape) != 2:
        return False
    if not shape:  # of a model that is packed, the widths are not in its headers
        return True
    return tensor.shape[1] == shape[1] if half in {"A", "down"} else tensor.shape[0] == shape[0]
