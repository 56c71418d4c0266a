"""What came out of a change: before and after, predicted beside measured, and its place among random changes."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QSplitter, QTabWidget, QVBoxLayout, QWidget

from app.experiments.desk import ExperimentDesk
from app.experiments.draft import node_of
from app.experiments.plots import Histogram, Scatter
from app.experiments.tables import Figures
from app.experiments.words import probability_words
from app.panels.plain import MutedLabel, tip
from app.reading import number, short_name
from engine.graphs import AttributionGraph
from engine.graphs.visible_text import visible_text

KL_TIP = (
    "Kullback-Leibler divergence from the recorded to the changed distribution over the whole vocabulary, in nats: "
    "how much of everything the model says has changed, not of the target alone."
)
NUMBER_TIP = (
    "The number that this experiment watches: the logit of the target above the mean logit, or the difference or sum "
    "of logits that the graph explains."
)
PREDICTED_TIP = (
    "What the graph predicts for each pinned feature and each target, and what was measured, as changes of the "
    "pre-activation (features) or of the logit above the mean (targets). On the diagonal they agree."
)
AGREEMENT_TIP = (
    "Correlation: Pearson’s, over all points. Same sign: the share of points whose prediction has the sign of the "
    "measurement. Slope: measured = slope × predicted."
)
CONTROLS_TIP = (
    "How far random changes that are like this one move the watched number, either way; the line is this experiment. "
    "p = (1 + random changes that move it as far) / (random changes + 1)."
)


class ChangeView(QTabWidget):
    """Three pages of one experiment."""

    def __init__(self, desk: ExperimentDesk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setDocumentMode(True)
        self.before_after = BeforeAfter()
        self.predicted = Predicted(desk)
        self.controls = Controls()
        self.addTab(self.before_after, "Before and after")
        self.addTab(self.predicted, "Predicted")
        self.addTab(self.controls, "Controls")
        self.setTabToolTip(1, "What the graph predicted beside what was measured")
        self.setTabToolTip(2, "Random changes that are like this one")

    def show_result(self, settings: dict[str, Any], result: dict[str, Any]) -> None:
        """Show what a project kept."""
        self.before_after.show_result(result)
        self.predicted.show_result(result)
        self.controls.show_result(result)


class BeforeAfter(QSplitter):
    """The watched number, the target, and the likeliest tokens, before and after."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setChildrenCollapsible(False)
        self.facts = Figures("The target before and after", ("Target", "Before", "After", "Change"), whole_names=True)
        self.tokens = Figures(
            "Tokens before and after",
            ("Token", "Before", "After", "Logit", "Rank"),
            ("", "Probability as recorded", "Probability with the change", "How far its logit moved", "1 is likeliest"),
        )
        self.addWidget(self.facts)
        self.addWidget(self.tokens)
        self.setSizes([270, 290])

    def show_result(self, result: dict[str, Any]) -> None:
        """Fill both tables."""
        tokens = [(str(one["text"]), one["outcome"]) for one in result["tokens"]]
        by_token = {int(one["token"]): one for _, one in tokens}
        targets = [point for point in result["points"] if point["kind"] == "target"]
        recorded, changed = float(result["recorded"]), float(result["changed"])
        rows = [("watched", number(recorded), number(changed), number(changed - recorded))]
        tips = [f"The {result['metric']}. {NUMBER_TIP}"]
        named = next((by_token[int(one["feature"])] for one in targets if int(one["feature"]) in by_token), None)
        if named is not None:
            rows += _target_rows(named)
            tips += ["Change in percentage points", "Before anything is subtracted from it", "1 is the likeliest token"]
        rows.append(("predicted", "", "", number(float(result["predicted"]))))
        rows.append(("KL", "", number(float(result["kl"])), ""))
        self.facts.fill(
            rows, [*tips, f"What the watched number was predicted to change by: {result['prediction']}", KL_TIP]
        )
        self._show_tokens(tokens)

    def _show_tokens(self, tokens: list[tuple[str, dict[str, Any]]]) -> None:
        tokens = sorted(tokens, key=lambda one: -max(one[1]["probability_before"], one[1]["probability"]))
        self.tokens.fill(
            [
                (
                    visible_text(text),
                    probability_words(one["probability_before"]),
                    probability_words(one["probability"]),
                    number(one["logit"] - one["logit_before"]),
                    _ranks(one),
                )
                for text, one in tokens
            ],
            [f"{text!r}, id {one['token']}" for text, one in tokens],
            [{1: one["probability_before"], 2: one["probability"]} for _, one in tokens],
        )


