"""A hub on 127.0.0.1 that speaks as much of the Hugging Face protocol as a download needs, and misbehaves on demand.

That it speaks the protocol is checked with huggingface_hub's own client (test_downloads.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

SMALL = 200  # bytes up to which a file is kept by git itself, named by git's checksum

HOLD_SECONDS = 20.0  # how long a silent hub is silent


@dataclass
class Repository:
    """What a stand-in repository holds and how it misbehaves."""

    files: dict[str, bytes]
    commit: str = "c0ffee" * 6 + "abcd"
    gated: bool = False
    # name -> sizes and checksums that are listed instead of the true ones
    listed: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Faults:
    """What goes wrong. Lists are used up from the front, one a request for a file."""

    cut_after: list[int] = field(default_factory=list)  # bytes of the body before the connection is cut
    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # answers of any request
    ignore_range: bool = False
    hold: threading.Event | None = None  # bodies stop after `held_bytes` until it is set
    held_bytes: int = 100
    redirect_to: str = ""  # contents lie on this other server
    overlong: bool = False


@dataclass
class StandIn:
    """The server, what it holds, and what it was asked."""

    endpoint: str
    repositories: dict[str, Repository]
    faults: Faults
    requests: list[tuple[str, str, dict[str, str]]]
    token: str = "hf_right"

    def fetched(self) -> list[str]:
        """Path of each file that was asked for."""
        return [path for method, path, _ in self.requests if method == "GET" and "/resolve/" in path]

    def asked_for(self, ending: str) -> list[dict[str, str]]:
        """Headers of each request for a file."""
        return [headers for method, path, headers in self.requests if method == "GET" and path.endswith(ending)]


def git_digest(content: bytes) -> str:
    """The name that git gives a content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def digest(content: bytes) -> str:
    """What the hub names a content."""
    return git_digest(content) if len(content) <= SMALL else hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def running(repositories: dict[str, Repository]) -> Iterator[StandIn]:
    """A server in a thread, gone afterwards."""

    class Handler(_Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stand_in = StandIn(f"http://127.0.0.1:{server.server_port}", repositories, Faults(), [])
    Handler.hub = stand_in
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield stand_in
    finally:
        if stand_in.faults.hold is not None:
            stand_in.faults.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: StandIn

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        hub, url = self.hub, urlsplit(self.path)
        hub.requests.append((self.command, unquote(url.path), dict(self.headers)))
        if hub.faults.statuses:
            status, headers = hub.faults.statuses.pop(0)
            self._refuse(status, headers)
            return
        sent = self.headers.get("Authorization")
        if sent is not None and sent != f"Bearer {hub.token}":
            self._refuse(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            parts = unquote(url.path).strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                self._api("/".join(parts[2:4]), parts[4:], parse_qs(url.query), sent is not None)
            elif len(parts) > 4 and parts[2] == "resolve":
                self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]), sent is not None, body=body)
            else:
                self._refuse(404, {})

    def _repository(self, name: str, revision: str, known: bool) -> Repository | None:
        found = self.hub.repositories.get(name)
        if found is None:
            # As the hub does it: who may not know whether it exists is told that it does not.
            self._refuse(404 if known else 401, {"X-Error-Code": "RepoNotFound"} if known else {})
        elif revision not in ("main", found.commit):
            self._refuse(404, {"X-Error-Code": "RevisionNotFound"})
            return None
        return found

    def _api(self, name: str, rest: list[str], query: dict[str, list[str]], known: bool) -> None:
        repository = self._repository(name, rest[1] if len(rest) > 1 else "main", known)
        if repository is None:
            return
        if rest[:1] == ["tree"]:
            self._send(200, [{"type": "file", **self._tree_entry(repository, one)} for one in repository.files])
            return
        siblings = []
        for one in repository.files:
            entry: dict[str, Any] = {"rfilename": one}
            if "blobs" in query:
                listed = self._tree_entry(repository, one)
                entry |= {"size": listed["size"], "blobId": listed["oid"]}
                if "lfs" in listed:
                    size = listed["lfs"]["size"]
                    entry["lfs"] = {"sha256": listed["lfs"]["oid"], "size": size, "pointerSize": 130}
            siblings.append(entry | repository.listed.get(one, {}))
        gated = "manual" if repository.gated else False
        self._send(200, {"id": name, "modelId": name, "sha": repository.commit, "gated": gated, "siblings": siblings})

    def _tree_entry(self, repository: Repository, name: str) -> dict[str, Any]:
        content = repository.files[name]
        entry: dict[str, Any] = {"path": name, "size": len(content), "oid": git_digest(content)}
        if len(content) > SMALL:
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return entry

    def _resolve(self, name: str, revision: str, path: str, known: bool, *, body: bool) -> None:
        repository = self._repository(name, revision, known)
        if repository is None:
            return
        if repository.gated and not known:
            self._refuse(401, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
            return
        content = repository.files.get(path)
        if content is None:
            self._refuse(404, {"X-Error-Code": "EntryNotFound"})
            return
        headers = {
            "X-Repo-Commit": repository.commit,
            "ETag": f'"{digest(content)}"',
            "X-Linked-Etag": f'"{digest(content)}"',
            "X-Linked-Size": str(len(content)),
        }
        if self.hub.faults.redirect_to:
            self._send_head(
                302, {**headers, "Location": self.hub.faults.redirect_to + self.path, "Content-Length": "0"}
            )
            return
        start, status = self._range(), 200
        if start is not None and not self.hub.faults.ignore_range:
            if start >= len(content):
                self._refuse(416, {"Content-Range": f"bytes */{len(content)}"})
                return
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content = content[start:]
        content += b"!" * 10 * self.hub.faults.overlong
        self._send_head(status, {**headers, "Content-Length": str(len(content)), "Accept-Ranges": "bytes"})
        if body:
            self._send_body(content)

    def _range(self) -> int | None:
        asked = self.headers.get("Range", "")
        return int(asked.removeprefix("bytes=").partition("-")[0]) if asked.startswith("bytes=") else None

    def _send_body(self, content: bytes) -> None:
        faults = self.hub.faults
        if faults.cut_after:
            self.wfile.write(content[: faults.cut_after.pop(0)])
            self.wfile.flush()
            self.close_connection = True
            return
        if faults.hold is not None:
            self.wfile.write(content[: faults.held_bytes])
            self.wfile.flush()
            faults.hold.wait(HOLD_SECONDS)
            content = content[faults.held_bytes :]
        self.wfile.write(content)

    def _refuse(self, status: int, headers: dict[str, str]) -> None:
        body = json.dumps({"error": "refused"}).encode()
        self._send_head(status, {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self._send_head(status, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
