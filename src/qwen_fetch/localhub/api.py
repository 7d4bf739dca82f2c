"""The endpoint: the Hub's API, small files, and the way to the large ones."""

import json
from urllib.parse import parse_qsl, unquote, urlsplit

from qwen_fetch.localhub.bodies import FileBody
from qwen_fetch.localhub.catalog import Entry, Revision, folders
from qwen_fetch.localhub.replies import Reply, as_json, error, ranged, text
from qwen_fetch.localhub.serving import Handler
from qwen_fetch.localhub.site import Site

__all__ = ["ApiHandler"]

_NOT_FOUND = "Not found"


class ApiHandler(Handler):
    """A connection to the endpoint."""

    def respond(self) -> None:
        """Answer a request: GET, HEAD and POST alike."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        path = unquote(url.path)
        if path.startswith("/_localhub/"):
            self._own(path)
        elif (refusal := self._refusal()) is not None:
            self.answer(self._kind(path), path, False, refusal)
        elif path.startswith("/api/"):
            self.answer(self._kind(path), path, False, self._api(path, url.query, body))
        else:
            self._resolve(path)

    def _own(self, path: str) -> None:
        """Answer what only this hub has. Not logged, and no fault touches it."""
        if path == "/_localhub/clear":
            self.site.log.clear()
        data = json.dumps(self.site.log.totals()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _kind(self, path: str) -> str:
        if not path.startswith("/api/"):
            return "resolve"
        return "token" if "/xet-read-token/" in path else "api"

    def _refusal(self) -> Reply | None:
        """Return the reply to somebody who may not read, None for all others."""
        given = self.headers.get("Authorization")
        if self.site.token is None or given == f"Bearer {self.site.token}":
            return None
        if given is not None:
            return error(401, "Invalid credentials in Authorization header")
        if self.site.public:
            return None
        return error(401, "Repository not found", "RepoNotFound")

    def _api(self, path: str, query: str, body: bytes) -> Reply:
        """Answer a question about the repo."""
        if path == "/api/whoami-v2":
            if self.site.token is None or "Authorization" not in self.headers:
                return error(401, "Invalid username or password.")
            return as_json({"type": "user", "name": "local", "orgs": [], "auth": {"type": "access_token"}})
        repo, rest = self._split(path.removeprefix("/api/models/"))
        if not path.startswith("/api/models/") or repo != self.site.repo_id:
            return self._no_repo()
        verb, _, rest = rest.partition("/")
        name, _, folder = rest.partition("/")
        # Only these verbs are followed by a path; the names of the others may hold slashes.
        revision = self.site.catalog.revision((name if verb == "tree" else rest) or "main")
        if revision is None:
            return error(404, f"Invalid rev id: {rest}", "RevisionNotFound")
        options = dict(parse_qsl(query))
        match verb:
            case "" | "revision":
                return as_json(_info(self.site, revision))
            case "tree":
                return _tree(self.site, revision, folder, options.get("recursive", "").lower() in ("1", "true"))
            case "paths-info":
                wanted = _paths(body)
                entries = [revision.entries[path] for path in wanted if path in revision.entries]
                return as_json([_file(self.site, entry) for entry in entries])
            case "xet-read-token":
                return self._xet_token()
        return error(404, _NOT_FOUND)

    def _xet_token(self) -> Reply:
        token, expires = self.site.signer.xet_token()
        return as_json(
            {"accessToken": token, "exp": expires, "casUrl": self.site.data_endpoint},
            {
                "X-Xet-Cas-Url": self.site.data_endpoint,
                "X-Xet-Access-Token": token,
                "X-Xet-Token-Expiration": str(expires),
            },
        )

    def _resolve(self, path: str) -> None:
        """Answer with a small file, or with the way to a large one."""
        repo, rest = self._split(path.removeprefix("/"))
        verb, _, rest = rest.partition("/")
        name, _, wanted = rest.partition("/")
        if repo != self.site.repo_id or verb != "resolve":
            self.answer("resolve", path, False, self._no_repo())
            return
        revision = self.site.catalog.revision(name)
        if revision is None:
            reply = error(404, f"Invalid rev id: {name}", "RevisionNotFound")
            self.answer("resolve", wanted, False, reply)
            return
        entry = revision.entries.get(wanted)
        if entry is None:
            self.answer("resolve", wanted, False, error(404, "Entry not found", "EntryNotFound"))
            return
        headers = {"X-Repo-Commit": revision.commit}
        if entry.is_lfs:
            reply = text(302, b"", {**headers, **_redirect(self.site, entry, revision)})
        else:
            headers["ETag"] = f'"{entry.etag}"'
            reply = ranged(FileBody(entry.file), self.headers.get("Range"), headers)
        self.answer("resolve", wanted, entry.is_lfs, reply)

    def _split(self, path: str) -> tuple[str, str]:
        """Return the repo's name and what comes after it."""
        parts = path.split("/", 2)
        return "/".join(parts[:2]), parts[2] if len(parts) > 2 else ""

    def _no_repo(self) -> Reply:
        # Like the Hub: who is not known is not told whether there is such a repo.
        status = 404 if "Authorization" in self.headers else 401
        return error(status, "Repository not found", "RepoNotFound")


