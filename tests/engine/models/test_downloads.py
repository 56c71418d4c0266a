"""Downloads against a hub on this machine: whole, continued, stopped, refused; and no step outside the cache."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.dictionaries import load_features
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.errors import Cancelled, LoupeError, MachineError, RequestError
from engine.models import downloads, find_models, hub_client, hub_store, load_model
from engine.models.downloads import download, download_size, downloaded_dictionary
from engine.models.published import find_published
from tests.conftest import REPOSITORY
from tests.engine.models import published_samples as samples
from tests.engine.models.gguf_samples import LAYERS, WIDTH
from tests.engine.models.hub_stand_in import HOLD_SECONDS, StandIn, running
from tests.engine.models.published_samples import JOINED, LOOSE, MODEL, NESTED, PICKLED, PLAIN

WEIGHTS = "layer_1.safetensors"
WANTED = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    found = samples.repositories(tmp_path_factory.mktemp("made"))
    return {name: repository.files for name, repository in found.items()}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return samples.own_machine(tmp_path, monkeypatch)


@pytest.fixture
def hub(tmp_path: Path, cache: Path) -> Iterator[StandIn]:
    with running(samples.repositories(tmp_path)) as server:
        yield server


def fetched(hub: StandIn) -> list[str]:
    return [path for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path]


def left_over(cache: Path) -> list[str]:
    """Files of the cache that are neither contents nor names of them nor locks."""
    return [
        str(path.relative_to(cache))
        for path in cache.rglob("*")
        if path.is_file()
        and path.parent.name not in ("blobs", "refs")
        and "snapshots" not in path.parts
        and ".locks" not in path.parts
    ]


def incomplete(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.incomplete"))


# Whole


def test_a_model_is_brought_and_then_found_and_loaded(hub: StandIn, cache: Path) -> None:
    size = download_size(MODEL, hub.endpoint)
    assert MODEL not in {entry.id for entry in find_models()}
    seen: list[tuple[str, float]] = []
    folder = download(MODEL, lambda stage, fraction: seen.append((stage, fraction)), endpoint=hub.endpoint)
    files = hub.repositories[MODEL].files
    assert sorted(path.name for path in folder.iterdir()) == sorted(WANTED)
    assert all((folder / path.name).read_bytes() == files[path.name] for path in folder.iterdir())
    assert size.total_bytes == size.missing_bytes == sum(len(files[path.name]) for path in folder.iterdir())
    fractions = [fraction for _, fraction in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    (found,) = (entry for entry in find_models() if entry.id == MODEL)
    assert (found.kind, found.title, found.licence, found.chat) == ("hub-cache", "Tiny", "MIT", True)
    assert find_published(MODEL).path == folder
    assert load_model(MODEL, device="cpu").top_tokens([1, 2], 1)
    assert incomplete(cache) == left_over(cache) == []


def test_only_what_is_needed_is_asked_for(hub: StandIn, cache: Path) -> None:
    hub.repositories[MODEL].files["model-1-of-1.safetensors/more.json"] = b"not this one"
    download(MODEL, endpoint=hub.endpoint)
    download(NESTED, endpoint=hub.endpoint)
    names = {path.partition("/resolve/")[2].partition("/")[2] for path in fetched(hub)}
    assert names == {
        *WANTED, "sets/small/config.yaml",
        *(f"sets/small/layer_{layer}.safetensors" for layer in range(LAYERS)),
    }  # fmt: skip


def test_a_dictionary_is_brought_and_then_opened(hub: StandIn, cache: Path) -> None:
    assert downloaded_dictionary(PLAIN) is None
    folder = download(PLAIN, endpoint=hub.endpoint)
    assert downloaded_dictionary(PLAIN) == folder
    download(MODEL, endpoint=hub.endpoint)
    model = load_model(MODEL, device="cpu")
    assert load_features(folder, model, trust=True)


def test_one_of_several_dictionaries_of_a_repository(hub: StandIn, cache: Path) -> None:
    folder = download(NESTED, endpoint=hub.endpoint)
    assert downloaded_dictionary(NESTED) == folder
    assert folder.parts[-2:] == ("sets", "small")
    assert not (folder.parent / "large").exists()


def test_a_dictionary_whose_config_names_files_elsewhere(hub: StandIn, cache: Path) -> None:
    size = download_size(JOINED, hub.endpoint)
    assert size.files == 1 + LAYERS
    folder = download(JOINED, endpoint=hub.endpoint)
    assert downloaded_dictionary(JOINED) == folder
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.npz")) == [
        f"layer_{layer}/w/l0_{layer}/params.npz" for layer in range(LAYERS)
    ]
    assert (folder / "layer_1/w/l0_1/params.npz").read_bytes() == bytes([1]) * 5000
    shutil.rmtree(cache / "models--other--weights")
    assert downloaded_dictionary(JOINED) is None


def test_gemma_scopes_files_are_opened_where_they_are_put_together(hub: StandIn, cache: Path) -> None:
    random = np.random.default_rng(1)
    for layer in range(LAYERS):
        content = io.BytesIO()
        arrays = {"W_enc": (WIDTH, 40), "W_dec": (40, WIDTH), "b_enc": 40, "b_dec": WIDTH, "threshold": 40}
        np.savez(content, **{name: random.standard_normal(shape).astype(np.float32) for name, shape in arrays.items()})
        hub.repositories["other/weights"].files[f"layer_{layer}/w/l0_{layer}/params.npz"] = content.getvalue()
    download(MODEL, endpoint=hub.endpoint)
    features = load_features(download(JOINED, endpoint=hub.endpoint), load_model(MODEL, device="cpu"), trust=True)
    assert isinstance(features, TranscoderFeatures)
    assert [one is not None for one in features.transcoders] == [True] * LAYERS


def test_a_dictionary_whose_files_are_not_known_by_name(hub: StandIn, cache: Path) -> None:
    """Its own weights, where config.yaml names none; those that it names, where it does."""
    folder = download(LOOSE, endpoint=hub.endpoint)
    assert downloaded_dictionary(LOOSE) == folder
    own = {"config.yaml", "files.json", *(f"layer_{layer}.safetensors" for layer in range(LAYERS))}
    assert {path.name for path in folder.iterdir()} == own
    files = hub.repositories["some/loose"].files
    files["deep/set/config.yaml"] = b"transcoders: ['hf://some/loose/elsewhere/layer_0.safetensors']"
    files["elsewhere/layer_0.safetensors"] = b"x" * 999
    hub.repositories["some/loose"].commit = "56" * 20
    folder = download(LOOSE, endpoint=hub.endpoint)
    assert (folder / "elsewhere/layer_0.safetensors").read_bytes() == b"x" * 999


def test_nothing_is_fetched_twice(hub: StandIn, cache: Path) -> None:
    first = download(PLAIN, endpoint=hub.endpoint)
    hub.requests.clear()
    assert download_size(PLAIN, hub.endpoint).missing_bytes == 0
    assert download(PLAIN, endpoint=hub.endpoint) == first
    assert fetched(hub) == []


def test_a_newer_version_takes_the_older_ones_place(hub: StandIn, cache: Path) -> None:
    download(PLAIN, endpoint=hub.endpoint)
    repository = hub.repositories[PLAIN]
    repository.commit = "99" * 20
    repository.files["config.yaml"] += b"# newer\n"
    hub.requests.clear()
    folder = download(PLAIN, endpoint=hub.endpoint)
    assert downloaded_dictionary(PLAIN) == folder and folder.name == "99" * 20
    assert [path.rpartition("/")[2] for path in fetched(hub)] == ["config.yaml"]


def test_huggingface_hub_finds_what_was_fetched(hub: StandIn, cache: Path) -> None:
    """The layout is the library's own: its look-up without the network gives the same files."""
    folder = download(PLAIN, endpoint=hub.endpoint)
    found = huggingface_hub.hf_hub_download(PLAIN, WEIGHTS, cache_dir=cache, local_files_only=True)
    assert Path(found) == folder / WEIGHTS
    scanned = huggingface_hub.scan_cache_dir(cache)
    assert [repository.repo_id for repository in scanned.repos] == [PLAIN] and not scanned.warnings


