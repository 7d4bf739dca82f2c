"""The workers and their watchman, with connections that do what they are told."""

import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Literal

import pytest

from qwen_fetch.base.events import Event, FileDone, Mismatch, Progress, Retry, Switch
from qwen_fetch.base.files import RepoFile
from qwen_fetch.base.integrity import Digest
from qwen_fetch.base.problem import ExitCode, Problem
from qwen_fetch.base.settings import Settings, Transport
from qwen_fetch.cache.store import Store
from qwen_fetch.transfer import connections, worker
from qwen_fetch.transfer.job import Job, State
from qwen_fetch.transfer.plan import Action, Step
from qwen_fetch.transfer.retry import Decision
from qwen_fetch.transfer.transfer import Transfer
from qwen_fetch.transport.source import Failure, FailureKind, Source

COMMIT = "c" * 40
K = FailureKind
Serve = Callable[[RepoFile, int, int], Generator[bytes]]


def content(path: str, size: int) -> bytes:
    return hashlib.shake_256(path.encode()).digest(size)


def file_of(path: str, size: int, *, xet: bool = False) -> RepoFile:
    digest = Digest("sha256", hashlib.sha256(content(path, size)).hexdigest())
    return RepoFile(path, size, digest, "d" * 64 if xet else None)


class Played:
    """A connection whose answers a test writes down; an empty piece is silence until it is ended from outside."""

    def __init__(self, serve: Serve, transport: Transport = "http") -> None:
        self.transport: Transport = transport
        self._serve = serve
        self._aborted = threading.Event()
        self.closed = False
        self.cache = ""

    def window(self, file: RepoFile, start: int, end: int, *, afresh: bool = False) -> Generator[memoryview]:  # noqa: ARG002
        for piece in self._serve(file, start, end):
            if not piece:
                self._aborted.clear()
                self._aborted.wait(10)
                raise Failure(K.STALLED, "ended from outside")
            yield memoryview(piece)

    def abort(self) -> None:
        self._aborted.set()

    def close(self) -> None:
        self.closed = True


def right(file: RepoFile, start: int, end: int) -> Generator[bytes]:
    yield content(file.path, file.size)[start:end]


class Bench:
    def __init__(self, folder: Path, files: list[RepoFile], serve: dict[Transport, Serve], **options: object) -> None:
        self.settings = Settings(cache_dir=folder, repo_id="a/b", **options)  # type: ignore[arg-type]
        self.store = Store(folder, "a/b")
        self.events: list[Event] = []
        self.sources: list[Played] = []
        steps = [Step(file, Action.FETCH, 0) for file in files]
        make = {name: self._maker(name, one) for name, one in serve.items()}
        self.transfer = Transfer(self.settings, self.store, COMMIT, steps, make, self.events.append)

    def _maker(self, name: Literal["xet", "http"], serve: Serve) -> Callable[[], Source]:
        def make() -> Source:
            self.sources.append(Played(serve, name))
            return self.sources[-1]

        return make

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    def is_there(self, file: RepoFile) -> bool:
        path = self.store.blob(file)
        return path.is_file() and path.read_bytes() == content(file.path, file.size)


def test_files_arrive_checked_and_under_their_final_names(tmp_path: Path) -> None:
    files = [file_of(str(number), number * 1000) for number in range(6)]
    bench = Bench(tmp_path, files, {"http": right})
    bench.transfer.run()
    assert all(bench.is_there(file) for file in files)
    assert len(bench.of(FileDone)) == 6
    assert bench.transfer.bytes_received == sum(file.size for file in files)
    last = bench.of(Progress)[-1]
    assert isinstance(last, Progress)
    assert (last.done, last.total) == (15_000, 15_000)
    assert all(source.closed for source in bench.sources)


def test_a_file_that_is_missing_lets_the_others_go_on(tmp_path: Path) -> None:
    def serve(file: RepoFile, start: int, end: int) -> Generator[bytes]:
        if file.path == "missing":
            raise Failure(K.MISSING, "404")
        time.sleep(0.05)  # so that the others have nothing yet when it fails
        yield from right(file, start, end)

    files = [file_of("missing", 1000), file_of("a", 1000), file_of("b", 1000)]
    bench = Bench(tmp_path, files, {"http": serve}, max_workers=1)
    with pytest.raises(Problem) as caught:
        bench.transfer.run()
    assert caught.value.exit_code is ExitCode.NOT_FOUND
    assert [bench.is_there(file) for file in files] == [False, True, True]


def test_no_access_ends_the_run_at_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def serve(file: RepoFile, _start: int, _end: int) -> Generator[bytes]:
        asked.append(file.path)
        yield from ()
        raise Failure(K.DENIED, "401")

    bench = Bench(tmp_path, [file_of(str(n), 1000) for n in range(20)], {"http": serve})
    with pytest.raises(Problem) as caught:
        bench.transfer.run()
    assert caught.value.exit_code is ExitCode.ACCESS
    assert len(asked) <= 8


