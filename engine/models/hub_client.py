"""Reads from a hub that speaks the Hugging Face protocol: what a repository holds, and its files from any byte on.

Used only while the user downloads something. It opens connections of its own, so huggingface_hub stays offline for
everything else in the process. Each connection is read by a thread of its own, so that the caller can be stopped at
any moment, in the middle of a look-up of a name or of a server that has gone silent, too. Protocol:
https://huggingface.co/docs/hub/api and huggingface_hub's file_download.py.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2

from engine.errors import LoupeError, MachineError, RequestError
from engine.preferences import read_preferences
from engine.progress import checkpoint

# Seconds: to connect, and for a server to say something before the connection counts as lost.
CONNECT_SECONDS = 15.0
SILENCE_SECONDS = 30.0
_POLL = 0.1
_QUEUED = 64  # chunks of some ten kilobytes that may wait for the disk
_LARGEST_LISTING = 64 << 20
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class ConnectionLostError(Exception):
    """The connection broke or the server asked to come back later: worth another try after `wait` seconds.

    `sentence` is what to tell the user when no further try is made.
    """

    def __init__(self, sentence: str, wait: float = 0.0) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.wait = wait


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository. `digest`: sha256 of the content, or for small files git's sha1 of it as a blob."""

    name: str
    size: int
    digest: str

    @property
    def is_sha256(self) -> bool:
        """Whether `digest` is the sha256 of the content."""
        return len(self.digest) == 64


@dataclass(frozen=True)
class Listing:
    """What a repository holds at one commit."""

    repository: str
    commit: str
    files: dict[str, RemoteFile]


@dataclass(frozen=True)
class _Head:
    """How an answer begins. `start`: the byte its body starts at."""

    start: int
    length: int | None


