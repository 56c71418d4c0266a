"""npz, GraphML and CSV of our own lose nothing, whatever the texts and numbers are."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import RequestError
from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.formats import read_graph_file, save_npz, write_csv, write_graphml
from engine.graphs.formats.graph_file import GraphFile
from tests.engine.graphs.formats.comparing import assert_same_graph, exported, imported
from tests.engine.graphs.formats.documents import circuit_tracer
from tests.graph_builder import build_graph

Write = Callable[..., object]
FORMS: dict[str, tuple[Write, str]] = {
    "npz": (save_npz, "g.npz"),
    "graphml": (write_graphml, "g.data"),
    "csv": (write_csv, "g.csv"),
    "zip": (write_csv, "g.zip"),
}
TEXTS = st.text(st.characters(exclude_categories=()), max_size=8) | st.sampled_from(
    ["=1+1", "'=x", "'", "-", "@a", "\t", "\r\n", "a\rb", "\x00", "\ud800", "]]>", "<&\"'", "\ufffe", " ", "\u2028"]
)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def graph_files(draw: st.DrawFn) -> GraphFile:
    """A graph of any shape, with odd numbers and texts, and annotations of it."""
    graph = build_graph(
        n_layers=draw(st.integers(1, 4)),
        n_positions=draw(st.integers(1, 4)),
        n_features=draw(st.integers(1, 12)),
        n_logits=draw(st.integers(1, 3)),
        n_edges=draw(st.integers(0, 40)),
        errors=draw(st.booleans()),
        biases=draw(st.booleans()),
        seed=draw(st.integers(0, 10**6)),
    )
    graph = _with_odd_numbers(draw, graph)
    nodes = st.integers(0, graph.n_nodes - 1)
    return GraphFile(
        replace(
            graph,
            tokens=tuple(draw(TEXTS) for _ in graph.tokens),
            logit_text=tuple(draw(TEXTS) for _ in graph.logit_text),
            meta={"prompt": draw(TEXTS), "n": [1, None, 0.1]},
        ),
        tuple(draw(st.lists(nodes, max_size=3, unique=True))),
        tuple((draw(TEXTS), (node,)) for node in draw(st.lists(nodes, max_size=2, unique=True))),
        draw(st.dictionaries(nodes, TEXTS.filter(bool), max_size=4)),
    )


def _with_odd_numbers(draw: st.DrawFn, graph: AttributionGraph) -> AttributionGraph:
    weight = np.array([draw(FLOATS) for _ in range(graph.n_edges)], np.float32)
    order = np.lexsort((-np.abs(weight), graph.target))
    odd = {name: np.array([draw(FLOATS) for _ in graph.traced], np.float32) for name in ("value", "rest")}
    return replace(
        graph,
        activation=np.array([draw(FLOATS) for _ in range(graph.n_nodes)], np.float32),
        source=graph.source[order],
        target=graph.target[order],
        weight=weight[order],
        **odd,
    )


def _write(form: str, file: GraphFile, folder: Path) -> Path:
    write, name = FORMS[form]
    write(file.graph, folder / name, pins=file.pins, groups=file.groups, labels=file.labels)
    return folder / ("g.nodes.csv" if form == "csv" else name)


@pytest.mark.parametrize("form", FORMS)
@given(file=graph_files())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_a_round_trip_loses_nothing(tmp_path: Path, form: str, file: GraphFile) -> None:
    back = read_graph_file(_write(form, file, tmp_path))
    assert_same_graph(file.graph, back.graph)
    assert (back.pins, back.groups, dict(back.labels)) == (file.pins, file.groups, dict(file.labels))
    assert back.repairs == ()


@pytest.mark.parametrize("form", FORMS)
def test_an_imported_graph_keeps_every_field_of_its_file(tmp_path: Path, form: str) -> None:
    document = circuit_tracer()
    document["nodes"][0]["unknown"] = {"a": [1]}
    file = imported(document)
    back = read_graph_file(_write(form, file, tmp_path))
    assert exported(back) == exported(file)


def test_the_three_tables_are_found_from_each(tmp_path: Path) -> None:
    file = GraphFile(build_graph())
    _write("csv", file, tmp_path)
    for part in ("g.nodes.csv", "g.edges.csv", "g.graph.json"):
        assert_same_graph(file.graph, read_graph_file(tmp_path / part).graph)
    (tmp_path / "g.edges.csv").unlink()
    with pytest.raises(RequestError, match=r"g\.edges\.csv, which is not beside it"):
        read_graph_file(tmp_path / "g.nodes.csv")
    shutil.move(tmp_path / "g.nodes.csv", tmp_path / "other.csv")
    with pytest.raises(RequestError, match="must end in"):
        read_graph_file(tmp_path / "other.csv")


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'quoted"])
def test_no_cell_is_a_formula(tmp_path: Path, text: str) -> None:
    graph = build_graph()
    graph = replace(graph, tokens=(text, *graph.tokens[1:]), logit_text=(text, *graph.logit_text[1:]))
    write_csv(graph, tmp_path / "g.csv", groups=((text, (1,)),), labels={3: text})
    with (tmp_path / "g.nodes.csv").open(encoding="utf-8-sig", newline="") as raw:
        rows = list(csv.DictReader(raw))
    found = [row[column] for row in rows for column in ("text", "label", "supernode") if text in row[column]]
    assert len(found) == 4
    assert all(cell == f"'{text}" for cell in found)
    assert read_graph_file(tmp_path / "g.nodes.csv").labels == {3: text}


def test_labels_edited_in_a_table_count(tmp_path: Path) -> None:
    write_csv(build_graph(), tmp_path / "g.csv", labels={3: "=old", 4: "stays"})
    nodes = tmp_path / "g.nodes.csv"
    lines = nodes.read_text(encoding="utf-8-sig").splitlines()
    rows = list(csv.reader(lines))
    label = rows[0].index("label")
    rows[1 + 3][label], rows[1 + 5][label] = "'=new", "added"
    with nodes.open("w", newline="", encoding="utf-8") as raw:
        csv.writer(raw).writerows(rows)
    assert read_graph_file(nodes).labels == {3: "=new", 4: "stays", 5: "added"}


def test_networkx_reads_typed_columns(tmp_path: Path) -> None:
    graph = build_graph(seed=2)
    label = "a\x07b <&>"
    write_graphml(graph, tmp_path / "g.graphml", labels={7: label}, groups=(("pair", (7, 8)),), pins=(8,))
    found = networkx.read_graphml(tmp_path / "g.graphml")
    assert found.number_of_nodes() == graph.n_nodes
    assert found.number_of_edges() == graph.n_edges
    assert found.nodes["n7"]["label"] == "a⟨U+0007⟩b <&>"
    assert found.nodes["n7"]["supernode"] == "pair"
    assert found.nodes["n8"]["pinned"] == 1
    for node, columns in found.nodes(data=True):
        number = int(node[1:])
        assert columns["layer"] == graph.layer[number]
        assert np.float32(columns["activation"]) == graph.activation[number]
    for edge in range(graph.n_edges):
        columns = found.edges[f"n{graph.source[edge]}", f"n{graph.target[edge]}"]
        assert np.float32(columns["weight"]) == graph.weight[edge]
        assert np.float32(columns["share"]) == graph.share[edge]


def test_entities_are_never_expanded(tmp_path: Path) -> None:
    write_graphml(build_graph(), tmp_path / "g.graphml")
    text = (tmp_path / "g.graphml").read_text()
    bomb = "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(9))
    outside = '<!ENTITY x SYSTEM "file:///etc/passwd">'
    for i, inside in enumerate((f'<!ENTITY a0 "ha">{bomb}', outside, "")):
        path = tmp_path / f"{i}.graphml"
        path.write_text(text.replace("?>\n", f"?>\n<!DOCTYPE graphml [{inside}]>\n", 1))
        with pytest.raises(RequestError, match="not GraphML that this program wrote"):
            read_graph_file(path)


SPOILED: list[tuple[str, Callable[[str], str]]] = [
    ("graphml", lambda text: text[: len(text) // 2]),
    ("graphml", lambda text: text.replace('target="n', 'target="n9', 1)),
    ("graphml", lambda text: text.replace('id="n1"', 'id="n7"', 1)),
    ("graphml", lambda text: text.replace('<data key="weight">', '<data key="weight">nan', 1)),
    ("graphml", lambda text: text.replace(">feature<", ">creature<", 1)),
    ("graphml", lambda text: text.replace("circuit_loupe_graph", "other")),
    ("graphml", lambda text: text.replace('"n_layers": ', '"n_layers": -')),
    ("graphml", lambda text: "<html></html>"),
    ("csv", lambda text: text.replace("feature", "creature", 2)),
    ("csv", lambda text: text[: len(text) // 2]),
    ("csv", lambda text: text.replace("\r\n1,", "\r\n7,", 1)),
    ("csv", lambda text: text + "1,2\r\n"),
    ("csv", lambda text: text.replace("embedding,-1,0", "embedding,-1,99999999999", 1)),
    ("csv", lambda text: text.replace("embedding,-1,0", "embedding,x,0", 1)),
]


@pytest.mark.parametrize(("form", "spoil"), SPOILED)
def test_damage_is_refused_in_a_sentence(tmp_path: Path, form: str, spoil: Callable[[str], str]) -> None:
    path = _write(form, GraphFile(build_graph(errors=False)), tmp_path)
    text = path.read_bytes().decode()
    assert spoil(text) != text
    path.write_bytes(spoil(text).encode())
    with pytest.raises(RequestError) as caught:
        read_graph_file(path)
    assert path.name in caught.value.sentence


def _repacked(path: Path, change: Callable[[dict[str, bytes]], Any], method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    import io

    raw = io.BytesIO()
    np.save(raw, array, allow_pickle=True)
    return raw.getvalue()


NPZ: list[Callable[[dict[str, bytes]], Any]] = [
    lambda e: e.pop("weight.npy"),
    lambda e: e.update({"weight.npy": _npy(np.array([{}], dtype=object))}),
    lambda e: e.update({"weight.npy": _npy(np.zeros(3, np.float64))}),
    lambda e: e.update({"weight.npy": e["weight.npy"].replace(b"'shape': (", b"'shape': (9", 1)}),
    lambda e: e.update({"weight.npy": e["weight.npy"][:-4]}),
    lambda e: e.update({"weight.npy": e["weight.npy"] + bytes(4)}),
    lambda e: e.update({"kind.npy": _npy(np.full(len(e["kind.npy"]), 77, np.uint8))}),
    lambda e: e.update({"meta.npy": _npy(np.array("[1]"))}),
    lambda e: e.update({"meta.npy": _npy(np.array('{"tokens": [1], "logit_text": [], "report": {}}'))}),
    lambda e: e.update({"n_layers.npy": _npy(np.array(10**12))}),
    lambda e: e.update({"measure.npy": _npy(np.array("guess"))}),
    lambda e: e.update({"layer.npy": b"\x93NUMPY\x01\x00\x10\x00{'descr': [],   \n"}),
]


@pytest.mark.parametrize("change", NPZ)
def test_arrays_that_are_not_ours_are_refused(tmp_path: Path, change: Callable[[dict[str, bytes]], Any]) -> None:
    path = tmp_path / "g.npz"
    save_npz(build_graph(), path)
    _repacked(path, change)
    with pytest.raises(RequestError, match=r"g\.npz"):
        read_graph_file(path)


def _first(value: float) -> Callable[[np.ndarray[Any, Any]], Any]:
    def change(column: np.ndarray[Any, Any]) -> None:
        column[0] = value

    return change


@pytest.mark.parametrize(
    ("column", "change"),
    [
        *((column, _first(-5)) for column in ("source", "target", "position", "layer", "feature", "influence")),
        *((column, _first(10**6)) for column in ("source", "target", "position", "layer")),
        ("position", _first(-1)),  # of an embedding
        ("feature", _first(-2)),
        ("weight", _first(0)),
        ("target", lambda column: column.__setitem__(slice(None), column[::-1].copy())),
        ("layer", lambda column: column.__setitem__(slice(None), column[::-1].copy())),
        ("logit_probability", _first(-0.5)),
        ("kind", _first(4)),
    ],
)
def test_graphs_that_break_a_promise_are_refused(
    tmp_path: Path, column: str, change: Callable[[np.ndarray[Any, Any]], Any]
) -> None:
    graph = build_graph()
    wrong = getattr(graph, column).copy()
    change(wrong)
    assert (wrong != getattr(graph, column)).any()
    with pytest.raises(RequestError):
        read_graph_file(_write("npz", GraphFile(replace(graph, **{column: wrong})), tmp_path))


@pytest.mark.parametrize("form", ["npz", "graphml", "zip"])
def test_an_edge_from_a_node_to_itself_is_refused(tmp_path: Path, form: str) -> None:
    graph = build_graph()
    source = graph.source.copy()
    source[5] = graph.target[5]
    with pytest.raises(RequestError):
        read_graph_file(_write(form, GraphFile(replace(graph, source=source)), tmp_path))


@pytest.mark.parametrize("column", ["activation", "influence", "weight", "value", "rest", "rest_absolute"])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, column: str) -> None:
    graph = build_graph()
    wrong = getattr(graph, column).copy()
    wrong[0] = np.inf
    with pytest.raises(RequestError):
        read_graph_file(_write("npz", GraphFile(replace(graph, **{column: wrong})), tmp_path))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("form", ["npz", "zip"])
def test_other_compressions_are_refused(tmp_path: Path, form: str, method: int) -> None:
    path = _write(form, GraphFile(build_graph()), tmp_path)
    _repacked(path, lambda entries: None, method)
    with pytest.raises(RequestError):
        read_graph_file(path)


@pytest.mark.parametrize("form", ["npz", "zip"])
def test_a_bomb_is_not_unpacked(tmp_path: Path, form: str) -> None:
    """A gigabyte of zeros in a megabyte: refused by what the directory says, or by the column's own size."""
    path = _write(form, GraphFile(build_graph(n_features=5)), tmp_path)
    name = "weight.npy" if form == "npz" else "nodes.csv"
    with zipfile.ZipFile(path) as archive:
        entries = {one: archive.read(one) for one in archive.namelist() if one != name}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for one, data in entries.items():
            archive.writestr(one, data)
        with archive.open(name, "w", force_zip64=True) as entry:
            for _ in range(256):
                entry.write(bytes(2**20))
    with pytest.raises(RequestError):
        read_graph_file(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"SQLite format 3\0" + bytes(100), "project"),
        (b"\x1f\x8b\x08", "unpack"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"GGUF\x03", "model"),
        (b"PK\x03\x04" + bytes(40), "zip"),
        (b"a,b,c\n1,2,3\n", "no graph file"),
        (b"", "no graph file"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "graph.json"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=says):
        read_graph_file(path)
    with pytest.raises(RequestError, match="no file"):
        read_graph_file(tmp_path / "absent")
    with pytest.raises(RequestError, match="no file"):
        read_graph_file(tmp_path)


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "g.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(RequestError, match="without a graph"):
        read_graph_file(tmp_path / "g.zip")


def test_the_json_beside_the_tables_is_plain(tmp_path: Path) -> None:
    write_csv(build_graph(), tmp_path / "g")
    assert json.loads((tmp_path / "g.graph.json").read_text())["measure"] == "influence"
    assert NodeKind.FEATURE == 0
