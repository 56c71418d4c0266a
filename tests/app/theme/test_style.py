"""Dressing the application."""

from __future__ import annotations

from collections.abc import Iterator

import pyqtgraph as pg
import pytest
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QApplication, QLabel
from pytestqt.qtbot import QtBot

from app.theme import DARK, LIGHT, apply_theme, current_theme, theme_watcher


@pytest.fixture(autouse=True)
def _undressed(qapp: QApplication) -> Iterator[None]:
    apply_theme(qapp, "light")
    yield
    apply_theme(qapp, "light")


@pytest.mark.parametrize(("scheme", "theme"), [("light", LIGHT), ("dark", DARK)])
def test_applying_a_theme_colours_palette_and_pyqtgraph(qapp: QApplication, scheme: str, theme: object) -> None:
    applied = apply_theme(qapp, scheme)
    assert applied is theme
    assert current_theme() is theme
    assert qapp.palette().color(QPalette.ColorRole.Window).name() == applied.window
    assert qapp.palette().color(QPalette.ColorRole.Text).name() == applied.text
    disabled = qapp.palette().color(QPalette.ColorGroup.Disabled, QPalette.ColorRole.Text)
    assert disabled.name() == applied.disabled
    assert pg.getConfigOption("background") == applied.graph.background


def test_a_widget_really_takes_the_colours(qapp: QApplication, qtbot: QtBot) -> None:
    label = QLabel("")
    qtbot.addWidget(label)
    label.resize(40, 20)
    apply_theme(qapp, "dark")
    label.show()
    assert label.grab().toImage().pixelColor(5, 5).name() == DARK.window


def test_the_watcher_tells_once_a_change_and_not_without_one(qapp: QApplication, qtbot: QtBot) -> None:
    with qtbot.waitSignal(theme_watcher().changed) as told:
        apply_theme(qapp, "dark")
    assert told.args == [DARK]
    with qtbot.assertNotEmitted(theme_watcher().changed):
        apply_theme(qapp, "dark")


def test_a_platform_that_says_nothing_is_light(qapp: QApplication) -> None:
    # The offscreen platform reports ColorScheme.Unknown.
    assert apply_theme(qapp, "system") is LIGHT


def test_colour_blind_signs_change_signs_only(qapp: QApplication) -> None:
    theme = apply_theme(qapp, "light", colour_blind=True)
    assert theme.text == LIGHT.text
    assert theme.positive != LIGHT.positive
    assert theme.negative != LIGHT.negative


def test_an_unknown_scheme_is_refused(qapp: QApplication) -> None:
    with pytest.raises(ValueError, match="unknown theme 'blue'"):
        apply_theme(qapp, "blue")
