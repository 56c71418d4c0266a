"""Downloads that go wrong: damaged and hostile answers, refusals, no network, no room; each one sentence."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Cancelled, LoupeError, MachineError, RequestError
from engine.models import downloads, hub_client, hub_store
from engine.models.downloads import download, download_size, downloaded_dictionary
from tests.conftest import REPOSITORY
from tests.engine.models.hub_stand_in import StandIn, running
from tests.engine.models.published_samples import JOINED, MODEL, NESTED, PICKLED, PLAIN, incomplete

WEIGHTS = "layer_1.safetensors"
WANTED = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


# Damaged and hostile


def test_a_content_that_differs_from_its_checksum_is_thrown_away(hub: StandIn, hub_cache: Path) -> None:
    repository = hub.repositories[PLAIN]
    size = len(repository.files[WEIGHTS])
    repository.listed = {WEIGHTS: {"lfs": {"sha256": "0" * 64, "size": size, "pointerSize": 1}}}
    with pytest.raises(RequestError, match="checksum differs"):
        download(PLAIN, endpoint=hub.endpoint)
    assert incomplete(hub_cache) == []
    assert downloaded_dictionary(PLAIN) is None
    repository.listed = {}
    assert download(PLAIN, endpoint=hub.endpoint)


def test_a_damaged_part_is_thrown_away_and_fetched_anew(hub: StandIn, hub_cache: Path) -> None:
    content = hub.repositories[PLAIN].files[WEIGHTS]
    partial = hub_store.partial(PLAIN, hashlib.sha256(content).hexdigest())
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"?" * 1000)
    with pytest.raises(RequestError, match="checksum differs"):
        download(PLAIN, endpoint=hub.endpoint)
    folder = download(PLAIN, endpoint=hub.endpoint)
    assert (folder / WEIGHTS).read_bytes() == content


def test_a_hub_that_sends_more_than_it_lists_is_stopped(hub: StandIn, hub_cache: Path) -> None:
    hub.faults.overlong = True
    with pytest.raises(RequestError, match="longer than the hub lists"):
        download(PLAIN, endpoint=hub.endpoint)
    assert downloaded_dictionary(PLAIN) is None


@pytest.mark.parametrize(
    "name",
    [
        "model-../../../../evil-of-1.safetensors",
        "../model.safetensors",
        "/etc/model.safetensors",
        "model-..\\..\\evil-of-1.safetensors",
        "model-C:evil-of-1.safetensors",
        "model-\x00-of-1.safetensors",
    ],
)
def test_a_files_name_never_leaves_the_folder(hub: StandIn, hub_cache: Path, tmp_path: Path, name: str) -> None:
    hub.repositories[MODEL].files[name] = b"evil" * 100
    before = {path for path in tmp_path.rglob("*") if hub_cache not in path.parents and path != hub_cache}
    if name.startswith("model-") and "/" not in name:  # fits a pattern of what is fetched
        with pytest.raises(RequestError, match="no safe name"):
            download(MODEL, endpoint=hub.endpoint)
        assert not hub_cache.exists()
    else:
        folder = download(MODEL, endpoint=hub.endpoint)
        assert {path.name for path in folder.iterdir()} == WANTED
    after = {path for path in tmp_path.rglob("*") if hub_cache not in path.parents and path != hub_cache}
    assert {path.name for path in after - before} <= {"cache", "downloads", "checksums.json"}


@pytest.mark.parametrize(
    "name",
    ["a/../b.json", "..", "a//b.json", "/a.json", "a\\b.json", "c:a.json", "a\n.json", "a./b.json", "nul.json",
     " a.json", "a.json ", "x" * 300 + ".json", "", "a.bin", "a.pt", "model.safetensors.py", "a.pkl"],
)  # fmt: skip
def test_unsafe_names(name: str) -> None:
    with pytest.raises(RequestError):
        hub_store.safe_name(name)


@given(st.text(st.sampled_from("a./\\:\x00 ~C"), max_size=12).map(lambda text: text + ".json"))
def test_a_name_that_passes_stays_inside(name: str) -> None:
    try:
        hub_store.safe_name(name)
    except RequestError:
        return
    for flavour in (PurePosixPath, PureWindowsPath):
        path = flavour(name)
        assert not path.is_absolute() and not path.drive and not path.root
        assert ".." not in path.parts and str(path).replace("\\", "/") == name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["rfilename", "size", "lfs", "sha256", "blobId", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON | st.fixed_dictionaries({"sha": st.just("a" * 40), "siblings": st.lists(JSON, max_size=3)}))
def test_a_listing_of_any_kind_is_read_or_refused(found: Any) -> None:
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):  # what `listing` turns into a sentence
        listing = hub_client._read_listing("a/b", found)
        assert all(isinstance(name, str) and file.size >= 0 for name, file in listing.files.items())


@pytest.mark.parametrize("name", ["a.json", "a/b c/d-1_of.2.safetensors", ".hidden/x.npz", "config.yaml", "é.json"])
def test_safe_names(name: str) -> None:
    assert hub_store.safe_name(name) == name


@pytest.mark.parametrize(
    "address",
    [
        "hf://evil/weights/layer_0/w/l0_0/params.npz",
        "hf://other/weights/../../x.npz",
        "hf://other/weights/x.pt",
        "https://other/weights/layer_0/w/l0_0/params.npz",
        "hf://other/weights/layer_0/w/l0_0/params.npz?revision=../x",
        "hf://other/weights/layer_9/w/params.npz",
        7,
    ],
)
def test_a_config_names_only_files_of_its_own_dictionary(hub: StandIn, hub_cache: Path, address: object) -> None:
    others = hub.repositories["other/weights"]
    others.files |= {"../../x.npz": b"x" * 300, "x.pt": b"x" * 300}
    hub.repositories["evil/weights"] = others
    hub.repositories[JOINED].files["config.yaml"] = json.dumps({"transcoders": [address]}).encode()
    with pytest.raises(RequestError):
        download(JOINED, endpoint=hub.endpoint)
    assert not hub_cache.exists()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (b"transcoders: []", "does not hold weights"),
        (b"x: 1", "does not hold weights"),
        (b"- 1", "cannot be read"),
        (b"{", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"!!python/object:os.system {}", "cannot be read"),
        (b"transcoders: 7", "cannot be read"),
        (b"transcoders: 2026-13-01", "cannot be read"),
        (b"transcoders: &one [hf://other/weights/x.npz]\nagain: *one", "cannot be read"),
        (b"transcoders: [" + b"a, " * 1001 + b"a]", "cannot be read"),
    ],
)
def test_a_config_without_files(hub: StandIn, hub_cache: Path, config: bytes, words: str) -> None:
    hub.repositories[JOINED].files["config.yaml"] = config
    with pytest.raises(RequestError, match=words):
        download(JOINED, endpoint=hub.endpoint)
    assert not hub_cache.exists()


@pytest.mark.parametrize(
    "listing",
    [
        "[]",
        "{",
        "[" * 100_000,
        "<html>Sign in</html>",
        '{"sha": 1}',
        '{"sha": "main", "siblings": []}',
        '{"sha": "' + "a" * 40 + '"}',
        '{"sha": "' + "a" * 40 + '", "siblings": [{"rfilename": "a", "lfs": {"sha256": "../x"}}]}',
    ],
)
def test_what_is_no_hub_is_said_so(hub_cache: Path, monkeypatch: pytest.MonkeyPatch, listing: str) -> None:
    with running({}) as server:
        from tests.engine.models.hub_stand_in import _Handler

        def answer(self: _Handler, *_: object) -> None:
            body = listing.encode()
            self._send_head(200, {"Content-Length": str(len(body))})
            self.wfile.write(body)

        monkeypatch.setattr(_Handler, "_api", answer)
        with pytest.raises(MachineError, match="does not speak as a hub does"):
            download(PLAIN, endpoint=server.endpoint)


def test_a_listing_without_an_end(hub: StandIn, hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_client, "_LARGEST_LISTING", 100)
    with pytest.raises(MachineError, match="does not speak as a hub does"):
        download(PLAIN, endpoint=hub.endpoint)


def test_a_repository_that_lost_its_files(hub: StandIn, hub_cache: Path) -> None:
    del hub.repositories[PLAIN].files[WEIGHTS]
    with pytest.raises(RequestError, match=f"does not hold {WEIGHTS}"):
        download_size(PLAIN, hub.endpoint)
    del hub.repositories[MODEL].files["model.safetensors"]
    with pytest.raises(RequestError, match="does not hold weights"):
        download_size(MODEL, hub.endpoint)


def test_pickles_are_never_fetched(hub: StandIn, hub_cache: Path) -> None:
    with pytest.raises(RequestError, match="cannot be downloaded: its files are pickles"):
        download(PICKLED, endpoint=hub.endpoint)
    assert hub.requests == []


# Refused


def refused(hub: StandIn, entry: str = PLAIN, **options: Any) -> LoupeError:
    with pytest.raises(LoupeError) as caught:
        download(entry, endpoint=hub.endpoint, **options)
    assert caught.value.sentence.endswith(".") and "\n" not in caught.value.sentence
    return caught.value


def test_terms_that_have_to_be_accepted(hub: StandIn, hub_cache: Path) -> None:
    hub.repositories[PLAIN].gated = True
    error = refused(hub)
    assert "terms that have to be accepted" in error.sentence and "hf auth login" in error.sentence
    assert isinstance(error, RequestError)
    assert download(PLAIN, endpoint=hub.endpoint, token=hub.token)


def test_a_repository_that_is_not_there(hub: StandIn, hub_cache: Path) -> None:
    del hub.repositories[PLAIN]
    assert "There is no repository some/plt" in refused(hub).sentence
    assert "There is no repository some/plt" in refused(hub, token=hub.token).sentence


def test_a_wrong_token(hub: StandIn, hub_cache: Path) -> None:
    error = refused(hub, token="hf_wrong")
    assert "does not know the access token" in error.sentence and error.exit_status == 2
    assert "hf_wrong" not in error.sentence


def test_a_version_that_is_gone(hub: StandIn, hub_cache: Path) -> None:
    hub.faults.statuses = [(404, {"X-Error-Code": "RevisionNotFound"})]
    assert "no longer has the version" in refused(hub).sentence


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (429, {"Retry-After": "0"}, "asks for fewer requests"),
        (503, {}, "out of order (status 503)"),
        (403, {}, "terms that have to be accepted"),
        (418, {}, "refused to send some/plt (status 418)"),
        (401, {}, "There is no repository"),
    ],
)
def test_other_refusals(hub: StandIn, hub_cache: Path, status: int, headers: dict[str, str], words: str) -> None:
    hub.faults.statuses = [(status, headers)] * 20
    assert words in refused(hub).sentence


def test_a_hub_that_is_busy_for_a_while(hub: StandIn, hub_cache: Path) -> None:
    hub.faults.statuses = [(429, {"Retry-After": "0"}), (503, {})]
    assert download(PLAIN, endpoint=hub.endpoint)


def test_waiting_for_a_busy_hub_is_cancelled_at_once(hub: StandIn, hub_cache: Path) -> None:
    hub.faults.statuses = [(429, {"Retry-After": "30"})]
    cancel, started = threading.Event(), time.monotonic()
    threading.Timer(0.2, cancel.set).start()
    with pytest.raises(Cancelled):
        download(PLAIN, cancel=cancel, endpoint=hub.endpoint)
    assert time.monotonic() - started < 15


def test_no_network(hub_cache: Path) -> None:
    with running({}) as gone:
        pass
    with pytest.raises(MachineError, match=r"127\.0\.0\.1 cannot be reached") as caught:
        download(PLAIN, endpoint=gone.endpoint)
    assert caught.value.exit_status == 3
    assert not hub_cache.exists()


def test_no_names_on_the_network(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(MachineError, match=r"hub\.invalid cannot be reached"):
        download(PLAIN, endpoint="https://hub.invalid")


def test_a_fault_in_the_reading_thread_reaches_the_caller(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(hub_client.httpx2, "Client", broken)
    with pytest.raises(KeyError, match="a bug"):
        download(PLAIN, endpoint=hub.endpoint)


def test_an_address_that_is_none(hub_cache: Path) -> None:
    for address in ("ftp://127.0.0.1", "127.0.0.1:80", "http://"):
        with pytest.raises(RequestError, match="not a hub's address"):
            download(PLAIN, endpoint=address)


def test_an_unknown_id(hub_cache: Path) -> None:
    with pytest.raises(RequestError, match="circuit-loupe models"):
        download("some/other")


# The disk


def test_too_little_room_is_said_before_anything_comes(
    hub: StandIn, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(shutil.disk_usage("/"))(10**9, 10**9, 1000)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage)
    assert download_size(PLAIN, hub.endpoint).free_bytes == 1000
    with pytest.raises(MachineError, match=" 0 MB free and the download needs"):
        download(PLAIN, endpoint=hub.endpoint)
    assert hub.fetched() == [] and not hub_cache.exists()


def test_a_disk_that_fills_up(hub: StandIn, hub_cache: Path, tmp_path: Path) -> None:
    """With a limit on file sizes each write fails as on a full disk: a sentence, and what came is continued."""
    code = (
        "import json, resource, signal, sys; from pathlib import Path; import pytest;"
        "from engine.errors import MachineError; from engine.models.downloads import download;"
        "from tests.engine.models import published_samples as s;"
        "s.own_machine(Path(sys.argv[1]), pytest.MonkeyPatch());"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
        "try: download(s.PLAIN, endpoint=sys.argv[2])\n"
        "except MachineError as error: print(error.sentence)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), hub.endpoint],
        capture_output=True, text=True, cwd=REPOSITORY, timeout=120,
    )  # fmt: skip
    assert "is full" in done.stdout, done.stderr
    assert [path.stat().st_size for path in incomplete(hub_cache)] == [3000]
    folder = download(PLAIN, endpoint=hub.endpoint)
    assert (folder / WEIGHTS).read_bytes() == hub.repositories[PLAIN].files[WEIGHTS]


def test_a_file_in_the_folders_place(hub: StandIn, hub_cache: Path) -> None:
    hub_cache.write_text("not a folder")
    with pytest.raises(MachineError, match="cannot be written"):
        download(PLAIN, endpoint=hub.endpoint)


def test_without_links_files_are_copied(hub: StandIn, hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    linked = download(PLAIN, endpoint=hub.endpoint)
    assert not (linked / WEIGHTS).is_symlink() and (linked / WEIGHTS).stat().st_nlink == 2
    monkeypatch.setattr(os, "link", refuse)
    copied = download(NESTED, endpoint=hub.endpoint)
    assert (copied / WEIGHTS).stat().st_nlink == 1
    assert downloaded_dictionary(NESTED) == copied