def _target_rows(one: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    before, after = float(one["probability_before"]), float(one["probability"])
    points = 100 * (after - before)
    return [
        ("probability", probability_words(before), probability_words(after), f"{points:+.1f}".replace("-", "−")),
        ("logit", number(one["logit_before"]), number(one["logit"]), number(one["logit"] - one["logit_before"])),
        ("rank", f"{one['rank_before'] + 1:,}", f"{one['rank'] + 1:,}", ""),
    ]


def _ranks(one: dict[str, Any]) -> str:
    before, after = int(one["rank_before"]) + 1, int(one["rank"]) + 1
    return f"{before:,}" if before == after else f"{before:,} → {after:,}"


class Predicted(QWidget):
    """A scatter and its table; choosing a point in either selects its node."""

    def __init__(self, desk: ExperimentDesk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self._points: list[dict[str, Any]] = []
        self.plot = Scatter("Predicted and measured changes", "predicted", "measured")
        self.plot.setToolTip(tip(PREDICTED_TIP))
        self.table = Figures(
            "Predicted and measured changes as a table", ("Node", "Predicted", "Measured"), (PREDICTED_TIP,)
        )
        self.said = MutedLabel("", wrap=True)
        self.said.setToolTip(tip(AGREEMENT_TIP))
        split = QSplitter(Qt.Orientation.Horizontal)
        split.setChildrenCollapsible(False)
        split.addWidget(self.plot)
        split.addWidget(self.table)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 3, 0, 0)
        column.setSpacing(2)
        self.said.setContentsMargins(8, 0, 8, 0)
        column.addWidget(self.said)
        column.addWidget(split, 1)
        self.plot.pointChosen.connect(self.table.choose)
        self.table.currentItemChanged.connect(self._chosen)

    def show_result(self, result: dict[str, Any]) -> None:
        """Show the points of an experiment."""
        self._points = list(result["points"])
        predicted = [float(one["predicted"]) for one in self._points]
        measured = [float(one["measured"]) for one in self._points]
        self.table.blockSignals(True)
        self.table.fill(
            [
                (self._name(one), number(x), number(y))
                for one, x, y in zip(self._points, predicted, measured, strict=True)
            ],
            [f"{one['name']}: recorded {number(float(one['recorded']))}" for one in self._points],
        )
        self.table.blockSignals(False)
        self.plot.show_points(predicted, measured, [one["kind"] == "target" for one in self._points])
        self.said.setText(self._agreement(result))
        self.said.setToolTip(tip(f"{AGREEMENT_TIP}\nPredicted by {result['prediction']}."))

    def _name(self, one: dict[str, Any]) -> str:
        """A label that a person gave, or layer, number and token; for a target its token."""
        graph = self.desk.graph
        node = -1 if graph is None else _node(graph, one)
        if graph is None or node < 0 or one["kind"] != "feature":
            return visible_text(str(one["name"]))
        return visible_text(" ".join(self.desk.session.annotations.labels.get(node, "").split())) or (
            short_name(graph, node)
        )

    def _agreement(self, result: dict[str, Any]) -> str:
        found = result["agreement"]
        features = sum(one["kind"] == "feature" for one in self._points)
        if features == 0:
            begin = "Only targets are compared; pin features, and run again, to compare them, too."
        else:
            begin = f"{len(self._points)} points."
        known = [
            ("correlation", found["pearson"], "{:.2f}"),
            ("same sign", found["same_sign"], "{:.0%}"),
            ("slope", found["slope"], "{:.2f}"),
        ]
        figures = [f"{name} {form.format(value)}" for name, value, form in known if value is not None]
        said = f"{begin} {', '.join(figures).capitalize()}." if figures else begin
        return said

    @Slot()
    def _chosen(self) -> None:
        row, graph = self.table.row(), self.desk.graph
        self.plot.mark(row)
        if graph is None or not 0 <= row < len(self._points):
            return
        node = _node(graph, self._points[row])
        if node >= 0:
            self.desk.session.select(node)


def _node(graph: AttributionGraph, one: dict[str, Any]) -> int:
    """The node of a point; -1 where the graph has none."""
    return node_of(graph, str(one["kind"]), int(one["layer"]), int(one["position"]), int(one["feature"]))


class Controls(QWidget):
    """Where the experiment stands among random changes that are like it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.said = MutedLabel("", wrap=True)
        self.said.setToolTip(tip(CONTROLS_TIP))
        self.plot = Histogram("How far random changes move the watched number", "size of the change")
        self.plot.setToolTip(tip(CONTROLS_TIP))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 3, 0, 0)
        column.setSpacing(2)
        self.said.setContentsMargins(8, 0, 8, 0)
        column.addWidget(self.said)
        column.addWidget(self.plot, 1)

    def show_result(self, result: dict[str, Any]) -> None:
        """Show the controls of an experiment."""
        self.show_controls(result["controls"])

    def show_controls(self, found: dict[str, Any] | None) -> None:
        """Show controls, or how to have some."""
        self.plot.setVisible(found is not None)
        if found is None:
            self.said.setText(
                "No random changes were run beside it, so it is no evidence yet: set “Controls” to 100 or more and "
                "run again."
            )
            return
        effects, effect = [float(one) for one in found["effects"]], float(found["effect"])
        as_far = sum(one >= effect for one in effects)
        self.said.setText(
            f"p = {float(found['p']):.2g}: {as_far:,} of {len(effects):,} random changes move it as far. "
            f"{found['sentence'].rstrip('.')}. Seed {found['seed']}."
        )
        self.plot.show_values(effects, effect)
