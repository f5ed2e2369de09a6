"""Builds YAML from the parser's flat events, counting as it goes. PyYAML is imported late."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from typing import Any, NoReturn

from modelscope_ext.errors import MalformedMetadata
from modelscope_ext.utils.bounded import too_large
from modelscope_ext.utils.imports import away_from
from modelscope_ext.utils.text import printable

__all__ = ["build"]

_CORE = "tag:yaml.org,2002:"
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_FIRST = frozenset("0123456789+-.")  # what a number begins with
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_ODD_FLOAT = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MERGE = "<<"
_ABSENT = object()


@dataclass(slots=True)
class _Open:
    """A mapping or sequence that is not complete yet."""

    value: Any
    anchor: str | None
    start: int  # nodes counted before it
    height: int = 1  # levels from here to the deepest value seen so far
    key: Any = _ABSENT  # of a mapping: the key that waits for its value
    merges: list[dict[Any, Any]] = field(default_factory=list)


def _library() -> Any:
    """Import PyYAML; Python may have been started inside a model's folder, which may have a yaml.py of its own."""
    with away_from("."):
        import yaml

    return yaml


def build(text: str, *, scalar_keys: bool, **rest: Any) -> Any:
    """Parse `text`; the arguments are those of `bounded.parse_yaml`, which is the one to call."""
    yaml: Any = sys.modules.get("yaml") or _library()

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(yaml, scalar_keys, **rest)
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(event)
    except yaml.YAMLError as error:
        builder.broken(error)
    return builder.result


