"""How a command is proposed: as the user started the one that runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qwen_fetch.base.shell import program, quoted

if TYPE_CHECKING:
    from collections.abc import Callable

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | Path], None]:
    return lambda argv: monkeypatch.setattr("sys.argv", [str(argv)])


def test_from_the_checkout(started: Callable[[str | Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TOOLS.parent)
    for script in ("download_qwen_edit_hub.py", "fix_download.py", "edit_image.py"):
        started(TOOLS / script)
        assert program("this") == f"python {Path('tools', script)}"
        assert program() == f"python {Path('tools', 'download_qwen_edit_hub.py')}"
        assert program("repair") == f"python {Path('tools', 'fix_download.py')}"


def test_as_a_module(started: Callable[[str | Path], None]) -> None:
    started(Path("qwen_fetch", "__main__.py"))
    assert (program(), program("edit")) == ("python -m qwen_fetch", "qwen-fetch-edit")


def test_from_a_script_or_a_shell_of_somebody_else(started: Callable[[str | Path], None]) -> None:
    for argv in ("", "-c", "my_script.py", "/usr/bin/jupyter"):
        started(argv)
        assert (program(), program("this"), program("repair")) == ("qwen-fetch", "qwen-fetch", "qwen-fetch-repair")


def test_installed_on_the_path_and_beside_it(
    started: Callable[[str | Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffix = ".exe" if os.name == "nt" else ""
    scripts = [tmp_path / f"{name}{suffix}" for name in ("qwen-fetch", "qwen-fetch-repair")]
    for script in scripts:
        script.write_text("#!/bin/sh\n")
        script.chmod(0o755)
    started(scripts[1])
    monkeypatch.setenv("PATH", "")
    assert program() == quoted(str(scripts[0]))
    assert program("this") == quoted(str(scripts[1]))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (program(), program("repair")) == ("qwen-fetch", "qwen-fetch-repair")
