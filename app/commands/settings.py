"""The settings: what a person chooses once, and where each choice is obeyed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.dialogs import Ask
from app.panels.settings_sheet import SettingsSheet
from engine.errors import LoupeError
from engine.preferences import Preferences, read_preferences, write_preferences

if TYPE_CHECKING:
    from app.window import MainWindow

REOPEN_KEY, PROJECT_KEY = "session/reopen", "session/project"


class Settings:
    """Shows the sheet and carries its choices to where they hold."""

    def __init__(self, window: MainWindow) -> None:
        self.window = window
        self.sheet: SettingsSheet | None = None
        self.left: Path | None = None  # the project of a run that ended badly

    def show(self) -> None:
        """Open the sheet; made when it is first asked for."""
        if self.sheet is None:
            self.sheet = SettingsSheet(self, self.window)
        self.sheet.popup()

    def close(self) -> None:
        """The window closes: remember what was open, and put the sheet away."""
        project = self.window.session.project
        self.window.memory.set_text(PROJECT_KEY, "" if project is None else str(project.path))
        if self.sheet is not None:
            self.sheet.close()

    # ---- what the engine obeys -----------------------------------------------------------------------------------

    @property
    def preferences(self) -> Preferences:
        """What was chosen."""
        return read_preferences()

    def choose(self, **changes: Any) -> None:
        """Change what the engine obeys; what cannot be kept is said."""
        before = read_preferences()
        after = replace(before, **changes)
        if after == before:
            return
        try:
            write_preferences(after)
        except LoupeError as error:
            self.window.session.report_problem("graph", error.sentence)
            return
        if after.device != before.device:
            self.window.runs.load_elsewhere()
        self.window.models.fill()

    def add_folder(self) -> None:
        """Ask for a folder whose models are to be listed."""
        folder = Ask.open_folder(self.window, "A folder with models")
        known = self.preferences.model_folders
        if folder is not None and str(folder) not in known:
            self.choose(model_folders=(*known, str(folder)))

    def remove_folder(self, folder: str) -> None:
        """List a folder's models no longer."""
        self.choose(model_folders=tuple(one for one in self.preferences.model_folders if one != folder))

    # ---- what was open -------------------------------------------------------------------------------------------

    @property
    def reopens(self) -> bool:
        """Whether a start opens what was open at the end of the run before."""
        return self.window.memory.text(REOPEN_KEY, "yes") == "yes"

    def set_reopens(self, on: bool) -> None:
        """Remember that choice."""
        self.window.memory.set_text(REOPEN_KEY, "yes" if on else "no")

    def reopen(self) -> None:
        """At the start: open what was open when the run before ended well."""
        path = Path(self.window.memory.text(PROJECT_KEY, "") or ".")
        if self.reopens and path.is_file():
            self.window.files.open_path(path)

    def offer(self, sentence: str, project: Path | None) -> None:
        """At the start after a run that ended badly: say so, and offer what was open."""
        self.left = project
        self.window.registry.refresh()
        self.window.session.report_problem("start", sentence, "file.reopen" if project else "help.show_log")

    def open_left(self) -> None:
        """Open what was open when the program ended badly."""
        path, self.left = self.left, None
        if path is not None:
            self.window.files.open_path(path)

    def has_left(self) -> bool:
        """Whether there is such a project."""
        return self.left is not None
