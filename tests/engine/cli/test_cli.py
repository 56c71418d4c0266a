"""The command line as scripts rely on it: outputs, exit codes, one sentence for every refusal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.cli import main
from engine.projects import Asked, Project
from tests.conftest import REPOSITORY

PROMPT = "The capital of Texas is"


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence of a refusal; progress lines before it are not part of it."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("circuit-loupe: ")]
    assert len(lines) == 1
    sentence = lines[0].removeprefix("circuit-loupe: ")
    assert sentence.endswith(".")
    assert "Traceback" not in sentence
    return sentence


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, smollm: object) -> Path:
    """A folder with every output of one trace."""
    folder = tmp_path_factory.mktemp("traced")
    outputs = {"arrays": "a.npz", "report": "r.json", "json": "g.json", "project": "p.loupe", "image": "g.svg"}
    asked = [word for flag, name in outputs.items() for word in (f"--{flag}", str(folder / name))]
    status = main(["trace", PROMPT, "--max-nodes", "120", "--no-cache", *asked])
    assert status == 0
    return folder


def test_the_report_says_austin_and_conserves(traced: Path) -> None:
    report = json.loads((traced / "r.json").read_text(encoding="utf-8"))
    assert report["top_tokens"][0]["token"] == " Austin"
    assert report["conservation_error"] < 1e-4
    keys = "top_tokens nodes edges replacement completeness conservation_error unexplored seconds settings versions"
    assert set(keys.split()) <= set(report)
    assert report["settings"]["max_nodes"] == 120


def test_the_arrays_sum_to_the_values(traced: Path) -> None:
    """Conservation once more, from the file alone."""
    report = json.loads((traced / "r.json").read_text(encoding="utf-8"))
    with np.load(traced / "a.npz", allow_pickle=False) as arrays:
        count, kinds = len(arrays["kind"]), list(arrays["kind_names"])
        assert (count, len(arrays["source"])) == (report["nodes"], report["edges"])
        summed = np.bincount(arrays["target"], arrays["weight"].astype(float), minlength=count)[arrays["traced"]]
        size = np.bincount(arrays["target"], np.abs(arrays["weight"]).astype(float), minlength=count)[arrays["traced"]]
        value = arrays["value"].astype(float)
        scale = np.maximum(np.abs(value), 1e-3 * (size + arrays["rest_absolute"]))
        assert (np.abs(summed + arrays["rest"] - value) / scale).max() < 1e-4
        is_neuron = arrays["kind"][arrays["traced"]] == kinds.index("feature")
        activation = arrays["activation"][arrays["traced"]]
        assert np.allclose(value[is_neuron], activation[is_neuron], rtol=1e-3, atol=1e-5)
        assert arrays["tokens"][0] == "<|im_start|>"
        assert (arrays["layer"][arrays["kind"] == kinds.index("logit")] == 30).all()
        assert (arrays["layer"][arrays["kind"] == kinds.index("embedding")] == -1).all()


def test_the_project_holds_the_trace(traced: Path) -> None:
    with Project.open(traced / "p.loupe") as project:
        (row,) = project.traces()
        graph = project.load_graph(row.id)
        assert graph.tokens[1:] == ("The", " capital", " of", " Texas", " is")
        assert project.report(row.id)["top_tokens"][0]["token"] == " Austin"


def test_the_picture_and_the_json_are_there(traced: Path) -> None:
    assert (traced / "g.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")
    assert json.loads((traced / "g.json").read_text(encoding="utf-8"))["nodes"]


def test_progress_is_on_stderr_and_the_result_on_stdout(capsys: pytest.CaptureFixture[str], smollm: object) -> None:
    assert main(["trace", PROMPT, "--max-nodes", "5", "--no-cache"]) == 0
    out, err = capsys.readouterr()
    assert "Austin" in out
    assert "conservation error" in out
    assert "Tracing" in err
    assert "Tracing" not in out


def test_a_trace_is_recalled_and_can_be_made_again(capsys: pytest.CaptureFixture[str], smollm: object) -> None:
    asked = ["trace", PROMPT, "--max-nodes", "6"]
    assert main(asked) == 0
    capsys.readouterr()
    assert main(asked) == 0
    assert "recalled" in capsys.readouterr().out
    assert main([*asked, "--no-cache"]) == 0
    assert "recalled" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([""], 2, "empty"),
        ([PROMPT, "--target", " Austin Texas"], 2, "exactly one"),
        ([PROMPT, "--position", "40"], 2, "0 to 5"),
        ([PROMPT, "--model", "/nowhere/model"], 2, "No model"),
        ([PROMPT, "--features", "/nowhere"], 2, "no dictionary"),
        ([PROMPT, "--max-nodes", "0"], 2, "above 0"),
        ([PROMPT, "--edge-mass", "2"], 2, "share"),
        ([PROMPT, "--image", "graph.bmp"], 2, r".pdf or .png"),
        ([PROMPT, "--arrays", "/nowhere/a.npz"], 2, "no folder"),
        ([PROMPT, "--direction", "/nowhere.npy"], 2, "no file"),
        ([PROMPT, "--nodes", "/nowhere.csv"], 2, "no file"),
        ([PROMPT, "--unknown-flag"], 2, "Unrecognized arguments"),
        ([PROMPT, "--device", "cuda"], 3, "GPU|CUDA|cuda"),
    ],
)
def test_refusals(
    arguments: list[str], status: int, says: str, capsys: pytest.CaptureFixture[str], smollm: object
) -> None:
    import re

    assert main(["trace", *arguments]) == status
    assert re.search(says, refusal(capsys))


def test_files_that_are_not_what_they_should_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], smollm: object
) -> None:
    text = tmp_path / "text.loupe"
    text.write_text("hello")
    assert main(["trace", PROMPT, "--project", str(text)]) == 2
    assert "text.loupe" in refusal(capsys)
    assert text.read_text() == "hello"
    for name, content in [("d.json", '["a"]'), ("d.npy", "no"), ("e.json", "[]")]:
        (tmp_path / name).write_text(content)
        assert main(["trace", PROMPT, "--direction", str(tmp_path / name)]) == 2
        refusal(capsys)
    (tmp_path / "n.csv").write_text("layer,position,feature\n1,2\n")
    assert main(["trace", PROMPT, "--nodes", str(tmp_path / "n.csv")]) == 2
    assert "layer, position, feature" in refusal(capsys)
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\x03\x00\x00\x00")
    assert main(["trace", PROMPT, "--model", str(tmp_path / "cut.gguf")]) == 2
    assert "cut.gguf" in refusal(capsys)


def test_a_list_of_nodes(tmp_path: Path, smollm: object) -> None:
    (tmp_path / "n.csv").write_text("layer,position,feature\n3,2,17\n20,5,100\n")
    arrays = tmp_path / "a.npz"
    assert main(["trace", PROMPT, "--nodes", str(tmp_path / "n.csv"), "--arrays", str(arrays)]) == 0
    with np.load(arrays, allow_pickle=False) as found:
        features = found["kind"] == 0
        triples = zip(found["layer"][features], found["position"][features], found["feature"][features], strict=True)
        assert {tuple(map(int, one)) for one in triples} == {(3, 2, 17), (20, 5, 100)}


def test_models_lists_the_starters(tmp_path: Path, capsys: pytest.CaptureFixture[str], smollm: object) -> None:
    assert main(["models", "--report", str(tmp_path / "m.json")]) == 0
    assert "SmolLM2-135M-Instruct" in capsys.readouterr().out
    listed = json.loads((tmp_path / "m.json").read_text())["models"]
    assert {"SmolLM2-135M-Instruct", "Gemma-3-270m"} <= {model["id"] for model in listed}


def test_a_full_disk(tmp_path: Path, smollm: object) -> None:
    """With a limit on file sizes every write fails as on a full disk: a sentence, and no half-written file."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "from engine.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    path = tmp_path / "a.npz"
    done = subprocess.run(
        [sys.executable, "-c", code, "trace", PROMPT, "--max-nodes", "5", "--no-cache", "--arrays", str(path)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=120,
    )
    assert done.returncode == 3, done.stderr
    assert "disk is full" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_project_that_goes_while_it_is_traced_costs_no_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], smollm: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, add = tmp_path / "gone.loupe", Project.add_trace

    def add_too_late(project: Project, *arguments: Any, **named: Any) -> int:
        path.unlink()
        return add(project, *arguments, **named)

    command = ["trace", PROMPT, "--max-nodes", "7"]
    with monkeypatch.context() as patch:
        patch.setattr(Project, "add_trace", add_too_late)
        assert main([*command, "--project", str(path)]) == 2
    sentence = refusal(capsys)
    assert sentence.startswith("gone.loupe was deleted, moved or replaced by another program;")
    assert sentence.endswith("the same command with another --project has it at once.")
    assert main([*command, "--project", str(tmp_path / "other.loupe")]) == 0
    assert "(recalled;" in capsys.readouterr().out
    with Project.open(tmp_path / "other.loupe") as project:
        assert len(project.traces()) == 1


