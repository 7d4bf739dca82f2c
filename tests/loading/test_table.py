"""The table of placements that is printed: every machine, with its reason."""

import subprocess
import sys

from workbench import ROOT

from qwen_fetch.base.units import time_text
from qwen_fetch.loading.architecture import qwen_image_edit
from qwen_fetch.loading.ladder import choose
from qwen_fetch.loading.placement import Wishes, gib
from qwen_fetch.loading.table import machines
from qwen_fetch.loading.work import Work


def test_the_command_prints_every_machine_with_its_reason() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "qwen_fetch.loading.table"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    lines = printed.splitlines()[4:]
    names = [name for name, _ in machines()]
    assert len(names) == 7 * (5 + 3 + 3) + 4 + 3
    assert [line[:24].strip() for line in lines] == names
    assert all(len(line) > 90 for line in lines)
    assert "calculated" in printed


def test_the_table_of_the_documentation_is_the_one_that_is_calculated() -> None:
    page = (ROOT / "docs" / "loading.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in page.splitlines() if "RAM | `" in line]
    assert len(rows) == 12
    known = dict(machines())
    for name, placement, peak, ram, minutes, lightning, _ in rows:
        found = choose(known[name], qwen_image_edit(), Wishes())
        fast = choose(known[name], qwen_image_edit(), Wishes(), Work(passes=4, texts=1))
        assert found.seconds
        assert fast.seconds
        also = "" if fast.strategy is found.strategy else f", `{fast.strategy}"
        assert placement == found.strategy, name
        assert peak == (gib(found.peak_vram) if found.vram else "-"), name
        assert ram == gib(found.ram), name
        assert minutes == time_text(found.seconds.total), name
        assert lightning == time_text(fast.seconds.total) + also, name
