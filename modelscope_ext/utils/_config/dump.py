"""Writing a configuration as Python, JSON or YAML, such that reading it again gives the same values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

from modelscope_ext.errors import ConfigError
from modelscope_ext.utils._config.errors import ConfigKeyError, ConfigTypeError
from modelscope_ext.utils._config.pretty import Place, at, python_text
from modelscope_ext.utils.text import printable

__all__ = ["as_json", "as_python", "as_yaml"]

_STYLE = {
    "based_on_style": "pep8",
    "blank_line_before_nested_class_or_def": True,
    "split_before_expression_after_opening_paren": True,
}
_YAPF_MOST = 200_000  # characters; yapf needs about a second for 20,000


def as_json(values: Mapping[Any, Any]) -> str:
    """Return `values` as indented JSON; tuples become lists and keys strings.

    Raises:
        ConfigError: A value has no JSON form; the key is named.

    Example:
        >>> print(as_json({"tasks": ("fill-mask",)}), end="")
        {
          "tasks": [
            "fill-mask"
          ]
        }
    """
    return _indented(_plain(values, None, "JSON")) + "\n"


def as_yaml(values: Mapping[Any, Any]) -> str:
    """Return `values` as YAML that parsers of YAML 1.1 and 1.2 read alike; tuples become lists.

    Raises:
        ConfigError: A value has no YAML form; the key is named.

    Example:
        >>> print(as_yaml({"no": "no", "octal": "012"}), end="")
        'no': 'no'
        octal: '012'
    """
    import yaml

    plain = _plain(values, None, "YAML")
    return yaml.dump(plain, Dumper=_dumper(), sort_keys=False, allow_unicode=True)


@lru_cache(maxsize=1)
def _dumper() -> Any:
    """Return a Dumper that quotes every string that YAML 1.1 *or* 1.2 would take for a number."""
    import re

    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:  # PyYAML forgets to escape U+0085 and its like outside double quotes
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if value.isprintable() else '"')

    Dumper.add_representer(str, text)
    first = list("-+.0123456789")
    Dumper.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+)$"), first)
    number = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
    Dumper.add_implicit_resolver("tag:yaml.org,2002:float", number, first)
    return Dumper


def _plain(value: Any, place: Place, form: str) -> Any:
    """Return `value` in fresh containers of the types that JSON and YAML know; others are an error naming the place."""
    kind = type(value)
    if kind is int or value is None or kind is bool:
        return value
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise ConfigError(f"{at(place)} holds a lone surrogate, which is no character. Remove it.")
        return str(value)
    if isinstance(value, float):
        if form == "JSON" and not math.isfinite(value):
            raise ConfigError(f"{at(place)} is {value!r}, which JSON cannot express. Write null, or dump to .yaml.")
        return float(value)
    if isinstance(value, Mapping):
        plain: dict[Any, Any] = {}
        for key, item in value.items():
            name = _key(key, place, form)
            here = (place, False, key)
            if name in plain:
                raise ConfigKeyError(
                    f"{at(here)}: two keys are {printable(repr(name), 60)} in {form}. Rename one of them."
                )
            plain[name] = _plain(item, here, form)
        return plain
    if isinstance(value, list | tuple):
        return [_plain(item, (place, True, index), form) for index, item in enumerate(value)]
    raise ConfigTypeError(
        f"{at(place)} is {printable(value, 60)} ({type(value).__name__}), which {form} cannot express. "
        "Convert it to a number, string, list or dict."
    )


def _key(key: Any, place: Place, form: str) -> Any:
    if type(key) is str and key.isascii():
        return key
    if not isinstance(key, str | int | float | type(None)):
        raise ConfigTypeError(f"{at(place)}: the key {printable(repr(key), 60)} cannot be expressed in {form}.")
    key = _plain(key, place, form)
    if form == "YAML" or isinstance(key, str):
        return key
    return json.dumps(key)


_CONSTANTS = {None: "null", True: "true", False: "false"}


def _indented(value: Any, margin: str = "\n") -> str:
    """Return what `_plain` gave as JSON, laid out as ``json.dumps(indent=2)`` does, which takes twice the time."""
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is not dict and kind is not list:
        return repr(value) if kind is int or kind is float else _CONSTANTS[value]
    opens, closes = "{}" if kind is dict else "[]"
    if not value:
        return opens + closes
    inner = margin + "  "
    if kind is dict:
        items = [f"{encode_basestring(key)}: {_indented(item, inner)}" for key, item in value.items()]
    else:
        items = [_indented(item, inner) for item in value]
    return f"{opens}{inner}{f',{inner}'.join(items)}{margin}{closes}"


def as_python(values: Mapping[Any, Any], *, strict: bool) -> str:
    """Return `values` as assignments, formatted by yapf.

    Args:
        values: The top level.
        strict: Refuse what Python cannot read back; else show its `repr()`.

    Raises:
        ConfigError: `strict`, and a value or key has no literal form; the key is named.

    Example:
        >>> print(as_python({"model": {"type": "bert"}, "a-b": (1,)}, strict=True), end="")
        model = dict(type='bert')
        globals()['a-b'] = (1, )
    """
    return _formatted(python_text(values, strict=strict))


def _formatted(text: str) -> str:
    """Return `text` formatted by yapf, or as it is where yapf cannot read it or would take minutes."""
    if len(text) > _YAPF_MOST:
        return text
    from yapf.yapflib.yapf_api import FormatCode

    try:
        return str(FormatCode(text, style_config=_STYLE)[0])
    except Exception:  # noqa: BLE001  (yapf raises what its parser raises; the text is valid without it)
        return text