def test_the_stand_in_speaks_the_protocol(hub: StandIn, cache: Path, tmp_path: Path) -> None:
    """huggingface_hub's own client downloads from the stand-in, and we take over what it fetched."""
    code = (
        "import sys, huggingface_hub as h;"
        f"print(h.snapshot_download('{PLAIN}', cache_dir=sys.argv[1], allow_patterns=['*.yaml', 'layer_*']))"
    )
    environment = {
        **os.environ, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, str(cache)], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert downloaded_dictionary(PLAIN) == Path(done.stdout.strip())
    hub.requests.clear()
    assert download(PLAIN, endpoint=hub.endpoint) == Path(done.stdout.strip())
    assert fetched(hub) == []


# Broken off and continued


def test_a_cut_connection_is_continued_where_it_broke(hub: StandIn, cache: Path) -> None:
    hub.faults.cut_after = [10**6, 1000, 500]  # the config whole, then two cuts in the first layer
    folder = download(PLAIN, endpoint=hub.endpoint)
    assert (folder / "layer_0.safetensors").read_bytes() == hub.repositories[PLAIN].files["layer_0.safetensors"]
    ranges = [headers.get("Range") for headers in hub.asked_for("layer_0.safetensors")]
    assert ranges == [None, "bytes=1000-", "bytes=1500-"]


