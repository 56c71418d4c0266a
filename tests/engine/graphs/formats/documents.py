"""Graph JSON as other programs write it, field by field, small enough to read."""

from __future__ import annotations

from typing import Any

from engine.graphs.formats.neuronpedia_nodes import cantor

Document = dict[str, Any]
TOKENS = ["<bos>", "1", "2", "3"]
N_LAYERS = 26


def node(kind: str, name: str, layer: str, position: int, feature: int | None, **more: Any) -> Document:
    """One node with the fields that circuit-tracer writes."""
    return {
        "node_id": name,
        "feature": feature,
        "layer": layer,
        "ctx_idx": position,
        "feature_type": kind,
        "token_prob": 0.0,
        "is_target_logit": False,
        "run_idx": 0,
        "reverse_ctx_idx": 0,
        "jsNodeId": name.replace("_", "-"),
        "clerp": "",
        "influence": 0.5,
        "activation": None,
        **more,
    }


def feature_node(layer: int, number: int, position: int, **more: Any) -> Document:
    """A transcoder feature, schema version 1."""
    return node(
        "cross layer transcoder",
        f"{layer}_{number}_{position}",
        str(layer),
        position,
        cantor(layer, number),
        **{"jsNodeId": f"{layer}_{number}-0", "activation": 2.5, **more},
    )


def circuit_tracer(version: int = 1, *, old_errors: bool = False) -> Document:
    """A pruned graph as circuit-tracer exports it; `old_errors` with the ids of its release 0.5.0."""

    def error(layer: int, position: int) -> Document:
        name = f"0_{layer}_{position}" if old_errors else f"{layer}_-1_{position}"
        return node("mlp reconstruction error", name, str(layer), position, -1, jsNodeId=f"{layer}_-1-{position}")

    def logit(vocab: int, text: str, probability: float, first: bool) -> Document:
        return node(
            "logit",
            f"{N_LAYERS + 1}_{vocab}_3",
            str(N_LAYERS + 1),
            3,
            vocab,
            jsNodeId=f"L_{vocab}-3",
            token_prob=probability,
            is_target_logit=first,
            clerp=f'Output "{text}" (p={probability:.3f})',
            influence=None,
        )

    features = [feature_node(0, 18753, 3), feature_node(1, 12928, 3), feature_node(13, 82873, 3)]
    features.append(feature_node(0, 5, 3))
    embeddings = [
        node("embedding", f"E_{id_}_{i}", "E", i, i, jsNodeId=f"E_{id_}-{i}")
        for i, id_ in enumerate([2, 235274, 235284, 235304])
    ]
    errors = [error(5, 3), error(25, 3)]
    logits = [logit(235310, "4", 0.2333984375, True), logit(256001, 'say "x"', 0.1416015625, False)]
    links = [
        ("E_2_0", "0_18753_3", -2.390625),
        ("E_235304_3", "0_18753_3", 9.75),
        ("E_235304_3", "1_12928_3", 6.28125),
        ("0_18753_3", "13_82873_3", 0.5),
        ("1_12928_3", "13_82873_3", 0.75),
        ("E_235304_3", "0_5_3", 1.0),
        ("0_5_3", "13_82873_3", 0.25),
        ("13_82873_3", "27_235310_3", 1.546875),
        (errors[0]["node_id"], "27_235310_3", -1.8828125),
        (errors[1]["node_id"], "27_235310_3", 0.640625),
        ("E_235304_3", "27_256001_3", 15.6875),
        ("13_82873_3", "27_256001_3", 0.0010000000474974513),
    ]
    metadata: Document = {
        "slug": "a-slug",
        "scan": "gemma-2-2b",
        "transcoder_list": [],
        "prompt_tokens": list(TOKENS),
        "prompt": "<bos>123",
        "node_threshold": 0.5,
        "schema_version": version,
        "info": {"creator_name": "Anonymous", "generator": {"name": "circuit-tracer"}, "create_time_ms": 1789593498121},
        "generation_settings": {"max_n_logits": 5, "desired_logit_prob": 0.6},
        "pruning_settings": {"node_threshold": 0.5, "edge_threshold": 0.8},
    }
    return {
        "metadata": metadata,
        "qParams": {"pinnedIds": [], "supernodes": [], "linkType": "both", "clickedId": "", "sg_pos": ""},
        "nodes": [*features, *errors, *embeddings, *logits],
        "links": [{"source": source, "target": target, "weight": weight} for source, target, weight in links],
    }


def find(document: Document, node_id: str, kind: str = "") -> Document:
    """The node of an id, and of a type where several share it."""
    found: list[Document] = [
        one for one in document["nodes"] if one["node_id"] == node_id and kind in ("", one["feature_type"])
    ]
    assert len(found) == 1
    return found[0]
