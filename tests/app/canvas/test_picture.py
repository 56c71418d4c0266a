"""PNG and PDF pictures, with and without a window."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QByteArray
from PySide6.QtGui import QColor, QImage, QPainter
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication

from app.canvas.picture import LARGEST_PAGE, LARGEST_SIDE, render_pdf, render_svg, write_drawing
from engine.errors import LoupeError
from engine.graphs.circuit import Circuit
from engine.graphs.graph import NodeKind
from engine.graphs.svg import svg_text
from tests.app.canvas.conftest import View
from tests.graph_builder import build_graph

REPOSITORY = Path(__file__).parents[3]


def test_a_png_is_the_svg_in_pixels(qapp: QApplication, tmp_path: Path) -> None:
    graph = build_graph(n_features=40)
    view = View(np.ones(graph.n_nodes, dtype=bool), np.ones(graph.n_edges, dtype=bool))
    path = tmp_path / "a.png"
    write_drawing(svg_text(graph, view, title="A title", dark=True), path, scale=1.5)
    image = QImage(str(path))
    drawn = render_svg(svg_text(graph, view, title="A title", dark=True), 1.5)
    assert image.size() == drawn.size()
    for x in (2, image.width() - 3):
        for y in (2, image.height() - 3):
            assert image.pixelColor(x, y).name() == "#16181b"
    colours = {image.pixelColor(x, y).name() for x in range(0, image.width(), 2) for y in range(0, image.height(), 2)}
    # Logits and embeddings are filled squares, and there is text.
    assert {"#dfe4ea", "#8c7640", "#e6e9ed"} <= colours
    assert os.listdir(tmp_path) == ["a.png"]  # noqa: PTH208
    assert np.count_nonzero(graph.kind == NodeKind.LOGIT) > 0


def test_painted_in_pieces_it_is_the_same(qapp: QApplication) -> None:
    graph = build_graph(n_features=60)
    view = View(np.ones(graph.n_nodes, dtype=bool), np.ones(graph.n_edges, dtype=bool))
    text = svg_text(graph, view, title="<A> & title", circuit=Circuit((9,), labels={9: "a <label>"}))
    found = render_svg(text, 1.0)
    whole = QImage(found.size(), found.format())
    whole.fill(QColor("#ffffff"))
    painter = QPainter(whole)
    painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.TextAntialiasing)
    painter.setClipRect(whole.rect())
    QSvgRenderer(QByteArray(text.encode())).render(painter)
    painter.end()
    assert found == whole


def test_a_huge_picture_is_scaled_down(qapp: QApplication) -> None:
    text = '<svg xmlns="http://www.w3.org/2000/svg" width="4000" height="10" viewBox="0 0 4000 10"/>'
    assert render_svg(text, 100).width() == LARGEST_SIDE


def test_a_missing_folder_is_one_sentence(qapp: QApplication, tmp_path: Path) -> None:
    graph = build_graph(n_features=3)
    view = View(np.ones(graph.n_nodes, dtype=bool), np.ones(graph.n_edges, dtype=bool))
    with pytest.raises(LoupeError, match="no folder"):
        write_drawing(svg_text(graph, view, title="t"), tmp_path / "none" / "a.png")


def test_it_needs_neither_a_window_nor_a_display(tmp_path: Path) -> None:
    code = (
        "import numpy as np, sys\n"
        "from types import SimpleNamespace\n"
        "from tests.graph_builder import build_graph\n"
        "from app.canvas.picture import write_drawing\n"
        "from engine.graphs.svg import svg_text\n"
        "from pathlib import Path\n"
        "g = build_graph(n_features=20)\n"
        "v = SimpleNamespace(nodes=np.ones(g.n_nodes, bool), edges=np.ones(g.n_edges, bool))\n"
        "write_drawing(svg_text(g, v, title='t'), Path(sys.argv[1]))\n"
    )
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment["PYTHONPATH"] = str(REPOSITORY)
    path = tmp_path / "a.png"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert QImage(str(path)).width() > 1000
    assert "Traceback" not in done.stderr


def test_a_pdf_is_one_page_of_lines_and_letters(qapp: QApplication, tmp_path: Path) -> None:
    graph = build_graph(n_features=40)
    view = View(np.ones(graph.n_nodes, dtype=bool), np.ones(graph.n_edges, dtype=bool))
    text = svg_text(graph, view, title="A title")
    path = tmp_path / "a.pdf"
    write_drawing(text, path)
    data = path.read_bytes()
    assert data.startswith(b"%PDF-")
    assert data.count(b"/Type /Page\n") == 1
    box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", data)
    size = re.search(r'width="(\d+)" height="(\d+)"', text)
    assert box is not None
    assert size is not None
    for points, pixels in zip(box.groups(), size.groups(), strict=True):
        assert abs(float(points) - 0.75 * float(pixels)) <= 1
    assert b"/Font" in data
    assert b"/Subtype /Image" not in data


def test_a_huge_page_is_scaled_down(qapp: QApplication) -> None:
    text = '<svg xmlns="http://www.w3.org/2000/svg" width="90000" height="300" viewBox="0 0 90000 300"/>'
    box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", render_pdf(text))
    assert box is not None
    assert float(box[1]) <= LARGEST_PAGE + 1
