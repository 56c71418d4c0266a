"""Drawings as files: the SVG text that the engine makes, as it is, or painted by Qt as PNG or PDF. Needs no window."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QMarginsF, QRectF, QSizeF
from PySide6.QtGui import QColor, QGuiApplication, QImage, QPageLayout, QPageSize, QPainter, QPdfWriter
from PySide6.QtSvg import QSvgRenderer

from engine.progress import Progress, silent, watched
from engine.whole_files import written_whole

LARGEST_SIDE = 16_000  # pixels; a wider picture is scaled down to this
LARGEST_PAGE = 14_400.0  # points: PDF allows no more
POINTS = 0.75  # of a CSS pixel, which SVG counts in
PIECE = 8  # shapes painted without a pause
SVG = "http://www.w3.org/2000/svg"
_WHOLE = frozenset({"opacity", "filter", "mask", "clip-path"})  # of a group: they are for all of it together
ElementTree.register_namespace("", SVG)

_application: QGuiApplication | None = None


def write_drawing(
    text: str,
    path: Path,
    *,
    scale: float = 2.0,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> None:
    """Write an SVG text as the name's ending says, whole or not at all; a PNG with `scale` pixels for one point.

    Raises RequestError for a folder that does not exist, MachineError for a full disk or a folder not writable.
    """
    ending = path.suffix.lower()
    if ending == ".png":
        packed = QByteArray()
        buffer = QBuffer(packed)
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        render_svg(text, scale, progress, cancel).save(buffer, "PNG")  # type: ignore[call-overload] # the stubs want bytes, Qt the name
        data = packed.data()
    else:
        data = render_pdf(text, progress, cancel) if ending == ".pdf" else text.encode("utf-8")
    with written_whole(path) as file:
        file.write(data)


def render_svg(text: str, scale: float, progress: Progress = silent, cancel: threading.Event | None = None) -> QImage:
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
    try:
        _paint(text, painter, QRectF(image.rect()), progress, cancel)
    finally:
        painter.end()
    return image


def render_pdf(text: str, progress: Progress = silent, cancel: threading.Event | None = None) -> bytes:
    """An SVG text as a PDF of one page of its size: lines stay lines, and text can be searched."""
    _ensure_application()
    renderer = QSvgRenderer(QByteArray(text.encode("utf-8")))
    size = QSizeF(renderer.defaultSize())
    points = POINTS * min(1.0, LARGEST_PAGE / (POINTS * max(size.width(), size.height(), 1.0)))
    packed = QByteArray()
    buffer = QBuffer(packed)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    writer = QPdfWriter(buffer)
    writer.setCreator("Circuit Loupe")
    page = QPageSize(size * points, QPageSize.Unit.Point, "", QPageSize.SizeMatchPolicy.ExactMatch)
    writer.setPageLayout(QPageLayout(page, QPageLayout.Orientation.Portrait, QMarginsF()))
    # The renderer scales to the page; a fine grid keeps thin lines thin.
    writer.setResolution(1200)
    painter = QPainter(writer)
    try:
        _paint(text, painter, QRectF(0, 0, writer.width(), writer.height()), progress, cancel)
    finally:
        painter.end()
    return bytes(packed.data())


def _paint(text: str, painter: QPainter, ground: QRectF, progress: Progress, cancel: threading.Event | None) -> None:
    """Paint in pieces of a few shapes: while one is painted Python waits, and the window with it."""
    pieces = list(_pieces(text))
    for piece in watched(pieces, len(pieces), "Painting", progress, cancel, every=1):
        QSvgRenderer(QByteArray(piece)).render(painter, ground)
        time.sleep(0)  # hands Python's lock over: the window's thread may be waiting for it


def _pieces(text: str) -> Iterator[bytes]:
    """Drawings that painted over each other are the whole; groups are divided, and each part has its attributes."""
    root = ElementTree.fromstring(text)
    for child in root:
        divided = child.tag == f"{{{SVG}}}g" and _WHOLE.isdisjoint(child.attrib)
        for start in range(0, len(child) if divided else 1, PIECE):
            piece, part = ElementTree.Element(root.tag, root.attrib), child
            if divided:
                part = ElementTree.Element(child.tag, child.attrib)
                part.extend(child[start : start + PIECE])
            piece.append(part)
            yield ElementTree.tostring(piece)


def _ensure_application() -> None:
    global _application
    if QGuiApplication.instance() is not None:
        return
    headless = sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    arguments = [sys.argv[0] or "circuit-loupe"]
    if headless and "QT_QPA_PLATFORM" not in os.environ:
        arguments += ["-platform", "offscreen"]
    _application = QGuiApplication(arguments)
