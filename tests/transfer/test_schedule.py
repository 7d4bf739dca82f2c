"""Who fetches what next: whatever the order of events, every byte ends in its place and nothing is held for ever."""

import hashlib
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_fetch.base import catalogue
from qwen_fetch.base.files import RepoFile
from qwen_fetch.base.integrity import Digest
from qwen_fetch.base.problem import Problem
from qwen_fetch.cache.locks import BlobLock
from qwen_fetch.cache.store import Store
from qwen_fetch.transfer import schedule
from qwen_fetch.transfer.job import Job, State, Window
from qwen_fetch.transfer.plan import Action, Step
from qwen_fetch.transfer.schedule import Schedule

COMMIT = "c" * 40
MEMORY, ROOM = 48, 12  # bytes, in the proportion of the real ones
PROBLEM = Problem(catalogue.CORRUPT, path="x", tries=3)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "MEMORY", MEMORY)
    monkeypatch.setattr(schedule, "_MEMORY_WINDOW", ROOM)
    monkeypatch.setattr(schedule, "_LOCK_PAUSE", 0.01)


class Nothing(Exception):  # noqa: N818 - not an error
    """A worker would have to wait."""


class Impatient(threading.Condition):
    """Makes a wait visible, so that one thread can play all workers."""

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - the name is the base class's
        raise Nothing


def content(name: str, size: int) -> bytes:
    return hashlib.shake_256(name.encode()).digest(size)


class Bench:
    """A schedule over made-up files, and a checker that does what `Transfer` does with finished ones."""

    def __init__(self, folder: str | Path, sizes: list[int], prefixes: list[int], *, patient: bool = False) -> None:
        self.store = Store(Path(folder), "a/b")
        self.data: dict[str, bytes] = {}
        steps = []
        for number, size in enumerate(sizes):
            data = content(str(number), size)
            file = RepoFile(f"{number}", size, Digest("sha256", hashlib.sha256(data).hexdigest()))
            self.data[file.path] = data
            have = min(prefixes[number] if number < len(prefixes) else 0, size)
            if have:
                self.store.blobs.mkdir(parents=True, exist_ok=True)
                self.store.partial(file).write_bytes(data[:have])
            steps.append(Step(file, Action.RESUME if have else Action.FETCH, have))
        self.arrived: list[Job] = []
        self.schedule = Schedule(self.store, COMMIT, steps, 1, self.arrived.append)
        if not patient:
            self.schedule._changed = Impatient()
        self.lengths: dict[str, int] = {}
        self.restarts = 0

    @property
    def jobs(self) -> list[Job]:
        return self.schedule.jobs

    def next(self, size: int) -> Window | None:
        return self.schedule.next(lambda _direct: size)

    def deliver(self, window: Window, count: int, *, spoil: bool = False) -> None:
        """What a worker does with received bytes."""
        piece = bytearray(self.data[window.job.file.path][window.position : min(window.end, window.position + count)])
        if spoil and piece:
            piece[0] ^= 1
        if piece:
            window.accept(memoryview(piece))

    def check(self) -> None:
        """What the checker does with the oldest file handed to it."""
        job = self.arrived.pop(0)
        if job.partial is None or job.state not in {State.ACTIVE, State.CHECKING}:
            return
        job.partial.catch_up()
        if job.state is not State.CHECKING:
            return
        if job.partial.is_right():
            self.store.install(COMMIT, job.file)
            self.schedule.verified(job)
        else:
            self.restarts += 1
            self.lengths.pop(job.file.path, None)
            job.partial.restart()
            self.schedule.again(job)

    def look(self) -> None:
        """What must hold at any moment."""
        held = 0
        for job in self.jobs:
            windows = [*job.flying, *job.ready.values()]
            held += sum(len(window.pieces) for window in windows if not window.direct)
            assert sum(window.direct for window in job.flying) <= 1
            if job.partial is None or job.state in {State.DONE, State.FAILED}:
                continue
            length = self.store.partial_size(job.file) or 0
            assert length == job.partial.committed <= job.file.size
            assert length >= self.lengths.get(job.file.path, 0)
            self.lengths[job.file.path] = length
            # Each byte is on disk, in the hands of one worker, ready, or not handed out: exactly one of these.
            spans = [(0, length), *job.gaps._ranges]
            spans += [(w.position if w.direct else w.start, w.end) for w in windows if w.epoch == job.epoch]
            spans = sorted(span for span in spans if span[0] < span[1])
            assert [start for start, _ in spans] == [0, *(end for _, end in spans)][: len(spans)]
            assert (spans[-1][1] if spans else 0) == job.file.size
        assert held <= MEMORY

    def ended_well(self, *, failed: tuple[Job, ...] = ()) -> None:
        for job in self.jobs:
            assert job.state is (State.FAILED if job in failed else State.DONE)
            assert job.partial is None or job.partial._descriptor == -1
            other = BlobLock(self.store, job.file)
            assert other.take()
            other.release()
            if job not in failed:
                assert self.store.blob(job.file).read_bytes() == self.data[job.file.path]
                assert self.store.partial_size(job.file) is None


