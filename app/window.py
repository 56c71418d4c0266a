"""The window: one screen, its panels around the graph, and the menus."""

from __future__ import annotations

import math
from pathlib import Path

from PySide6.QtCore import QEvent, Qt, QTimer, Slot
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QDockWidget, QMainWindow, QVBoxLayout, QWidget

from app.circuit import CircuitChoice, CircuitDesk, CircuitPage
from app.commands import Edits, Registry, TreeEdits
from app.commands.catalogue import all_commands
from app.commands.circuit import CircuitHands
from app.commands.comparing import Comparing
from app.commands.conditions import Conditions
from app.commands.evidence import EvidenceHands
from app.commands.experiments import ExperimentHands
from app.commands.exports import Exports
from app.commands.graph_files import GraphFiles
from app.commands.hands import Hands
from app.commands.look import Look
from app.commands.model_choice import ModelChoice
from app.commands.project_files import ProjectFiles
from app.commands.settings import Settings
from app.commands.sharing import Sharing
from app.commands.trace_again import TraceAgain
from app.commands.training import Training
from app.commands.tree import TreeHands
from app.comparison_desk import ComparisonDesk
from app.downloads import Downloads
from app.dropped_files import dropped_files
from app.effects import EffectsDesk
from app.evidence import EvidenceDesk
from app.experiments import ExperimentDesk, ExperimentPage
from app.explained import explain
from app.feature_trace import FeatureTrace
from app.guide import Guide
from app.jobs import JobHost
from app.menus import Menus
from app.panels.about_sheet import AboutSheet
from app.panels.banner import Banner
from app.panels.circuit import CircuitPanel
from app.panels.connections import ConnectionsPanel
from app.panels.dock_title import DockTitle
from app.panels.glossary_sheet import GlossarySheet
from app.panels.graph_area import GraphArea
from app.panels.guide_panel import GuidePanel
from app.panels.help_sheet import HelpSheet
from app.panels.inspector import InspectorPanel
from app.panels.investigation import InvestigationPanel
from app.panels.palette import CommandPalette
from app.panels.prompt_bar import PromptBar
from app.panels.scrolling import scrolled
from app.panels.shared_panel import SharedPanel
from app.panels.start_page import StartPage
from app.panels.status import StatusBar
from app.prompt_draft import PromptDraft
from app.recent import Memory
from app.runs import Runs
from app.sample_runs import SampleRuns
from app.samples import load_samples
from app.series import SeriesDesk
from app.session import Problem, Session
from app.shared_features import SharedDesk
from app.special_target import SpecialTargets
from app.theme import theme_watcher
from app.unsaved import unsaved_projects
from engine.projects import SearchHit

HEARTBEAT_MS = 3_000  # a file that is gone is said within it; the heart itself beats once a minute
CLOSE_SECONDS = 5.0
SAID_MS = 5000
SIDE_GROWTH = 0.4  # side panels are this power of the text's scale wider
LEFT, RIGHT = Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea


