"""The command line as a contract: options, exit codes, stdout for results and stderr for everything else."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import pytest
from conftest import REPO, TOOL, Ended, Tool

from qwen_fetch import __version__
from qwen_fetch.cli import main
from qwen_fetch.localhub.content import make_repo
from qwen_fetch.localhub.faults import Fault, Faults
from qwen_fetch.localhub.hub import LocalHub
from qwen_fetch.options import make_parser
from qwen_fetch.settings import Settings

VAE = "vae/diffusion_pytorch_model.safetensors"
SHARD = "transformer/diffusion_pytorch_model-00002-of-00009.safetensors"


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repo small enough to be fetched in no time."""
    folder = tmp_path_factory.mktemp("cli") / "files"
    make_repo(folder, scale=0.00002)
    return folder


@pytest.fixture
def hub(repo: Path) -> Iterator[LocalHub]:
    with LocalHub(repo) as hub:
        yield hub


@pytest.fixture
def online(tool: Tool, hub: LocalHub) -> Tool:
    tool.endpoint = hub.endpoint
    return tool


@pytest.fixture
def complete(online: Tool) -> Tool:
    ended = online.run("-q")
    assert ended.code == 0, ended
    return online


def digest(hub: LocalHub, path: str) -> str:
    return hub.entry(path).etag


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and link below a folder, with what changes when it is written to."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }


def lines_without_traceback(ended: Ended) -> list[str]:
    assert "Traceback" not in ended.err, ended
    return ended.err.splitlines()


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
    assert rest == ["  do:   qwen-fetch --help shows every option."]


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
from qwen_fetch.cli import main
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


# --- status


def test_status_of_a_whole_download_with_the_network_down(complete: Tool, repo: Path, hub: LocalHub) -> None:
    complete.endpoint = "http://127.0.0.1:9"
    before = tree(complete.home)
    ended = complete.run("--status-only")
    assert ended.code == 0, ended
    assert ended.err == ""
    assert ended.out.splitlines()[-1] == "Complete."
    report = complete.run("--status-only", "--json").json
    sizes = {path.relative_to(repo).as_posix(): path.stat().st_size for path in repo.rglob("*") if path.is_file()}
    assert report["complete"] is True
    assert report["repo_id"] == REPO
    assert report["revision"] == "main"
    assert report["commit"] == hub.commit
    assert report["cache_dir"] == str(complete.cache)
    assert report["bytes_total"] == report["bytes_present"] == sum(sizes.values())
    assert report["bytes_partial"] == 0
    assert report["leftovers"] == []
    assert report["disk_free"] > 0
    assert report["files"] == [
        {"path": path, "size": size, "state": "complete", "bytes": size, "verified": True}
        for path, size in sorted(sizes.items())
    ]
    assert tree(complete.home) == before


def damage(tool: Tool, hub: LocalHub) -> None:
    """One file missing, one begun, one orphan."""
    for path in (VAE, SHARD):
        blob = tool.blobs / digest(hub, path)
        (tool.folder / "snapshots" / hub.commit / path).unlink()
        if path == SHARD:
            blob.with_name(blob.name + ".incomplete").write_bytes(blob.read_bytes()[:1000])
        blob.unlink()
    (tool.blobs / f"{digest(hub, VAE)}.0123abcd.incomplete").write_bytes(b"x" * 50)


def test_status_of_an_unfinished_download_with_the_network_down(complete: Tool, hub: LocalHub) -> None:
    damage(complete, hub)
    complete.endpoint = "http://127.0.0.1:9"
    ended = complete.run("--status-only", "--json")
    assert ended.code == 3, ended
    assert ended.err == ""
    report = ended.json
    states = {file["path"]: (file["state"], file["bytes"]) for file in report["files"]}
    assert states.pop(VAE) == ("missing", 0)
    assert states.pop(SHARD) == ("partial", 1000)
    assert {state for state, _ in states.values()} == {"complete"}
    assert report["bytes_partial"] == 1000
    assert [(leftover["kind"], leftover["bytes"]) for leftover in report["leftovers"]] == [("orphan", 50)]
    text = complete.run("--status-only")
    assert text.code == 3
    assert f"partial    {SHARD}" in text.out
    assert "resumes at byte 1,000" in text.out
    only = complete.run("--status-only", "--selective", "*.json")
    assert only.code == 0, only


def test_status_of_nothing(tool: Tool) -> None:
    ended = tool.run("--status-only", "--json", "--repo-id", "somebody/something")
    assert ended.code == 3
    assert ended.json["error"]["id"] == "nothing-known"
    assert lines_without_traceback(ended)[0].startswith("error: Nothing is known here about")
    assert not tool.home.exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
