"""The page of models and dictionaries: what is on this machine, what is published, and what each of them needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Slot
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
)

from app.panels.banner import Banner
from app.panels.plain import PlainLabel, tip
from app.session import Problem
from app.shelf import ShelfRow
from app.theme import theme_watcher

if TYPE_CHECKING:
    from app.window import MainWindow

COLUMNS = ("Title", "Kind", "Size", "Memory", "State", "Licence")
ROW_ROLE = Qt.ItemDataRole.UserRole
_WIDTHS = (340, 80, 80, 130, 140)


class ModelsPage(QDialog):
    """Lists, filters, uses and fetches. Made when it is first asked for; listing asks no network."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self.setObjectName("models-page")
        self.setWindowTitle("Models and dictionaries")
        self.resize(1000, 640)
        self.window_ = window
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("Filter: name, model, licence, “here”")
        self.filter.setAccessibleName("Filter models and dictionaries")
        self.filter.setClearButtonEnabled(True)
        self.filter.textChanged.connect(self._show_rows)
        self.banner = Banner("models")
        self.list = self._make_list()
        self.about = PlainLabel(wrap=True)
        self.about.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.about.setAccessibleName("About what is chosen")
        self.about.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.about.setMinimumHeight(5 * self.fontMetrics().lineSpacing())
        self.use_button, self.download_button, self.stop_button, self.close_button = (
            QPushButton(text) for text in ("Use this model", "Download…", "Cancel download", "Close")
        )
        self.use_button.clicked.connect(self._use)
        self.download_button.clicked.connect(self._download)
        self.stop_button.clicked.connect(self._stop)
        self.close_button.clicked.connect(self.close)
        for button in (self.use_button, self.download_button, self.stop_button, self.close_button):
            button.setAutoDefault(False)
        buttons = QHBoxLayout()
        buttons.addWidget(self.use_button)
        buttons.addWidget(self.download_button)
        buttons.addWidget(self.stop_button)
        buttons.addStretch(1)
        buttons.addWidget(self.close_button)
        column = QVBoxLayout(self)
        column.addWidget(self.filter)
        column.addWidget(self.banner)
        column.addWidget(self.list, 1)
        column.addWidget(self.about)
        column.addLayout(buttons)
        theme_watcher().changed.connect(self._show_rows)
        downloads = window.downloads
        downloads.changed.connect(self._show_buttons)
        downloads.refused.connect(self._tell)
        downloads.stopped.connect(self._tell)
        downloads.arrived.connect(self._arrived)
        self._rows: list[ShelfRow] = []

    def _make_list(self) -> QTreeWidget:
        tree = QTreeWidget()
        tree.setAccessibleName("Models and dictionaries")
        tree.setHeaderLabels(list(COLUMNS))
        tree.setUniformRowHeights(True)
        tree.setAllColumnsShowFocus(True)
        header = tree.header()
        header.setStretchLastSection(True)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        for column, width in enumerate(_WIDTHS):
            header.resizeSection(column, width)
        tree.currentItemChanged.connect(self._show_chosen)
        return tree

    # ---- the list ----------------------------------------------------------------------------------------------

    def popup(self) -> None:
        """Look again at what there is, and come to the front."""
        self.refill()
        self.show()
        self.raise_()
        self.activateWindow()
        self.filter.setFocus()

    def refill(self) -> None:
        """List what there is now; what was chosen stays chosen."""
        self._rows = self.window_.models.shelf()
        self._show_rows()

    def chosen(self) -> ShelfRow | None:
        """The row that is chosen."""
        item = self.list.currentItem()
        row = None if item is None else item.data(0, ROW_ROLE)
        return row if isinstance(row, ShelfRow) else None

    def choose(self, source: str) -> bool:
        """Choose a row by what loads it; False where it is not listed."""
        for top in (self.list.topLevelItem(i) for i in range(self.list.topLevelItemCount())):
            for item in [] if top is None else [top.child(i) for i in range(top.childCount())]:
                if item.data(0, ROW_ROLE).source == source:
                    self.list.setCurrentItem(item)
                    return True
        return False

    @Slot()
    def _show_rows(self) -> None:
        before = self.chosen()
        self.list.clear()
        shown = [row for row in self._rows if row.holds(self.filter.text())]
        muted = self.palette().brush(QPalette.ColorRole.PlaceholderText)
        for group in dict.fromkeys(row.group for row in shown):
            rows = [row for row in shown if row.group == group]
            top = QTreeWidgetItem([f"{group} ({len(rows)})"])
            top.setFlags(Qt.ItemFlag.ItemIsEnabled)
            font = top.font(0)
            font.setBold(True)
            top.setFont(0, font)
            self.list.addTopLevelItem(top)
            top.setFirstColumnSpanned(True)
            for row in rows:
                item = QTreeWidgetItem([row.title, row.what, row.size, row.memory, row.state, row.licence])
                item.setData(0, ROW_ROLE, row)
                item.setToolTip(0, tip(row.source))
                item.setToolTip(5, tip(row.licence))
                if not (row.usable or row.downloadable) or "large" in row.memory or "cannot" in row.state:
                    for column in range(len(COLUMNS)):
                        item.setForeground(column, muted)
                top.addChild(item)
            top.setExpanded(True)
        if before is None or not self.choose(before.source):
            self._show_chosen()

    @Slot()
    def _show_chosen(self) -> None:
        row = self.chosen()
        if row is None:
            nothing = (
                "Nothing fits the filter; empty it to see everything."
                if not self.list.topLevelItemCount()
                else "Choose a row to read about it."
            )
            self.about.setText(nothing)
        else:
            self.about.setText("\n".join(row.about))
        self._show_buttons()

    @Slot()
    def _show_buttons(self) -> None:
        row, running = self.chosen(), self.window_.downloads.running
        self.use_button.setText(f"Use this {'model' if row is None else row.what}")
        self.use_button.setEnabled(row is not None and row.usable)
        self.download_button.setEnabled(row is not None and row.downloadable and running is None)
        self.stop_button.setVisible(running is not None)

    # ---- doing -------------------------------------------------------------------------------------------------

    @Slot()
    def _use(self) -> None:
        row = self.chosen()
        if row is not None and row.usable:
            self.window_.models.use(row)

    @Slot()
    def _download(self) -> None:
        row = self.chosen()
        if row is not None:
            self.banner.dismiss()
            self.window_.downloads.begin(row, self)

    @Slot()
    def _stop(self) -> None:
        self.window_.host.cancel()

    @Slot(str)
    def _tell(self, sentence: str) -> None:
        self.banner.show_problem(Problem("models", sentence))
        self.refill()
        if not self.isVisible():
            self.window_.session.report_problem("prompt", sentence, "trace.models")

    @Slot(object)
    def _arrived(self, row: ShelfRow) -> None:
        self.window_.models.fill()
        self.refill()
        self.choose(row.source)
        self.window_.say(f"{row.title} is on this machine now")