class MainWindow(QMainWindow):
    """Puts the parts together; holds no logic of its own but opening, telling and closing."""

    def __init__(self, app: QApplication) -> None:
        super().__init__()
        self.setObjectName("main-window")
        self.setAcceptDrops(True)
        self.setDockNestingEnabled(True)
        self._closing = self._ending = False
        self.stopped = True
        self.memory = Memory()
        self.session = Session(self)
        self.host = JobHost(self)
        self.beside = JobHost(self)  # what needs no model, beside a running trace: files, likeness
        self.runs = Runs(self.session, self.host, self)
        self.effects = EffectsDesk(self.runs, self)
        self.evidence = EvidenceDesk(self.runs, self.beside, self.memory, self)
        self.downloads = Downloads(self.host, self)
        self.feature_trace = FeatureTrace(self.runs)
        self.edits, self.tree_edits = Edits(self.session), TreeEdits(self.session)
        self.choice, self.desk = CircuitChoice(self.session, self), CircuitDesk(self.effects, self.evidence, self)
        self.comparison = ComparisonDesk(self.session, self.host, self)
        self.shared = SharedDesk(self.session, self.host, self)
        self.series = SeriesDesk(self.runs, self)
        self.experiments = ExperimentDesk(self.runs, self)
        self.guide = Guide(self.session, self.experiments, self.comparison, self.memory, self)
        self.registry = Registry(self)
        self.conditions = Conditions(self.session, self.runs)
        self.files, self.hands, self.tree_hands = ProjectFiles(self), Hands(self), TreeHands(self)
        self.comparing, self.circuit_hands = Comparing(self), CircuitHands(self)
        self.evidence_hands = EvidenceHands(self)
        self.exports, self.experiment_hands = Exports(self), ExperimentHands(self)
        self.trace_again, self.sharing = TraceAgain(self), Sharing(self)
        self.graph_files, self.special = GraphFiles(self), SpecialTargets(self)
        self.models, self.look = ModelChoice(self), Look(self, app)
        self.settings, self.training = Settings(self), Training(self)
        self.look.start()
        self._build()
        self._connect()
        self.arrange()
        self.models.fill()
        self.look.restore_layout()
        self.show_recent()
        self.registry.refresh_now()
        self._show_title()
        self.prompt_bar.editor.setFocus()

    # ---- building ----------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.registry.add(*all_commands(self))
        self.start = StartPage(load_samples(), self.registry)
        page = CircuitPage(self.desk, self.choice, self.edits, self.registry)
        self.shared_panel = SharedPanel(self.shared)
        self.area = GraphArea(
            self.session,
            self.edits,
            self.registry,
            self.start,
            self.comparison,
            self.series,
            self.shared_panel,
            page,
            ExperimentPage(self.experiments, self.registry),
        )
        self.prompt_bar = PromptBar(self.session, self.runs, self.registry)
        self.investigation = InvestigationPanel(self.session, self.edits, self.tree_edits, self.registry)
        self.circuit = CircuitPanel(self.session, self.choice, self.edits, self.registry)
        self.inspector = InspectorPanel(
            self.session, self.effects, self.evidence, self.beside, self.edits, self.registry
        )
        self.connections = ConnectionsPanel(self.session)
        self.project_banner = Banner("project")
        self.project_banner.helpRequested.connect(self.registry.run)
        self.guide_panel = GuidePanel(self.guide)
        self.guide_panel.wanted.connect(self.registry.run)
        self.palette_dialog = CommandPalette(self.registry, self)
        middle = QWidget()
        column = QVBoxLayout(middle)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.project_banner)
        column.addWidget(self.area, 1)
        self.setCentralWidget(middle)
        self.status = StatusBar(self.session, self.runs, self.beside, self.registry)
        self.setStatusBar(self.status)
        self._docks = {
            name: self._dock(name, title, panel)
            for name, title, panel in (
                ("investigation", "Investigation", self.investigation),
                ("circuit", "Pins and groups", self.circuit),
                ("inspector", "Inspector", self.inspector),
                ("connections", "Connections", self.connections),
                ("guide", "First steps", self.guide_panel),
            )
        }
        top = QDockWidget("Prompt", self)
        top.setObjectName("dock-prompt")
        top.setTitleBarWidget(QWidget())
        top.setFeatures(QDockWidget.DockWidgetFeature.NoDockWidgetFeatures)
        top.setWidget(self.prompt_bar)
        self._prompt_dock = top
        self.menus = Menus(self, list(self._docks.values()))
        explain(self)

    def _dock(self, name: str, title: str, panel: QWidget) -> QDockWidget:
        dock = QDockWidget(title, self)
        dock.setObjectName(f"dock-{name}")
        dock.setTitleBarWidget(DockTitle(dock))
        dock.setWidget(scrolled(panel, grows=name != "inspector"))
        panel.setMinimumWidth(200)
        return dock

    def arrange(self) -> None:
        """Put every panel where it is at first."""
        self.resize(1440, 900)
        self.addDockWidget(Qt.DockWidgetArea.TopDockWidgetArea, self._prompt_dock)
        self.setCorner(Qt.Corner.TopLeftCorner, Qt.DockWidgetArea.TopDockWidgetArea)
        self.setCorner(Qt.Corner.TopRightCorner, Qt.DockWidgetArea.TopDockWidgetArea)
        for name, area in (("investigation", LEFT), ("circuit", LEFT), ("inspector", RIGHT), ("connections", RIGHT)):
            dock = self._docks[name]
            dock.setFloating(False)
            self.addDockWidget(area, dock)
            dock.show()
        self.tabifyDockWidget(self._docks["investigation"], self._docks["guide"])
        self._docks["guide"].hide()
        left, right = ("investigation", "circuit"), ("inspector", "connections")
        scale = self.look.text_scale() ** SIDE_GROWTH
        self.resizeDocks([self._docks[name] for name in left], [380, 260], Qt.Orientation.Vertical)
        self.resizeDocks([self._docks[name] for name in right], [340, 340], Qt.Orientation.Vertical)
        self.resizeDocks([self._prompt_dock], [self.prompt_bar.minimumSizeHint().height()], Qt.Orientation.Vertical)
        self.resizeDocks(
            [self._docks["investigation"], self._docks["inspector"]],
            [round(250 * scale), round(330 * scale)],
            Qt.Orientation.Horizontal,
        )

    def fit_text(self, ratio: float) -> None:
        """Text is `ratio` times as large as before: side panels follow, but leave most to the graph."""
        sides = [dock for dock in (self._docks["investigation"], self._docks["inspector"]) if not dock.isFloating()]
        self.resizeDocks(
            sides, [math.ceil(dock.width() * ratio**SIDE_GROWTH) for dock in sides], Qt.Orientation.Horizontal
        )
        self.resizeDocks([self._prompt_dock], [self.prompt_bar.minimumSizeHint().height()], Qt.Orientation.Vertical)

    def panels(self) -> list[QWidget]:
        """Every part of the window that can be seen, in reading order."""
        docks = {name: dock for name, dock in self._docks.items() if dock.isVisible()}
        left = [dock for dock in docks.values() if self.dockWidgetArea(dock) == LEFT]
        others = [dock for dock in docks.values() if self.dockWidgetArea(dock) != LEFT]
        circuit = (self.area.circuit.diagram, self.area.circuit.side)
        lower = (*circuit, self.area.table.table, self.area.experiments)
        middle = (self.start, self.area.canvas, *lower, self.area.compare)
        return [self.prompt_bar, *left, *(part for part in middle if part.isVisible()), *others]

    def show_dock(self, name: str) -> None:
        """Bring a panel to the front."""
        self._docks[name].show()
        self._docks[name].raise_()

    def _connect(self) -> None:
        session = self.session
        for signal in (
            session.projectChanged,
            session.traceChanged,
            session.annotationsChanged,
            session.viewChanged,
            session.historyChanged,
            session.visitedChanged,
            session.selectionChanged,
            session.finding.changed,
            session.prompt.draftChanged,
            self.runs.modelChanged,
            self.runs.readyChanged,
            self.comparison.changed,
            self.evidence.changed,
            self.comparison.filterChanged,
            self.series.changed,
            self.experiments.draftChanged,
            self.experiments.shownChanged,
            *(self.beside.started, self.beside.idle),
            self.host.started,
            self.host.ended,
            self.host.idle,
        ):
            signal.connect(self.registry.refresh)
        session.projectChanged.connect(self._project_changed)
        session.tracesChanged.connect(self._show_title)
        session.problem.connect(self._show_problem)
        session.leaving.connect(self.settle)
        session.prompt.problem.connect(self._prompt_problem)
        self.runs.modelChanged.connect(self._model_changed)
        self.host.idle.connect(self._idle)
        self.evidence.said.connect(self.say)
        self.area.grouped.connect(self._group)
        self.inspector.label.left.connect(self.hands.leave_label)
        self.investigation.hitChosen.connect(self._hit_chosen)
        self.sample_runs = SampleRuns(self)
        self.start.sampleChosen.connect(self.sample_runs.run_one)
        self.start.severalChosen.connect(self.sample_runs.run_several)
        self.start.projectChosen.connect(self.files.open_path)
        theme_watcher().changed.connect(self._restyle)
        session.traceChanged.connect(self._show_size)
        self.draft = PromptDraft(session, self.prompt_bar, self.memory, self)
        self._heartbeat = QTimer(self)
        self._heartbeat.setInterval(HEARTBEAT_MS)
        self._heartbeat.timeout.connect(self._beat)
        self._heartbeat.start()

    # ---- telling -----------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Say something short in the status bar."""
        self.statusBar().showMessage(text, SAID_MS)

    @Slot(object)
    def _show_problem(self, problem: Problem) -> None:
        banners: dict[str, Banner] = {
            "prompt": self.prompt_bar.banner,
            "graph": self.area.banner,
            "investigation": self.investigation.banner,
            "inspector": self.inspector.banner,
            "start": self.start.banner,
            "project": self.project_banner,
        }
        place = problem.place
        if place in ("graph", "start"):
            place = "start" if self.session.graph is None else "graph"
        title = self.registry.action(problem.command).command.words if problem.command else ""
        title = problem.words or title
        if not problem.sentence:
            banners[place].dismiss()
            return
        banners[place].show_problem(problem, title)

    @Slot(str)
    def _prompt_problem(self, sentence: str) -> None:
        self._show_problem(Problem("prompt", sentence))

    @Slot(str)
    def show_fault(self, sentence: str) -> None:
        """Tell of a fault of ours that nobody handled."""
        self._show_problem(Problem("graph", sentence, "help.show_log"))

    @Slot()
    def _restyle(self) -> None:
        self.registry.restyle()
        self.prompt_bar.restyle()

    @Slot()
    def _show_title(self) -> None:
        project = self.session.project
        if project is None:
            name = ""
        elif self.session.unsaved:
            name = "Untitled — "
        else:
            name = f"{project.path.stem}{' (reading only)' if project.read_only else ''} — "
        self.setWindowTitle(f"{name}Circuit Loupe")

    @Slot()
    def _project_changed(self) -> None:
        self.start.banner.dismiss()
        self.investigation.banner.dismiss()
        self.project_banner.dismiss()
        project = self.session.project
        if project is not None:
            self.remember_project(project.path)
        self._show_title()

    @Slot()
    def _model_changed(self) -> None:
        if self.runs.model is not None:
            self.memory.set_text("model", self.runs.wanted_model)
        self.models.fill_features()

    @Slot()
    def _show_size(self) -> None:
        self.look.show_size()

    @Slot()
    def _beat(self) -> None:
        self.session.heartbeat()

    @Slot(object)
    def _group(self, nodes: list[int]) -> None:
        self.hands.group(nodes)

    @Slot(object)
    def _hit_chosen(self, hit: SearchHit) -> None:
        self.tree_hands.go_to(hit)

    # ---- projects ----------------------------------------------------------------------------------------------

    def remember_project(self, path: Path) -> None:
        """Put a project at the top of the recent ones."""
        self.memory.add_project(path)
        self.show_recent()

    def show_recent(self) -> None:
        """Show the recent projects on the start page, and after them every other one that has no name."""
        recent = self.memory.recent_projects()
        self.start.show_recent([*recent, *(path for path in unsaved_projects() if path.resolve() not in recent)])

    @Slot()
    def settle(self) -> None:
        """Write down what is still being typed or moved, before something else is opened."""
        self.inspector.label_line.finish()
        self.investigation.commit_note()
        self.area.strip.commit()

    # ---- running -----------------------------------------------------------------------------------------------

    def run_trace(self) -> None:
        """Trace what the prompt bar says."""
        self.prompt_bar.commit()
        if self.special.is_chosen():
            self.special.trace()
        else:
            self.runs.trace(self.prompt_bar.target.token, self.prompt_bar.against.token)

    def run_generate(self) -> None:
        """Let the model continue the prompt."""
        self.prompt_bar.commit()
        self.runs.generate(self.prompt_bar.count.value())

    def run_series(self) -> None:
        """Trace each token of the answer."""
        self.prompt_bar.commit()
        self.series.run(self.prompt_bar.count.value())

    def edits_undo(self) -> None:
        """Take the last edit back."""
        self.settle()
        self.edits.undo()

    def edits_redo(self) -> None:
        """Make the edit again that was taken back last."""
        self.settle()
        self.edits.redo()

    def show_palette(self) -> None:
        """Show every command."""
        self.palette_dialog.popup()

    def show_help(self) -> None:
        """Show keys and gestures."""
        HelpSheet(self.registry, self).open()

    def show_guide(self) -> None:
        """Show the first steps, in the place of the investigation, which stays behind its tab."""
        self.show_dock("guide")

    def show_glossary(self) -> None:
        """Show what the words mean."""
        GlossarySheet(self).open()

    def show_about(self) -> None:
        """Say what this program is."""
        AboutSheet(self).open()

    def event(self, event: QEvent) -> bool:
        """A key may come before the loop is reached: whether its shortcut is possible is looked at first."""
        if event.type() == QEvent.Type.ShortcutOverride:
            self.registry.catch_up()
        return super().event(event)

    # ---- the end -----------------------------------------------------------------------------------------------

    def quit(self) -> None:
        """Close the window."""
        self.close()

    def end(self) -> None:
        """The system wants the program to end: nobody can be asked any more."""
        self.files.set_aside()
        self._ending = True
        self.close()

    def closeEvent(self, event: QCloseEvent) -> None:
        """Cancel what runs, wait a little, and lose nothing: every edit is in the file already."""
        if self.host.busy and not self._closing:
            self._closing = True
            self.settle()
            self.host.cancel()
            self.say("Finishing…")
            QTimer.singleShot(int(CLOSE_SECONDS * 1000), self, self.close)
            event.ignore()
            return
        if not self._ending and not self.files.may_leave():
            self._closing = False
            event.ignore()
            return
        self.draft.keep()
        self.models.close_page()
        self.settings.close()
        self.training.close()
        self.look.keep_layout()
        self.session.close()
        self._heartbeat.stop()
        self.draft.stop()
        self.status.stop()
        self.stopped = self.beside.shutdown(CLOSE_SECONDS) and self.host.shutdown(CLOSE_SECONDS)
        super().closeEvent(event)

    @Slot()
    def _idle(self) -> None:
        if self._closing:
            self.close()

    # ---- files dropped on the window ---------------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Projects and graphs may be dropped anywhere."""
        if dropped_files(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open the project that was dropped, and add the graphs to it."""
        self.files.take(dropped_files(event.mimeData()))
