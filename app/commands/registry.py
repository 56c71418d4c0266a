"""The registry of actions: ids are stable, titles and conditions may follow the session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QObject, QTimer, Slot
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QWidget

from app.theme import icon
from engine.errors import LoupeError

MENUS = ("&File", "&Edit", "&Project", "&Circuit", "E&xperiment", "&Trace", "&Go", "&View", "&Help")
Condition = Callable[[], bool]


@dataclass(frozen=True)
class Command:
    """One action. `title` may be a function where it follows the session ("Undo Pin 2 nodes")."""

    id: str
    title: str | Callable[[], str]
    menu: str
    run: Callable[[], None]
    shortcuts: tuple[str, ...] = ()
    icon: str = ""
    enabled: Condition | None = None
    checked: Condition | None = None
    tip: str = ""
    section: int = 0  # a line is drawn in the menu where this number changes
    # Keys the canvas itself listens to: shown in menus and help, not grabbed for the window.
    shown_keys: str = ""

    @property
    def name(self) -> str:
        """What the command is called whatever the session: "Undo", "Pin"."""
        if callable(self.title):
            return self.id.rpartition(".")[2].replace("_", " ").capitalize()
        return self.words.rstrip("…")

    @property
    def words(self) -> str:
        """The title without its mnemonic."""
        title = self.title() if callable(self.title) else self.title
        return title.replace("&", "")


class CommandAction(QAction):
    """The Qt side of a command."""

    def __init__(self, command: Command, registry: Registry) -> None:
        super().__init__(registry)
        self.command, self._registry = command, registry
        self.setObjectName(command.id)
        self.setShortcuts([QKeySequence(keys) for keys in command.shortcuts])
        self.setCheckable(command.checked is not None)
        self.triggered.connect(self.fire)
        self._describe()

    @Slot()
    def fire(self) -> None:
        """Run the command if it is possible now."""
        self.refresh()
        if self.isEnabled():
            self.command.run()
        self.refresh()
        self._registry.catch_up()

    def refresh(self) -> None:
        """Follow the session: title, whether it is possible, whether it is on."""
        command = self.command
        try:
            self._describe()
            self.setEnabled(command.enabled is None or command.enabled())
            if command.checked is not None:
                self.setChecked(command.checked())
        except LoupeError:
            self.setEnabled(False)  # The file cannot be read: the heartbeat and the next edit say so.

    def _describe(self) -> None:
        command = self.command
        title = command.title() if callable(command.title) else command.title
        if command.shown_keys:
            title = f"{title}\t{command.shown_keys}"
        if title != self.text():
            self.setText(title)
        keys = self.shortcut().toString(QKeySequence.SequenceFormat.NativeText) or command.shown_keys
        tip = command.tip or command.words.rstrip("…")
        self.setToolTip(f"{tip} ({keys})" if keys else tip)

    def restyle(self) -> None:
        """Draw the icon in the theme's colours."""
        if self.command.icon:
            self.setIcon(icon(self.command.icon))


class Registry(QObject):
    """All commands of one window, in menu order."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self._actions: dict[str, CommandAction] = {}
        # Opening a trace tells of many changes: the actions follow once, when the window is back in its loop.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.timeout.connect(self.refresh_now)

    def add(self, *commands: Command) -> None:
        """Register commands; ids and shortcuts must be new."""
        for command in commands:
            if command.id in self._actions:
                raise ValueError(f"two commands are called {command.id}")
            action = CommandAction(command, self)
            action.restyle()
            self._actions[command.id] = action
            self._window.addAction(action)

    def action(self, command_id: str) -> CommandAction:
        """The action of a command, as it is now; KeyError where there is none."""
        self.catch_up()
        return self._actions[command_id]

    def run(self, command_id: str) -> None:
        """Run a command as if it were chosen in its menu."""
        self._actions[command_id].fire()

    def actions(self) -> list[CommandAction]:
        """Every action, as it is now, in the order it was registered."""
        self.catch_up()
        return list(self._actions.values())

    def of_menu(self, menu: str) -> list[CommandAction]:
        """The actions of one menu."""
        return [action for action in self._actions.values() if action.command.menu == menu]

    @Slot()
    def refresh(self) -> None:
        """Let every action follow the session, once the window is back in its loop."""
        self._soon.start()

    def catch_up(self) -> None:
        """Follow the session now, if that is still to be done."""
        if self._soon.isActive():
            self.refresh_now()

    @Slot()
    def refresh_now(self) -> None:
        """Let every action follow the session."""
        self._soon.stop()
        for action in self._actions.values():
            action.refresh()

    @Slot()
    def restyle(self) -> None:
        """Draw every icon again after the theme changed."""
        for action in self._actions.values():
            action.restyle()