ops = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from("ffffffgsc"), st.integers(1, 30)),
    max_size=120,
)


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 150), min_size=1, max_size=4),
    prefixes=st.lists(st.integers(0, 150), max_size=4),
    moves=ops,
    whole=st.sets(st.integers(0, 3)),
    failing=st.none() | st.integers(0, 60),
)
def test_every_byte_ends_in_its_place_whatever_happens_when(  # noqa: C901 - the moves read best in one place
    sizes: list[int], prefixes: list[int], moves: list[tuple[int, str, int]], whole: set[int], failing: int | None
) -> None:
    with TemporaryDirectory() as folder:
        bench = Bench(folder, sizes, prefixes)
        for number in whole & set(range(len(sizes))):
            bench.jobs[number].whole = True
        hands: dict[int, Window] = {}
        failed: tuple[Job, ...] = ()
        over = False

        def step(worker: int, move: str, count: int) -> None:
            nonlocal over
            if worker == 4:
                if bench.arrived:
                    bench.check()
                return
            window = hands.get(worker)
            if window is None:
                try:
                    window = bench.next(count)
                except Nothing:
                    return
                if window is None:
                    over = True
                    assert all(job.state in {State.DONE, State.FAILED} for job in bench.jobs)
                else:
                    assert not over
                    assert window.start < window.end
                    assert not window.job.whole or window.job.flying == [window]
                    hands[worker] = window
                return
            if move == "g" or window.epoch != window.job.epoch:
                bench.schedule.give_back(hands.pop(worker))
                return
            bench.deliver(window, count, spoil=move == "s" and bench.restarts < 3)
            if window.position == window.end:
                bench.schedule.finished(hands.pop(worker))

        for number, move in enumerate(moves):
            step(*move)
            if number == failing:
                job = bench.jobs[-1]
                if job.state is State.ACTIVE:
                    bench.schedule.failed(job, PROBLEM)
                    failed = (job,)
            bench.look()
        bench.restarts = 3
        for round_ in range(3000):
            if over and not hands:
                break
            step(round_ % 5, "f", 30)
            bench.look()
        assert over
        bench.ended_well(failed=failed)


@pytest.mark.parametrize("seed", range(4))
def test_real_threads_in_a_hurry(seed: int, tmp_path: Path) -> None:  # noqa: C901 - as above
    rng = random.Random(seed)
    bench = Bench(tmp_path, [rng.randrange(4000) for _ in range(5)], [0, 1000, 5000], patient=True)
    stop = threading.Event()
    troubles: list[BaseException] = []

    def guarded(run: Callable[[], None]) -> Callable[[], None]:
        def call() -> None:
            try:
                run()
            except BaseException as error:  # noqa: BLE001 - shown below
                troubles.append(error)
                bench.schedule.stop()

        return call

    def work() -> None:
        own = random.Random(rng.random())
        while (window := bench.schedule.next(lambda _: own.randrange(1, 80))) is not None:
            while window.position < window.end and window.epoch == window.job.epoch and own.random() > 0.03:
                bench.deliver(window, own.randrange(1, 20), spoil=own.random() < 0.0003 and bench.restarts < 5)
            if window.position == window.end:
                bench.schedule.finished(window)
            else:
                bench.schedule.give_back(window)

    def check() -> None:
        while not stop.is_set():
            if bench.arrived:
                bench.check()
            else:
                time.sleep(0.0001)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        workers = [threading.Thread(target=guarded(work)) for _ in range(4)]
        checker = threading.Thread(target=guarded(check))
        for thread in (*workers, checker):
            thread.start()
        for thread in workers:
            thread.join(20)
        assert not any(thread.is_alive() for thread in workers), "a worker waits for ever"
        stop.set()
        checker.join()
    finally:
        sys.setswitchinterval(before)
    assert not troubles
    bench.ended_well()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    opened: list[Bench] = []

    def open_bench(*arguments: Any, **options: Any) -> Bench:
        opened.append(Bench(tmp_path, *arguments, **options))
        return opened[-1]

    yield open_bench
    for one in opened:
        one.schedule.close()


