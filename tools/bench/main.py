"""The benchmark's command line."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.big import BIG, growth_table, measure_big
from bench.chart import chart
from bench.line import missing as missing_for_a_line
from bench.pages import page
from bench.peers import OURS, TOOL, find
from bench.results import as_json, best_of, table
from bench.scenes import SCENES
from bench.serving import nginx
from bench.trial import Repo, run_trial
from bench.upkeep import UPKEEP
from qwen_fetch.localhub import make_repo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.big import Growth
    from bench.peers import Peer
    from bench.results import Result

__all__ = ["main"]

_TITLES = {scene.name: scene.title for scene in SCENES} | {scene.name: scene.title for scene in UPKEEP}
_ON_REQUEST = [scene.name for scene in SCENES if scene.real_size or scene.far]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the scenes; returns 0 when qwen-fetch finished all of them with the right bytes."""
    parser = _parser()
    options = parser.parse_args(argv)
    peers, missing = find(options.hf_1_17, options.modelscope)
    if options.peer:
        peers = [peer for peer in peers if any(peer.name.startswith(name) for name in options.peer)]
        if not peers:
            parser.error(f"no peer that is installed has a name that begins with {' or '.join(options.peer)}")
    names = options.scene or [*(name for name in _TITLES if name not in _ON_REQUEST), BIG]
    if any(scene.far for scene in SCENES if scene.name in names) and (lack := missing_for_a_line()):
        parser.error(f"a long line needs {lack}")
    results: list[Result] = []
    growth: list[Growth] = []
    with ExitStack() as stack:
        work = Path(options.work or stack.enter_context(tempfile.TemporaryDirectory(prefix="compare-"))).resolve()
        print(f"peers: {', '.join(peer.name for peer in peers)}; not installed: {', '.join(missing) or 'none'}")
        fastest = nginx() or "the embedded Hub (nginx is not installed)"
        print(f"server for plain HTTP: {fastest}; for Xet: the embedded Hub", flush=True)
        for name in names:
            if name == BIG:
                growth = measure_big(work, [sys.executable, str(TOOL)])
                print(f"\n{BIG}: shards of 500 MB; scheduling with 4 workers whose line is infinitely fast")
                print(growth_table(growth), flush=True)
                _write(options, results, growth)
                continue
            for round_number, result in _rounds(name, peers, options, work):
                results.append(result)
                print(
                    f"  {name} {round_number}: {result.peer} {result.seconds:.2f} s, {result.verdict}", file=sys.stderr
                )
            print("\n" + _tables(results, name), flush=True)
            _write(options, results, growth)  # after each scene: whoever stops it keeps what was measured
    ours = [result for result in results if result.peer == OURS]
    return 0 if all(result.finished and result.right for result in ours) else 1


def _rounds(name: str, peers: Sequence[Peer], options: argparse.Namespace, work: Path) -> Iterator[tuple[int, Result]]:
    """The results of a scene; in each round every peer has its turn, so that a busy minute hits all of them."""
    scene = next((scene for scene in SCENES if scene.name == name), None)
    upkeep = next((scene for scene in UPKEEP if scene.name == name), None)
    real_size = bool(scene and scene.real_size)
    repo = _repo(work, 1.0 if real_size else options.scale * (scene.size if scene else 1), sparse=real_size)
    for number in range(1 if scene and scene.once else options.runs):
        turns = rotated(peers, number)
        if upkeep is not None:
            yield from ((number + 1, result) for result in upkeep.measure(turns, repo, work))
        elif scene is not None:
            for peer in turns:
                if peer.xet or not scene.only_xet:
                    yield number + 1, run_trial(scene, peer, repo, work)


def rotated(peers: Sequence[Peer], number: int) -> list[Peer]:
    """The peers in the order of their turns in round `number`, 0 or more: nobody always begins."""
    first = number % len(peers)
    return [*peers[first:], *peers[:first]]


def _repo(work: Path, scale: float, *, sparse: bool) -> Repo:
    folder = work / f"repo-{scale:g}{'-sparse' if sparse else ''}"
    if not folder.exists():
        make_repo(folder, scale=scale, sparse=sparse)
    return Repo.of(folder)


def _write(options: argparse.Namespace, results: Sequence[Result], growth: Sequence[Growth]) -> None:
    about, scenes = _about(options), best_of(results)
    if options.json:
        values = as_json(results, about | {BIG: [asdict(row) for row in growth]})
        options.json.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(page(scenes, _TITLES, about, growth), encoding="utf-8")
    if options.chart:
        downloads = {scene.name for scene in SCENES}
        drawn = [(_TITLES[name], rows) for name, rows in scenes if name in downloads]
        options.chart.write_text(chart(drawn), encoding="utf-8")


def _tables(results: Sequence[Result], name: str) -> str:
    return "\n\n".join(table(f"{name}: {_TITLES[name]}", rows) for scene, rows in best_of(results) if scene == name)


def _about(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "command": f"python tools/compare_downloaders.py {shlex.join(sys.argv[1:])}".strip(),
        "scale": options.scale,
        "runs": options.runs,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Measure qwen-fetch beside the programs that people would use instead: a made-up repo, a server on "
        "loopback, one run, peers taking turns; the table shows medians. A peer that is not installed is skipped.",
    )
    listed = "; ".join(f"{name}: {title}" for name, title in _TITLES.items())
    parser.add_argument(
        "--scene",
        nargs="+",
        choices=[*_TITLES, BIG],
        metavar="NAME",
        help=f"only these (default: all but {', '.join(_ON_REQUEST)}). {listed}; {BIG}: plan, status and scheduling of "
        "a made-up repo of 1 TB",
    )
    parser.add_argument("--scale", type=float, default=0.026, metavar="X", help="of 57.7 GB (%(default)s: 1.5 GB)")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="rounds per scene (%(default)s)")
    parser.add_argument("--peer", nargs="+", metavar="NAME", help="only peers whose names begin so")
    parser.add_argument("--hf-1-17", metavar="PYTHON", help="a Python with huggingface_hub 1.17, the last that resumed")
    parser.add_argument("--modelscope", metavar="COMMAND", help="where the command modelscope is")
    parser.add_argument("--work", metavar="DIR", help="where to work: twice the repo's size, on the disk to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all runs there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there, as Markdown")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="write bars of the downloads there, as SVG")
    return parser
