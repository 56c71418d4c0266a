"""Downloads against a hub on this machine: whole, continued, stopped; the rest of the process stays offline."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest

from engine.dictionaries import load_features
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.errors import Cancelled, MachineError, RequestError
from engine.models import find_models, hub_client, hub_store, load_model
from engine.models.downloads import download, download_size, downloaded_dictionary
from engine.models.published import find_published
from tests.engine.models.gguf_samples import LAYERS, WIDTH
from tests.engine.models.hub_stand_in import HOLD_SECONDS, StandIn, running
from tests.engine.models.published_samples import JOINED, LOOSE, MODEL, NESTED, PLAIN, incomplete, left_over

WEIGHTS = "layer_1.safetensors"
WANTED = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


# Whole


def test_a_model_is_brought_and_then_found_and_loaded(hub: StandIn, hub_cache: Path) -> None:
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
    assert incomplete(hub_cache) == left_over(hub_cache) == []


def test_only_what_is_needed_is_asked_for(hub: StandIn, hub_cache: Path) -> None:
    hub.repositories[MODEL].files["model-1-of-1.safetensors/more.json"] = b"not this one"
    download(MODEL, endpoint=hub.endpoint)
    download(NESTED, endpoint=hub.endpoint)
    names = {path.partition("/resolve/")[2].partition("/")[2] for path in hub.fetched()}
    assert names == {
        *WANTED, "sets/small/config.yaml",
        *(f"sets/small/layer_{layer}.safetensors" for layer in range(LAYERS)),
    }  # fmt: skip


def test_a_dictionary_is_brought_and_then_opened(hub: StandIn, hub_cache: Path) -> None:
    assert downloaded_dictionary(PLAIN) is None
    folder = download(PLAIN, endpoint=hub.endpoint)
    assert downloaded_dictionary(PLAIN) == folder
    download(MODEL, endpoint=hub.endpoint)
    model = load_model(MODEL, device="cpu")
    assert load_features(folder, model, trust=True)


def test_one_of_several_dictionaries_of_a_repository(hub: StandIn, hub_cache: Path) -> None:
    folder = download(NESTED, endpoint=hub.endpoint)
    assert downloaded_dictionary(NESTED) == folder
    assert folder.parts[-2:] == ("sets", "small")
    assert not (folder.parent / "large").exists()


def test_a_dictionary_whose_config_names_files_elsewhere(hub: StandIn, hub_cache: Path) -> None:
    size = download_size(JOINED, hub.endpoint)
    assert size.files == 1 + LAYERS
    folder = download(JOINED, endpoint=hub.endpoint)
    assert downloaded_dictionary(JOINED) == folder
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.npz")) == [
        f"layer_{layer}/w/l0_{layer}/params.npz" for layer in range(LAYERS)
    ]
    assert (folder / "layer_1/w/l0_1/params.npz").read_bytes() == bytes([1]) * 5000
    shutil.rmtree(hub_cache / "models--other--weights")
    assert downloaded_dictionary(JOINED) is None


def test_gemma_scopes_files_are_opened_where_they_are_put_together(hub: StandIn, hub_cache: Path) -> None:
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


def test_a_dictionary_whose_files_are_not_known_by_name(hub: StandIn, hub_cache: Path) -> None:
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


def test_nothing_is_fetched_twice(hub: StandIn, hub_cache: Path) -> None:
    first = download(PLAIN, endpoint=hub.endpoint)
    hub.requests.clear()
    assert download_size(PLAIN, hub.endpoint).missing_bytes == 0
    assert download(PLAIN, endpoint=hub.endpoint) == first
    assert hub.fetched() == []


def test_a_newer_version_takes_the_older_ones_place(hub: StandIn, hub_cache: Path) -> None:
    download(PLAIN, endpoint=hub.endpoint)
    repository = hub.repositories[PLAIN]
    repository.commit = "99" * 20
    repository.files["config.yaml"] += b"# newer\n"
    hub.requests.clear()
    folder = download(PLAIN, endpoint=hub.endpoint)
    assert downloaded_dictionary(PLAIN) == folder and folder.name == "99" * 20
    assert [path.rpartition("/")[2] for path in hub.fetched()] == ["config.yaml"]


def test_huggingface_hub_finds_what_was_fetched(hub: StandIn, hub_cache: Path) -> None:
    """The layout is the library's own: its look-up without the network gives the same files."""
    folder = download(PLAIN, endpoint=hub.endpoint)
    found = huggingface_hub.hf_hub_download(PLAIN, WEIGHTS, cache_dir=hub_cache, local_files_only=True)
    assert Path(found) == folder / WEIGHTS
    scanned = huggingface_hub.scan_cache_dir(hub_cache)
    assert [repository.repo_id for repository in scanned.repos] == [PLAIN] and not scanned.warnings


def test_the_stand_in_speaks_the_protocol(hub: StandIn, hub_cache: Path, tmp_path: Path) -> None:
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
        [sys.executable, "-c", code, str(hub_cache)], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert downloaded_dictionary(PLAIN) == Path(done.stdout.strip())
    hub.requests.clear()
    assert download(PLAIN, endpoint=hub.endpoint) == Path(done.stdout.strip())
    assert hub.fetched() == []


# Broken off and continued


