"""Gathering nodes into a group while G is held: which, a banner that says so, and the end of it."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal, Slot
from PySide6.QtWidgets import QWidget

from app.canvas.notice import notice
from app.canvas.scene import NOTHING
from app.canvas.surface import Surface

REPEAT_MS = 40  # a key that is held comes up and goes down again within it, where the repetition is not marked as one
BANNER_TOP = 52


class Gathering(QObject):
    """The group that is being made on a canvas."""

    requested = Signal(object)  # list[int], at least two nodes

    def __init__(self, canvas: QWidget, surface: Surface) -> None:
        super().__init__(canvas)
        self.on = False
        self._canvas, self._surface, self._stage = canvas, surface, surface.stage
        self._banner = notice(canvas, "groupingBanner")
        self._let_go = QTimer(self)
        self._let_go.setSingleShot(True)
        self._let_go.setInterval(REPEAT_MS)
        self._let_go.timeout.connect(self.end)

    def begin(self) -> None:
        """From now on nodes are gathered."""
        self._let_go.stop()
        if self._stage.scene is not None and not self.on:
            self.on = True
            self.take(NOTHING)

    @Slot()
    def end(self, *, request: bool = True) -> None:
        """Stop gathering; with `request` and two nodes or more `requested` is emitted."""
        self._let_go.stop()
        if not self.on:
            return
        nodes = self._nodes()
        self.on, self._stage.grouping = False, ()
        self._banner.hide()
        self._surface.repaint_layers()
        if request and len(nodes) >= 2:
            self.requested.emit(nodes)

    def let_go(self) -> None:
        """The key came up: the end, unless it goes down again at once."""
        # WORKAROUND: some X servers (Xvfb, remote desktops) send a held key's repetitions without saying that they
        # are; a real release has no press right behind it. Remove when Qt asks them for detectable repetition.
        self._let_go.start()

    def take(self, node: int) -> None:
        """Take a node into the group, or out of it again."""
        group = self._stage.grouping
        if node in group:
            self._stage.grouping = tuple(other for other in group if other != node)
        elif node != NOTHING:
            self._stage.grouping = (*group, node)
        count = len(self._nodes())
        nodes = "Click nodes to gather them" if not count else f"{count} node{'s' if count > 1 else ''} gathered"
        if count > len(self._stage.grouping):
            nodes += ", the selected one among them"
        self._banner.setText(f"{nodes} · let go of G to make a group, Esc to leave")
        self._banner.adjustSize()
        self._banner.show()
        self._banner.raise_()
        self.place()
        self._surface.repaint_layers()

    def place(self) -> None:
        """Put the banner at the middle of the canvas's upper edge."""
        self._banner.move((self._canvas.width() - self._banner.width()) // 2, BANNER_TOP)

    def _nodes(self) -> list[int]:
        """Those of the group: a single one that was clicked goes with the selected one."""
        scene, nodes = self._stage.scene, list(self._stage.grouping)
        selected = NOTHING if scene is None else scene.selected
        return [selected, *nodes] if len(nodes) == 1 and selected not in (NOTHING, nodes[0]) else nodes
