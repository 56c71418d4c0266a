"""The settings: each holds from the moment it is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Slot
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QListWidget,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from app.commands.look import LARGEST, SMALLEST
from app.panels.plain import MutedLabel, PlainLabel, tip
from engine.models.memory import total_bytes
from engine.preferences import GIGABYTE

if TYPE_CHECKING:
    from app.commands.settings import Settings
    from app.window import MainWindow

THEMES = (("system", "As the system"), ("light", "Light"), ("dark", "Dark"))
DEVICES = (
    ("auto", "Automatic: a GPU where there is one"),
    ("cpu", "Processor"),
    ("cuda", "NVIDIA GPU (cuda)"),
    ("mps", "Apple GPU (mps)"),
)


class SettingsSheet(QDialog):
    """A page of choices; closes with Escape, nothing has to be confirmed."""

    def __init__(self, settings: Settings, window: MainWindow) -> None:
        super().__init__(window)
        self.setObjectName("settings-sheet")
        self.setWindowTitle("Settings")
        self._settings, self._look = settings, window.look
        self.theme = self._chooser("Theme", THEMES, "Light or dark; “as the system” follows it when it changes")
        self.text_size = self._number("Text size", SMALLEST, LARGEST, 1.0, " pt", "How large all text of the window is")
        self.reopen = QCheckBox("Open at start what was open at the end")
        self.reopen.setToolTip(tip("The project that was open when the program was closed is opened at the next start"))
        self.device = self._chooser(
            "Device", DEVICES, "Where models are loaded and traced, from the next time a model is loaded"
        )
        most = round(total_bytes() / GIGABYTE, 1)
        self.memory = self._number(
            "Memory limit",
            0.0,
            4096.0,
            1.0,
            " GiB",
            "How much main memory this program may use in all. What would need more is refused before it begins; "
            f"this machine allows about {most} GiB. A GPU's own memory is not limited",
        )
        self.memory.setSpecialValueText("What the machine has")
        self.network = QCheckBox("Downloads may be started")
        self.network.setToolTip(
            tip(
                "Nothing ever goes to the network but a download you ask for. Off: not even that, here and in terminals"
            )
        )
        self.folders = QListWidget()
        self.folders.setAccessibleName("Model folders")
        self.folders.setToolTip(tip("Models that lie in these folders are offered above the prompt"))
        self.folders.setMaximumHeight(5 * self.fontMetrics().lineSpacing())
        self.add_folder, self.remove_folder = QPushButton("Add folder…"), QPushButton("Remove")
        self.add_folder.setToolTip(tip("Choose a folder that holds models: Hugging Face folders or .gguf files"))
        self.remove_folder.setToolTip(tip("List the chosen folder's models no longer; its files stay"))
        self._lay_out()
        self._fill()
        self.theme.activated.connect(self._theme_chosen)
        self.text_size.valueChanged.connect(self._text_sized)
        self.reopen.toggled.connect(settings.set_reopens)
        self.device.activated.connect(self._device_chosen)
        self.memory.valueChanged.connect(self._memory_set)
        self.network.toggled.connect(self._network_set)
        self.add_folder.clicked.connect(self._add)
        self.remove_folder.clicked.connect(self._remove)
        self.folders.currentRowChanged.connect(self._row_changed)

    def _chooser(self, name: str, options: tuple[tuple[str, str], ...], about: str) -> QComboBox:
        chooser = QComboBox()
        for value, words in options:
            chooser.addItem(words, value)
        chooser.setAccessibleName(name)
        chooser.setToolTip(tip(about))
        return chooser

    def _number(self, name: str, low: float, high: float, step: float, unit: str, about: str) -> QDoubleSpinBox:
        box = QDoubleSpinBox()
        box.setRange(low, high)
        box.setSingleStep(step)
        box.setDecimals(1)
        box.setSuffix(unit)
        # While a number is typed its beginnings are not yet meant.
        box.setKeyboardTracking(False)
        box.setAccessibleName(name)
        box.setToolTip(tip(about))
        return box

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.addRow("&Theme", self.theme)
        form.addRow("Te&xt size", self.text_size)
        form.addRow("", self.reopen)
        form.addRow("&Device", self.device)
        form.addRow("&Memory limit", self.memory)
        form.addRow("&Network", self.network)
        buttons = QWidget()
        row = QHBoxLayout(buttons)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.add_folder)
        row.addWidget(self.remove_folder)
        row.addStretch(1)
        title = PlainLabel("Model &folders")
        title.setBuddy(self.folders)
        form.addRow(title, self.folders)
        form.addRow("", buttons)
        close = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        close.rejected.connect(self.close)
        for button in close.buttons():
            button.setToolTip(tip("Close the settings; every change holds already (Esc)"))
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addWidget(MutedLabel("Every change holds at once.", wrap=True))
        column.addWidget(close)

    def popup(self) -> None:
        """Show what holds now."""
        self._fill()
        self.show()
        self.raise_()
        self.activateWindow()

    def _fill(self) -> None:
        chosen, boxes = self._settings.preferences, (self.text_size, self.reopen, self.memory, self.network)
        for box in boxes:
            box.blockSignals(True)
        self.theme.setCurrentIndex(self.theme.findData(self._look.scheme))
        self.text_size.setMaximum(max(LARGEST, self._look.text_size()))
        self.text_size.setValue(self._look.text_size())
        self.reopen.setChecked(self._settings.reopens)
        self.device.setCurrentIndex(self.device.findData(chosen.device))
        self.memory.setValue(chosen.memory_limit)
        self.network.setChecked(chosen.network)
        for box in boxes:
            box.blockSignals(False)
        self._fill_folders()

    def _fill_folders(self) -> None:
        self.folders.clear()
        self.folders.addItems(list(self._settings.preferences.model_folders))
        self.remove_folder.setEnabled(False)

    @Slot()
    def _theme_chosen(self) -> None:
        self._look.set_theme(str(self.theme.currentData()))

    @Slot(float)
    def _text_sized(self, size: float) -> None:
        self._look.set_text_size(size)

    @Slot()
    def _device_chosen(self) -> None:
        self._settings.choose(device=str(self.device.currentData()))

    @Slot(float)
    def _memory_set(self, gigabytes: float) -> None:
        self._settings.choose(memory_limit=gigabytes)

    @Slot(bool)
    def _network_set(self, on: bool) -> None:
        self._settings.choose(network=on)

    @Slot()
    def _add(self) -> None:
        self._settings.add_folder()
        self._fill_folders()

    @Slot()
    def _remove(self) -> None:
        item = self.folders.currentItem()
        if item is not None:
            self._settings.remove_folder(item.text())
            self._fill_folders()

    @Slot(int)
    def _row_changed(self, row: int) -> None:
        self.remove_folder.setEnabled(row >= 0)
