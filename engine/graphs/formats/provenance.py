"""What a project says about a graph that this program did not trace. It never claims what nobody checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.graphs.graph import AttributionGraph, NodeKind
from engine.graphs.influence import influence
from engine.graphs.scores import scores

Summary = dict[str, Any]


def file_influence(graph: AttributionGraph) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(N,) influence over the edges that a file has; logits have their probability, as in our own traces."""
    found = influence(graph, count_rest=False)
    found[graph.of_kind(NodeKind.LOGIT)] = graph.logit_probability
    return np.maximum(found, 0).astype(np.float32)


def imported_report(
    graph: AttributionGraph,
    *,
    form: str,
    name: str,
    prompt: str,
    model: str,
    features: str,
    repairs: tuple[str, ...],
    extra: Summary,
) -> Summary:
    """The report of an imported graph: the keys of a trace's report, None for what the file does not say.

    Conservation is never checked: a file lacks biases and pruned edges, so that its rows do not sum to their values.
    """
    order = np.argsort(-graph.logit_probability, kind="stable").tolist()
    rated = scores(graph, compatible=True)
    report: Summary = {
        "top_tokens": [
            {
                "token": graph.logit_text[i],
                "id": int(graph.logit_token[i]),
                "probability": float(graph.logit_probability[i]),
            }
            for i in order
        ],
        "target": {
            "position": int(graph.position[graph.of_kind(NodeKind.LOGIT)].max()),
            "tokens": list(graph.logit_text),
            "weights": graph.logit_probability.tolist(),
        },
        "nodes": graph.n_nodes,
        "edges": graph.n_edges,
        "feature_nodes": len(graph.of_kind(NodeKind.FEATURE)),
        "replacement": None,
        "completeness": None,
        "compatible": {"replacement": rated.replacement, "completeness": rated.completeness},
        "conservation_error": None,
        "unexplored": None,
        "measure": graph.measure,
        "settings": {"prompt": {"text": prompt}},
        "prompt": prompt,
        "model": {"name": model, "fingerprint": None, "source": None},
        "features": {"name": features, "kind": "imported", "fingerprint": None},
        "seconds": {},
        "versions": {},
        "imported": {"form": form, "file": name, "repairs": list(repairs), **extra},
    }
    return report
