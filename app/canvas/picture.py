"""The picture of a graph as PNG: the SVG of engine.graphs.svg, painted by Qt. Needs no window and no display."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from PySide6.QtCore import QBuffer, QByteArray, QIODevice
from PySide6.QtGui import QColor, QGuiApplication, QImage, QPainter
from PySide6.QtSvg import QSvgRenderer

from engine.graphs.graph import AttributionGraph
from engine.graphs.pruning import GraphView
from engine.graphs.svg import svg_text
from engine.whole_files import written_whole

LARGEST_SIDE = 16_000  # pixels; a wider picture is scaled down to this

_application: QGuiApplication | None = None


def render_png(
    graph: AttributionGraph,
    view: GraphView,
    path: Path | str,
    *,
    title: str,
    caption: str = "",
    dark: bool = False,
    labels: Mapping[int, str] | None = None,
    pins: Sequence[int] = (),
    scale: float = 2.0,
) -> None:
    """Write the same picture as `write_svg`, `scale` pixels for one of its points, whole or not at all.

    Raises RequestError for a folder that does not exist, MachineError for a full disk or a folder not writable.
    """
    text = svg_text(graph, view, title=title, caption=caption, dark=dark, labels=labels, pins=pins)
    image = render_svg(text, scale)
    packed = QByteArray()
    buffer = QBuffer(packed)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")  # type: ignore[call-overload] # the stubs want bytes, Qt wants the format's name
    with written_whole(Path(path)) as file:
        file.write(packed.data())


def render_svg(text: str, scale: float) -> QImage:
    """An SVG text as an image. Starts an application without a window if there is none: text needs fonts."""
    _ensure_application()
    renderer = QSvgRenderer(QByteArray(text.encode("utf-8")))
    size = renderer.defaultSize()
    scale = min(scale, LARGEST_SIDE / max(size.width(), size.height(), 1))
    image = QImage(round(size.width() * scale), round(size.height() * scale), QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(QColor("#ffffff"))
    painter = QPainter(image)
    painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.TextAntialiasing)
    # Only a rectangular clip takes Qt's fast path for thin translucent lines.
    painter.setClipRect(image.rect())
    renderer.render(painter)
    painter.end()
    return image


def _ensure_application() -> None:
    global _application
    if QGuiApplication.instance() is not None:
        return
    headless = sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    arguments = [sys.argv[0] or "circuit-loupe"]
    if headless and "QT_QPA_PLATFORM" not in os.environ:
        arguments += ["-platform", "offscreen"]
    _application = QGuiApplication(arguments)
