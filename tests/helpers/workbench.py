"""What tests that go through the front door work with: the command as a user runs it, a cache and a Hub of its own."""

from __future__ import annotations

import filecmp
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, scan_cache_dir

from qwen_fetch.localhub.content import _safetensors_header, make_repo, pseudo_random
from qwen_fetch.localhub.hub import LocalHub

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "download_qwen_edit_hub.py"
REPO = "Qwen/Qwen-Image-Edit"
SHARD = "transformer/diffusion_pytorch_model-00003-of-00009.safetensors"
OTHER = "text_encoder/model-00002-of-00004.safetensors"
BIG = "vae/diffusion_pytorch_model.safetensors"
FIX = ROOT / "tools" / "fix_download.py"
FULL_SCALE = 0.026  # of 57.7 GB: 1.5 GB


KILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)  # for `Popen.send_signal` on Windows that is TerminateProcess
KILLED = 1 if os.name == "nt" else -KILL  # the exit code then

OpenHub = Callable[..., LocalHub]


@dataclass
class Ended:
    """A finished run of a command."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"exit {self.code} after {self.seconds:.1f} s\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


@dataclass
class Tool:
    """The command, with a cache of its own."""

    home: Path
    endpoint: str = "http://127.0.0.1:9"
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        return self.home / "hub"

    @property
    def folder(self) -> Path:
        return self.cache / "models--Qwen--Qwen-Image-Edit"

    @property
    def blobs(self) -> Path:
        return self.folder / "blobs"

    @property
    def environment(self) -> dict[str, str]:
        # Only what a program needs to run: what the machine has set for the Hub must not change a test.
        keep = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LANG") if name in os.environ}
        quiet = {
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        place = {"HOME": str(self.home.parent), "HF_HOME": str(self.home), "HF_ENDPOINT": self.endpoint}
        return keep | quiet | place | self.extra

    def start(self, *arguments: str, command: list[str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*(command or [sys.executable, str(TOOL)]), *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        *arguments: str,
        command: list[str] | None = None,
        stop_after: float | None = None,
        stop_with: int = signal.SIGTERM,
        timeout: float = 100,
    ) -> Ended:
        """Run to the end, or send a signal after so many seconds; then the seconds count from the signal."""
        began = time.monotonic()
        process = self.start(*arguments, command=command)
        if stop_after is not None:
            try:
                process.wait(stop_after)
            except subprocess.TimeoutExpired:
                process.send_signal(stop_with)
                began = time.monotonic()
        out, err = process.communicate(timeout=timeout)
        return Ended(process.returncode, out, err, time.monotonic() - began)

    def hf(self, *arguments: str) -> Ended:
        """The Hub client's own command."""
        return self.run(*arguments, command=[str(Path(sys.executable).with_name("hf"))])

    def tree_is(self, repo: Path) -> bool:
        """Whether the snapshot that `main` names holds exactly the repo's bytes."""
        commit = (self.folder / "refs" / "main").read_text()
        snapshot = self.folder / "snapshots" / commit
        wanted = sorted(path.relative_to(repo) for path in repo.rglob("*") if path.is_file())
        there = sorted(path.relative_to(snapshot) for path in snapshot.rglob("*") if path.is_file())
        return there == wanted and all(filecmp.cmp(snapshot / path, repo / path, shallow=False) for path in wanted)


@dataclass
class Bench:
    """A cache of its own, connected to a Hub."""

    tool: Tool
    hub: LocalHub
    repo: Path

    @property
    def commit(self) -> str:
        return self.hub.commit

    @property
    def blobs(self) -> Path:
        return self.tool.blobs

    def digest(self, path: str) -> str:
        return self.hub.entry(path).etag

    def size(self, path: str) -> int:
        return self.hub.entry(path).size

    def blob(self, path: str) -> Path:
        return self.blobs / self.digest(path)

    def partial(self, path: str) -> Path:
        return self.blobs / f"{self.digest(path)}.incomplete"

    def orphan(self, path: str, number: int = 0xA1B2C3D4) -> Path:
        return self.blobs / f"{self.digest(path)}.{number:08x}.incomplete"

    def pointer(self, path: str) -> Path:
        return self.tool.folder / "snapshots" / self.commit / path

    def content(self, path: str) -> bytes:
        return (self.repo / path).read_bytes()

    def fix(self, *arguments: str) -> Ended:
        return self.tool.run(*arguments, command=[sys.executable, str(FIX)])

    def status(self) -> dict[str, Any]:
        ended = self.tool.run("--status-only", "--json")
        assert ended.code in {0, 3}, ended
        report: dict[str, Any] = ended.json
        return report

    def state(self, path: str) -> tuple[str, int]:
        file = next(file for file in self.status()["files"] if file["path"] == path)
        return file["state"], file["bytes"]

    def check(self) -> None:
        """The snapshot holds the repo's bytes, and what `hf cache verify` calls finds nothing wrong."""
        assert self.tool.tree_is(self.repo)
        seen = HfApi(endpoint=self.hub.endpoint, token=False).verify_repo_checksums(REPO, cache_dir=self.tool.cache)
        assert [seen.mismatches, seen.missing_paths, seen.extra_paths] == [[], [], []]

    def scan(self) -> list[int]:
        """Warnings, repos and unfinished files that the Hub client sees in the cache."""
        info = scan_cache_dir(self.tool.cache)
        return [len(info.warnings), len(info.repos), len(info.incomplete_files)]


def big_repo(folder: Path, size: int) -> None:
    """A repo with one shard of that many bytes, and little else."""
    make_repo(folder, scale=0.0001)
    for path in folder.rglob("*.safetensors"):
        path.unlink()
    header = _safetensors_header(BIG, size)
    with (folder / BIG).open("wb") as file:
        file.write(header)
        for piece in pseudo_random(BIG, size - len(header)):
            file.write(piece)
