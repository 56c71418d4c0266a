"""Commands about the meaning of features: indexing a text, pages of others, automatic labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.commands.registry import Command
from app.dialogs import Ask
from app.evidence_calls import SHIPPED
from engine.graphs import NodeKind

if TYPE_CHECKING:
    from app.window import MainWindow

TRACE = "&Trace"


class EvidenceHands:
    """What a person does about the meaning of features."""

    def __init__(self, window: MainWindow) -> None:
        self.window = window

    def index(self) -> None:
        """Index the text that ships."""
        self.window.evidence.make(SHIPPED)

    def index_folder(self) -> None:
        """Ask for a folder of texts and index it."""
        folder = Ask.open_folder(self.window, "Index a folder of texts (.txt, .md)")
        if folder is not None:
            self.window.evidence.make(str(folder))

    def open_pages(self) -> None:
        """Ask for a folder of published feature pages and show them for the open trace's dictionary."""
        folder = Ask.open_folder(self.window, "Open a folder of feature pages")
        if folder is not None:
            self.window.evidence.use_folder(str(folder))

    def label_all(self) -> None:
        """Give every feature of the graph its automatic label, where nobody named it."""
        window = self.window
        found = window.evidence.automatic_labels()
        if found:
            window.edits.give_labels(found)
        graph = window.session.graph
        count = 0 if graph is None else len(graph.of_kind(NodeKind.FEATURE))
        window.say(
            f"{len(found):,} of {count:,} features have an automatic label; of the others no rule held on other texts, "
            "or they are at the first token, which an index does not count"
            if found
            else "No feature here has an automatic label"
        )

    def can_label(self) -> bool:
        """An index is open for a graph that takes edits."""
        return self.window.session.can_edit and self.window.evidence.index is not None

    def try_text(self) -> None:
        """Put the cursor into the line for an own text."""
        self.window.show_dock("inspector")
        self.window.inspector.examples.own.setFocus()

    def can_try(self) -> bool:
        """A feature is selected, and the model that made the graph is loaded."""
        session = self.window.session
        graph, node = session.graph, session.selected
        chosen = graph is not None and node >= 0 and graph.kind[node] == NodeKind.FEATURE
        return bool(chosen) and self.window.evidence.can_try()


def evidence_commands(window: MainWindow) -> list[Command]:
    """The commands; ids are stable."""
    hands, asked = window.evidence_hands, window.conditions
    return [
        Command("evidence.index", "&Index the text that ships", TRACE, hands.index, (), "search", asked.can_run,
                section=3, tip="Find for every feature of the chosen dictionary the texts that make it most active"),
        Command("evidence.index_folder", "Index a folder of te&xts…", TRACE, hands.index_folder, (), "open",
                asked.can_run, section=3, tip="The same over texts of your own"),
        Command("evidence.pages", "Feature pa&ges from a folder…", TRACE, hands.open_pages, (), "open",
                asked.has_graph, section=3, tip="Show pages that others published: JSON files, or index.json.gz"),
        Command("evidence.label", "Label features a&utomatically", TRACE, hands.label_all, (), "label",
                hands.can_label, section=3, tip="Give features the labels that rules found; yours stay as they are"),
        Command("evidence.try", "Tr&y my own text", TRACE, hands.try_text, (), "", hands.can_try, section=3,
                tip="See what the selected feature does on a text you type"),
    ]  # fmt: skip
