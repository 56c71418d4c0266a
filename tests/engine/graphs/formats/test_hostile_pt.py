"""Files that try to run code, to fill memory or to write elsewhere are refused in a sentence, and nothing happens."""

from __future__ import annotations

import collections
import os
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import RequestError
from engine.graphs.formats import inert_pickle, read_graph_file
from engine.graphs.formats.inert_pickle import Built, Named, Stored, read_pickle
from engine.graphs.formats.torch_archive import TorchArchive, allowed
from tests.engine.graphs.formats.torch_files import graph_values, repacked, save, zip_of

MARKER = "CIRCUIT_LOUPE_HOSTILE_FILE_RAN"


class _Call:
    """Pickled, it asks to be made by calling anything."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.made_by = (function, arguments)

    def __reduce__(self) -> Any:
        return self.made_by


class _Attribute:
    """Pickled, it asks for a state that replaces methods."""

    def __reduce__(self) -> Any:
        return collections.OrderedDict, (), {"__class__": _Call(os.system, "true")}


HOSTILE: list[Any] = [
    _Call(os.system, f"touch {MARKER}"),
    _Call(eval, f"open({MARKER!r}, 'w')"),
    _Call(exec, f"open({MARKER!r}, 'w')"),
    _Call(__import__, "os"),
    _Call(getattr, {}, "clear"),
    _Call(open, MARKER, "w"),
    _Call(torch.load, MARKER),
    _Call(torch.hub.load, "a/b", "c"),
    _Call(pickle.loads, b"N."),
    _Attribute(),
    {"a": [{"b": (_Call(os.system, f"touch {MARKER}"),)}]},
    [_Call(_Call, os.system, "true")],
    torch.nn.Linear(2, 2),
]


@pytest.fixture(autouse=True)
def nothing_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The files name a marker; nobody may have made it."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.rglob(MARKER))


def refused(path: Path) -> str:
    """The sentence of the refusal."""
    with pytest.raises(RequestError) as caught:
        read_graph_file(path)
    assert path.name in caught.value.sentence
    return caught.value.sentence


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_code_is_refused(tmp_path: Path, value: Any, protocol: int) -> None:
    values = {**graph_values(), "scan": value, "cfg": {"n_layers": 3}, "logit_targets": [(" x", 5), ("y", 6)]}
    tensors = {name: one for name, one in values.items() if isinstance(one, torch.Tensor)}
    plain = {name: one.tolist() if name in tensors else one for name, one in values.items()}
    refused(zip_of(tmp_path / "g.pt", pickle.dumps(plain, protocol=protocol)))


@pytest.mark.parametrize("value", HOSTILE)
def test_code_beside_real_tensors_is_refused_by_name(tmp_path: Path, value: Any) -> None:
    sentence = refused(save(tmp_path / "g.pt", {**graph_values(), "scan": value}))
    assert "nothing in it was run" in sentence


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "posix.system",
        "builtins.eval",
        "builtins.getattr",
        "torch.load",
        "torch._utils._rebuild",
        "numpy.load",
        "circuit_tracer_evil.UnifiedConfig",
        "evil.LogitTarget",
        "collections.UserDict",
        "functools.partial",
    ],
)
def test_names_outside_the_list(name: str) -> None:
    module, _, last = name.rpartition(".")
    assert not allowed(Named(module, last))
    with pytest.raises(ValueError, match=name):
        read_pickle(f"c{module}\n{last}\n.".encode(), allowed)


def test_what_is_allowed_stays_inert() -> None:
    """Calls become records; state is kept beside them and set on nothing."""
    data = pickle.dumps(_Call(collections.OrderedDict, [("a", 1)]), protocol=2)
    value = read_pickle(data, allowed)
    assert value == Built(Named("collections", "OrderedDict"), ([("a", 1)],))
    assert read_pickle(b"\x80\x02ctorch\nfloat32\n.", allowed) == Named("torch", "float32")
    built = read_pickle(b"\x80\x02ccollections\nOrderedDict\n)R}X\x01\x00\x00\x00aK\x01sb.", allowed)
    assert built.state == {"a": 1}
    assert read_pickle(b"\x80\x02(X\x01\x00\x00\x00at\x51.", allowed) == Stored(("a",))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"0.",
        b"\x80\x02",
        b"\x80\x02R.",
        b"\x80\x02NNR.",
        b"\x80\x02}NNs.",
        b"\x80\x02]]s.",
        b"\x80\x02(.",
        b"\x80\x02t.",
        b"\x80\x02Nb.",
        b"\x80\x02h\x05.",
        b"\x80\x02NQ.",
        b"\x80\x02(NNu.",
        b"\x80\x02}(Nu.",
        b"\x80\x04NN\x93.",
        b"\x80\x02\x85.",
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x02B\xff\xff\xff\xff.",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",
        b"\x80\x02i" + b"os\nsystem\n.",
        b"(S'true'\nios\nsystem\n.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02S'\\s'\n.",
        b"\x80\x02I" + b"9" * 5000 + b"\n.",
    ],
)
def test_broken_pickles(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ValueError):
        read_pickle(data, allowed)
    refused(zip_of(tmp_path / "g.pt", data))


def test_a_huge_memo_number_takes_no_memory() -> None:
    """Python's own unpickler takes 32 GB for this."""
    tracemalloc.start()
    assert read_pickle(b"\x80\x02Nr\xff\xff\xff\x7fj\xff\xff\xff\x7f.", allowed) is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_values_that_hold_themselves(tmp_path: Path) -> None:
    loop: list[Any] = []
    loop.append(loop)
    values = {**graph_values(), "scan": loop}
    assert read_graph_file(save(tmp_path / "g.pt", values)).graph.meta["features"]["name"] == "unknown"
    values["cfg"] = loop
    refused(save(tmp_path / "h.pt", values))


