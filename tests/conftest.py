"""What the end-to-end tests share: a made-up repo, the embedded Hub, and the command as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from qwen_fetch.localhub.content import make_repo
from qwen_fetch.localhub.hub import LocalHub

ROOT = Path(__file__).resolve().parents[1]
TOOL = ROOT / "tools" / "download_qwen_edit_hub.py"
REPO = "Qwen/Qwen-Image-Edit"
FULL_SCALE = 0.026  # of 57.7 GB: 1.5 GB


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--scale",
        type=float,
        default=0.003,
        help="size of the made-up repo as a share of the real 57.7 GB; 0.026 is 1.5 GB (default: %(default)s)",
    )
    parser.addoption("--matrix", type=Path, help="write the results of the fault matrix to this Markdown file")


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("--scale"))


@pytest.fixture(scope="session")
def repo(tmp_path_factory: pytest.TempPathFactory, scale: float) -> Path:
    """A folder with the real tree of Qwen-Image-Edit and made-up bytes."""
    folder = tmp_path_factory.mktemp("repo") / "files"
    make_repo(folder, scale=scale)
    return folder


OpenHub = Callable[..., LocalHub]


@pytest.fixture
def open_hub(repo: Path) -> Iterator[OpenHub]:
    """Opens embedded Hubs that serve the repo."""
    with ExitStack() as stack:
        yield lambda folder=repo, **options: stack.enter_context(LocalHub(folder, **options))


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
        return keep | quiet | {"HF_HOME": str(self.home), "HF_ENDPOINT": self.endpoint} | self.extra

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
        return there == wanted and all((snapshot / path).read_bytes() == (repo / path).read_bytes() for path in wanted)


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """The command with an empty cache, not connected to any Hub."""
    return Tool(tmp_path / "home")


@pytest.fixture(scope="session")
def small_repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same tree in 35 MB: for what goes wrong, size adds nothing but time."""
    folder = tmp_path_factory.mktemp("small") / "files"
    make_repo(folder, scale=0.0006)
    return folder
