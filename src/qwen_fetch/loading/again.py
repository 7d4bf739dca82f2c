"""A picture made again, from what was noted in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.loading.outputs import noted

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Again", "again"]


@dataclass(frozen=True, slots=True)
class Again:
    """How a picture was made.

    Attributes:
        options: Of the command line, by their names, as if they had been typed.
        images: The pictures that it was made from, where they are now.
        prompt: What was to be done.
    """

    options: dict[str, Any]
    images: tuple[Path, ...]
    prompt: str


def again(path: Path, given: tuple[Path, ...]) -> Again:
    """What is noted in a picture that was made here.

    Args:
        path: Of the picture.
        given: Where the pictures are that it was made from; empty: beside it or in the current folder, by their names.

    Raises:
        Problem: (usage) Nothing is noted in it, or a file is not the one that it was made with.
    """
    settings = noted(path)
    try:
        names, digests = settings["images"], settings["images_sha256"]
        loras, size = settings["loras"], settings["size"]
        options = {
            **{name: settings[name] for name in ("steps", "seed", "guidance", "lightning", "quantization")},
            "negative": " " if settings["lightning"] else settings["negative"],
            "guidance": None if settings["lightning"] else settings["guidance"],
            "size": tuple(size) if isinstance(size, list) else size,
            "repo_id": settings["model"],
            "revision": settings["commit"] or "main",
            # Lightning brings the last one itself.
            "lora": list(_loras(loras[:-1] if settings["lightning"] else loras)),
        }
        found = given or tuple(_beside(path, name) for name in names)
        prompt = str(settings["prompt"])
    except (KeyError, TypeError, IndexError):
        raise Problem(catalogue.USAGE, detail=f"--from {path}: nothing is noted in it by which to make it.") from None
    for image, digest in zip(found, digests, strict=False):
        _compare(image, digest, path)
    return Again(options, found, prompt)


def _loras(entries: list[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        source = Path(entry["lora"]).expanduser()
        if source.is_file():
            _compare(source, entry["sha256"], source)
        yield f"{entry['lora']}@{entry['weight']}"


def _beside(path: Path, name: str) -> Path:
    places = (path.parent / Path(name).name, Path(Path(name).name))
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        detail = f"--from {path}: it was made from {name}, which is not beside it; name it: {name} --from …"
        raise Problem(catalogue.USAGE, detail=detail)
    return found


def _compare(file: Path, digest: str, path: Path) -> None:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise Problem(catalogue.PICTURE_UNREADABLE, path=file, detail=(error.strerror or "").lower()) from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise Problem(catalogue.USAGE, detail=f"--from {path}: {file} is not the file that it was made with.")
