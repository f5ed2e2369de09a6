"""The little language of `libraries`: conditions on file names, metadata keys and weight formats, all pure.

Example:
    >>> from modelscope_ext.metadata.evidence import collect
    >>> from modelscope_ext.metadata.snapshot import Snapshot
    >>> evidence = collect(Snapshot.from_mapping({"config.json": '{"chronos_config": {"x": 1}}'}, {"a/b.gguf": 1}))
    >>> view = View(evidence)
    >>> [met.value for met in met_all(view, "config.json:chronos_config **/*.gguf !am.mvn")]
    ['(present)', 'a/b.gguf']
    >>> met_all(view, "*.gguf") is None
    True
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from modelscope_ext.utils.record import dataclass

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence

__all__ = ["Index", "Met", "View", "met_all"]


@dataclass(frozen=True)
class Met:
    """The fact by which a condition holds: a file, a key in it, and the value that was found."""

    file: str
    key: str
    value: Any


class View:
    """Evidence as the conditions look at it; made once for all rows."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.found: dict[str, Met | None] = {}

    @cached_property
    def root_text(self) -> str:
        """The names in the model's own folder, one a line."""
        return "\n".join(sorted(self.evidence.basenames)) + "\n"

    @cached_property
    def text(self) -> str:
        """All names, one a line."""
        return "\n".join(self.evidence.names) + "\n"

    @cached_property
    def formats(self) -> Mapping[str, str]:
        """Weight format -> the first file of it, in the model's own folder where there is one."""
        found: dict[str, str] = {}
        for weight in sorted(self.evidence.weights, key=lambda w: w.folder.count("/") + bool(w.folder)):
            found.setdefault(weight.format, weight.name)
        return found


@dataclass(frozen=True)
class _Condition:
    """One parsed condition."""

    text: str
    kind: str  # "name", "pattern", "key", "format"
    negated: bool
    file: str = ""
    path: tuple[str, ...] = ()
    value: str | None = None
    wild: bool = False
    literal: str = ""
    anywhere: bool = False


#: What is looked for -> row, place and text of the features that need it.
_Features = dict[str, list[tuple[int, int, str]]]


class Index:
    """Features by one condition that must hold, so that few have to be looked at for one model.

    Args:
        features: (number of the row, feature), in order.
    """

    def __init__(self, features: Iterable[tuple[int, str]]) -> None:
        self._by: dict[str, _Features] = {}
        for place, (row, feature) in enumerate(features):
            _, kind, key = min((_trigger(c) for c in _parse(feature) if not c.negated), key=lambda t: t[0])
            self._by.setdefault(kind, {}).setdefault(key, []).append((row, place, feature))

    def candidates(self, view: View) -> list[tuple[int, int, str]]:
        """Return (row, place, feature) of the features that could hold, in order."""
        evidence, text = view.evidence, view.text
        none: _Features = {}
        there: list[tuple[_Features, Iterable[str]]] = [
            (self._by.get("name", none), evidence.name_set),
            (self._by.get("extension", none), {name.rpartition(".")[2] for name in evidence.names}),
            (self._by.get("format", none), {weight.format for weight in evidence.weights}),
        ]
        literals = self._by.get("literal", none)
        there.append((literals, [literal for literal in literals if literal in text]))
        for file, document in evidence.documents.items():
            if of_file := self._by.get(_KEY + file):
                items = document[:64] if isinstance(document, list) else (document,)
                there += [(of_file, item.keys()) for item in items if isinstance(item, dict)]
        found = {one for table, keys in there for key in table.keys() & keys for one in table[key]}
        return sorted(found)


_KEY = "key of "


def _trigger(condition: _Condition) -> tuple[int, str, str]:
    """Return (how common, kind, key): the rarest condition of a feature is looked for first."""
    if condition.kind == "key":
        if "*" in condition.file:
            return (2, "extension", condition.file.rpartition(".")[2])
        head = condition.path[0]
        return (0, _KEY + condition.file, head) if "*" not in head else (3, "name", condition.file)
    if condition.kind == "format":
        return (1, "format", condition.value or "")
    if condition.kind == "name":
        return (4 if condition.file in _COMMON else 0, "name", condition.file)
    extension = condition.file.rpartition(".")[2]
    if extension.isalnum() and not condition.literal.strip(".").replace(extension, ""):
        return (2, "extension", extension)
    return (1, "literal", condition.literal)


_COMMON = frozenset(("config.json", "config.yaml", "model.pt", "model.bin", "params.json", "tokens.txt"))


def met_all(view: View, feature: str) -> tuple[Met, ...] | None:
    """Return the facts by which all conditions of `feature` hold, or None if one does not."""
    facts = []
    for condition in _parse(feature):
        met = _met(view, condition)
        if (met is None) is not condition.negated:
            return None
        if met is not None:
            facts.append(met)
    return tuple(facts)