class Hub:
    """A hub at an address such as https://huggingface.co; `token` proves who asks."""

    def __init__(self, endpoint: str, token: str | None, cancel: threading.Event | None = None) -> None:
        if not read_preferences().network:
            raise RequestError("The network is turned off in the settings, so nothing is downloaded; turn it on there.")
        self.endpoint = endpoint.rstrip("/")
        self._token = token
        self._cancel = cancel
        parts = urlsplit(self.endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RequestError(f"{endpoint[:80]!r} is not a hub's address; it must start with https://.")

    def listing(self, repository: str, revision: str) -> Listing:
        """The files of a repository with their sizes and checksums; `RequestError` where there is none."""
        url = f"{self.endpoint}/api/models/{repository}/revision/{quote(revision, safe='')}?blobs=true"
        body = bytearray()
        with self._opened(url, repository, 0) as (_, chunks):
            for chunk in chunks:
                body += chunk
                if len(body) > _LARGEST_LISTING:
                    raise _strange(self.endpoint)
        try:
            return _read_listing(repository, json.loads(bytes(body)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _strange(self.endpoint) from error

    @contextlib.contextmanager
    def content(self, listing: Listing, name: str, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """A file's bytes from `start` on, as (first byte that really comes, chunks).

        The first byte is 0 where the server cannot continue in the middle. `ConnectionLostError` when it breaks.
        """
        url = f"{self.endpoint}/{listing.repository}/resolve/{listing.commit}/{quote(name)}"
        with self._opened(url, listing.repository, start) as (head, chunks):
            yield head.start, chunks

    @contextlib.contextmanager
    def _opened(self, url: str, repository: str, start: int) -> Iterator[tuple[_Head, Iterator[bytes]]]:
        # Compressed bytes could be neither counted nor continued.
        headers = {"User-Agent": "circuit-loupe", "Accept-Encoding": "identity"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if start:
            headers["Range"] = f"bytes={start}-"
        pump = _Pump(url, headers, repository, self.endpoint)
        try:
            head = pump.take(self._cancel)
            assert isinstance(head, _Head)
            yield head, self._chunks(pump)
        finally:
            pump.stop()

    def _chunks(self, pump: _Pump) -> Iterator[bytes]:
        while (chunk := pump.take(self._cancel)) is not None:
            assert isinstance(chunk, bytes)
            yield chunk


class _StoppedError(Exception):
    """Ends the reading thread: nobody wants its bytes any more."""


class _Pump:
    """One request, read by a thread that hands on its head, its chunks, and None or what went wrong."""

    def __init__(self, url: str, headers: dict[str, str], repository: str, endpoint: str) -> None:
        self._url, self._headers = url, headers
        self._repository, self._endpoint = repository, endpoint
        self._items: queue.Queue[_Head | bytes | Exception | None] = queue.Queue(_QUEUED)
        self._stopped = threading.Event()
        self._response: httpx2.Response | None = None
        self._thread = threading.Thread(target=self._run, name="download", daemon=True)
        self._thread.start()

    def take(self, cancel: threading.Event | None) -> _Head | bytes | None:
        """The next item; raises what went wrong, or `Cancelled` within a tenth of a second."""
        while True:
            checkpoint(cancel)
            try:
                item = self._items.get(timeout=_POLL)
            except queue.Empty:
                continue
            if isinstance(item, Exception):
                raise item
            return item

    def stop(self) -> None:
        """Let go of the connection. A thread that waits for a dead server ends by itself, touching nothing."""
        self._stopped.set()
        response = self._response
        if response is not None and self._thread.is_alive():
            stream = response.extensions.get("network_stream")
            connection = None if stream is None else stream.get_extra_info("socket")
            if connection is not None:
                with contextlib.suppress(OSError, ValueError):  # it may have been closed meanwhile
                    connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(0.5)

    def _put(self, item: _Head | bytes | Exception | None) -> None:
        while True:
            if self._stopped.is_set():
                raise _StoppedError
            try:
                self._items.put(item, timeout=_POLL)
                return
            except queue.Full:
                continue

    def _run(self) -> None:
        with contextlib.suppress(_StoppedError):
            try:
                self._read()
            except (LoupeError, ConnectionLostError) as error:
                self._put(error)
            except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError) as error:
                self._put(_lost(error, self._endpoint))
            except _StoppedError:
                raise
            except Exception as error:  # a fault of ours, or a connection that was closed under a reader: the caller's
                self._put(error)

    def _read(self) -> None:
        timeout = httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        # httpx2 itself leaves the token behind when a redirect leads to another host.
        with (
            httpx2.Client(timeout=timeout, follow_redirects=True) as client,
            client.stream("GET", self._url, headers=self._headers) as response,
        ):
            self._response = response
            if response.status_code >= 300:
                raise refusal(response.status_code, response.headers, self._repository, self._endpoint)
            self._put(_head(response))
            for chunk in response.iter_bytes():
                self._put(chunk)
        self._put(None)


def _head(response: httpx2.Response) -> _Head:
    length = response.headers.get("Content-Length", "")
    start = 0
    if response.status_code == 206:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is None:
            raise ConnectionLostError("The hub sent a piece of a file without saying which; try again later.")
        start = int(found.group(1))
    return _Head(start, int(length) if length.isdecimal() else None)


def _read_listing(repository: str, found: Any) -> Listing:
    commit = found["sha"]
    if not _COMMIT.fullmatch(commit):
        raise ValueError("not a commit")
    files = {}
    for entry in found["siblings"]:
        name, size, lfs = entry["rfilename"], entry.get("size"), entry.get("lfs")
        digest, size = (lfs["sha256"], lfs["size"]) if lfs else (entry.get("blobId"), size)
        if lfs and not _SHA256.fullmatch(digest):
            raise ValueError("not a checksum")
        if not isinstance(name, str) or not isinstance(size, int) or size < 0 or not isinstance(digest, str):
            continue  # a file without a size or a checksum could not be verified
        if _SHA256.fullmatch(digest) or _COMMIT.fullmatch(digest):
            files[name] = RemoteFile(name, size, digest)
    return Listing(repository, commit, files)


def refusal(status: int, headers: Any, repository: str, endpoint: str) -> Exception:
    """What a status of the hub means, in one sentence. Codes: huggingface_hub's utils/_http.py."""
    code, message = headers.get("X-Error-Code", ""), headers.get("X-Error-Message", "")
    page = f"{endpoint}/{repository}"
    if code == "GatedRepo" or (status == 403 and not code):
        return RequestError(
            f"{repository} is shared under terms that have to be accepted first: accept them on {page}, sign in with "
            "`hf auth login` or set HF_TOKEN, and start the download again."
        )
    if status == 401 and "invalid" in message.lower():
        return RequestError(
            "The hub does not know the access token that was sent; sign in again with `hf auth login`, or correct "
            "HF_TOKEN."
        )
    if code == "RevisionNotFound":
        return RequestError(f"{repository} no longer has the version that the catalogue names; look at {page}.")
    if code == "EntryNotFound":
        return RequestError(f"{repository} no longer has a file that it listed; start the download again.")
    if code == "RepoNotFound" or status in (401, 404):
        return RequestError(
            f"There is no repository {repository} on the hub, or it is not open to you; look at {page}, and sign in "
            "with `hf auth login` if it asks you to."
        )
    if status == 416:
        return ConnectionLostError("The hub could not continue the file where it stopped; start the download again.")
    if status in (408, 429) or status >= 500:
        why = "asks for fewer requests" if status == 429 else f"is out of order (status {status})"
        return ConnectionLostError(
            f"The hub {why}; wait some minutes and start the download again: it goes on where it stopped.",
            _seconds(headers.get("Retry-After", "")),
        )
    return RequestError(f"The hub refused to send {repository} (status {status}); look at {page}.")


def _seconds(text: str) -> float:
    return min(float(text), 60.0) if text.isdecimal() else 0.0


def _lost(error: Exception, endpoint: str) -> Exception:
    host = urlsplit(endpoint).hostname or endpoint
    if isinstance(error, httpx2.TooManyRedirects | httpx2.InvalidURL | httpx2.UnsupportedProtocol):
        return _strange(endpoint)
    if isinstance(error, httpx2.ProxyError):
        return MachineError("The network's proxy refused the connection to the hub; check the proxy's settings.")
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return MachineError(
            f"What answers for {host} shows a certificate that this machine does not trust (a proxy that reads "
            "along?); if it is your organisation's, set SSL_CERT_FILE to its certificates."
        )
    return ConnectionLostError(
        f"The hub at {host} cannot be reached, or the connection to it broke; check the network and start the download "
        "again: it goes on where it stopped."
    )


def _strange(endpoint: str) -> MachineError:
    return MachineError(
        f"What answers at {endpoint} does not speak as a hub does; check the network (a sign-in page of a wireless "
        "network?) and HF_ENDPOINT."
    )
