"""The options of the command line, and the settings they make."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.settings import DEFAULT_REPO, Settings
from qwen_fetch.base.shell import program
from qwen_fetch.base.units import parse_bytes, parse_time
from qwen_fetch.base.version import __version__
from qwen_fetch.cli.parser import Parser
from qwen_fetch.loading.lightning import REPOS, pattern

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_fetch.loading.lightning import Passes

__all__ = ["check", "lightning_of", "make_parser", "settings_of"]

N = TypeVar("N", int, float)


_EXAMPLES = (
    ("", "download the model, or go on where it stopped"),
    ("--status-only", "what is here, and what is missing"),
    ("--limit-rate 20M --log night.log", "through the night, leaving room for others, with a record"),
    ('--selective "*.json" "vae/*"', "only some of its files"),
    ("--adopt ~/Downloads/qwen", "what was fetched by other means is taken over, if it is right"),
)
_EXIT_CODES = (
    "Exit codes: 0 done, 1 unexpected, 2 usage, 3 not complete, 4 network, 5 access, 6 not found, 7 disk full, "
    "8 file system, 9 corrupt content, 10 busy, 11 cannot load here, 130 Ctrl-C, 143 SIGTERM."
)


def make_parser() -> argparse.ArgumentParser:
    """The options, as `--help` shows them."""
    parser = Parser(
        description=f"Bring {DEFAULT_REPO} (57.7 GB), or any model of the Hub, into the Hugging Face cache, "
        "over a line that breaks. Run it again after any interruption: it goes on at the byte where it stopped.",
        examples=_EXAMPLES,
        closing=f"Mend a download: {program('repair')}. Edit a picture: {program('edit')}. {_EXIT_CODES}",
    )
    parser.add_argument("--version", action="version", version=f"qwen-fetch {__version__}")
    modes = parser.add_argument_group("what to do (default: download, and resume what was begun)")
    modes.add_argument("--status-only", action="store_true", help="what is here, what is missing; works offline")
    modes.add_argument("--verify", action="store_true", help="read everything and compare it with the Hub's digests")
    modes.add_argument("--cleanup", action="store_true", help="remove partial files, orphans and stale locks")
    modes.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    modes.add_argument("--xet-cache", action="store_true", help="with --cleanup: the Xet client's old logs as well")
    modes.add_argument("--diagnose", action="store_true", help="what is wrong between here and the Hub, as a table")
    modes.add_argument("--check-load", action="store_true", help="prove that it can be loaded here, and say how")
    modes.add_argument("--self-test", action="store_true", help="try the whole job on a small Hub inside this machine")
    modes.add_argument("--resume", action="store_true", help="go on with partial files (the default)")
    modes.add_argument("--no-resume", action="store_true", help="throw partial files away and start them again")
    modes.add_argument("--force", action="store_true", help="fetch (with --verify: read) again even what is complete")
    modes.add_argument("--yes", action="store_true", help="do not ask before partial files are removed")
    what = parser.add_argument_group("what to fetch, and where to")
    what.add_argument("--repo-id", default=DEFAULT_REPO, metavar="OWNER/NAME", help="default: %(default)s")
    what.add_argument("--revision", default="main", help="branch, tag or commit (default: %(default)s)")
    what.add_argument("--selective", nargs="+", action="extend", default=[], metavar="PATTERN", help="only these files")
    what.add_argument("--exclude", nargs="+", action="extend", default=[], metavar="PATTERN", help="not these files")
    what.add_argument(
        "--adopt",
        nargs="+",
        action="extend",
        default=[],
        type=Path,
        metavar="DIR",
        help="take over what these folders already hold, if its digest is right",
    )
    what.add_argument(
        "--with-lightning",
        nargs="?",
        type=int,
        const=4,
        choices=[4, 8],
        help="also the LoRA (0.85 GB) that makes a picture in 4 or 8 passes instead of 100",
    )
    what.add_argument("--cache-dir", type=Path, metavar="DIR", help="default: what HF_HUB_CACHE or HF_HOME says")
    what.add_argument(
        "--endpoint",
        metavar="URL",
        help="default: what HF_ENDPOINT says, or https://huggingface.co; URL,URL: the second where the first is away",
    )
    what.add_argument("--token", help="default: what HF_TOKEN or `hf auth login` says")
    line = parser.add_argument_group("the line")
    line.add_argument(
        "--max-workers", type=_whole, metavar="N", help="exactly so many connections (default: 4, and as many as help)"
    )
    line.add_argument(
        "--transport",
        default="auto",
        metavar="auto|xet|http",
        help="auto: Xet where the file has it, HTTP otherwise, and the other one when one fails",
    )
    line.add_argument("--timeout", type=_seconds, default=15, metavar="S", help="to connect (default: %(default)s)")
    line.add_argument(
        "--stall-timeout",
        type=_seconds,
        default=30,
        metavar="S",
        help="no byte for so long is a stall (%(default)s)",
    )
    line.add_argument(
        "--max-retries",
        type=_whole,
        metavar="N",
        help="tries in a row without a new byte before giving up (no bound)",
    )
    line.add_argument(
        "--give-up-after",
        type=_time,
        default="12h",
        metavar="TIME",
        help="time without a new byte before giving up, such as 90m (%(default)s)",
    )
    line.add_argument("--limit-rate", type=_bytes, metavar="BYTES", help="per second in all, such as 20M")
    line.add_argument("--no-keep-awake", action="store_true", help="let the machine go to sleep in mid-download")
    shown = parser.add_argument_group("what is shown")
    shown.add_argument("--json", action="store_true", help="the result as one JSON object on stdout")
    shown.add_argument(
        "--progress",
        default="auto",
        choices=["auto", "bar", "plain", "json", "off"],
        help="how progress is shown",
    )
    shown.add_argument("--log", type=Path, metavar="FILE", help="append a dated record of every attempt and wait")
    shown.add_argument("-q", "--quiet", action="store_true", help="nothing but errors and the result")
    shown.add_argument("-v", "--verbose", action="store_true", help="every file and retry; errors with a traceback")
    return parser


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings that the options make.

    Raises:
        Problem: (usage) a value makes no sense.
    """
    return Settings(
        repo_id=arguments.repo_id,
        revision=arguments.revision,
        cache_dir=arguments.cache_dir,
        endpoint=arguments.endpoint,
        token=arguments.token,
        include=tuple(arguments.selective),
        exclude=tuple(arguments.exclude),
        max_workers=arguments.max_workers,
        transport=arguments.transport,
        timeout=arguments.timeout,
        stall_timeout=arguments.stall_timeout,
        max_retries=arguments.max_retries,
        give_up_after=arguments.give_up_after,
        limit_rate=arguments.limit_rate,
        keep_awake=not arguments.no_keep_awake,
        adopt=tuple(arguments.adopt),
    )


