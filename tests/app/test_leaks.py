"""A hundred graphs opened and closed leave nothing behind: no object of ours, no Qt object, no memory."""

from __future__ import annotations

import gc
from collections import Counter

import psutil
from PySide6.QtCore import QEvent, QObject
from PySide6.QtWidgets import QApplication

from app.canvas import Scene
from app.canvas.picking import NodeBins
from app.window import MainWindow
from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.edge_ranking import EdgeRanking
from engine.graphs.layout import Layout
from tests.app.conftest import as_trace
from tests.graph_builder import build_graph

OURS = (AttributionGraph, Scene, EdgeRanking, Layout, NodeBins)


def counted(window: MainWindow) -> Counter[str]:
    """Objects of ours by class, Qt objects under the window, and Qt's wrappers."""
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    gc.collect()
    alive = gc.get_objects()
    counts = Counter(type(one).__name__ for one in alive if type(one) in OURS)
    counts["Qt objects in the window"] = len(window.findChildren(QObject))
    counts["wrappers of Qt objects"] = sum(issubclass(type(one), QObject) for one in alive)
    counts["everything"] = len(alive)
    return counts


def used(window: MainWindow, traces: list[int], times: int) -> None:
    """Open each trace in turn and do what people do with it; at the end none is open."""
    session = window.session
    for number in range(times):
        session.open_trace(traces[number % len(traces)])
        graph = session.graph
        assert graph is not None
        session.select(int(graph.of_kind(NodeKind.FEATURE)[number % 5]))
        session.set_view(node_threshold=0.3 + 0.06 * (number % 10))
        window.area.canvas._hover(int(graph.of_kind(NodeKind.LOGIT)[0]))
        window.area.canvas.zoom_in()
        window.area.canvas.grab()
    session.close_trace()
    QApplication.processEvents()
    while window.beside.busy:  # a comparison that was stopped lets go of its graph when it hears of it
        QApplication.processEvents()


def test_a_hundred_graphs_leave_nothing_behind(window: MainWindow) -> None:
    elsewhere = counted(window)  # what other tests keep for themselves
    traces = []
    for seed in range(4):
        graph = build_graph(n_features=1500, n_edges=60_000, seed=seed)
        window.session.add_trace(as_trace(graph), f"trace {seed}", "neurons")
        assert window.session.trace_id is not None
        traces.append(window.session.trace_id)
    del graph
    used(window, traces, 20)  # what is made once is made now
    counted(window)  # which wraps every Qt object once
    before = counted(window)
    used(window, traces, 50)  # until then the allocator takes what it goes on using, some 50 MB
    counted(window)
    memory = psutil.Process().memory_info().rss
    used(window, traces, 50)
    after = counted(window)
    grown = psutil.Process().memory_info().rss - memory
    for one in OURS:
        assert before[one.__name__] <= elsewhere[one.__name__], before
        assert after[one.__name__] <= elsewhere[one.__name__], after
    assert after["Qt objects in the window"] <= before["Qt objects in the window"]
    assert after["wrappers of Qt objects"] <= before["wrappers of Qt objects"] + 5
    # Names and texts that are kept are bounded; a graph alone is thousands of objects for a hundred openings.
    assert after["everything"] <= before["everything"] + 2000, after - before
    # One graph with its layout and edges is about 3 MB: fifty that stayed would be 150.
    assert grown < 40 * 2**20
