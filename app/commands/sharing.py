"""Giving a project away, taking others in, labels as a file, and saving what is left of a damaged project."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.registry import Command
from app.dialogs import Ask
from app.engine_calls import bind
from app.jobs import Failure, Outcome, Value
from app.panels.list_sheet import ListSheet
from app.panels.wait_sheet import WaitSheet
from engine.errors import LoupeError
from engine.graphs.visible_text import visible_text
from engine.progress import Progress
from engine.projects import Merged, Project, Rescue, export_labels, import_labels, rescue

if TYPE_CHECKING:
    from app.window import MainWindow

FILE = "&File"
LABELS = "Labels (*.json)"
SUFFIX = ".loupe"


class Sharing:
    """The File menu's work with files of others. What came of it is a plain list beside the window."""

    def __init__(self, window: MainWindow) -> None:
        self.window, self.session = window, window.session

    def can_take(self) -> bool:
        """The project, or a new one, takes what comes in."""
        return not self.session.read_only

    # ---- out ---------------------------------------------------------------------------------------------------

    def save_package(self) -> None:
        """Ask where, and write the project as one gives it away."""
        project = self.session.project
        if project is None:
            return
        name = "Investigation" if self.session.unsaved else project.path.stem
        suggested = self.window.files.beside(f"{name} (shared){SUFFIX}")
        asked = Ask.save_file(self.window, "Save a package for sharing", suggested, f"Projects (*{SUFFIX})")
        path = None if asked is None else _with_suffix(asked, SUFFIX)
        if path is not None and Ask.may_replace(self.window, (path,)):
            self.window.settle()
            self._run("Saving a package", bind(_package, project, path), partial(self._packaged, path))

    def _packaged(self, path: Path, done: object) -> None:
        self.window.say(f"Saved {path.name}: no paths, no names, no history; prompts are as they were")

    def save_labels(self) -> None:
        """Ask where, and write the labels that hold everywhere."""
        project = self.session.project
        if project is None:
            return
        asked = Ask.save_file(self.window, "Export labels", self.window.files.beside("labels.json"), LABELS)
        path = None if asked is None else _with_suffix(asked, ".json")
        if path is None or not Ask.may_replace(self.window, (path,)):
            return
        try:
            count = export_labels(project, path)
        except LoupeError as error:
            self.session.report_problem("investigation", error.sentence)
            return
        self.window.say(f"Labels that hold everywhere, written to {path.name}: {count:,}")

    # ---- in ----------------------------------------------------------------------------------------------------

    def take_in(self) -> None:
        """Ask which project, and take what it holds in."""
        path = Ask.open_project(self.window, self.window.files.folder())
        if path is None:
            return
        self.window.settle()
        try:
            project = self.session.ensure_project()
        except LoupeError as error:
            self.session.report_error("investigation", error)
            return
        self._run(f"Taking in {path.name}", bind(_take_in, project, path), partial(self._taken, path))

    def _taken(self, path: Path, done: Merged) -> None:
        self.session.refresh()
        self.window.investigation.go_to(done.folder)
        ListSheet("Taken in", path.name, merged_sentences(done), self.window).open_beside()

    def take_labels(self) -> None:
        """Ask for a file of labels, and give them."""
        path = Ask.open_file(self.window, "Import labels", LABELS)
        if path is None:
            return
        try:
            found = import_labels(self.session.ensure_project(), path)
        except LoupeError as error:
            self.session.report_error("investigation", error)
            return
        self.session.refresh()
        sentences = [f"Labels given, which hold everywhere and which undo takes back: {found.given:,}."]
        sentences += [f"Here already: {found.same:,}."] if found.same else []
        sentences += [f"Not given, because a person here wrote something else: {found.kept:,}."] if found.kept else []
        ListSheet("Labels imported", path.name, sentences, self.window).open_beside()

    # ---- damaged -----------------------------------------------------------------------------------------------

    def rescue(self) -> None:
        """Save what can be saved of the project that was found damaged, or of one that is asked for."""
        path, self.session.damaged = self.session.damaged, None
        path = path or Ask.open_project(self.window, self.window.files.folder())
        if path is not None:
            self.window.settle()
            self._run(f"Saving what can be saved of {path.name}", bind(_rescue, path), self._rescued)

    def _rescued(self, done: Rescue) -> None:
        self.window.files.open_path(done.project)
        ListSheet("Rescued", done.project.name, rescue_sentences(done), self.window).open_beside()

    # ---- how ---------------------------------------------------------------------------------------------------

    def _run(self, title: str, job: Any, then: Callable[[Any], None]) -> None:
        host = self.window.beside
        sheet = WaitSheet(title, host, self.window)
        host.submit("project", title, job, partial(self._ended, then))
        sheet.open()

    def _ended(self, then: Callable[[Any], None], outcome: Outcome) -> None:
        if isinstance(outcome, Value):
            then(outcome.value)
        elif isinstance(outcome, Failure):
            place = "start" if self.session.project is None else "investigation"
            self.session.report_problem(place, outcome.sentence, "help.show_log" if outcome.ours else "")


