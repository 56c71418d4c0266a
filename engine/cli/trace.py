"""`circuit-loupe trace PROMPT`: from a prompt to a graph, its proof, and the files asked for."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli import many
from engine.cli.asked import add_model_flags, add_prompt_flags, asked_prompt, asked_target, open_asked
from engine.cli.drawing import DRAWINGS, write_drawing
from engine.cli.numbers import share, whole
from engine.cli.terminal import TerminalProgress, interruptible
from engine.errors import MachineError, RequestError
from engine.graphs.titles import title_of
from engine.progress import part
from engine.tracing.spec import TraceSpec
from engine.tracing.target_files import LARGEST_LIST_BYTES, read_target_file
from engine.whole_files import written_whole

if TYPE_CHECKING:
    from engine.projects import Project
    from engine.tracing.run import Trace

ABOVE_BOUND = 4
STILL_THERE = "The trace itself is kept for a while: the same command with another --project has it at once."


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command and its flags."""
    command = commands.add_parser(
        "trace",
        help="trace a prompt: the attribution graph behind its next token",
        description="Trace a prompt and print what was found. Progress goes to stderr. Exit status: 0 done, 2 the "
        "request is wrong, 3 the machine cannot, 4 done but conservation above the bound, 130 interrupted.",
    )
    add = command.add_argument
    add(
        "prompt",
        nargs="?",
        metavar="PROMPT",
        help="the text; the model's BOS is put in front unless it begins with a special token",
    )
    many.add_flags(add)
    add_model_flags(add)
    add_prompt_flags(add)
    add(
        "--direction",
        type=Path,
        metavar="FILE",
        help="trace d_model numbers (.npy or JSON list), or a weighted sum of tokens (JSON object)",
    )
    add("--target-feature", metavar="L:P:F", help="trace feature F of layer L at position P")
    add("--max-nodes", type=whole, default=1000, metavar="N", help="budget of feature nodes (default: 1000)")
    add(
        "--nodes",
        type=Path,
        metavar="FILE",
        help="exactly these feature nodes: CSV or JSON of layer, position, feature",
    )
    add("--edge-mass", type=share, default=0.995, metavar="SHARE", help="keep edges to this share (default: 0.995)")
    add("--compatible", action="store_true", help="as circuit-tracer: no bias nodes, logits before the softcap")
    add("--node-threshold", type=share, default=0.8, metavar="SHARE", help="for --json and --image (default: 0.8)")
    add("--edge-threshold", type=share, default=0.98, metavar="SHARE", help="for --json and --image (default: 0.98)")
    add(
        "--sweep-dtype",
        default="float32",
        choices=["float32", "bfloat16"],
        help="bfloat16 is faster and less exact: by how much is measured and said (default: float32)",
    )
    add("--no-cache", action="store_true", help="trace again even if the same trace was kept")
    add("--project", type=Path, metavar="FILE.loupe", help="add the trace to this project, made if it is not there")
    add("--json", type=Path, metavar="FILE.json", help="the graph at the thresholds, in Neuronpedia's form")
    add("--arrays", type=Path, metavar="FILE.npz", help="the unpruned graph as arrays")
    add("--image", type=Path, metavar="FILE.svg|.pdf|.png", help="a picture of the graph at the thresholds")
    add("--report", type=Path, metavar="FILE.json", help="what is printed, as JSON")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Trace, write what was asked for, print the report."""
    if arguments.prompts is not None:
        many.check(arguments)
    elif arguments.ray is not None:
        raise RequestError("--ray goes with --prompts FILE; one prompt is traced here.")
    spec = _spec(arguments)
    _check_outputs(arguments)
    project = _open_project(arguments.project)
    try:
        if arguments.prompts is not None:
            assert project is not None
            return many.run(arguments, spec, project)
        result = _trace(arguments, spec)
        written = _write(arguments, spec, result, project)
    finally:
        if project is not None:
            project.close()
    _print(result.report, written)
    return ABOVE_BOUND if result.report["conservation_error"] > result.report["conservation_bound"] else 0


def _spec(arguments: argparse.Namespace) -> TraceSpec:
    return TraceSpec(
        asked_prompt(arguments),
        asked_target(
            arguments,
            **({} if arguments.direction is None else read_target_file(arguments.direction)),
            feature=None if arguments.target_feature is None else read_feature(arguments.target_feature),
        ),
        max_nodes=arguments.max_nodes,
        nodes=None if arguments.nodes is None else read_nodes(arguments.nodes),
        edge_mass=arguments.edge_mass,
        compatible=arguments.compatible,
        node_threshold=arguments.node_threshold,
        edge_threshold=arguments.edge_threshold,
        sweep_dtype=arguments.sweep_dtype,
    )


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse before the work what could not be written after it."""
    if not arguments.prompt and arguments.prompts is None:
        raise RequestError("The prompt is empty; give some text.")
    if arguments.image is not None and arguments.image.suffix.lower() not in DRAWINGS:
        raise RequestError(f"A picture is written as .svg, .pdf or .png; {arguments.image.name} ends in none of them.")
    for path in (arguments.json, arguments.arrays, arguments.image, arguments.report):
        if path is not None and not path.absolute().parent.is_dir():
            raise RequestError(
                f"There is no folder {path.absolute().parent}; make it or choose another for {path.name}."
            )
        if path is not None and path.is_dir():
            raise RequestError(f"{path} is a folder; give the name of a file.")


def _open_project(path: Path | None) -> Project | None:
    if path is None:
        return None
    from engine.projects import Project

    project = Project.open(path) if path.exists() else Project.create(path)
    try:
        project.require_writable()
    except BaseException:
        project.close()
        raise
    return project


