"""A client with no manners of its own: what the hub sends is what a test sees."""

import http.client
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from qwen_fetch.localhub import LocalHub

VAE = "vae/diffusion_pytorch_model.safetensors"


@dataclass
class Answer:
    """What came back, as far as it came."""

    status: int
    headers: dict[str, str]
    body: bytes
    error: type[Exception] | None = None


def get(url: str, method: str = "GET", timeout: float = 5.0, **headers: str) -> Answer:
    """Make one request on a connection of its own. Underscores in header names stand for dashes."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    with closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)) as connection:
        return ask(connection, url, method, **headers)


def ask(connection: http.client.HTTPConnection, url: str, method: str = "GET", **headers: str) -> Answer:
    """Make one request on `connection`."""
    parts = urlsplit(url)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, f"{parts.path}?{parts.query}", headers=names)
    with connection.getresponse() as response:
        answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, b"")
        try:
            while piece := response.read1(1 << 16):
                answer.body += piece
        except (TimeoutError, OSError) as error:
            answer.error = type(error)
        if response.length and answer.error is None:
            answer.error = http.client.IncompleteRead
    return answer


def cdn_url(hub: LocalHub, path: str = VAE) -> str:
    """Return the signed URL of a large file."""
    return get(f"{hub.endpoint}/{hub.repo_id}/resolve/main/{path}", "HEAD").headers["location"]


def client_environment(hub: LocalHub, home: Path) -> dict[str, str]:
    """Return an environment in which the real clients know this hub and nothing else."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return environment | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    }


def run(*command: str, environment: Mapping[str, str], timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a command of the real clients."""
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)


def hf_command() -> str:
    """Return the `hf` that belongs to this Python."""
    return str(Path(sys.executable).with_name("hf.exe" if os.name == "nt" else "hf"))
