"""What the handlers of both servers see and use: what is served, how well, what goes wrong, and where it is noted."""

import threading
from dataclasses import dataclass, field
from typing import Literal

from qwen_fetch.localhub.catalog import Catalog, Entry
from qwen_fetch.localhub.faults import Faults
from qwen_fetch.localhub.kept import Kept
from qwen_fetch.localhub.log import RequestLog
from qwen_fetch.localhub.pace import Pacer
from qwen_fetch.localhub.signer import Signer

__all__ = ["Site"]


@dataclass(kw_only=True, eq=False, repr=False)
class Site:
    """One repo as it is served. Everything but `xet` and the endpoints can be changed meanwhile."""

    repo_id: str
    """The name of the repo."""
    xet: bool
    """Whether large files can be read over Xet too."""
    faults: Faults
    """What goes wrong."""
    line_rate: float | None
    """Bytes/s of all replies with data together; None for no limit."""
    connection_rate: float | None
    """The same for each connection."""
    latency: float
    """Seconds before the first byte of every reply."""
    token: str | None
    """The one right token; None lets in everybody, whatever they bring."""
    public: bool
    """Whether a missing token is let in and only a wrong one refused, as for a public repo."""
    url_lifetime: float | None
    """Seconds that the URLs of data are right; None for an hour."""
    cas_version: Literal[1, 2]
    """The newest form of reconstructions the CAS knows."""
    log: RequestLog
    """What was asked and what was sent."""

    endpoint: str = field(default="", init=False)
    """The URL for `HF_ENDPOINT`; empty until there is a server."""
    data_endpoint: str = field(default="", init=False)
    """The URL of the data host, CDN and CAS; likewise."""
    catalog: Catalog = field(default_factory=Catalog, init=False)
    """What is served."""
    line: Pacer = field(default_factory=Pacer, init=False)
    """The line that all connections share, of `line_rate`."""
    signer: Signer = field(default_factory=Signer, init=False)
    """Of the URLs and tokens of the data host."""
    closing: threading.Event = field(default_factory=threading.Event, init=False)
    """Set when nothing more is to be sent."""
    _kept: dict[tuple[str, int], Kept] = field(default_factory=dict, init=False)

    def kept(self, entry: Entry, number: int) -> Kept | None:
        """Return a xorb as a file, if xorbs are kept."""
        return self._kept.get((entry.xet_hash, number))