def test_a_cut_connection_is_continued_where_it_broke(hub: StandIn, hub_cache: Path) -> None:
    hub.faults.cut_after = [10**6, 1000, 500]  # the config whole, then two cuts in the first layer
    folder = download(PLAIN, endpoint=hub.endpoint)
    assert (folder / "layer_0.safetensors").read_bytes() == hub.repositories[PLAIN].files["layer_0.safetensors"]
    ranges = [headers.get("Range") for headers in hub.asked_for("layer_0.safetensors")]
    assert ranges == [None, "bytes=1000-", "bytes=1500-"]


def test_a_connection_that_breaks_often_but_brings_something_is_not_given_up(hub: StandIn, hub_cache: Path) -> None:
    hub.faults.cut_after = [10**6, *[600] * 12]
    assert download(PLAIN, endpoint=hub.endpoint)
    assert len(hub.asked_for("layer_0.safetensors")) == 13


def test_a_stopped_download_goes_on_from_there(hub: StandIn, hub_cache: Path) -> None:
    hub.faults.cut_after = [10**6, *[0] * 3, 700, *[0] * 5]
    with pytest.raises(MachineError, match="goes on where it stopped"):
        download(PLAIN, endpoint=hub.endpoint)
    assert downloaded_dictionary(PLAIN) is None
    assert [path.stat().st_size for path in incomplete(hub_cache)] == [700]
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
    assert incomplete(hub_cache) == []


def test_a_hub_that_cannot_continue_sends_all_of_it_again(hub: StandIn, hub_cache: Path) -> None:
    hub.faults.cut_after, hub.faults.ignore_range = [10**6, 900], True
    folder = download(PLAIN, endpoint=hub.endpoint)
    assert (folder / "layer_0.safetensors").read_bytes() == hub.repositories[PLAIN].files["layer_0.safetensors"]


@pytest.mark.parametrize("held_bytes", [0, 300])
def test_a_cancel_is_obeyed_at_once_and_keeps_what_came(hub: StandIn, hub_cache: Path, held_bytes: int) -> None:
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
    assert [path.stat().st_size for path in incomplete(hub_cache)] == [held_bytes]
    assert downloaded_dictionary(PLAIN) is None
    assert not any("snapshots" in path.parts for path in hub_cache.rglob("*"))
    # The connection was let go, not left to the hub.
    for thread in [one for one in threading.enumerate() if one.name == "download"]:
        thread.join(HOLD_SECONDS / 4)
        assert not thread.is_alive()
    hub.faults.hold.set()
    folder = download(PLAIN, endpoint=hub.endpoint)
    assert (folder / "config.yaml").read_bytes() == hub.repositories[PLAIN].files["config.yaml"]


def test_a_cancel_while_the_hub_does_not_even_answer(hub_cache: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        cancel, started = threading.Event(), time.monotonic()
        threading.Timer(0.2, cancel.set).start()
        with pytest.raises(Cancelled):
            download_size(PLAIN, f"http://127.0.0.1:{deaf.getsockname()[1]}", cancel=cancel)
        assert time.monotonic() - started < hub_client.SILENCE_SECONDS / 2


def test_a_dead_program_leaves_a_download_that_goes_on(hub: StandIn, hub_cache: Path, tmp_path: Path) -> None:
    """Killed in the middle, as by a power cut: the lock is free again and the bytes count."""
    name = "layer_0.safetensors"
    content = hub.repositories[PLAIN].files[name]
    partial = hub_store.partial(PLAIN, hashlib.sha256(content).hexdigest())
    partial.parent.mkdir(parents=True)
    partial.write_bytes(content[:1234])
    folder = download(PLAIN, endpoint=hub.endpoint)
    assert (folder / name).read_bytes() == content
    assert hub.asked_for(name)[0]["Range"] == "bytes=1234-"


def test_two_downloads_at_once_fetch_each_content_once(hub: StandIn, hub_cache: Path) -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(download(PLAIN, endpoint=hub.endpoint))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] == downloaded_dictionary(PLAIN)
    assert len(hub.fetched()) == 1 + LAYERS


# Offline, and who learns what


def test_the_rest_of_the_process_stays_offline(hub: StandIn, hub_cache: Path) -> None:
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


def test_listing_and_loading_never_ask(hub: StandIn, hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.models.published import published

    def refuse(*_: object) -> None:
        raise AssertionError("nobody asked for the network")

    download(PLAIN, endpoint=hub.endpoint)
    monkeypatch.setattr(hub_client, "Hub", refuse)
    assert published() and downloaded_dictionary(PLAIN) and find_models() is not None


def test_the_token_goes_to_the_hub_and_not_to_where_it_sends_us(hub: StandIn, hub_cache: Path, tmp_path: Path) -> None:
    with running(hub.repositories) as storage:
        hub.faults.redirect_to = storage.endpoint.replace("127.0.0.1", "localhost")
        download(PLAIN, endpoint=hub.endpoint, token=hub.token)
        assert {headers.get("Authorization") for _, _, headers in hub.requests} == {f"Bearer {hub.token}"}
        assert storage.requests and not any("Authorization" in headers for _, _, headers in storage.requests)


def test_the_users_token_is_for_the_users_hub(
    hub: StandIn, hub_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
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
