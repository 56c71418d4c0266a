"""The nodes a person went to, in order, with a way back and forth."""

from __future__ import annotations

from collections.abc import Callable

LONGEST = 200


class Visited:
    """A browser's history for node numbers."""

    def __init__(self) -> None:
        self._nodes: list[int] = []
        self._at = -1

    def visit(self, node: int) -> None:
        """Go to a node; what lay ahead is forgotten."""
        if self._at >= 0 and self._nodes[self._at] == node:
            return
        self._nodes = [*self._nodes[: self._at + 1], node][-LONGEST:]
        self._at = len(self._nodes) - 1

    @property
    def can_go_back(self) -> bool:
        """True when there is a node before this one."""
        return self._at > 0

    @property
    def previous(self) -> int | None:
        """The node visited before the present one."""
        return self._nodes[self._at - 1] if self.can_go_back else None

    @property
    def can_go_forward(self) -> bool:
        """True when a node was left by going back."""
        return self._at < len(self._nodes) - 1

    def back(self) -> int | None:
        """The node before, which is then the present one."""
        if not self.can_go_back:
            return None
        self._at -= 1
        return self._nodes[self._at]

    def forward(self) -> int | None:
        """The node after, which is then the present one."""
        if not self.can_go_forward:
            return None
        self._at += 1
        return self._nodes[self._at]

    def renumber(self, number_of: Callable[[int], int]) -> None:
        """The same nodes have other numbers now; a node without one (-1) is forgotten."""
        numbers = [number_of(node) for node in self._nodes]
        self._at = sum(number >= 0 for number in numbers[: self._at + 1]) - 1
        self._nodes = [number for number in numbers if number >= 0]

    def clear(self) -> None:
        """Forget everything: another graph is open."""
        self._nodes, self._at = [], -1