def test_a_connection_that_breaks_often_but_brings_something_is_not_given_up(hub: StandIn, cache: Path) -> None:
    hub.faults.cut_after = [10**6, *[600] * 12]
    assert download(PLAIN, endpoint=hub.endpoint)
    assert len(hub.asked_for("layer_0.safetensors")) == 13


def test_a_stopped_download_goes_on_from_there(hub: StandIn, cache: Path) -> None:
    hub.faults.cut_after = [10**6, *[0] * 3, 700, *[0] * 5]
    with pytest.raises(MachineError, match="goes on where it stopped"):
        download(PLAIN, endpoint=hub.endpoint)
    assert downloaded_dictionary(PLAIN) is None
    assert [path.stat().st_size for path in incomplete(cache)] == [700]
    config = hub.repositories[PLAIN].files["config.yaml"]
    assert find_published(PLAIN).partial_bytes == 700 + len(config)
    size = download_size(PLAIN, hub.endpoint)
    assert size.total_bytes - size.missing_bytes == 700 + len(config)
    hub.faults.cut_after, _ = [], hub.requests.clear()
    seen: list[float] = []
    folder = download(PLAIN, lambda _, fraction: seen.append(fraction), endpoint=hub.endpoint)
    assert hub.asked_for("layer_0.safetensors")[0]["Range"] == "bytes=700-"
    assert hub.asked_for("config.yaml") == []
    assert (folder / "layer_0.safetensors").read_bytes() == hub.repositories[PLAIN].files["layer_0.safetensors"]
    assert find_published(PLAIN).partial_bytes == 0
    assert incomplete(cache) == []


def test_a_hub_that_cannot_continue_sends_all_of_it_again(hub: StandIn, cache: Path) -> None:
    hub.faults.cut_after, hub.faults.ignore_range = [10**6, 900], True
    folder = download(PLAIN, endpoint=hub.endpoint)
    assert (folder / "layer_0.safetensors").read_bytes() == hub.repositories[PLAIN].files["layer_0.safetensors"]


@pytest.mark.parametrize("held_bytes", [0, 300])
def test_a_cancel_is_obeyed_at_once_and_keeps_what_came(hub: StandIn, cache: Path, held_bytes: int) -> None:
    """The hub goes silent in the middle, for much longer than the user waits."""
    hub.faults.hold, hub.faults.held_bytes = threading.Event(), held_bytes
    hub.repositories[PLAIN].files["config.yaml"] += b"#" * 1000
    total = download_size(PLAIN, hub.endpoint).total_bytes
    cancel, started = threading.Event(), time.monotonic()

    def progress(stage: str, fraction: float) -> None:
        if "config" in stage and round(fraction * total) == held_bytes:
            threading.Timer(0.2, cancel.set).start()

    with pytest.raises(Cancelled):
        download(PLAIN, progress, cancel, endpoint=hub.endpoint)
    assert time.monotonic() - started < HOLD_SECONDS / 2
    assert [path.stat().st_size for path in incomplete(cache)] == [held_bytes]
    assert downloaded_dictionary(PLAIN) is None
    assert not any("snapshots" in path.parts for path in cache.rglob("*"))
    # The connection was let go, not left to the hub.
    for thread in [one for one in threading.enumerate() if one.name == "download"]:
        thread.join(HOLD_SECONDS / 4)
        assert not thread.is_alive()
    hub.faults.hold.set()
    folder = download(PLAIN, endpoint=hub.endpoint)
    assert (folder / "config.yaml").read_bytes() == hub.repositories[PLAIN].files["config.yaml"]


