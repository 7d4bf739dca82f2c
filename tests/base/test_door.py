"""The door of all output: no secret passes, and nothing that a terminal would obey."""

from __future__ import annotations

import io
from base64 import b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_fetch.base import door

PASSWORD = "pa/ss#w@rd"


@pytest.mark.parametrize(
    "text",
    [
        "http://user:s3cret@host/x",
        "socks5h://user:s3cret@127.0.0.1:1",
        "HTTPS://s3cret@host",
        "bad proxy http://us er:x@y",
        "https://host/f?X-Amz-Signature=s3cretsecret&x=1",
        "https://host/f?Policy=s3cret~_&Key-Pair-Id=s3cret",
        "/f?X-Amz-Credential=s3cretsecret%2F2026",
        "no such file: blob?signature=s3cretsecret",
        "Authorization: Bearer s3cretsecret",
        "'Proxy-Authorization': 'Basic czNjcmV0c2VjcmV0'",
        "token=s3cretsecret",
        "the header hf_s3cretsecret is refused",
        f"http://user:{PASSWORD}-s3cret@host",
    ],
)
def test_what_looks_like_a_secret_does_not_pass(text: str) -> None:
    shown = door.clean(text)
    assert "s3cret" not in shown
    assert "czNjcmV0" not in shown


def test_what_was_kept_does_not_pass_in_any_form() -> None:
    door.keep_secret(PASSWORD)
    for form in (PASSWORD, quote(PASSWORD, safe=""), b64encode(PASSWORD.encode()).decode()):
        assert door.clean(f"<{form}>") == "<…>"


def test_what_the_environment_holds_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", " made-up-token\n")
    monkeypatch.setenv("https_proxy", f"http://me:{quote('geheim!', safe='')}@proxy:1")
    both = b64encode(b"me:geheim!").decode()
    for form in ("made-up-token", "geheim!", "geheim%21", both):
        assert door.clean(f"<{form}>") == "<…>"


def test_ordinary_text_passes_as_it_is() -> None:
    for text in (
        "Qwen/Qwen-Image-Edit at main (0123abcd): 39 files, 57.7 GB",
        "https://huggingface.co/Qwen/Qwen-Image-Edit",
        "tokenizer/tokenizer_config.json",
        "python tools/download_qwen_edit_hub.py --endpoint http://127.0.0.1:8080",
        "two\nlines of größe 日本 …",
    ):
        assert door.clean(text) == text


@given(st.text())
def test_nothing_that_a_terminal_obeys_passes(text: str) -> None:
    assert door.clean(text).replace("\n", "").isprintable() or not any(
        c in door.clean(text) for c in "\x00\x07\x08\r\x1b\x7f\x9b\u202e\u2066\u200b\ud800"
    )
    assert "\n" not in door.one_line(text)


def test_what_an_encoding_cannot_hold_is_written_as_an_escape() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="cp437", newline="")
    door.say("größe 中", file=stream)
    assert raw.getvalue().decode("cp437") == "größe \\u4e2d\n"
