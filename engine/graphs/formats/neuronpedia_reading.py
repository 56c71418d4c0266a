"""Reading Neuronpedia's, Anthropic's and circuit-tracer's graph JSON, whatever its version and its faults.

What has no column is kept in `graph.meta["imported"]["document"]`, so that writing the graph again gives the file
back. What cannot be right is refused with its key, or repaired and said. Ids are compared, never taken apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from engine.errors import RequestError
from engine.graphs.formats.graph_file import GraphFile, Repairs, shown
from engine.graphs.formats.json_document import require_shallow
from engine.graphs.formats.kept_fields import Columns, Record, keep_column, keep_differences
from engine.graphs.formats.neuronpedia import OWN, link_weights
from engine.graphs.formats.neuronpedia_links import Links, read_links
from engine.graphs.formats.neuronpedia_nodes import captions, label_of, node_records
from engine.graphs.formats.neuronpedia_params import NodeKeys, read_params
from engine.graphs.formats.neuronpedia_rows import NodeTable, read_nodes
from engine.graphs.formats.promises import MAX_LAYERS, require_promises
from engine.graphs.formats.provenance import file_influence, imported_report
from engine.graphs.graph import AttributionGraph, NodeKind

FORM = "graph JSON"
_TOP = ("metadata", "qParams", "nodes", "links")
_LINK = ("source", "target", "weight")
_MEASURES = ("influence", "relevance")


def read_document(document: Any, name: str) -> GraphFile:
    """The graph of a parsed file; `name` is the file's, for sentences.

    Raises `RequestError` that names the key for what can be neither used nor repaired.
    """
    repairs = Repairs()
    metadata = _require_top(document, name)
    tokens = _tokens(metadata, name)
    table = read_nodes(document["nodes"], len(tokens), metadata, name, repairs)
    links = read_links(document["links"], table, name, repairs)
    table = table.with_kinds(np.unique(links.target), repairs)
    graph = _graph(table, links, tokens, metadata, repairs)
    try:
        require_promises(graph)
    except ValueError as error:
        raise RequestError(f"{name} is no attribution graph ({error}); export it again.") from error
    return _finish(document, graph, table, links, name, repairs)


def _require_top(document: Any, name: str) -> dict[str, Any]:
    if not isinstance(document, dict) or not isinstance(document.get("nodes"), list):
        raise RequestError(f"{name} is JSON, but no attribution graph: the list 'nodes' is missing.")
    if not isinstance(document.get("links"), list):
        raise RequestError(f"{name} is JSON, but no attribution graph: the list 'links' is missing.")
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        raise RequestError(f"{name} is JSON, but no attribution graph: the table 'metadata' is missing.")
    for key, value in document.items():
        if key not in ("nodes", "links"):
            require_shallow(value, name, shown(key))
    return metadata


def _tokens(metadata: Mapping[str, Any], name: str) -> tuple[str, ...]:
    tokens = metadata.get("prompt_tokens")
    if not isinstance(tokens, list) or not tokens or not all(isinstance(token, str) for token in tokens):
        raise RequestError(f"{name} has no prompt: metadata.prompt_tokens must be a list of texts, not empty.")
    return tuple(tokens)


def _graph(
    table: NodeTable, links: Links, tokens: tuple[str, ...], metadata: Mapping[str, Any], repairs: Repairs
) -> AttributionGraph:
    own = metadata.get(OWN) if isinstance(metadata.get(OWN), dict) else {}
    assert isinstance(own, dict)
    token_ids = _token_ids(own, len(tokens))
    is_embedding = table.kind == NodeKind.EMBEDDING
    feature = table.feature.copy()
    feature[is_embedding] = np.array(token_ids)[table.position[is_embedding]]
    is_logit = table.kind == NodeKind.LOGIT
    probability = table.probability[is_logit]
    if not probability.any():
        repairs.add("No logit has a probability above 0: all were given the same weight")
        probability = np.full(len(probability), 1 / len(probability), np.float32)
    n_layers = _n_layers(table, own)
    empty = np.zeros(0, np.float32)
    graph = AttributionGraph(
        kind=table.kind,
        layer=np.where(is_logit, n_layers, table.layer).astype(np.int32),
        position=table.position,
        feature=feature,
        activation=table.activation,
        influence=np.zeros(len(table.kind), np.float32),
        source=links.source,
        target=links.target,
        weight=links.weight,
        # No row is claimed to be traced: its value and what it leaves out are not in such files.
        traced=np.zeros(0, np.int32),
        value=empty,
        rest=empty,
        rest_absolute=empty,
        tokens=tokens,
        token_ids=token_ids,
        logit_token=table.feature[is_logit],
        logit_text=tuple(text for text in table.logit_text if text is not None),
        logit_probability=probability,
        n_layers=n_layers,
    )
    exact = table.influence_share
    if own and exact is not None and own.get("measure") in _MEASURES:
        return replace(graph, influence=exact, measure=str(own["measure"]))
    return replace(graph, influence=file_influence(graph))


def _token_ids(own: Mapping[str, Any], count: int) -> tuple[int, ...]:
    """Token ids where our own part of the metadata has them; other programs only hide them in node ids."""
    ids = own.get("token_ids")
    if isinstance(ids, list) and len(ids) == count and all(type(one) is int and -1 <= one < 2**31 for one in ids):
        return tuple(ids)
    return (-1,) * count


def _n_layers(table: NodeTable, own: Mapping[str, Any]) -> int:
    """How many layers the model has: said by our own files; else logits stand two above the last layer, or one."""
    is_logit = table.kind == NodeKind.LOGIT
    highest = int(table.layer[~is_logit].max(initial=-1)) + 1
    said = own.get("n_layers")
    if type(said) is int and highest <= said <= MAX_LAYERS:
        return max(said, 1)
    return max(highest, int(table.layer[is_logit].min()) - 1, 1)


def _finish(
    document: dict[str, Any], graph: AttributionGraph, table: NodeTable, links: Links, name: str, repairs: Repairs
) -> GraphFile:
    metadata = document["metadata"]
    raw_params = document.get("qParams")
    params = read_params(raw_params, NodeKeys(table.records))
    for where, key in params.unknown:
        repairs.add("Ids that name no single node were left out, and are kept for export", f"{where} {shown(key)}")
    for where in params.odd:
        repairs.add("Entries of qParams that cannot be used were left out, and are kept for export", where)
    labels = {}
    for node, (record, caption) in enumerate(zip(table.records, captions(graph), strict=True)):
        text = label_of(str(record.get("clerp") or ""), NodeKind(int(graph.kind[node])), record, caption)
        text = params.labels.get(node, text)
        if text:
            labels[node] = text
    prompt = metadata.get("prompt")
    form = "exact" if links.exact else "short"
    kept = {
        "metadata": metadata,
        "qParams": raw_params if isinstance(raw_params, dict) else {},
        "other": {key: value for key, value in document.items() if key not in _TOP},
        "nodes": keep_differences(table.records, node_records(graph, labels, own=OWN in metadata)),
        "links": _kept_links(links, link_weights(graph, form)),
        "links_aside": links.aside,
        "weights": form,
        "n_edges": graph.n_edges,
    }
    sentences = repairs.sentences()
    report = imported_report(
        graph,
        form=FORM,
        name=name,
        prompt=prompt if isinstance(prompt, str) else "".join(graph.tokens),
        model=_text(metadata.get("scan")),
        features=_text(metadata.get("transcoder_set") or metadata.get("transcoder_list")),
        repairs=sentences,
        extra={"document": kept},
    )
    report |= _own_provenance(metadata, report)
    return GraphFile(replace(graph, meta=report), params.pins, params.groups, labels, FORM, sentences)


def _own_provenance(metadata: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    """Which model and dictionary a file of ours came from, and the scores of the graph before it was pruned."""
    own = metadata.get(OWN)
    if not isinstance(own, dict):
        return {}
    found: dict[str, Any] = {}
    features, fingerprint = own.get("features"), own.get("model_fingerprint")
    if isinstance(features, dict) and all(isinstance(features.get(key), str) for key in ("name", "kind")):
        mark = features.get("fingerprint")
        found["features"] = {
            "name": features["name"],
            "kind": features["kind"],
            "fingerprint": mark if isinstance(mark, str) else None,
        }
    if isinstance(fingerprint, str):
        found["model"] = {**report["model"], "fingerprint": fingerprint}
    for name in ("replacement", "completeness"):
        score = metadata.get(f"{name}_score")
        if isinstance(score, float) and 0 <= score <= 1:
            found[name] = score
    return found


def _kept_links(links: Links, weights: list[float]) -> Columns:
    """Fields of links beyond the three, and weights that float32 cannot hold, by edge number."""
    columns: Columns = {}
    weight = keep_column(links.written, weights)
    if weight is not None:
        columns["weight"] = weight
    if links.extra:
        empty: Record = {}
        extra = keep_differences([links.extra.get(edge, empty) for edge in range(len(weights))], [empty] * len(weights))
        columns.update({key: column for key, column in extra.items() if key not in _LINK})
    return columns


def _text(value: Any) -> str:
    if isinstance(value, list):
        value = ", ".join(one for one in value if isinstance(one, str))
    return value if isinstance(value, str) and value else "unknown"
