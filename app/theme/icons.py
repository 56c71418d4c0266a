"""Our own line icons, drawn in the theme's colours at the screen's resolution."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from app.theme.style import current_theme

# Sizes Qt asks for at 100 % and 200 %; others are scaled down from the next larger one.
_PIXELS = (16, 20, 24, 32, 40, 48, 64)


def icon_names() -> tuple[str, ...]:
    """Every name `icon` knows."""
    folder = files("resources") / "icons"
    return tuple(sorted(entry.name.removesuffix(".svg") for entry in folder.iterdir() if entry.name.endswith(".svg")))


def icon(name: str, colour: str | None = None) -> QIcon:
    """One of `icon_names()` in the theme's text colour or in `colour` ('#rrggbb'), muted while disabled.

    Ask again when `theme_watcher().changed` is emitted. Raises KeyError for an unknown name.
    """
    theme = current_theme()
    return _drawn(name, colour or theme.text, theme.disabled)


@lru_cache(maxsize=256)
def _drawn(name: str, colour: str, disabled: str) -> QIcon:
    drawn = QIcon()
    for pixels in _PIXELS:
        drawn.addPixmap(icon_pixmap(name, pixels, colour))
        drawn.addPixmap(icon_pixmap(name, pixels, disabled), QIcon.Mode.Disabled)
    return drawn


def icon_pixmap(name: str, pixels: int, colour: str) -> QPixmap:
    """One icon as a square picture of `pixels` device pixels. Raises KeyError for an unknown name."""
    renderer = QSvgRenderer(QByteArray(_source(name).replace("currentColor", colour).encode()))
    pixmap = QPixmap(pixels, pixels)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    renderer.render(painter, QRectF(0, 0, pixels, pixels))
    painter.end()
    return pixmap


@lru_cache(maxsize=64)
def _source(name: str) -> str:
    try:
        return (files("resources") / "icons" / f"{name}.svg").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise KeyError(f"no icon named {name!r}; there are {', '.join(icon_names())}") from None
