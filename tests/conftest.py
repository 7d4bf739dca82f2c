"""What the end-to-end tests share: a made-up repo, the embedded Hub, and the command as a user runs it."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from workbench import Bench, OpenHub, Tool

from qwen_fetch.localhub.content import make_repo
from qwen_fetch.localhub.hub import LocalHub

if TYPE_CHECKING:
    from collections.abc import Iterator

# The fixtures of helpers that several modules use: a tiny repo's Hub; sources and hosts that answer from a script.
pytest_plugins = ("command", "http_script", "xet_script")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--scale",
        type=float,
        default=0.003,
        help="size of the made-up repo as a share of the real 57.7 GB; 0.026 is 1.5 GB (default: %(default)s)",
    )
    parser.addoption("--matrix", type=Path, help="write the results of the fault matrix to this Markdown file")
    parser.addoption("--draw", action="store_true", help="write the frames of the screen anew")
    parser.addoption("--table", type=Path, help="write what the repair of each kind of damage showed, as Markdown")


@pytest.fixture
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("--scale"))


@pytest.fixture(scope="session")
def repo(tmp_path_factory: pytest.TempPathFactory, scale: float) -> Path:
    """A folder with the real tree of Qwen-Image-Edit and made-up bytes."""
    folder = tmp_path_factory.mktemp("repo") / "files"
    make_repo(folder, scale=scale)
    return folder


@pytest.fixture
def open_hub(repo: Path) -> Iterator[OpenHub]:
    """Opens embedded Hubs that serve the repo."""
    with ExitStack() as stack:
        yield lambda folder=repo, **options: stack.enter_context(LocalHub(folder, **options))


@pytest.fixture(scope="session")
def small_repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same tree in 35 MB: for what goes wrong, size adds nothing but time."""
    folder = tmp_path_factory.mktemp("small") / "files"
    make_repo(folder, scale=0.0006)
    return folder


@pytest.fixture(scope="session")
def whole_cache(tmp_path_factory: pytest.TempPathFactory, small_repo: Path) -> Path:
    """The home of a finished download of the small repo; to be copied, not changed."""
    home = tmp_path_factory.mktemp("whole") / "home"
    with LocalHub(small_repo) as hub:
        ended = Tool(home, hub.endpoint).run()
    assert ended.code == 0, ended
    return home


@pytest.fixture
def empty(tool: Tool, open_hub: OpenHub, small_repo: Path) -> Bench:
    """An empty cache, and a Hub with the small repo."""
    hub = open_hub(small_repo)
    tool.endpoint = hub.endpoint
    return Bench(tool, hub, small_repo)


@pytest.fixture
def whole(empty: Bench, whole_cache: Path) -> Bench:
    """A cache with all of the small repo, and its Hub."""
    shutil.copytree(whole_cache, empty.tool.home, symlinks=True)
    return empty


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """The command with an empty cache, not connected to any Hub."""
    return Tool(tmp_path / "home")
