"""The command line of quick repair: `tools/fix_download.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qwen_fetch.base.door import one_line, say
from qwen_fetch.base.events import Phase
from qwen_fetch.base.problem import ExitCode
from qwen_fetch.base.settings import DEFAULT_REPO, Settings
from qwen_fetch.cli.boundary import attended, command, print_json
from qwen_fetch.cli.parser import Parser
from qwen_fetch.cli.terminal import Terminal

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from qwen_fetch.base.events import Listener
    from qwen_fetch.routines.repair import Finding

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return command(_parser(), _run, argv)


def _parser() -> Parser:
    parser = Parser(
        description="Look at everything that can be wrong with a download, mend it, fetch what is missing, and verify. "
        "Exit codes are those of the download.",
    )
    parser.add_argument("--dry-run", action="store_true", help="find, and mend nothing")
    parser.add_argument("--repo-id", default=DEFAULT_REPO, metavar="OWNER/NAME", help="default: %(default)s")
    parser.add_argument("--revision", default="main", help="branch, tag or commit (default: %(default)s)")
    parser.add_argument("--cache-dir", type=Path, metavar="DIR", help="default: what HF_HUB_CACHE or HF_HOME says")
    parser.add_argument(
        "--endpoint",
        metavar="URL",
        help="default: what HF_ENDPOINT says, or https://huggingface.co; URL,URL: the second where the first is away",
    )
    parser.add_argument("--token", help="default: what HF_TOKEN or `hf auth login` says")
    parser.add_argument(
        "--adopt", nargs="+", action="extend", default=[], type=Path, metavar="DIR", help="look there too for files"
    )
    parser.add_argument("--json", action="store_true", help="findings and result as one JSON object on stdout")
    parser.add_argument("--progress", default="auto", choices=["auto", "bar", "plain", "json", "off"])
    parser.add_argument("-q", "--quiet", action="store_true", help="nothing but errors and the result")
    parser.add_argument("-v", "--verbose", action="store_true", help="every file and retry; errors with a traceback")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    settings = Settings(
        repo_id=arguments.repo_id,
        revision=arguments.revision,
        cache_dir=arguments.cache_dir,
        endpoint=arguments.endpoint,
        token=arguments.token,
        adopt=tuple(arguments.adopt),
    )

    terminal = Terminal.of(sys.stdout)

    def show(finding: Finding) -> None:
        if not arguments.json:
            text = f"found  {finding.subject}: {finding.what}" + (f" -> {finding.mend}" if finding.mend else "")
            say(terminal.fitted(one_line(text, 1000)))

    def body(emit: Listener, tick: Callable[[], None]) -> int:
        from qwen_fetch.routines.repair import repair  # noqa: PLC0415 - `--help` is to start in no time
        from qwen_fetch.routines.status import status_lines  # noqa: PLC0415

        done = repair(settings, emit, tick, on_finding=show, mend=not arguments.dry_run)
        emit(Phase("done"))
        if arguments.json:
            print_json(done.as_json())
        else:
            if not done.findings:
                say("Nothing is wrong.")
            columns = terminal.size()[0]
            say("\n".join(status_lines(done.report, settings.command(), everything=arguments.verbose, columns=columns)))
        return ExitCode.DONE if done.report.complete else ExitCode.INCOMPLETE

    return attended(settings, arguments, body)
