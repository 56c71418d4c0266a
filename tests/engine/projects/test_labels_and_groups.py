"""Labels that hold everywhere and their history; supernodes in supernodes; suggestions accepted and refused."""

from __future__ import annotations

import pytest

from engine.errors import RequestError
from engine.graphs.graph import NodeKind
from engine.projects import Brought, NewLabel, Project, dictionary_identity
from tests.engine.projects.conftest import REPORT, change_file, everything, small_graph

NEURONS = {
    "model": {"name": "tiny", "fingerprint": "m1"},
    "features": {"kind": "neurons", "fingerprint": "neurons"},
}
IDENTITY = "neurons:m1"
GRAPH = small_graph(1)
FEATURE = int(GRAPH.of_kind(NodeKind.FEATURE)[2])
LAYER, NUMBER = int(GRAPH.layer[FEATURE]), int(GRAPH.feature[FEATURE])


def texts(project: Project) -> list[tuple[str, str]]:
    return [(label.text, label.source) for label in project.feature_labels.all()]


def test_which_dictionary_a_trace_was_made_with() -> None:
    assert dictionary_identity(NEURONS) == IDENTITY
    other = {**NEURONS, "features": {"kind": "transcoders", "fingerprint": "abc"}}
    assert dictionary_identity(other) == "abc"
    for nothing in (REPORT, {}, {"features": 3}, {"features": {"kind": "neurons", "fingerprint": "neurons"}}):
        assert dictionary_identity(nothing) is None


def test_a_label_holds_in_every_trace_of_its_dictionary(project: Project) -> None:
    first = project.add_trace(NEURONS, GRAPH, title="first")
    second = project.add_trace(NEURONS, GRAPH, title="second")
    other = project.add_trace({**NEURONS, "model": {"fingerprint": "m2"}}, GRAPH, title="another model")
    project.feature_labels.set(IDENTITY, LAYER, NUMBER, "Texas")
    for trace in (first, second):
        found = project.feature_labels.of_trace(trace)
        assert {node: label.text for node, label in found.items()} == {FEATURE: "Texas"}
    assert project.feature_labels.of_trace(other) == {}
    assert project.feature_labels.of_trace(1) == {}, "a trace whose report names no dictionary"
    (hit,) = project.search("texas")
    assert (hit.kind, hit.trace) == ("feature_label", 0)
    label = project.feature_labels.by_number(hit.item)
    assert label is not None
    assert (label.layer, label.feature, label.text) == (LAYER, NUMBER, "Texas")
    project.undo()
    assert project.feature_labels.of_trace(first) == {}
    assert project.search("texas") == []


def test_what_a_feature_was_called_before_is_kept(project: Project) -> None:
    labels = project.feature_labels
    labels.give([NewLabel(IDENTITY, 1, 2, "machine", "automatic")])
    labels.set(IDENTITY, 1, 2, "person's")
    labels.set(IDENTITY, 1, 2, "")
    found = labels.versions(IDENTITY, 1, 2)
    assert [(v.text, v.source) for v in found] == [("machine", "automatic"), ("person's", "person"), ("", "person")]
    assert all(version.given.endswith("Z") for version in found)
    project.undo()
    assert [v.text for v in labels.versions(IDENTITY, 1, 2)] == ["machine", "person's"]
    assert texts(project) == [("person's", "person")]
    assert labels.versions(IDENTITY, 1, 3) == []


def test_what_a_node_was_called_before_is_kept(project: Project) -> None:
    project.set_label(1, 3, "from a file", source="imported")
    assert project.annotations(1).sources == {3: "imported"}
    project.set_label(1, 3, "mine")
    assert project.annotations(1).sources == {}
    assert [(v.text, v.source) for v in project.label_versions(1, 3)] == [
        ("from a file", "imported"),
        ("mine", "person"),
    ]
    assert project.label_versions(2, 3) == []


def test_labels_that_come_with_a_graph_are_imported(project: Project) -> None:
    number = project.add_trace({}, GRAPH, title="brought", brought=Brought(labels={3: "theirs"}))
    assert project.annotations(number).sources == {3: "imported"}
    assert [v.source for v in project.label_versions(number, 3)] == ["imported"]


