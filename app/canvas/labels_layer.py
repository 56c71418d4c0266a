"""Names beside nodes: what people wrote always, the numbers of features where there is room. At most 300."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QPainter, QPen, QStaticText

from app.canvas.layer import Layer
from app.canvas.stage import Stage
from engine.graphs.graph import NodeKind

MOST_LABELS = 300
MOST_FOUND = 12  # nodes a search found that are all named
LONGEST = 160.0  # pixels
ROOMY_ZOOM = 1.4  # from here on features without a label show their number
_KEPT_TEXTS = 2000


class LabelsLayer(Layer):
    """One item for all labels; a text is laid out once and kept."""

    depth = 4

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._texts: OrderedDict[tuple[str, bool], QStaticText] = OrderedDict()
        self._font: QFont | None = None
        self._key: tuple[object, ...] = ()
        self._offsets: dict[int, QRectF] = {}  # of the boxes from their nodes, at this zoom
        self._named: dict[tuple[int, bool], QStaticText] = {}
        self._without: set[int] = set()  # nodes beside which there is no room
        self.drawn: list[tuple[int, QRectF]] = []  # node and box of the labels in the last picture

    def paint_layer(self, painter: QPainter) -> None:
        theme = self.stage.theme
        if self._font != self.stage.font:
            self._texts.clear()
            self._key = ()
            self._font = QFont(self.stage.font)
        self.drawn = self._place()
        painter.setClipRect(self.stage.inner.adjusted(0, -4, self.stage.camera.margins.right, 0))
        card, plain, named = QColor(theme.graph.background), QColor(theme.graph.muted), QColor(theme.graph.text)
        card.setAlphaF(0.86)
        scene = self.stage.scene
        assert scene is not None
        for node, box in self.drawn:
            by_person = bool(scene.label_of(node)) or node == scene.selected
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(card)
            painter.drawRoundedRect(box, 3, 3)
            group = scene.group_of(node)
            if group is not None:
                painter.setPen(QPen(QColor(group.colour), 1.0))
                painter.drawRoundedRect(box, 3, 3)
            painter.setPen(named if by_person else plain)
            painter.setFont(self.stage.bold if by_person else self.stage.font)
            painter.drawStaticText(QPointF(box.left() + 3, box.top() + 1), self._text(node, by_person))

    def _text(self, node: int, bold: bool) -> QStaticText:
        known = self._named.get((node, bold))
        if known is not None:
            return known
        scene, stage = self.stage.scene, self.stage
        assert scene is not None
        metrics = stage.bold_metrics if bold else stage.metrics
        words = metrics.elidedText(scene.short_name(node), Qt.TextElideMode.ElideRight, LONGEST)
        text = self._texts.get((words, bold))
        if text is None:
            text = QStaticText(words)
            text.setTextFormat(Qt.TextFormat.PlainText)
            text.prepare(font=stage.bold if bold else stage.font)
            self._texts[words, bold] = text
            if len(self._texts) > _KEPT_TEXTS:
                self._texts.popitem(last=False)
        self._named[node, bold] = text
        return text

    def candidates(self) -> tuple[list[int], list[int]]:
        """Nodes whose label is wanted wherever they are in sight, and nodes that get one where there is room."""
        scene, stage = self.stage.scene, self.stage
        assert scene is not None
        groups = [node for group in scene.groups for node in group.nodes]
        # Names of many would cover the nodes they name.
        found = scene.shown_found().tolist()
        found = found if len(found) <= MOST_FOUND else []
        wanted = [scene.selected, *scene.lit, *scene.pins, *scene.labels, *groups, *found]
        inner = stage.inner
        wanted = [n for n in dict.fromkeys(wanted) if scene.is_shown(n) and inner.contains(stage.x[n], stage.y[n])]
        if stage.camera.zoom() < ROOMY_ZOOM:
            return wanted[:MOST_LABELS], []
        nodes = scene.shown[scene.graph.kind[scene.shown] == NodeKind.FEATURE]
        x, y = stage.x[nodes], stage.y[nodes]
        nodes = nodes[(x > inner.left()) & (x < inner.right()) & (y > inner.top()) & (y < inner.bottom())]
        nodes = nodes[~stage.faded[nodes]]
        strongest = nodes[np.argsort(-np.nan_to_num(scene.graph.influence[nodes]), kind="stable")][:MOST_LABELS]
        return wanted[:MOST_LABELS], [n for n in strongest.tolist() if n not in set(wanted)]

    def _place(self) -> list[tuple[int, QRectF]]:
        """Greedy, the most wanted first: right of the node, left, above, below; else nowhere.

        While the view only moves, labels stay where they were beside their nodes, and only nodes that come into sight
        are placed: they do not jump about, and a frame takes no longer for many than for few.
        """
        stage = self.stage
        scene = stage.scene
        assert scene is not None
        scales = (round(scale, 9) for scale in stage.camera.scales())
        key = (*scales, stage.layout_changes, stage.style_changes, stage.font.key())
        if key != self._key:
            self._key = key
            self._offsets, self._without, self._named = {}, set(), {}
        wanted, others = self.candidates()
        inner, right = stage.inner, stage.rect.width()
        placed: list[tuple[int, QRectF]] = []
        for node in [*wanted, *others]:
            offset = self._offsets.get(node)
            if offset is not None and len(placed) < MOST_LABELS:
                box = offset.translated(float(stage.x[node]), float(stage.y[node]))
                if box.left() >= inner.left() and box.right() <= right:
                    placed.append((node, box))
        taken = np.empty((MOST_LABELS, 4))
        for number, (_, box) in enumerate(placed):
            taken[number] = box.left(), box.top(), box.right(), box.bottom()
        points = np.stack([stage.x[scene.shown], stage.y[scene.shown]], axis=1) if others else np.empty((0, 2))
        for node, free in [*((n, False) for n in wanted), *((n, True) for n in others)]:
            if len(placed) >= MOST_LABELS:
                break
            if node in self._offsets or node in self._without:
                continue
            found = self._first_free(node, taken[: len(placed)], points if free else None)
            if found is not None:
                taken[len(placed)] = found.left(), found.top(), found.right(), found.bottom()
                placed.append((node, found))
                self._offsets[node] = found.translated(-float(stage.x[node]), -float(stage.y[node]))
            elif inner.adjusted(LONGEST, LONGEST, -LONGEST, -LONGEST).contains(stage.x[node], stage.y[node]):
                self._without.add(node)
        return placed

    def _first_free(self, node: int, taken: np.ndarray, points: np.ndarray | None) -> QRectF | None:
        stage = self.stage
        scene = stage.scene
        assert scene is not None
        bold = bool(scene.label_of(node)) or node == scene.selected
        size = self._text(node, bold).size()
        width, height = size.width() + 6, size.height() + 2
        x, y = float(stage.x[node]), float(stage.y[node])
        away = stage.size_of(node) / 2 + (7 if node == scene.selected else 4)
        for left, top in (
            (x + away, y - height / 2),
            (x - away - width, y - height / 2),
            (x - width / 2, y - away - height),
            (x - width / 2, y + away),
        ):
            right, bottom = left + width, top + height
            hit = (taken[:, 0] < right) & (taken[:, 2] > left) & (taken[:, 1] < bottom) & (taken[:, 3] > top)
            if hit.any() or right > stage.rect.width() or left < stage.inner.left():
                continue
            if points is not None and _covers(points, left - 3, top - 3, right + 3, bottom + 3):
                continue
            return QRectF(left, top, width, height)
        return None


def _covers(points: np.ndarray, left: float, top: float, right: float, bottom: float) -> bool:
    x, y = points[:, 0], points[:, 1]
    return bool(((x > left) & (x < right) & (y > top) & (y < bottom)).any())