def test_a_cancel_while_the_hub_does_not_even_answer(cache: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        cancel, started = threading.Event(), time.monotonic()
        threading.Timer(0.2, cancel.set).start()
        with pytest.raises(Cancelled):
            download_size(PLAIN, f"http://127.0.0.1:{deaf.getsockname()[1]}", cancel=cancel)
        assert time.monotonic() - started < hub_client.SILENCE_SECONDS / 2


def test_a_dead_program_leaves_a_download_that_goes_on(hub: StandIn, cache: Path, tmp_path: Path) -> None:
    """Killed in the middle, as by a power cut: the lock is free again and the bytes count."""
    name = "layer_0.safetensors"
    content = hub.repositories[PLAIN].files[name]
    partial = hub_store.partial(PLAIN, hashlib.sha256(content).hexdigest())
    partial.parent.mkdir(parents=True)
    partial.write_bytes(content[:1234])
    folder = download(PLAIN, endpoint=hub.endpoint)
    assert (folder / name).read_bytes() == content
    assert hub.asked_for(name)[0]["Range"] == "bytes=1234-"


def test_two_downloads_at_once_fetch_each_content_once(hub: StandIn, cache: Path) -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(download(PLAIN, endpoint=hub.endpoint))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] == downloaded_dictionary(PLAIN)
    assert len(fetched(hub)) == 1 + LAYERS


# Damaged and hostile


def test_a_content_that_differs_from_its_checksum_is_thrown_away(hub: StandIn, cache: Path) -> None:
    repository = hub.repositories[PLAIN]
    size = len(repository.files[WEIGHTS])
    repository.listed = {WEIGHTS: {"lfs": {"sha256": "0" * 64, "size": size, "pointerSize": 1}}}
    with pytest.raises(RequestError, match="checksum differs"):
        download(PLAIN, endpoint=hub.endpoint)
    assert incomplete(cache) == []
    assert downloaded_dictionary(PLAIN) is None
    repository.listed = {}
    assert download(PLAIN, endpoint=hub.endpoint)


def test_a_damaged_part_is_thrown_away_and_fetched_anew(hub: StandIn, cache: Path) -> None:
    content = hub.repositories[PLAIN].files[WEIGHTS]
    partial = hub_store.partial(PLAIN, hashlib.sha256(content).hexdigest())
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"?" * 1000)
    with pytest.raises(RequestError, match="checksum differs"):
        download(PLAIN, endpoint=hub.endpoint)
    folder = download(PLAIN, endpoint=hub.endpoint)
    assert (folder / WEIGHTS).read_bytes() == content


def test_a_hub_that_sends_more_than_it_lists_is_stopped(hub: StandIn, cache: Path) -> None:
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
def test_a_files_name_never_leaves_the_folder(hub: StandIn, cache: Path, tmp_path: Path, name: str) -> None:
    hub.repositories[MODEL].files[name] = b"evil" * 100
    before = {path for path in tmp_path.rglob("*") if cache not in path.parents and path != cache}
    if name.startswith("model-") and "/" not in name:  # fits a pattern of what is fetched
        with pytest.raises(RequestError, match="no safe name"):
            download(MODEL, endpoint=hub.endpoint)
        assert not cache.exists()
    else:
        folder = download(MODEL, endpoint=hub.endpoint)
        assert {path.name for path in folder.iterdir()} == WANTED
    after = {path for path in tmp_path.rglob("*") if cache not in path.parents and path != cache}
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
def test_a_config_names_only_files_of_its_own_dictionary(hub: StandIn, cache: Path, address: object) -> None:
    others = hub.repositories["other/weights"]
    others.files |= {"../../x.npz": b"x" * 300, "x.pt": b"x" * 300}
    hub.repositories["evil/weights"] = others
    hub.repositories[JOINED].files["config.yaml"] = json.dumps({"transcoders": [address]}).encode()
    with pytest.raises(RequestError):
        download(JOINED, endpoint=hub.endpoint)
    assert not cache.exists()


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
        (b"transcoders: [" + b"a, " * 1001 + b"a]", "cannot be read"),
    ],
)
def test_a_config_without_files(hub: StandIn, cache: Path, config: bytes, words: str) -> None:
    hub.repositories[JOINED].files["config.yaml"] = config
    with pytest.raises(RequestError, match=words):
        download(JOINED, endpoint=hub.endpoint)
    assert not cache.exists()


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
def test_what_is_no_hub_is_said_so(cache: Path, monkeypatch: pytest.MonkeyPatch, listing: str) -> None:
    with running({}) as server:
        from tests.engine.models.hub_stand_in import _Handler

        def answer(self: _Handler, *_: object) -> None:
            body = listing.encode()
            self._send_head(200, {"Content-Length": str(len(body))})
            self.wfile.write(body)

        monkeypatch.setattr(_Handler, "_api", answer)
        with pytest.raises(MachineError, match="does not speak as a hub does"):
            download(PLAIN, endpoint=server.endpoint)


