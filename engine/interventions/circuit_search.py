"""Find a circuit: the smallest part of a graph's features that keeps a chosen share of the behaviour.

Features work together, so that putting them back one by one shows little. The search therefore starts from the
shortest beginning of the graph's own order (by what it predicts) that keeps the share, and takes away, round by round,
what is missed least. Greedy carries one set, beam several that went different ways. Everything is measured by running
the model; the graph only says where to start.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.graphs.graph import AttributionGraph, NodeKind
from engine.interventions.baselines import ABLATIONS, Ablation, Baseline, baseline_of
from engine.interventions.case import Case
from engine.interventions.changes import Settings
from engine.interventions.circuit_evidence import Errors, error_changes, said_ablation
from engine.interventions.controls import FeatureAt
from engine.interventions.curves import Curve, NamedCurve, curve_sizes, faithfulness, make_curve
from engine.interventions.experiment import LIVE, read_features_at, read_settings
from engine.interventions.kept import Record, plain
from engine.interventions.measure import measure
from engine.interventions.predicted_changes import predicted_changes
from engine.interventions.said import said_settings
from engine.progress import Progress, checkpoint, part, silent

Method = Literal["greedy", "beam"]
# How many sets a beam carries.
BEAM = 3
# A round takes away at most this share of what is left.
STEP = 0.25
RANDOM_ORDERS = 3


@dataclass(frozen=True)
class SearchSpec:
    """What to search among, how much to keep, and how the rest is ablated."""

    universe: tuple[FeatureAt, ...]
    share: float = 0.8
    method: Method = "greedy"
    ablation: Ablation = "mean"
    other: tuple[int, ...] | None = None
    errors: Errors = "kept"
    settings: Settings = LIVE
    seed: int = 0

    def plain(self) -> dict[str, Any]:
        """Plain JSON values: `read_search` gives the same again."""
        return dict(plain(self))


def read_search(values: dict[str, Any]) -> SearchSpec:
    """The spec that `plain` wrote; raises `ValueError` for anything else."""
    try:
        if values["ablation"] not in ABLATIONS or values["method"] not in ("greedy", "beam"):
            raise ValueError("no search that is known")
        other = values["other"]
        return SearchSpec(
            read_features_at(values["universe"]),
            float(values["share"]),
            cast(Method, values["method"]),
            cast(Ablation, values["ablation"]),
            None if other is None else tuple(int(one) for one in other),
            cast(Errors, values["errors"]),
            read_settings(values["settings"]),
            int(values["seed"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no search ({error})") from error


@dataclass(frozen=True)
class SearchResult:
    """`features` in the order of the graph's predictions; `path` (size, faithfulness) of every set on the way."""

    features: tuple[FeatureAt, ...]
    faithfulness: float
    reached: bool
    path: tuple[tuple[int, float], ...]
    full: float
    nothing: float
    runs: int
    curves: tuple[NamedCurve, ...]
    random: tuple[float, ...]  # faithfulness of random sets as large
    ablation: str
    settings: str
    sentence: str
    provenance: dict[str, Any]

    def plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(plain(self))


def universe_of(case: Case, graph: AttributionGraph) -> tuple[FeatureAt, ...]:
    """The feature nodes of an unpruned graph that a search may take, those at special first positions left out."""
    nodes = graph.of_kind(NodeKind.FEATURE)
    nodes = nodes[graph.position[nodes] >= case.recording.first_position]
    columns = (graph.layer[nodes].tolist(), graph.position[nodes].tolist(), graph.feature[nodes].tolist())
    return tuple(one for one in zip(*columns, strict=True) if case.pools.holds(one))


