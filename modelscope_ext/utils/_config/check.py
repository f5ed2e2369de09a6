"""configuration.json against its schema, without a library: the few keywords that our schema uses."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscope_ext.utils._config.dict import as_mapping
from modelscope_ext.utils._config.errors import ConfigInvalid, ConfigTypeError
from modelscope_ext.utils.text import did_you_mean, printable

if TYPE_CHECKING:
    from modelscope_ext.utils.config import Config

__all__ = ["check_config", "problems", "schema"]

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list, tuple),
    "string": (str,),
    "boolean": (bool,),
}
_NAMES = {"object": "an object", "array": "a list", "string": "a string", "boolean": "true or false"}
_TRAINING = ("model", "train", "preprocessor", "evaluation")


def check_config(cfg: str | os.PathLike[str] | Config | Mapping[str, Any], is_training: bool = False) -> None:
    """Raise unless `cfg` is a complete configuration.json: types as in its schema, `framework`, and `tasks` or `task`.

    Args:
        cfg: A file, a Config (ours or ModelScope's) or a dict.
        is_training: Also require `model`, `train`, `preprocessor` and `evaluation`.

    Raises:
        ConfigError: Names the file and, for each key that is missing or wrong, what was expected (also an
            AssertionError, which ModelScope raises).

    Example:
        >>> check_config({"framework": "pytorch", "tasks": ["fill-mask"]})
        >>> check_config({"framwork": "pytorch", "task": 3})
        Traceback (most recent call last):
        ...
        modelscope_ext.utils._config.errors.ConfigInvalid: configuration.json: 'framework' is missing; expected a \
string, such as 'pytorch'. The file has 'framwork': rename it. task is 3; expected a string, such as \
'text-classification'.
    """
    if isinstance(cfg, str | os.PathLike):
        from modelscope_ext.utils.config import Config

        cfg = Config.from_file(cfg)
    values = as_mapping(cfg)
    if values is None:
        raise ConfigTypeError(f"{printable(cfg, 60)} is no configuration; expected a file, a Config or a dict.")
    found = problems(values, training=is_training)
    if found:
        name = Path(getattr(cfg, "_filename", None) or "configuration.json").name
        raise ConfigInvalid(f"{printable(name)}: {printable(' '.join(found), 800)}")


@lru_cache(maxsize=1)
def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of configuration.json that ships with the package.

    Example:
        >>> sorted(schema()["properties"])[:3]
        ['allow_remote', 'backend', 'dataset']
    """
    path = Path(__file__).parent.parent / "data" / "configuration.schema.json"
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def problems(config: Mapping[str, Any], *, training: bool = False) -> tuple[str, ...]:
    """Return one sentence for each thing about `config` that the schema does not allow, none if all is well.

    Args:
        config: The content of a configuration.json.
        training: Also require what ModelScope's trainers read.

    Example:
        >>> problems({"framework": "pytorch", "tasks": "fill-mask"})
        ("tasks is 'fill-mask'; expected a list, such as ['text-classification', 'token-classification'].",)
    """
    rules = schema()
    found = list(_check(config, rules, ""))
    missing = [key for key in rules["required"] if key not in config]
    if not any(all(key in config for key in choice["required"]) for choice in rules["anyOf"]):
        missing.append("tasks")
    if training:
        missing += [key for key in _TRAINING if key not in config]
    return (*[_missing(key, config, rules) for key in missing], *found)


def _missing(key: str, config: Mapping[str, Any], rules: dict[str, Any]) -> str:
    either = " (or 'task')" if key == "tasks" else ""
    unknown = [name for name in config if isinstance(name, str) and name not in rules["properties"]]
    hint = did_you_mean(key, unknown)
    if hint:
        hint = " The file has " + printable(hint.split("'")[1], 40).join("''") + ": rename it."
    return f"{key!r}{either} is missing; expected {_expected(rules['properties'][key])}.{hint}"


def _check(value: Any, rules: dict[str, Any], path: str) -> list[str]:
    expected = rules.get("type")
    if expected is not None and not isinstance(value, _TYPES[expected]):
        return [f"{path or 'the top level'} is {printable(repr(value), 60)}; expected {_expected(rules)}."]
    found: list[str] = []
    if isinstance(value, str) and len(value) < rules.get("minLength", 0):
        found.append(f"{path} is empty; expected {_expected(rules)}.")
    if isinstance(value, list | tuple):
        if len(value) < rules.get("minItems", 0):
            found.append(f"{path} is empty; expected {_expected(rules)}.")
        for index, item in enumerate(value):
            found += _check(item, rules.get("items", {}), f"{path}[{index}]")
    if isinstance(value, dict):
        for key, inner in rules.get("properties", {}).items():
            if key in value:
                found += _check(value[key], inner, f"{path}.{key}" if path else key)
    return found


def _expected(rules: dict[str, Any]) -> str:
    return f"{_NAMES[rules['type']]}" + (f", such as {rules['examples'][0]!r}" if rules.get("examples") else "")
