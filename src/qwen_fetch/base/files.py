"""What a repo holds, as values: a file of a snapshot, and the snapshot at one commit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qwen_fetch.base.integrity import Digest

__all__ = ["RepoFile", "Snapshot"]


@dataclass(frozen=True, slots=True)
class RepoFile:
    """One file of a snapshot.

    Attributes:
        path: Its path inside the repo, with forward slashes.
        size: In bytes.
        digest: sha256 of a large (LFS or Xet) file, git-sha1 of a small one; `digest.hex` names its blob.
        xet_hash: The file's name in the Xet store, if it is there.
        blob_id: Git's id: of a small file, or of the pointer that git keeps in a large one's place.
    """

    path: str
    size: int
    digest: Digest
    xet_hash: str | None = None
    blob_id: str = ""

    @property
    def is_large(self) -> bool:
        """Whether it lies in the store for large files, to which the endpoint redirects; it has the others itself."""
        return self.digest.algorithm == "sha256"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of a repo at one commit, in the order of their paths."""

    repo_id: str
    revision: str
    commit: str
    files: tuple[RepoFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)