def test_a_listing_without_an_end(hub: StandIn, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_client, "_LARGEST_LISTING", 100)
    with pytest.raises(MachineError, match="does not speak as a hub does"):
        download(PLAIN, endpoint=hub.endpoint)


def test_a_repository_that_lost_its_files(hub: StandIn, cache: Path) -> None:
    del hub.repositories[PLAIN].files[WEIGHTS]
    with pytest.raises(RequestError, match=f"does not hold {WEIGHTS}"):
        download_size(PLAIN, hub.endpoint)
    del hub.repositories[MODEL].files["model.safetensors"]
    with pytest.raises(RequestError, match="does not hold weights"):
        download_size(MODEL, hub.endpoint)


def test_pickles_are_never_fetched(hub: StandIn, cache: Path) -> None:
    with pytest.raises(RequestError, match="cannot be downloaded: its files are pickles"):
        download(PICKLED, endpoint=hub.endpoint)
    assert hub.requests == []


# Refused


def refused(hub: StandIn, entry: str = PLAIN, **options: Any) -> LoupeError:
    with pytest.raises(LoupeError) as caught:
        download(entry, endpoint=hub.endpoint, **options)
    assert caught.value.sentence.endswith(".") and "\n" not in caught.value.sentence
    return caught.value


def test_terms_that_have_to_be_accepted(hub: StandIn, cache: Path) -> None:
    hub.repositories[PLAIN].gated = True
    error = refused(hub)
    assert "terms that have to be accepted" in error.sentence and "hf auth login" in error.sentence
    assert isinstance(error, RequestError)
    assert download(PLAIN, endpoint=hub.endpoint, token=hub.token)


def test_a_repository_that_is_not_there(hub: StandIn, cache: Path) -> None:
    del hub.repositories[PLAIN]
    assert "There is no repository some/plt" in refused(hub).sentence
    assert "There is no repository some/plt" in refused(hub, token=hub.token).sentence


def test_a_wrong_token(hub: StandIn, cache: Path) -> None:
    error = refused(hub, token="hf_wrong")
    assert "does not know the access token" in error.sentence and error.exit_status == 2
    assert "hf_wrong" not in error.sentence


def test_a_version_that_is_gone(hub: StandIn, cache: Path) -> None:
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
def test_other_refusals(hub: StandIn, cache: Path, status: int, headers: dict[str, str], words: str) -> None:
    hub.faults.statuses = [(status, headers)] * 20
    assert words in refused(hub).sentence


def test_a_hub_that_is_busy_for_a_while(hub: StandIn, cache: Path) -> None:
    hub.faults.statuses = [(429, {"Retry-After": "0"}), (503, {})]
    assert download(PLAIN, endpoint=hub.endpoint)


def test_waiting_for_a_busy_hub_is_cancelled_at_once(hub: StandIn, cache: Path) -> None:
    hub.faults.statuses = [(429, {"Retry-After": "30"})]
    cancel, started = threading.Event(), time.monotonic()
    threading.Timer(0.2, cancel.set).start()
    with pytest.raises(Cancelled):
        download(PLAIN, cancel=cancel, endpoint=hub.endpoint)
    assert time.monotonic() - started < 15


def test_no_network(cache: Path) -> None:
    with running({}) as gone:
        pass
    with pytest.raises(MachineError, match=r"127\.0\.0\.1 cannot be reached") as caught:
        download(PLAIN, endpoint=gone.endpoint)
    assert caught.value.exit_status == 3
    assert not cache.exists()