def _trace(arguments: argparse.Namespace, spec: TraceSpec) -> Trace:
    from engine.tracing.kept import trace_or_recall

    progress = TerminalProgress()
    with interruptible() as cancel:
        model, features = open_asked(arguments, part(progress, 0, 0.4), cancel)
        return trace_or_recall(model, features, spec, part(progress, 0.4, 1.0), cancel, recall=not arguments.no_cache)


def _write(arguments: argparse.Namespace, spec: TraceSpec, result: Trace, project: Project | None) -> list[str]:
    from engine.graphs import formats, prune
    from engine.projects import Asked, FileLostError

    graph, written = result.graph, []
    if project is not None:
        try:
            project.add_trace(
                result.report, graph, title=title_of(result.report, graph), asked=Asked(spec, arguments.features)
            )
        except (FileLostError, MachineError) as error:
            raise type(error)(f"{error.sentence} {STILL_THERE}") from error
        written.append(f"project  {arguments.project}")
    if arguments.arrays is not None:
        formats.save_npz(graph, arguments.arrays)
        written.append(f"arrays   {arguments.arrays}")
    if arguments.json is not None:
        formats.write_json(
            graph,
            arguments.json,
            node_threshold=spec.node_threshold,
            edge_threshold=spec.edge_threshold,
            compatible=spec.compatible,
        )
        written.append(f"json     {arguments.json}")
    if arguments.image is not None:
        view = prune(graph, spec.node_threshold, spec.edge_threshold, compatible=spec.compatible)
        _draw(arguments.image, result, view)
        written.append(f"picture  {arguments.image}")
    if arguments.report is not None:
        with written_whole(arguments.report) as file:
            file.write(
                json.dumps(result.report, indent=2, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
            )
        written.append(f"report   {arguments.report}")
    return written


def _draw(path: Path, result: Trace, view: Any) -> None:
    from engine.graphs.svg import svg_text

    title, caption = title_of(result.report, result.graph), caption_of(result.report, view)
    write_drawing(svg_text(result.graph, view, title=title, caption=caption), path)


def caption_of(report: dict[str, Any], view: Any) -> str:
    """One line of figures under a picture."""
    parts = [
        f"{report['model']['name']}, {report['features']['name']}",
        f"{int(view.nodes.sum()):,} of {report['nodes']:,} nodes hold {view.explained:.0%} of {report['measure']}",
        f"{report['unexplored']:.0%} unexplored",
        f"conservation error {report['conservation_error']:.1e}",
    ]
    if report["replacement"] is not None:
        parts.insert(2, f"replacement {report['replacement']:.2f}, completeness {report['completeness']:.2f}")
    return "; ".join(parts)


def _print(report: dict[str, Any], written: list[str]) -> None:
    out = sys.stdout.write
    out("Next token: " + ", ".join(f"{t['token']!r} {t['probability']:.2f}" for t in report["top_tokens"][:5]) + "\n")
    out(f"Traced:     {', '.join(repr(token) for token in report['target']['tokens'])}\n")
    out(f"Graph:      {report['nodes']:,} nodes ({report['feature_nodes']:,} features), {report['edges']:,} edges\n")
    if report["replacement"] is None:
        out("Scores:     replacement and completeness do not apply to neurons (nothing is left to error nodes)\n")
    else:
        both = report["compatible"]
        out(f"Scores:     replacement {report['replacement']:.3f}, completeness {report['completeness']:.3f}\n")
        out(f"            as circuit-tracer counts: {both['replacement']:.3f}, {both['completeness']:.3f}\n")
    error, bound = report["conservation_error"], report["conservation_bound"]
    verdict = "within" if error <= bound else "ABOVE"
    out(f"Proof:      largest conservation error {error:.1e} ({verdict} the bound of {bound:.0e})\n")
    if report["sweep_error"] is not None:
        out(
            f"Sweep:      with bfloat16 operands; edges are off by at most {report['sweep_error']:.1e} of their row's "
            "largest, measured on some rows\n"
        )
    out(f"Unexplored: {report['unexplored']:.1%} of {report['measure']} lies on features without a node\n")
    kept = " (recalled; --no-cache traces again)" if report.get("recalled") else ""
    out("Seconds:    " + ", ".join(f"{k} {v:.2f}" for k, v in report["seconds"].items()) + kept + "\n")
    for line in written:
        out(f"Wrote:      {line}\n")


def read_feature(text: str) -> tuple[int, int, int]:
    """L:P:F as numbers."""
    parts = text.split(":")
    if len(parts) != 3 or not all(one.isdigit() for one in parts):
        raise RequestError(f"{text!r} names no feature; give LAYER:POSITION:FEATURE, such as 12:4:503.")
    layer, position, feature = (int(one) for one in parts)
    return layer, position, feature


def read_nodes(path: Path) -> tuple[tuple[int, int, int], ...]:
    """A list of (layer, position, feature): JSON triples, or CSV with or without a header."""
    if not path.is_file():
        raise RequestError(f"There is no file {path}; give a CSV or JSON list of layer, position, feature.")
    try:
        if path.stat().st_size > LARGEST_LIST_BYTES:
            raise ValueError("too large")
        text = path.read_text(encoding="utf-8")
        rows = json.loads(text) if text.lstrip().startswith("[") else list(csv.reader(text.splitlines()))
        if rows and not text.lstrip().startswith("[") and not rows[0][0].strip().lstrip("-").isdigit():
            rows = rows[1:]
        triples = tuple((int(layer), int(position), int(feature)) for layer, position, feature in rows if layer != "")
    except (ValueError, TypeError, OSError, IndexError) as error:
        raise RequestError(
            f"{path} is not a list of nodes; give CSV lines or JSON triples: layer, position, feature."
        ) from error
    if not triples:
        raise RequestError(f"{path} names no node; give at least one line: layer, position, feature.")
    return triples
