"""Many machines behind one nginx, with the configuration of docs/many-machines.md as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from workbench import KILL, ROOT, Tool

from qwen_fetch.localhub.hub import LocalHub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workbench import Ended

PAGE = ROOT / "docs" / "many-machines.md"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
HUB = "127.0.0.2"  # another address than the cache's, with the Hub's two hosts on it

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is there on Linux alone"),
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def configuration(hub: LocalHub, folder: Path, ports: tuple[int, int]) -> str:
    """The page's, with this machine's addresses and folders in it."""
    (text,) = blocks("nginx")
    changes = {
        "https://huggingface.co;": f"{hub.endpoint};",
        r"https://huggingface\.co": re.escape(hub.endpoint),
        r"(?:[a-z0-9-]+\.)+(?:hf\.co|huggingface\.co)": rf"{re.escape(HUB)}:\d+",
        r"https://([a-z0-9.-]+\.(?:hf\.co|huggingface\.co))": rf"http://({re.escape(HUB)}:\d+)",
        "https://$data_host": "http://$data_host",
        "/var/cache/nginx/hub": str(folder / "kept"),
        "listen 8000": f"listen 127.0.0.1:{ports[0]}",
        "listen 8001": f"listen 127.0.0.1:{ports[1]}",
        "http://$host:8001": f"http://$host:{ports[1]}",
    }
    for there, here in changes.items():
        assert there in text, there
        text = text.replace(there, here)
    own = f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = f"user {os.environ.get('USER', 'root')};\n" if sys.platform != "win32" and os.geteuid() == 0 else ""
    return user + own + text.replace("http {", f"http {{\naccess_log off;\n{temporary}", 1)


@dataclass
class House:
    """A Hub far away, the cache in the house, and as many machines as are wanted."""

    hub: LocalHub
    endpoint: str
    folder: Path
    repo: Path

    def machine(self, name: str) -> Tool:
        home = self.folder / name / "hf"
        home.mkdir(parents=True, exist_ok=True)
        return Tool(home, self.endpoint)

    @property
    def weights(self) -> int:
        """Bytes of the files that come from the data host."""
        revision = self.hub.catalog.revision("main")
        assert revision is not None
        return sum(entry.size for entry in revision.entries.values() if entry.is_lfs)

    @property
    def sent(self) -> int:
        return self.hub.log.weight_bytes()

    def fetch(self, *names: str) -> list[Ended]:
        """Several machines at once."""
        ended: list[Ended] = []
        threads = [threading.Thread(target=lambda n=name: ended.append(self.machine(n).run())) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return ended


@pytest.fixture
def house(tmp_path: Path, small_repo: Path) -> Iterator[House]:
    with LocalHub(small_repo, address=HUB, url_lifetime=3.0) as hub, cache_before(hub, tmp_path) as endpoint:
        yield House(hub, endpoint, tmp_path, small_repo)


@contextmanager
def cache_before(hub: LocalHub, folder: Path) -> Iterator[str]:
    ports = free_port(), free_port()
    (folder / "nginx.conf").write_text(configuration(hub, folder, ports), encoding="utf-8")
    command = [str(NGINX), "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", ports[0]), 1).close()
                break
            except OSError:
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < until
                time.sleep(0.02)
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        process.terminate()
        process.communicate()


def test_every_weight_byte_crosses_the_line_once(house: House) -> None:
    """One, then two at once, then five of whom one is killed and goes on: with addresses that live for 3 s."""
    assert [ended.code for ended in house.fetch("first")] == [0]
    assert [ended.code for ended in house.fetch("second", "third")] == [0, 0]
    killed = house.machine("killed").start()
    time.sleep(0.4)
    killed.send_signal(KILL)
    killed.communicate()
    assert [ended.code for ended in house.fetch("4", "5", "6", "7", "killed")] == [0] * 5
    assert house.sent <= 1.001 * house.weights
    assert all(house.machine(name).tree_is(house.repo) for name in ("first", "second", "third", "killed", "7"))


def test_many_at_once_find_it_empty(house: House) -> None:
    assert [ended.code for ended in house.fetch("1", "2", "3", "4", "5")] == [0] * 5
    assert house.sent <= 1.001 * house.weights
    assert all(house.machine(name).tree_is(house.repo) for name in "12345")


def test_a_damaged_slice_is_fetched_again_for_all(house: House) -> None:
    assert [ended.code for ended in house.fetch("first")] == [0]
    before = house.sent
    file = damage(house.folder / "kept")
    (met,) = house.fetch("second")
    assert met.code == 0, met
    assert house.machine("second").tree_is(house.repo)
    again = house.sent - before
    assert 0 < again <= 1.1 * file
    assert [ended.code for ended in house.fetch("third")] == [0]
    assert house.sent == before + again


def damage(kept: Path) -> int:
    """Flip a bit in a slice of the largest weight; returns that weight's size."""
    sizes = {}
    for path in kept.rglob("*"):
        if path.is_file() and (told := re.search(rb"Content-Range: bytes \d+-\d+/(\d+)", path.read_bytes()[:4096])):
            sizes[path] = int(told[1])
    victim = max(sizes, key=lambda path: (sizes[path], path.stat().st_size))
    raw = bytearray(victim.read_bytes())
    raw[-100] ^= 1
    victim.write_bytes(raw)
    return sizes[victim]


