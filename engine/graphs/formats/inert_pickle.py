"""Reading the plain data in a pickle without a pickle machine: nothing in the file can be looked up, called or run.

`pickletools` says how its text splits into operations; the few that data need are carried out here on plain values. A
name such as "os.system" becomes an inert `Named`, "calling" it an inert `Built`; names outside the caller's list are
refused.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

LARGEST = 64 * 2**20
MOST_OPERATIONS = 4_000_000
_CODES = {operation.code: operation for operation in pickletools.opcodes}


@dataclass(frozen=True)
class Named:
    """A name of a class or function. Only a name: it is never imported."""

    module: str
    name: str


@dataclass(frozen=True)
class Stored:
    """A reference to data outside the pickle (torch: a storage)."""

    key: tuple[Any, ...]


@dataclass
class Built:
    """What a pickle would build by calling `of` with `arguments`, and the state it would set."""

    of: Named
    arguments: tuple[Any, ...]
    state: Any = None
    items: list[Any] = field(default_factory=list)


class Forbidden(ValueError):  # noqa: N818 - says what the file does
    """The pickle names something that no graph needs."""


def read_pickle(data: bytes, allowed: Callable[[Named], bool]) -> Any:
    """The value, with `Built` and `Named` where objects would be.

    Raises `Forbidden` for a name that `allowed` refuses, `ValueError` for everything else that is not plain data.
    """
    if len(data) > LARGEST:
        raise ValueError("a pickle that is too large")
    machine = _Machine(allowed)
    text = io.BytesIO(data)
    for _ in range(MOST_OPERATIONS):
        operation = _CODES.get(text.read(1).decode("latin-1"))
        if operation is None:
            raise ValueError("no end")
        if operation.name == "STOP":
            return machine.pop()
        carry_out = _OPERATIONS.get(operation.name)
        if carry_out is None:
            raise ValueError(f"the operation {operation.name}")
        carry_out(machine, None if operation.arg is None else operation.arg.reader(text))
    raise ValueError("too many operations")


class _Mark:
    """Where a list of operands begins."""


class _Machine:
    def __init__(self, allowed: Callable[[Named], bool]) -> None:
        self.allowed = allowed
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.top()
        del self.stack[-1]
        return value

    def top(self) -> Any:
        if not self.stack or isinstance(self.stack[-1], _Mark):
            raise ValueError("nothing there")
        return self.stack[-1]

    def pop_to_mark(self) -> list[Any]:
        for i in range(len(self.stack) - 1, -1, -1):
            if isinstance(self.stack[i], _Mark):
                found = self.stack[i + 1 :]
                del self.stack[i:]
                return found
        raise ValueError("no mark")

    def name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is no text")
        found = Named(module, name)
        if not self.allowed(found):
            raise Forbidden(f"{module}.{name}")
        self.push(found)

    def build(self, arguments: Any, of: Any) -> None:
        if not isinstance(of, Named) or not isinstance(arguments, tuple):
            raise ValueError("a call of something that is no name")
        self.push(Built(of, arguments))

    def set_state(self, state: Any) -> None:
        built = self.top()
        if not isinstance(built, Built):
            raise ValueError("a state of a plain value")
        built.state = state

    def append(self, values: list[Any]) -> None:
        top = self.top()
        if not isinstance(top, list):
            raise ValueError("an entry of no list")
        top.extend(values)

    def set_items(self, values: list[Any]) -> None:
        top = self.top()
        if len(values) % 2:
            raise ValueError("a key without a value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, str | int):
                raise ValueError("a key that is neither text nor number")
            if isinstance(top, dict):
                top[key] = value
            elif isinstance(top, Built):
                top.items.append((key, value))
            else:
                raise ValueError("an entry of no table")

    def remember(self, key: int) -> None:
        self.memo[key] = self.top()

    def recall(self, key: int) -> None:
        if key not in self.memo:
            raise ValueError("something never remembered")
        self.push(self.memo[key])

    def tuple_of(self, count: int) -> None:
        self.push(tuple(reversed([self.pop() for _ in range(count)])))

    def reduce(self) -> None:
        arguments = self.pop()
        self.build(arguments, self.pop())

    def two_names(self) -> None:
        name = self.pop()
        self.name(self.pop(), name)

    def pair(self) -> None:
        value = self.pop()
        self.set_items([self.pop(), value])

    def entry(self) -> None:
        value = self.pop()
        self.append([value])

    def stored(self) -> None:
        key = self.pop()
        if not isinstance(key, tuple):
            raise ValueError("data under another kind of key")
        self.push(Stored(key))


_Operation = Callable[[_Machine, Any], None]


def _push_argument(machine: _Machine, argument: Any) -> None:
    machine.push(argument)


_OPERATIONS: dict[str, _Operation] = {
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE"), _push_argument),
    **dict.fromkeys(("SHORT_BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES"), _push_argument),
    **dict.fromkeys(("PROTO", "FRAME"), lambda machine, argument: None),
    "MARK": lambda machine, argument: machine.push(_Mark()),
    "NONE": lambda machine, argument: machine.push(None),
    "NEWTRUE": lambda machine, argument: machine.push(True),
    "NEWFALSE": lambda machine, argument: machine.push(False),
    "EMPTY_DICT": lambda machine, argument: machine.push({}),
    "EMPTY_LIST": lambda machine, argument: machine.push([]),
    "EMPTY_TUPLE": lambda machine, argument: machine.push(()),
    "TUPLE": lambda machine, argument: machine.push(tuple(machine.pop_to_mark())),
    "TUPLE1": lambda machine, argument: machine.tuple_of(1),
    "TUPLE2": lambda machine, argument: machine.tuple_of(2),
    "TUPLE3": lambda machine, argument: machine.tuple_of(3),
    "APPEND": lambda machine, argument: machine.entry(),
    "APPENDS": lambda machine, argument: machine.append(machine.pop_to_mark()),
    "SETITEM": lambda machine, argument: machine.pair(),
    "SETITEMS": lambda machine, argument: machine.set_items(machine.pop_to_mark()),
    "GLOBAL": lambda machine, argument: machine.name(*argument.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, argument: machine.two_names(),
    "REDUCE": lambda machine, argument: machine.reduce(),
    "NEWOBJ": lambda machine, argument: machine.reduce(),
    "BUILD": lambda machine, argument: machine.set_state(machine.pop()),
    "BINPERSID": lambda machine, argument: machine.stored(),
    "BINPUT": lambda machine, argument: machine.remember(argument),
    "LONG_BINPUT": lambda machine, argument: machine.remember(argument),
    "MEMOIZE": lambda machine, argument: machine.remember(len(machine.memo)),
    "BINGET": lambda machine, argument: machine.recall(argument),
    "LONG_BINGET": lambda machine, argument: machine.recall(argument),
}
