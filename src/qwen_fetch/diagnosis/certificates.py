"""Who issued the certificate that a host presents: the one thing that explains an intercepted connection.

Python's `ssl` hides the fields of a certificate that it does not trust, and this is the only use for them, so the
few bytes of DER that lead to the issuer are read here.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["issuer_name", "issuer_of"]

_UNKNOWN = "an unknown issuer"
_COMMON_NAME, _ORGANISATION = bytes.fromhex("550403"), bytes.fromhex("55040a")
_VERSION = 0xA0  # the tag of an optional field


def issuer_of(url: str, timeout: float) -> str:
    """The issuer of the certificate that the host of `url` presents, in words. Nothing is sent to it.

    Args:
        url: An https address.
        timeout: Seconds.
    """
    parts = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only looked at, never talked to
    try:
        with (
            socket.create_connection((parts.hostname or "", parts.port or 443), timeout) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as secure,
        ):
            return issuer_name(secure.getpeercert(binary_form=True) or b"")
    except OSError:
        return _UNKNOWN


def issuer_name(certificate: bytes) -> str:
    """Common name and organisation of the issuer of an X.509 certificate.

    Args:
        certificate: In DER.
    """
    try:
        # Certificate = SEQUENCE { tbsCertificate = SEQUENCE { [version], serial, algorithm, issuer, … } … }
        _, whole = next(_items(certificate))
        _, signed = next(_items(whole))
        fields = [item for item in _items(signed) if item[0] != _VERSION]
        names: dict[bytes, str] = {}
        for _, part in _items(fields[2][1]):
            for _, pair in _items(part):
                (_, key), (_, value) = list(_items(pair))[:2]
                names[key] = "".join(c for c in value.decode("utf-8", "replace") if c.isprintable())[:80]
    except (IndexError, ValueError, StopIteration):
        return _UNKNOWN
    known = [names[key] for key in (_COMMON_NAME, _ORGANISATION) if names.get(key)]
    return ", ".join(dict.fromkeys(known)) or _UNKNOWN


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The tag and the content of each DER item in `data`."""
    while data:
        tag, length, start = data[0], data[1], 2
        if length & 0x80:
            start = 2 + (length & 0x7F)
            length = int.from_bytes(data[2:start])
        if start + length > len(data):
            raise ValueError("a DER item is longer than what holds it")
        yield tag, data[start : start + length]
        data = data[start + length :]
