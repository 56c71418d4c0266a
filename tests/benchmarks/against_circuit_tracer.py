"""circuit-tracer beside this program: same model, transcoders, prompts and nodes, in interleaved pairs. `make bench`.

Both run as processes of their own and answer in turn, so that a noisy machine is noisy to both; a pair during which
the machine's own speed moved by more than a fifth is run again. Ratios count, single times do not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.spoken import Side

ROOT = Path(__file__).parents[2]
MOVED = 0.2
# The batch that was fastest for circuit-tracer here among 64, 128, 256 and 512, at each length.
PEER_BATCH = 64


@dataclass(frozen=True)
class Point:
    """One length of prompt and number of feature nodes."""

    tokens: int
    nodes: int
    pairs: int


SHORT = (Point(15, 1024, 2), Point(60, 256, 2))
FULL = (Point(15, 1024, 5), Point(60, 1024, 3), Point(15, 4096, 3), Point(60, 4096, 2), Point(250, 256, 2))


@dataclass
class Found:
    """What one point gave."""

    point: Point
    active: int = 0
    theirs: list[dict[str, Any]] = field(default_factory=list)
    ours: list[dict[str, Any]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    difference: float = 0.0
    apart: int = 0  # features that lie at their threshold: active in one of the two programs
    apart_difference: float = 0.0
    floor: float = 0.0  # GFLOP
    repeated: int = 0

    def median(self, side: str, what: str) -> float:
        """The median of one figure of one side."""
        return statistics.median(run[what] for run in getattr(self, side))

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        sweep = statistics.median(run["phases"]["sweep"] for run in self.ours)
        rate = statistics.median(self.rates)
        phases = {
            name: round(statistics.median(run["phases"].get(name, 0.0) for run in self.ours), 3)
            for name in self.ours[0]["phases"]
        }
        return {
            "tokens": self.point.tokens,
            "nodes": self.point.nodes,
            "pairs": len(self.ours),
            "repeated": self.repeated,
            "active_features": self.active,
            "ratio": self.median("theirs", "seconds") / self.median("ours", "seconds"),
            "work_ratio": self.median("theirs", "work") / self.median("ours", "work"),
            "their_seconds": self.median("theirs", "seconds"),
            "our_seconds": self.median("ours", "seconds"),
            "their_memory": self.median("theirs", "memory"),
            "our_memory": self.median("ours", "memory"),
            "edge_difference": self.difference,
            "active_in_one": self.apart,
            "edge_difference_with_them": self.apart_difference,
            "conservation": max(run["conservation"] for run in self.ours),
            "gemm": rate,
            "floor_gflop": self.floor,
            "sweep_share_of_gemm": self.floor / sweep / rate,
            "phases": phases,
        }


def main() -> None:
    """Run the points and print the table; `--out` keeps it as JSON too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", required=True, help="an interpreter whose environment holds circuit-tracer")
    parser.add_argument("--full", action="store_true", help="every point, not only the short form's")
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "bench", help="where the transcoders are kept")
    parser.add_argument("--points", help="only these, as TOKENSxNODES, comma separated")
    parser.add_argument("--pairs", type=int, help="so many at each point")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    points = FULL if asked.full or asked.points else SHORT
    if asked.points:
        wanted = {tuple(map(int, one.split("x"))) for one in asked.points.split(",")}
        points = tuple(point for point in points if (point.tokens, point.nodes) in wanted)
    if asked.pairs:
        points = tuple(replace(point, pairs=asked.pairs) for point in points)
    model, dictionary = prepared(asked.work)
    us = Side(sys.executable, "-m", "tests.benchmarks.side_loupe", model, dictionary)
    say(f"circuit-loupe {us.ask('about')['versions']}")
    peer = Side(asked.peer_python, "-m", "tests.benchmarks.side_circuit_tracer", model, dictionary)
    about = {"ours": us.ask("about"), "theirs": peer.ask("about")}
    say(f"circuit-tracer {about['theirs']['versions']}, {about['theirs']['threads']} threads")
    ids = us.ask("encode", text=(ROOT / "resources" / "fidelity_text.txt").read_text(encoding="utf-8"))
    results = []
    for point in points:
        found = compare(us, peer, ids[: point.tokens], point, about["ours"]["sizes"])
        results.append(found.plain())
        say(line(results[-1]))
    us.close()
    peer.close()
    if asked.out is not None:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps({"about": about, "points": results}, indent=1))


def prepared(work: Path) -> tuple[str, str]:
    """The model's folder and the transcoders', made where they are not there yet."""
    from engine.models.starters import STARTER_ID, find_starter, prepare_starter, starter_folder

    prepare_starter(STARTER_ID)
    starter = find_starter(STARTER_ID)
    assert starter is not None
    folder = work / "transcoders"
    if not (folder / "config.yaml").is_file():
        from engine import load_model
        from tests.benchmarks import fitted_dictionary

        say("Fitting the transcoders (once)")
        pages = [ROOT / "LICENSE", *sorted((ROOT / "docs").glob("*.md"))]
        text = "\n".join(page.read_text(encoding="utf-8") for page in pages)[:12000]
        prompts = (ROOT / "resources" / "fidelity_text.txt").read_text(encoding="utf-8")
        unexplained = fitted_dictionary.write(load_model(), text, prompts, folder)
        say(f"FVU by layer: {', '.join(f'{one:.2f}' for one in unexplained)}")
    return str(starter_folder(starter)), str(folder)


