"""The hub itself: two servers, one catalog, and the knobs that tests turn."""

import contextlib
import threading
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TextIO

from qwen_fetch.localhub import xet
from qwen_fetch.localhub.api import ApiHandler
from qwen_fetch.localhub.catalog import Catalog, Entry, Revision
from qwen_fetch.localhub.data import DataHandler
from qwen_fetch.localhub.faults import Faults
from qwen_fetch.localhub.kept import Kept, Packing, keep
from qwen_fetch.localhub.log import RequestLog
from qwen_fetch.localhub.pace import Pacer
from qwen_fetch.localhub.serving import Server
from qwen_fetch.localhub.signer import Signer


class LocalHub:
    """A Hub that serves a folder as one repo, from the moment it is made until `close`.

    Everything but the folders, the ports, `packing` and `xet` can be changed while it serves.
    """

    def __init__(
        self,
        folder: Path,
        *,
        repo_id: str = "Qwen/Qwen-Image-Edit",
        xet: bool = True,
        faults: Faults | None = None,
        line_rate: float | None = None,
        connection_rate: float | None = None,
        latency: float = 0.0,
        token: str | None = None,
        public: bool = False,
        url_lifetime: float | None = None,
        cas_version: Literal[1, 2] = 2,
        port: int = 0,
        log_file: TextIO | None = None,
        store: Path | None = None,
        packing: Packing = "none",
    ) -> None:
        """Take stock of `folder` and start to serve.

        The digests of large files are kept in `<folder>.digests.json` beside it for the next start.

        Args:
            folder: What `main` holds. Served from there: leave it alone while the hub runs.
            repo_id: The name of the repo.
            xet: Whether large files can be read over Xet too.
            faults: What goes wrong.
            line_rate: Bytes/s of all replies with data together; None for no limit.
            connection_rate: The same for each connection.
            latency: Seconds before the first byte of every reply.
            token: The one right token; None lets in everybody, whatever they bring.
            public: Whether a missing token is let in and only a wrong one refused, as for a public repo.
            url_lifetime: Seconds that the URLs of data are right; None for an hour.
            cas_version: The newest form of reconstructions the CAS knows.
            port: Of the endpoint; 0 for any that is free.
            log_file: Where each finished request is written as a line of JSON.
            store: A folder in which xorbs are kept as files: they cost as much space as the repo, and sending them
                costs next to nothing. None: each is put together as it is sent.
            packing: How chunks are packed in `store`.
        """
        self.repo_id = repo_id
        self.xet = xet
        self.faults = faults or Faults()
        self.line_rate = line_rate
        self.connection_rate = connection_rate
        self.latency = latency
        self.token = token
        self.public = public
        self.url_lifetime = url_lifetime
        self.cas_version = cas_version
        self._store = store
        self._packing: Packing = packing
        self._kept: dict[tuple[str, int], Kept] = {}
        self.log = RequestLog(log_file)
        self.line = Pacer()
        self.signer = Signer()
        self.catalog = Catalog()
        self.closing = threading.Event()
        self.commit = self.add_revision("main", folder)
        """The commit of `folder`: 40 hex digits that depend on paths and content alone."""
        self._servers: list[Server] = []
        try:
            self._servers.append(Server(("127.0.0.1", port), ApiHandler, self))
            self._servers.append(Server(("127.0.0.1", 0), DataHandler, self))
        except BaseException:
            self.close()
            raise
        api, data = (server.port for server in self._servers)
        self.endpoint = f"http://127.0.0.1:{api}"
        """The URL for `HF_ENDPOINT`."""
        # Another name and another port: clients take it for another host, as the real one is, and it can be
        # blocked alone.
        self.data_endpoint = f"http://localhost:{data}"
        """The URL of the data host, CDN and CAS."""
        # Where the name means IPv6 first, a refused connection costs some clients seconds.
        with contextlib.suppress(OSError):
            self._servers.append(Server(("::1", data), DataHandler, self))

    def add_revision(self, branch: str, folder: Path) -> str:
        """Serve `folder` as `branch` too; return its commit."""
        revision = Revision.of(folder)
        self.catalog.add(branch, revision)
        if self._store is not None:
            for entry in revision.entries.values():
                for number in range(xet.xorb_count(entry.size)) if entry.is_lfs else ():
                    self._kept[entry.xet_hash, number] = keep(self._store, entry, number, self._packing)
        return revision.commit

    def kept(self, entry: Entry, number: int) -> Kept | None:
        """Return a xorb as a file, if xorbs are kept."""
        return self._kept.get((entry.xet_hash, number))

    def entry(self, path: str, revision: str = "main") -> Entry:
        """Return the file at `path` with its size and digests; KeyError if there is none."""
        found = self.catalog.revision(revision)
        if found is None:
            raise KeyError(revision)
        return found.entries[path]

    def move_branch(self, branch: str, commit: str) -> None:
        """Let `branch` point to `commit`, that of an added revision."""
        self.catalog.move_branch(branch, commit)

    def close(self) -> None:
        """Stop serving and end all connections. Closing twice does no harm."""
        self.closing.set()
        while self._servers:
            self._servers.pop().stop()

    def __enter__(self) -> Self:
        """Return the hub, which serves already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the hub."""
        self.close()
