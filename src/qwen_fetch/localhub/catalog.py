"""What is served: revisions, their files, and every way to find one of them again."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qwen_fetch.localhub import digests, xet

_LFS_FROM = 10_000_000  # bytes: the Hub wants larger files in LFS
_LFS_ALWAYS = ("processor/tokenizer.json",)


@dataclass(frozen=True)
class Entry:
    """A file of a revision."""

    path: str
    """Path in the repo, with slashes."""
    size: int
    """Bytes."""
    blob_id: str
    """Git's id: of the content for a small file, of the LFS pointer for a large one."""
    sha256: str | None
    """Of the content; LFS files only."""
    file: Path
    """Where the bytes are."""

    @property
    def is_lfs(self) -> bool:
        """Whether the file is in LFS: served by the data host, named by its sha256."""
        return self.sha256 is not None

    @property
    def etag(self) -> str:
        """The name of the content, which becomes the name of the blob in a cache."""
        return self.sha256 or self.blob_id

    @property
    def xet_hash(self) -> str:
        """The name of the content in Xet storage: 64 hex digits."""
        return hashlib.sha256(f"xet {self.etag}".encode()).hexdigest()


@dataclass(frozen=True)
class Revision:
    """One commit and its files, by path."""

    commit: str
    entries: dict[str, Entry]

    @classmethod
    def of(cls, folder: Path) -> "Revision":
        """Take stock of what is in `folder`."""
        files = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
        sizes = {path: file.stat().st_size for path, file in files.items()}
        large = [path for path, size in sizes.items() if _is_lfs(path, size)]
        sha256 = digests.sha256_of_all(folder, large)
        entries = {}
        for path, file in files.items():
            content = _pointer(sha256[path], sizes[path]) if path in sha256 else file.read_bytes()
            entries[path] = Entry(path, sizes[path], digests.blob_id(content), sha256.get(path), file)
        listing = "\n".join(f"{entry.etag} {path}" for path, entry in entries.items())
        return cls(hashlib.sha1(listing.encode(), usedforsecurity=False).hexdigest(), entries)


class Catalog:
    """All revisions, found by branch or commit, and all LFS content, found by digest."""

    def __init__(self) -> None:
        self._revisions: dict[str, Revision] = {}
        self._branches: dict[str, str] = {}
        self._by_sha256: dict[str, Entry] = {}
        self._by_xet_hash: dict[str, Entry] = {}
        self._xorbs: dict[str, tuple[Entry, int]] = {}

    def add(self, branch: str, revision: Revision) -> None:
        """Make `branch` point to `revision`, whose content can be found from now on."""
        self._revisions[revision.commit] = revision
        for entry in revision.entries.values():
            if entry.sha256 is not None:
                self._by_sha256.setdefault(entry.sha256, entry)
                self._by_xet_hash.setdefault(entry.xet_hash, entry)
                for number in range(xet.xorb_count(entry.size)):
                    self._xorbs.setdefault(xet.xorb_hash(entry.xet_hash, number), (entry, number))
        self._branches[branch] = revision.commit

    def move_branch(self, branch: str, commit: str) -> None:
        """Let `branch` point to `commit`, which must be known."""
        if commit not in self._revisions:
            raise ValueError(f"no such commit: {commit}")
        self._branches[branch] = commit

    def revision(self, name: str) -> Revision | None:
        """Return the revision called `name`, a branch or a commit."""
        return self._revisions.get(self._branches.get(name, name))

    def by_sha256(self, sha256: str) -> Entry | None:
        """Return an LFS file with this content."""
        return self._by_sha256.get(sha256)

    def by_xet_hash(self, xet_hash: str) -> Entry | None:
        """Return an LFS file with this content."""
        return self._by_xet_hash.get(xet_hash)

    def xorb(self, xorb_hash: str) -> tuple[Entry, int] | None:
        """Return the file that a xorb belongs to, and the xorb's number in it."""
        return self._xorbs.get(xorb_hash)


def folders(entries: dict[str, Entry]) -> Iterator[str]:
    """Yield the path of every folder that holds an entry, each once."""
    seen = {parent.as_posix() for path in entries for parent in Path(path).parents}
    yield from sorted(seen - {"."})


def _is_lfs(path: str, size: int) -> bool:
    return size > _LFS_FROM or path.endswith(".safetensors") or path in _LFS_ALWAYS


def _pointer(sha256: str, size: int) -> bytes:
    """Return the text that git keeps in place of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