def test_with_the_hub_away_a_new_machine_gets_all(house: House) -> None:
    assert [ended.code for ended in house.fetch("first")] == [0]
    house.hub.close()
    time.sleep(1.1)  # what the Hub said is not fresh any more
    (ended,) = house.fetch("second")
    assert ended.code == 0, ended
    assert house.machine("second").tree_is(house.repo)


def test_the_hubs_own_client_is_served_as_well(house: House) -> None:
    ended = house.machine("hf").hf("download", "Qwen/Qwen-Image-Edit")
    assert ended.code == 0, ended
    assert [ended.code for ended in house.fetch("ours")] == [0]
    assert house.sent <= 1.001 * house.weights


def test_it_is_no_open_proxy(house: House) -> None:
    data = re.search(r"listen 127\.0\.0\.1:(\d+);  # the large", (house.folder / "nginx.conf").read_text())
    assert data is not None
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{data[1]}/example.com/secret", timeout=5)
    refused.value.close()
    assert refused.value.code == 404


def test_diagnosis_and_log_show_the_cache(house: House) -> None:
    house.fetch("first")
    second = house.machine("second")
    assert "HIT" in second.run("--diagnose").out
    assert second.run("--log", str(house.folder / "log")).code == 0
    assert "done, HIT by a cache" in (house.folder / "log").read_text(encoding="utf-8")


def test_a_cache_that_is_down_is_not_missed(house: House) -> None:
    """Only where the user says so: the second address is asked, with one line about it."""
    tool = house.machine("first")
    tool.endpoint = "http://127.0.0.1:9"
    ended = tool.run("--endpoint", f"http://127.0.0.1:{free_port()},{house.hub.endpoint}", "--max-retries", "1")
    assert ended.code == 0, ended
    assert tool.tree_is(house.repo)
    assert ended.err.count(f"Going on with {HUB}.") == 1
    before = house.sent
    again = tool.run(
        "--endpoint", f"http://127.0.0.1:{free_port()},{house.hub.endpoint}", "--max-retries", "1", "--force"
    )
    assert again.code == 0, again
    assert house.sent - before >= house.weights, "it was told to fetch even what is complete"


def test_a_cache_that_goes_down_on_the_way_is_not_missed(house: House) -> None:
    """What came through it stays, and the rest comes from the second address."""
    tool, other = house.machine("first"), house.folder / "other"
    other.mkdir()
    house.hub.line_rate = 2 * house.weights / 3
    with cache_before(house.hub, other) as endpoint:
        addresses = f"{endpoint},{house.hub.endpoint}"
        process = tool.start("--endpoint", addresses, "--max-retries", "2", "--transport", "http")
        time.sleep(1.0)
        assert house.sent
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert tool.tree_is(house.repo)
    assert err.count(f"Going on with {HUB}.") == 1
    assert house.sent <= 1.3 * house.weights  # the slices that were on their way through the cache, 1 MB each


def test_the_compose_file_is_about_that_configuration() -> None:
    """No engine runs it here; what it mounts and opens has to be what the configuration uses."""
    (compose,), (text,) = blocks("yaml"), blocks("nginx")
    assert re.findall(r'"(\d+):\1"', compose) == re.findall(r"listen (\d+);", text)
    kept = re.search(r"proxy_cache_path (\S+)", text)
    assert kept is not None
    assert f"hub:{kept[1]}\n" in compose
    assert "./nginx.conf:/etc/nginx/nginx.conf:ro\n" in compose
    image = re.search(r"image: nginx:(\d+)\.(\d+)\n", compose)
    assert image is not None
    assert (int(image[1]), int(image[2])) >= (1, 22)
