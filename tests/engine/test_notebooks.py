"""The notebooks of docs/ run from top to bottom and come to what they say."""

from __future__ import annotations

import os

import pytest

from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "docs" / "notebooks"
# What a person sees of it: the test of the circuit supports it, and the trained features were active.
SHOWN = {
    "trace-and-test-a-circuit": ("' Austin' 0.31", "is needed", "evidence: supported", "12 pins"),
    "train-and-read-a-dictionary": ("the first 3 layers", "FVU", "layer_0.safetensors", "features were active"),
}


def test_every_notebook_is_known_and_named_in_the_docs() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(SHOWN)
    page = (REPOSITORY / "docs" / "library.md").read_text(encoding="utf-8")
    assert all(f"notebooks/{name}.ipynb" in page for name in SHOWN)


@pytest.mark.filterwarnings("default")  # of the notebook client and its sockets, not ours
@pytest.mark.parametrize("name", sorted(SHOWN))
def test_a_notebook_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    stored = "".join(text_of(notebook))
    NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    said = "".join(text_of(notebook))
    for words in SHOWN[name]:
        assert words in said, f"{name} does not show {words!r}:\n{said}"
        assert words in stored, f"{name} was stored without its results: make notebooks"


def text_of(notebook: object) -> list[str]:
    """What the cells printed."""
    return [
        output.get("text", "")
        for cell in notebook.cells  # type: ignore[attr-defined]
        for output in cell.get("outputs", [])
    ]
