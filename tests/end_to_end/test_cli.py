"""The command line as a contract: options, exit codes, stdout for results and stderr for everything else."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command import lines_without_traceback
from workbench import TOOL, Tool

from qwen_fetch import __version__
from qwen_fetch.base.settings import Settings
from qwen_fetch.cli.main import main
from qwen_fetch.cli.options import make_parser
from qwen_fetch.localhub.faults import Fault, Faults
from qwen_fetch.localhub.hub import LocalHub

# --- what makes no sense

BAD = [
    pytest.param(["--nonsense"], "--nonsense", id="no such option"),
    pytest.param(["--stat"], "--stat", id="half an option"),
    pytest.param(["extra"], "extra", id="a word too many"),
    pytest.param(["--repo-id", "a/b/c"], "--repo-id", id="repo-id"),
    pytest.param(["--repo-id", "../x"], "--repo-id", id="repo-id as a path"),
    pytest.param(["--repo-id"], "--repo-id", id="repo-id without a value"),
    pytest.param(["--revision", "../main"], "--revision", id="revision"),
    pytest.param(["--endpoint", "huggingface.co"], "--endpoint", id="endpoint without https"),
    pytest.param(["--endpoint", "https://[::1"], "--endpoint", id="endpoint that is no URL"),
    pytest.param(["--endpoint", "https://hub:port"], "--endpoint", id="endpoint with a bad port"),
    pytest.param(["--endpoint", "https://hub:99999"], "--endpoint", id="endpoint with an impossible port"),
    pytest.param(["--endpoint", ""], "--endpoint", id="empty endpoint"),
    pytest.param(["--max-workers", "0"], "--max-workers", id="no worker"),
    pytest.param(["--max-workers", "1.5"], "--max-workers", id="half a worker"),
    pytest.param(["--max-workers", "1e3"], "--max-workers", id="workers in powers"),
    pytest.param(["--transport", "ftp"], "--transport", id="transport"),
    pytest.param(["--timeout", "0"], "--timeout", id="no time"),
    pytest.param(["--timeout", "nan"], "--timeout", id="no number"),
    pytest.param(["--timeout", "soon"], "--timeout", id="timeout as a word"),
    pytest.param(["--stall-timeout", "-1"], "--stall-timeout", id="negative stall timeout"),
    pytest.param(["--stall-timeout", "inf"], "--stall-timeout", id="endless stall timeout"),
    pytest.param(["--max-retries", "0"], "--max-retries", id="no try"),
    pytest.param(["--max-retries", "many"], "--max-retries", id="retries as a word"),
    pytest.param(["--limit-rate", "fast"], "--limit-rate", id="rate as a word"),
    pytest.param(["--limit-rate", "10"], "--limit-rate", id="a rate that takes years"),
    pytest.param(["--limit-rate", "-5M"], "--limit-rate", id="negative rate"),
    pytest.param(["--progress", "loud"], "--progress", id="progress"),
    pytest.param(["--selective"], "--selective", id="no pattern"),
    pytest.param(["--exclude"], "--exclude", id="no pattern to exclude"),
    pytest.param(["--resume", "--no-resume"], "exclude each other", id="resume or not"),
    pytest.param(["--status-only", "--verify"], "exclude each other", id="two modes"),
    pytest.param(["--status-only", "--cleanup"], "exclude each other", id="two other modes"),
    pytest.param(["--status-only", "--dry-run"], "exclude each other", id="a dry status"),
    pytest.param(["--verify", "--dry-run"], "exclude each other", id="a dry verify"),
    pytest.param(["--self-test", "--cleanup"], "exclude each other", id="a self-test that cleans up"),
    pytest.param(["--quiet", "--verbose"], "exclude each other", id="quiet and verbose"),
]


@pytest.mark.parametrize(("arguments", "named"), BAD)
def test_what_makes_no_sense_is_one_clear_line_and_exit_code_2(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    first, *rest = err.splitlines()
    assert first.startswith("error: ")
    assert named in first
    assert first.isprintable()
    # Beside the error only where to look.
    assert rest == ["  do:   Every option: qwen-fetch --help"]


def test_the_real_command_says_the_same(tool: Tool) -> None:
    ended = tool.run("--max-workers", "none")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: Argument --max-workers: wants a whole number, not 'none'. [usage]\n")
    assert not tool.home.exists()


def test_the_token_of_a_bad_command_line_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--token", "hf_secret", "--max-workers", "0", "--endpoint", "https://me:hf_secret@x"]) == 2
    assert "hf_secret" not in "".join(capsys.readouterr())


def test_help_names_every_option(tool: Tool) -> None:
    ended = tool.run("--help")
    assert ended.code == 0
    assert ended.err == ""
    for action in make_parser()._actions:
        assert action.help
        for option in action.option_strings:
            assert re.search(rf"(?<![\w-]){re.escape(option)}\b", ended.out), option
    contract = (
        "--resume --no-resume --force --status-only --cleanup --verify --selective --exclude --dry-run --self-test "
        "--repo-id --revision --cache-dir --endpoint --token --max-workers --transport --timeout --stall-timeout "
        "--max-retries --limit-rate --yes --json --progress"
    )
    for option in contract.split():
        assert option in ended.out


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("command", "begun", "completed"),
    [
        ("qwen-fetch", "--status", "--status-only"),
        ("qwen-fetch", "--progress pl", "plain"),
        ("qwen-fetch-repair", "--cache", "--cache-dir"),
        ("qwen-fetch-edit", "--light", "--lightning"),
    ],
)
def test_a_shell_completes_what_was_begun(tool: Tool, command: str, begun: str, completed: str) -> None:
    script = tool.run("--print-completion", "bash", command=[str(Path(sys.executable).with_name(command))])
    assert script.code == 0, script
    words = f"{command} {begun}"
    ask = f"COMP_WORDS=({words}); COMP_CWORD={len(words.split()) - 1}; {'_shtab_' + command.replace('-', '_')}"
    found = subprocess.run(
        ["bash", "-c", f'{script.out}\n{ask}; echo "${{COMPREPLY[@]}}"'], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == [completed]


def test_the_three_names_of_the_command(tool: Tool) -> None:
    for command in (
        [sys.executable, str(TOOL)],
        [sys.executable, "-m", "qwen_fetch"],
        [str(Path(sys.executable).with_name("qwen-fetch"))],
    ):
        ended = tool.run("--version", command=command)
        assert (ended.code, ended.out.strip()) == (0, f"qwen-fetch {__version__}")


# --- what is imported, and when

IMPORTS = """
import contextlib, io, json, sys
from qwen_fetch.cli.main import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main(sys.argv[1:])
heavy = "huggingface_hub httpx httpx2 requests tqdm lz4 torch transformers diffusers truststore ssl numpy".split()
print(json.dumps([name for name in heavy if name in sys.modules]))
"""


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], set()),
        (["--version"], set()),
        (["--nonsense"], set()),
        (["--status-only"], {"huggingface_hub"}),
        (["--cleanup"], {"huggingface_hub"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_nothing_heavy_is_imported_for_a_quick_answer(complete: Tool, arguments: list[str], allowed: set[str]) -> None:
    ended = complete.run(*arguments, command=[sys.executable, "-c", IMPORTS])
    assert set(json.loads(ended.out.splitlines()[-1])) <= allowed, ended


# --- what is told, and where


ERRORS: list[Any] = [
    pytest.param(["--revision", "nowhere"], {}, 6, "not-found", id="no such revision"),
    pytest.param(["--repo-id", "Qwen/Other"], {}, 6, "not-found", id="no such repo"),
    pytest.param(["--endpoint", "http://127.0.0.1:9", "--max-retries", "1"], {}, 4, "connection-refused", id="no Hub"),
    pytest.param([], {"HF_HUB_OFFLINE": "1"}, 4, "offline-switch", id="switched off"),
]


@pytest.mark.parametrize(("arguments", "extra", "code", "name"), ERRORS)
def test_an_error_as_json_and_as_text(
    online: Tool, arguments: list[str], extra: dict[str, str], code: int, name: str
) -> None:
    online.extra = extra
    ended = online.run(*arguments, "--json", "--token", "hf_secret")
    assert ended.code == code, ended
    error = ended.json["error"]
    assert error["id"] == name
    assert error["what"]
    text = "\n".join(lines_without_traceback(ended))
    assert f"[{name}]" in text
    assert "  do:" in text
    assert "hf_secret" not in ended.out + ended.err


def test_a_wrong_token_is_a_matter_of_access(online: Tool, hub: LocalHub) -> None:
    hub.token = "hf_right"
    ended = online.run("--token", "hf_wrong", "--json")
    assert ended.code == 5, ended
    assert "hf_wrong" not in ended.out + ended.err
    assert online.run("--token", "hf_right", "-q").code == 0


def test_a_listing_that_is_no_json_is_the_hubs_fault(online: Tool, hub: LocalHub) -> None:
    hub.faults = Faults(Fault("api", html_page=True))
    ended = online.run("--max-retries", "1")
    assert ended.code == 4, ended
    lines_without_traceback(ended)


def test_a_closed_stdout_is_no_error_of_the_network(complete: Tool) -> None:
    # With more than the interpreter's buffer the write itself fails, not the flush at the end.
    snippet = (
        "import sys; import qwen_fetch.cli.main as c\n"
        "def broken(values): raise BrokenPipeError(32, 'Broken pipe')\n"
        "c.print_json = broken\n"
        "sys.exit(c.main(['--json', '-q']))"
    )
    ended = complete.run(command=[sys.executable, "-c", snippet])
    assert ended.code == 1, ended
    assert ended.err == ""


def test_stdout_is_the_result_and_nothing_else(online: Tool, hub: LocalHub) -> None:
    ended = online.run()
    assert ended.code == 0, ended
    assert ended.out == f"{online.folder / 'snapshots' / hub.commit}\n"
    assert "✓ 39 files, 1.2 MB, all verified; 1." in ended.err
    assert f"{TOOL.name} --check-load" in ended.err
    quiet = online.run("-q")
    assert (quiet.out, quiet.err) == (ended.out, "")
    events = online.run("--progress", "json")
    for line in events.err.splitlines():
        assert "event" in json.loads(line)


def test_the_proposed_command_works_as_it_stands(tmp_path: Path, online: Tool) -> None:
    cache = tmp_path / "my cache's"
    ended = online.run("--status-only", "--cache-dir", str(cache))
    assert ended.code == 3
    command = ended.out.splitlines()[-1].split(": ", 1)[1].strip()
    program = Settings(cache_dir=cache).command()
    assert "my cache" in program
    again = subprocess.run(
        command.replace("python ", f"{sys.executable} ", 1) + " -q",
        shell=True,
        env=online.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert (cache / "models--Qwen--Qwen-Image-Edit" / "snapshots").is_dir()


def test_a_quick_answer_is_quick(complete: Tool) -> None:
    began = time.monotonic()
    assert complete.run("--status-only").code == 0
    assert time.monotonic() - began < 3  # a tenth of it on a machine that does nothing else


@pytest.mark.parametrize("mode", ["--status-only", "--dry-run", "--cleanup", "--verify"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(tool: Tool, mode: str) -> None:
    # Isolated, and without the packages of this environment: a machine where nothing was installed.
    ended = tool.run(mode, command=[sys.executable, "-I", "-S", str(TOOL)])
    assert ended.code == 1, ended
    assert "[not-installed]" in ended.err
    assert "pip install ." in ended.err
    assert "Traceback" not in ended.err
