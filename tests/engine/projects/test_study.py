"""Many prompts into one project: read from a file, killed midway, gone on with, and merged."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from engine.cli import main
from engine.errors import RequestError
from engine.interventions.statistics import bootstrap_interval, mean_intervals, share_interval
from engine.projects import Project
from engine.projects.shared import find_shared
from engine.projects.study import ListedPrompt, already_there, in_turn, read_prompts, study
from engine.tracing.spec import Prompt, Target, TraceSpec

ROOT = Path(__file__).parent.parent.parent.parent
PROMPTS = ("The capital of Texas is", "The capital of France is", "The capital of Japan is")
FEW = ("--max-nodes", "40")


def test_lists_are_text_or_tables(tmp_path: Path) -> None:
    text, table = tmp_path / "list.txt", tmp_path / "list.csv"
    text.write_bytes("\ufeffOne, two\r\n\r\nsecond\\nline\nOne, two\npage\x0c and\u2028line\n".encode())
    assert read_prompts(text) == [
        ListedPrompt("One, two"),
        ListedPrompt("second\nline"),
        ListedPrompt("page\x0c and\u2028line"),
    ]
    table.write_text(
        'target,prompt,against\n" Austin","In ""Texas"",\nthe capital is"," Dallas"\n,plain,\n', encoding="utf-8"
    )
    assert read_prompts(table) == [
        ListedPrompt('In "Texas",\nthe capital is', " Austin", " Dallas"),
        ListedPrompt("plain"),
    ]
    like = TraceSpec(Prompt("", bos=False), Target(top_logits=3), max_nodes=7)
    spec = read_prompts(table)[0].spec(like)
    assert (spec.prompt.bos, spec.max_nodes, spec.target.top_logits) == (False, 7, 3)
    assert (spec.target.token, spec.target.against) == (" Austin", " Dallas")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", b"\n \n", "holds no prompt"),
        ("a.txt", b"\xff\xfe\x00", "cannot be read as text"),
        ("a.csv", b"text\nhello\n", "no column `prompt`"),
        ("a.csv", b"prompt,against\nhello, Dallas\n", "no `target`"),
        ("a.csv", b'prompt\n"open', "not a CSV table"),
    ],
)
def test_lists_that_are_none(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestError, match=says):
        read_prompts(tmp_path / name)
    with pytest.raises(RequestError, match="cannot be read"):
        read_prompts(tmp_path / "missing.txt")


def test_a_killed_run_goes_on_where_it_stopped_and_what_is_shared_is_merged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], smollm: object
) -> None:
    prompts, project, report = tmp_path / "prompts.txt", tmp_path / "study.loupe", tmp_path / "report.json"
    prompts.write_text("\n".join((*PROMPTS, "word " * 40 + "is")), encoding="utf-8")
    command = ["trace", "--prompts", str(prompts), "--project", str(project), *FEW]
    child = subprocess.Popen([sys.executable, "-m", "engine", *command], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while time.monotonic() < end and not _traces(project):
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    there = _traces(project)
    assert 1 <= len(there) < 4, "killed too late to show anything" if there else "nothing was traced"

    assert main([*command, "--report", str(report)]) == 0
    found = json.loads(report.read_text())
    assert found["there"] == there
    assert len(found["traced"]) == 4 - len(there)
    assert found["refused"] == []
    printed = capsys.readouterr().out
    assert f"4: {4 - len(there)} traced, {len(there)} there already, 0 refused" in printed
    assert main(command) == 0
    assert "0 traced, 4 there already" in capsys.readouterr().out

    table = tmp_path / "shared.csv"
    assert main(["shared", str(project), "--out", str(table), "--least", "4"]) == 0
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert rows
    assert f"{len(rows):,} features are in 4 or more of 4 traces" in capsys.readouterr().out
    _check_against_the_graphs(project, rows[0])


def _traces(path: Path) -> list[int]:
    if not path.is_file():
        return []
    try:
        with Project.open(path, read_only=True) as project:
            return [row.id for row in project.traces()]
    except RequestError:
        return []  # it is just being made


def _check_against_the_graphs(path: Path, row: dict[str, str]) -> None:
    """Frequency and mean by hand, from each graph's columns."""
    layer, feature, shares = int(row["layer"]), int(row["feature"]), []
    with Project.open(path, read_only=True) as project:
        for trace in project.traces():
            graph = project.load_graph(trace.id)
            own = (graph.kind == 0) & (graph.layer == layer) & (graph.feature == feature)
            assert own.any()
            shares.append(float(graph.influence[own].sum()))
    assert float(row["frequency"]) == 1.0
    assert float(row["relevance"]) == pytest.approx(np.mean(shares), rel=1e-4)
    assert min(shares) - 1e-6 <= float(row["relevance_low"]) <= float(row["relevance"]) <= float(row["relevance_high"])


