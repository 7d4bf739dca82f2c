"""The one door for output: whatever is printed, logged or drawn passes here, without secrets and without control codes.

Servers, file names, environment variables and exceptions of libraries say what they like. Nobody else in the program
writes to a stream; ruff and a test say so.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from base64 import b64encode
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING, TextIO
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["OutputError", "clean", "draw", "drawing", "keep_secret", "one_line", "say", "while_drawn"]

_HIDDEN = "…"
_SHORTEST = 4  # characters of a secret that is looked for by itself: shorter ones are part of many words
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")

_URL_LOGIN = re.compile(r"(?<=://)[^\s'\"<>]*@")  # to the last @: a password may hold anything
_URL_QUERY = re.compile(r"(://[^\s'\"<>?]*)\?[^\s'\"<>]*")
_NAMED = re.compile(
    r"(?i)\b((?:x-amz-)?(?:signature|credential|security-token)|policy|key-pair-id|sig|(?:access_)?token|password)"
    r"=[^\s&'\"<>]{6,}"
)
_HEADER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}")
_TOKEN = re.compile(r"\bhf_\w{6,}")
_INVISIBLE = {0x061C, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}

_secrets: set[str] = set()

drawing = RLock()  # held by who writes to a terminal
_erase: list[Callable[[], None]] = []


def keep_secret(text: str | None) -> None:
    """From now on this does not pass the door, as it is or as it travels."""
    if text and len(text) >= _SHORTEST:
        _secrets.update({text, quote(text, safe=""), b64encode(text.encode(errors="replace")).decode()})


def clean(text: str) -> str:
    """A text without secrets, and with what a terminal would obey or hide made visible; line ends stay."""
    for secret in sorted({*_secrets, *_in_environment()}, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    if "://" in text:
        text = _URL_LOGIN.sub(_HIDDEN + "@", text)
        text = _URL_QUERY.sub(rf"\1?{_HIDDEN}", text)
    text = _NAMED.sub(rf"\1={_HIDDEN}", text)
    text = _HEADER.sub(rf"\1 {_HIDDEN}", text)
    text = _TOKEN.sub("hf_" + _HIDDEN, text)
    return text if text.isprintable() else "".join(map(_visible, text))


def one_line(text: str, most: int = 200) -> str:
    """The same for what others said, a file name or a server's words: in one line, and not too long."""
    return clean(" ".join(text.split())[: 2 * most])[:most]


class OutputError(OSError):
    """What was to be printed could not be written.

    Args:
        stream: Where to, in words.
        cause: What the system said.
    """

    def __init__(self, stream: str, cause: OSError) -> None:
        super().__init__(cause.errno, cause.strerror or str(cause))
        self.stream = stream


def say(text: str = "", *, file: TextIO | None = None, end: str = "\n") -> None:
    """Print to `file` (stdout), whatever its encoding can hold: what it cannot is written as an escape.

    Raises:
        BrokenPipeError: The reader has gone.
        OutputError: It cannot be written to.
    """
    stream = sys.stdout if file is None else file
    if stream is None:  # a program without a console has none
        return
    with drawing:
        if _erase and stream.isatty():
            _erase[-1]()
        draw(clean(text) + end, stream)


def while_drawn(erase: Callable[[], None] | None) -> None:
    """Something is drawn on the terminal from now on, and `erase` makes room for what is said; None: no longer."""
    _erase[:] = [erase] if erase else []


def draw(text: str, stream: TextIO) -> None:
    """Write what a terminal is to obey: codes of our own around texts that are `clean`.

    What stderr does not take is not shown: nobody could be told, and the work is worth more.

    Raises:
        BrokenPipeError: The reader has gone.
        OutputError: It cannot be written to.
    """
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError as error:
            stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        stream.flush()
    except OSError as error:
        with suppress(OSError, ValueError):  # or the interpreter would try again at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if stream is sys.stderr:
            return
        if isinstance(error, BrokenPipeError):
            raise
        raise OutputError("stdout" if stream is sys.stdout else "the file", error) from error


def _in_environment() -> Iterator[str]:
    """What the environment holds of secrets; looked at each time, since tests and callers change it."""
    for name in _TOKENS:
        if len(token := os.environ.get(name, "").strip()) >= _SHORTEST:
            yield token
    for name in _PROXIES:
        login, at, _ = (os.environ.get(name) or os.environ.get(name.lower(), "")).rpartition("@")
        if not at:
            continue
        login = login.rpartition("://")[2]
        with suppress(UnicodeError):
            login = unquote(login, errors="strict")
        for secret in (login, login.partition(":")[2]):
            if len(secret) >= _SHORTEST:
                yield from (secret, quote(secret, safe=""), b64encode(secret.encode(errors="replace")).decode())


def _visible(character: str) -> str:
    if character == "\n":
        return character
    if unicodedata.category(character) in {"Cc", "Cs"} or ord(character) in _INVISIBLE:
        return (
            character.encode("ascii", "backslashreplace").decode()
            if ord(character) > 127
            else f"\\x{ord(character):02x}"
        )
    return character
