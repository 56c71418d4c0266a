"""Choosing models and dictionaries that are not in the lists yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from app.dialogs import Ask
from app.panels.models_page import ModelsPage
from app.shelf import ShelfRow, shelf_rows
from engine.dictionaries.starter_sets import starter_sets_for
from engine.models.catalogue import find_models
from engine.models.opened import opened, remember_opened
from engine.models.published import published

if TYPE_CHECKING:
    from app.window import MainWindow

LEAST_NODES, MOST_NODES = 10, 20_000


class ModelChoice:
    """Fills the pickers and opens what is not in them."""

    def __init__(self, window: MainWindow) -> None:
        self.window = window
        self._page: ModelsPage | None = None

    def fill(self) -> None:
        """Find models again and show them; the first that fits is chosen where none is yet."""
        window = self.window
        entries = find_models(opened("models"))
        window.prompt_bar.models.show_models(entries)
        remembered = window.memory.text("model", "")
        known = {entry.id: entry for entry in entries}
        window.runs.known_models = set(known)
        window.runs.ready_models = {entry.id for entry in entries if entry.prepared and entry.fits}
        if not window.runs.wanted_model:
            fitting = [entry.id for entry in entries if entry.fits]
            chosen = remembered if remembered in known else (fitting[0] if fitting else "")
            if chosen:
                window.runs.choose_model(chosen)
        window.prompt_bar.models.show_source(window.runs.wanted_model)
        self.fill_features()

    def fill_features(self) -> None:
        """Show the dictionaries a person opened, and downloaded ones that are for the chosen model or used now."""
        window = self.window
        wanted, current = window.runs.wanted_model, window.runs.wanted_features
        fetched = [
            (entry.title, entry.id, "")
            for entry in published()
            if entry.what == "dictionary" and entry.path is not None and (entry.model == wanted or entry.id == current)
        ]
        fetched = [(one.title, one.id, one.measured) for one in starter_sets_for(wanted)] + fetched
        others = [(path.name or str(path), str(path), "") for path in opened("dictionaries")]
        window.prompt_bar.features.show_features([*fetched, *others], current)

    # ---- the page of models and dictionaries -------------------------------------------------------------------

    def show_page(self) -> None:
        """Show everything there is, here and published; made when it is first asked for."""
        if self._page is None:
            self._page = ModelsPage(self.window)
        self._page.popup()

    def close_page(self) -> None:
        """The window closes."""
        if self._page is not None:
            self._page.close()

    @property
    def page(self) -> ModelsPage | None:
        """The page, where it was asked for."""
        return self._page

    def shelf(self) -> list[ShelfRow]:
        """What the page lists."""
        return shelf_rows(find_models(opened("models")), [str(path) for path in opened("dictionaries")], published())

    def use(self, row: ShelfRow) -> None:
        """Use a model or dictionary of the page from now on; a dictionary's own model comes with it if it is here."""
        runs = self.window.runs
        self.fill()
        if row.what == "model":
            runs.choose_model(row.source)
            runs.load_model()
        else:
            if row.model in runs.known_models:
                runs.choose_model(row.model)
            runs.choose_features(row.source)
        self.window.prompt_bar.models.show_source(runs.wanted_model)
        self.fill_features()

    # ---- what is in no list ------------------------------------------------------------------------------------

    def open_folder(self) -> None:
        """Ask for a model folder."""
        self._take(Ask.open_folder(self.window, "Open a model folder (with config.json)"))

    def open_file(self) -> None:
        """Ask for a GGUF file."""
        self._take(Ask.open_file(self.window, "Open a GGUF file", "GGUF models (*.gguf)"))

    def _take(self, path: Path | None) -> None:
        if path is None:
            return
        self.take(path)

    def take(self, path: Path) -> None:
        """Use a model folder or file from now on, and load it."""
        window = self.window
        remember_opened("models", path)
        listed = [entry for entry in find_models(opened("models")) if entry.path == path]
        window.runs.choose_model(listed[0].id if listed else str(path))
        self.fill()
        window.runs.load_model()

    def open_features(self) -> None:
        """Ask for a folder with transcoders."""
        path = Ask.open_folder(self.window, "Open a folder with transcoders")
        if path is not None:
            remember_opened("dictionaries", path)
            self.window.runs.choose_features(str(path))
            self.fill_features()

    def ask_budget(self) -> None:
        """Ask how many feature nodes a trace may have."""
        runs = self.window.runs
        question = "Feature nodes of a trace (more explain more and take longer)"
        chosen = Ask.number(self.window, "Number of nodes", question, runs.max_nodes, LEAST_NODES, MOST_NODES)
        if chosen is not None:
            runs.max_nodes = chosen
            self.window.memory.set_text("trace/max_nodes", str(chosen))
