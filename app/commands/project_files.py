"""Opening, naming and leaving projects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices

from app.dialogs import Ask
from app.file_watch import SAVE_ELSEWHERE
from app.samples import load_sample_projects
from app.unsaved import is_unsaved, new_unsaved_path
from engine.errors import LoupeError
from engine.places import log_file
from engine.projects import DamagedProjectError, Project

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

    def folder(self) -> Path:
        """Where files of this project are looked for and written first."""
        project = self.session.project
        if project is not None and not is_unsaved(project.path):
            return project.path.parent
        recent = [path for path in self.window.memory.recent_projects() if not is_unsaved(path)]
        return recent[0].parent if recent else Path.home()

    # ---- opening and leaving -----------------------------------------------------------------------------------

    def new(self) -> None:
        """Leave the project and begin with an empty one."""
        if not self.may_leave():
            return
        self.session.close()
        self.window.show_recent()

    def open(self) -> None:
        """Ask which project to open."""
        path = Ask.open_project(self.window, self.folder())
        if path is not None:
            self.open_path(path)

    def open_sample(self) -> None:
        """Ask which sample project to open, and open a copy of it."""
        sample = Ask.sample(self.window, load_sample_projects())
        if sample is None:
            return
        path = new_unsaved_path(f"Sample {sample.name}")
        try:
            sample.copy_to(path)
        except OSError as error:
            reason = error.strerror or "the file cannot be written"
            sentence = f"The sample could not be copied to {path.parent} ({reason}); make room there and try again."
            self.session.report_problem(self._place, sentence, "file.sample")
            return
        self.open_path(path)

    def may_leave(self) -> bool:
        """Write down what is being typed; where something is in no file then, ask: save it elsewhere, or leave it."""
        self.window.settle()
        self.session.heartbeat()
        watch = self.session.file
        if not watch.missing:
            return True
        answer = Ask.leave(self.window, watch.missing)
        if answer is None:
            return False
        if answer:
            self.save_as()
            return not watch.missing
        watch.held.clear()
        return True

    def set_aside(self) -> None:
        """The system ends the program: what is in no file goes into a project without a name, listed at the start."""
        self.window.settle()
        session = self.session
        session.heartbeat()
        if session.project is None or not session.file.missing:
            return
        path = new_unsaved_path()
        try:
            session.project.save_copy(path)
            with Project.open(path) as copy:
                session.file.held.put_into(copy)
        except LoupeError as error:
            session.report_error("project", error)
            return
        session.file.held.clear()
        self.window.remember_project(path)

    def can_edit_here(self) -> bool:
        """Another program had the file, and has let go of it."""
        return self.session.file.is_free

    def edit_here(self) -> None:
        """Open the file again, now that the program that had it has let go: it may be written, and is as it is now."""
        project, trace = self.session.project, self.session.trace_id
        if project is not None:
            path = project.path
            self.session.set_project(None)
            if self.open_path(path) and trace is not None and trace in self.session.trace_numbers():
                self.session.open_trace(trace)

    def open_path(self, path: Path) -> bool:
        """Open a project; False, and a sentence in the window, where it cannot be."""
        current = self.session.project
        if current is not None and _same_file(path, current.path):
            return True
        if not self.may_leave():
            return False
        try:
            project = Project.open(path)
        except DamagedProjectError as error:
            self.session.damaged = path
            self.session.report_problem(self._place, error.sentence, "file.rescue", "Save what is left of it")
            return False
        except LoupeError as error:
            self.session.report_problem(self._place, error.sentence, "file.open")
            self.window.show_recent()
            return False
        self.session.keep_prompt()
        self.session.set_project(project)
        self.window.remember_project(path)
        self._tell(project)
        return True

    def take(self, paths: Sequence[Path]) -> None:
        """Open the project among some files, and add the graphs to it."""
        projects = [path for path in paths if path.suffix.lower() == SUFFIX]
        if projects and not self.open_path(projects[0]):
            return
        for path in paths:
            if path.suffix.lower() != SUFFIX:
                self.window.graph_files.read(path)

    def _tell(self, project: Project) -> None:
        """Say at once what is special about the file that was opened."""
        said = [sentence for sentence in (project.read_only_reason, project.warning) if sentence]
        if said:
            self.session.report_problem("project", " ".join(said), "file.save_as", SAVE_ELSEWHERE)
        elif project.backup is not None:
            sentence = f"An older Circuit Loupe wrote this project; it is kept as it was in {project.backup.name}."
            self.session.report_problem("project", sentence)

    def save_as(self) -> None:
        """Give the project a name: an unsaved one moves there, a named one goes on in the copy."""
        project = self.session.ensure_project()
        start = "Investigation" if is_unsaved(project.path) else project.path.stem
        asked = Ask.save_file(self.window, "Save as", self.folder() / f"{start}{SUFFIX}", f"Projects (*{SUFFIX})")
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
        self._tell(copy)
        self.session.file.put_held()
        if unsaved:
            _remove(old)
        self.window.remember_project(path)
        return True

    # ---- other files -------------------------------------------------------------------------------------------

    def beside(self, name: str) -> Path:
        """A file of that name beside the project."""
        return self.folder() / name

    def suggested(self, suffix: str) -> Path:
        """A file beside the project, named after the open trace."""
        words = "".join(letter if letter.isalnum() else " " for letter in self.trace_title())
        return self.folder() / f"{' '.join(words.split())[:60] or 'graph'}{suffix}"

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
