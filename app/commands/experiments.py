"""The Experiment menu: what its commands do, and when each is possible."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from app.commands.registry import Command

if TYPE_CHECKING:
    from app.window import MainWindow

EXPERIMENT = "E&xperiment"


class ExperimentHands:
    """Acts on the selection, on the next experiment, and on the one that is shown."""

    def __init__(self, window: MainWindow) -> None:
        self.window, self.session = window, window.session
        self.desk, self.choice = window.experiments, window.choice

    # ---- when --------------------------------------------------------------------------------------------------

    def has_graph(self) -> bool:
        """A whole graph is open."""
        return self.desk.graph is not None

    def can_change(self) -> bool:
        """Something is selected that can be changed."""
        return bool(self.desk.changeable(self.choice.members))

    def can_measure(self) -> bool:
        """Something can be run on the open graph."""
        return self.desk.can_run()

    def has_changes(self) -> bool:
        """The next experiment changes something."""
        return self.desk.graph is not None and bool(self.desk.draft.changes)

    def can_run(self) -> bool:
        """There is something to run, and the model is here."""
        return self.has_changes() and self.desk.can_run()

    def can_run_again(self) -> bool:
        """An experiment is shown that can be run here."""
        return self.desk.shown is not None and self.desk.can_run()

    # ---- doing -------------------------------------------------------------------------------------------------

    def change(self) -> None:
        """Put what is selected into the next experiment."""
        self.desk.add(self.choice.members)
        self.window.look.show_experiments()

    def head(self) -> None:
        """Put an attention head into the next experiment."""
        self.desk.add_head()
        self.window.look.show_experiments()

    def remove(self) -> None:
        """Take the chosen changes out, or the last one."""
        changes, chosen = self.desk.draft.changes, self.window.area.experiments.changes.chosen()
        gone = set(chosen or [len(changes) - 1])
        left = tuple(one for number, one in enumerate(changes) if number not in gone)
        self.desk.set_draft(replace(self.desk.draft, changes=left))

    def clear(self) -> None:
        """Begin another experiment."""
        self.desk.set_draft(replace(self.desk.draft, changes=()))

    def run(self) -> None:
        """Run it."""
        self.window.look.show_experiments()
        self.desk.run()

    def text(self) -> None:
        """Continue the prompt with the changes."""
        self.window.look.show_experiments()
        self.desk.run_text()

    def can_run_on_paraphrases(self) -> bool:
        """There is something to run, and there are other prompts to run it on."""
        return self.can_run() and bool(self.desk.draft.paraphrases)

    def paraphrases(self) -> None:
        """Make the same change on paraphrases."""
        self.window.look.show_experiments()
        self.desk.run_on_paraphrases()

    def doses(self) -> None:
        """Run the changes at many doses."""
        self.window.look.show_experiments()
        self.desk.sweep("doses")

    def can_sweep_layers(self) -> bool:
        """The mode holds a range of layers."""
        return self.can_run() and self.desk.draft.settings.mode == "constrained"

    def layers(self) -> None:
        """Run the changes with many ranges of layers held."""
        self.window.look.show_experiments()
        self.desk.sweep("layers")

    def can_measure_groups(self) -> bool:
        """There are two groups of features, and the model is here."""
        return len(self.session.circuit.supernodes) > 1 and len(self.desk.groups()) > 1 and self.desk.can_run()

    def matrix(self) -> None:
        """Measure what groups do to each other."""
        self.window.look.show_experiments()
        self.desk.measure_groups()

    def verify(self) -> None:
        """Verify the open graph."""
        self.window.look.show_experiments()
        self.desk.verify()

    def has_circuit(self) -> bool:
        """Features are pinned or grouped, and the model is here."""
        return bool(self.desk.watched()) and self.desk.can_run()

    def circuit(self) -> None:
        """Test the pinned circuit."""
        self.window.look.show_experiments()
        self.desk.test_circuit()

    def search(self) -> None:
        """Find a circuit."""
        self.window.look.show_experiments()
        self.desk.find_circuit()

    def can_take_over(self) -> bool:
        """The shown search found nodes that are not pinned yet."""
        return self.session.can_edit and bool(set(self.desk.found_nodes()) - set(self.session.annotations.pins))

    def take_over(self) -> None:
        """Pin what the search found, as one step of undo."""
        if self.window.edits.pin(self.desk.found_nodes()):
            self.window.say("The circuit is pinned; Undo takes it back")

    def again(self) -> None:
        """Run the shown one again."""
        self.window.look.show_experiments()
        self.desk.again()

    def go(self) -> None:
        """Put the keyboard into the list of changes."""
        self.window.look.show_experiments()
        page = self.window.area.experiments
        self.window.hands.focus(page.changes.tree if self.has_changes() else page.form.mode)

    def open(self, number: int) -> None:
        """Show a kept experiment of the open trace."""
        self.window.look.show_experiments()
        self.desk.show(number)


def experiment_commands(window: MainWindow) -> list[Command]:
    """In menu order."""
    hands, look = window.experiment_hands, window.look
    return [
        Command("experiment.change", "&Change this", EXPERIMENT, hands.change, ("X",), "experiment",
                hands.can_change, tip="Put the selected nodes and groups into the next experiment"),
        Command("experiment.head", "Change an attention &head", EXPERIMENT, hands.head, (), "into",
                hands.has_graph, tip="Put an attention head into the next experiment: of the selected node’s layer and "
                "token, to be chosen in the list"),
        Command("experiment.remove", "&Take out of the experiment", EXPERIMENT, hands.remove, (), "out",
                hands.has_changes, tip="Leave the chosen changes out of the next experiment"),
        Command("experiment.clear", "&Begin another", EXPERIMENT, hands.clear, (), "close", hands.has_changes,
                tip="Change nothing yet; what was run stays"),
        Command("experiment.run", "&Run", EXPERIMENT, hands.run, ("Ctrl+R",), "trace", hands.can_run, section=1,
                tip="Run the model with the changes: predicted beside measured, and random changes beside both"),
        Command("experiment.text", "Conti&nue the text", EXPERIMENT, hands.text, (), "generate", hands.can_run,
                section=1, tip="Let the model continue the prompt with the changes, and without them beside it"),
        Command("experiment.paraphrases", "Run on para&phrases", EXPERIMENT, hands.paraphrases, (), "copy",
                hands.can_run_on_paraphrases, section=1,
                tip="Make the same change on the paraphrases written below: the mean over all prompts, and its range"),
        Command("experiment.doses", "Sweep the &dose", EXPERIMENT, hands.doses, (), "series", hands.can_run, section=1,
                tip="Run the changes at many doses, and mark where the effect is linear"),
        Command("experiment.layers", "Sweep the range of &layers", EXPERIMENT, hands.layers, (), "filter",
                hands.can_sweep_layers, section=1,
                tip="Run the changes with MLPs held up to each of the layers above"),
        Command("experiment.again", "Run a&gain", EXPERIMENT, hands.again, (), "redo", hands.can_run_again, section=1,
                tip="Run the shown experiment once more; says whether its result held"),
        Command("experiment.verify", "&Verify this graph", EXPERIMENT, hands.verify, (), "check", hands.can_measure,
                section=2, tip="Do its edges predict what the model does? A verdict in plain words, with its parts"),
        Command("experiment.circuit", "Test the c&ircuit", EXPERIMENT, hands.circuit, (), "circuit",
                hands.has_circuit, section=2,
                tip="Is the pinned circuit needed, and is it enough? Ablate it, then everything else"),
        Command("experiment.search", "&Find a circuit", EXPERIMENT, hands.search, (), "search", hands.can_measure,
                section=2, tip="Find the smallest part of the graph that keeps a share of the behaviour"),
        Command("experiment.take_over", "&Pin what was found", EXPERIMENT, hands.take_over, (), "pin",
                hands.can_take_over, section=2, tip="Pin the circuit that the shown search found"),
        Command("experiment.matrix", "&Matrix of groups", EXPERIMENT, hands.matrix, (), "shared",
                hands.can_measure_groups, section=2,
                tip="Ablate each group of the circuit, and measure what is left of the others"),
        Command("experiment.go", "Go to the e&xperiment", EXPERIMENT, hands.go, ("Ctrl+6",), "", hands.has_graph,
                section=9),
        Command("view.experiments", "S&how the experiments", EXPERIMENT, look.toggle_experiments, (), "",
                checked=look.experiments_shown, section=9, tip="Show the experiments below the graph"),
    ]  # fmt: skip
