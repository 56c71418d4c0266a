"""The card beside a hovered node. Plain text only: labels and tokens come from files and from models."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QSize, Qt
from PySide6.QtWidgets import QFrame, QLabel, QVBoxLayout, QWidget

from app.canvas.scene import Scene
from app.theme import Theme
from engine.graphs.glyphs import describe
from engine.graphs.graph import NodeKind

AWAY = 16


def card_texts(scene: Scene, node: int) -> tuple[str, str, str]:
    """Headline (its label, else its name), name where the headline is a label, and figures."""
    graph = scene.graph
    name = describe(graph, node)
    label = scene.label_of(node)
    kind = NodeKind(int(graph.kind[node]))
    figures = []
    if kind is NodeKind.LOGIT:
        figures.append(f"probability {scene.logit_probability(node):.3f}")
    elif kind is NodeKind.FEATURE:
        figures.append(f"activation {graph.activation[node]:.4g}".replace("-", "−", 1))
    if kind is not NodeKind.LOGIT:
        figures.append(f"{graph.measure} {graph.influence[node]:.2%}".replace("%", " %"))
    n_in, n_out = len(graph.inputs(node)), len(graph.outputs(node))
    figures.append(f"{n_in:,} in, {n_out:,} out")
    return label or name, name if label else "", " · ".join(figures)


class HoverCard(QFrame):
    """Headline, name, figures; the mouse goes through it."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("hoverCard")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 7, 10, 8)
        column.setSpacing(2)
        self.headline, self.name, self.figures, self.hint = (QLabel(self) for _ in range(4))
        for label, role in zip((self.headline, self.name, self.figures, self.hint), "hnfi", strict=True):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setObjectName(f"card-{role}")
            column.addWidget(label)
        self.headline.setMaximumWidth(420)
        self.headline.setWordWrap(False)
        self.hint.setText("Held: press Space to let go")
        self.hide()

    def set_theme(self, theme: Theme) -> None:
        """Colours of the card."""
        self.setStyleSheet(
            f"#hoverCard {{ background: {theme.raised}; border: 1px solid {theme.border}; border-radius: 6px; }}"
            f"QLabel {{ background: transparent; color: {theme.text}; }}"
            f"#card-h {{ font-weight: 600; }} #card-n, #card-f {{ color: {theme.muted}; }}"
            f"#card-i {{ color: {theme.link}; }}"
        )

    def show_node(self, scene: Scene, node: int, held: bool) -> None:
        """Fill the card and show it; `place` puts it where it belongs."""
        headline, name, figures = card_texts(scene, node)
        self.headline.setText(self.headline.fontMetrics().elidedText(headline, Qt.TextElideMode.ElideRight, 400))
        self.name.setText(name)
        self.name.setVisible(bool(name))
        self.figures.setText(figures)
        self.hint.setVisible(held)
        self.adjustSize()
        self.show()
        self.raise_()

    def place(self, node: QPointF, size: QSize) -> None:
        """Beside the node at a pixel of the canvas, always inside it and never over the node."""
        x, y = node.x() + AWAY, node.y() + AWAY
        if x + self.width() > size.width() - 4:
            x = node.x() - AWAY - self.width()
        if y + self.height() > size.height() - 4:
            y = node.y() - AWAY - self.height()
        self.move(round(max(x, 4)), round(max(y, 4)))
