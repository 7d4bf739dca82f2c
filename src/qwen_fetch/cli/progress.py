"""What the person in front of the terminal sees: bars, plain lines for a log, or JSON lines for a program.

All are listeners to the same events. They write to stderr and never fail the download: when nobody
can be shown anything any more (a closed pipe), they fall silent.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, TextIO

from qwen_fetch.base.door import clean, say
from qwen_fetch.base.events import (
    Attempt,
    Event,
    FileDone,
    Mismatch,
    Note,
    Phase,
    Progress,
    Retry,
    Started,
    Switch,
    Waiting,
)
from qwen_fetch.base.units import size_text, time_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from tqdm import tqdm


__all__ = ["Display", "Style"]

Style = Literal["auto", "bar", "plain", "json", "off"]
_RATE_SECONDS = 10.0
_BAR_FORMAT = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}B/{total_fmt}B{postfix}"
_NAME_WIDTH = 34


class Meter:
    """Bytes per second over the last seconds, and the time left; what was there before does not count."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def rate(self, done: int) -> float:
        """Bytes per second, given that `done` bytes are here now."""
        now = self._clock()
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()  # wrong bytes were thrown away
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] > _RATE_SECONDS:
            self._seen.popleft()
        seconds = now - self._seen[0][0]
        return (done - self._seen[0][1]) / seconds if seconds > 0 else 0.0


class Display:
    """Shows events in one style.

    Args:
        style: How; auto: bars on a terminal, plain lines elsewhere.
        stream: Where to; stderr.
    """

    def __init__(self, style: Style, stream: TextIO | None = None) -> None:
        stream = stream or sys.stderr
        if style == "auto":
            style = "bar" if stream.isatty() else "plain"
        kinds: dict[str, type[_Lines]] = {"bar": _Bars, "plain": _Lines, "json": _JsonLines}
        self._view = kinds[style](stream) if style in kinds else None
        self._lock = threading.Lock()  # workers report too

    def __call__(self, event: Event) -> None:
        """Show an event."""
        with self._lock:
            if self._view is None:
                return
            try:
                self._view.show(event)
            except (OSError, ValueError):  # nobody is reading any more
                self._view = None

    def close(self) -> None:
        """Leave the terminal tidy."""
        with self._lock:
            if self._view is not None:
                self._view.close()
            self._view = None


