"""What configuration.json (or `cfg_dict`) declares and the README tags, in every spelling seen in the wild.

Data in tables: which keys carry which fact. Values keep their spelling; `models.tasks` and the resolver canonicalise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelscope_ext.utils.record import Record, dataclass

__all__ = ["CONFIGURATION_KEYS", "DECLARED", "TAGGED", "Fact", "facts_of", "is_configuration"]

#: The file name of facts that an argument of the call gives.
ARGUMENT = "(argument)"


@dataclass(frozen=True)
class Fact(Record):
    """One statement of one file.

    Attributes:
        file: The file, or ``"(argument)"``.
        key: Dotted key, with ``[n]`` for the n-th item of a list.
        value: The value as it stands there.

    Example:
        >>> Fact("config.json", "architectures[0]", "BertModel").key
        'architectures[0]'
    """

    file: str
    key: str
    value: Any


#: Name of the fact -> the dotted keys of configuration.json that state it, strongest first.
DECLARED: Mapping[str, tuple[str, ...]] = {
    "framework": ("framework", "frameworks"),
    "backend": ("backend",),
    "tasks": ("tasks", "task"),
    "model_type": ("model_type", "model-type"),
    "native_type": ("model.type",),
    "pipeline_type": ("pipeline.type",),
    "preprocessor_type": ("preprocessor.type",),
    "requirements": ("requirement_dependency", "requirements"),
    "allow_remote": ("allow_remote",),
    "plugins": ("plugins",),
    "pretrained": ("model.pretrained_model_name_or_path", "model.model_config.pretrained_model_name_or_path"),
}

#: Name of the fact -> the keys of a README's front matter that state it, strongest first.
TAGGED: Mapping[str, tuple[str, ...]] = {
    "library": ("library_name", "libraries", "library"),
    "framework": ("frameworks", "framework"),
    "tasks": ("pipeline_tag", "tasks", "task", "widgets[].task"),
    "model_type": ("model-type", "model_type", "model-backbone", "backbone"),
    "base_model": ("base_model",),
    "base_model_relation": ("base_model_relation",),
    "tags": ("tags",),
    "domain": ("domain",),
    "datasets": ("datasets",),
}

#: Keys that make a JSON file named configuration.json one of a model's; the name is used by other programs too.
CONFIGURATION_KEYS = frozenset(
    ("framework", "frameworks", "task", "tasks", "backend", "model_type", "requirement_dependency", "model", "pipeline",
     "preprocessor", "allow_remote", "plugins", "model_name_in_hub", "file_path_metas", "train", "evaluation",
     "dataset", "model_files", "entrypoint")
)  # fmt: skip
# Keys that other programs use as well: they make the file a model's only together with one of the others, or as a dict
# with a `type`.
_COMMON = frozenset(("model", "task", "tasks", "train", "evaluation", "dataset", "plugins", "entrypoint", "backend"))
_NOTHING = (None, "", "undefined", "none", "None", "null")


def is_configuration(document: Mapping[str, Any]) -> bool:
    """Return whether a parsed configuration.json is a model's, and not another program's.

    Example:
        >>> is_configuration({"task": "fill-mask"}), is_configuration({"a": 1}), is_configuration({"model": "x"})
        (True, False, False)
    """
    known = CONFIGURATION_KEYS & document.keys()
    if known - _COMMON or not document:
        return True
    model = document.get("model")
    if isinstance(model, Mapping) and isinstance(model.get("type"), str):
        return True
    return any(
        isinstance(document.get(key), str | list) and document.get(key) for key in known & {"task", "tasks"}
    ) or (isinstance(document.get("backend"), str) and len(document) <= 3)


def facts_of(
    document: Mapping[str, Any], table: Mapping[str, tuple[str, ...]], file: str, prefix: str = ""
) -> dict[str, tuple[Fact, ...]]:
    """Return the facts of `document` by the names of `table`; a list gives one fact per item.

    Example:
        >>> facts_of({"tasks": ["a", "b"]}, DECLARED, "configuration.json")["tasks"][1].key
        'tasks[1]'
    """
    found: dict[str, tuple[Fact, ...]] = {}
    if not document:
        return found
    for name, keys in table.items():
        facts = tuple(
            Fact(file, prefix + place, value)
            for key in keys
            for place, value in _values(document, key)
            if not (isinstance(value, str | None) and value in _NOTHING)
        )
        if facts:
            found[name] = facts
    return found


def _values(document: Mapping[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    """Yield (place, value) for a dotted key; ``x[].y`` visits each item of the list x."""
    many, _, below = key.partition("[].")
    if below:
        items = document.get(many)
        for number, item in enumerate(items if isinstance(items, list) else ()):
            if isinstance(item, Mapping):
                for place, value in _values(item, below):
                    yield f"{many}[{number}].{place}", value
        return
    found: Any = document
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return
        found = found[part]
    if isinstance(found, list):
        for number, item in enumerate(found):
            yield f"{key}[{number}]", item
    else:
        yield key, found
