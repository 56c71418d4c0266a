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
# (file, theme, which sample, with the guide beside it)
PICTURES = (
    ("window-light.png", "light", 0, False),
    ("window-dark.png", "dark", 1, False),
    ("guide.png", "light", 0, True),
)


def main(folder: Path) -> None:
    """Trace samples with the starter model and grab the window; touches no settings of the person's."""
    with tempfile.TemporaryDirectory() as home:
        from engine.places import HOME_VARIABLE

        os.environ[HOME_VARIABLE] = home
        from PySide6.QtWidgets import QApplication

        from app.samples import load_samples
        from app.window import MainWindow
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

        for name, theme, sample, guided in PICTURES:
            window.look.set_theme(theme)
            window.start.sampleChosen.emit(load_samples().prompts[sample].text)
            wait(lambda: not window.host.busy and window.session.trace_id is not None)
            if guided:
                window.registry.run("help.guide")
            graph = window.session.graph
            assert graph is not None
            features = graph.of_kind(NodeKind.FEATURE)
            window.session.select(int(features[graph.influence[features].argmax()]))
            wait(lambda: not window.host.busy)
            for _ in range(50):
                app.processEvents()
                time.sleep(0.01)
            if not window.grab().save(str(folder / name)):
                raise SystemExit(f"{name} could not be written")
        window.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
