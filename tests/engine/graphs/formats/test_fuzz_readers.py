"""Readers on damaged files of every form: a sentence or a graph that keeps its promises, never anything else.

FUZZ_EXAMPLES=20000 makes the run longer.
"""

from __future__ import annotations

import copy
import io
import json
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import LoupeError, RequestError
from engine.graphs import prune
from engine.graphs.formats import read_graph_file, save_npz, write_csv, write_graphml
from engine.graphs.formats.graph_file import GraphFile
from engine.graphs.formats.inert_pickle import read_pickle
from engine.graphs.formats.neuronpedia_reading import read_document
from engine.graphs.formats.promises import require_promises
from engine.graphs.formats.torch_archive import allowed
from tests.engine.graphs.formats.comparing import exported, in_any_order
from tests.engine.graphs.formats.documents import circuit_tracer
from tests.engine.graphs.formats.torch_files import graph_values, save
from tests.graph_builder import build_graph

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
fuzzing = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 30)
    | st.sampled_from(
        [2**31, -(2**63), 10**30, 235310, 0.0, -0.0, 1e-40, 3e38, 1e300, "E", "", "-1", "1", "27", "0_5_3"]
    )
    | st.sampled_from(
        ["E_2_0", "0_18753_3", "27_235310_3", "lorsa", "bias", "logit", "embedding", "unknown", "(p=0.5)"]
    )
    | st.sampled_from(
        ['Output "a" (p=0.1)', 'Output "" (p=x)', "Emb: x", " ", "a,b", '["E_2_0"]', "[[", "\ud800", "x" * 2000]
    )
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_NODE_KEYS = [
    "node_id",
    "feature",
    "layer",
    "ctx_idx",
    "feature_type",
    "token_prob",
    "clerp",
    "influence",
    "activation",
]
_LIST_KEYS = ["prompt_tokens", "pinnedIds", "supernodes", "clerps", "nodes", "links", "metadata", "qParams", "new"]
_OWN_KEYS = ["circuit_loupe", "n_layers", "measure", "token_ids", "token", "no_position", "influence_share"]
KEYS = st.sampled_from([*_NODE_KEYS, *_LIST_KEYS, *_OWN_KEYS, "jsNodeId", "source", "weight", "schema_version", "scan"])


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(one for key, child in inner for one in _places(child, (*place, key)))]


@st.composite
def documents(draw: st.DrawFn) -> Any:
    """A good document, changed in a few places: values replaced, keys added, entries removed, repeated or swapped."""
    base = draw(st.sampled_from(["ct", "old", "own"]))
    document: Any = (
        exported(
            GraphFile(build_graph(n_features=6, n_layers=3, n_positions=2, seed=1), (1,), (("g", (2, 3)),), {1: "x"})
        )
        if base == "own"
        else circuit_tracer(old_errors=base == "old")
    )
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.sampled_from(_places(document)[1:] or [()]))
        if not place:
            break
        parent = document
        for key in place[:-1]:
            parent = parent[key]
        _change(draw, parent, place[-1])
    return document


def _change(draw: st.DrawFn, parent: Any, key: Any) -> None:
    action = draw(st.sampled_from(["replace", "replace", "remove", "add", "repeat", "swap"]))
    if action == "replace":
        parent[key] = draw(VALUES)
    elif action == "remove":
        del parent[key]
    elif action == "add" and isinstance(parent, dict):
        parent[draw(KEYS)] = draw(VALUES)
    elif action == "repeat" and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
    elif action == "swap":
        other = draw(st.sampled_from(sorted(parent, key=str) if isinstance(parent, dict) else range(len(parent))))
        parent[key], parent[other] = parent[other], parent[key]


def _or_sentence(read: Callable[[], GraphFile]) -> GraphFile | str:
    """What was read, or the one sentence of the refusal."""
    try:
        return read()
    except LoupeError as error:
        sentence = error.sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def _checked(file: GraphFile) -> None:
    require_promises(file.graph)
    prune(file.graph, 0.8, 0.98, keep=file.pins)
    assert all(0 <= node < file.graph.n_nodes for node in (*file.pins, *file.labels))
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in file.repairs)


@given(document=documents())
@fuzzing
def test_changed_documents_are_refused_or_come_back_whole(document: Any) -> None:
    before = json.dumps(document)
    file = _or_sentence(lambda: read_document(json.loads(before), "g.json"))
    if isinstance(file, str):
        return
    _checked(file)
    back = exported(file)
    assert exported(read_document(back, "g.json")) == back
    repaired = " ".join(file.repairs)
    if "were dropped" in repaired or "exported as two ids" in repaired:
        return
    expected = json.loads(before)
    if not isinstance(expected.get("qParams"), dict):
        expected["qParams"] = back["qParams"]
    else:
        expected["qParams"] = {"pinnedIds": [], "supernodes": [], **expected["qParams"]}
    assert in_any_order(back) == in_any_order(expected)


