"""A made-up `Qwen/Qwen-Image-Edit`: the real tree with the real proportions, at any scale."""

import hashlib
import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from qwen_fetch.listing.known import KNOWN_TREE
from qwen_fetch.localhub.smallfiles import small_files, tokenizer_json

REAL_SIZES = {path: size for path, size in KNOWN_TREE.items() if size and path.endswith(".safetensors")}
"""The weight files and their sizes on the Hub, in bytes."""

TOKENIZER = "processor/tokenizer.json"
"""The one large file on the Hub that is not a weight; it is an LFS file all the same."""

INDEXES = {
    "transformer": "transformer/diffusion_pytorch_model.safetensors.index.json",
    "text_encoder": "text_encoder/model.safetensors.index.json",
}

_SMALLEST = 8_192  # bytes: room for a safetensors header and some data at any scale
_PIECE = 1 << 20  # bytes of one pseudo-random piece
_STAMP_EVERY = 4_096  # bytes from one stamp to the next
_TENSORS = 12  # in each weight file


def make_repo(folder: Path, *, scale: float, sparse: bool = False) -> None:
    """Write the made-up repo into `folder`.

    The same scale gives the same bytes, everywhere and always. No two places of the weights hold the same
    4 KiB, so that a window written to the wrong place is found.

    Args:
        folder: Where to; created if missing.
        scale: Size of the weights and vocabularies relative to the real ones, 1.0 for 57.7 GB. Weight files
            never get smaller than 8 KiB.
        sparse: Weights are holes but for one stamp in each MiB: 57.7 GB take 0.2 GB of a disk whose file
            system has holes. No two places of one MiB are alike, smaller ones may be.
    """
    indexes: dict[str, dict[str, str]] = {part: {} for part in INDEXES}
    sizes = dict.fromkeys(INDEXES, 0)
    for path, real_size in REAL_SIZES.items():
        size = max(_SMALLEST, round(real_size * scale / 2) * 2)  # even: the elements have two bytes
        header = _safetensors_header(path, size)
        part = path.split("/", 1)[0]
        if part in indexes:
            indexes[part].update(dict.fromkeys(_tensor_names(path), Path(path).name))
            sizes[part] += size - len(header)
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            file.write(header)
            if sparse:
                _write_stamps(file, path, size)
                continue
            for piece in pseudo_random(path, size - len(header)):
                file.write(piece)
    small = small_files(scale)
    for part, path in INDEXES.items():
        index = {"metadata": {"total_size": sizes[part]}, "weight_map": indexes[part]}
        small[path] = (json.dumps(index, indent=2) + "\n").encode()
    small[TOKENIZER] = tokenizer_json(max(_SMALLEST, round((KNOWN_TREE[TOKENIZER] or 0) * scale)))
    for path, data in small.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def pseudo_random(seed: str, size: int) -> Iterator[memoryview]:
    """Yield `size` bytes that depend on `seed` alone, in pieces of 1 MiB at most.

    Real generators are too slow for gigabytes. One random block, turned further for every piece and stamped
    with a running number every 4 KiB, is as good here and costs a copy. A piece is valid until the next one.
    """
    block = hashlib.shake_256(seed.encode()).digest(_PIECE)
    stamps = _PIECE // _STAMP_EVERY
    first = _first_stamp(seed)
    piece = bytearray(_PIECE)
    view = memoryview(piece)
    words = view.cast("Q")
    for number, start in enumerate(range(0, size, _PIECE)):
        turn = number * 7_919 % _PIECE
        piece[: _PIECE - turn] = memoryview(block)[turn:]
        piece[_PIECE - turn :] = memoryview(block)[:turn]
        counter = first + number * stamps
        words[:: _STAMP_EVERY // 8] = memoryview(array("Q", range(counter, counter + stamps)))
        yield view[: size - start]


def _first_stamp(seed: str) -> int:
    """Two files with the same counter must differ in their stamps too."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4]) << 32


def _write_stamps(file: BinaryIO, seed: str, size: int) -> None:
    """Bring a file to `size` bytes with a running number in each piece of it, and holes between."""
    first = _first_stamp(seed)
    for number, start in enumerate(range(_PIECE // 2, size - 8, _PIECE)):
        file.seek(start)
        file.write((first + number).to_bytes(8, "little"))
    file.truncate(size)


def _tensor_names(path: str) -> list[str]:
    part, name = path.split("/", 1)
    digits = name.split("-")[1] if "-of-" in name else "00001"
    shard = int(digits)
    if part == "transformer":
        return [
            f"transformer_blocks.{(shard - 1) * 7 + number // 2}.attn.{('to_q', 'to_k')[number % 2]}.weight"
            for number in range(_TENSORS)
        ]
    if part == "text_encoder":
        return [
            f"model.layers.{(shard - 1) * 7 + number // 2}.mlp.{('up_proj', 'down_proj')[number % 2]}.weight"
            for number in range(_TENSORS)
        ]
    return [f"decoder.up_blocks.{number}.resnets.0.conv1.weight" for number in range(_TENSORS)]


def _safetensors_header(path: str, size: int) -> bytes:
    """Return length word and JSON header of a safetensors file of `size` bytes in all."""
    names = _tensor_names(path)
    header_size = 2_048  # bytes; every header here is shorter and filled up with spaces, as the format allows
    data_size = size - 8 - header_size
    step = data_size // len(names) // 2 * 2
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    for number, name in enumerate(names):
        end = data_size if number == len(names) - 1 else (number + 1) * step
        start = number * step
        header[name] = {"dtype": "BF16", "shape": [(end - start) // 2], "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    return header_size.to_bytes(8, "little") + text.ljust(header_size)
