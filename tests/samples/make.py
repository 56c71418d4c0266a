"""Make the sample projects, with the figures that the program measures: python -m tests.samples.make [NAME ...]

Each holds one trace on neurons, the circuit that the search found (pinned), and two experiments: the search, and the
test of the circuit against 999 random sets. Nothing is chosen by hand but the prompt, its target and the settings
below, which are the same for all. `--table` writes docs/samples.md and samples.json from the projects that are there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.graphs.graph import AttributionGraph, NodeKind
from engine.graphs.titles import title_of
from engine.interventions.case import open_case
from engine.interventions.circuit_evidence import CircuitSpec, examine_circuit, record_circuit
from engine.interventions.circuit_search import SearchSpec, find_circuit, record_search, universe_of
from engine.interventions.controls import FeatureAt
from engine.projects import Asked, Project
from engine.tracing.run import trace
from engine.tracing.spec import Prompt, Target, TraceSpec

REPOSITORY = Path(__file__).parent.parent.parent
FOLDER = REPOSITORY / "resources" / "samples"
TABLE = REPOSITORY / "docs" / "samples.md"
INDEX = FOLDER / "samples.json"
SMOL, GEMMA = "SmolLM2-135M-Instruct", "Gemma-3-270m"
# Small enough to ship: the graph's nodes are what the circuit is searched among.
NODES, EDGE_MASS, SHARE, CONTROLS = 300, 0.9, 0.8, 999
# The program's own budget, where a graph as small as the others leaves out what the circuit is made of.
MORE_NODES = 1000
# A circuit is called necessary below this.
NECESSARY_P = 0.01
INTRODUCTION = f"""# The sample projects

