"""The data host: a CDN for plain HTTP, and Xet's CAS with its xorbs."""

from dataclasses import replace
from urllib.parse import urlsplit

from qwen_fetch.localhub import xet
from qwen_fetch.localhub.bodies import FileBody, XorbBody
from qwen_fetch.localhub.catalog import Entry
from qwen_fetch.localhub.kept import KeptXorbBody
from qwen_fetch.localhub.replies import Reply, as_json, byte_range, denied, error, ranged, text
from qwen_fetch.localhub.serving import Handler

__all__ = ["DataHandler"]

_BINARY = {"Content-Type": "application/octet-stream"}


class DataHandler(Handler):
    """A connection to the data host."""

    def respond(self) -> None:
        """Answer a request: GET and HEAD alike."""
        path = urlsplit(self.path).path
        match path.strip("/").split("/"):
            case ["repos", sha256]:
                entry = self.site.catalog.by_sha256(sha256)
                reply = self._signed(FileBody(entry.file) if entry else None)
                self.answer("cdn", entry.path if entry else path, entry is not None, reply)
            case ["xorbs", xorb_hash]:
                found = self.site.catalog.xorb(xorb_hash)
                reply = self._signed(self._xorb(*found) if found else None)
                self.answer("xorb", found[0].path if found else path, found is not None, reply)
            case ["v1" | "v2" as version, "reconstructions", xet_hash]:
                entry = self.site.catalog.by_xet_hash(xet_hash)
                self.answer("cas", entry.path if entry else path, True, self._reconstruction(entry, version))
            case _:
                self.answer("cdn", path, False, error(404, "Not found"))

    def _xorb(self, entry: Entry, number: int) -> XorbBody:
        kept = self.site.kept(entry, number)
        return XorbBody(entry.file, number) if kept is None else KeptXorbBody(entry.file, number, kept)

    def _signed(self, body: FileBody | XorbBody | None) -> Reply:
        """Return the wanted range of `body` if the URL allows it."""
        if body is None:
            return denied("No such key")
        problem = self.site.signer.problem(self.path, self.headers.get("Range"))
        if problem is not None:
            body.close()
            return denied(problem)
        return ranged(body, self.headers.get("Range"), _BINARY)

    def _reconstruction(self, entry: Entry | None, version: str) -> Reply:
        """Return how to build a file, or a range of it, from xorbs."""
        if entry is None or (version == "v2" and self.site.cas_version == 1):
            return error(404, "Not found")
        if not self.site.signer.is_xet_token(self.headers.get("Authorization")):
            return error(401, "Unauthorized")
        wanted = byte_range(self.headers.get("Range"), entry.size)
        if wanted is None:
            wanted = range(entry.size)
        if not wanted:
            return text(416, b"", {"Content-Range": f"bytes */{entry.size}"})
        run = list(xet.terms(entry.size, wanted.start, wanted.stop))
        kept = [self.site.kept(entry, term.xorb) for term in run]
        run = [
            replace(term, stored=file.stored(term.chunks)) if file else term
            for term, file in zip(run, kept, strict=True)
        ]
        urls = {
            term.xorb: self.site.signer.url(
                self.site.data_endpoint,
                f"/xorbs/{xet.xorb_hash(entry.xet_hash, term.xorb)}",
                self.site.url_lifetime,
                only=f"bytes={term.stored.start}-{term.stored.stop - 1}",
            )
            for term in run
        }
        form = xet.reconstruction_v2 if version == "v2" else xet.reconstruction_v1
        return as_json(form(entry.xet_hash, run, urls, wanted.start % xet.CHUNK))
