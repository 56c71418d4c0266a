"""Rules about the window's source that no linter knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

APP = Path(__file__).parent.parent.parent / "app"
FILES = sorted(APP.rglob("*.py"))
ENGINE_AT_IMPORT = {
    "engine.errors", "engine.evidence.pages", "engine.progress", "engine.graphs", "engine.interventions.changes",
    "engine.interventions.status", "engine.projects",
    "engine.tracing.spec",
    "engine.dictionaries.starter_sets",
    "engine.models.catalogue", "engine.models.opened", "engine.models.published", "engine.cli.import_graph",
    "engine.models.memory", "engine.places", "engine.preferences", "engine.sizes", "engine.tracing.target_files",
    "engine.whole_files",
}  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(APP)))
def test_signals_connect_to_bound_methods_only(path: Path) -> None:
    # A lambda, a partial or a free function would run in the thread that emits.
    assert not re.search(r"\.connect\(\s*(lambda|partial)", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(APP)))
def test_labels_never_interpret_markup(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for match in re.finditer(r"= QLabel\(|\(QLabel\):", text):
        rest = text[match.start() : match.start() + 700]
        assert "PlainText" in rest or "setPixmap" in text, f"{path.name}: a label without setTextFormat"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(APP)))
def test_the_engine_is_imported_where_it_is_light(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        found = re.match(r"(?:from|import) (engine[\w.]*)", line)
        if found:
            name = found.group(1)
            assert any(name == known or name.startswith(known + ".") for known in ENGINE_AT_IMPORT), line