@pytest.mark.parametrize("kind", [K.SERVER, K.DENIED], ids=str)
def test_a_worker_that_is_turned_away_does_not_knock_without_a_pause(tmp_path: Path, kind: FailureKind) -> None:
    # One connection gets bytes all the time; the server lets no second one in.
    turned_away = 0
    lock = threading.Lock()

    def serve(file: RepoFile, start: int, end: int) -> Generator[bytes]:
        nonlocal turned_away
        if not lock.acquire(blocking=False):
            turned_away += 1
            time.sleep(0.02)  # the way there and back
            raise Failure(kind, "one connection at a time")
        try:
            for at in range(start, end, 1 << 16):
                time.sleep(0.01)
                yield content(file.path, file.size)[at : min(end, at + (1 << 16))]
        finally:
            lock.release()

    file = file_of("shard", 6 << 20)
    bench = Bench(tmp_path, [file], {"http": serve}, max_workers=4, max_retries=6)
    if kind is K.DENIED:
        with pytest.raises(Problem):
            bench.transfer.run()
    else:
        bench.transfer.run()
        assert bench.is_there(file)
    assert turned_away <= 12  # three workers, a pause before each further try


def test_a_silent_connection_is_ended_and_the_window_fetched_again(tmp_path: Path) -> None:
    silent = [True]

    def serve(file: RepoFile, start: int, end: int) -> Generator[bytes]:
        yield content(file.path, file.size)[start : start + 100]
        if silent.pop() if silent else False:
            yield b""
        yield content(file.path, file.size)[start + 100 : end]

    file = file_of("shard", 5000)
    bench = Bench(tmp_path, [file], {"http": serve}, stall_timeout=0.3)
    bench.transfer.run()
    assert bench.is_there(file)
    (retry,) = bench.of(Retry)
    assert isinstance(retry, Retry)
    assert (retry.path, retry.offset, retry.wait) == ("shard", 100, 0)


def test_what_xet_does_not_bring_http_does(tmp_path: Path) -> None:
    def broken(_file: RepoFile, _start: int, _end: int) -> Generator[bytes]:
        yield from ()
        raise Failure(K.SERVER, "Xet is down")

    file = file_of("shard", 5000, xet=True)
    bench = Bench(tmp_path, [file], {"xet": broken, "http": right})
    bench.transfer.run()
    assert bench.is_there(file)
    assert [event.transport for event in bench.of(Switch) if isinstance(event, Switch)] == ["http"]


def test_wrong_bytes_are_fetched_again_and_never_installed(tmp_path: Path) -> None:
    def wrong(file: RepoFile, start: int, end: int) -> Generator[bytes]:
        yield bytes(end - start) if file.path == "bad" else content(file.path, file.size)[start:end]

    files = [file_of("bad", 5000), file_of("good", 5000)]
    bench = Bench(tmp_path, files, {"http": wrong})
    with pytest.raises(Problem) as caught:
        bench.transfer.run()
    assert caught.value.exit_code is ExitCode.CORRUPT
    assert len(bench.of(Mismatch)) == 3
    assert [bench.is_there(file) for file in files] == [False, True]
    assert not bench.store.blob(files[0]).exists()
    assert not bench.store.partial_size(files[0])


def test_patience_ends_after_so_many_tries_without_a_byte(tmp_path: Path) -> None:
    def cut(_file: RepoFile, _start: int, _end: int) -> Generator[bytes]:
        yield from ()
        raise Failure(K.CUT, "the connection broke")

    bench = Bench(tmp_path, [file_of("shard", 5000)], {"http": cut}, max_retries=2)
    with pytest.raises(Problem) as caught:
        bench.transfer.run()
    assert caught.value.exit_code is ExitCode.NETWORK
    assert "2 tries in a row" in caught.value.what


class Enough(Exception):  # noqa: N818 - not an error
    """The user has had enough."""


@pytest.mark.parametrize("moment", ["blocked", "late"])
def test_a_stop_ends_every_worker_and_lets_go_of_everything(tmp_path: Path, moment: str) -> None:
    stopped = threading.Event()

    def serve(_file: RepoFile, start: int, _end: int) -> Generator[bytes]:
        if moment == "late":
            stopped.wait(10)  # begins to wait for the line only when everybody was told to stop
            time.sleep(0.1)
        yield b"x" * 10 if not start and moment == "blocked" else b""
        yield b""

    def tick() -> None:
        if time.monotonic() > began + 0.3:
            stopped.set()
            raise Enough

    bench = Bench(tmp_path, [file_of(str(n), 5000) for n in range(4)], {"http": serve})
    began = time.monotonic()
    with pytest.raises(Enough):
        bench.transfer.run(tick)
    assert time.monotonic() - began < 1.5
    for job in bench.transfer.schedule.jobs:
        assert job.state is not State.FAILED
        assert job.partial is not None
        assert job.partial._descriptor == -1
    assert all(source.closed for source in bench.sources)


