"""What the window remembers between runs: recent projects, theme and layout."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QByteArray, QSettings

from engine.places import settings_file

LAYOUT_VERSION = 1
MOST_RECENT = 10


class Memory:
    """The settings file, read and written through one object."""

    def __init__(self) -> None:
        self._settings = QSettings(str(settings_file()), QSettings.Format.IniFormat)

    def _list(self, key: str) -> list[str]:
        value = self._settings.value(key)
        if isinstance(value, str):
            return [value]
        return [str(entry) for entry in value] if isinstance(value, list | tuple) else []

    def text(self, key: str, default: str) -> str:
        """A remembered text."""
        return str(self._settings.value(key, default))

    def set_text(self, key: str, value: str) -> None:
        """Remember a text."""
        self._settings.setValue(key, value)

    def bytes(self, key: str) -> QByteArray | None:
        """A remembered state of a window, or None."""
        value = self._settings.value(key)
        return value if isinstance(value, QByteArray) else None

    def set_bytes(self, key: str, value: QByteArray) -> None:
        """Remember a state of a window."""
        self._settings.setValue(key, value)

    def forget(self, *keys: str) -> None:
        """Forget what was remembered under these keys."""
        for key in keys:
            self._settings.remove(key)

    def recent_projects(self) -> list[Path]:
        """Projects opened lately that are still there, newest first."""
        return [path for entry in self._list("recent/projects") if (path := Path(entry)).is_file()]

    def add_project(self, path: Path) -> None:
        """Put a project at the top of the list."""
        entry = str(path.resolve())
        entries = [entry, *[old for old in self._list("recent/projects") if old != entry]]
        self._settings.setValue("recent/projects", entries[:MOST_RECENT])

    def draft(self) -> str:
        """The prompt that was typed while no project was open."""
        return self.text("draft", "")

    def set_draft(self, text: str) -> None:
        """Remember it, on the drive at once."""
        if text != self.draft():
            self.set_text("draft", text)
            self.flush()

    def flush(self) -> None:
        """Write to disk now."""
        self._settings.sync()
