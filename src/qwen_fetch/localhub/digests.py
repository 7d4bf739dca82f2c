"""The names the Hub gives to content: sha256 for large files, git's blob id for small ones."""

import contextlib
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def blob_id(data: bytes) -> str:
    """Return the sha1 under which git would store `data`."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def sha256_of_all(folder: Path, paths: list[str]) -> dict[str, str]:
    """Return the sha256 of every file in `paths`, relative to `folder`.

    Hashing runs in threads, and a file `<folder>.digests.json` beside the folder remembers the results for
    files whose size and modification time stay as they are: a second start on the same folder is quick.
    """
    memory = folder.with_name(folder.name + ".digests.json")
    known = _read(memory)
    keys = {path: _key(folder / path) for path in paths}
    unknown = [path for path in paths if keys[path] not in known.get(path, {})]
    unknown.sort(key=lambda path: -(folder / path).stat().st_size)  # the longest first: no straggler
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        fresh = dict(zip(unknown, pool.map(_sha256, (folder / path for path in unknown)), strict=True))
    result = {path: fresh.get(path) or known[path][keys[path]] for path in paths}
    if fresh:
        # A read-only place only costs the next start its time.
        with contextlib.suppress(OSError):
            _write(memory, {path: {keys[path]: digest} for path, digest in result.items()})
    return result


def _key(file: Path) -> str:
    status = file.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(memory: Path) -> dict[str, dict[str, str]]:
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(memory: Path, known: dict[str, dict[str, str]]) -> None:
    part = memory.with_name(f"{memory.name}.{os.getpid()}")
    part.write_text(json.dumps(known, indent=1), encoding="utf-8")
    part.replace(memory)  # two hubs may start on one folder at a time
