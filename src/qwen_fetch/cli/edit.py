"""The command line of the generator: `tools/edit_image.py`, from arguments to a picture."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_fetch.base import catalogue
from qwen_fetch.base.door import say
from qwen_fetch.base.problem import ExitCode, Problem
from qwen_fetch.base.settings import DEFAULT_REPO, Settings
from qwen_fetch.base.version import __version__
from qwen_fetch.cli.block import tell
from qwen_fetch.cli.boundary import command
from qwen_fetch.cli.parser import Parser
from qwen_fetch.cli.terminal import Terminal
from qwen_fetch.loading.again import again
from qwen_fetch.loading.editing import Made, run
from qwen_fetch.loading.explain_load import explain_load
from qwen_fetch.loading.jobs import (
    GUIDANCE,
    NO_PICTURES,
    Edit,
    Size,
    expanded,
    from_lines,
    numbered,
    parse_size,
    pictures_in,
    settled,
    work_of,
)
from qwen_fetch.loading.loader import Request
from qwen_fetch.loading.placement import Strategy, Wishes

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_FREE = "edited.png"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    words = _unambiguous(sys.argv[1:] if argv is None else argv)
    return command(_parser(), lambda arguments: _run(_as_noted(arguments, words)), words)


def _unambiguous(words: Sequence[str]) -> list[str]:
    """What follows `--lightning` is its number only if it is one: `--lightning photo.png` names a picture."""
    following = [*words, ""][1:]
    return [
        "--lightning=4" if word == "--lightning" and not after.isdecimal() else word
        for word, after in zip(words, following, strict=True)
    ]


def _as_noted(arguments: argparse.Namespace, argv: Sequence[str]) -> argparse.Namespace:
    """With `--from`: what is noted in the picture, but for what was typed."""
    if arguments.source is None:
        return arguments
    before = again(arguments.source, tuple(map(Path, arguments.words)))
    parser = _parser()
    parser.set_defaults(**before.options)
    arguments = parser.parse_args(argv)
    arguments.words = list(map(str, before.images))
    arguments.prompt = arguments.prompt or [before.prompt]
    return arguments


def _run(arguments: argparse.Namespace) -> int:
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
    edits = _edits(arguments)
    if arguments.explain:
        work = work_of([settled(edit, "", request.lightning) for edit in edits])
        for line in explain_load(replace(request, work=work)):
            say(line)
        return ExitCode.DONE
    codes = []

    def show(made: Made) -> None:
        if made.problem is None:
            say(str(made.output))
        else:
            say(f"{made.output}: not made.", file=sys.stderr)
            tell(made.problem, Terminal.of(sys.stderr))
            codes.append(made.problem.exit_code)

    run(edits, request, overwrite=arguments.overwrite, on_made=show)
    return codes[0] if codes else ExitCode.DONE


def _edits(arguments: argparse.Namespace) -> list[Edit]:
    """What is to be made, each with an output of its own."""
    words = arguments.words
    prompts = arguments.prompt or ([] if arguments.jobs else words[-1:])
    images = words if arguments.prompt or arguments.jobs else words[:-1]
    if not arguments.jobs and not (prompts and images):
        detail = "Name a picture and say what to do, such as: photo.png 'make the sky pink'."
        raise Problem(catalogue.USAGE, detail=detail)
    if arguments.variations < 1:
        raise Problem(catalogue.USAGE, detail="--variations wants 1 or more.")
    paths = [Path(word) for word in images]
    each = arguments.each or any(path.is_dir() for path in paths)
    pictures = tuple(file for path in paths for file in (pictures_in(path) if path.is_dir() else [path]))
    many = bool(each or arguments.jobs)
    shared = Edit(
        pictures or NO_PICTURES,
        " ".join(prompts),
        _output(arguments.output, many=many, explained=arguments.explain),
        arguments.steps,
        arguments.seed,
        arguments.size,
        arguments.guidance,
        arguments.negative,
    )
    if arguments.jobs:
        lines = sys.stdin if arguments.jobs == "-" else _lines(Path(arguments.jobs))
        return from_lines(lines, shared, "stdin" if arguments.jobs == "-" else arguments.jobs)
    return numbered(expanded(shared, prompts, variations=arguments.variations, each=each))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(catalogue.USAGE, detail=f"--jobs {path} cannot be read ({error}).") from None


def _output(given: Path | None, *, many: bool, explained: bool) -> Path:
    """The picture's name, or of many pictures the folder, which is made."""
    if not many:
        if given is not None and given.is_dir():
            return given / _FREE
        return given or next(path for number in count(1) if not (path := _numbered(number)).exists())
    folder = given or Path("edited")
    if folder.suffix.lower() == ".png":
        raise Problem(catalogue.USAGE, detail=f"-o wants a folder for several pictures, not {folder}.")
    if not explained:
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            detail = (error.strerror or str(error)).lower()
            raise Problem(catalogue.OUTPUT_UNWRITABLE, path=folder, detail=detail) from None
    return folder


def _numbered(number: int) -> Path:
    return Path(_FREE) if number == 1 else Path(_FREE).with_stem(f"edited-{number}")


class _InAnyOrder(Parser):
    """Pictures, what to do, and options, in any order: `photo.png --lightning 'make it pink'`."""

    def parse_args(  # type: ignore[override]  # one signature for what the overloads of the base are
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """As `ArgumentParser` does."""
        return self.parse_intermixed_args(args, namespace)


def _parser() -> argparse.ArgumentParser:
    parser = _InAnyOrder(
        description=f"Edit a picture with {DEFAULT_REPO}, as downloaded, placed where it runs best on this machine.",
        words="picture... prompt",
        tool="edit",
        examples=(
            ("photo.png 'make the sky pink' --lightning", "4 passes instead of 100"),
            ("photo.png --prompt 'at night' --prompt 'in snow'", "two pictures, loaded once"),
            ("photos/ 'remove the people' -o clean", "every picture of a folder"),
            ("--jobs jobs.jsonl -o made", "a job in each line"),
        ),
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="picture... prompt",
        help="the picture (several go into one edit, only for 2509 and 2511; a folder: each by itself); what to do",
    )
    many = parser.add_argument_group("many edits, loaded once; those that are there already are kept")
    many.add_argument("--prompt", action="append", metavar="TEXT", help="instead of the last word; several times")
    many.add_argument("--each", action="store_true", help="every picture by itself")
    many.add_argument(
        "--variations", type=int, default=1, metavar="N", help="each so many times, with seeds that differ"
    )
    many.add_argument(
        "--jobs",
        metavar="FILE",
        help='a job in each line, - for stdin: {"image": "a.png", "prompt": "at night", "output": "b.png", "seed": 1}, '
        "or a prompt alone",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="PNG", help="default: edited.png; of many, the folder or a name to number"
    )
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="PICTURE", help="make this one again; what else is given differs"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace pictures that are there already")
    parser.add_argument("--steps", type=int, metavar="N", help="denoising steps (default: 50; 40 for 2509 and 2511)")
    parser.add_argument("--seed", type=int, metavar="N", help="to make the same picture again (default: a new one)")
    parser.add_argument(
        "--size", type=_size, metavar="WxH|input", help="default: about 1 Mpx in the shape of the picture"
    )
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
    parser.add_argument("-v", "--verbose", action="store_true", help="errors with a traceback")
    parser.set_defaults(json=False)
    parser.add_argument("--version", action="version", version=f"qwen-fetch {__version__}")
    return parser


def _size(text: str) -> Size:
    try:
        return parse_size(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"wants WIDTHxHEIGHT or input, not {text!r}") from None