def find_circuit(
    case: Case, spec: SearchSpec, progress: Progress = silent, cancel: threading.Event | None = None
) -> SearchResult:
    """Search, then compare with random sets, the order of activation and the order of the graph's predictions.

    Raises `RequestError` where ablating the universe does not change the behaviour, `Cancelled` between runs.
    """
    if not 0 < spec.share <= 1 or len(spec.universe) < 2:
        raise RequestError("A search needs a share between 0 and 1 and at least two features to choose from.")
    search = _Search(case, spec, cancel)
    search.tell = part(progress, 0, 0.7)
    found, path = search.run()
    curves, random = search.compared(found, part(progress, 0.7, 1.0))
    kept = path[-1][1]
    reached = kept >= spec.share
    return SearchResult(
        features=found,
        faithfulness=kept,
        reached=reached,
        path=tuple(path),
        full=search.full,
        nothing=search.nothing,
        runs=search.runs,
        curves=curves,
        random=random,
        ablation=said_ablation(case, search.baseline, spec.errors),
        settings=said_settings(spec.settings, search.baseline.ablated(spec.universe[:1]), case.frozen.n_layers),
        sentence=_sentence(spec, found, kept, random, reached),
        provenance=case.provenance,
    )


def record_search(case: Case, spec: SearchSpec, result: SearchResult, features: str, title: str) -> Record:
    """The search as a project keeps it."""
    settings = {"trace": case.spec.plain(), "features": features, "experiment": spec.plain()}
    return Record("search", title, settings, result.plain())


