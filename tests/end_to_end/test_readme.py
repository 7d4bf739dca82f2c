"""The README's commands, run as they stand: from a checkout, and as the installed commands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
from workbench import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from workbench import Tool

README = (ROOT / "README.md").read_text(encoding="utf-8")
INSTALLED = re.findall(r"(?:^ {4}|`)(qwen-fetch(?:-repair)?(?![\w-])[^`#|\n]*)", README, re.MULTILINE)
CHECKOUT = re.findall(r"python tools/(?:download|fix)_\w+\.py(?: --[\w-]+)*", README)
COMMANDS = sorted({command.strip() for command in INSTALLED + CHECKOUT if "DIR" not in command})


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with the commands of the wheel, as an installer makes them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, target in project["scripts"].items():
        module, _, function = target.partition(":")
        script = folder / name
        script.write_text(f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n")
        script.chmod(0o755)
    return folder


def test_the_first_screen_holds_what_it_needs() -> None:
    first = README.partition("\n## ")[0]
    assert {"qwen-fetch", "qwen-fetch --status-only", "qwen-fetch --diagnose", "qwen-fetch-repair"} <= set(COMMANDS)
    assert "docs/screen.svg" in first
    assert len(first.splitlines()) < 30


@pytest.mark.skipif(sys.platform == "win32", reason="the scripts of an installer are programs there")
@pytest.mark.parametrize("command", COMMANDS)
def test_it_works_as_it_stands(command: str, complete: Tool, installed: Path) -> None:
    program, *words = shlex.split(command)
    ended = subprocess.run(
        [sys.executable if program == "python" else installed / program, *words],
        env=complete.environment | {"PATH": str(installed), "PYTHONPATH": str(ROOT / "src")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout
