"""Commands about several traces: two side by side, and what they share."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from app.canvas import Mark
from app.commands.registry import Command
from app.dialogs import Ask

if TYPE_CHECKING:
    from app.window import MainWindow

TRACE, GO, VIEW = "&Trace", "&Go", "&View"
CLASSES: tuple[tuple[str, str, Mark | None, str], ...] = (
    ("all", "All", None, "Show the nodes of all classes"),
    ("shared", "Shared", Mark.SHARED, "Show only nodes that both graphs have, about the same in both"),
    ("changed", "Changed", Mark.CHANGED, "Show only nodes that both have, but with another strength or other inputs"),
    ("only_left", "Only left", Mark.ONLY_LEFT, "Show only nodes that the right graph does not have"),
    ("only_right", "Only right", Mark.ONLY_RIGHT, "Show only nodes that the left graph does not have"),
)


class Comparing:
    """What the commands do."""

    def __init__(self, window: MainWindow) -> None:
        self.window, self.session, self.desk = window, window.session, window.comparison

    def compare(self) -> None:
        """Compare the two chosen traces, or the open one with the chosen or the only other one; else asks."""
        open_now, chosen = self.session.trace_id, self.window.investigation.tree.chosen()
        if open_now is None:
            return
        if len(chosen) == 2:
            left = open_now if open_now in chosen else chosen[0]
            self.desk.compare(left, next(trace for trace in chosen if trace != left))
            return
        other = chosen[0] if len(chosen) == 1 and chosen[0] != open_now else self._ask()
        if other is not None:
            self.desk.compare(open_now, other)

    def _ask(self) -> int | None:
        rows = self.desk.others()
        if len(rows) == 1:
            return rows[0].id
        titles: list[str] = []
        for row in rows:
            titles.append(row.title if row.title not in titles else f"{row.title} ({row.id})")
        answer = Ask.choice(self.window, "Compare with", "The open graph at the left, at the right:", titles)
        return None if answer is None else rows[answer].id

    def shared(self) -> None:
        """Find the features that the chosen traces share."""
        chosen = self.window.investigation.tree.chosen()
        if len(chosen) > 1:
            self.desk.close()
            self.window.area.show_lower(self.window.shared_panel)
        self.window.shared.find(chosen)

    def is_open(self) -> bool:
        """Two graphs are compared."""
        return self.desk.is_open

    def is_read(self) -> bool:
        """Two graphs are compared and have been read."""
        return self.desk.pairing is not None

    def is_only(self, mark: Mark | None) -> bool:
        """Whether this class, or all, is shown."""
        return self.desk.only == mark

    def title(self, words: str, mark: Mark | None) -> str:
        """A class and how many nodes it has."""
        found = self.desk.pairing
        if found is None:
            return words
        return f"{words} ({len(found.mark) if mark is None else found.count(mark):,})"


def comparing_commands(window: MainWindow) -> list[Command]:
    """In menu order."""
    comparing, desk, series = window.comparing, window.comparison, window.series
    classes = [
        Command(f"view.compare.{name}", partial(comparing.title, words, mark), VIEW, partial(desk.show_only, mark),
                enabled=comparing.is_read, checked=partial(comparing.is_only, mark), tip=tip, section=2)
        for name, words, mark, tip in CLASSES
    ]  # fmt: skip
    return [
        Command("trace.compare", "Com&pare with…", TRACE, comparing.compare, ("Ctrl+D",), "compare", desk.can_compare,
                tip="Put another trace of this project beside the open one", section=3),
        Command("trace.compare_swap", "E&xchange left and right", TRACE, desk.swap, (), "swap", comparing.is_read,
                section=3, tip="Exchange the two graphs: pins, labels and sliders are those of the left one"),
        Command("trace.compare_close", "&End the comparison", TRACE, desk.close, (), "close", comparing.is_open,
                section=3, tip="Go back to one graph, as it was"),
        Command("trace.shared", "Features these traces s&hare", TRACE, comparing.shared, (), "shared", desk.can_compare,
                tip="List the features that two or more traces chosen in the investigation have", section=3),
        Command("trace.series", "Trace each token of the ans&wer", TRACE, window.run_series, (), "series",
                window.conditions.can_run, section=3,
                tip="One graph for each generated token, in a folder, with a slider through time"),
        Command("go.earlier", "&Earlier token of the answer", GO, partial(series.go, -1), ("Alt+Left",), "back",
                partial(series.can_go, -1), section=3, tip="Go to the graph of the token before"),
        Command("go.later", "&Later token of the answer", GO, partial(series.go, 1), ("Alt+Right",), "forward",
                partial(series.can_go, 1), section=3, tip="Go to the graph of the next token"),
        *classes,
    ]  # fmt: skip
