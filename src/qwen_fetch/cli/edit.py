"""The command line of the generator: `tools/edit_image.py`, from arguments to a picture."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qwen_fetch.base.door import say
from qwen_fetch.base.problem import ExitCode, Problem
from qwen_fetch.base.settings import DEFAULT_REPO, Settings
from qwen_fetch.base.version import __version__
from qwen_fetch.cli.block import tell
from qwen_fetch.cli.parser import Parser
from qwen_fetch.cli.terminal import Terminal
from qwen_fetch.loading.editing import GUIDANCE, Edit, run
from qwen_fetch.loading.explain_load import explain_load
from qwen_fetch.loading.loader import Request
from qwen_fetch.loading.placement import Strategy, Wishes

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    try:
        arguments = _parser().parse_args(argv)
        edit = Edit(
            tuple(arguments.image),
            arguments.prompt,
            arguments.output,
            arguments.steps,
            arguments.seed,
            arguments.size,
            arguments.guidance,
            arguments.negative,
        )
        folder = Path(arguments.repo_id)
        request = Request(
            Settings(
                repo_id=DEFAULT_REPO if folder.is_dir() else arguments.repo_id,
                revision=arguments.revision,
                cache_dir=arguments.cache_dir,
            ),
            Wishes(arguments.device_map, arguments.low_ram, arguments.quantization, arguments.strategy),
            folder if folder.is_dir() else None,
            not arguments.quiet,
            tuple(arguments.lora),
            arguments.lightning,
        )
        if arguments.explain:
            for line in explain_load(request):
                say(line)
        else:
            say(str(run(edit, request)))
    except Problem as problem:
        tell(problem, Terminal.of(sys.stderr))
        return problem.exit_code
    except KeyboardInterrupt:
        say("Stopped; nothing was written.", file=sys.stderr)
        return ExitCode.INTERRUPTED
    return ExitCode.DONE


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        description=f"Edit a picture with {DEFAULT_REPO}, as downloaded, placed where it runs best on this machine.",
        words="image... prompt",
    )
    parser.add_argument("image", nargs="+", type=Path, help="the picture; several only for 2509 and 2511")
    parser.add_argument("prompt", help="what to do, such as 'make the sky pink'")
    parser.add_argument("-o", "--output", type=Path, default=Path("edited.png"), help="default: %(default)s")
    parser.add_argument("--steps", type=int, metavar="N", help="denoising steps (default: 50; 40 for 2509 and 2511)")
    parser.add_argument("--seed", type=int, metavar="N", help="to make the same picture again (default: a new one)")
    parser.add_argument("--size", type=_size, metavar="WxH", help="default: about 1 Mpx in the shape of the picture")
    parser.add_argument(
        "--guidance", type=float, metavar="G", help=f"how strictly (default: {GUIDANCE}; off with --lightning)"
    )
    parser.add_argument("--negative", default=" ", metavar="TEXT", help="what to avoid")
    parser.add_argument("--explain", action="store_true", help="say where everything would go and why, and stop")
    model = parser.add_argument_group("the model")
    model.add_argument("--repo-id", default=DEFAULT_REPO, metavar="OWNER/NAME", help="or a folder (%(default)s)")
    model.add_argument("--revision", default="main", help="branch, tag or commit (default: %(default)s)")
    model.add_argument("--cache-dir", type=Path, metavar="DIR", help="default: what HF_HUB_CACHE or HF_HOME says")
    model.add_argument(
        "--lightning",
        nargs="?",
        type=int,
        const=4,
        choices=[4, 8],
        help="4 or 8 passes instead of 100, by a LoRA that `qwen-fetch --with-lightning` brings",
    )
    model.add_argument(
        "--lora",
        action="append",
        default=[],
        metavar="FILE|FOLDER|REPO[:FILE][@WEIGHT]",
        help="add this LoRA; may be given several times",
    )
    place = parser.add_argument_group("where it runs (default: chosen for this machine)")
    place.add_argument(
        "--device-map", default="auto", metavar="DEVICE", help="auto, balanced, cuda, cuda:N, mps or cpu (%(default)s)"
    )
    ways = ", ".join(Strategy)
    place.add_argument(
        "--strategy", choices=[*Strategy], metavar="WAY", help=f"this way of placing it, and no other: {ways}"
    )
    place.add_argument("--quantization", choices=["fp8", "nf4"], help="store weights in 8 or 4 bits")
    place.add_argument("--low-ram", action="store_true", help="keep no copy of the weights in RAM")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    parser.add_argument("--version", action="version", version=f"qwen-fetch {__version__}")
    return parser


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    try:
        return int(width), int(height)
    except ValueError:
        raise argparse.ArgumentTypeError(f"wants WIDTHxHEIGHT, not {text!r}") from None
