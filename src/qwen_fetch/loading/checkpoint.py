"""A snapshot as the loader needs it: where it lies, whether every file is there, how large its weights are.

No network, no torch: everything that can be wrong with the files is said before anything heavy begins.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.shell import program, quoted
from qwen_fetch.cache.store import Store
from qwen_fetch.listing.cached import cached
from qwen_fetch.listing.entries import is_commit
from qwen_fetch.loading.headers import BadWeights, read_header
from qwen_fetch.loading.weights import COMPONENTS, Component, Weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qwen_fetch.base.settings import Settings
    from qwen_fetch.loading.weights import Tensor

__all__ = ["Checkpoint", "open_checkpoint", "snapshot_folder"]

_CONFIGS = (  # of a component's folder, one of these; transformers 5 saves other names than those of 2025
    "config.json",
    "scheduler_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
)
_PIPELINE = re.compile(r"QwenImage\w*Pipeline", re.ASCII)
_FAMILY = {  # what a pipeline of the family may be made of, by library; nothing else is ever imported
    "diffusers": {
        "AutoencoderKLQwenImage",
        "FlowMatchEulerDiscreteScheduler",
        "QwenImageControlNetModel",
        "QwenImageTransformer2DModel",
    },
    "transformers": {
        "Qwen2Tokenizer",
        "Qwen2TokenizerFast",
        "Qwen2VLProcessor",
        "Qwen2_5_VLForConditionalGeneration",
        "Qwen2_5_VLProcessor",
    },
}
_COMFYUI = {"diffusion_models", "text_encoders", "checkpoints", "unet"}  # folders of ComfyUI/models


@dataclass(frozen=True)
class Checkpoint:
    """A whole snapshot on this disk.

    Attributes:
        folder: Where `model_index.json` lies.
        class_name: The pipeline's class.
        components: The library and the class of each component.
        weights: Their sizes, from the headers.
        tensors: What the headers say, by component.
        files: The weight files.
        size: Bytes of the weight files.
        commit: Which commit it is; empty for a folder outside of the cache.
        packed: Whether it was saved in few bits, by bitsandbytes.
    """

    folder: Path
    class_name: str
    components: Mapping[str, tuple[str, str]]
    tensors: Mapping[str, tuple[Tensor, ...]]
    files: tuple[Path, ...]
    commit: str = ""
    packed: bool = False

    @property
    def weights(self) -> Weights:
        """How large the weights are, as stored."""
        return Weights(*(Component(name, self.tensors[name]) for name in COMPONENTS))

    @property
    def size(self) -> int:
        """Bytes of the weight files."""
        return sum(file.stat().st_size for file in self.files)


def open_checkpoint(settings: Settings, folder: Path | None = None) -> Checkpoint:
    """Find the snapshot and look at every file of it, without reading the weights.

    Args:
        settings: Which repo and revision, in which cache.
        folder: A folder that holds the files, instead of the cache.

    Raises:
        Problem: (not-downloaded) nothing is here, or files are missing; (damaged-weights) a file is not what its
            name says; (comfyui-layout) the files are those of ComfyUI; (not-a-pipeline) it is something else;
            (unknown-pipeline) it is no pipeline of the Qwen-Image family.
    """
    commit = ""
    if folder is None:
        folder = _cached_folder(settings)
        commit = folder.name
    if not (folder / "model_index.json").is_file():
        _refuse_what_is_no_pipeline(settings, folder, commit)
    index = _json(settings, folder, "model_index.json")
    components = {
        name: (entry[0], entry[1])
        for name, entry in index.items()
        if isinstance(entry, list) and len(entry) == 2 and entry[0] is not None
    }
    _check_family(index.get("_class_name", ""), components)
    for name in components:
        if not any((folder / name / config).is_file() for config in _CONFIGS):
            raise _missing(settings, f"the folder {name} lacks its configuration")
    tensors, files = {}, []
    for name in COMPONENTS:
        tensors[name], found = _read_component(settings, folder, name)
        files += found
    packed = _is_packed(settings, folder)
    checkpoint = Checkpoint(folder, str(index["_class_name"]), components, tensors, tuple(files), commit, packed)
    if commit:
        _compare_with_listing(settings, checkpoint)
    return checkpoint


def snapshot_folder(settings: Settings) -> Path | None:
    """The folder of a revision in the cache; None: nothing of it is here."""
    store = Store.open(settings.hub_cache, settings.repo_id)
    known = cached(settings, store)
    commit = known.commit if known else _ref(store, settings.revision)
    return store.snapshot(commit) if commit is not None and store.snapshot(commit).is_dir() else None


def _cached_folder(settings: Settings) -> Path:
    folder = snapshot_folder(settings)
    if folder is None:
        raise _missing(settings, f"nothing of it is in {settings.hub_cache}")
    return folder


def _ref(store: Store, revision: str) -> str | None:
    """The commit of a branch in a cache that another client filled, which keeps no listing."""
    if store.snapshot(revision).is_dir():
        return revision
    commit = store.commit_of(revision)
    return commit if commit is not None and is_commit(commit) else None


def _json(settings: Settings, folder: Path, path: str) -> dict[str, Any]:
    try:
        value = json.loads((folder / path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _missing(settings, f"{path} is missing") from None
    except (OSError, ValueError) as error:
        raise _damaged(settings, path, f"it is no JSON ({error})") from None
    if not isinstance(value, dict):
        raise _damaged(settings, path, "it is not the JSON that was expected")
    return value


def _check_family(class_name: object, components: Mapping[str, tuple[Any, Any]]) -> None:
    """Whether it is a pipeline of the family, made of its parts: what a file names is data, not code to import."""
    if not set(COMPONENTS) <= set(components) or not _PIPELINE.fullmatch(str(class_name)):
        raise Problem(catalogue.UNKNOWN_PIPELINE, class_name=class_name or "no pipeline")
    for name, (library, part) in components.items():
        if not isinstance(part, str) or part not in _FAMILY.get(str(library), ()):
            raise Problem(catalogue.UNKNOWN_PIPELINE, class_name=f"{name}: {library}.{part}")


def _is_packed(settings: Settings, folder: Path) -> bool:
    """Whether transformer or text encoder were saved in few bits; by what, if it is not the one that is known here."""
    configs = [_json(settings, folder, f"{name}/config.json") for name in ("transformer", "text_encoder")]
    packings = [config["quantization_config"] for config in configs if "quantization_config" in config]
    methods = {str(packing.get("quant_method")) if isinstance(packing, dict) else "?" for packing in packings}
    if unknown := methods - {"bitsandbytes"}:
        raise Problem(catalogue.UNKNOWN_PIPELINE, class_name=f"weights packed by {', '.join(sorted(unknown))}")
    return bool(methods)


def _read_component(settings: Settings, folder: Path, name: str) -> tuple[tuple[Tensor, ...], list[Path]]:
    """The tensors of a component and the files they lie in."""
    indexes = sorted((folder / name).glob("*.safetensors.index.json"))
    if indexes:
        weight_map = _json(settings, folder, f"{name}/{indexes[0].name}").get("weight_map", {})
        shards = sorted({str(shard) for shard in weight_map.values()})
    else:
        shards = sorted(path.name for path in (folder / name).glob("*.safetensors"))
    if any(Path(shard).name != shard for shard in shards):
        raise _damaged(settings, f"{name}/{indexes[0].name}", "it names a file outside of its folder")
    if not shards:
        raise _missing(settings, f"the folder {name} holds no weights")
    if absent := [shard for shard in shards if not (folder / name / shard).is_file()]:
        raise _missing(settings, f"{len(absent)} of {len(shards)} shards of {name} are missing ({absent[0]})")
    tensors: list[Tensor] = []
    for shard in shards:
        try:
            tensors += read_header(folder / name / shard)
        except (BadWeights, OSError) as error:
            raise _damaged(settings, f"{name}/{shard}", str(error)) from None
    return tuple(tensors), [folder / name / shard for shard in shards]


def _compare_with_listing(settings: Settings, checkpoint: Checkpoint) -> None:
    """Every file of the components that the Hub listed must be here, in its size; README and the like need not."""
    store = Store.open(settings.hub_cache, settings.repo_id)
    known = cached(settings, store)
    for file in known.files if known else ():
        if file.path.split("/")[0] in checkpoint.components and not store.look(checkpoint.commit, file).linked:
            raise _missing(settings, f"{file.path} is missing or has the wrong size")


def _refuse_comfyui(folder: Path) -> None:
    if _COMFYUI & {path.name for path in (folder, *folder.parents)} or any(
        (folder / name).is_dir() for name in _COMFYUI
    ):
        raise Problem(catalogue.COMFYUI_LAYOUT, folder=folder)


def _refuse_what_is_no_pipeline(settings: Settings, folder: Path, commit: str) -> None:
    """Say what it is instead; what lacks its index only because the download has not come to it is none of these."""
    _refuse_comfyui(folder)
    known = cached(settings, Store.open(settings.hub_cache, settings.repo_id)) if commit else None
    here = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    names = [file.path for file in known.files] if known else here
    if "model_index.json" in names or any(path.split("/")[0] in COMPONENTS for path in names):
        return
    name = settings.repo_id if commit else str(folder)
    default = f"The whole model: `{program()}`"
    for what, instead, belongs in (
        ("GGUF files, one transformer each", default, lambda path: path.endswith(".gguf")),
        ("a LoRA", f"Give it beside a model: --lora {quoted(name)}", _is_a_lora),
        ("single files, as ComfyUI wants them", default, lambda path: path.endswith((".safetensors", ".ckpt"))),
    ):
        if any(belongs(path.lower()) for path in names):
            raise Problem(catalogue.NOT_A_PIPELINE, name=name, what=what, instead=instead)


def _is_a_lora(path: str) -> bool:
    return path.endswith("adapter_config.json") or (
        path.endswith(".safetensors") and ("lora" in path or "lightning" in path)
    )


def _missing(settings: Settings, detail: str) -> Problem:
    return Problem(
        catalogue.NOT_DOWNLOADED,
        repo_id=settings.repo_id,
        detail=detail,
        command=settings.command(),
        kept="What is here stays; only the rest is fetched.",
    )


def _damaged(settings: Settings, path: str, detail: str) -> Problem:
    return Problem(
        catalogue.DAMAGED_WEIGHTS,
        path=path,
        detail=detail,
        command=settings.command("--force", "--selective", path),
    )
