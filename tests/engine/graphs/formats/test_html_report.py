"""The report: well formed, self-contained, without scripts, hostile texts as texts, and with the right figures."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from engine.errors import RequestError
from engine.graphs import AttributionGraph, NodeKind, everything
from engine.graphs.circuit import Circuit, Supernode, boxes, circuit_scores
from engine.graphs.circuit_drawing import draw
from engine.graphs.circuit_svg import box_width, circuit_svg
from engine.graphs.formats.html_report import Evidence, html_report, write_html_report
from engine.graphs.supernode_edges import supernode_edges
from engine.graphs.svg import svg_text
from tests.graph_builder import build_graph

HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=y>\x00\u202e\ud800"
VOID = {"meta", "img", "source"}


class Reader(HTMLParser):
    """Checks that tags nest, and collects tags, attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def hostile() -> tuple[AttributionGraph, Circuit]:
    graph = build_graph()
    meta = {"prompt": HOSTILE, "settings": {HOSTILE: [HOSTILE]}, "conservation_error": 2e-3, "conservation_bound": 1e-4}
    graph = replace(graph, tokens=(HOSTILE, *graph.tokens[1:]), logit_text=(HOSTILE, *graph.logit_text[1:]), meta=meta)
    nodes = graph.of_kind(NodeKind.FEATURE)[::9].tolist()
    groups = (Supernode(1, HOSTILE, tuple(nodes[:3]), note=HOSTILE), Supernode(2, "in", (nodes[4],), parent=1))
    logit = int(graph.of_kind(NodeKind.LOGIT)[0])
    return graph, Circuit((*nodes[5:9], logit), groups, {nodes[5]: HOSTILE})


def test_hostile_texts_are_only_texts() -> None:
    graph, circuit = hostile()
    note = Evidence(HOSTILE, {circuit.pins[0]: [HOSTILE]})
    whole = svg_text(graph, everything(graph), title=HOSTILE)
    text = html_report(graph, circuit, title=HOSTILE, evidence=note, picture=(whole, whole))
    read = Reader(text)
    names = {tag for tag, _ in read.tags}
    assert names.isdisjoint({"script", "iframe", "object", "link", "a", "form", "svg"})
    attributes = {name for _, attrs in read.tags for name in attrs}
    assert not any(name.startswith("on") or name == "href" for name in attributes)
    for tag, attrs in read.tags:
        for name in ("src", "srcset"):
            assert (attrs.get(name) or "data:image/svg+xml;base64,").startswith("data:image/svg+xml;base64,"), tag
    assert any("<script>alert(1)</script>" in data for data in read.texts)  # shown as what it is
    assert not re.search("[\x00\u202e\ud800]", text)
    assert "http:" not in text and "https:" not in text
    assert any(tag == "meta" and "default-src 'none'" in (attrs.get("content") or "") for tag, attrs in read.tags)


def pictures(text: str) -> list[str]:
    return [base64.b64decode(one).decode() for one in re.findall(r"base64,([A-Za-z0-9+/=]+)", text)]


def test_light_and_dark_pictures_are_inside() -> None:
    graph, circuit = hostile()
    text = html_report(graph, circuit, title="t")
    dark, light = pictures(text)
    assert "@media (prefers-color-scheme:dark)" in text
    assert "#16181b" in dark and "#ffffff" in light
    for picture in (dark, light):
        root = ElementTree.fromstring(picture)
        assert root.tag.endswith("svg")
        assert not any(one.tag.endswith("script") for one in root.iter())
        assert len(root.findall(".//{*}g[@class='box']")) == len(boxes(circuit, graph))
        assert len(root.findall(".//{*}polyline")) == len(draw(graph, circuit, {}, box_width).drawn_edges) > 0


def test_figures() -> None:
    graph, circuit = hostile()
    text = html_report(graph, circuit, title="t")
    found = circuit_scores(circuit, graph)
    assert f">{found.circuit.replacement:.4g}<" in text
    assert f">{found.graph.completeness:.4g}<" in text
    assert "<p class=bad>Largest conservation error of all rows: 2.0e-03" in text
    edges = supernode_edges(graph, boxes(circuit, graph))
    assert len(edges.source) > 2
    for share in edges.share:
        number = f"{share:.4g}".replace("-", "−")
        assert f'<td class="n {"for" if share > 0 else "against"}">{number}</td>' in text
    kept = replace(graph, meta={"conservation_error": 1e-6, "conservation_bound": 1e-4})
    clean = html_report(kept, circuit, title="t")
    assert "class=bad" not in clean
    assert "not checked" in html_report(replace(graph, meta={}), circuit, title="t")
    assert "do not apply to neurons" in html_report(replace(graph, measure="relevance"), circuit, title="t")


def test_an_empty_circuit_and_kept_places() -> None:
    graph, circuit = hostile()
    assert Reader(html_report(graph, Circuit(), title="t")).tags
    shown = boxes(circuit, graph)
    far = circuit_svg(graph, circuit, title="t", places={shown[0].key: (5000.0, 0.0)})
    near = circuit_svg(graph, circuit, title="t")
    width = [float(ElementTree.fromstring(svg).attrib["width"]) for svg in (far, near)]
    assert width[0] > 4000 > width[1]


def test_it_is_written_whole(tmp_path: Path) -> None:
    graph, circuit = hostile()
    write_html_report(graph, circuit, tmp_path / "a.html", title=HOSTILE)
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == html_report(graph, circuit, title=HOSTILE)
    with pytest.raises(RequestError, match="no folder"):
        write_html_report(graph, circuit, tmp_path / "no" / "a.html", title="t")
