"""Every command of the program, in menu order."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from app.canvas.walking import Step
from app.commands.circuit_catalogue import circuit_commands
from app.commands.comparing import comparing_commands
from app.commands.evidence import evidence_commands
from app.commands.experiments import experiment_commands
from app.commands.registry import Command
from app.commands.sharing import sharing_commands
from app.commands.training import training_commands
from app.commands.tree import tree_commands

if TYPE_CHECKING:
    from app.window import MainWindow

FILE, EDIT, TRACE, GO, VIEW, HELP = "&File", "&Edit", "&Trace", "&Go", "&View", "&Help"
WALKS = (
    (Step.LEFT, "Token at the &left", "Left"),
    (Step.RIGHT, "Token at the &right", "Right"),
    (Step.UP, "&Up the strongest edge", "Up"),
    (Step.DOWN, "&Down the strongest edge", "Down"),
    (Step.PREVIOUS, "Node &before", "Shift+Left"),
    (Step.NEXT, "Node &after", "Shift+Right"),
)


def all_commands(window: MainWindow) -> list[Command]:
    """The commands of a window; ids are stable, tests and help are made from them."""
    return [
        *_file(window),
        *_edit(window),
        *tree_commands(window),
        *circuit_commands(window),
        *experiment_commands(window),
        *_trace(window),
        *evidence_commands(window),
        *training_commands(window),
        *comparing_commands(window),
        *_go(window),
        *_view(window),
        *_help(window),
    ]


def _file(window: MainWindow) -> list[Command]:
    files, graphs, exports, asked = window.files, window.graph_files, window.exports, window.conditions
    return [
        Command("file.new", "&New investigation", FILE, files.new, ("Ctrl+N",), "new"),
        Command("file.open", "&Open…", FILE, files.open, ("Ctrl+O",), "open", tip="Open a project"),
        Command("file.sample", "Open a sa&mple project…", FILE, files.open_sample, (), "open",
                tip="Traced prompts with their circuits and what was measured of them; a copy is opened"),
        Command("file.reopen", "Open w&hat was open", FILE, window.settings.open_left, (), "history",
                window.settings.has_left, tip="Open the project that was open when the program ended unexpectedly"),
        Command("file.edit_here", "E&dit it here", FILE, files.edit_here, (), "label", files.can_edit_here,
                tip="Open the project again, which another program has let go of, to edit it here"),
        Command("file.save_as", "Save &as…", FILE, files.save_as, ("Ctrl+Shift+S",), "save", section=1,
                enabled=asked.has_project, tip="Give the project a name; everything is saved as you work"),
        Command("file.import_graph", "&Import graph…", FILE, graphs.import_graph, (), "open", section=2,
                tip="Add a graph that another program or an export wrote to the project"),
        *sharing_commands(window),
        Command("file.export_picture", "&Export picture…", FILE, exports.picture, ("Ctrl+E",), "export",
                asked.has_graph, tip="Export the shown graph as SVG, PDF or PNG", section=2),
        Command("file.export_circuit", "Export &circuit diagram…", FILE, exports.circuit, (), "export",
                asked.has_circuit, tip="Export what is pinned and grouped, drawn as SVG, PDF or PNG", section=2),
        Command("file.export_report", "Export &report…", FILE, exports.report, (), "export", asked.has_graph,
                tip="Export a web page with the circuit, its scores and what is known of its nodes", section=2),
        Command("file.export_notebook", "Export n&otebook…", FILE, exports.notebook, (), "export", asked.has_graph,
                tip="Export a Jupyter notebook that repeats this trace", section=2),
        Command("file.export_graph", "Export &graph as…", FILE, exports.graph, (), "export", asked.has_graph,
                tip="Export the graph as JSON, GraphML, CSV or npz", section=2),
        Command("file.stop_writing", "Stop &writing", FILE, exports.stop, (), "stop", exports.writing,
                tip="Stop the export that is being written; what stood under its name stays", section=2),
        Command("file.quit", "&Quit", FILE, window.quit, ("Ctrl+Q",), section=3),
    ]  # fmt: skip


def _edit(window: MainWindow) -> list[Command]:
    hands, asked = window.hands, window.conditions
    return [
        Command("edit.undo", asked.undo_title, EDIT, window.edits_undo, ("Ctrl+Z",), "undo", asked.can_undo),
        Command("edit.redo", asked.redo_title, EDIT, window.edits_redo, ("Ctrl+Shift+Z", "Ctrl+Y"), "redo",
                asked.can_redo),
        Command("edit.pin", asked.pin_title, EDIT, hands.toggle_pin, ("P",), "pin", asked.can_annotate, section=1),
        Command("edit.label", "&Label…", EDIT, hands.label, ("L",), "label", asked.can_annotate, section=1,
                tip="Name the selected node"),
        Command("edit.label_history", "Label &history…", EDIT, hands.label_history, (), "history",
                asked.has_label_history, section=1, tip="See the labels the node had, and give one of them again"),
        Command("edit.copy_name", "&Copy node's name", EDIT, hands.copy_name, ("Ctrl+Shift+C",), "copy",
                asked.has_selection, section=1),
        Command("edit.settings", "&Settings…", EDIT, window.settings.show, ("Ctrl+,",), "settings", section=9,
                tip="Theme, text size, device, memory, model folders, network"),
    ]  # fmt: skip


def _trace(window: MainWindow) -> list[Command]:
    runs, asked, models = window.runs, window.conditions, window.models
    return [
        Command("trace.run", "&Trace", TRACE, window.run_trace, ("Ctrl+Return",), "trace", asked.can_run,
                tip="Trace why the model says what it says next"),
        Command("trace.feature", "Trace t&his feature", TRACE, window.feature_trace.run, (), "trace",
                window.feature_trace.can_run, tip="Trace what made the selected feature active"),
        Command("trace.open_ready", "&Open the finished trace", TRACE, runs.open_ready, (), "open", asked.has_ready,
                tip="Open the trace that was finished while another one was read"),
        Command("trace.rerun", "&Run this trace again", TRACE, window.trace_again.run, (), "redo",
                window.trace_again.can_run, tip="Trace it once more, and say whether the graph is the same and what "
                "has changed since; nothing is written"),
        Command("trace.generate", "&Generate", TRACE, window.run_generate, ("Ctrl+Shift+Return",), "generate",
                asked.can_run, tip="Let the model continue the prompt"),
        Command("trace.cancel", "&Cancel", TRACE, runs.host.cancel, ("Ctrl+.",), "stop", asked.is_busy,
                tip="Stop the running job"),
        Command("trace.weighted", "Explain a weighted &sum…", TRACE, window.special.ask_sum, (), "", section=1,
                tip="Explain several tokens at once, each with a weight"),
        Command("trace.direction", "Explain a &direction…", TRACE, window.special.ask_direction, (), "open", section=1,
                tip="Explain a direction of the last residual stream, from a .npy or JSON file"),
        Command("trace.tokens", "Explain to&kens again", TRACE, window.special.forget, (), "close",
                window.special.is_chosen, section=1, tip="Forget the weighted sum or the direction"),
        Command("trace.budget", "&Number of nodes…", TRACE, models.ask_budget, (), "settings", section=1,
                tip="How many feature nodes a trace may have"),
        Command("trace.load_model", "&Load model now", TRACE, runs.load_model, (), "model", asked.can_load,
                section=2),
        Command("trace.models", "&Models and dictionaries…", TRACE, models.show_page, (), "model", section=2,
                tip="See what is on this machine and what is published, use it, or download it"),
        Command("trace.open_model_folder", "Open model &folder…", TRACE, models.open_folder, (), "open", section=2),
        Command("trace.open_model_file", "Open GGU&F file…", TRACE, models.open_file, (), "open", section=2),
        Command("trace.open_features", "Open &transcoder folder…", TRACE, models.open_features, (), "open",
                section=2),
        Command("trace.trust_features", "Open it anyway", TRACE, runs.trust_refused, (), "", asked.has_refused,
                section=2, tip="Open the dictionary that was refused, whatever it explains of this model"),
    ]  # fmt: skip


def _go(window: MainWindow) -> list[Command]:
    session, hands, asked = window.session, window.hands, window.conditions
    walks = [
        Command(f"go.walk.{step.name.lower()}", title, GO, partial(hands.walk, step), (), "", asked.has_graph,
                section=1, shown_keys=keys, tip=f"In the graph: {step.value}")
        for step, title, keys in WALKS
    ]  # fmt: skip
    return [
        Command("go.palette", "&All commands…", GO, window.show_palette, ("Ctrl+K",), "search"),
        Command("go.back", "&Back", GO, session.go_back, ("[",), "back", asked.can_go_back, section=1,
                tip="Go to the node visited before"),
        Command("go.forward", "&Forward", GO, session.go_forward, ("]",), "forward", asked.can_go_forward,
                section=1, tip="Go to the node left by going back"),
        *walks,
        Command("go.freeze", "Free&ze what is hovered", GO, hands.freeze, (), "", hands.can_freeze, hands.is_frozen,
                section=1, shown_keys="Space", tip="Keep the card and the edges of the node under the pointer"),
        Command("go.find", "F&ind nodes", GO, hands.find, ("/", "Ctrl+F"), "search", asked.has_graph, section=2,
                tip="Find nodes by label, token, layer, sign, activation, influence"),
        Command("go.find_next", "&Next node found", GO, hands.find_next, ("F3",), "down", asked.has_found, section=2),
        Command("go.find_previous", "P&revious node found", GO, hands.find_previous, ("Shift+F3",), "up",
                asked.has_found, section=2),
        Command("go.find_filters", "Fi&lters of the find bar", GO, hands.find_filters, ("Ctrl+Shift+F",), "filter",
                asked.has_graph, hands.find_filters_shown, section=2,
                tip="Choose kind, layers, token, sign, activation and influence instead of typing them"),
        Command("go.find_close", "&Close the find bar", GO, hands.find_close, (), "close", hands.find_is_open,
                section=2, shown_keys="Esc", tip="Show every node as before"),
        Command("go.next_panel", "Next p&anel", GO, hands.next_panel, ("F6",), section=3),
        Command("go.previous_panel", "Previous pan&el", GO, hands.previous_panel, ("Shift+F6",), section=3),
        Command("go.prompt", "&Prompt", GO, hands.go_prompt, ("Ctrl+L",), section=3, tip="Go to the prompt"),
        Command("go.graph", "&Graph", GO, hands.go_graph, ("Ctrl+1",), "", asked.has_graph, section=3,
                tip="Go to the graph"),
        Command("go.table", "Node &table", GO, hands.go_table, ("Ctrl+2",), "", asked.has_graph, section=3,
                tip="Go to the node table"),
        Command("go.inputs", "&Inputs of the node", GO, hands.go_inputs, ("Ctrl+3",), "inputs", asked.has_selection,
                section=3),
        Command("go.outputs", "&Outputs of the node", GO, hands.go_outputs, ("Ctrl+4",), "outputs",
                asked.has_selection, section=3),
    ]  # fmt: skip


def _view(window: MainWindow) -> list[Command]:
    look, asked = window.look, window.conditions
    themes = [
        Command(f"view.theme.{name}", title, VIEW, partial(look.set_theme, name), (), "",
                checked=partial(look.is_theme, name), section=3)
        for name, title in (("system", "Theme of the &system"), ("light", "&Light theme"), ("dark", "&Dark theme"))
    ]  # fmt: skip
    sizes = [
        Command(f"view.size.{name}", f"Size of features: {name}", VIEW, partial(look.set_size_by, name), (), "",
                checked=partial(look.is_size_by, name), section=2)
        for name in ("influence", "activation", "none")
    ]  # fmt: skip
    return [
        Command("view.fit", "&Fit graph", VIEW, look.fit, ("F",), "fit", asked.has_graph),
        Command("view.zoom_in", "Zoom &in", VIEW, look.zoom_in, ("+",), "zoom-in", asked.has_graph),
        Command("view.zoom_out", "Zoom &out", VIEW, look.zoom_out, ("-",), "zoom-out",
                asked.has_graph),
        Command("view.hide_errors", "Hide &errors", VIEW, look.toggle_errors, ("E",), "", asked.has_graph,
                checked=look.errors_hidden, section=1),
        Command("view.hide_bos", "Hide &BOS", VIEW, look.toggle_bos, ("B",), "", asked.has_graph,
                checked=look.bos_hidden, section=1),
        Command("view.all_edges", "&All edges", VIEW, look.toggle_all_edges, ("A",), "", asked.has_graph,
                checked=look.all_edges_shown, section=1, tip="Draw every edge in view, not only the strongest"),
        Command("view.table", "Node &table", VIEW, look.toggle_table, ("T",), "", checked=look.table_shown,
                section=1),
        *sizes,
        *themes,
        Command("view.colour_blind", "&Orange and blue instead of green and purple", VIEW, look.toggle_colour_blind,
                (), "", checked=look.is_colour_blind, section=3),
        Command("view.larger", "&Larger text", VIEW, look.larger, ("Ctrl+=", "Ctrl++"), section=4),
        Command("view.smaller", "&Smaller text", VIEW, look.smaller, ("Ctrl+-",), section=4),
        Command("view.normal", "&Normal text", VIEW, look.normal, ("Ctrl+0",), section=4),
        Command("view.reset_layout", "&Reset layout", VIEW, look.reset_layout, (), section=5,
                tip="Put all panels back where they were at first"),
    ]  # fmt: skip


def _help(window: MainWindow) -> list[Command]:
    return [
        Command(
            "help.guide",
            "&First steps",
            HELP,
            window.show_guide,
            (),
            "info",
            tip="Nine steps that tick as you do them: trace, read, group, test",
        ),
        Command(
            "help.glossary",
            "&Glossary",
            HELP,
            window.show_glossary,
            (),
            "info",
            tip="What the words mean, each with its source",
        ),
        Command("help.keys", "&Keys and gestures", HELP, window.show_help, ("F1", "?"), "info"),
        Command("help.show_log", "Show &log", HELP, window.files.show_log, tip="Open the folder with the log"),
        Command("help.about", "&About Circuit Loupe", HELP, window.show_about, (), "info"),
    ]
