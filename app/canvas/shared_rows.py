"""Two surfaces side by side with one layer axis: the same rows at the same heights, moved and zoomed together."""

from __future__ import annotations

from PySide6.QtCore import QObject, Slot

from app.canvas.surface import Surface


class SharedRows(QObject):
    """Sideways each surface moves on its own; upwards they are one. Their scenes must be partners."""

    def __init__(self, left: Surface, right: Surface, parent: QObject) -> None:
        super().__init__(parent)
        self._left, self._right = left, right
        self._busy = False
        left.laidOut.connect(self._left_laid_out)
        right.laidOut.connect(self._right_laid_out)
        left.camera.sigYRangeChanged.connect(self._left_moved)
        right.camera.sigYRangeChanged.connect(self._right_moved)

    @Slot()
    def _left_laid_out(self) -> None:
        self._lay_out(self._left, self._right)

    @Slot()
    def _right_laid_out(self) -> None:
        self._lay_out(self._right, self._left)

    @Slot(object, object)
    def _left_moved(self, _camera: object, _range: object) -> None:
        self._move(self._left, self._right)

    @Slot(object, object)
    def _right_moved(self, _camera: object, _range: object) -> None:
        self._move(self._right, self._left)

    def _lay_out(self, changed: Surface, other: Surface) -> None:
        if self._busy or changed.stage.scene is None or other.stage.scene is None:
            return
        self._busy = True
        other.follow(changed.fitted, other.stage.least_bottom)
        for surface, beside in ((changed, other), (other, changed)):
            if surface.stage.beside_crowded != beside.stage.crowded:
                surface.stage.beside_crowded = beside.stage.crowded
                surface.follow(changed.fitted, surface.stage.least_bottom)
        bottom = max(changed.stage.own_bottom, other.stage.own_bottom)
        for surface in (changed, other):
            if surface.camera.margins.bottom != bottom:
                surface.follow(changed.fitted, bottom)
        self._busy = False
        self._move(changed, other)

    def _move(self, moved: Surface, other: Surface) -> None:
        if self._busy or other.stage.scene is None:
            return
        self._busy = True
        other.fitted = moved.fitted
        other.camera.setYRange(*moved.camera.viewRange()[1], padding=0)
        self._busy = False
