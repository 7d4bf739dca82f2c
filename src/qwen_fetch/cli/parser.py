"""A command line that helps: `--help` within 80 columns, and for an unknown option the one that was meant."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NoReturn

from qwen_fetch.base import catalogue
from qwen_fetch.base.door import say
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.shell import program, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qwen_fetch.base.shell import Tool

__all__ = ["Parser"]

_WIDTH = 78
# What other downloaders call it: hf, huggingface-cli, wget, curl, aria2c, git.
_ELSEWHERE = {
    "--check": "--verify",
    "--connections": "--max-workers",
    "--continue": "--resume",
    "--hf-token": "--token",
    "--ignore-patterns": "--exclude",
    "--include": "--selective",
    "--jobs": "--max-workers",
    "--local-dir": "--cache-dir",
    "--max-concurrent-downloads": "--max-workers",
    "--max-download-limit": "--limit-rate",
    "--max-tries": "--max-retries",
    "--output-dir": "--cache-dir",
    "--prune": "--cleanup",
    "--rate-limit": "--limit-rate",
    "--retry": "--max-retries",
    "--split": "--max-workers",
    "--tries": "--max-retries",
    "--workers": "--max-workers",
    "-P": "--cache-dir",
    "-c": "--resume",
    "-j": "--max-workers",
    "-x": "--max-workers",
}
# What is no option here, because every program on the way reads it.
_IN_THE_ENVIRONMENT = {
    **dict.fromkeys(("--all-proxy", "--https-proxy", "--proxy", "--http-proxy"), "HTTPS_PROXY or ALL_PROXY"),
    **dict.fromkeys(("--ca-certificate", "--cacert"), "SSL_CERT_FILE"),
    "--noproxy": "NO_PROXY",
    "--no-proxy": "NO_PROXY",
}
_REPO = re.compile(r"[\w.-]+/[\w.-]+")


class Parser(argparse.ArgumentParser):
    """Bad input gets one clear line, the option that was probably meant, and exit code 2.

    Args:
        description: What the command does.
        words: What it wants beside options, for the first line of `--help`.
        examples: What people type, each with what it is for.
        closing: What else `--help` says at its end.
        tool: Which command it is, for the examples.
    """

    def __init__(
        self,
        *,
        description: str,
        words: str = "",
        examples: Sequence[tuple[str, str]] = (),
        closing: str = "",
        tool: Tool = "download",
    ) -> None:
        super().__init__(
            prog=None if Path(sys.argv[0]).name != "__main__.py" else "qwen-fetch",
            usage=f"%(prog)s [options] {words}".rstrip(),
            description=_filled(description),
            epilog="\n\n".join(filter(None, [_listed(examples, tool), _filled(closing)])),
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        self.add_argument(
            "--print-completion",
            action=_Completion,
            choices=["bash", "zsh"],
            help="what lets that shell complete options",
        )

    def error(self, message: str) -> NoReturn:
        """Raise it as a problem."""
        detail = message[:1].upper() + message[1:] + "."
        if message.startswith("unrecognized arguments: "):
            detail += "".join(f" {hint}" for hint in self._hints(message.split()[2:]))
        raise Problem(catalogue.USAGE, detail=detail)

    def _hints(self, words: Sequence[str]) -> Iterator[str]:
        known = self._option_string_actions
        for word in words:
            option = word.partition("=")[0]
            if not option.startswith("-"):
                if _REPO.fullmatch(word) and "--repo-id" in known:
                    yield f"A repo is named with --repo-id {quoted(word)}."
                continue
            if variable := _IN_THE_ENVIRONMENT.get(option):
                yield f"That is said in the environment: {variable}."
                continue
            from difflib import get_close_matches  # noqa: PLC0415 - only for who has mistyped

            near = get_close_matches(option, [name for name in known if name.startswith("--")], n=1, cutoff=0.7)
            if meant := next((name for name in [_ELSEWHERE.get(option, ""), *near] if name in known), ""):
                yield f"Is {meant} meant?"


class _Completion(argparse.Action):
    """Prints a script for a shell, and ends."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002 - as the base class has it
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        import shtab  # noqa: PLC0415 - for nobody else

        say(shtab.complete(parser, values))
        parser.exit()


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Paragraphs as they were filled, and options beside what they do."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=_WIDTH)


def _filled(text: str) -> str:
    return "\n".join(wrap(text, _WIDTH))


def _listed(examples: Sequence[tuple[str, str]], tool: Tool) -> str:
    lines = [f"  {what}:\n    {program(tool)} {words}".rstrip() for words, what in examples]
    return "\n".join(["examples:", *lines]) if lines else ""