def _redirect(site: Site, entry: Entry, revision: Revision) -> dict[str, str]:
    """Return the headers that send a client to the data host."""
    headers = {
        "X-Linked-Etag": f'"{entry.etag}"',
        "X-Linked-Size": str(entry.size),
        "Location": site.signer.url(site.data_endpoint, f"/repos/{entry.sha256}", site.url_lifetime),
    }
    if site.xet:
        token = f"{site.endpoint}/api/models/{site.repo_id}/xet-read-token/{revision.commit}"
        info = f"{site.data_endpoint}/v1/reconstructions/{entry.xet_hash}"
        headers["X-Xet-Hash"] = entry.xet_hash
        headers["Link"] = f'<{token}>; rel="xet-auth", <{info}>; rel="xet-reconstruction-info"'
    return headers


def _info(site: Site, revision: Revision) -> dict[str, object]:
    return {
        "_id": revision.commit[:24],
        "id": site.repo_id,
        "modelId": site.repo_id,
        "author": site.repo_id.split("/")[0],
        "sha": revision.commit,
        "private": False,
        "gated": False,
        "disabled": False,
        "lastModified": "2025-08-18T02:54:52.000Z",
        "createdAt": "2025-08-17T07:13:24.000Z",
        "downloads": 0,
        "likes": 0,
        "library_name": "diffusers",
        "pipeline_tag": "image-to-image",
        "tags": ["diffusers", "safetensors"],
        "siblings": [
            {"rfilename": path, "size": entry.size, "blobId": entry.blob_id, **_lfs(entry)}
            for path, entry in revision.entries.items()
        ],
    }


def _tree(site: Site, revision: Revision, folder: str, recursive: bool) -> Reply:
    """Return what is in `folder`, with all that is below it if `recursive`."""
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    found: list[dict[str, object]] = [
        {"type": "directory", "oid": revision.commit, "size": 0, "path": path}
        for path in folders(revision.entries)
        if path.startswith(prefix)
    ]
    found += [_file(site, entry) for path, entry in revision.entries.items() if path.startswith(prefix)]
    if not found:
        return error(404, f"{folder} does not exist on this revision", "EntryNotFound")
    if not recursive:
        found = [item for item in found if "/" not in str(item["path"])[len(prefix) :]]
    return as_json(found)


def _file(site: Site, entry: Entry) -> dict[str, object]:
    item = {"type": "file", "oid": entry.blob_id, "size": entry.size, "path": entry.path, **_lfs(entry)}
    if "lfs" in item:
        item["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": 135}
        if site.xet:
            item["xetHash"] = entry.xet_hash
    return item


def _lfs(entry: Entry) -> dict[str, object]:
    if not entry.is_lfs:
        return {}
    return {"lfs": {"sha256": entry.sha256, "size": entry.size, "pointerSize": 135}}


def _paths(body: bytes) -> list[str]:
    """Return the paths asked for in the body of a `paths-info` request: JSON or a form."""
    try:
        paths = json.loads(body)["paths"]
    except (ValueError, KeyError, TypeError):
        return [value for name, value in parse_qsl(body.decode(errors="replace")) if name == "paths"]
    return [paths] if isinstance(paths, str) else list(paths)