def test_too_many_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inert_pickle, "MOST_OPERATIONS", 100)
    with pytest.raises(ValueError, match="too many"):
        read_pickle(b"\x80\x02" + b"]" * 200 + b".", allowed)


def test_a_tensor_can_be_no_larger_than_its_bytes(tmp_path: Path) -> None:
    """Sizes, strides and offsets that reach beyond the storage, and one number shown a trillion times."""
    path = save(tmp_path / "g.pt", {"t": torch.arange(4.0)})
    archive = TorchArchive(path)
    tensor = archive.value["t"]
    stored, *_ = tensor.arguments
    assert archive.tensor(tensor, 1).tolist() == [0, 1, 2, 3]
    for offset, shape, stride in [
        (0, (5,), (1,)),
        (1, (4,), (1,)),
        (4, (1,), (1,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (-2,), (1,)),
        (0, (10**12,), (0,)),
        (0, (10**6, 10**6), (0, 0)),
        (0, (2, 2), (1,)),
        (0, (2,), (2**62,)),
        (0, (2.0,), (1,)),
        (0, (True,), (1,)),
        (0, [2], [1]),
    ]:
        wrong = Built(tensor.of, (stored, offset, shape, stride))
        with pytest.raises(ValueError):
            archive.tensor(wrong, len(shape))
    key = stored.key
    for other in [
        (*key[:4], 5),
        (*key[:4], 10**15),
        (*key[:4], -1),
        (*key[:4], True),
        (key[0], key[1], "99", *key[3:]),
        (key[0], key[1], "../../data.pkl", *key[3:]),
        (key[0], Named("torch", "float32"), *key[2:]),
        ("module", *key[1:]),
        key[:3],
    ]:
        with pytest.raises((ValueError, KeyError)):
            archive.tensor(Built(tensor.of, (Stored(other), 0, (1,), (1,))), 1)


def test_compressed_storages_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "g.pt", graph_values())
    repacked(path, lambda entries: None, zipfile.ZIP_DEFLATED)
    assert "compressed" in refused(path)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "g.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(200 * 2**20))
    tracemalloc.start()
    refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_two_entries_of_one_name(tmp_path: Path) -> None:
    path = save(tmp_path / "g.pt", graph_values())
    with zipfile.ZipFile(path, "a") as archive:
        name = archive.namelist()[0]
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(name, b"N.")
    refused(path)


@pytest.mark.parametrize(
    "name", ["../../../evil", "/etc/evil", "archive/../../evil", "C:\\evil", "archive/data/\\..\\x"]
)
def test_names_of_entries_are_never_paths(tmp_path: Path, name: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    path = save(tmp_path / "g.pt", graph_values())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"evil")
    assert read_graph_file(path).graph.n_nodes == 14
    assert sorted(tmp_path.rglob("*")) == [*before, path]


def test_no_module_of_the_readers_imports_a_pickle_machine() -> None:
    """Guards the rule rather than one file: neither pickle nor torch is imported anywhere in the formats."""
    import ast

    import engine.graphs.formats as formats

    for path in Path(str(formats.__file__)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"pickle", "torch", "dill", "joblib", "shelve"}, path