def test_typing_is_one_version_and_none_if_it_ends_where_it_began(project: Project) -> None:
    project.set_label(1, 3, "old")
    for end in range(1, 6):
        project.set_label(1, 3, "Texas"[:end], merge="typing")
        project.feature_labels.set(IDENTITY, 1, 2, "Texas"[:end], merge="typing")
    for end in range(1, 6):
        project.set_label(1, 4, "Texas"[:end], merge="typing")
    for end in range(1, 6):
        project.feature_labels.set(IDENTITY, 1, 3, "Texas"[:end], merge="typing")
    assert [v.text for v in project.label_versions(1, 4)] == ["Texas"]
    assert [v.text for v in project.feature_labels.versions(IDENTITY, 1, 3)] == ["Texas"]
    title = project.undo_title
    project.set_label(1, 4, "Texa", merge="again")
    project.set_label(1, 4, "Texas", merge="again")
    assert project.undo_title == title
    assert [v.text for v in project.label_versions(1, 4)] == ["Texas"]


def test_a_machine_does_not_write_over_a_person(project: Project) -> None:
    labels = project.feature_labels
    labels.set(IDENTITY, 1, 2, "mine")
    given = [NewLabel(IDENTITY, 1, 2, "theirs", "automatic"), NewLabel(IDENTITY, 1, 3, "new", "automatic")]
    done = labels.give(given)
    assert done is not None
    assert done.title == "Label 2 features everywhere"
    assert texts(project) == [("mine", "person"), ("new", "automatic")]
    assert labels.give(given) is None
    labels.give([NewLabel(IDENTITY, 1, 3, "newer", "imported")])
    labels.give(given, over_others=True)
    assert texts(project) == [("theirs", "automatic"), ("new", "automatic")]
    project.undo()
    assert texts(project) == [("mine", "person"), ("newer", "imported")]


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        (("", 1, 2, "x"), "names no dictionary"),
        (("d" * 201, 1, 2, "x"), "names no dictionary"),
        ((IDENTITY, -1, 2, "x"), "There is no feature 2 of layer -1"),
        ((IDENTITY, 1, 2**40, "x"), "There is no feature"),
        ((IDENTITY, 1, 2, "x" * 1001), "at most 1,000 characters"),
    ],
)
def test_labels_that_are_refused(project: Project, label: tuple[str, int, int, str], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        project.feature_labels.set(*label)
    with pytest.raises(RequestError, match="gives no labels"):
        project.feature_labels.set(IDENTITY, 1, 2, "x", source="nobody")
    assert project.undo_title is None


def test_a_label_of_nobody_is_damage(project: Project) -> None:
    project.feature_labels.set(IDENTITY, 1, 2, "x")
    project.close()
    change_file(project.path, "UPDATE feature_label SET source = '<b>'")
    with Project.open(project.path) as again, pytest.raises(RequestError, match="is damaged"):
        again.feature_labels.all()


# Supernodes in supernodes


def nested(project: Project) -> dict[str, tuple[str, tuple[int, ...]]]:
    groups = project.annotations(1).groups
    names: dict[int | None, str] = {None: "", **{group.id: group.name for group in groups}}
    return {group.name: (names[group.parent], group.nodes) for group in groups}


@pytest.fixture
def three(project: Project) -> Project:
    """inner (3) in middle (4) in outer (5)."""
    outer = project.add_group(1, "outer", [5], colour="#aabbcc")
    middle = project.add_group(1, "middle", [4], parent=outer)
    project.add_group(1, "inner", [3])
    project.nest_group(1, 3, middle)
    return project


def test_supernodes_stand_in_each_other(three: Project) -> None:
    assert nested(three) == {"outer": ("", (5,)), "middle": ("outer", (4,)), "inner": ("middle", (3,))}
    assert three.annotations(1).groups[0].colour == "#aabbcc"
    three.nest_group(1, 3, None)
    assert nested(three)["inner"] == ("", (3,))
    three.undo()
    with pytest.raises(RequestError, match="cannot be put into itself"):
        three.nest_group(1, 1, 3)
    with pytest.raises(RequestError, match="no supernode 99"):
        three.nest_group(1, 1, 99)
    with pytest.raises(RequestError, match="no supernode 99"):
        three.add_group(1, "x", [1], parent=99)


def test_a_supernode_that_goes_leaves_those_in_it_to_the_one_around_it(three: Project) -> None:
    before = nested(three)
    three.remove_group(1, 2)
    assert nested(three) == {"outer": ("", (5,)), "inner": ("outer", (3,))}
    three.undo()
    assert nested(three) == before


def test_a_supernode_may_hold_only_supernodes_and_goes_with_the_last(three: Project) -> None:
    before = nested(three)
    three.add_group(1, "new", [4, 5])
    assert nested(three) == {"outer": ("", ()), "middle": ("outer", ()), "inner": ("middle", (3,)), "new": ("", (4, 5))}
    three.set_group_nodes(1, 4, [3, 4, 5])
    assert nested(three) == {"new": ("", (3, 4, 5))}
    three.undo()
    three.undo()
    assert nested(three) == before


def test_they_do_not_stand_deeper_than_can_be_drawn(project: Project) -> None:
    parent: int | None = None
    for node in range(16):
        parent = project.add_group(1, f"{node}", [node], parent=parent)
    with pytest.raises(RequestError, match="16 deep"):
        project.add_group(1, "too deep", [16], parent=parent)


def test_a_note_on_a_supernode_is_typed_in_one_step_and_found(three: Project) -> None:
    title = three.undo_title
    for text in ("se", "seen", "seen twice"):
        three.set_group_note(1, 2, text, merge="typing")
    assert three.annotations(1).groups[1].note == "seen twice"
    assert [(hit.kind, hit.item) for hit in three.search("twice")] == [("supernode", 2)]
    three.undo()
    assert three.undo_title == title


# Suggestions


def test_a_suggested_supernode_is_made_when_it_is_accepted(project: Project) -> None:
    add = project.suggestions.add_group
    number = add(1, "states", [5, 3, 3], source="shared inputs")
    assert number is not None
    assert add(1, "states", [3, 5], source="again") is None, "the same is proposed once"
    (found,) = project.suggestions.of_trace(1)
    assert (found.kind, found.text, found.nodes, found.source) == ("group", "states", (3, 5), "shared inputs")
    before = everything(project)
    assert project.undo_title is None, "proposing is no edit"
    project.suggestions.accept(number)
    assert [(group.name, group.nodes) for group in project.annotations(1).groups] == [("states", (3, 5))]
    assert project.suggestions.of_trace(1) == []
    with pytest.raises(RequestError, match="no open suggestion"):
        project.suggestions.accept(number)
    project.undo()
    assert everything(project) == before
    assert [one.state for one in project.suggestions.of_trace(1, None)] == ["open"]


def test_a_suggested_label_is_automatic(project: Project) -> None:
    number = project.suggestions.add_label(1, 3, "Texas", source="logit effects")
    assert number is not None
    project.suggestions.accept(number)
    found = project.annotations(1)
    assert (found.labels, found.sources) == ({3: "Texas"}, {3: "automatic"})


def test_what_was_refused_is_not_proposed_again(project: Project) -> None:
    number = project.suggestions.add_group(1, "states", [3, 5], source="x")
    assert number is not None
    project.suggestions.refuse(number)
    assert project.suggestions.of_trace(1) == []
    assert project.suggestions.add_group(1, "states", [3, 5], source="x") is None
    assert [one.state for one in project.suggestions.of_trace(1, "refused")] == ["refused"]
    project.suggestions.accept(number)
    assert len(project.annotations(1).groups) == 1


def test_a_suggested_pin_says_why_and_is_pinned(project: Project) -> None:
    add = project.suggestions.add_pin
    number = add(1, 4, "12 · 503", source="x", reason="a tenth leaves here", stability=0.75)
    assert number is not None
    assert add(1, 4, "called otherwise by now", source="x") is None, "the same node is proposed once"
    (found,) = project.suggestions.of_trace(1)
    assert (found.key, found.reason, found.stability) == ("pin 4", "a tenth leaves here", 0.75)
    before = everything(project)
    project.suggestions.accept(number)
    assert project.annotations(1).pins == (4,)
    project.undo()
    assert everything(project) == before
    project.suggestions.refuse(number)
    assert add(1, 4, "12 · 503", source="x") is None
    assert project.annotations(1).pins == ()


def test_nodes_leave_the_circuit_in_one_step(project: Project) -> None:
    project.pin(1, [3, 4])
    outer = project.add_group(1, "outer", [3, 5])
    project.add_group(1, "inner", [6], parent=outer)
    before = everything(project)
    project.leave_circuit(1, [3, 6])
    found = project.annotations(1)
    assert found.pins == (4,)
    assert [(group.name, group.nodes) for group in found.groups] == [("outer", (5,))], "what is left empty goes"
    project.undo()
    assert everything(project) == before


@pytest.mark.parametrize("change", ["content = '[]'", "content = '{}'", "state = 'x'", "kind = 'x'"])
def test_suggestions_that_cannot_be_right(project: Project, change: str) -> None:
    project.suggestions.add_group(1, "states", [3, 5], source="x")
    project.close()
    change_file(project.path, f"UPDATE suggestion SET {change}")
    with Project.open(project.path) as again, pytest.raises(RequestError, match="is damaged"):
        again.suggestions.of_trace(1)


def test_a_trace_shows_its_own_labels_before_those_that_hold_everywhere(project: Project) -> None:
    first = project.add_trace(NEURONS, GRAPH, title="first")
    second = project.add_trace(NEURONS, GRAPH, title="second")
    other = int(GRAPH.of_kind(NodeKind.FEATURE)[3])
    project.set_label(first, FEATURE, "here")
    project.set_label(first, other, "only here")
    project.feature_labels.set(IDENTITY, LAYER, NUMBER, "Texas", source="automatic")
    here, there = project.annotations(first), project.annotations(second)
    assert here.labels == {FEATURE: "here", other: "only here"}
    assert (here.everywhere, here.hidden) == (frozenset(), {FEATURE: "Texas"})
    assert there.labels == {FEATURE: "Texas"}
    assert (there.everywhere, there.hidden, there.sources) == ({FEATURE}, {}, {FEATURE: "automatic"})
    project.set_label(first, FEATURE, "")
    assert project.annotations(first).labels == {FEATURE: "Texas", other: "only here"}


def test_a_name_everywhere_that_is_typed_is_one_step_and_one_version(project: Project) -> None:
    report = {"features": {"kind": "transcoders", "fingerprint": "d"}}
    trace = project.add_trace(report, small_graph(3), title="of a dictionary")
    node = int(project.load_graph(trace).of_kind(NodeKind.FEATURE)[0])
    project.set_label(trace, node, "its own")
    for text in ("T", "Te", "Texas"):
        project.label_everywhere(trace, node, text, merge="typing")
    assert [one.text for one in project.label_versions(trace, node)] == ["its own", "", "Texas"]
    project.undo()
    assert project.annotations(trace).labels == {node: "its own"}
    project.redo()
    assert project.annotations(trace).labels == {node: "Texas"}


def test_a_node_names_its_feature_everywhere_in_one_step(project: Project) -> None:
    first = project.add_trace(NEURONS, GRAPH, title="first")
    second = project.add_trace(NEURONS, GRAPH, title="second")
    project.set_label(first, FEATURE, "here")
    before = everything(project)
    assert project.label_everywhere(first, FEATURE, "Texas") is not None
    for trace in (first, second):
        assert project.annotations(trace).labels == {FEATURE: "Texas"}
        assert project.annotations(trace).everywhere == {FEATURE}
    said = [(v.text, v.everywhere) for v in project.label_versions(first, FEATURE)]
    assert said == [("here", False), ("", False), ("Texas", True)]
    assert [v.text for v in project.label_versions(second, FEATURE)] == ["Texas"]
    assert project.undo_title == f"Label layer {LAYER} · {NUMBER} everywhere"
    project.undo()
    assert everything(project) == before
    embedding = int(GRAPH.of_kind(NodeKind.EMBEDDING)[0])
    for trace, node in ((first, embedding), (1, FEATURE), (first, 10**6)):
        with pytest.raises(RequestError, match="name it in this trace"):
            project.label_everywhere(trace, node, "no")