def test_ctrl_c_stops_a_trace_and_writes_nothing(tmp_path: Path, smollm: object) -> None:
    long = " ".join(["word"] * 220)
    child = subprocess.Popen(
        [sys.executable, "-m", "engine", "trace", long, "--no-cache", "--arrays", str(tmp_path / "a.npz")],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("Tracing"):
            break
    child.send_signal(signal.SIGINT)
    started = time.monotonic()
    _, err = child.communicate(timeout=120)
    assert child.returncode == 130
    assert "Interrupted" in err
    assert time.monotonic() - started < 60
    assert not (tmp_path / "a.npz").exists()


def test_the_engine_alone_loads_no_window(smollm: object) -> None:
    """The same command without Qt: nothing of it may be imported."""
    code = (
        "import sys; from engine.cli import main;"
        "status = main(['trace', 'The capital of Texas is', '--max-nodes', '5']);"
        "loaded = [name for name in sys.modules if name.split('.')[0] in ('PySide6', 'pyqtgraph', 'app')];"
        "sys.exit(status or len(loaded))"
    )
    environment = {**os.environ, "DISPLAY": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=REPOSITORY, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_a_fault_of_ours_is_one_sentence_and_a_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import platformdirs

    def broken(*args: object, **kwargs: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(platformdirs, "user_log_path", lambda *args, **kwargs: tmp_path)
    monkeypatch.setattr("engine.models.find_models", broken, raising=False)
    assert main(["models"]) == 1
    assert str(tmp_path) in refusal(capsys)
    assert "a bug" in (tmp_path / "command-line.log").read_text()


def test_a_kept_trace_is_run_again(traced: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    project, report = traced / "p.loupe", tmp_path / "again.json"
    before = project.read_bytes()
    assert main(["rerun", str(project), "--trace", "1", "--report", str(report)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("The graph is the same")
    assert "nothing it depends on" in out
    said = json.loads(report.read_text(encoding="utf-8"))
    assert (said["same"], said["only_first"], said["edges_beyond"], said["differences"]) == (True, 0, 0, [])
    assert project.read_bytes() == before, "nothing is written to the project"
    assert main(["rerun", str(project), "--trace", "9"]) == 2
    assert refusal(capsys).startswith("The project has no trace 9")
    assert main(["rerun", str(project), "--trace", "1", "--report", str(tmp_path / "none" / "a.json")]) == 2
    assert refusal(capsys).startswith("There is no folder")


def test_a_trace_that_is_not_the_same_ends_with_4(
    traced: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    copy = tmp_path / "other.loupe"
    with Project.open(traced / "p.loupe", read_only=True) as project:
        project.save_copy(copy)
        asked = project.asked(1)
    with Project.open(copy) as project:
        other = Asked(replace(asked.spec, max_nodes=100), asked.features)
        report, graph = project.report(1), project.load_graph(1)
        number = project.add_trace({**report, "versions": {"torch": "1.0"}}, graph, title="other", asked=other)
    assert main(["rerun", str(copy), "--trace", str(number)]) == 4
    out = capsys.readouterr().out
    assert out.startswith("The graph is not the same: ")
    assert "Changed:  version of torch: 1.0 -> " in out


def test_a_project_that_is_open_elsewhere_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "taken.loupe"
    Project.create(path).close()
    command = (
        "import sys; from engine.projects import Project; p = Project.open(sys.argv[1]); print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", command, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        assert main(["trace", PROMPT, "--model", "/none", "--project", str(path)]) == 2
        sentence = refusal(capsys)
        holder.communicate(b"\n")
    assert sentence.startswith(f"This project is open in another program (process {holder.pid} on ")
