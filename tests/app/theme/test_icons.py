"""Every icon draws something, in the colour it is asked for, sharp at two device pixels a point."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QSize
from PySide6.QtGui import QColor, QIcon
from PySide6.QtWidgets import QApplication

from app.theme import apply_theme, icon, icon_names, icon_pixmap

REQUIRED = {
    *("open", "save", "new", "export", "delete", "home", "settings", "theme", "search", "model"),
    *("trace", "stop", "generate", "undo", "redo", "fit", "zoom-in", "zoom-out"),
    *("pin", "unpin", "label", "group", "ungroup", "note", "info", "warning", "check"),
}


def test_the_names_the_window_needs_are_there() -> None:
    assert set(icon_names()) >= REQUIRED


@pytest.mark.parametrize("name", icon_names())
def test_an_icon_draws_lines_of_the_colour_inside_its_square(qapp: QApplication, name: str) -> None:
    image = icon_pixmap(name, 48, "#ff0000").toImage()
    inked = [(x, y) for x in range(48) for y in range(48) if image.pixelColor(x, y).alpha() > 200]
    assert 20 < len(inked) < 48 * 48 * 0.6
    assert all(image.pixelColor(x, y).name() == "#ff0000" for x, y in inked[::7])
    assert not any(image.pixelColor(x, y).alpha() > 40 for x in range(48) for y in (0, 47))


def test_icons_follow_the_theme_and_have_a_disabled_form(qapp: QApplication) -> None:
    def ink(source: QIcon, mode: QIcon.Mode) -> str:
        image = source.pixmap(QSize(64, 64), 1.0, mode).toImage()
        colours = {image.pixelColor(x, 32).name() for x in range(64) if image.pixelColor(x, 32).alpha() == 255}
        assert len(colours) == 1
        return colours.pop()

    light = apply_theme(qapp, "light")
    assert ink(icon("close"), QIcon.Mode.Normal) == light.text
    assert ink(icon("close"), QIcon.Mode.Disabled) == light.disabled
    dark = apply_theme(qapp, "dark")
    assert ink(icon("close"), QIcon.Mode.Normal) == dark.text
    assert ink(icon("close", "#123456"), QIcon.Mode.Normal) == QColor("#123456").name()
    apply_theme(qapp, "light")


def test_an_icon_at_two_device_pixels_a_point_is_not_scaled_up(qapp: QApplication) -> None:
    pixmap = icon("open").pixmap(QSize(20, 20), 2.0)
    assert pixmap.size() == QSize(40, 40)
    assert pixmap.devicePixelRatio() == 2.0


def test_an_unknown_name_says_which_there_are(qapp: QApplication) -> None:
    with pytest.raises(KeyError, match=r"no icon named 'sausage'; there are .*zoom-out"):
        icon("sausage")
