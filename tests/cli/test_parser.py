"""`--help`, and what is said to who mistypes or brings another tool's words."""

import pytest

from qwen_fetch.cli import edit, fix, main

COMMANDS = {"download": main.main, "repair": fix.main, "edit": edit.main}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("argv", ["/usr/bin/qwen-fetch", "tools/download_qwen_edit_hub.py"])
def test_help_fits_into_80_columns(
    name: str, argv: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [argv])
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        COMMANDS[name](["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80


def test_help_shows_five_examples_as_the_user_would_type_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["tools/download_qwen_edit_hub.py"])
    with pytest.raises(SystemExit):
        main.main(["--help"])
    examples = capsys.readouterr().out.partition("examples:\n")[2].split("\n\n")[0].splitlines()
    assert len([line for line in examples if line.startswith("    python tools/download_qwen_edit_hub.py")]) == 5


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--statu"], "Is --status-only meant?"),
        (["--limitrate", "5M"], "Is --limit-rate meant?"),
        (["--limitrate=5M"], "Is --limit-rate meant?"),
        (["--include", "*.json"], "Is --selective meant?"),
        (["--tries=5"], "Is --max-retries meant?"),
        (["-c"], "Is --resume meant?"),
        (["-x", "16"], "Is --max-workers meant?"),
        (["--local-dir", "x"], "Is --cache-dir meant?"),
        (["--proxy", "http://x:1"], "That is said in the environment: HTTPS_PROXY or ALL_PROXY."),
        (["--cacert=x.pem"], "That is said in the environment: SSL_CERT_FILE."),
        (["Qwen/Qwen-Image"], "A repo is named with --repo-id Qwen/Qwen-Image."),
    ],
)
def test_the_option_that_was_meant_is_named(words: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(words) == 2
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("error: Unrecognized arguments: ")
    assert hint in first


def test_nothing_is_made_up_for_what_is_like_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--xyzzy", "plugh"]) == 2
    assert "meant" not in capsys.readouterr().err


def test_only_options_of_this_command_are_proposed(capsys: pytest.CaptureFixture[str]) -> None:
    assert fix.main(["--include", "x"]) == 2
    assert "--selective" not in capsys.readouterr().err
