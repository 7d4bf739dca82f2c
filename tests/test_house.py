"""The house: arrows go down only, nothing goes in circles, and the floor plan in the documentation is true."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "qwen_fetch"
PLAN = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
WINGS = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))


def imports(source: Path) -> dict[str, set[str]]:
    """What each module imports of the package: at the top, inside functions, and for the type checker alone."""
    modules = {
        ".".join((source.name, *path.relative_to(source).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in source.rglob("*.py")
    }
    found: dict[str, set[str]] = {}
    for name, path in modules.items():
        targets: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name} imports relatively"
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                targets |= inner if inner <= modules.keys() else inner | {str(node.module)}
        found[name] = targets & modules.keys() - {name}
    return found


def circle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config", str(ROOT / "pyproject.toml")],
        env={"PYTHONPATH": str(folder), "PATH": "", "COLUMNS": "200", "NO_COLOR": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_goes_in_circles() -> None:
    assert not circle(imports(SOURCE))


def test_a_circle_that_only_the_type_checker_sees_is_counted(tmp_path: Path) -> None:
    shutil.copytree(SOURCE, tmp_path / "qwen_fetch", ignore=shutil.ignore_patterns("__pycache__"))
    units = tmp_path / "qwen_fetch" / "base" / "units.py"
    units.write_text(f"{units.read_text()}\nif TYPE_CHECKING:\n    from qwen_fetch.cache.disk import Identity\n")
    assert {"qwen_fetch.base.units", "qwen_fetch.cache.disk"} <= set(circle(imports(tmp_path / "qwen_fetch")))


def test_arrows_go_down_only() -> None:
    ended = lint(ROOT / "src")
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        pytest.param("base/units.py", "from qwen_fetch.cache import disk", id="upwards"),
        pytest.param("cache/locks.py", "import qwen_fetch.transport.http", id="to the side"),
        pytest.param("transfer/plan.py", "import torch", id="torch outside of the loader"),
        pytest.param("routines/status.py", "import huggingface_hub", id="the Hub client outside of the listing"),
        pytest.param("base/settings.py", "import argparse", id="argparse outside of the command line"),
    ],
)
def test_an_arrow_that_should_not_be_is_red(tmp_path: Path, module: str, line: str) -> None:
    shutil.copytree(SOURCE, tmp_path / "qwen_fetch", ignore=shutil.ignore_patterns("__pycache__"))
    planted = tmp_path / "qwen_fetch" / module
    planted.write_text(f"{planted.read_text()}\n{line}\n")
    ended = lint(tmp_path)
    assert ended.returncode == 1, ended.stdout
    assert "BROKEN" in ended.stdout


def test_every_module_that_the_floor_plan_names_is_there() -> None:
    named = re.findall(rf"`((?:{'|'.join(WINGS)})/\w+\.py)`", PLAN)
    assert len(named) > 30
    assert [name for name in named if not (SOURCE / name).is_file()] == []
    picture = PLAN[PLAN.index("    cli/") : PLAN.index("`src/")]
    for wing in WINGS:
        assert f"{wing}/" in picture
    words = {word for words in re.findall(r"[a-z_]+(?:, [a-z_]+)+", picture) for word in words.split(", ")}
    modules = {path.stem for path in SOURCE.glob("*/*.py")}
    assert len(words & modules) > 40


def test_output_has_one_door() -> None:
    # ruff refuses `print`; nothing else may write to a stream of the process either.
    name_a_stream = {
        "cli/boundary.py",
        "cli/edit.py",
        "cli/fix.py",
        "cli/main.py",
        "cli/progress.py",
        "loading/loader.py",
    }
    # What the door has cleaned; and a file of the cache.
    writes = {"cli/canvas.py": "self._paper.write", "cache/disk/names.py": "file.write"}
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name.startswith("localhub/") or name == "base/door.py":
            continue  # a server writes to its clients
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.expr):
                continue
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called.endswith((".write", ".writelines", "print_exception", "print_exc")) or called == "print":
                found += [] if called in {"os.write", writes.get(name)} else [f"{name}:{node.lineno} {called}"]
            elif isinstance(node, ast.Attribute) and ast.unparse(node) in {"sys.stdout", "sys.stderr"}:
                found += [] if name in name_a_stream else [f"{name}:{node.lineno} {node.attr}"]
    assert found == []
