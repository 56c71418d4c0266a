"""`circuit-loupe models`: the list, the report, and a download as a user meets it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from engine.cli import main
from engine.dictionaries.starter_sets import STARTER_SETS
from engine.models.downloads import downloaded_dictionary
from engine.places import HOME_VARIABLE
from tests.conftest import REPOSITORY
from tests.engine.cli.test_cli import refusal
from tests.engine.models import published_samples as samples
from tests.engine.models.gguf_samples import write_llama
from tests.engine.models.hub_stand_in import StandIn, running
from tests.engine.models.published_samples import MODEL, PICKLED, PLAIN

SHIPPED = [starter.id for starter in STARTER_SETS]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return samples.own_machine(tmp_path, monkeypatch)


@pytest.fixture
def hub(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with running(samples.repositories(tmp_path)) as server:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.endpoint)
        yield server


class Keyboard(io.StringIO):
    """What a user types on a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_list_tells_here_from_published(hub: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--download", PLAIN, "--yes"]) == 0
    capsys.readouterr()
    assert main(["models"]) == 0
    here, published = capsys.readouterr().out.split("\nPublished")
    assert PLAIN in here and "can be opened" in here
    assert f"\n{MODEL}\n" not in here and f"\n{MODEL}\n" in published
    lines = published.splitlines()
    assert lines[lines.index(f"    {PLAIN}") + 1].endswith("; here")
    assert not lines[lines.index(MODEL) + 1].endswith("; here")
    assert "cannot be opened: its files are pickles" in published
    assert "neurons (built in" in here


def test_the_report_has_all_of_it(hub: StandIn, cache: Path, tmp_path: Path) -> None:
    assert main(["models", "--download", PLAIN, "--yes"]) == 0
    assert main(["models", "--report", str(tmp_path / "m.json")]) == 0
    report = json.loads((tmp_path / "m.json").read_text())
    assert set(report) == {"models", "dictionaries", "published"}
    assert report["dictionaries"] == ["neurons", *SHIPPED, PLAIN]
    by_id = {entry["id"]: entry for entry in report["published"]}
    assert by_id[PLAIN]["path"] == str(downloaded_dictionary(PLAIN))
    assert by_id[MODEL]["path"] is None
    assert by_id[PICKLED]["downloadable"] is False and by_id[PICKLED]["obstacle"] == "its files are pickles"
    assert by_id[MODEL]["fits"] == {"float32": True, "bfloat16": True}
    assert by_id[MODEL]["memory_bytes"]["bfloat16"] < by_id[MODEL]["memory_bytes"]["float32"]


def test_a_download_says_its_size_first(hub: StandIn, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--download", MODEL, "--yes"]) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines()[0].startswith(f"{MODEL}: 0 MB in 4 files; ")
    assert Path(captured.out.strip()).parent.name == "snapshots"
    capsys.readouterr()
    assert main(["models"]) == 0
    assert MODEL in capsys.readouterr().out.split("\nPublished")[0]


def test_without_a_terminal_yes_is_needed(
    hub: StandIn, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert main(["models", "--download", PLAIN]) == 2
    error = capsys.readouterr().err
    assert f"{PLAIN}: 0 MB in 3 files" in error and "--yes" in error
    assert not cache.exists()


@pytest.mark.parametrize(
    ("answer", "fetched"), [("y\n", True), ("Yes\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_a_user_on_a_terminal_is_asked(
    hub: StandIn, cache: Path, monkeypatch: pytest.MonkeyPatch, answer: str, fetched: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", Keyboard(answer))
    assert main(["models", "--download", PLAIN]) == 0
    assert (downloaded_dictionary(PLAIN) is not None) == fetched


def test_refusals_are_one_sentence(hub: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    hub.repositories[PLAIN].gated = True
    assert main(["models", "--download", PLAIN, "--yes"]) == 2
    assert "terms that have to be accepted" in refusal(capsys)
    assert main(["models", "--download", PICKLED, "--yes"]) == 2
    assert "pickles" in refusal(capsys)
    assert main(["models", "--download", "no/such", "--yes"]) == 2
    assert "circuit-loupe models" in refusal(capsys)


def test_no_network(cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with running({}) as gone:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", gone.endpoint)
    assert main(["models", "--download", PLAIN, "--yes"]) == 3
    assert "cannot be reached" in refusal(capsys)


def test_ctrl_c_keeps_what_came_and_the_same_command_goes_on(hub: StandIn, cache: Path, tmp_path: Path) -> None:
    """In a process of its own, with the environment alone: nothing lifts the program's being offline."""
    code = (
        "import sys; from pathlib import Path; from engine.models import published;"
        "from tests.engine.models import published_samples as s;"
        "entries = published.read_catalogue(s.RAW); published._catalogue = lambda: entries;"
        "from engine.cli import main; sys.exit(main(['models', '--download', s.PLAIN, '--yes']))"
    )
    environment = {
        **os.environ, "HF_HUB_CACHE": str(cache), "HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "1",
        "CIRCUIT_LOUPE_CACHE": str(tmp_path / "cache"),
    }  # fmt: skip
    command = [sys.executable, "-c", code]
    hub.faults.hold, hub.faults.held_bytes = threading.Event(), 20_000
    child = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=REPOSITORY, env=environment
    )
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("Downloading"):
            break
    while not [path for path in cache.rglob("*.incomplete") if path.stat().st_size >= 8192]:
        threading.Event().wait(0.02)
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    _, error = child.communicate(timeout=30)
    assert child.returncode == 130
    assert "what came is kept" in error and "Traceback" not in error
    hub.faults.hold.set()
    hub.faults.hold = None
    hub.requests.clear()
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == downloaded_dictionary(PLAIN)
    assert "bytes=20000-" in [headers.get("Range") for _, _, headers in hub.requests]


def test_what_was_traced_from_a_path_is_listed(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    path = write_llama(tmp_path / "mine\x1b[31m.gguf", changes={"general.license": "free\x1b]0;x\x07"})
    assert main(["trace", "hello", "--model", str(path), "--max-nodes", "3"]) in (0, 4)
    assert main(["trace", "hello", "--model", str(path), "--features", str(tmp_path / "none")]) == 2
    capsys.readouterr()
    assert main(["models", "--report", str(tmp_path / "r.json")]) == 0
    here = capsys.readouterr().out.split("\nPublished")[0]
    assert "mine␛[31m (Llama)" in here
    assert "\x1b" not in here
    report = json.loads((tmp_path / "r.json").read_text())
    assert [entry["kind"] for entry in report["models"] if entry["path"] == str(path)] == ["gguf"]
    assert report["dictionaries"] == ["neurons", *SHIPPED]


@pytest.mark.parametrize("words", [["--yes"], ["--download", PLAIN, "--report", "r.json"], ["--download", ""]])
def test_words_that_do_not_go_together_are_refused(
    cache: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["models", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
