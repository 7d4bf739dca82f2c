"""Bars as SVG, written by hand: readable on light and dark pages, and no library needed."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.results import Result

__all__ = ["chart"]

_WIDTH, _NAMES, _TEXTS = 820, 150, 230  # pixels: the whole, the names on the left, the figures on the right
_BAR, _GAP, _TITLE = 16, 6, 30
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .title { font-weight: 600; }
  .ours { fill: #1a7f5a; } .peer { fill: #8c959f; } .bad { fill: #cf5b4a; }
  .ideal { stroke: #24292f; stroke-dasharray: 3 3; }
  @media (prefers-color-scheme: dark) {
    text { fill: #d7dee6; } .ours { fill: #3fb98a; } .peer { fill: #6e7781; } .bad { fill: #d9705f; }
    .ideal { stroke: #d7dee6; }
  }
"""


def chart(scenes: Sequence[tuple[str, Sequence[Result]]]) -> str:
    """Wall time per peer, a block of bars per scene; the first peer of each is ours.

    Args:
        scenes: Title and results of each scene.
    """
    parts: list[str] = []
    top = 8
    for title, results in scenes:
        longest = max((result.seconds for result in results), default=0) or 1
        scale = (_WIDTH - _NAMES - _TEXTS) / longest
        top += _TITLE
        parts.append(f'<text class="title" x="8" y="{top - 10}">{escape(title)}</text>')
        ideal = results[0].ideal_seconds if results else None
        bottom = top + len(results) * (_BAR + _GAP)
        for number, result in enumerate(results):
            parts += _bar(result, top + number * (_BAR + _GAP), scale, ours=number == 0)
        if ideal and ideal <= longest:
            x = _NAMES + ideal * scale
            parts.append(f'<line class="ideal" x1="{x:.1f}" y1="{top - 4}" x2="{x:.1f}" y2="{bottom - 2}"/>')
        top = bottom
    height = top + 12
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        f'role="img" aria-label="Seconds to download, shorter is better">\n<style>{_STYLE}</style>\n{body}\n</svg>\n'
    )


def _bar(result: Result, top: int, scale: float, *, ours: bool) -> list[str]:
    good = result.finished and result.right
    width = max(2.0, result.seconds * scale)
    text = f"{result.seconds:.1f} s, {result.cpu_seconds:.1f} s CPU" if good else result.verdict.lower()
    base = top + _BAR - 4
    return [
        f'<text x="{_NAMES - 8}" y="{base}" text-anchor="end">{escape(result.peer)}</text>',
        (
            f'<rect class="{"bad" if not good else "ours" if ours else "peer"}" x="{_NAMES}" y="{top}" '
            f'width="{width:.1f}" height="{_BAR}" rx="2"/>'
        ),
        f'<text x="{_NAMES + width + 6:.1f}" y="{base}">{escape(text)}</text>',
    ]