@contextmanager
def nothing() -> Iterator[None]:
    with pytest.raises(Nothing):
        yield


OpenBench = Callable[..., Bench]


def taken(window: Window | None) -> Window:
    assert window is not None
    return window


def test_each_worker_gets_a_file_of_its_own_while_there_are_enough(bench: OpenBench) -> None:
    here = bench([100, 100, 100], [])
    windows = [taken(here.next(1000)) for _ in range(3)]
    assert [window.job.file.path for window in windows] == ["0", "1", "2"]
    assert all(window.direct for window in windows)


def test_later_workers_run_ahead_within_the_memory(bench: OpenBench) -> None:
    here = bench([1000], [])
    first = taken(here.next(20))
    ahead = []
    for _ in range(MEMORY // ROOM):
        ahead.append(taken(here.next(1000)))
        here.deliver(ahead[-1], 1000)
        here.schedule.finished(ahead[-1])
        here.look()
    assert not any(window.direct for window in ahead)
    with nothing():
        here.next(1000)
    here.deliver(first, 20)
    here.schedule.finished(first)
    # Whoever wrote at the file's end also wrote what waited for that, and the memory is free again.
    assert here.jobs[0].on_disk == 20 + MEMORY
    assert not here.jobs[0].ready
    assert taken(here.next(30)).direct


def test_a_window_goes_to_the_disk_as_it_comes_once_its_turn_has_come(bench: OpenBench) -> None:
    here = bench([1000], [])
    first, second = taken(here.next(20)), taken(here.next(1000))
    here.deliver(second, 5)
    here.deliver(first, 20)
    here.schedule.finished(first)
    assert here.jobs[0].on_disk == 20
    assert not taken(here.next(1000)).direct
    here.deliver(second, 4)
    assert here.jobs[0].on_disk == 29
    assert not second.pieces
    here.schedule.give_back(second)  # as if its worker gave up: what came stays, and the rest is the next to fetch
    again = taken(here.next(1000))
    assert (again.start, again.end, again.direct) == (29, 32, True)


def test_a_window_whose_turn_comes_after_its_last_byte_is_written_as_well(bench: OpenBench) -> None:
    here = bench([1000], [])
    first, second = taken(here.next(20)), taken(here.next(1000))
    here.deliver(second, 1000)
    here.deliver(first, 20)
    here.schedule.finished(first)
    here.schedule.finished(second)
    assert here.jobs[0].on_disk == second.end
    assert taken(here.next(30)).direct


def test_what_a_worker_got_on_disk_stays_when_it_gives_up(bench: OpenBench) -> None:
    here = bench([100], [])
    window = taken(here.next(50))
    here.deliver(window, 33)
    here.schedule.give_back(window)
    again = taken(here.next(50))
    assert (again.start, again.end) == (33, 83)


def test_a_file_without_ranges_is_fetched_by_one_worker_in_one_piece(bench: OpenBench) -> None:
    here = bench([100], [40])
    first, second = taken(here.next(10)), taken(here.next(10))
    here.jobs[0].whole = True
    here.schedule.give_back(first)
    with nothing():
        here.next(10)  # while another one is at it
    here.schedule.give_back(second)
    window = taken(here.next(10))
    assert (window.start, window.end, window.direct) == (40, 100, True)
    with nothing():
        here.next(10)


def test_a_lock_that_somebody_holds_is_looked_at_again(bench: OpenBench) -> None:
    here = bench([100, 100], [])
    theirs = BlobLock(here.store, here.jobs[0].file)
    assert theirs.take()
    assert taken(here.next(1000)).job is here.jobs[1]
    assert here.jobs[0].busy
    theirs.release()
    time.sleep(0.02)
    assert taken(here.next(1000)).job is here.jobs[0]
    assert not here.jobs[0].busy


@pytest.mark.parametrize("symlinks", [True, False])
def test_what_another_process_finished_meanwhile_is_not_fetched_again(bench: OpenBench, symlinks: bool) -> None:
    here = bench([100], [])
    here.store.__dict__["symlinks_work"] = symlinks
    job = here.jobs[0]
    here.store.blobs.mkdir(parents=True)
    here.store.partial(job.file).write_bytes(here.data["0"])
    here.store.install(COMMIT, job.file)
    assert here.next(1000) is None
    assert job.state is State.DONE
    assert job.on_disk == 100


def test_what_another_process_got_meanwhile_is_continued(bench: OpenBench) -> None:
    here = bench([100], [])
    here.store.blobs.mkdir(parents=True)
    here.store.partial(here.jobs[0].file).write_bytes(here.data["0"][:70])
    assert taken(here.next(1000)).start == 70
    assert here.arrived == here.jobs  # the prefix is hashed meanwhile


def test_a_partial_that_is_whole_is_only_checked(bench: OpenBench) -> None:
    here = bench([100], [100])
    with nothing():
        here.next(1000)
    here.check()
    assert here.next(1000) is None
    here.ended_well()


def test_a_failed_file_lets_the_others_go_on_and_lets_go_of_what_it_held(bench: OpenBench) -> None:
    here = bench([100, 100], [])
    bad, good = taken(here.next(1000)), taken(here.next(1000))
    here.deliver(bad, 10)
    here.schedule.failed(bad.job, PROBLEM)
    assert bad.job.partial is not None
    assert bad.job.partial._descriptor >= 0  # another worker may be writing
    here.schedule.give_back(bad)
    here.deliver(good, 100)
    here.schedule.finished(good)
    here.check()
    assert here.next(1000) is None
    here.ended_well(failed=(bad.job,))
    assert bad.job.problem is PROBLEM
    assert here.store.partial_size(bad.job.file) == 10


def test_a_failed_file_is_let_go_only_when_its_last_worker_has_left(bench: OpenBench) -> None:
    here = bench([100], [])
    first, second = taken(here.next(30)), taken(here.next(30))
    here.schedule.failed(first.job, PROBLEM)
    here.schedule.failed(first.job, Problem(catalogue.CORRUPT, path="later", tries=1))
    here.schedule.give_back(first)
    partial = first.job.partial
    assert partial is not None
    assert partial._descriptor >= 0
    here.deliver(second, 30)
    here.schedule.finished(second)
    assert here.next(30) is None
    here.ended_well(failed=(first.job,))
    assert first.job.problem is PROBLEM


def test_after_a_stop_nobody_gets_anything(bench: OpenBench) -> None:
    here = bench([100], [])
    window = taken(here.next(30))
    here.schedule.stop()
    assert here.next(30) is None
    here.schedule.give_back(window)
    here.schedule.close()
    here.schedule.close()
    other = BlobLock(here.store, here.jobs[0].file)
    assert other.take()
    other.release()


def test_a_stop_wakes_those_who_wait(bench: OpenBench) -> None:
    here = bench([100], [100], patient=True)
    got: list[Window | None] = []
    thread = threading.Thread(target=lambda: got.append(here.next(30)))
    thread.start()
    time.sleep(0.05)
    here.schedule.stop()
    thread.join(5)
    assert got == [None]


def test_a_worker_too_many_gets_nothing_until_it_is_wanted_again(bench: OpenBench) -> None:
    here = bench([100, 100, 100], [])
    assert here.schedule.next(lambda _direct: 10, 1) is None
    here.schedule.resize(2)
    assert here.schedule.next(lambda _direct: 10, 1) is not None
    here.schedule.resize(1)
    assert here.schedule.next(lambda _direct: 10, 1) is None
    assert not here.schedule.is_over
    here.schedule.stop()
    assert here.schedule.is_over


def test_many_share_the_memory_and_spread_over_the_files(bench: OpenBench) -> None:
    here = bench([1000, 1000], [])
    here.schedule.resize(16)
    windows = []
    with suppress(Nothing):
        while window := here.next(100):
            windows.append(window)
    held = [window for window in windows if not window.direct]
    assert {window.end - window.start for window in held} == {MEMORY // 16}
    assert len(held) == 16
    assert [sum(window.job is job for window in held) for job in here.jobs] == [8, 8]


def test_many_cut_the_long_window_of_a_slow_one(bench: OpenBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "_LEAST_LEFT", 10)
    here = bench([100], [])
    slow = here.next(100)
    assert slow is not None
    with pytest.raises(Nothing):
        here.next(100)  # not for few: a connection is lost by it
    here.schedule.resize(8)
    here.deliver(slow, 20)
    other = here.next(100)
    assert other is not None
    assert (slow.end, other.start) == (60, 60)
    here.deliver(other, 100)
    here.schedule.finished(other)
    here.deliver(slow, 100)
    here.schedule.finished(slow)
    while (rest := here.next(100)) is not None:
        here.deliver(rest, 100)
        here.schedule.finished(rest)
        while here.arrived:
            here.check()
    assert here.store.blob(here.jobs[0].file).read_bytes() == here.data["0"]
