"""Opening, naming and leaving projects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices

from app.dialogs import Ask
from app.unsaved import is_unsaved
from engine.errors import LoupeError
from engine.places import log_file
from engine.projects import Project

if TYPE_CHECKING:
    from app.window import MainWindow

SUFFIX = ".loupe"


class ProjectFiles:
    """The File menu's work. Errors become a sentence on the page where it happened; the window stays usable."""

    def __init__(self, window: MainWindow) -> None:
        self.window = window
        self.session = window.session

    @property
    def _place(self) -> str:
        return "start" if self.session.graph is None else "graph"

    def _folder(self) -> Path:
        project = self.session.project
        if project is not None and not is_unsaved(project.path):
            return project.path.parent
        recent = [path for path in self.window.memory.recent_projects() if not is_unsaved(path)]
        return recent[0].parent if recent else Path.home()

    # ---- opening and leaving -----------------------------------------------------------------------------------

    def new(self) -> None:
        """Leave the project and begin with an empty one."""
        self.window.settle()
        self.session.close()
        self.window.show_recent()

    def open(self) -> None:
        """Ask which project to open."""
        path = Ask.open_project(self.window, self._folder())
        if path is not None:
            self.open_path(path)

    def open_path(self, path: Path) -> bool:
        """Open a project; False, and a sentence in the window, where it cannot be."""
        self.window.settle()
        current = self.session.project
        if current is not None and _same_file(path, current.path):
            return True
        try:
            project = Project.open(path)
        except LoupeError as error:
            self.session.report_problem(self._place, error.sentence, "file.open")
            self.window.show_recent()
            return False
        self.session.keep_prompt()
        self.session.set_project(project)
        self.window.remember_project(path)
        if project.read_only_reason is not None:
            self.session.report_problem(self._place, project.read_only_reason, "file.save_as")
        return True

    def save_as(self) -> None:
        """Give the project a name: an unsaved one moves there, a named one goes on in the copy."""
        project = self.session.ensure_project()
        start = "Investigation" if is_unsaved(project.path) else project.path.stem
        asked = Ask.save_file(self.window, "Save as", self._folder() / f"{start}{SUFFIX}", f"Projects (*{SUFFIX})")
        if asked is None:
            return
        path = asked if asked.suffix == SUFFIX else asked.with_name(asked.name + SUFFIX)
        if _same_file(path, project.path) or Ask.may_replace(self.window, (path,)):
            self.save_to(path)

    def save_to(self, path: Path) -> bool:
        """Write the project to `path` and go on working there."""
        self.window.settle()
        project, old_trace = self.session.ensure_project(), self.session.trace_id
        old, unsaved = project.path, is_unsaved(project.path)
        if _same_file(path, old):
            return True
        try:
            self.session.keep_prompt()
            project.save_copy(path, overwrite=True)
            copy = Project.open(path)
        except LoupeError as error:
            self.session.report_problem(self._place, error.sentence, "file.save_as")
            return False
        self.session.set_project(copy)
        if old_trace is not None:
            self.session.open_trace(old_trace)
        if unsaved:
            _remove(old)
        self.window.remember_project(path)
        return True

    # ---- other files -------------------------------------------------------------------------------------------

    def suggested(self, suffix: str) -> Path:
        """A file beside the project, named after the open trace."""
        words = "".join(letter if letter.isalnum() else " " for letter in self.trace_title())
        return self._folder() / f"{' '.join(words.split())[:60] or 'graph'}{suffix}"

    def trace_title(self) -> str:
        """What the open trace is called."""
        project = self.session.project
        rows = [] if project is None else project.traces()
        return next((row.title for row in rows if row.id == self.session.trace_id), "")

    def show_log(self) -> None:
        """Show the log in the system's file manager."""
        folder = log_file().parent
        folder.mkdir(parents=True, exist_ok=True)
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))


def _same_file(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _remove(path: Path) -> None:
    # The copy is complete and open; the nameless original is no longer needed.
    path.unlink(missing_ok=True)
    path.with_name(path.name + "-journal").unlink(missing_ok=True)