def _package(project: Project, path: Path, progress: Progress, cancel: threading.Event) -> None:
    progress(f"Writing {path.name}", 0.0)
    project.save_package(path, overwrite=True)


def _take_in(project: Project, path: Path, progress: Progress, cancel: threading.Event) -> Merged:
    return project.take_in(path, progress, cancel)


def _rescue(path: Path, progress: Progress, cancel: threading.Event) -> Rescue:
    progress(f"Reading what is left of {path.name}", 0.0)
    return rescue(path)


def merged_sentences(done: Merged) -> list[str]:
    """What came, and what was not taken."""
    came = (
        f"traces: {done.traces:,}; experiments: {done.experiments:,}; folders, prompts, notes, circuits: {done.items:,}"
    )
    sentences = [f"Taken in, in a folder of its own, which undo takes out again: {came}."]
    sentences += [f"Labels that hold everywhere and are new here: {done.labels:,}."] if done.labels else []
    sentences += [f"Labels not taken, because a person here wrote something else: {done.kept:,}."] if done.kept else []
    return sentences


def rescue_sentences(done: Rescue) -> list[str]:
    """What was saved, what was not, and where the files are."""
    counted = (("trace", "traces"), ("label", "labels"), ("item", "folders, prompts, notes, circuits"))
    saved = "; ".join(f"{words}: {done.saved.get(table, 0):,}" for table, words in counted)
    lost = [f"Lost: {visible_text(sentence)}" for sentence in done.lost] or ["Nothing was lost."]
    return [
        f"Saved {saved}.",
        *lost,
        f"The damaged file as it was: {done.damaged}",
        f"What was saved: {done.project}",
    ]


def _with_suffix(path: Path, suffix: str) -> Path:
    return path if path.suffix == suffix else path.with_name(path.name + suffix)


def sharing_commands(window: MainWindow) -> list[Command]:
    """In menu order."""
    sharing, asked = window.sharing, window.conditions
    return [
        Command("file.take_in", "&Take in another project…", FILE, sharing.take_in, (), "into", sharing.can_take,
                tip="Take another project's traces, notes, experiments and labels in, in a folder of its own",
                section=2),
        Command("file.import_labels", "Import &labels…", FILE, sharing.take_labels, (), "label", sharing.can_take,
                tip="Give the labels of a file; what a person here wrote stays", section=2),
        Command("file.save_package", "Save a pac&kage for sharing…", FILE, sharing.save_package, (), "shared",
                asked.has_project, tip="Write the project without paths, names of people, and history", section=2),
        Command("file.export_labels", "Export la&bels…", FILE, sharing.save_labels, (), "export", asked.has_project,
                tip="Write the labels that hold everywhere to a JSON file", section=2),
        Command("file.rescue", "Rescue a &damaged project…", FILE, sharing.rescue, (), "history",
                tip="Copy the damaged file aside, and save what can be read of it into a new project", section=2),
    ]  # fmt: skip