def test_no_names_on_the_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_address_that_is_none(cache: Path) -> None:
    for address in ("ftp://127.0.0.1", "127.0.0.1:80", "http://"):
        with pytest.raises(RequestError, match="not a hub's address"):
            download(PLAIN, endpoint=address)


def test_an_unknown_id(cache: Path) -> None:
    with pytest.raises(RequestError, match="circuit-loupe models"):
        download("some/other")


# The disk


def test_too_little_room_is_said_before_anything_comes(
    hub: StandIn, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(shutil.disk_usage("/"))(10**9, 10**9, 1000)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage)
    assert download_size(PLAIN, hub.endpoint).free_bytes == 1000
    with pytest.raises(MachineError, match="0.0 GB free and the download needs"):
        download(PLAIN, endpoint=hub.endpoint)
    assert fetched(hub) == [] and not cache.exists()


def test_a_disk_that_fills_up(hub: StandIn, cache: Path, tmp_path: Path) -> None:
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
    assert [path.stat().st_size for path in incomplete(cache)] == [3000]
    folder = download(PLAIN, endpoint=hub.endpoint)
    assert (folder / WEIGHTS).read_bytes() == hub.repositories[PLAIN].files[WEIGHTS]


def test_a_file_in_the_folders_place(hub: StandIn, cache: Path) -> None:
    cache.write_text("not a folder")
    with pytest.raises(MachineError, match="cannot be written"):
        download(PLAIN, endpoint=hub.endpoint)


def test_without_links_files_are_copied(hub: StandIn, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    linked = download(PLAIN, endpoint=hub.endpoint)
    assert not (linked / WEIGHTS).is_symlink() and (linked / WEIGHTS).stat().st_nlink == 2
    monkeypatch.setattr(os, "link", refuse)
    copied = download(NESTED, endpoint=hub.endpoint)
    assert (copied / WEIGHTS).stat().st_nlink == 1
    assert downloaded_dictionary(NESTED) == copied


# Offline, and who learns what


def test_the_rest_of_the_process_stays_offline(hub: StandIn, cache: Path) -> None:
    """While a download runs, huggingface_hub itself still refuses to go anywhere."""
    tried: list[type[BaseException]] = []

    def progress(stage: str, fraction: float) -> None:
        if WEIGHTS in stage and not tried:
            assert huggingface_hub.constants.is_offline_mode()
            try:
                huggingface_hub.HfApi(endpoint=hub.endpoint).model_info(PLAIN)
            except Exception as error:
                tried.append(type(error))

    before = len(hub.requests)
    download(PLAIN, progress, endpoint=hub.endpoint)
    assert [kind.__name__ for kind in tried] == ["OfflineModeIsEnabled"]
    assert len(hub.requests) - before == 2 + LAYERS  # the listing and each file, nothing of the library's own
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_listing_and_loading_never_ask(hub: StandIn, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.models.published import published

    def refuse(*_: object) -> None:
        raise AssertionError("nobody asked for the network")

    download(PLAIN, endpoint=hub.endpoint)
    monkeypatch.setattr(hub_client, "Hub", refuse)
    assert published() and downloaded_dictionary(PLAIN) and find_models() is not None


def test_the_token_goes_to_the_hub_and_not_to_where_it_sends_us(hub: StandIn, cache: Path, tmp_path: Path) -> None:
    with running(hub.repositories) as storage:
        hub.faults.redirect_to = storage.endpoint.replace("127.0.0.1", "localhost")
        download(PLAIN, endpoint=hub.endpoint, token=hub.token)
        assert {headers.get("Authorization") for _, _, headers in hub.requests} == {f"Bearer {hub.token}"}
        assert storage.requests and not any("Authorization" in headers for _, _, headers in storage.requests)


def test_the_users_token_is_for_the_users_hub(
    hub: StandIn, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(hub.token)
    download(MODEL, endpoint=hub.endpoint)
    assert not any("Authorization" in headers for _, _, headers in hub.requests)
    hub.requests.clear()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.endpoint)
    hub.repositories[PLAIN].gated = True
    download(PLAIN)
    assert {headers["Authorization"] for _, _, headers in hub.requests} == {f"Bearer {hub.token}"}
    (tmp_path / "token").write_text("hf_old")
    assert download(NESTED, token=hub.token)  # one that is given goes before the saved one
    (tmp_path / "token").write_bytes(b"\xff")
    with pytest.raises(RequestError, match="saved access token"):
        download(NESTED)
