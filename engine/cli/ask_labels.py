"""`circuit-loupe labels ask`: labels for a trace's features from a local model, tested before they are given."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.numbers import whole
from engine.cli.terminal import TerminalProgress, interruptible
from engine.errors import RequestError
from engine.graphs.visible_text import visible_text
from engine.progress import part

if TYPE_CHECKING:
    from engine.evidence.feature_index import FeatureIndex
    from engine.evidence.pages import FeaturePage, Label
    from engine.graphs import AttributionGraph
    from engine.projects import Annotations

MOST = 20


def add_command(which: argparse._SubParsersAction[Any]) -> None:
    """Add it beside `labels export` and `labels import`."""
    command = which.add_parser(
        "ask",
        help="ask a local language model what a trace's features have in common",
        description="Show a local language model the texts that make the features of a trace most active, have it say "
        "what they have in common, and test its words on texts it was not shown, against texts of other features. "
        "Words that pass, and do better than a rule's label, become automatic labels of the trace; what a person or a "
        "file named stays. Nothing goes to a network.",
    )
    add = command.add_argument
    add("--project", type=Path, required=True, metavar="P.loupe", help="the project")
    add("--trace", type=int, metavar="N", help="the trace's number (default: its only one)")
    add("--model", required=True, metavar="ID|PATH", help="the model that is asked: an id, a folder or a GGUF file")
    add("--most", type=whole, default=MOST, metavar="N", help=f"features with most influence (default: {MOST})")
    add("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"], help="(default: auto)")
    add("--dtype", default="bfloat16", choices=["float32", "bfloat16"], help="(default: bfloat16)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read the trace, ask, give what holds, and print all of it."""
    from engine.evidence.index_places import find_index
    from engine.projects import Project, dictionary_identity

    with Project.open(arguments.project) as project:
        project.require_writable()
        number = _trace(arguments, [row.id for row in project.traces()])
        graph, annotations = project.load_graph(number), project.annotations(number)
        report = project.report(number)
        index = find_index(dictionary_identity(report), report.get("model", {}).get("fingerprint"))
        if index is None:
            raise RequestError(
                f"There is no index of the dictionary of trace {number}, so no texts to show; make one with "
                "circuit-loupe index."
            )
        try:
            labels, asked = _asked(arguments, graph, annotations, index)
        finally:
            index.close()
        if labels:
            project.give_labels(number, _everywhere(graph, labels), source="automatic")
    sys.stdout.write(f"Given:  {len(labels):,} labels of {asked:,} features asked about; the rest did not pass\n")
    return 0


def _asked(
    arguments: argparse.Namespace, graph: AttributionGraph, annotations: Annotations, index: FeatureIndex
) -> tuple[dict[int, Label], int]:
    """The labels that passed and are better than a rule's, and how many features were asked about."""
    from engine.evidence.labellers import label_features
    from engine.evidence.model_labeller import ModelLabeller
    from engine.models import load_model

    pages = pages_of(graph, index)
    free = [node for node in pages if node not in annotations.labels or annotations.sources.get(node) == "automatic"][
        : arguments.most
    ]
    progress = TerminalProgress()
    with interruptible() as cancel:
        model = load_model(
            arguments.model,
            device=arguments.device,
            dtype=arguments.dtype,
            progress=part(progress, 0, 0.1),
            cancel=cancel,
        )
        labels = label_features(ModelLabeller(model, cancel), pages, free, part(progress, 0.1, 1.0))
    progress("Asked", 1.0)
    better = {}
    for node in free:
        page, activation = pages[node]
        side, label, words = page.side(activation), labels.get(node), "no words that hold"
        if label is not None:
            words = f"{visible_text(label.text)} (score {label.score:.2f}, by chance {label.control:.2f})"
            rule = None if side is None else side.label
            if rule is not None and rule.score >= label.score:
                words += f"; not better than {visible_text(rule.text)} ({rule.score:.2f})"
            else:
                better[node] = label
        sys.stdout.write(f"{graph.describe(node)}: {words}\n")
    return better, len(free)


def pages_of(graph: AttributionGraph, index: FeatureIndex) -> dict[int, tuple[FeaturePage, float]]:
    """Page and activation of each feature of the graph, once: at the node with most influence, BOS left out."""
    found: dict[int, tuple[FeaturePage, float]] = {}
    seen: set[tuple[int, int, bool]] = set()
    for node in _features(graph):
        name = _name(graph, node)
        if name in seen:
            continue
        seen.add(name)
        try:
            found[node] = (index.page(name[0], name[1]), float(graph.activation[node]))
        except RequestError:
            continue  # Not in this index.
    return found


def _everywhere(graph: AttributionGraph, labels: dict[int, Label]) -> dict[int, str]:
    """The words for every node of the labelled features, on the same side of zero."""
    words = {_name(graph, node): label.text for node, label in labels.items()}
    return {node: words[name] for node in _features(graph) if (name := _name(graph, node)) in words}


def _features(graph: AttributionGraph) -> list[int]:
    """Feature nodes, those with most influence first; an index knows nothing of the first token."""
    from engine.graphs import NodeKind

    nodes = [int(node) for node in graph.of_kind(NodeKind.FEATURE) if graph.position[node] > 0]
    return sorted(nodes, key=lambda node: -float(graph.influence[node]))


def _name(graph: AttributionGraph, node: int) -> tuple[int, int, bool]:
    """Layer and number of a feature, and whether it is below zero here."""
    return int(graph.layer[node]), int(graph.feature[node]), bool(graph.activation[node] < 0)


def _trace(arguments: argparse.Namespace, known: list[int]) -> int:
    if arguments.trace is None and len(known) == 1:
        return known[0]
    if not known:
        raise RequestError(f"{arguments.project.name} has no trace; trace a prompt into it with circuit-loupe trace.")
    if arguments.trace not in known:
        what = "several traces" if arguments.trace is None else f"no trace {arguments.trace}"
        there = ", ".join(map(str, known[:20]))
        raise RequestError(f"{arguments.project.name} has {what}; choose one of {there} with --trace.")
    return int(arguments.trace)