Made by `python -m tests.samples.make` from graphs of {NODES} neurons (`sport`: {MORE_NODES:,}, see below), all with
the same settings; the figures are those that the program measured and that the projects keep. **Circuit**: the smallest
set that the search found which keeps
{SHARE:.0%} of the watched number when the rest of the graph's neurons is ablated (those at the first, special
position take no part). **Keeps**: what it keeps alone, beside the median of 20 random sets as large. **Without it**:
the watched number (the token's logit above the mean logit, or the difference of two logits) and the token's
probability. **p**:
(1 + random sets that do as much) / 1,000 for 999 random sets matched in size, layer, position and size of the change;
**widened** says where their members came from (same layer and position / other positions / neighbouring layers /
random directions). Neurons are ablated to their mean over the built-in text; everything after them, attention too,
answers. Another ablation may give another circuit.

| sample | model | says | circuit | keeps (random) | without it | probability | p | widened |
|---|---|---|---|---|---|---|---|---|"""

# What was measured before the graph of this one sample was made larger.
SPORT = """`sport` was first made like the others, from 300 neurons: the circuit of 8 that kept 83% was not shown to be
necessary (p = 0.511; a beam search found the same 8, circuits of 10 and 11 that keep 92% and 96% had p = 0.005 and
0.002). It is traced with the program's own budget of 1,000 since then: the search at the same 80% finds 32 neurons
without which the answer is gone, and more of the random sets' members stand at the same layer and position. There a
circuit of 29 that keeps 92% had p = 0.001 too. So six settings were looked at in all, and the larger graph was chosen
after seeing that the smaller one fails; 6 x 0.001 is still below 0.01, and 0.001 is the least that 999 sets can
give. Afterwards the circuit was tested once more with 999 random sets of another seed (20261123): none did as much
(p = 0.001), and the largest fall among them was 2.61, beside the circuit's 10.14."""


@dataclass(frozen=True)
class Sample:
    """A prompt whose answer the model knows."""

    name: str
    model: str
    prompt: str
    token: str
    against: str | None = None
    nodes: int = NODES


SAMPLES = (
    Sample("capital", SMOL, "The capital of Texas is", " Austin"),
    Sample("indirect-object", SMOL, "When Mary and John went to the store, John gave a drink to", " Mary", " John"),
    Sample("opposite", SMOL, "The opposite of hot is", " cold"),
    Sample("eiffel-tower", SMOL, "The Eiffel Tower is in the city of", " Paris"),
    Sample("sport", GEMMA, "Fact: Michael Jordan plays the sport of", " basketball", nodes=MORE_NODES),
    Sample("opposite-english", GEMMA, 'The opposite of "small" is "', "large"),
    Sample("opposite-french", GEMMA, 'Le contraire de "petit" est "', "grand"),
    Sample("opposite-spanish", GEMMA, 'Lo contrario de "pequeño" es "', "grande"),
)


def make_sample(sample: Sample, folder: Path, *, controls: int = CONTROLS) -> Path:
    """Trace, search, test, and write the project; its path."""
    from engine.dictionaries import NEURONS, load_features
    from engine.models import load_model

    model = load_model(sample.model, device="cpu")
    features = load_features(NEURONS, model)
    target = Target(token=sample.token, against=sample.against)
    spec = TraceSpec(Prompt(sample.prompt), target, max_nodes=sample.nodes, edge_mass=EDGE_MASS)
    traced = trace(model, features, spec)
    case = open_case(model, features, spec)
    search = SearchSpec(universe_of(case, traced.graph), share=SHARE)
    found = find_circuit(case, search)
    circuit = CircuitSpec(found.features, search.universe, controls=controls)
    tested = examine_circuit(case, circuit)
    path = folder / f"{sample.name}.loupe"
    with (
        tempfile.TemporaryDirectory() as scratch,
        Project.create(Path(scratch) / path.name, name=sample.prompt) as project,
    ):
        title = title_of(traced.report, traced.graph)
        number = project.add_trace(traced.report, traced.graph, title=title, asked=Asked(spec, NEURONS))
        project.pin(number, nodes_of(traced.graph, found.features))
        project.set_note(number, f"{found.sentence} {tested.sentence}")
        searched = record_search(case, search, found, NEURONS, "The smallest circuit that keeps 80 %")
        examined = record_circuit(case, circuit, tested, NEURONS, "Is the circuit needed, and is it enough?")
        for record in (searched, examined):
            project.experiments.add(**record.columns, trace=number)
        project.save_package(path, overwrite=True)
    return path


def nodes_of(graph: AttributionGraph, features: Iterable[FeatureAt]) -> list[int]:
    """The numbers of feature nodes in a graph."""
    nodes = graph.of_kind(NodeKind.FEATURE)
    columns = (graph.layer[nodes].tolist(), graph.position[nodes].tolist(), graph.feature[nodes].tolist())
    known = dict(zip(zip(*columns, strict=True), nodes.tolist(), strict=True))
    return [known[one] for one in features]


def figures(path: Path) -> dict[str, Any]:
    """What a sample's experiments say."""
    with Project.open(path, read_only=True) as project:
        kinds = {row.kind: project.experiments.result(row.id) for row in project.experiments.all()}
        return {"search": kinds["search"], "circuit": kinds["circuit"], "bytes": path.stat().st_size}


def write_table(folder: Path, path: Path) -> None:
    """docs/samples.md, from the projects."""
    lines = INTRODUCTION.splitlines()
    failed = []
    for sample in SAMPLES:
        if not (folder / f"{sample.name}.loupe").exists():
            continue
        found = figures(folder / f"{sample.name}.loupe")
        search, circuit = found["search"], found["circuit"]
        need = circuit["necessity"]
        if need["p"] >= NECESSARY_P:
            failed.append(sample)
        random = sorted(search["random"])
        against = "" if sample.against is None else f" against `{sample.against}`"
        cells = [
            f"[{sample.name}](../resources/samples/{sample.name}.loupe): {sample.prompt}",
            sample.model,
            f"`{sample.token}`{against}",
            f"{circuit['size']} of {circuit['universe']}",
            f"{circuit['faithfulness']:.0%} ({round((random[9] + random[10]) / 2, 2) + 0.0:.0%})",
            f"{circuit['full']:.2f} → {circuit['without']:.2f}",
            f"{circuit['probability']:.3f} → {circuit['probability_without']:.4f}",
            f"{need['p']:.3f}" + ("" if need["p"] < NECESSARY_P else " **not shown to be necessary**"),
            " / ".join(str(one) for one in need["widened"].values()),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    names = ", ".join(sample.name for sample in failed)
    lines += ["", f"Not shown to be necessary (p at or above {NECESSARY_P}): {names or 'none'}.", "", SPORT]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_index(folder: Path, path: Path) -> None:
    """resources/samples/samples.json, which the window lists them from, from the projects."""
    found = []
    for sample in SAMPLES:
        circuit = figures(folder / f"{sample.name}.loupe")["circuit"]
        found.append(
            {
                "name": sample.name,
                "prompt": sample.prompt,
                "says": sample.token,
                "model": sample.model,
                "circuit": circuit["size"],
                "universe": circuit["universe"],
                "p": circuit["necessity"]["p"],
            }
        )
    path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Make those named, or all, and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="samples to make (default: all)")
    parser.add_argument("--table", action="store_true", help="only write docs/samples.md")
    arguments = parser.parse_args()
    for sample in SAMPLES:
        if not arguments.table and (not arguments.names or sample.name in arguments.names):
            path = make_sample(sample, FOLDER)
            sys.stdout.write(f"{path.name}: {path.stat().st_size:,} bytes; {figures(path)['circuit']['sentence']}\n")
            sys.stdout.flush()
    write_table(FOLDER, TABLE)
    write_index(FOLDER, INDEX)


if __name__ == "__main__":
    main()
