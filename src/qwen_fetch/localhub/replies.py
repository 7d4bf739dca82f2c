"""A reply as a value: what a request deserves, and what the faults make of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from qwen_fetch.localhub.bodies import Body, TextBody, XorbBody
from qwen_fetch.localhub.faults import Fault

_PORTAL = b"""<!DOCTYPE html>
<html><head><title>Welcome</title></head><body><h1>Please log in to use this network</h1></body></html>
"""


@dataclass(frozen=True)
class Reply:
    """Status, headers, and the bytes `start` to `end` (excluded) of a body.

    Content-Length, and Content-Range for 206, follow from the fields.
    """

    status: int
    body: Body
    start: int
    end: int
    total: int
    """The size of the whole, as told in Content-Range."""
    headers: Mapping[str, str] = field(default_factory=dict)
    slow: float | None = None
    """Bytes/s, if a fault wants it slow."""
    cut: Fault | None = None
    """The fault that ends the body early, if any."""

    @property
    def length(self) -> int:
        """Bytes of the body to send."""
        return self.end - self.start

    def all_headers(self) -> dict[str, str]:
        """Return the headers, those that follow from the range included."""
        headers = {"Content-Length": str(self.length), **self.headers}
        if self.status == 206:
            headers["Content-Range"] = f"bytes {self.start}-{self.end - 1}/{self.total}"
        return headers


def text(status: int, data: bytes, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a reply from memory."""
    return Reply(status, TextBody(data), 0, len(data), len(data), headers or {})


def as_json(value: object, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a reply with `value` as JSON."""
    return text(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})


def error(status: int, message: str, code: str | None = None) -> Reply:
    """Return an error as the Hub words it: in JSON and in two headers."""
    headers = {
        "Content-Type": "application/json",
        "X-Error-Message": message.encode("ascii", "backslashreplace").decode(),
    }
    if code is not None:
        headers["X-Error-Code"] = code
    return text(status, json.dumps({"error": message}).encode(), headers)


def denied(message: str) -> Reply:
    """Return the 403 of a data host whose URL is no longer, or was never, right."""
    data = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>{message}</Message></Error>'
    return text(403, data.encode(), {"Content-Type": "application/xml"})


def ranged(body: Body, header: str | None, headers: Mapping[str, str]) -> Reply:
    """Return the range of `body` that a Range header wants, the whole, or 416.

    Args:
        body: The whole.
        header: The Range header.
        headers: Of the reply.
    """
    whole = Reply(200, body, 0, body.size, body.size, {"Accept-Ranges": "bytes", **headers})
    wanted = byte_range(header, body.size)
    if wanted is None:
        return whole
    if not wanted:
        body.close()
        return text(416, b"", {"Content-Range": f"bytes */{body.size}"})
    return replace(whole, status=206, start=wanted.start, end=wanted.stop)


def byte_range(header: str | None, size: int) -> range | None:
    """Return the bytes a Range header wants of `size`: an empty range if there are none, None for the whole.

    A header that makes no sense or asks for several ranges wants the whole, as HTTP allows.
    """
    unit, _, spec = (header or "").partition("=")
    first, dash, last = spec.strip().partition("-")
    if unit.strip() != "bytes" or not dash or not all(part.isdecimal() or not part for part in (first, last)):
        return None
    if not first:
        return range(max(0, size - int(last)), size) if last else None
    if last and int(last) < int(first):
        return None
    return range(min(int(first), size), min(int(last) + 1, size) if last else size)


def altered(reply: Reply, faults: list[Fault]) -> Reply:
    """Return what `faults` make of `reply`. Closing at once and delays are not its business."""
    for fault in faults:
        instead = _instead(fault)
        if instead is not None:
            reply.body.close()
            return instead
        _spoil(reply, fault)
        if fault.slow is not None:
            reply = replace(reply, slow=fault.slow)
        if fault.cut_after is not None or fault.silent_after is not None:
            reply = replace(reply, cut=fault)
        if fault.ignore_range:
            reply = replace(reply, status=200, start=0, end=reply.body.size)
        if fault.wrong_range is not None:
            reply = _shifted(reply, fault.wrong_range)
        if fault.wrong_length is not None:
            reply = replace(reply, total=fault.wrong_length)
    return reply


def _instead(fault: Fault) -> Reply | None:
    """Return the reply that `fault` gives instead of any other."""
    if fault.status is not None:
        return text(fault.status, fault.body, fault.headers)
    return text(200, _PORTAL, {"Content-Type": "text/html; charset=utf-8"}) if fault.html_page else None


def _spoil(reply: Reply, fault: Fault) -> None:
    """Change the bytes of the body if `fault` is of that sort."""
    if fault.flip_at is not None:
        reply.body.flip(fault.flip_at)
    if fault.corrupt_xorb and isinstance(reply.body, XorbBody):
        reply.body.corrupt(reply.start)


def _shifted(reply: Reply, shift: int) -> Reply:
    """Return a reply of the same length from another place; a shorter one at the end of the body."""
    start = max(0, min(reply.start + shift, reply.body.size - 1))
    return replace(reply, start=start, end=min(start + reply.length, reply.body.size))