class _Lines:
    """Plain lines. Progress often at first, then more and more rarely: a night must not fill the log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._meter = Meter()
        self._began = self._last = time.monotonic()
        self._waiting = ""

    def show(self, event: Event) -> None:
        if isinstance(event, Progress):
            rate = self._meter.rate(event.done)
            now = time.monotonic()
            if now - self._last >= min(30.0, max(1.0, (now - self._began) / 20)):
                self._last = now
                self.line(progress_line(event, rate))
        elif isinstance(event, Phase):
            self._meter = Meter()
        elif isinstance(event, Retry) and event.failures > 3 and event.failures & (event.failures - 1):
            pass  # the fourth, eighth, sixteenth … in a row: a night without network is not a thousand lines
        elif text := sentence(event):
            if isinstance(event, Waiting):
                if text == self._waiting:
                    return
                self._waiting = text
            self.line(text)

    def line(self, text: str) -> None:
        say(text, file=self._stream)

    def close(self) -> None:
        pass


class _JsonLines(_Lines):
    """One JSON object per event; progress once a second."""

    def show(self, event: Event) -> None:
        values = asdict(event)
        if isinstance(event, Attempt):
            return  # several a second: they are for the log
        if isinstance(event, Progress):
            rate = self._meter.rate(event.done)
            now = time.monotonic()
            if now - self._last < 1.0:
                return
            self._last = now
            values["bytes_per_second"] = round(rate)
            values["seconds_left"] = round((event.total - event.done) / rate, 1) if rate > 0 else None
        self.line(json.dumps({"event": type(event).__name__.lower(), **values}))


class _Bars(_Lines):
    """A bar for the whole and one for each file in flight."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._total: tqdm[Any] | None = None
        self._files: dict[str, tuple[tqdm[Any], Meter]] = {}

    def show(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._draw(event)
        elif event == Phase("done"):
            self.close()  # the result is printed next
        else:
            super().show(event)

    def line(self, text: str) -> None:
        from tqdm import tqdm  # noqa: PLC0415 - 0.05 s that --help need not pay

        tqdm.write(clean(text), file=self._stream)

    def close(self) -> None:
        for path in list(self._files):
            self._files.pop(path)[0].close()
        if self._total is not None:
            self._total.close()
            self._total = None

    def _draw(self, event: Progress) -> None:
        now = time.monotonic()
        if now - self._last < 0.2:
            return
        self._last = now
        if self._total is None:
            self._total = self._bar(0, event.phase)
        rate = self._meter.rate(event.done)
        extra = event.waiting or rate_text(event.total - event.done, rate)
        self._set(self._total, event.phase, event.done, event.total, extra or f"{now - self._began:.0f} s")
        paths = [file.path for file in event.files]
        for gone in [path for path in self._files if path not in paths]:
            self._files.pop(gone)[0].close()
        for file in event.files:
            if file.path not in self._files:
                taken = {-bar.pos for bar, _ in self._files.values()}
                place = next(place for place in range(1, len(taken) + 2) if place not in taken)
                self._files[file.path] = self._bar(place, "  " + short(file.path)), Meter()
            bar, meter = self._files[file.path]
            speed = meter.rate(file.done)
            self._set(bar, "  " + short(file.path), file.done, file.size, rate_text(file.size - file.done, speed))

    def _bar(self, place: int, name: str) -> tqdm[Any]:
        from tqdm import tqdm  # noqa: PLC0415 - as above

        return tqdm(
            desc=f"{clean(name):<{_NAME_WIDTH}}",
            total=1,
            position=place,
            leave=False,
            file=self._stream,
            unit_scale=True,
            dynamic_ncols=True,
            bar_format=_BAR_FORMAT,
        )

    @staticmethod
    def _set(bar: tqdm[Any], name: str, done: int, total: int, extra: str) -> None:
        bar.total, bar.n = max(total, 1), done
        bar.set_description_str(f"{clean(name):<{_NAME_WIDTH}}", refresh=False)
        bar.set_postfix_str(clean(extra), refresh=False)
        bar.refresh()


def sentence(event: Event) -> str:
    """What an event says to people; empty for what is shown otherwise."""
    match event:
        case Started():
            left = event.bytes_total - event.bytes_have
            where = "on this machine" if event.bytes_adopt else "here"
            here = f", {size_text(event.bytes_have)} already {where}" if event.bytes_have else ""
            todo = f"{size_text(left)} to fetch" if left else "nothing to fetch"
            return (
                f"{event.repo_id} at {event.revision} ({event.commit[:8]}): {event.files} files, "
                f"{size_text(event.bytes_total)}{here}, {todo}, to {event.folder}"
            )
        case Retry():
            where = f"{event.path} at byte {event.offset:,}: " if event.path else ""
            when = f"next try in {event.wait:.0f} s" if event.wait >= 1 else "trying again"
            return f"{where}{event.reason.rstrip('.')}; {when}"
        case Switch():
            return f"{event.path} goes on over {event.transport.upper()} from byte {event.offset:,}: {event.reason}"
        case Mismatch():
            return (
                f"{event.path} arrived with a wrong digest: {size_text(event.dropped)} thrown away, fetching it again"
            )
        case FileDone():
            return f"{event.path}  {size_text(event.size)}, verified"
        case Waiting():
            return f"Waiting: {event.what}"
        case Note():
            return f"note: {event.text}"
    return ""


def progress_line(event: Progress, rate: float) -> str:
    """Progress in one line of a log."""
    if event.waiting:
        return f"{event.phase}: {event.waiting}"
    if not event.total:
        return f"{event.phase} ..."
    whole = f"{size_text(event.done)} of {size_text(event.total)} ({100 * event.done / event.total:.0f} %)"
    files = "; ".join(f"{short(file.path)} {100 * file.done / max(file.size, 1):.0f} %" for file in event.files)
    return ", ".join(filter(None, [f"{event.phase}: {whole}", rate_text(event.total - event.done, rate), files]))


def rate_text(left: int, rate: float) -> str:
    """Rate and time left."""
    if rate <= 0:
        return ""
    return f"{size_text(rate)}/s, {time_text(left / rate)} left" if left > 0 else f"{size_text(rate)}/s"


def short(path: str) -> str:
    """A path that fits before a bar: its end tells shards apart."""
    return path if len(path) <= _NAME_WIDTH - 2 else "…" + path[-(_NAME_WIDTH - 3) :]
