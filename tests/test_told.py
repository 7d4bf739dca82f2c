"""What any text tells people to type exists: commands, files, modules and options."""

from __future__ import annotations

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qwen_fetch.base.catalogue import all_kinds
from qwen_fetch.cli import edit, fix
from qwen_fetch.cli.options import make_parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
PARSERS: dict[str, argparse.ArgumentParser] = {
    "qwen-fetch": make_parser(),
    "qwen-fetch-repair": fix._parser(),
    "qwen-fetch-edit": edit._parser(),
}
SAME = {
    "python -m qwen_fetch": "qwen-fetch",
    "python tools/download_qwen_edit_hub.py": "qwen-fetch",
    "python tools/fix_download.py": "qwen-fetch-repair",
    "python tools/edit_image.py": "qwen-fetch-edit",
}
COMMAND = re.compile(
    r"(?<![\w/.-])(qwen-fetch(?:-\w+)*|python (?:-m [\w.]+|tools/\w+\.py))(?![\w\[./-])((?: +[^`\n|]*)?)"
)


def texts() -> Iterator[tuple[str, str]]:
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    for name, parser in PARSERS.items():
        yield f"{name} --help", parser.format_help()
    for kind in all_kinds():
        yield kind.id, "\n".join((kind.what, kind.why, *kind.do))
    for path in (ROOT / "src").rglob("*.py"):
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("where", "text"), [pytest.param(*one, id=one[0]) for one in texts()])
def test_every_command_that_is_told_exists(where: str, text: str) -> None:
    for command, rest in COMMAND.findall(text):
        if command.startswith("python tools/"):
            assert (ROOT / command.split()[1]).is_file(), f"{where}: {command}"
        elif command.startswith("python -m "):
            module = command.split()[2]
            assert not module.startswith("qwen_fetch") or find_spec(module), f"{where}: {command}"
        else:
            assert command in SCRIPTS, f"{where}: {command}"
        parser = PARSERS.get(SAME.get(command, command))
        if parser is not None and not where.endswith(".py"):
            options = re.findall(r"(?<!\S)--?[a-z][\w-]*", rest.partition("#")[0])
            unknown = set(options) - set(parser._option_string_actions)
            assert not unknown, f"{where}: {command} {rest}"


@pytest.mark.parametrize(
    "path", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
        assert "://" in link or (path.parent / link).exists(), f"{path.name}: {link}"


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert all(f"({path.name})" in index for path in ROOT.glob("docs/*.md") if path.name != "README.md")


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_installed_command_is_a_function(name: str) -> None:
    module, _, function = SCRIPTS[name].partition(":")
    assert callable(getattr(__import__(module, fromlist=[function]), function))


def test_it_finds_what_is_wrong() -> None:
    for text in (
        "run qwen-fetch-mend now",
        "python tools/nothing.py",
        "qwen-fetch --no-such-thing",
        "`qwen-fetch-repair --verify`",
    ):
        with pytest.raises(AssertionError):
            test_every_command_that_is_told_exists("here", text)
