"""Reads pickle opcodes without executing them: what would be called, and whether it is only plain tensors.

A small machine follows the stack with stand-ins for the objects: containers, constants, and the few calls of
`tensor_calls`. Everything else is refused by name. The operations: CPython's ``Lib/pickletools.py``.
"""

# The machine's methods are pickle's own operations:
# ruff: noqa: D102

from __future__ import annotations

import pickletools  # nosec B403 # its table of operations; nothing is unpickled
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, NoReturn

from modelscope_ext.safety.tensor_calls import (
    ALLOWED,
    CALLS,
    CONSTANT,
    ITEM_BYTES,
    Global,
    Map,
    Refusal,
    Storage,
    kind_of,
)

__all__ = ["Machine", "globals_of"]

_MARK = object()
_MOST_MEMO = 2**24
#: Values that are begun and not yet put into another one; a pickle of tensors has some thousands.
_MOST_OPEN = 100_000


_BY_CODE: Mapping[str, Any] = {operation.code: operation for operation in pickletools.opcodes}
_LINES: Mapping[str, int] = {"GLOBAL": 2, "INST": 2, "STRING": 1, "PERSID": 1}  # operations followed by lines of text


def _operations(stream: BinaryIO) -> Iterator[tuple[str, Any]]:
    """Yield name and argument of each operation of one pickle.

    Lines of text are taken as the unpickler takes them: `pickletools.genops` would decode escapes in them, and so see
    other names than those that would be imported.
    """
    while True:
        code = stream.read(1).decode("latin-1")
        operation: Any = _BY_CODE.get(code)
        if operation is None:
            raise ValueError("not an operation")
        lines = _LINES.get(operation.name)
        if lines is not None:
            yield operation.name, " ".join(_line(stream) for _ in range(lines))
        else:
            yield operation.name, operation.arg.reader(stream) if operation.arg is not None else None
        if code == ".":
            return


def _line(stream: BinaryIO) -> str:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise ValueError("cut off")
    return line[:-1].decode("utf-8")


