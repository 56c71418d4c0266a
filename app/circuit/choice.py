"""Which boxes of the circuit a person has in hand: nodes and supernodes, bound to the session's selection."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QObject, Signal, Slot

from app.session import Session
from engine.graphs import Supernode
from engine.graphs.circuit import PlaceKey


class CircuitChoice(QObject):
    """Places in the order they were chosen. The last one leads: if it is a node, the session selects it."""

    changed = Signal()

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.places: tuple[PlaceKey, ...] = ()
        self._choosing = False
        session.selectionChanged.connect(self._follow)
        session.annotationsChanged.connect(self._keep_what_is_there)

    # ---- what is chosen ----------------------------------------------------------------------------------------

    @property
    def nodes(self) -> tuple[int, ...]:
        """The nodes among what is chosen."""
        return tuple(place for place in self.places if isinstance(place, int))

    @property
    def supernodes(self) -> tuple[Supernode, ...]:
        """The supernodes among what is chosen."""
        by_place = {one.place: one for one in self.session.circuit.supernodes}
        # A place may be one of a moment ago: what listens to the session is told in some order.
        return tuple(by_place[place] for place in self.places if isinstance(place, str) and place in by_place)

    @property
    def supernode(self) -> Supernode | None:
        """The supernode that a command is about: the last one chosen, else the one the selected node is in."""
        chosen = self.supernodes
        if chosen:
            return chosen[-1]
        node = self.session.selected
        return next((one for one in self.session.circuit.supernodes if node >= 0 and node in one.nodes), None)

    @property
    def members(self) -> tuple[int, ...]:
        """The chosen nodes, and all nodes of the chosen supernodes."""
        circuit = self.session.circuit
        inside = [node for one in self.supernodes for node in circuit.members(one.id)]
        return tuple(dict.fromkeys([*self.nodes, *inside]))

    # ---- choosing ----------------------------------------------------------------------------------------------

    def choose(self, places: Iterable[PlaceKey]) -> None:
        """Choose these and nothing else."""
        chosen = tuple(dict.fromkeys(places))
        if chosen == self.places:
            return
        self.places = chosen
        last = chosen[-1] if chosen else -1
        self._choosing = True
        self.session.select(last if isinstance(last, int) else -1)
        self._choosing = False
        self.changed.emit()

    def toggle(self, place: PlaceKey) -> None:
        """Choose one more, or one less."""
        if place in self.places:
            self.choose(one for one in self.places if one != place)
        else:
            self.choose((*self.places, place))

    @Slot(int)
    def _follow(self, node: int) -> None:
        if not self._choosing:
            self.places = (node,) if node >= 0 else ()
            self.changed.emit()

    @Slot()
    def _keep_what_is_there(self) -> None:
        there = {one.place for one in self.session.circuit.supernodes}
        kept = tuple(place for place in self.places if isinstance(place, int) or place in there)
        if kept != self.places:
            self.places = kept
            self.changed.emit()