def test_one_refused_prompt_does_not_stop_the_others(tmp_path: Path, smollm: object) -> None:
    from engine.dictionaries import load_features
    from engine.models.language_model import LanguageModel

    assert isinstance(smollm, LanguageModel)
    features = load_features("neurons", smollm)
    like = TraceSpec(Prompt(""), max_nodes=10)
    listed = [ListedPrompt(PROMPTS[0]), ListedPrompt(PROMPTS[1], "two tokens here"), ListedPrompt(PROMPTS[2], " Tokyo")]
    specs = [one.spec(like) for one in listed]
    identity = (smollm.fingerprint, features.fingerprint)
    with Project.create(tmp_path / "p.loupe") as project:
        studied = study(project, specs, "neurons", identity, in_turn(smollm, features))
        assert len(studied.traced) == 2
        assert [prompt for prompt, _ in studied.refused] == [PROMPTS[1]]
        assert set(already_there(project, *identity)) == {specs[0], specs[2]}
        assert already_there(project, "another model", identity[1]) == {}
        again = study(project, specs, "neurons", identity, in_turn(smollm, features))
        assert again.traced == () and again.there == studied.traced
        with pytest.raises(RequestError, match="two or more traces"):
            find_shared(project, [1])


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["a prompt", "--prompts", "x.txt"], "not both"),
        (["--prompts", "x.txt"], "needs --project"),
        (["--prompts", "x.txt", "--project", "p.loupe", "--json", "g.json"], "--json is for one prompt"),
        (["a prompt", "--ray", "auto"], "goes with --prompts"),
    ],
)
def test_flags_that_do_not_go_together(flags: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", *flags]) == 2
    assert says in capsys.readouterr().err


def test_intervals_of_many_rows_are_those_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    rows = np.random.default_rng(3).normal(size=(5, 12)) ** 2
    for row, found in zip(rows, mean_intervals(rows), strict=True):
        alone = bootstrap_interval(row)
        assert (found.mean, found.low, found.high) == pytest.approx((alone.mean, alone.low, alone.high), rel=1e-9)
    assert mean_intervals([]) == []


@pytest.mark.parametrize(
    ("count", "n", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)]
)
def test_intervals_of_shares(count: int, n: int, low: float, high: float) -> None:
    """Values of Newcombe (1998), table I, method 3, and Agresti and Coull (1998)."""
    found = share_interval(count, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the optional extra `ray` is not installed")
def test_a_ray_cluster_traces_the_same(tmp_path: Path, smollm: object) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(PROMPTS[:2]), encoding="utf-8")
    here, there = tmp_path / "here.loupe", tmp_path / "there.loupe"
    assert main(["trace", "--prompts", str(prompts), "--project", str(here), *FEW]) == 0
    code = "import sys; from engine.cli import main; sys.exit(main(sys.argv[1:]))"  # Ray leaves threads behind.
    command = ["trace", "--prompts", str(prompts), "--project", str(there), *FEW, "--ray", "local"]
    done = subprocess.run([sys.executable, "-c", code, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with Project.open(here) as one, Project.open(there) as other:
        graphs = [{row.prompt: project.load_graph(row.id) for row in project.traces()} for project in (one, other)]
        assert set(graphs[0]) == set(graphs[1]) and len(graphs[0]) == 2
        for prompt, graph in graphs[0].items():
            np.testing.assert_array_equal(graph.feature, graphs[1][prompt].feature)
            np.testing.assert_allclose(graph.weight, graphs[1][prompt].weight, rtol=1e-4, atol=1e-6)
