"""The signed effect of every node on the targets, along all paths.

With an edge's weight divided by its target's value, a step says which share of the target's value its source makes up,
sign included; so what a node makes up of the targets is

    effect(s) = sum over targets t of effect(t) * weight(s -> t) / value(t),   effect(logit) = its weight,

the target's weight times its value being shared out without loss but for what the graph does not keep. With neurons,
one target and every neuron in the graph its size is the relevance of RelP (Jafari et al. 2025); paths through nodes
that are not in the graph are missing. It is an account of this one run, not a prediction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.graphs.edge_order import bundles
from engine.graphs.graph import AttributionGraph, NodeKind
from engine.graphs.influence import target_weight


def total_effect(graph: AttributionGraph) -> NDArray[np.float64]:
    """(N,) what each node contributes to the targets' values, weighted by probability; in units of logits.

    A logit node has its weight times its value. A graph from a file has no values: there a feature's activation stands
    for its value, and where that is missing the sum of |edges|, so that only signs and order mean something.
    """
    value = np.where(graph.kind == NodeKind.FEATURE, graph.activation, 0).astype(np.float64)
    value[graph.traced] = graph.value
    value = np.where(value == 0, graph.input_mass, value)
    effect = target_weight(graph) * value
    for bundle in reversed(bundles(graph)):
        source, target = graph.source[bundle], graph.target[bundle]
        share = np.divide(graph.weight[bundle], value[target], out=np.zeros(len(bundle)), where=value[target] != 0)
        effect += np.bincount(source, weights=share * effect[target], minlength=graph.n_nodes)
    return effect
