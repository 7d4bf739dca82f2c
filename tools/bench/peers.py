"""The programs that are compared: how each is called, and where it leaves its files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from bench.modelscope import front
from bench.serving import REPO_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["OURS", "Job", "Peer", "find"]

OURS = "qwen-fetch"
TOOL = Path(__file__).resolve().parents[1] / "download_qwen_edit_hub.py"


@dataclass(frozen=True, slots=True)
class Job:
    """What a peer is told to do.

    Attributes:
        endpoint: The Hub's address.
        folder: An existing folder for everything it writes.
        paths: The files of the repo; needed by peers that know URLs only.
        splits: Connections for each of four files, where a peer can split files.
    """

    endpoint: str
    folder: Path
    paths: Sequence[str]
    splits: int = 4

    @property
    def target(self) -> Path:
        """Where the files, or the cache, go."""
        return self.folder / "files"

    def url(self, path: str) -> str:
        """Where a file is, as a browser would ask for it."""
        return f"{self.endpoint}/{REPO_ID}/resolve/main/{quote(path)}"

    def list_of(self, lines: Sequence[str]) -> str:
        """A file with these lines, for a peer that reads its work from one."""
        file = self.folder / "work.txt"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(file)


def _no_front(endpoint: str, _repo: Path, _digests: Mapping[str, str]) -> AbstractContextManager[str]:
    return nullcontext(endpoint)


@dataclass(frozen=True, slots=True)
class Peer:
    """One program.

    Attributes:
        name: As the table shows it, with its version.
        command: The command line for a job.
        cache: Whether it writes the Hub's cache; else the files lie under `Job.target` as in the repo.
        xet: Whether it can fetch over Xet.
        environment: Variables beyond those that every peer gets.
        front: Opens what stands between it and the Hub, if it speaks another hub's language; yields an address.
    """

    name: str
    command: Callable[[Job], list[str]]
    cache: bool = False
    xet: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    front: Callable[[str, Path, Mapping[str, str]], AbstractContextManager[str]] = _no_front

    def variables(self, job: Job) -> dict[str, str]:
        """All environment variables for a job: what the user has set for the Hub must not change a figure."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {
            **kept,
            "HOME": str(job.folder),
            "HF_HOME": str(job.folder / "hf-home"),
            "HF_ENDPOINT": job.endpoint,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            **{name: value.format(endpoint=job.endpoint) for name, value in self.environment.items()},
        }

    def tree(self, job: Job) -> Path:
        """The folder that looks like the repo when the peer is done."""
        if not self.cache:
            return job.target
        snapshots = job.target / f"models--{REPO_ID.replace('/', '--')}" / "snapshots"
        return next(iter(sorted(snapshots.iterdir())), snapshots) if snapshots.is_dir() else snapshots


def find(python_1_17: str | None = None, modelscope: str | None = None) -> tuple[list[Peer], list[str]]:
    """The peers that are installed, qwen-fetch first, and the names of those that are not.

    Args:
        python_1_17: A Python with huggingface_hub 1.17, the last one that resumed.
        modelscope: The command `modelscope`, or its path.
    """
    peers = [Peer(OURS, _ours, cache=True, xet=True)]
    missing = []
    python_1_17_hf = str(Path(python_1_17).with_name("hf")) if python_1_17 else ""
    wanted: list[tuple[str, str, Callable[[str], Peer]]] = [
        ("hf", str(Path(sys.executable).with_name("hf")), lambda hf: Peer("hf", _hf(hf), cache=True, xet=True)),
        ("hf 1.17 (--hf-1-17 PYTHON)", python_1_17_hf, lambda hf: Peer("hf", _hf(hf), cache=True, environment=_NO_XET)),
        ("aria2c", "aria2c", lambda program: Peer("aria2c", _aria2c(program))),
        (
            "modelscope (--modelscope COMMAND)",
            modelscope or "modelscope",
            lambda program: Peer("modelscope", _modelscope(program), environment=_MODELSCOPE, front=front),
        ),
        ("wget", "wget", lambda program: Peer("wget", _wget(program))),
        ("curl", "curl", lambda program: Peer("curl", _curl(program))),
    ]
    for name, program, make in wanted:
        found = shutil.which(program) if program else None
        if found is None:
            missing.append(name)
            continue
        peer = make(found)
        peers.append(replace(peer, name=f"{peer.name} {_version(found)}".rstrip()))
    return peers, missing


_MODELSCOPE = {"MODELSCOPE_ENDPOINT": "{endpoint}"}
_NO_XET = {"HF_HUB_DISABLE_XET": "1"}


def _version(program: str) -> str:
    """The version a program states, empty if it states none."""
    asked = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=30)
    stated = re.search(r"\d+\.\d+(\.\d+)?", asked.stdout)
    return stated[0] if stated else ""


def _ours(job: Job) -> list[str]:
    return [sys.executable, str(TOOL), "--cache-dir", str(job.target)]


def _hf(program: str) -> Callable[[Job], list[str]]:
    # As many connections as everybody else; its own default is 8.
    return lambda job: [program, "download", REPO_ID, "--cache-dir", str(job.target), "--max-workers", "4"]


def _aria2c(program: str) -> Callable[[Job], list[str]]:
    def command(job: Job) -> list[str]:
        lines = [line for path in job.paths for line in (job.url(path), f"  out={path}")]
        # The control file is saved each second, not each minute: without that a kill loses nearly everything.
        options = ["--file-allocation=none", "-k1M", "-j4", "-c", "--auto-save-interval=1", "--console-log-level=warn"]
        splits = [f"-x{job.splits}", f"-s{job.splits}"]
        return [program, *options, *splits, "-d", str(job.target), "-i", job.list_of(lines)]

    return command


def _modelscope(program: str) -> Callable[[Job], list[str]]:
    return lambda job: [program, "download", REPO_ID, "--local-dir", str(job.target), "--max-workers", "4"]


def _wget(program: str) -> Callable[[Job], list[str]]:
    def command(job: Job) -> list[str]:
        urls = job.list_of([job.url(path) for path in job.paths])
        depth = len(REPO_ID.split("/")) + 2  # …/resolve/main
        return [program, "-nv", "-c", "-x", "-nH", f"--cut-dirs={depth}", "-P", str(job.target), "-i", urls]

    return command


def _curl(program: str) -> Callable[[Job], list[str]]:
    def command(job: Job) -> list[str]:
        lines = [line for path in job.paths for line in (f'url="{job.url(path)}"', f'output="{job.target / path}"')]
        options = ["-sS", "-f", "-L", "-C", "-", "-Z", "--parallel-max", "4", "--create-dirs"]
        return [program, *options, "-K", job.list_of(lines)]

    return command
