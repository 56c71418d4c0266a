"""Takes the pictures of the documentation from the real window: `make pictures`."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
SIZE = (1440, 900)
PATIENCE = 300.0
OTHER = "The capital of France is"
# Layer and number of neurons of the starter at the last token of the first sample, and what their logit effects and
# examples say of them; the first is selected, the others are a group.
CIRCUIT = ((24, 1005, "say a capital"), (22, 916, "cities"), (21, 1104, "locations"))
GROUP = "places"


def main(folder: Path) -> None:
    """Trace samples with the starter model and grab the window; touches no settings of the person's."""
    with tempfile.TemporaryDirectory() as home:
        from engine.places import HOME_VARIABLE

        os.environ[HOME_VARIABLE] = home
        from PySide6.QtWidgets import QApplication

        from app.samples import load_samples
        from app.window import MainWindow
        from engine.dictionaries.starter_sets import STARTER_SETS
        from engine.graphs import NodeKind

        app = QApplication(sys.argv[:1])
        window = MainWindow(app)
        window.resize(*SIZE)
        window.show()

        def wait(condition: Callable[[], bool]) -> None:
            end = time.monotonic() + PATIENCE
            while not condition() and time.monotonic() < end:
                app.processEvents()
                time.sleep(0.01)
            if not condition():
                raise SystemExit("the window did not get there")

        def take(name: str) -> None:
            wait(lambda: not window.host.busy and not window.beside.busy)
            for _ in range(50):
                app.processEvents()
                time.sleep(0.01)
            if not window.grab().save(str(folder / name)):
                raise SystemExit(f"{name} could not be written")

        session = window.session
        window.look.set_theme("light")
        window.start.sampleChosen.emit(load_samples().prompts[0].text)
        wait(lambda: not window.host.busy and session.trace_id is not None)
        first, graph = session.trace_id, session.graph
        assert graph is not None and first is not None
        window.registry.run("help.guide")
        features = graph.of_kind(NodeKind.FEATURE)
        session.select(int(features[graph.influence[features].argmax()]))
        take("guide.png")
        window._docks["guide"].hide()
        window.show_dock("investigation")

        # The circuit, as the guide has it made.
        session.select(-1)  # a selected node stays in view
        window.registry.run("view.hide_bos")
        at_end = graph.position == graph.n_positions - 1
        nodes = [
            int((at_end & (graph.layer == layer) & (graph.feature == number)).nonzero()[0][0])
            for layer, number, _ in CIRCUIT
        ]
        for node, (_, _, label) in zip(nodes, CIRCUIT, strict=True):
            window.edits.label(node, label)
            window.edits.pin([node])
        window.edits.group(nodes[1:], GROUP)
        session.select(nodes[0])
        window.area.show_lower(window.area.circuit)
        take("window-light.png")
        window.look.set_theme("dark")

        # Beside another prompt.
        session.prompt.edit(text=OTHER, bos=True, chat=False)
        window.runs.trace()
        wait(lambda: not window.host.busy and session.trace_id not in (None, first))
        other = session.trace_id
        assert other is not None
        session.open_trace(first)
        window.comparison.compare(first, other)
        wait(lambda: window.comparison.pairing is not None)
        session.select(nodes[0])
        take("compare-dark.png")
        window.registry.run("trace.compare_close")

        # The transcoders that ship, and what their strongest feature is active at.
        session.prompt.edit(text=load_samples().prompts[0].text, bos=True, chat=False)
        window.runs.choose_features(STARTER_SETS[0].id)
        window.models.fill_features()
        window.runs.trace()
        wait(lambda: not window.host.busy and session.trace_id not in (None, first, other))
        traced = session.graph
        assert traced is not None
        wait(lambda: window.evidence.index is not None)
        window.registry.run("evidence.label")
        window.area.show_lower(window.area.table)
        features = traced.of_kind(NodeKind.FEATURE)
        session.select(int(features[traced.influence[features].argmax()]))
        take("transcoders-dark.png")
        window.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
