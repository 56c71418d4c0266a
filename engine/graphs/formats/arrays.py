"""The unpruned graph as a NumPy .npz archive: one array a column, no object arrays, nothing that could run.

Entries, one a node: `kind` (uint8, names in `kind_names`), `layer`, `position`, `feature`, `activation`, `influence`.
One an edge: `source`, `target`, `weight`. One a traced target, whose node numbers are in `traced`: `value`, `rest`,
`rest_absolute`. Then `tokens`, `token_ids`, `logit_token`, `logit_text`, `logit_probability`, `n_layers`, `measure`,
and `meta`: the report as JSON text.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

from engine.errors import RequestError
from engine.graphs.formats.atomic import written_whole
from engine.graphs.graph import KIND_NAMES, AttributionGraph

NODE_COLUMNS = ("kind", "layer", "position", "feature", "activation", "influence")
EDGE_COLUMNS = ("source", "target", "weight")
TARGET_COLUMNS = ("traced", "value", "rest", "rest_absolute")
OTHER_COLUMNS = ("logit_token", "logit_probability")
# Unpacked size of everything that is read at once.
LARGEST_BYTES = 8 * 2**30


def save_npz(graph: AttributionGraph, path: Path) -> None:
    """Write a graph whole or not at all."""
    columns = {name: getattr(graph, name) for name in (*NODE_COLUMNS, *EDGE_COLUMNS, *TARGET_COLUMNS, *OTHER_COLUMNS)}
    texts = {"tokens": list(graph.tokens), "logit_text": list(graph.logit_text), "report": graph.meta}
    with written_whole(path) as file:
        np.savez_compressed(
            file,
            kind_names=np.array(KIND_NAMES),
            tokens=np.array(graph.tokens, dtype=np.str_),
            token_ids=np.array(graph.token_ids, dtype=np.int64),
            logit_text=np.array(graph.logit_text, dtype=np.str_),
            n_layers=np.array(graph.n_layers),
            measure=np.array(graph.measure),
            # Unicode arrays drop trailing zero characters; the exact texts are here.
            meta=np.array(json.dumps(texts, ensure_ascii=True)),
            **columns,
        )


def load_npz(path: Path) -> AttributionGraph:
    """Read what `save_npz` wrote; `RequestError` where it is damaged or something else."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST_BYTES:
                raise RequestError(
                    f"{path.name} would unpack to more than {LARGEST_BYTES >> 30} GB; it was not opened."
                )
        with np.load(path, allow_pickle=False) as arrays:
            texts = json.loads(str(arrays["meta"]))
            columns = {name: arrays[name] for name in (*NODE_COLUMNS, *EDGE_COLUMNS, *TARGET_COLUMNS, *OTHER_COLUMNS)}
            return AttributionGraph(
                **columns,
                tokens=tuple(texts["tokens"]),
                token_ids=tuple(int(one) for one in arrays["token_ids"]),
                logit_text=tuple(texts["logit_text"]),
                n_layers=int(arrays["n_layers"]),
                measure=str(arrays["measure"]),
                meta=texts["report"],
            )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise RequestError(f"{path} is not a graph that this program wrote, or it is damaged.") from error