def compare(us: Side, peer: Side, ids: list[int], point: Point, sizes: dict[str, int]) -> Found:
    """Pairs at one point. circuit-tracer chooses the nodes, in a run that is not counted; ours are given the list."""
    found = Found(point)
    with tempfile.TemporaryDirectory() as name:
        theirs, ours = Path(name) / "theirs.npz", Path(name) / "ours.npz"
        first = peer.ask("trace", ids=ids, nodes=point.nodes, batch=PEER_BATCH, out=str(theirs))
        found.active = first["active"]
        with np.load(theirs) as arrays:
            nodes, adjacency, logits = arrays["features"].tolist(), arrays["adjacency"], arrays["logit_tokens"]
            active = {tuple(one) for one in arrays["active"].tolist()}
        us.ask("trace", ids=ids, nodes=nodes, out=str(ours))
        with np.load(ours) as arrays:
            apart = active ^ {tuple(one) for one in arrays["active"].tolist()}
        found.apart = len(apart)
        found.apart_difference = difference(ours, nodes, adjacency, logits, len(ids), sizes["layers"])
        found.difference = difference(ours, nodes, adjacency, logits, len(ids), sizes["layers"], apart)
        found.floor = floor_gflop(nodes, len(logits), found.active, len(ids), sizes)
        while len(found.ours) < point.pairs:
            before = us.ask("gemm")
            # A run of ours is short: the median of three, so that what the other's run left in the caches counts once.
            mine = sorted((us.ask("trace", ids=ids, nodes=nodes) for _ in range(3)), key=itemgetter("seconds"))[1]
            its = peer.ask("trace", ids=ids, nodes=point.nodes, batch=PEER_BATCH, out=None)
            after = us.ask("gemm")
            if abs(after - before) > MOVED * max(after, before) and found.repeated < 2 * point.pairs:
                found.repeated += 1
                continue
            found.ours.append(mine)
            found.theirs.append(its)
            found.rates.append((before + after) / 2)
    return found


def difference(
    ours: Path,
    nodes: list[list[int]],
    adjacency: Any,
    logits: Any,
    n_positions: int,
    n_layers: int,
    apart: Iterable[tuple[int, ...]] = (),
) -> float:
    """The largest difference between two edges, as a share of the largest edge into the same node.

    Edges of error nodes where a feature is active in one program only (`apart`) are left out: what it writes is its own
    in one of them and part of the error in the other.
    """
    number = {tuple(node): at for at, node in enumerate(nodes)}
    first_token = len(nodes) + n_layers * n_positions
    order = {int(token): at for at, token in enumerate(logits)}
    with np.load(ours) as arrays:
        columns = [arrays[name] for name in ("kind", "layer", "position", "feature")]
        places = np.array(
            [
                _their_number(
                    int(kind), int(layer), int(position), int(feature), number, order, first_token, n_positions
                )
                for kind, layer, position, feature in zip(*columns, strict=True)
            ]
        )
        mine = np.zeros_like(adjacency)
        mine[places[arrays["target"]], places[arrays["source"]]] = arrays["weight"]
    off = np.abs(mine - adjacency)
    off[:, [len(nodes) + layer * n_positions + position for layer, position, _ in apart]] = 0
    size = np.abs(adjacency).max(1)
    return float((off.max(1)[size > 0] / size[size > 0]).max())


def _their_number(
    kind: int,
    layer: int,
    position: int,
    feature: int,
    number: dict[tuple[int, ...], int],
    order: dict[int, int],
    first_token: int,
    n_positions: int,
) -> int:
    from engine.graphs import NodeKind

    if kind == NodeKind.FEATURE:
        return number[layer, position, feature]
    if kind == NodeKind.ERROR:
        return len(number) + layer * n_positions + position
    return first_token + (position if kind == NodeKind.EMBEDDING else n_positions + order[feature])


def floor_gflop(
    nodes: Sequence[Sequence[int]], n_logits: int, active: int, n_positions: int, sizes: dict[str, int]
) -> float:
    """What the sweep cannot do without: for every target, layer below and position before, W_O, pattern, W_V, sources.

    The causal half of the pattern, no first position (it is a constant), and a target's own layer only at its place.
    A logit costs what a feature of the last layer does at the last position.
    """
    d, heads, kv, h = sizes["d"], sizes["heads"], sizes["kv_heads"], sizes["head"]
    sources = active / (sizes["layers"] * (n_positions - 1)) + 2
    total = 0.0
    for layer, places, _ in [
        *nodes,
        *n_logits * [(sizes["layers"] - 1, n_positions - 1, 0)],
    ]:  # without the first place
        full = 2 * places * d * h * (heads + kv) + heads * h * places**2
        own = 2 * d * h * heads + 2 * places * (d * h * kv + heads * h)
        total += layer * (full + 2 * places * d * sources) + own
    return total / 1e9


def line(result: dict[str, Any]) -> str:
    """One point in words."""
    return (
        f"{result['tokens']:>4} tokens, {result['nodes']:>5} nodes, {result['active_features']:>7,} active: "
        f"{result['ratio']:5.1f} times ({result['their_seconds']:.2f} / {result['our_seconds']:.2f} s; by processor "
        f"time {result['work_ratio']:.1f}), memory {result['their_memory'] / 2**20:,.0f} / "
        f"{result['our_memory'] / 2**20:,.0f} MiB, edges {result['edge_difference']:.1e} "
        f"({result['edge_difference_with_them']:.1e} with {result['active_in_one']} features active in one only), "
        f"sweep at {result['sweep_share_of_gemm']:.0%} of {result['gemm']:.0f} GFLOP/s; {result['pairs']} pairs, "
        f"{result['repeated']} repeated; phases {result['phases']}"
    )


def say(text: str) -> None:
    """A line for who waits."""
    sys.stdout.write(f"[{time.strftime('%H:%M:%S')}] {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