@pytest.mark.parametrize("mode", ["--status-only", "--cleanup"])
def test_a_cache_that_cannot_be_read_is_a_clear_error(complete: Tool, mode: str) -> None:
    complete.blobs.chmod(0)
    try:
        ended = complete.run(mode)
    finally:
        complete.blobs.chmod(0o755)
    assert ended.code == 8, ended
    assert "[file-system]" in lines_without_traceback(ended)[0]


def test_a_fault_of_the_disk_is_a_clear_error_in_every_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error", "/cache")

    monkeypatch.setattr("qwen_fetch.routines.status.status", fail)
    monkeypatch.setattr("qwen_fetch.routines.cleanup.find", fail)
    for mode in ("--status-only", "--cleanup"):
        assert main([mode, "--cache-dir", str(tmp_path)]) == 8
        assert capsys.readouterr().err.startswith("error: /cache: input/output error. [file-system]")


# --- cleanup


def leftovers(tool: Tool) -> list[str]:
    return sorted(path.name for path in [*tool.blobs.glob("*.incomplete"), *tool.cache.glob(".locks/*/*")])


def test_cleanup_removes_what_no_snapshot_needs_and_what_nobody_holds(complete: Tool, hub: LocalHub) -> None:
    damage(complete, hub)
    locks = complete.cache / ".locks" / complete.folder.name
    locks.mkdir(parents=True, exist_ok=True)
    held = digest(hub, "transformer/diffusion_pytorch_model-00003-of-00009.safetensors")
    (complete.blobs / f"{held}.incomplete").write_bytes(b"x" * 70)
    (locks / f"{'0' * 64}.lock").touch()
    before = tree(complete.home)

    dry = complete.run("--cleanup", "--dry-run")
    assert dry.code == 0, dry
    assert tree(complete.home) == before
    for kind in ("partial", "orphan", "lock"):
        assert re.search(rf"^would remove +{kind} ", dry.out, re.MULTILINE), dry
    assert dry.out.endswith("0 B freed.\n")

    with filelock.FileLock(locks / f"{held}.lock"):
        ended = complete.run("--cleanup", "--json")
        assert ended.code == 0, ended
        assert leftovers(complete) == sorted([f"{held}.incomplete", f"{held}.lock"])
    result = ended.json
    assert {Path(path).name for path in result["held"]} == {f"{held}.incomplete", f"{held}.lock"}
    assert result["bytes_freed"] == 1050
    assert {one["kind"] for one in result["found"]} == {"partial", "orphan", "lock"}
    assert len(result["removed"]) + len(result["held"]) == len(result["found"])

    assert complete.run("--cleanup").code == 0
    assert leftovers(complete) == []
    # What is complete is not touched.
    status = complete.run("--status-only", "--json").json
    assert {file["state"] for file in status["files"] if file["path"] not in (VAE, SHARD)} == {"complete"}
    assert complete.run("-q").code == 0


def test_cleanup_of_nothing(tool: Tool) -> None:
    ended = tool.run("--cleanup")
    assert (ended.code, ended.out, ended.err) == (0, "0 B freed.\n", "")
    assert not tool.home.exists()


# --- verify


def flip(path: Path, at: int = 5000) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_verify_finds_a_flipped_byte_and_force_mends_it(complete: Tool, hub: LocalHub, repo: Path) -> None:
    good = complete.run("--verify", "--json")
    assert good.code == 0, good
    assert all(file["verified"] is True for file in good.json["files"])
    flip(complete.blobs / digest(hub, VAE))
    for endpoint in (hub.endpoint, "http://127.0.0.1:9"):
        complete.endpoint = endpoint
        bad = complete.run("--verify", "--timeout", "3")
        assert bad.code == 9, bad
        assert f"corrupt   {(repo / VAE).stat().st_size / 1000:>6.1f} KB  {VAE}" in bad.out
        assert bad.out.count("verified  ") == len(good.json["files"]) - 1
        assert "[verify-failed]" in bad.err
        assert "do:   Fetch just these again: python" in bad.err
        assert "The Hub cannot be asked" in bad.err or endpoint == hub.endpoint
    complete.endpoint = hub.endpoint
    hub.log.clear()
    mended = complete.run("--force", "--selective", VAE, "--json")
    assert mended.code == 0, mended
    assert mended.json["bytes_fetched"] == (repo / VAE).stat().st_size
    assert {request.path for request in hub.log.requests("any-data")} == {VAE}
    assert complete.run("--verify").code == 0
    assert complete.tree_is(repo)


def test_verify_of_an_unfinished_download_is_not_complete(complete: Tool, hub: LocalHub) -> None:
    damage(complete, hub)
    ended = complete.run("--verify", "--json")
    assert ended.code == 3, ended
    assert "2 of" in ended.err
    states = {file["verified"] for file in json.JSONDecoder().raw_decode(ended.out)[0]["files"]}
    assert states == {True, None}


