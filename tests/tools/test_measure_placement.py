"""The benchmark for machines with a GPU: what of it can be shown without one."""

import sys

import pytest
from workbench import ROOT, Tool

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from tiny import SHIM


def test_a_rung_is_loaded_and_makes_an_edit(tool: Tool) -> None:
    tool.extra |= {"PYTHONPATH": str(SHIM), "OMP_NUM_THREADS": "1"}
    script = [sys.executable, str(ROOT / "tools" / "measure_placement.py")]
    ended = tool.run("--device", "cpu", "--tiny", "--steps", "1", "--rungs", "block-stream", command=script)
    assert ended.code == 0, ended
    head, columns, row = ended.out.splitlines()
    assert head == "2 blocks; device cpu, cap none"
    assert columns.split()[0] == "rung"
    assert row.startswith("block-stream ")
    assert row.count("GiB") == 4, ended


def test_rates_are_measured(tool: Tool) -> None:
    tool.extra |= {"OMP_NUM_THREADS": "1"}
    script = [sys.executable, str(ROOT / "tools" / "measure_placement.py")]
    ended = tool.run("--device", "cpu", "--calibrate", command=script)
    assert ended.code == 0, ended
    assert "copied within RAM" in ended.out
    assert "TFLOPS" in ended.out
