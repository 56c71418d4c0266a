"""docs/library.md holds every public name of the engine, and each says what it is, in words and in types."""

from __future__ import annotations

import importlib.util
import inspect
import re
from types import FunctionType, ModuleType

import pytest

from tests.conftest import REPOSITORY

SHAPE = re.compile(r"\([A-Za-z0-9' +]+(,|\))")
PAGE = REPOSITORY / "docs" / "library.md"


def maker() -> ModuleType:
    """docs/make_library.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("make_library", REPOSITORY / "docs" / "make_library.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKER = maker()
NAMES = [(room, name) for room in MAKER.ROOMS for name in MAKER.exported(importlib.import_module(room))]


def functions_of(value: object) -> list[tuple[str, FunctionType]]:
    """A function, or those of a class that a caller uses."""
    if isinstance(value, FunctionType):
        return [("", value)]
    if not inspect.isclass(value):
        return []
    return [(name, MAKER.plain_function(found)) for name, found in MAKER.methods(value)]


def test_every_room_is_in_the_page() -> None:
    folders = {f"engine.{path.parent.name}" for path in (REPOSITORY / "engine").glob("*/__init__.py")}
    assert folders - {"engine.cli"} <= set(MAKER.ROOMS)


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == MAKER.as_markdown(), "run `make commands`"


@pytest.mark.parametrize(("room", "name"), NAMES, ids=[f"{room}.{name}" for room, name in NAMES])
def test_a_public_name_says_what_it_is(room: str, name: str) -> None:
    value = getattr(importlib.import_module(room), name)
    page = PAGE.read_text(encoding="utf-8")
    assert f"\n### {name}\n" in page
    if not inspect.isclass(value) and not isinstance(value, FunctionType):
        said = page.split(f"\n### {name}\n", 1)[1].split("\n### ", 1)[0].split("```\n")[-1]
        assert said.strip(), f"{room}.{name} has no comment where it is defined"
        return
    said = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    assert said and not said.startswith(f"{name}("), f"{room}.{name} has no docstring"
    for method, function in functions_of(value):
        where = f"{room}.{name}{'.' if method else ''}{method}"
        assert inspect.getdoc(function), f"{where} has no docstring"
        parameters = [one for one in inspect.signature(function).parameters.values() if one.name not in ("self", "cls")]
        untyped = [one.name for one in parameters if one.annotation is one.empty]
        assert not untyped, f"{where}: {untyped} have no type"
        assert inspect.signature(function).return_annotation is not inspect.Signature.empty, where


@pytest.mark.parametrize(("room", "name"), NAMES, ids=[f"{room}.{name}" for room, name in NAMES])
def test_arrays_have_a_shape(room: str, name: str) -> None:
    """What takes or gives arrays says how they are laid out, as (N,) or (n, d), or names who says so."""
    value = getattr(importlib.import_module(room), name)
    for method, function in functions_of(value):
        annotation = str(inspect.signature(function).return_annotation)
        if re.search(r"NDArray|Tensor\b|FloatArray|IntArray", annotation):
            said = inspect.getdoc(function) or ""
            assert SHAPE.search(said) or "edge numbers" in said.lower(), f"{room}.{name}.{method}"