@lru_cache(maxsize=1024)
def _parse(feature: str) -> tuple[_Condition, ...]:
    """Parse the conditions of a feature, the cheap ones first."""
    parsed = [_parse_one(word) for word in feature.split()]
    return tuple(sorted(parsed, key=lambda c: (c.kind == "pattern", c.negated)))


def _parse_one(word: str) -> _Condition:
    negated = word.startswith("!")
    text = word[negated:]
    if text.startswith("@"):
        return _Condition(text, "format", negated, value=text[1:])
    file, colon, key = text.partition(":")
    if colon:
        path, equals, value = key.partition("=")
        return _Condition(text, "key", negated, file, tuple(path.split(".")), value if equals else None, _wild(value))
    if not _wild(text):
        return _Condition(text, "name", negated, text)
    pattern = text.removeprefix("**/")
    # An extension is in nearly every folder; any other part of the name is rarer.
    literal = max(re.split(r"\*|\?|\[[^]]*\]", pattern), key=lambda part: (bool(part) and part[0] != ".", len(part)))
    return _Condition(text, "pattern", negated, pattern, literal=literal, anywhere=pattern != text or "/" in pattern)


def _wild(text: str) -> bool:
    return any(c in text for c in "*?[")


def _met(view: View, condition: _Condition) -> Met | None:
    key = condition.text
    if key not in view.found:
        view.found[key] = _LOOK[condition.kind](view, condition)
    return view.found[key]


def _by_name(view: View, condition: _Condition) -> Met | None:
    return Met(condition.file, "(name)", condition.file) if condition.file in view.evidence.name_set else None


def _by_pattern(view: View, condition: _Condition) -> Met | None:
    text = view.text if condition.anywhere else view.root_text
    if condition.literal not in text:
        return None
    pattern = _compiled(condition.file, condition.text.startswith("**/"))
    found = pattern.search(text)
    return Met(found.group(1), "(name)", found.group(1)) if found else None


@lru_cache(maxsize=512)
def _compiled(pattern: str, any_depth: bool) -> re.Pattern[str]:
    """Turn a shell pattern into one that finds a whole line; ``*`` stays in one folder, ``**`` does not."""
    parts = {"**": "[^\n]*", "*": "[^/\n]*", "?": "[^/\n]"}
    words = re.split(r"(\*\*|\*|\?|\[[^]]*\])", pattern)
    body = "".join(parts.get(word, word if word.startswith("[") else re.escape(word)) for word in words)
    folders = "(?:[^\n]*/)?" if any_depth else ""
    return re.compile(f"^({folders}{body})$", re.MULTILINE)


def _by_key(view: View, condition: _Condition) -> Met | None:
    documents = view.evidence.documents
    if "*" not in condition.file:
        return (
            _in_document(condition, condition.file, documents[condition.file]) if condition.file in documents else None
        )
    for name in sorted(documents):
        base = name.rpartition("/")[2] if condition.file.startswith("**/") else name
        if fnmatchcase(base, condition.file.removeprefix("**/")) and ("/" not in base):
            met = _in_document(condition, name, documents[name])
            if met:
                return met
    return None


def _in_document(condition: _Condition, file: str, document: Any) -> Met | None:
    if condition.path == ("*",):
        return Met(file, "(read)", "(present)")
    for value in _values(document, condition.path):
        if condition.value is None:
            shown = value if isinstance(value, str | int | float) else "(present)"
            return Met(file, ".".join(condition.path), shown)
        for item in value if isinstance(value, list) else (value,):
            if item == condition.value or (
                condition.wild and isinstance(item, str) and fnmatchcase(item, condition.value)
            ):
                return Met(file, ".".join(condition.path), item)
    return None


def _values(value: Any, path: tuple[str, ...]) -> Sequence[Any]:
    """Return what lies at `path`; a step into a list looks at each of its first items."""
    if not path:
        return () if value is None else (value,)
    if isinstance(value, dict):
        head, rest = path[0], path[1:]
        if head in value:
            return _values(value[head], rest)
        if head.endswith("*"):
            named = [item for key, item in value.items() if isinstance(key, str) and fnmatchcase(key, head)]
            return [found for item in named for found in _values(item, rest)]
    elif isinstance(value, list):
        return [found for item in value[:64] for found in _values(item, path)]
    return ()


def _by_format(view: View, condition: _Condition) -> Met | None:
    name = view.formats.get(condition.value or "")
    return Met(name, "(weights)", condition.value) if name else None


_LOOK = {"name": _by_name, "pattern": _by_pattern, "key": _by_key, "format": _by_format}
