"""The catalogue and its page."""

import re
from pathlib import Path
from string import Formatter

import pytest

from qwen_fetch.base.catalogue import all_kinds, page
from qwen_fetch.base.problem import ExitCode, Kind, Problem


@pytest.mark.parametrize("kind", all_kinds(), ids=lambda kind: kind.id)
def test_every_kind_is_told_whole(kind: Kind) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", kind.id)
    assert kind.exit_code is not ExitCode.DONE
    assert kind.what
    assert kind.do, "a message without a next step"
    texts = [kind.what, kind.why, *kind.do]
    facts = {name: "x" for text in texts for _, name, _, _ in Formatter().parse(text) if name}
    if "seconds" in facts:
        facts["seconds"] = "1"
    problem = Problem(kind, kept="3 GB", **(facts | ({"seconds": 1.0} if "seconds" in facts else {})))
    lines = problem.lines()
    assert lines[0] == f"error: {problem.what} [{kind.id}]"
    assert lines[-1] == "  kept: 3 GB"
    assert "{" not in "".join(lines)


def test_ids_are_unique() -> None:
    ids = [kind.id for kind in all_kinds()]
    assert len(ids) == len(set(ids))


def test_the_page_is_up_to_date() -> None:
    written = Path(__file__).parents[2] / "docs" / "problems.md"
    assert written.read_text(encoding="utf-8") == page(), "run: python -m qwen_fetch.base.catalogue > docs/problems.md"


@pytest.mark.parametrize("kind", all_kinds(), ids=lambda kind: kind.id)
def test_a_command_ends_its_step(kind: Kind) -> None:
    """So it can stand on a line of its own, and be copied."""
    for step in kind.do:
        assert step.count("`") in {0, 2}
        assert "`" not in step or step.endswith("`")
