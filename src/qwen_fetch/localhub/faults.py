"""What can go wrong on the way, to order."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase

from qwen_fetch.localhub.log import is_kind

KINDS = ("api", "resolve", "token", "cdn", "cas", "xorb", "any-data")

_ACTIONS = (
    "cut_after",
    "silent_after",
    "slow",
    "flip_at",
    "wrong_range",
    "ignore_range",
    "status",
    "html_page",
    "wrong_length",
    "close_at_once",
    "delay",
    "corrupt_xorb",
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Fault:
    """One thing that goes wrong, and when. Exactly one action is given.

    A request matches when its kind and path do and, for an action at a byte, when its reply holds that byte:
    a `cut_after=8_000_000` neither hits nor counts a reply of 4 MB.
    """

    kind: str = field(kw_only=False)
    """One of `KINDS`; `any-data` is CDN or xorb."""
    path: str = "*"
    """Glob over paths in the repo (over the path of the URL where a request is about no file)."""
    times: int | None = None
    """How many matching requests are hit; None for all."""
    skip: int = 0
    """How many matching requests are let through first."""
    every: float | None = None
    """Hit one request at most in that many seconds, the first so long after the fault was put in force."""
    per_connection: bool = False
    """Count the bytes of `cut_after` and `silent_after` over the connection's life, not over one reply."""

    cut_after: int | None = None
    """End the connection after that many bytes of body."""
    silent_after: int | None = None
    """Send nothing more after that many bytes of body, and keep the connection open."""
    slow: float | None = None
    """Dribble: bytes/s."""
    flip_at: int | None = None
    """Change the byte at this offset of the file."""
    wrong_range: int | None = None
    """Answer with a range shifted by that many bytes, and say so in Content-Range."""
    ignore_range: bool = False
    """Answer 200 with the whole body."""
    status: int | None = None
    """Answer this status, with `headers` and `body`."""
    html_page: bool = False
    """Answer 200 with a web page, as a captive portal does."""
    wrong_length: int | None = None
    """Say in Content-Range that the whole is that many bytes long."""
    close_at_once: bool = False
    """Close the connection instead of answering."""
    delay: float | None = None
    """Wait that many seconds before the reply."""
    corrupt_xorb: bool = False
    """Break the header of the first chunk sent."""

    reset: bool = True
    """Whether `cut_after` and `close_at_once` reset the connection (RST) or close it in good order (FIN)."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """With `status`."""
    body: bytes = b""
    """With `status`."""

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind {self.kind!r}; there are {', '.join(KINDS)}")
        # By identity: 0 is a number of bytes like any other.
        given = [action for action in _ACTIONS if not any(getattr(self, action) is x for x in (None, False))]
        if len(given) != 1:
            raise ValueError(f"a fault has exactly one action out of {', '.join(_ACTIONS)}")

        if self.slow is not None and self.slow <= 0:
            raise ValueError("slow is more than 0 bytes/s; there is silent_after=0")

    @classmethod
    def parse(cls, spec: str) -> "Fault":
        """Read a fault from `KIND:NAME=VALUE,…`, such as `any-data:cut_after=8000000,times=3,path=vae/*`.

        A name alone means true. `headers` and `body` cannot be given that way.
        """
        kind, _, rest = spec.partition(":")
        types = {item.name: str(item.type) for item in fields(cls)}
        values: dict[str, object] = {}
        for part in filter(None, rest.split(",")):
            name, _, value = part.partition("=")
            wanted = types.get(name, "")
            if name in ("kind", "headers", "body") or not wanted:
                raise ValueError(f"unknown name {name!r} in fault {spec!r}")
            if "bool" in wanted:
                values[name] = value.lower() not in ("0", "false", "no")
            elif "str" in wanted:
                values[name] = value
            else:
                values[name] = float(value) if "float" in wanted else int(value)
        return cls(kind, **values)  # type: ignore[arg-type]

    def matches(self, kind: str, path: str, span: range, length: int, earlier: int) -> bool:
        """Return whether this fault is meant for a request.

        Args:
            kind: Of the request.
            path: Of the request.
            span: Bytes of the file that the reply would hold.
            length: Bytes of the reply's body: for a xorb more than the span.
            earlier: Bytes of bodies that the connection has carried before.
        """
        if not (is_kind(kind, self.kind) and fnmatchcase(path, self.path)):
            return False
        if self.flip_at is not None:
            return self.flip_at in span
        last = self.cut_after if self.cut_after is not None else self.silent_after
        if last is not None:
            return length + (earlier if self.per_connection else 0) > last
        return True


class Faults:
    """The faults in force. Safe to use from any thread, also while the hub serves."""

    def __init__(self, *faults: Fault) -> None:
        self._lock = threading.Lock()
        self._active: list[Fault] = []
        self._seen: dict[Fault, int] = {}
        self._last: dict[Fault, float] = {}
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> Fault:
        """Put `fault` in force, and return it."""
        with self._lock:
            self._active.append(fault)
            self._seen[fault] = 0
            self._last[fault] = time.monotonic()
        return fault

    def clear(self) -> None:
        """Let everything go well from now on. Counts are kept."""
        with self._lock:
            self._active.clear()

    def hits(self, fault: Fault) -> int:
        """Return how many requests `fault` has hit."""
        with self._lock:
            most = self._seen[fault] - fault.skip
            return max(0, most if fault.times is None else min(most, fault.times))

    def take(self, kind: str, path: str, span: range, length: int, earlier: int) -> list[Fault]:
        """Return the faults that hit this request, and count it. The arguments are those of `Fault.matches`."""
        hit = []
        with self._lock:
            for fault in self._active:
                if fault.matches(kind, path, span, length, earlier) and self._is_due(fault):
                    number = self._seen[fault] - fault.skip
                    self._seen[fault] += 1
                    if number >= 0 and (fault.times is None or number < fault.times):
                        hit.append(fault)
        return hit

    def _is_due(self, fault: Fault) -> bool:
        """Return whether enough time has passed since `fault` hit, and begin to count anew if so."""
        now = time.monotonic()
        if fault.every is not None and now - self._last[fault] < fault.every:
            return False
        self._last[fault] = now
        return True
