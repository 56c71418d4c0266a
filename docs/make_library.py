"""Writes docs/library.md, the public API of `engine`, from the program itself: `make commands`.

Public is what a room's `__all__` names. Signatures, fields and docstrings are those of the source.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

ROOMS = (
    "engine",
    "engine.models",
    "engine.dictionaries",
    "engine.tracing",
    "engine.graphs",
    "engine.graphs.formats",
    "engine.interventions",
    "engine.evidence",
    "engine.training",
    "engine.projects",
    "engine.errors",
    "engine.progress",
)
WIDTH = 110
INTRODUCTION = """# The engine as a library

`engine` does everything that the window does, without a window and without Qt. Importing it is quick: torch is loaded
when the first thing that needs it is asked for. This page is made from the source (`make commands`), and a test keeps
it true. Two notebooks show it at work: [trace and test a circuit](notebooks/trace-and-test-a-circuit.ipynb) and
[train and read a dictionary](notebooks/train-and-read-a-dictionary.ipynb).

    from engine import Prompt, TraceSpec, load_features, load_model, trace

    model = load_model()
    features = load_features("neurons", model)
    result = trace(model, features, TraceSpec(Prompt("The capital of Texas is")))

**Shapes** stand before what they belong to: (S, d). d is the width of the residual stream, V the vocabulary, T the
positions of a prompt, N the nodes and E the edges of a graph. **Positions** count the BOS token as 0. **Layers**
count from 0; an embedding is at -1, a logit at the number of layers. **Errors**: `RequestError` where what was asked
for cannot be done, `MachineError` where the machine cannot, each with one sentence for a person; `Cancelled` where
`cancel` was set. **Long work** takes `progress(stage, share)`, share in [0, 1], and `cancel`, a `threading.Event`.
**Sources**: what a number means, with its paper, is in [method-notes.md](method-notes.md); changed runs in
[interventions.md](interventions.md).
"""


def public(room: str) -> list[tuple[str, object]]:
    """The names that a room gives, with what they are; those of the package itself are shown in their rooms."""
    module = importlib.import_module(room)
    return [(name, getattr(module, name)) for name in sorted(exported(module), key=str.lower)]


def exported(module: ModuleType) -> list[str]:
    """`__all__`, or in a module without one what it defines itself and does not begin with an underscore."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    defined = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return [name for name in defined if not name.startswith("_")]