class Machine:
    """Follows one pickle.

    Args:
        stream: Positioned at the pickle's first byte; afterwards behind its last.
        storage: Called with each storage a tensor refers to; raises Refusal if its bytes are not there.
    """

    def __init__(self, stream: BinaryIO, storage: Callable[[Storage], None] | None = None) -> None:
        self.stream = stream
        self.on_storage = storage
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Return the stand-in of what the pickle would make.

        Raises:
            Refusal: It is more than plain tensors, or no pickle.
        """
        try:
            for name, argument in _operations(self.stream):
                step = _STEPS.get(name)
                if step is None:
                    self.refuse(f"it uses the pickle operation {name}, which plain tensors do not need")
                step(self, argument)
                if len(self.stack) > _MOST_OPEN:
                    self.refuse(f"it nests or holds more than {_MOST_OPEN} values at once")
        except (ValueError, IndexError, KeyError, UnicodeDecodeError, OverflowError) as error:
            raise Refusal("MF", f"not a complete pickle ({type(error).__name__})") from error
        if len(self.stack) != 1:
            raise Refusal("MF", "not a complete pickle (objects are left over)")
        return self.stack[0]

    def refuse(self, text: str, name: str | None = None) -> NoReturn:
        raise Refusal("PK", text, name)

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise IndexError("empty stack")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise IndexError("empty stack")
        return self.stack[-1]

    def popped(self, count: int) -> tuple[Any, ...]:
        return tuple(reversed([self.pop() for _ in range(count)]))

    def to_mark(self) -> list[Any]:
        """Remove and return what lies above the last mark, and the mark."""
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is _MARK:
                items = self.stack[at + 1 :]
                del self.stack[at:]
                return items
        raise IndexError("no mark")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def remember(self, index: int) -> None:
        if index > _MOST_MEMO:
            raise ValueError("memo")
        self.memo[index] = self.top()

    def global_(self, name: str) -> None:
        if name not in ALLOWED:
            self.refuse(f"it names {name}", name)
        self.push(Global(name))

    def stack_global(self) -> None:
        module, name = self.popped(2)
        if not isinstance(module, str) or not isinstance(name, str):
            self.refuse("it names a class that is only known when it runs")
        self.global_(f"{module}.{name}")

    def set_items(self, target: Any, items: list[Any]) -> None:
        if type(target) is not Map:
            self.refuse(f"it sets items of a {kind_of(target)}")
        if len(items) % 2:
            raise IndexError("a key without a value")
        for key in items[::2]:
            if type(key) not in CONSTANT:
                self.refuse(f"it uses a {kind_of(key)} as a key")
            target.keys.add(key)

    def append(self, target: Any, items: list[Any]) -> None:
        if type(target) is not list:
            self.refuse(f"it appends to a {kind_of(target)}")
        target.extend(items)

    def build(self) -> None:
        """Only what `Module.state_dict()` does: attach ``_metadata`` to its OrderedDict."""
        state = self.pop()
        target = self.top()
        if type(target) is not Map or not target.ordered or type(state) is not Map or state.keys - {"_metadata"}:
            self.refuse(f"it sets attributes of a {kind_of(target)}")

    def persistent(self, identity: Any) -> None:
        """A reference to a storage, as PyTorch writes it."""
        if type(identity) is not tuple or len(identity) not in (5, 6) or identity[0] != "storage":
            self.refuse("it refers to something that is no tensor storage")
        _, kind, key, place, elements = identity[:5]
        if type(kind) is not Global or kind.name not in ITEM_BYTES or identity[5:] not in ((), (None,)):
            self.refuse("it refers to a storage of an unknown kind", kind.name if type(kind) is Global else None)
        if type(key) is not str or type(place) is not str or type(elements) is not int or elements < 0:
            raise ValueError("storage")
        typed = not kind.name.endswith("UntypedStorage")
        storage = Storage(key, elements, ITEM_BYTES[kind.name], typed)
        if self.on_storage is not None:
            self.on_storage(storage)
        self.push(storage)

    def reduce(self) -> None:
        function, arguments = self.popped(2)
        call = CALLS.get(function.name) if type(function) is Global else None
        if call is None or type(arguments) is not tuple:
            name = function.name if type(function) is Global else kind_of(function)
            self.refuse(f"it calls {name}", name)
        self.push(call(arguments))


def _marked(make: Callable[[Machine, list[Any]], None]) -> Callable[[Machine, Any], None]:
    return lambda machine, _: make(machine, machine.to_mark())


def _set_item(machine: Machine, _: Any) -> None:
    items = list(machine.popped(2))
    machine.set_items(machine.top(), items)


def _append_one(machine: Machine, _: Any) -> None:
    item = machine.pop()
    machine.append(machine.top(), [item])


def _marked_dict(machine: Machine, items: list[Any]) -> None:
    made = Map(ordered=False)
    machine.set_items(made, items)
    machine.push(made)


def _protocol(machine: Machine, number: Any) -> None:
    if number > 5:
        raise ValueError("protocol")


def _pop(machine: Machine, _: Any) -> None:
    if machine.stack and machine.stack[-1] is _MARK:
        machine.stack.pop()
    else:
        machine.pop()


_VALUES = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "BINSTRING",
           "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES",
           "SHORT_BINBYTES", "BINBYTES8")  # fmt: skip

# Operation -> what it does to the machine. What is not here is refused.
_STEPS: Mapping[str, Callable[[Machine, Any], None]] = {
    **dict.fromkeys(_VALUES, Machine.push),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "PROTO": _protocol,
    "FRAME": lambda m, _: None,
    "STOP": lambda m, _: None,
    "MARK": lambda m, _: m.push(_MARK),
    "POP": _pop,
    "POP_MARK": _marked(lambda m, items: None),
    "DUP": lambda m, _: m.push(m.top()),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_DICT": lambda m, _: m.push(Map(ordered=False)),
    "TUPLE": _marked(lambda m, items: m.push(tuple(items))),
    "TUPLE1": lambda m, _: m.push(m.popped(1)),
    "TUPLE2": lambda m, _: m.push(m.popped(2)),
    "TUPLE3": lambda m, _: m.push(m.popped(3)),
    "LIST": _marked(lambda m, items: m.push(items)),
    "DICT": _marked(_marked_dict),
    "APPEND": _append_one,
    "APPENDS": _marked(lambda m, items: m.append(m.top(), items)),
    "SETITEM": _set_item,
    "SETITEMS": _marked(lambda m, items: m.set_items(m.top(), items)),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), Machine.remember),
    "MEMOIZE": lambda m, _: m.remember(len(m.memo)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, index: m.push(m.memo[index])),
    "GLOBAL": lambda m, name: m.global_(".".join(name.split(" ", 1))),
    "STACK_GLOBAL": lambda m, _: m.stack_global(),
    "BINPERSID": lambda m, _: m.persistent(m.pop()),
    "REDUCE": lambda m, _: m.reduce(),
    "BUILD": lambda m, _: m.build(),
}


def globals_of(stream: BinaryIO) -> Iterator[str]:
    """Yield every global a pickle names, in order, with repetitions; it need not be one of tensors.

    Names given by two strings on the stack (STACK_GLOBAL) are found where the strings were pushed or remembered just
    before; one that cannot be told is given as ``"?"``.

    Raises:
        Refusal: Not a pickle.
    """
    strings: list[str] = []
    memo: dict[Any, str | None] = {}
    last: str | None = None
    try:
        for name, argument in _operations(stream):
            text = str(argument)
            if name in ("GLOBAL", "INST"):
                yield ".".join(text.split(" ", 1))
            elif name == "STACK_GLOBAL":
                yield ".".join(strings[-2:]) if len(strings) > 1 else "?"
            elif isinstance(argument, str) and name.endswith(("UNICODE", "UNICODE8", "STRING")):
                strings.append(text)
                last = text
                continue
            elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
                memo[len(memo) if name == "MEMOIZE" else argument] = last
                continue
            elif name in ("GET", "BINGET", "LONG_BINGET") and (known := memo.get(argument)) is not None:
                strings.append(known)
            elif name in ("EXT1", "EXT2", "EXT4"):
                yield f"extension {text}"
            last = None
    except (ValueError, IndexError, KeyError, UnicodeDecodeError, OverflowError) as error:
        raise Refusal("MF", f"not a complete pickle ({type(error).__name__})") from error