@given(document=documents(), threshold=st.floats(0.01, 1), data=st.data())
@fuzzing
def test_changed_documents_can_be_edited_and_pruned(document: Any, threshold: float, data: st.DataObject) -> None:
    file = _or_sentence(lambda: read_document(document, "g.json"))
    if isinstance(file, str):
        return
    node = data.draw(st.integers(0, file.graph.n_nodes - 1))
    edited = GraphFile(file.graph, (node,), (("new", (node,)),), {**file.labels, node: "edited"})
    back = exported(edited, node_threshold=threshold, edge_threshold=threshold)
    again = _or_sentence(lambda: read_document(json.loads(json.dumps(back)), "g.json"))
    assert isinstance(again, GraphFile)
    assert "edited" in again.labels.values()
    assert len(again.pins) >= 1


@given(value=VALUES)
@fuzzing
def test_any_json(value: Any) -> None:
    with pytest.raises(RequestError):
        read_document(value, "g.json")


def _bytes_of(form: str, folder: Path) -> dict[str, bytes]:
    graph = build_graph(n_features=6, n_layers=3, n_positions=2, seed=1)
    labels = {1: "=x", 2: "ü\n"}
    name = {"npz": "g.npz", "graphml": "g.xml", "zip": "g.zip", "csv": "g.csv", "pt": "g.pt", "json": "g.json"}[form]
    if form == "pt":
        save(folder / name, graph_values())
    elif form == "json":
        (folder / name).write_text(json.dumps(circuit_tracer()))
    else:
        write: Callable[..., Any] = {"npz": save_npz, "graphml": write_graphml}.get(form, write_csv)
        write(graph, folder / name, labels=labels, pins=(3,))
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        path.unlink()
    return found


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A few changes to bytes at random places: flipped, cut, inserted, repeated, overwritten by telling numbers."""
    changes = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["flip", "cut", "insert", "repeat", "telling"]),
                st.floats(0, 1),
                st.integers(0, 255),
                st.binary(min_size=1, max_size=6),
            ),
            min_size=1,
            max_size=4,
        )
    )

    def damage(data: bytes) -> bytes:
        for action, where, number, more in changes:
            at = int(where * max(len(data) - 1, 0))
            if action == "flip":
                data = data[:at] + bytes([number]) + data[at + 1 :]
            elif action == "cut":
                data = data[:at] + data[at + number :]
            elif action == "insert":
                data = data[:at] + more + data[at:]
            elif action == "repeat":
                data = data[:at] + data[max(at - number, 0) : at] + data[at:]
            else:
                data = data[:at] + b"\xff\xff\xff\x7f" + data[at + 4 :]
        return data

    return damage


def _read_quietly(path: Path) -> GraphFile | str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return _or_sentence(lambda: read_graph_file(path))


@pytest.mark.parametrize("form", ["npz", "graphml", "zip", "csv", "pt", "json"])
def test_damaged_bytes(tmp_path: Path, form: str) -> None:
    whole = _bytes_of(form, tmp_path)

    @given(damage=damages(), number=st.integers(0, 2))
    @fuzzing
    def run(damage: Callable[[bytes], bytes], number: int) -> None:
        names = sorted(whole)
        for name, data in whole.items():
            (tmp_path / name).write_bytes(damage(data) if name == names[number % len(names)] else data)
        file = _read_quietly(tmp_path / names[0])
        if isinstance(file, GraphFile):
            _checked(file)

    run()


@pytest.mark.parametrize("form", ["npz", "zip", "pt"])
def test_damaged_entries_in_a_whole_zip(tmp_path: Path, form: str) -> None:
    """Past the checksums: what an entry holds is damaged, and the zip around it is in order."""
    ((name, data),) = _bytes_of(form, tmp_path).items()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {one: archive.read(one) for one in archive.namelist()}
    method = zipfile.ZIP_STORED if form == "pt" else zipfile.ZIP_DEFLATED

    @given(damage=damages(), chosen=st.sampled_from(sorted(entries)))
    @fuzzing
    def run(damage: Callable[[bytes], bytes], chosen: str) -> None:
        with zipfile.ZipFile(tmp_path / name, "w", method) as archive:
            for one, content in entries.items():
                archive.writestr(one, damage(content) if one == chosen else content)
        file = _read_quietly(tmp_path / name)
        if isinstance(file, GraphFile):
            _checked(file)

    run()


_PLAIN = (
    rb"\x80\x02 ( . 0 N \x88 } ] ) t \x85 \x86 \x87 s u a e R b Q \x81 \x93 \x94 q\x00 h\x00 K\x01 X\x01\x00\x00\x00a"
)
_NAMES = rb"\x8c\x02os \x8c\x06system cos\nsystem\n ccollections\nOrderedDict\n \x8a\x01\x05 M\x01\x00"
OPERATIONS = st.sampled_from(
    [one.decode("unicode_escape").encode("latin-1") for one in (_PLAIN + b" " + _NAMES).split()]
)


@given(program=st.lists(OPERATIONS | st.binary(max_size=2), max_size=40).map(b"".join))
@fuzzing
def test_any_pickle(program: bytes) -> None:
    try:
        read_pickle(program, allowed)
    except ValueError:
        return
