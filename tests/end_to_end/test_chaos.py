"""The law over everything: whatever happens, a run ends verified or stops cleanly, and no byte is lost unsaid."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qwen_fetch.base.events import Event, Mismatch, Note, Progress
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.settings import Settings
from qwen_fetch.localhub.content import pseudo_random
from qwen_fetch.localhub.faults import Fault
from qwen_fetch.localhub.hub import LocalHub
from qwen_fetch.routines.download import Download

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

FILES = {"config.json": 700, "a.safetensors": 3_000_000, "b/c.safetensors": 1_500_000, "b/d.safetensors": 40_000}


class Killed(BaseException):
    """Stands for a kill: nothing of the program may handle it."""


faults = st.sampled_from(
    [
        {"kind": "any-data", "cut_after": 200_000, "times": 3},
        {"kind": "any-data", "cut_after": 400_000, "times": 2, "reset": False},
        {"kind": "any-data", "close_at_once": True, "times": 2},
        {"kind": "any-data", "status": 503, "times": 1},
        {"kind": "any-data", "status": 403, "times": 2},
        {"kind": "any-data", "flip_at": 30_000, "times": 1},
        {"kind": "any-data", "silent_after": 100_000, "times": 1},
        {"kind": "cdn", "wrong_range": 7, "times": 1},
        {"kind": "cdn", "ignore_range": True, "times": 2},
        {"kind": "any-data", "html_page": True, "times": 1},
        {"kind": "cas", "status": 500, "times": 1},
        {"kind": "resolve", "status": 503, "times": 1},
        {"kind": "any-data", "cut_after": 0},
    ]
)
runs = st.lists(
    st.tuples(
        st.lists(faults, max_size=3),
        st.sampled_from(["auto", "http", "xet"]),
        st.one_of(st.none(), st.integers(0, 4_000_000)),
    ),
    max_size=4,
)


def on_disk(cache: Path) -> int:
    blobs = cache / "models--Qwen--Qwen-Image-Edit" / "blobs"
    return sum(path.stat().st_size for path in blobs.iterdir()) if blobs.is_dir() else 0


def one_run(hub: LocalHub, cache: Path, transport: str, kill_at: int | None) -> tuple[str, list[Event]]:
    """Run once; how it ended, and the events that say that bytes were thrown away."""
    said: list[Event] = []

    def listen(event: Event) -> None:
        if isinstance(event, Mismatch | Note):
            said.append(event)
        if isinstance(event, Progress) and kill_at is not None and event.done >= kill_at and event.total:
            raise Killed

    wanted = Settings(
        endpoint=hub.endpoint,
        cache_dir=cache,
        token="",
        transport=transport,  # type: ignore[arg-type]
        stall_timeout=0.4,
        max_retries=2,
        max_workers=3,
    )
    try:
        Download(wanted, listen).run()
    except Killed:
        return "killed", said
    except Problem as problem:
        return problem.id if problem.do else "no advice", said
    return "done", said


@given(history=runs)
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_history_of_faults_and_kills_ends_in_a_verified_snapshot(
    history: list[tuple[list[dict[str, object]], str, int | None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qwen_fetch.routines.patience.pause", lambda _: 0.01)
    monkeypatch.setattr("qwen_fetch.transfer.retry.pause", lambda _: 0.01)
    repo, cache = tmp_path / "repo", tmp_path / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    for path, size in FILES.items():
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).write_bytes(b"".join(pseudo_random(path, size)))
    with LocalHub(repo) as hub:
        before = 0
        for orders, transport, kill_at in history:
            hub.faults.clear()
            for order in orders:
                hub.faults.add(Fault(**order))  # type: ignore[arg-type]
            ending, said = one_run(hub, cache, transport, kill_at)
            assert ending not in {"unexpected", "no advice"}
            now = on_disk(cache)
            assert now >= before or any(isinstance(event, Mismatch) for event in said)
            before = now
        hub.faults.clear()
        ended, _ = one_run(hub, cache, "auto", None)
        assert ended == "done"
    (snapshot,) = (cache / "models--Qwen--Qwen-Image-Edit" / "snapshots").iterdir()
    for path in FILES:
        assert (snapshot / path).read_bytes() == (repo / path).read_bytes()
