"""`intervene` and `verify` as a person uses them, on the starter model; and how changes are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cli import main
from engine.cli.change_texts import read_change_text, swapped
from engine.errors import RequestError
from engine.interventions.changes import Change, Elsewhere

PROMPT = "The capital of Texas is"


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("L12/P5/F1034=-2x", Change("feature", 12, 5, 1034, "scale", -2.0)),
        ("L0/P5-8/F7=0x", Change("feature", 0, 5, 7, "scale", 0.0, last=8)),
        ("L3/P2-/F7=1.5x", Change("feature", 3, 2, 7, "scale", 1.5, onward=True)),
        ("L3/P2/F7=4", Change("feature", 3, 2, 7, "set", 4.0)),
        ("L3/P2/E=ablate", Change("error", 3, 2, 0, "ablate")),
        ("P4/T=flip", Change("embedding", 0, 4, 0, "flip")),
        ("L3/P2/H1=swap@6", Change("head", 3, 2, 1, "swap", 1.0, source=Elsewhere((), 6))),
        ("L3/P2/F7=2swap", Change("feature", 3, 2, 7, "swap", 2.0)),
    ],
)
def test_changes_are_typed_as_they_are_named(text: str, change: Change) -> None:
    assert read_change_text(text) == change
    assert text.startswith(f"{change.name}=")


@given(
    st.sampled_from(["feature", "error", "embedding", "head"]),
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(0, 9999),
    st.floats(-1e6, 1e6),
)
def test_any_name_reads_back(kind: str, layer: int, position: int, index: int, dose: float) -> None:
    change = Change(
        kind,  # type: ignore[arg-type]
        0 if kind == "embedding" else layer,
        position,
        index if kind in ("feature", "head") else 0,
        "scale",
        dose,
    )
    assert read_change_text(f"{change.name}={dose!r}x") == change


@pytest.mark.parametrize(
    "text",
    ["", "L12/P5/F1034", "L12/P5/F1034=", "P5/F1034=2x", "L1/P5/T=2x", "L12/P5/F=2x", "L12/P5/E4=2x", "L1/P5/F2=x",
     "L1/P5/F2=2ablate", "L1/P-5/F2=2x", "L1/P5/F2=1e999x", "L1/P5/F2=nan"],
)  # fmt: skip
def test_what_is_no_change_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        read_change_text(text)


def test_a_swap_says_where_it_comes_from() -> None:
    change = read_change_text("L3/P2/F7=swap")
    assert swapped(change, [1, 2, 3]).source == Elsewhere((1, 2, 3), 2)
    assert swapped(read_change_text("L3/P2/F7=swap@1"), [1, 2, 3]).source == Elsewhere((1, 2, 3), 1)
    with pytest.raises(RequestError, match="--other"):
        swapped(change, None)


def test_a_change_is_measured_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    status = main(
        ["intervene", PROMPT, "--target", " Austin", "--set", "L29/P5/F66=ablate", "--set", "L29/P5/F427=0x",
         "--mode", "direct", "--controls", "100", "--generate", "2", "--report", str(path)]
    )  # fmt: skip
    assert status == 0
    printed, report = capsys.readouterr().out, json.loads(path.read_text(encoding="utf-8"))
    found = report["experiment"]
    # With everything held, what was predicted is what was measured.
    assert found["predicted"] == pytest.approx(found["changed"] - found["recorded"], abs=1e-3)
    assert found["controls"]["n"] == 100 and "p = " in printed and "MLPs, attention patterns and norms held" in printed
    assert len(report["text"]["pairs"][0]["changed"]["ids"]) == 2 and "Austin" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "L99/P5/F66=0x"], "layers go from 0 to 29"),
        (["--set", "L2/P50/F66=0x"], "outside the prompt"),
        (["--set", "L2/P5/F66=0x", "--mode", "direct", "--attention", "live"], "Direct effects hold attention"),
        (["--set", "L2/P5/F66=swap"], "--other"),
        (["--set", "L2/P5/F66=1e38x"], "too large"),
        (["--set", "L2/P5/F66=0x", "--layers", "a-b"], "no range of layers"),
        (["--set", "L2/P5/F66=0x", "--controls", "5"], "too few"),
        (["--set", "nothing"], "is no change"),
        (["--set", "L2/P5/F66=0x", "--controls", "100", "--seed", "-1"], "'-1' is no seed"),
        (["--set", "L2/P5/F66=0x", "--paraphrase", "Texas"], "give 2 paraphrases or more"),
        (["--set", "L2/P4/F66=0x", *2 * ["--paraphrase", "The capital of France is"]], "is there twice"),
    ],
)
def test_bad_requests_are_one_sentence(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["intervene", PROMPT, *arguments]) == 2
    text = capsys.readouterr().err
    assert said in text and "Traceback" not in text


def test_a_prompt_and_a_kept_trace_are_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project, report = tmp_path / "p.loupe", tmp_path / "r.json"
    traced = ["--target", " Austin", "--max-nodes", "150"]
    assert main(["trace", PROMPT, *traced, "--project", str(project)]) == 0
    sample = ["--sources", "4", "--ablated", "12", "--report", str(report)]
    assert main(["verify", PROMPT, *traced, *sample]) == 0
    first = json.loads(report.read_text(encoding="utf-8"))
    assert main(["verify", str(project), "--trace", "1", *sample]) == 0
    again = json.loads(report.read_text(encoding="utf-8"))
    assert first["sample"]["predicted"] == pytest.approx(again["sample"]["predicted"], rel=1e-4, abs=1e-5)
    parts = {one["name"]: one for one in first["parts"]}
    assert parts["conservation"]["passed"] and parts["edges"]["passed"]
    printed = capsys.readouterr().out
    assert "Verdict:" in printed and first["sentence"] in printed