def methods(cls: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that a class defines itself, or takes from a class of this program."""
    seen = set()
    for base in cls.__mro__:
        if not base.__module__.startswith("engine"):
            continue
        for name, value in vars(base).items():
            is_method = isinstance(value, FunctionType | classmethod | staticmethod | property)
            is_method = is_method or type(value).__name__ == "cached_property"
            if is_method and not name.startswith("_") and name not in seen:
                seen.add(name)
                yield name, value


def plain_function(value: Any) -> Any:
    """The function inside a method, property or class method."""
    for inside in ("__func__", "fget", "func"):
        value = getattr(value, inside, None) or value
    return value


def as_markdown() -> str:
    """The whole page."""
    parts = [INTRODUCTION, "| room | names |", "|---|---|"]
    parts += [f"| {_link(room)} | {' '.join(_link(name) for name, _ in public(room))} |" for room in ROOMS]
    parts += ["", "## engine", "What most programs need; each is described in its room below.", ""]
    for room in ROOMS[1:]:
        parts += [f"## {room}", _prose(importlib.import_module(room).__doc__ or ""), ""]
        parts += [_entry(room, name, value) for name, value in public(room)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def _link(name: str) -> str:
    """A link to a heading of the page, as GitHub names headings."""
    return f"[{name}](#{name.replace('.', '').lower()})"


def _entry(room: str, name: str, value: object) -> str:
    title = f"### {name}\n"
    if inspect.isclass(value):
        body = [_code(_class_head(name, value)), _prose(inspect.getdoc(value) or "")]
        listed = [f"- {_method(one, found)}" for one, found in methods(value)]
        return "\n".join([title, *body, "", *listed, ""])
    if isinstance(value, FunctionType):
        return "\n".join([title, _code(_signature("def " + name, value)), _prose(inspect.getdoc(value) or ""), ""])
    return "\n".join(
        [title, _code(f"{name} = {_literal(value)}" if _is_plain(value) else name), _said_above(room, name), ""]
    )


def _literal(value: object) -> str:
    return repr(value).replace("'", '"')  # as the formatter writes it, which reads the page too


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | tuple)


def _said_above(room: str, name: str) -> str:
    """The comment above or behind a constant where it is defined."""
    home = Path(importlib.import_module(room).__file__ or "")
    for path in [home, *sorted(home.parent.glob("*.py"))]:
        source = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(source):
            if re.match(rf"{name}(: [^=]+)? = ", line):
                above, at = [], number - 1
                while at >= 0 and source[at].startswith("# "):
                    above.insert(0, source[at][2:])
                    at -= 1
                behind = line.partition("  # ")[2]
                if above or behind:
                    return _prose(" ".join([*above, behind]).strip())
    return ""


def _class_head(name: str, cls: type) -> str:
    fields = _fields(cls)
    if fields and (is_dataclass(cls) or cls.__init__ is object.__init__):
        return "\n".join([f"class {name}:", *fields])
    if issubclass(cls, Exception) or "_is_protocol" in vars(cls):
        return f"class {name}({cls.__mro__[1].__name__})" if issubclass(cls, Exception) else f"class {name}(Protocol)"
    return _signature(f"class {name}", cls)


def _fields(cls: type) -> list[str]:
    """The lines of a class that declare its fields, with their comments."""
    lines = textwrap.dedent(inspect.getsource(cls)).splitlines()
    body = ast.parse("\n".join(lines)).body[0]
    assert isinstance(body, ast.ClassDef)
    found: list[str] = []
    for node in body.body:
        if isinstance(node, ast.AnnAssign) or (isinstance(node, ast.Assign) and not _is_private(node)):
            first = node.lineno - 1
            while lines[first - 1].strip().startswith("# "):
                first -= 1
            found += lines[first : node.end_lineno]
    return found


def _is_private(node: ast.Assign) -> bool:
    """Whether an assignment is of a name that begins with an underscore."""
    return any(isinstance(target, ast.Name) and target.id.startswith("_") for target in node.targets)


def _signature(start: str, value: Any) -> str:
    """The signature as it stands in the source: one line, or one parameter a line."""
    found = inspect.signature(value)
    texts = _parameters(found)
    gives = "" if inspect.isclass(value) else f" -> {_type(found.return_annotation)}"
    line = f"{start}({', '.join(texts)}){gives}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{start}(", *(f"    {text}," for text in texts), f"){gives}"])


def _parameters(found: inspect.Signature) -> list[str]:
    """The text of each parameter, with the star before those that must be named."""
    texts, star = [], False
    for one in found.parameters.values():
        if one.kind is inspect.Parameter.KEYWORD_ONLY and not star:
            texts.append("*")
        star = star or one.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_POSITIONAL)
        if one.name not in ("self", "cls"):
            texts.append(_parameter(one))
    return texts


def _parameter(one: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(one.kind, "")
    text = f"{stars}{one.name}" + ("" if one.annotation is one.empty else f": {_type(one.annotation)}")
    if one.default is one.empty:
        return text
    return f"{text} = {getattr(one.default, '__name__', None) or _short(one.default)}"


def _short(default: object) -> str:
    return f"{type(default).__name__}()" if is_dataclass(default) else _literal(default)


def _type(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _method(name: str, value: Any) -> str:
    said = inspect.getdoc(plain_function(value)) or ""
    summary = " ".join(said.split("\n\n")[0].split())
    more = " ".join(" ".join(part.split()) for part in said.split("\n\n")[1:] if "Raises" in part)
    more = re.sub(r"Raises -+ ", "Raises ", more)
    function = plain_function(value)
    if function is value or isinstance(value, classmethod | staticmethod):
        found = inspect.signature(function)
        head = f"{name}({', '.join(_parameters(found))}) -> {_type(found.return_annotation)}"
    else:
        head = f"{name}: {_type(inspect.signature(function).return_annotation)}"
    return f"`{head}`  \n  {summary} {more}".rstrip()


def _code(text: str) -> str:
    return f"```python\n{text}\n```\n"


def _prose(text: str) -> str:
    """A docstring as Markdown: sections become bold words, their entries a list."""
    lines, out, inside = inspect.cleandoc(text).splitlines(), [], False
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if re.fullmatch(r"-{3,}", line):
            continue
        if re.fullmatch(r"-{3,}", following):
            out += ["", f"**{line}**", ""]
            inside = True
        elif inside and line and following.startswith(" ") and not line.startswith(" "):
            out.append(f"- `{line.rstrip(':')}`")
        elif inside and line and not line.startswith(" "):
            inside = False
            out.append(line)
        else:
            out.append(line)
    return "\n".join(out).strip() + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(as_markdown(), encoding="utf-8")
