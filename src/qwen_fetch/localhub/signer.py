"""Signed URLs and Xet tokens: right for a while, then refused."""

import hashlib
import hmac
import secrets
import time
from urllib.parse import parse_qs, quote, urlsplit

_LONG = 3_600.0  # seconds, where nothing else is said


class Signer:
    """Signs with a key of its own, made up anew for every hub."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)

    def url(self, host: str, path: str, lifetime: float | None, only: str = "") -> str:
        """Return a URL for `path` on `host` that is right for `lifetime` seconds (an hour for None).

        Args:
            host: Scheme, name and port.
            path: What is to be had there.
            lifetime: Seconds.
            only: The one Range header that it is right for; empty: for all, and for none.
        """
        expires = f"{time.time() + (_LONG if lifetime is None else lifetime):.3f}"
        signed = f"&X-Xet-Signed-Range={quote(only)}" if only else ""
        return f"{host}{path}?X-Amz-Signature={self._sign(path + expires + only)}&Expires={expires}{signed}"

    def problem(self, target: str, wanted: str | None) -> str | None:
        """Return what is wrong with the signed URL `target` (path and query), None if it is right.

        Args:
            target: Path and query.
            wanted: The Range header, if there is one.
        """
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        expires, only = query.get("Expires", ""), query.get("X-Xet-Signed-Range", "")
        if not self._is_right(query.get("X-Amz-Signature", ""), url.path + expires + only):
            return "Signature does not match"
        if only and only != wanted:
            return "Range does not match"
        return "Request has expired" if time.time() > float(expires) else None

    def xet_token(self) -> tuple[str, int]:
        """Return a token for the CAS and when it ends, in seconds since 1970."""
        expires = int(time.time() + _LONG)
        return f"xet-{expires}-{self._sign(str(expires))}", expires

    def is_xet_token(self, authorization: str | None) -> bool:
        """Return whether an Authorization header holds a token of `xet_token`."""
        kind, _, token = (authorization or "").partition(" ")
        name, _, rest = token.partition("-")
        expires, _, signature = rest.partition("-")
        return (kind, name) == ("Bearer", "xet") and self._is_right(signature, expires)

    def _is_right(self, signature: str, message: str) -> bool:
        return hmac.compare_digest(signature.encode(), self._sign(message).encode())

    def _sign(self, message: str) -> str:
        return hmac.new(self._key, message.encode(), hashlib.sha256).hexdigest()
