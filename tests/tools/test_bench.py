"""The benchmark: its arithmetic, its outputs, and one tiny run of the whole."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from bench import big
from bench.chart import chart
from bench.main import main, rotated
from bench.pages import page
from bench.peers import Peer
from bench.process import run
from bench.results import Result, best_of, medians, table
from workbench import TOOL

from qwen_fetch.base.settings import Settings
from qwen_fetch.cache.store import Store
from qwen_fetch.listing.cached import cached
from qwen_fetch.localhub.faults import Fault, Faults
from qwen_fetch.transfer.job import State
from qwen_fetch.transfer.plan import make_plan
from qwen_fetch.transfer.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the benchmark needs a POSIX system")


def result(peer: str = "one", seconds: float = 1.0, **values: Any) -> Result:
    return Result("scene", peer, seconds, cpu_seconds=seconds / 2, peak_bytes=50_000_000, **values)


def test_costs_are_medians_and_outcomes_the_worst() -> None:
    runs = [result(seconds=seconds, left_files=left) for seconds, left in ((1.0, 0), (9.0, 2), (2.0, 0))]
    assert medians(runs) == result(seconds=2.0, left_files=2, runs=3)
    assert medians([result(), result(right=False, code=1)]).verdict == "WRONG FILES, exit 1"
    assert medians([result(), result(finished=False)]).verdict == "NEVER FINISHED"
    with pytest.raises(ValueError, match="no runs"):
        medians([])


def test_results_are_gathered_by_scene_and_peer_in_the_order_they_came() -> None:
    results = [result("b"), result("a"), result("b", 3.0), result("a", 3.0)]
    assert best_of(results) == [("scene", [result("b", 2.0, runs=2), result("a", 2.0, runs=2)])]


def test_the_table_says_rate_share_of_the_ideal_time_and_verdict() -> None:
    served = {"served_bytes": 220_000_000, "twice_bytes": 20_000_000}
    text = table("title", [result("ours", 2.0, ideal_seconds=1.6, **served), result("other", right=False)])
    title, head, ours, other = text.splitlines()
    assert title == "title"
    assert head.split()[:3] == ["time", "of", "ideal"]
    assert ours.split()[:5] == ["ours", "2.00", "s", "1.250", "100"]
    assert ours.endswith("right")
    assert other.endswith("WRONG FILES, exit 0")


def test_the_chart_is_well_formed_and_names_who_never_finished() -> None:
    results = [result("ours <1>", ideal_seconds=0.9), result("other", 4.0, finished=False)]
    drawing = ET.fromstring(chart([("a & b", results), ("nothing", [])]))
    texts = [element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["a & b", "ours <1>", "1.0 s, 0.5 s CPU", "other", "never finished", "nothing"]
    bars = [float(bar.attrib["width"]) for bar in drawing.iter("{http://www.w3.org/2000/svg}rect")]
    assert bars[1] == pytest.approx(4 * bars[0])
    assert "prefers-color-scheme: dark" in ET.tostring(drawing, encoding="unicode")


def test_the_page_has_a_table_for_each_scene_without_empty_columns() -> None:
    results = [result("ours", 2.0, ideal_seconds=1.6), result("other", right=False)]
    about = {"command": "compare", "cores": 2, "python": "3.11", "runs": 3}
    growth = [big.Growth(100, 0.1, 0.2, 0.3, 50_000_000, 1.0, 1000, 1e-5)]
    lines = page([("scene", results)], {"scene": "a title"}, about, growth).splitlines()
    assert "    compare" in lines
    head = lines.index("## scene: a title") + 2
    assert lines[head] == "|  | time | of ideal | CPU | peak MB | twice MB | requests | starts | server CPU |  |"
    assert lines[head + 1] == "|---|---|---|---|---|---|---|---|---|---|"
    assert lines[head + 2] == "| ours | 2.00 s | 1.250 | 1.00 s | 50 | 0.0 | 0 | 1 | 0.00 s | right |"
    assert lines[head + 3].endswith("| WRONG FILES, exit 0 |")
    assert (
        lines[-1]
        == "| 100 | 100 ms, 1000 µs each | 200 ms, 2000 µs each | 0.30 s, 50 MB | 1.00 s, 1000 µs each | 10 µs |"
    )


def test_nobody_always_begins() -> None:
    peers = [Peer(name, lambda _: []) for name in "abc"]
    orders = ["".join(peer.name for peer in rotated(peers, number)) for number in range(4)]
    assert orders == ["abc", "bca", "cab", "abc"]


def test_no_such_peer_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--peer", "nobody"])
    assert ended.value.code == 2
    assert "no peer that is installed has a name that begins with nobody" in capsys.readouterr().err


def test_a_command_is_measured_and_stopped_at_its_limit(tmp_path: Path) -> None:
    busy = "import time\ndata = bytearray(60_000_000)\nwhile time.process_time() < 0.3: pass"
    usage = run([sys.executable, "-c", busy], {}, tmp_path / "log")
    assert (usage.code, usage.stopped) == (0, False)
    assert 0.3 <= usage.cpu_seconds <= 5
    if sys.platform == "linux":
        assert usage.peak_bytes >= 60_000_000
    sleeper = ["/bin/sh", "-c", f"echo here; {sys.executable} -c 'import time; time.sleep(60)'; true"]
    usage = run(sleeper, {}, tmp_path / "log", limit=0.3)
    assert usage.stopped
    assert usage.seconds < 5
    assert (tmp_path / "log").read_text() == "here\n"


@pytest.mark.parametrize("fast", [True, False], ids=["nginx", "embedded"])
def test_a_tiny_run_of_the_whole(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    if not fast:
        monkeypatch.setattr("bench.serving.nginx", lambda: None)
    elif not (shutil.which("nginx") or Path("/usr/sbin/nginx").exists()):
        pytest.skip("nginx is not installed")
    scenes = ["clean-http", "clean-xet", "flip", "nothing-to-do", "adopt", "verify", "status"]
    options = ["--scale", "0.0005", "--runs", "1", "--peer", "qwen-fetch", "hf 2", "--work", str(tmp_path / "work")]
    files = ["--json", str(tmp_path / "all.json"), "--chart", str(tmp_path / "chart.svg")]
    files += ["--markdown", str(tmp_path / "page.md")]
    assert main(["--scene", *scenes, *options, *files]) == 0
    results = json.loads((tmp_path / "all.json").read_text())["results"]
    assert [result["scene"] for result in results if result["peer"] == "qwen-fetch"] == scenes[:-1]
    for found in results:
        flipped = found["scene"] == "flip" and found["peer"] != "qwen-fetch"
        assert found["right"] is not flipped, found
    adopted, fetched, copied = (found for found in results if found["scene"] == "adopt")
    assert (adopted["peer"], adopted["served_bytes"], copied["peer"]) == ("qwen-fetch", 0, "cp -r")
    assert fetched["served_bytes"] > 0
    assert (tmp_path / "page.md").read_text().count("\n## ") == len(scenes)
    assert ET.parse(tmp_path / "chart.svg").getroot().tag.endswith("svg")
    assert "clean-xet: no limit, Xet" in capfd.readouterr().out


def test_the_big_repo_is_measured_at_every_size(tmp_path: Path) -> None:
    rows = big.measure_big(tmp_path, [sys.executable, str(TOOL)], (8, 16))
    assert [row.shards for row in rows] == [8, 16]
    assert all(row.windows >= 6 * row.shards for row in rows)
    assert len(big.growth_table(rows).splitlines()) == 3
    assert not (tmp_path / "big").exists()


def test_a_window_costs_no_look_at_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(cache_dir=tmp_path)
    store = Store(settings.hub_cache, settings.repo_id)
    big._make_cache(store, 40)
    known = cached(settings, store)
    assert known is not None
    plan = make_plan(known.files, store.survey(known.commit, known.files))
    steps = [step for step in plan.steps if not step.complete]
    monkeypatch.setattr("qwen_fetch.transfer.schedule.Partial", big._CountedPartial)
    work = Schedule(store, "0" * 40, steps, 4, lambda job: work.verified(job) if job.state is State.CHECKING else None)
    jobs: Sequence[Any] = work.jobs
    vars(work)["jobs"] = None  # whoever looks at all of them fails
    zeros = memoryview(bytes(64 << 20))
    while (window := work.next(lambda _: 64 << 20)) is not None:
        window.accept(zeros[: window.end - window.position])
        work.finished(window)
        assert work.bytes_on_disk == sum(job.on_disk for job in jobs)
    assert work.jobs_in(State.DONE) == jobs
    assert work.bytes_on_disk == work.bytes_total


def test_a_fault_can_hit_one_request_in_so_many_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("qwen_fetch.localhub.faults.time.monotonic", lambda: now)
    faults = Faults(Fault.parse("any-data:silent_after=0,every=15"))
    hits = []
    for seconds in (1, 14, 16, 17, 30, 32):
        now = 100.0 + seconds
        hits.append(bool(faults.take("cdn", "file", range(10), 10, 0)))
    assert hits == [False, False, True, False, False, True]