class _Builder:
    def __init__(
        self,
        yaml: Any,
        scalar_keys: bool,
        *,
        file: str,
        source: str | None,
        max_depth: int,
        max_nodes: int,
        max_aliases: int,
        max_digits: int,
    ) -> None:
        self.file = file
        self.source = source
        self.limits = (max_depth, max_nodes, max_aliases)
        self.max_digits = max_digits
        self.scalar_keys = scalar_keys
        self.result: Any = None
        self.nodes = 0
        self.aliases = 0
        self.documents = 0
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Any, int, int]] = {}
        self.actions: dict[type, Any] = {
            yaml.ScalarEvent: self.scalar,
            yaml.MappingStartEvent: self.mapping,
            yaml.SequenceStartEvent: self.sequence,
            yaml.MappingEndEvent: self.end,
            yaml.SequenceEndEvent: self.end,
            yaml.AliasEvent: self.alias,
            yaml.DocumentStartEvent: self.document,
        }

    def take(self, event: Any) -> None:
        action = self.actions.get(type(event))
        if action is not None:
            action(event)

    def document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            self.refuse(event, "a second document starts ('---'); expected one. Keep one document per file.")

    def mapping(self, event: Any) -> None:
        self.open(event, {}, "map")

    def sequence(self, event: Any) -> None:
        self.open(event, [], "seq")

    def open(self, event: Any, value: Any, kind: str) -> None:
        if event.tag not in (None, "!", _CORE + kind):
            self.refuse_tag(event)
        self.check_depth(len(self.stack) + 1)
        start = self.nodes
        self.count(1)
        self.stack.append(_Open(value, event.anchor, start))

    def end(self, event: Any) -> None:
        done = self.stack.pop()
        for other in done.merges:
            for key, value in other.items():
                done.value.setdefault(key, value)
        if done.anchor is not None:
            self.anchors[done.anchor] = (done.value, self.nodes - done.start, done.height)
        self.put(event, done.value, done.height)

    def scalar(self, event: Any) -> None:
        self.count(1)
        tag, text = event.tag, event.value
        if tag is None:
            value = self.plain(event, text) if event.implicit[0] else text
        elif tag in ("!", _CORE + "str"):
            value = text
        else:
            value = self.tagged(event, tag, text)
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            self.refuse(event, "a lone surrogate, which is no character.")
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, 1, 0)
        merging = value == _MERGE and event.implicit[0] and self.stack and self.stack[-1].key is _ABSENT
        self.put(event, value, 0, merging=bool(merging))

    def alias(self, event: Any) -> None:
        self.aliases += 1
        if self.aliases > self.limits[2]:
            what = f"more than {self.limits[2]} aliases"
            too_large(what, self.limits[2], "yaml_aliases", file=self.file, source=self.source)
        if event.anchor not in self.anchors:
            self.refuse(event, f"the alias *{printable(event.anchor, 40)} names nothing that is complete before it.")
        value, size, height = self.anchors[event.anchor]
        self.count(size)
        self.check_depth(len(self.stack) + height)
        self.put(event, value, height)

    def count(self, size: int) -> None:
        self.nodes += size
        if self.nodes > 2 * self.limits[1]:  # a mapping's keys are events too, and are not values
            what = f"more than {self.limits[1]} values"
            too_large(what, self.limits[1], "nodes", file=self.file, source=self.source)

    def check_depth(self, depth: int) -> None:
        if depth > self.limits[0]:
            what = f"nested more than {self.limits[0]} deep"
            too_large(what, self.limits[0], "depth", file=self.file, source=self.source)

    def put(self, event: Any, value: Any, height: int, *, merging: bool = False) -> None:
        """Give a complete value to the container it stands in."""
        if not self.stack:
            self.result = value
            return
        inside = self.stack[-1]
        inside.height = max(inside.height, height + 1)
        if type(inside.value) is list:
            inside.value.append(value)
        elif inside.key is _ABSENT:
            self.check_key(event, inside, value, merging)
            inside.key = (value, merging)
        else:
            (key, merged), inside.key = inside.key, _ABSENT
            if merged:
                inside.merges += self.to_merge(event, value)
            else:
                inside.value[key] = value

    def check_key(self, event: Any, inside: _Open, key: Any, merging: bool) -> None:
        if not isinstance(key, str) and not (self.scalar_keys and not isinstance(key, dict | list)):
            kind = {dict: "a mapping", list: "a sequence", type(None): "null"}.get(type(key), f"{key!r}")
            self.refuse(event, f"a key is {kind}; expected a string. Put it in quotes.")
        if inside.merges if merging else key in inside.value:
            self.refuse(
                event, f"the key {printable(repr(key))} appears twice in one mapping. Keep one of them.", field=key
            )

    def to_merge(self, event: Any, value: Any) -> list[dict[Any, Any]]:
        found = value if isinstance(value, list) else [value]
        if not all(isinstance(item, dict) for item in found):
            self.refuse(event, "the merge key << takes a mapping or a list of mappings.", field=_MERGE)
        self.count(sum(len(item) for item in found))
        return found

    def plain(self, event: Any, text: str) -> Any:
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        if text[0] not in _FIRST:
            return text
        if _INT.fullmatch(text):
            return self.integer(event, text)
        if _FLOAT.fullmatch(text):
            return self.real(event, text)
        if _ODD_FLOAT.fullmatch(text):
            return float(text.replace(".", "", 1))
        return text

    def tagged(self, event: Any, tag: str, text: str) -> Any:
        expected = {"null": type(None), "bool": bool, "int": int, "float": float}.get(tag.removeprefix(_CORE))
        if expected is None or not tag.startswith(_CORE):
            self.refuse_tag(event)
        value = self.plain(event, text)
        if expected is float and type(value) is int:
            return float(value)
        if type(value) is not expected:
            self.refuse(event, f"{printable(repr(text), 40)} is tagged !!{tag.removeprefix(_CORE)}, but is none.")
        return value

    def integer(self, event: Any, text: str) -> int:
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        digits = len(text) - 2 if base != 10 else len(text.lstrip("+-"))
        if digits > self.max_digits:
            self.refuse(event, f"an integer of {digits} digits ({text[:12]}...); at most {self.max_digits}.")
        return int(text[2:], base) if base != 10 else int(text)

    def real(self, event: Any, text: str) -> float:
        value = float(text)
        if value in (float("inf"), float("-inf")):
            self.refuse(event, f"the number {printable(text, 40)} overflows; expected a finite number.")
        return value

    def refuse_tag(self, event: Any) -> NoReturn:
        tag = printable(event.tag.replace(_CORE, "!!"), 80)
        self.refuse(
            event, f"the tag {tag} is outside YAML's core schema; nothing was constructed or executed. Remove the tag."
        )

    def refuse(self, event: Any, text: str, *, field: str | None = None) -> NoReturn:
        mark = event.start_mark
        where = f"{printable(self.file)}, line {mark.line + 1}, column {mark.column + 1}"
        raise MalformedMetadata(f"{where}: {text}", file=self.file, field=field, source=self.source)

    def broken(self, error: Any) -> NoReturn:
        """Turn an error of PyYAML into ours; from 6.0.4 its C parser has a limit of depth of its own, before ours."""
        if "maximum nesting depth" in str(error):
            self.check_depth(self.limits[0] + 1)
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        problem = printable(str(getattr(error, "problem", None) or getattr(error, "reason", None) or error), 160)
        hint = " Indent with spaces." if "\\t" in problem or "tab" in problem else ""
        raise MalformedMetadata(
            f"{printable(self.file)}{where}: not YAML: {problem}.{hint}", file=self.file, source=self.source
        ) from error
