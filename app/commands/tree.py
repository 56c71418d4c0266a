"""The Project menu: what is in the tree, and what can be done with what is chosen there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.commands.registry import Command
from app.dialogs import Ask
from app.prompt_state import Draft
from engine.graphs.titles import trace_title
from engine.graphs.visible_text import visible_text
from engine.projects import TOP, SearchHit, TreeEntry, TreeRef

if TYPE_CHECKING:
    from app.window import MainWindow

PROJECT = "&Project"
LONGEST_TITLE = 60


class TreeHands:
    """Acts on the entries that are chosen in the tree; on the open trace where none is."""

    def __init__(self, window: MainWindow) -> None:
        self.window, self.session, self.edits = window, window.session, window.tree_edits

    # ---- what is in hand, and when -----------------------------------------------------------------------------

    def entry(self) -> TreeEntry | None:
        """The one entry in hand."""
        return self.window.investigation.tree.current_entry()

    def refs(self) -> list[TreeRef]:
        """The entries in hand."""
        tree = self.window.investigation.tree
        current = tree.current_ref()
        return tree.refs() or ([] if current is None else [current])

    def can_write(self) -> bool:
        """Something may be added: to the project, or to a new one."""
        return not self.session.read_only

    def can_change(self) -> bool:
        """Something is in hand, and the project takes edits."""
        return self.session.project is not None and not self.session.read_only and bool(self.refs())

    def can_change_one(self) -> bool:
        """One entry is in hand."""
        return self.can_change() and len(self.refs()) == 1

    def can_open(self) -> bool:
        """What is in hand can be opened."""
        entry = self.entry()
        return entry is not None and entry.kind != "folder"

    def can_keep_circuit(self) -> bool:
        """Something is pinned or grouped."""
        return self.session.can_edit and bool(self.session.circuit.nodes)

    def has_prompt(self) -> bool:
        """There is a prompt to keep."""
        return self.can_write() and bool(self.session.prompt.draft.text.strip())

    def has_tagged(self) -> bool:
        """What is in hand has a tag."""
        return self.can_change() and bool(self._tags_in_hand())

    def has_tags(self) -> bool:
        """Something in the project has a tag."""
        return self.window.investigation.tags.isVisibleTo(self.window)

    def _tags_in_hand(self) -> list[str]:
        project, refs = self.session.project, self.refs()
        found = [] if project is None else [entry.tags for entry in project.tree.entries() if entry.ref in refs]
        return list(dict.fromkeys(tag for tags in found for tag in tags))

    def _folder(self) -> int:
        """Where something new is put: into the folder in hand, or beside what is in hand."""
        entry = self.entry()
        if entry is None:
            return TOP
        return entry.ref.number if entry.kind == "folder" else entry.folder

    # ---- opening -----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open a trace, put a prompt into the prompt bar, a circuit onto its trace, the cursor into a note."""
        entry = self.entry()
        if entry is not None:
            self.window.settle()
            {
                "trace": self._open_trace,
                "prompt": self._open_prompt,
                "circuit": self._open_circuit,
                "experiment": self._open_experiment,
            }.get(entry.kind, self._open_note)(entry)

    def _open_trace(self, entry: TreeEntry) -> None:
        self.show_trace(entry.ref.number)

    def show_trace(self, number: int) -> None:
        """Open a trace, unless it is open already."""
        if number != self.session.trace_id:
            self.window.settle()
            self.session.open_trace(number)

    def _open_prompt(self, entry: TreeEntry) -> None:
        project = self.session.project
        assert project is not None
        content = project.tree.content(entry.ref)
        draft = Draft.from_json(content.get("draft"))
        text = project.tree.text(entry.ref) or draft.text
        model, features = str(content.get("model", "")), str(content.get("features", ""))
        if model in self.window.runs.known_models:
            self.window.runs.choose_model(model)
            if features:
                self.window.runs.want_features(features)
        self.session.prompt.edit(text=text, bos=draft.bos, chat=draft.chat, system=draft.system)
        self.window.hands.go_prompt()

    def _open_circuit(self, entry: TreeEntry) -> None:
        self.show_trace(entry.trace)
        if self.session.trace_id == entry.trace and self.edits.show_circuit(entry.ref):
            self.window.say("The kept circuit is on its trace; Undo brings back what was there")

    def _open_experiment(self, entry: TreeEntry) -> None:
        self.show_trace(entry.trace)
        if self.session.trace_id == entry.trace:
            self.window.experiment_hands.open(entry.ref.number)

    def _open_note(self, entry: TreeEntry) -> None:
        self.window.investigation.pane.focus()

    # ---- making ------------------------------------------------------------------------------------------------

    def new_folder(self) -> None:
        """Make a folder, with the chosen entries in it where several are chosen."""
        chosen = self.window.investigation.tree.refs()
        together = chosen if len(chosen) > 1 else []
        entry = self.entry()
        folder = entry.folder if entry is not None and together else self._folder()
        title = self._ask("New folder", "Name of the folder", "Folder")
        if title:
            self._made(self.edits.add_folder(title, folder, together))

    def new_note(self) -> None:
        """Begin a note that belongs to no trace."""
        title = self._ask("New note", "Title of the note", "Note")
        if title and self._made(self.edits.add_note(title, self._folder())):
            self.window.investigation.pane.focus()

    def keep_prompt(self) -> None:
        """Keep what is in the prompt bar as an entry of its own."""
        self.window.prompt_bar.commit()
        draft, runs = self.session.prompt.draft, self.window.runs
        title = self._ask("Keep prompt", "Title of the prompt", trace_title(draft.text)[-LONGEST_TITLE:])
        if title:
            settings = {"draft": draft.as_json(), "model": runs.wanted_model, "features": runs.wanted_features}
            self._made(self.edits.add_prompt(title, draft.text, settings, self._folder()))

    def keep_circuit(self) -> None:
        """Keep pins, groups and positions as they are now."""
        trace = self.session.trace_id
        title = self._ask("Keep circuit", "Name of the circuit", f"Circuit of {self.window.files.trace_title()}")
        if title and trace is not None:
            self._made(self.edits.keep_circuit(trace, title))

    def duplicate(self) -> None:
        """Copy the entry in hand, with all that is in it."""
        entry = self.entry()
        if entry is not None:
            self._made(self.edits.duplicate(entry.ref))

    def _made(self, ref: TreeRef | None) -> bool:
        """Go to what was made."""
        if ref is not None:
            self.window.show_dock("investigation")
            self.window.investigation.go_to(ref)
        return ref is not None

    def _ask(self, title: str, question: str, before: str) -> str:
        return " ".join((Ask.text(self.window, title, question, before) or "").split())

    # ---- changing ----------------------------------------------------------------------------------------------

    def rename(self) -> None:
        """Ask for another title of the entry in hand."""
        entry = self.entry()
        if entry is not None:
            title = self._ask(f"Rename {entry.kind}", f"Title of this {entry.kind}", entry.title)
            if title:
                self.edits.rename(entry.ref, title)

    def move(self) -> None:
        """Ask into which folder."""
        refs, tree = self.refs(), self.window.investigation.tree
        barred = {ref.number for ref in refs if ref.table == "item"}
        folders = [(number, path) for number, path in tree.folders() if number not in barred]
        titles: list[str] = []
        for number, path in folders:
            titles.append(path if path not in titles else f"{path} ({number})")
        answer = Ask.choice(self.window, "Move", "Put into the folder:", titles)
        if answer is not None:
            self.edits.move(refs, folders[answer][0])

    def delete(self) -> None:
        """Take what is in hand out of the project; undo brings it back."""
        refs, entry = self.refs(), self.entry()
        if self.edits.delete(refs):
            what = f"{entry.kind.capitalize()} deleted" if entry is not None and len(refs) == 1 else "Deleted"
            self.window.say(f"{what}; Undo brings it back")

    def tag(self) -> None:
        """Put a tag on what is in hand."""
        word = self._ask("Add tag", "Tag, a word or two", "")
        if word:
            self.edits.tag(self.refs(), word)

    def untag(self) -> None:
        """Take a tag from what is in hand."""
        refs, tags = self.refs(), self._tags_in_hand()
        shown = [visible_text(tag) for tag in tags]
        answer = 0 if len(tags) == 1 else Ask.choice(self.window, "Take tag away", "Tag:", shown)
        if answer is not None:
            self.edits.untag(refs, tags[answer])

    def filter(self) -> None:
        """Choose the tag of what alone is shown."""
        self.window.show_dock("investigation")
        self.window.investigation.show_tags()

    # ---- searching ---------------------------------------------------------------------------------------------

    def search(self) -> None:
        """Put the cursor into the search field."""
        self.window.show_dock("investigation")
        self.window.hands.focus(self.window.investigation.search)
        self.window.investigation.search.selectAll()

    def go_to(self, hit: SearchHit) -> None:
        """Open what a search found: its trace with the node selected, or its entry of the tree."""
        self.window.settle()
        if hit.kind == "feature_label":
            self._go_to_feature(hit.item)
        elif hit.kind in ("item", "experiment"):
            self.window.investigation.go_to(TreeRef("item" if hit.kind == "item" else "experiment", hit.item))
        else:
            self.show_trace(hit.trace)
            if self.session.trace_id != hit.trace:
                return
            if hit.kind == "label":
                self._select(hit.item)
            elif hit.kind == "supernode":
                nodes = [node for one in self.session.annotations.groups if one.id == hit.item for node in one.nodes]
                self.session.light(nodes)
                self._select(nodes[0] if nodes else -1)
            elif hit.kind == "note":
                self.window.investigation.go_to(TreeRef("trace", hit.trace))
                self.window.investigation.pane.focus()

    def _select(self, node: int) -> None:
        self.session.select(node)
        self.window.show_dock("inspector")

    def _go_to_feature(self, number: int) -> None:
        project, open_now = self.session.project, self.session.trace_id
        label = None if project is None else project.feature_labels.by_number(number)
        if project is None or label is None:
            return
        for row in sorted(project.traces(), key=lambda row: row.id != open_now):
            nodes = project.feature_labels.nodes_of(row.id, label)
            if nodes:
                self.show_trace(row.id)
                self._select(nodes[0])
                return
        self.window.say(f"No trace here has feature {label.feature} of layer {label.layer}")