def test_a_stop_while_a_prefix_is_hashed_is_no_fault_of_the_file(tmp_path: Path) -> None:
    def silent(_file: RepoFile, _start: int, _end: int) -> Generator[bytes]:
        yield b""

    size = 4 << 20
    file = file_of("shard", size)
    bench = Bench(tmp_path, [file], {"http": silent})
    bench.store.blobs.mkdir(parents=True)
    bench.store.partial(file).write_bytes(content("shard", size)[:-1])

    def slow(_: object) -> None:
        time.sleep(0.1)
        bench.transfer._run.leave_if_stopping()

    def tick() -> None:
        raise Enough

    job = bench.transfer.schedule.jobs[0]

    def check(job: Job) -> None:
        assert job.partial is not None
        job.partial.catch_up(slow)

    bench.transfer._checker._check = check  # type: ignore[method-assign]
    with pytest.raises(Enough):
        bench.transfer.run(tick)
    assert job.problem is None
    assert job.state is not State.FAILED


@pytest.mark.parametrize("limit", ["_FLUSH_BYTES", "_FLUSH_SECONDS"])
def test_what_has_grown_is_flushed_meanwhile_and_its_error_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """It has grown by much, or it has waited for long."""
    flushed = threading.Event()

    def full(_: int) -> None:
        flushed.set()
        raise OSError(28, "No space left on device")

    def serve(file: RepoFile, start: int, end: int) -> Generator[bytes]:
        yield content(file.path, file.size)[start : end - 1]
        flushed.wait(10)
        yield b""

    monkeypatch.setattr("qwen_fetch.transfer.checker._FLUSH_PERIOD", 0.01)
    monkeypatch.setattr(f"qwen_fetch.transfer.checker.{limit}", 1)
    monkeypatch.setattr("os.fsync", full)
    bench = Bench(tmp_path, [file_of("a", 5000)], {"http": serve}, max_workers=1)
    with pytest.raises(Problem) as caught:
        bench.transfer.run()
    assert caught.value.exit_code is ExitCode.DISK_FULL


def test_who_rests_in_an_outage_goes_on_when_others_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses differ, and double: whose is the longest must not hold up the end when the line is there again."""
    waits = {"a": 0.2, "b": 15.0}
    monkeypatch.setattr(worker, "LOOK_PERIOD", 0.05)
    monkeypatch.setattr(worker, "decide", lambda failure, *_, **__: Decision(False, waits[failure.detail], "http"))
    tries = dict.fromkeys(waits, 0)

    def serve(file: RepoFile, start: int, end: int) -> Generator[bytes]:
        tries[file.path] += 1
        if tries[file.path] <= {"a": 3, "b": 2}[file.path]:
            waits["b"] = 15.0 if tries["b"] > 1 else 0.1
            raise Failure(K.CUT, file.path)
        yield from right(file, start, end)

    bench = Bench(tmp_path, [file_of("a", 5000), file_of("b", 5000)], {"http": serve}, max_workers=2)
    began = time.monotonic()
    bench.transfer.run()
    assert tries == {"a": 4, "b": 3}
    assert time.monotonic() - began < 10


def test_a_fault_of_one_file_is_no_outage_that_others_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "LOOK_PERIOD", 0.02)
    monkeypatch.setattr(worker, "decide", lambda *_, **__: Decision(False, 0.2, "http"))
    failed: list[float] = []

    def serve(file: RepoFile, start: int, end: int) -> Generator[bytes]:
        if file.path == "b" and len(failed) < 3:
            failed.append(time.monotonic())
            raise Failure(K.SERVER, "busy")
        if file.path == "a" and len(failed) < 3:
            for position in range(start, end, 100):
                yield content(file.path, file.size)[position : min(position + 100, end)]
                time.sleep(0.01)
            return
        yield from right(file, start, end)

    Bench(tmp_path, [file_of("a", 8000), file_of("b", 5000)], {"http": serve}, max_workers=2).transfer.run()
    assert all(later - sooner >= 0.2 for sooner, later in itertools.pairwise(failed))


def test_a_server_that_turns_more_away_is_left_with_what_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers 429 to a fifth connection and asks to wait for a minute: that pause is for nobody."""
    for name in ("_SETTLED", "_SLICE", "_LONGEST", "_UNKNOWN", "_LONGEST_TRIP", "_WORK"):
        monkeypatch.setattr(connections, name, 0.02)
    monkeypatch.setattr(connections, "_ENOUGH", 1)
    at_work: list[int] = []
    most: list[int] = []

    def serve(file: RepoFile, start: int, end: int) -> Generator[bytes]:
        most.append(len(at_work) + 1)
        if len(at_work) >= 4:
            raise Failure(K.THROTTLED, "429", 60.0, status=429)
        at_work.append(1)
        try:
            for at in range(start, end, 1000):
                time.sleep(0.002)
                yield from right(file, at, min(at + 1000, end))
        finally:
            at_work.pop()

    files = [file_of(str(n), 200_000) for n in range(12)]
    bench = Bench(tmp_path, files, {"http": serve})
    bench.transfer.run()
    assert all(bench.is_there(file) for file in files)
    assert max(most) > 4, "it never tried more"
    assert sum(number > 4 for number in most) <= 8
    assert not bench.of(Retry)
