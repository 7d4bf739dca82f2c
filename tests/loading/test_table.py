"""The table of placements that is printed: every machine, with its reason."""

import subprocess
import sys

from qwen_fetch.loading.table import machines


def test_the_command_prints_every_machine_with_its_reason() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "qwen_fetch.loading.table"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    lines = printed.splitlines()[3:]
    names = [name for name, _ in machines()]
    assert len(names) == 7 * 3 * 3 + 4 + 3
    assert [line[:24].strip() for line in lines] == names
    assert all(len(line) > 90 for line in lines)
    assert "calculated" in printed