def tree_commands(window: MainWindow) -> list[Command]:
    """In menu order."""
    hands = window.tree_hands
    return [
        Command("project.open", "&Open", PROJECT, hands.open, (), "open", hands.can_open, shown_keys="Return",
                tip="Open what is chosen in the tree: a trace, a prompt, a kept circuit, a note"),
        Command("project.search", "&Search labels and notes", PROJECT, hands.search, ("Ctrl+Alt+F",), "search",
                window.conditions.has_project, tip="Find labels, notes, groups and titles in the whole project"),
        Command("project.filter", "Show only a ta&g…", PROJECT, hands.filter, (), "filter", hands.has_tags,
                tip="Show in the tree only what has a tag"),
        Command("project.new_folder", "&New folder…", PROJECT, hands.new_folder, (), "folder", hands.can_write,
                tip="Make a folder; what is chosen goes into it, where several are", section=1),
        Command("project.new_note", "New no&te…", PROJECT, hands.new_note, (), "note", hands.can_write, section=1,
                tip="Write a note that belongs to no trace"),
        Command("project.keep_prompt", "Keep &prompt…", PROJECT, hands.keep_prompt, (), "prompt", hands.has_prompt,
                section=1, tip="Keep what is in the prompt bar, with its model and dictionary"),
        Command("project.keep_circuit", "Keep &circuit…", PROJECT, hands.keep_circuit, (), "circuit",
                hands.can_keep_circuit, section=1, tip="Keep pins, groups and positions as they are now"),
        Command("project.rename", "&Rename…", PROJECT, hands.rename, (), "label", hands.can_change_one, section=2,
                shown_keys="F2", tip="Give the entry another title"),
        Command("project.duplicate", "&Duplicate", PROJECT, hands.duplicate, (), "copy", hands.can_change_one,
                section=2, tip="Copy the entry with everything in it and on it"),
        Command("project.move", "&Move to…", PROJECT, hands.move, (), "into", hands.can_change, section=2,
                tip="Put the chosen entries into a folder"),
        Command("project.delete", "D&elete", PROJECT, hands.delete, (), "delete", hands.can_change, section=2,
                shown_keys="Del", tip="Take the chosen entries out of the project; undo brings them back"),
        Command("project.tag", "&Add tag…", PROJECT, hands.tag, (), "tag", hands.can_change, section=3,
                tip="Put a tag on the chosen entries"),
        Command("project.untag", "Ta&ke tag away…", PROJECT, hands.untag, (), "close", hands.has_tagged, section=3,
                tip="Take a tag from the chosen entries"),
    ]  # fmt: skip
