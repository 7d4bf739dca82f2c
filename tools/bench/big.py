"""big"""
from __future__ import annotations
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from pathlib import Path
BIG = "big"
def measure_big(work: Path) -> list[dict[str, float]]:
    return []