def test_with_json_stdout_is_one_object_even_when_it_ends_badly(complete: Tool, hub: LocalHub) -> None:
    flip(complete.blobs / digest(hub, VAE))
    ended = complete.run("--verify", "--json")
    assert ended.code == 9
    result = ended.json  # fails where there are two
    assert result["error"]["id"] == "verify-failed"
    assert [file["path"] for file in result["files"] if file["verified"] is False] == [VAE]


# --- download


def test_no_resume_starts_partials_again_and_leaves_what_is_finished(complete: Tool, hub: LocalHub, repo: Path) -> None:
    damage(complete, hub)
    hub.log.clear()
    ended = complete.run("--no-resume", "--json")
    assert ended.code == 0, ended
    assert ended.json["bytes_resumed"] == 0
    assert ended.json["bytes_fetched"] == sum((repo / path).stat().st_size for path in (VAE, SHARD))
    assert {request.path for request in hub.log.requests("any-data")} == {VAE, SHARD}
    assert "1,000 bytes thrown away, as asked" in ended.err
    assert complete.tree_is(repo)


def test_resume_goes_on_at_the_byte_where_it_stopped(complete: Tool, hub: LocalHub, repo: Path) -> None:
    damage(complete, hub)
    ended = complete.run("--transport", "http", "--json", "--resume")
    assert ended.code == 0, ended
    assert ended.json["bytes_resumed"] == 1000
    sizes = [(repo / path).stat().st_size for path in (VAE, SHARD)]
    assert ended.json["bytes_fetched"] == sum(sizes) - 1000
    assert complete.tree_is(repo)


def test_only_what_is_wanted(online: Tool, hub: LocalHub) -> None:
    ended = online.run("--selective", "vae/*", "*.json", "--exclude", "*index*", "tokenizer/", "--json")
    assert ended.code == 0, ended
    paths = [file["path"] for file in ended.json["files"]]
    assert VAE in paths
    assert "model_index.json" not in paths
    assert "scheduler/scheduler_config.json" in paths
    assert not [path for path in paths if path.startswith("tokenizer/")]
    assert {request.path for request in hub.log.requests("any-data")} <= {VAE, "processor/tokenizer.json"}


@pytest.mark.parametrize("mode", [[], ["--dry-run"], ["--verify"], ["--status-only"]], ids=str)
def test_no_match_lists_what_there_is(complete: Tool, repo: Path, mode: list[str]) -> None:
    ended = complete.run(*mode, "--selective", "*.bin")
    assert (ended.code, ended.out) == (2, ""), ended
    assert "[no-match]" in "\n".join(lines_without_traceback(ended))
    for path in repo.rglob("*.safetensors"):
        assert path.relative_to(repo).as_posix() in ended.err


def test_a_dry_run_changes_nothing(online: Tool, hub: LocalHub, repo: Path) -> None:
    ended = online.run("--dry-run")
    assert ended.code == 0, ended
    assert not online.home.exists()
    weights = [path.relative_to(repo).as_posix() for path in repo.rglob("*.safetensors")]
    for path in weights:
        assert re.search(rf"^fetch .* {re.escape(path)}$", ended.out, re.MULTILINE)
    assert hub.log.count("any-data") == 0

    assert online.run("-q").code == 0
    damage(online, hub)
    before = tree(online.home)
    dry = online.run("--dry-run")
    assert re.search(rf"^resume .* {re.escape(SHARD)}$", dry.out, re.MULTILINE)
    assert re.search(rf"^fetch .* {re.escape(VAE)}$", dry.out, re.MULTILINE)
    forced = online.run("--dry-run", "--force", "--json")
    assert forced.code == 0, forced
    assert tree(online.home) == before


def test_a_limit_of_the_rate_holds(online: Tool, hub: LocalHub, repo: Path) -> None:
    total = sum(path.stat().st_size for path in repo.rglob("*.safetensors"))
    rate = total / 3
    arguments = ["--selective", "*.safetensors", "--limit-rate", str(int(rate)), "--json", "--transport", "http"]
    ended = online.run(*arguments)
    assert ended.code == 0, ended
    requests = hub.log.requests("any-data")
    seconds = ended.json["seconds"]
    assert requests
    assert total / seconds <= 1.1 * rate, ended
    assert seconds <= 3 * 1.1 + 2  # and the rest of the job


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
        "import sys; import qwen_fetch.cli as c\n"
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
    assert "Done: " in ended.err
    quiet = online.run("-q")
    assert (quiet.out, quiet.err) == (ended.out, "")
    events = online.run("--progress", "json")
    for line in events.err.splitlines()[:-2]:
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