def faithfulness_curve(
    case: Case,
    baseline: Baseline,
    order: Sequence[FeatureAt],
    settings: Settings = LIVE,
    errors: Errors = "kept",
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Curve:
    """Faithfulness when only the first k of an order are kept, for the sizes of `curve_sizes`."""
    always, sizes = error_changes(case, errors), curve_sizes(len(order))
    sets = [baseline.ablated(order[size:]) + always for size in sizes]
    metrics = measure(case, [*sets, always], settings, progress=progress, cancel=cancel).metric
    return make_curve(sizes, metrics[:-1], count=len(order), full=float(metrics[-1]), empty=float(metrics[0]))


@dataclass(frozen=True)
class _Set:
    """Features that are put back, and the faithfulness measured with them."""

    features: tuple[FeatureAt, ...]
    value: float


class _Search:
    def __init__(self, case: Case, spec: SearchSpec, cancel: threading.Event | None) -> None:
        self.case, self.spec, self.cancel = case, spec, cancel
        self.universe = tuple(dict.fromkeys(spec.universe))
        self.baseline = baseline_of(case, spec.ablation, spec.other, cancel)
        self.always = error_changes(case, spec.errors)
        self.change = dict(zip(self.universe, self.baseline.ablated(self.universe), strict=True))
        self.runs = 0
        self.tell: Progress = silent
        self.full, self.nothing = self._metrics([self.universe, ()])
        if not abs(self.full - self.nothing) > 1e-6 * max(abs(self.full), 1.0):
            raise RequestError("Ablating all of these features changes nothing; choose more, or another ablation.")

    def run(self) -> tuple[tuple[FeatureAt, ...], list[tuple[int, float]]]:
        """The features found, and (size, faithfulness) of every step; the last is of what was found."""
        ranked, path = self.ranked(), list[tuple[int, float]]()
        start = self._beginning(ranked, path)
        path.append((len(start.features), start.value))
        if start.value < self.spec.share:
            return start.features, path
        beam = [start]
        while True:
            checkpoint(self.cancel)
            fewer = self._fewer(beam)
            if not fewer:
                break
            beam = fewer[: BEAM if self.spec.method == "beam" else 1]
            path.append((len(beam[0].features), beam[0].value))
            self.tell("Taking away what is not missed", 1 - len(beam[0].features) / len(start.features))
        return beam[0].features, path

    def _beginning(self, ranked: Sequence[FeatureAt], path: list[tuple[int, float]]) -> _Set:
        """The shortest beginning of the order, among sizes that double, that keeps the share; else the best."""
        tried, size = list[_Set](), 8
        while True:
            checkpoint(self.cancel)
            features = tuple(ranked[:size])
            tried.append(_Set(features, float(self._values([features])[0])))
            if tried[-1].value >= self.spec.share or size >= len(ranked):
                break
            path.append((len(features), tried[-1].value))
            size *= 2
        return tried[-1] if tried[-1].value >= self.spec.share else max(tried, key=lambda one: one.value)

    def ranked(self) -> list[FeatureAt]:
        """The universe by how far the graph says that the watched number falls when each is ablated."""
        sets = [(self.change[one],) for one in self.universe]
        effects = predicted_changes(self.case, sets, self.spec.settings, cancel=self.cancel)[:, 0]
        return [self.universe[at] for at in np.argsort(effects * np.sign(self.full - self.nothing), kind="stable")]

    def compared(
        self, found: Sequence[FeatureAt], progress: Progress
    ) -> tuple[tuple[NamedCurve, ...], tuple[float, ...]]:
        """Curves of four orders, and the faithfulness of random sets that are as large as what was found."""
        ranked, pools = self.ranked(), self.case.pools
        rest = set(found)
        orders: dict[str, list[FeatureAt]] = {
            "search, then prediction": [*found, *(one for one in ranked if one not in rest)],
            "prediction": ranked,
            "activation": sorted(self.universe, key=lambda one: -abs(pools.signed(one))),
        }
        generator = np.random.default_rng(self.spec.seed)
        for number in range(RANDOM_ORDERS):
            orders[f"random {number + 1}"] = [self.universe[at] for at in generator.permutation(len(self.universe))]
        sizes, curves = curve_sizes(len(self.universe)), []
        for number, (name, order) in enumerate(orders.items()):
            progress("Comparing with other orders", number / (len(orders) + 1))
            metrics = self._metrics([order[:size] for size in sizes])
            curve = make_curve(sizes, metrics, count=len(order), full=self.full, empty=self.nothing)
            curves.append(NamedCurve(name, curve, curve.cpr, curve.cmd))
        parts = [
            [self.universe[at] for at in generator.choice(len(self.universe), len(found), replace=False)]
            for _ in range(20)
        ]
        return tuple(curves), tuple(float(one) for one in self._values(parts))

    def _fewer(self, beam: Sequence[_Set]) -> list[_Set]:
        """Smaller sets that keep the share, the best first; none where every feature is missed.

        Of each set the features that are missed least go together; where that is too much, fewer of them.
        """
        if len(beam[0].features) < 2:
            return []
        missed = []
        for one in beam:
            without = [tuple(o for o in one.features if o != each) for each in one.features]
            missed.append(np.argsort(-self._values(without), kind="stable"))
        ways = BEAM if self.spec.method == "beam" else 1
        count = min(max(1, int(STEP * len(beam[0].features))), len(beam[0].features) - 1)
        while count:
            checkpoint(self.cancel)
            smaller = [
                tuple(each for at, each in enumerate(one.features) if at not in set(order[way : way + count].tolist()))
                for one, order in zip(beam, missed, strict=True)
                for way in range(ways)
                if way + count <= len(order)
            ]
            unique = list({frozenset(one): one for one in smaller}.values())
            found = [_Set(one, float(value)) for one, value in zip(unique, self._values(unique), strict=True)]
            kept = sorted((one for one in found if one.value >= self.spec.share), key=lambda one: -one.value)
            if kept:
                return kept
            count //= 2
        return []

    def _values(self, sets: Sequence[Sequence[FeatureAt]]) -> NDArray[np.float64]:
        return faithfulness(self._metrics(sets), self.full, self.nothing)

    def _metrics(self, sets: Sequence[Sequence[FeatureAt]]) -> NDArray[np.float64]:
        """The watched number with all of the universe ablated but each of these sets."""
        self.runs += len(sets)
        changes = []
        for one in sets:
            inside = set(one)
            changes.append((*(change for name, change in self.change.items() if name not in inside), *self.always))
        return measure(self.case, changes, self.spec.settings, cancel=self.cancel).metric


def _sentence(spec: SearchSpec, found: Sequence[FeatureAt], kept: float, random: Sequence[float], reached: bool) -> str:
    said = f"{len(found)} of {len(spec.universe)} features keep {kept:.0%} of the behaviour"
    if not reached:
        said = (
            f"No part of these features keeps {spec.share:.0%} of the behaviour; the best, of {len(found)}, {kept:.0%}"
        )
    return f"{said}; random sets as large keep {float(np.median(random)):.0%} (median of {len(random)})."
