"""`python -m qwen_fetch.localhub`."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from localhub_client import VAE, get

from qwen_fetch.localhub.__main__ import main


@pytest.mark.skipif(os.name == "nt", reason="no SIGTERM to send")
def test_it_tells_its_endpoint_serves_and_logs(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-W", "error", "-m", "qwen_fetch.localhub", "--scale", "0.0001"]
    command += ["--log", str(log), "--fault", "resolve:status=500,times=1", "--line-rate", "80M"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        name, _, endpoint = server.stdout.readline().strip().partition("=")
        assert name == "HF_ENDPOINT"
        url = f"{endpoint}/Qwen/Qwen-Image-Edit/resolve/main/{VAE}"
        assert [get(url).status for _ in range(2)] == [500, 302]
        server.send_signal(signal.SIGTERM)
        errors = server.stderr.read()
        assert server.wait(5) == 0, errors
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    # A line is written when a request is over, which may be after the client has asked the next thing.
    assert sorted((line["path"], line["status"]) for line in lines) == [(VAE, 302), (VAE, 500)]


@pytest.mark.parametrize("option", [["--fault", "cdn:nothing"], ["--line-rate", "0"], ["--packing", "lz4"]])
def test_nonsense_is_refused(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(option)
    assert stopped.value.code == 2
    assert option[0] in capsys.readouterr().err
