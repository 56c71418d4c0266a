"""Where settings, unsaved projects and logs are kept; `CIRCUIT_LOUPE_HOME` puts all of it in one folder."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

APP_NAME = "circuit-loupe"
HOME_VARIABLE = "CIRCUIT_LOUPE_HOME"


def _place(name: str, default: str) -> Path:
    home = os.environ.get(HOME_VARIABLE)
    return Path(home) / name if home else Path(default)


def settings_file() -> Path:
    """The file that remembers the window's layout, theme and recent projects."""
    return _place("config", platformdirs.user_config_dir(APP_NAME, appauthor=False)) / "window.ini"


def opened_file() -> Path:
    """The file that remembers which models and dictionaries were opened from a path."""
    return settings_file().with_name("opened.json")


def preferences_file() -> Path:
    """The file with what a person chose in the settings that the engine obeys."""
    return settings_file().with_name("preferences.json")


def unsaved_folder() -> Path:
    """Where a project lives until the person gives it a name."""
    return _place("data", platformdirs.user_data_dir(APP_NAME, appauthor=False)) / "unsaved"


def indexes_folder() -> Path:
    """Where feature indexes lie that were made or put there by the person, and the pages that others published."""
    return _place("data", platformdirs.user_data_dir(APP_NAME, appauthor=False)) / "indexes"


def log_file() -> Path:
    """The log that error messages point to."""
    return _place("log", platformdirs.user_log_dir(APP_NAME, appauthor=False)) / "circuit-loupe.log"