def lightning_of(settings: Settings, passes: Passes) -> Settings:
    """The same download, of the Lightning LoRA that belongs to the model."""
    edition = settings.repo_id.removeprefix("Qwen/")
    return replace(
        settings, repo_id=REPOS[edition], revision="main", include=(pattern(edition, passes),), exclude=(), adopt=()
    )


def check(arguments: argparse.Namespace) -> None:
    """Refuse options that contradict each other.

    Raises:
        Problem: (usage) They do.
    """
    modes = [
        name
        for name in ("status_only", "verify", "cleanup", "diagnose", "check_load", "self_test")
        if getattr(arguments, name)
    ]
    if arguments.dry_run and modes != ["cleanup"]:
        modes.append("dry_run")
    pairs = [modes] if len(modes) > 1 else []
    both = vars(arguments).get
    pairs += [list(pair) for pair in (("resume", "no_resume"), ("quiet", "verbose")) if all(map(both, pair))]
    if arguments.xet_cache and not arguments.cleanup:
        raise Problem(catalogue.USAGE, detail="--xet-cache goes with --cleanup.")
    if arguments.with_lightning:
        if modes not in ([], ["dry_run"]):
            raise Problem(catalogue.USAGE, detail="--with-lightning goes with a download.")
        if arguments.repo_id.removeprefix("Qwen/") not in REPOS:
            known = ", ".join(f"Qwen/{edition}" for edition in REPOS)
            raise Problem(catalogue.USAGE, detail=f"--with-lightning knows the LoRAs of {known} alone.")
    for names in pairs:
        options = " and ".join("--" + name.replace("_", "-") for name in names[:2])
        raise Problem(catalogue.USAGE, detail=f"{options} exclude each other.")


def _whole(text: str) -> int:
    return _number(text, int, "a whole number")


def _seconds(text: str) -> float:
    return _number(text, float, "a number of seconds")


def _time(text: str) -> float:
    return _number(text, parse_time, "a time such as 45s, 90m, 12h or 2d")


def _bytes(text: str) -> int:
    return _number(text, parse_bytes, "bytes such as 800K, 20M or 1.5G")


def _number(text: str, convert: Callable[[str], N], what: str) -> N:
    try:
        return convert(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"wants {what}, not {text!r}") from None
