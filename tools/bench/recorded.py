"""What nginx serves: the embedded Hub's own answers, written down as a configuration and a few files."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from qwen_fetch.localhub import LocalHub

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Site", "record"]

_KEPT = ("X-Repo-Commit", "X-Linked-Etag", "X-Linked-Size", "ETag")


@dataclass(frozen=True, slots=True)
class Site:
    """An nginx that plays the Hub.

    Attributes:
        config: Its configuration.
        log: Where it writes one line per request: host (api or data), bytes of body.
        endpoint: Its address.
    """

    config: Path
    log: Path
    endpoint: str


def record(repo: Path, folder: Path, repo_id: str) -> Site:
    """Ask the embedded Hub everything a client asks it, and write the answers into `folder` for nginx.

    Args:
        repo: What is served. Large files are sent from there as they lie.
        folder: Where configuration, answers and logs go; created.
        repo_id: The repo's name.
    """
    folder.mkdir(parents=True)
    api_port, data_port = _free_ports(2)
    data = f"http://localhost:{data_port}"
    with LocalHub(repo, repo_id=repo_id, xet=False) as hub:
        api = f"/api/models/{repo_id}"
        names = ("main", hub.commit)
        asked = [api, *(f"{api}/{verb}/{name}{args}" for name in names for verb, args in _LISTINGS)]
        files = sorted(path.relative_to(repo).as_posix() for path in repo.rglob("*") if path.is_file())
        asked += [f"/{repo_id}/resolve/{name}/{quote(path)}" for name in names for path in files]
        places = [_place(hub.endpoint, target, folder / f"{number}", data) for number, target in enumerate(asked)]
        large = [
            f"location = /{entry.sha256} {{ alias {entry.file.resolve()}; }}"
            for entry in (hub.entry(path) for path in files)
            if entry.sha256 is not None
        ]
    config, log = folder / "nginx.conf", folder / "requests.log"
    text = _CONFIG.format(
        user=f"user {getpass.getuser()};" if sys.platform != "win32" and os.geteuid() == 0 else "",
        folder=folder,
        log=log,
        api_port=api_port,
        data_port=data_port,
        data_port_v6=f"listen [::1]:{data_port};" if _has_ipv6() else "",
        places="\n    ".join(places),
        large="\n    ".join(sorted(set(large))),
    )
    config.write_text(text, encoding="utf-8")
    return Site(config, log, f"http://127.0.0.1:{api_port}")


_LISTINGS = (("revision", ""), ("tree", "?recursive=true"))
_CONFIG = """
{user}
daemon off;
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  log_format short '$server_name $body_bytes_sent';
  access_log {log} short;
  client_body_temp_path {folder}/tmp;
  proxy_temp_path {folder}/tmp;
  fastcgi_temp_path {folder}/tmp;
  uwsgi_temp_path {folder}/tmp;
  scgi_temp_path {folder}/tmp;
  sendfile on;
  tcp_nopush on;
  etag off;
  default_type application/octet-stream;
  server {{
    server_name api;
    listen 127.0.0.1:{api_port};
    {places}
  }}
  server {{
    server_name data;
    listen 127.0.0.1:{data_port};
    {data_port_v6}
    {large}
  }}
}}
"""


def _place(endpoint: str, target: str, file: Path, data: str) -> str:
    """One answer of the embedded Hub as an nginx location; its body goes to `file`."""
    connection = HTTPConnection(urlsplit(endpoint).netloc, timeout=10)
    connection.request("GET", target)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    headers = [f"add_header {name} '{value}' always;" for name in _KEPT if (value := response.getheader(name))]
    if response.status == 302:
        digest = str(response.getheader("X-Linked-Etag")).strip('"')
        act = f"return 302 {data}/{digest};"
    else:
        file.write_bytes(body)
        act = f"types {{ }} default_type '{response.getheader('Content-Type')}'; alias {file};"
    return f"location = {target.split('?', maxsplit=1)[0]} {{ {' '.join(headers)} {act} }}"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
