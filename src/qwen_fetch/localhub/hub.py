"""The hub itself: two servers, one catalog, and the knobs that tests turn."""

import contextlib
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TextIO

from qwen_fetch.localhub import xet
from qwen_fetch.localhub.api import ApiHandler
from qwen_fetch.localhub.catalog import Entry, Revision
from qwen_fetch.localhub.data import DataHandler
from qwen_fetch.localhub.faults import Faults
from qwen_fetch.localhub.kept import Packing, keep
from qwen_fetch.localhub.log import RequestLog
from qwen_fetch.localhub.serving import Server
from qwen_fetch.localhub.site import Site

__all__ = ["LOOPBACK", "LocalHub"]

LOOPBACK = "127.0.0.1"


class LocalHub(Site):
    """A Hub that serves a folder as one repo, from the moment it is made until `close`.

    Its knobs are the attributes of `Site`, and can be turned while it serves. The digests of large files are kept in
    `<folder>.digests.json` beside it for the next start.

    Args:
        folder: What `main` holds. Served from there: leave it alone while the hub runs.
        repo_id: Like all up to `cas_version`, an attribute of `Site`, which says what it means.
        faults: None for none, to begin with.
        port: Of the endpoint; 0 for any that is free.
        log_file: Where each finished request is written as a line of JSON.
        store: A folder in which xorbs are kept as files: they cost as much space as the repo, and sending them
            costs next to nothing. None: each is put together as it is sent.
        packing: How chunks are packed in `store`.
        address: On which it listens; another than this machine's own is for the namespaces of a benchmark.
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
        address: str = LOOPBACK,
    ) -> None:
        """Take stock of `folder` and start to serve."""
        super().__init__(
            repo_id=repo_id,
            xet=xet,
            faults=faults or Faults(),
            line_rate=line_rate,
            connection_rate=connection_rate,
            latency=latency,
            token=token,
            public=public,
            url_lifetime=url_lifetime,
            cas_version=cas_version,
            log=RequestLog(log_file),
        )
        self._store = store
        self._packing: Packing = packing
        self.commit = self.add_revision("main", folder)
        """The commit of `folder`: 40 hex digits that depend on paths and content alone."""
        self._servers: list[Server] = []
        try:
            self._servers.append(Server((address, 0), DataHandler, self))
            (data,) = (server.port for server in self._servers)
            # Before the first question can come. Another name and another port: clients take it for another host, as
            # the real one is, and it can be blocked alone.
            self.data_endpoint = f"http://{'localhost' if address == LOOPBACK else address}:{data}"
            # Where the name means IPv6 first, a refused connection costs some clients seconds.
            with contextlib.suppress(OSError):
                self._servers.append(Server(("::1", data), DataHandler, self))
            self._servers.append(Server((address, port), ApiHandler, self))
        except BaseException:
            self.close()
            raise
        self.endpoint = f"http://{address}:{self._servers[-1].port}"

    def add_revision(self, branch: str, folder: Path) -> str:
        """Serve `folder` as `branch` too; return its commit."""
        revision = Revision.of(folder)
        self.catalog.add(branch, revision)
        if self._store is not None:
            for entry in revision.entries.values():
                for number in range(xet.xorb_count(entry.size)) if entry.is_lfs else ():
                    self._kept[entry.xet_hash, number] = keep(self._store, entry, number, self._packing)
        return revision.commit

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
