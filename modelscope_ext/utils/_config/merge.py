"""Merging into a ConfigDict: of options with dotted keys, and of a file into its `_base_`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_ext.utils._config.dict import ConfigDict, own
from modelscope_ext.utils._config.errors import ConfigKeyError, ConfigTypeError
from modelscope_ext.utils.text import printable

__all__ = ["DELETE_KEY", "merge", "unfold"]

DELETE_KEY = "_delete_"


def unfold(options: Mapping[Any, Any]) -> ConfigDict:
    """Return `options` with dotted keys unfolded into nested dicts; `options` and what it holds are not changed.

    Raises:
        ConfigTypeError: A key is no string, or one key needs a dict where another puts a value.

    Example:
        >>> unfold({"model.depth": 50, "model.type": "ResNet"})
        {'model': {'depth': 50, 'type': 'ResNet'}}
    """
    unfolded = ConfigDict()
    for full_key, value in options.items():
        if not isinstance(full_key, str):
            raise ConfigTypeError(
                f"the option {printable(repr(full_key))} is no string; expected a key such as 'model.type'."
            )
        *parents, last = full_key.split(".")
        inside: dict[Any, Any] = unfolded
        for key in parents:
            inside = inside.setdefault(key, ConfigDict())
            if not isinstance(inside, dict):
                raise ConfigTypeError(
                    f"the option {printable(repr(full_key))} needs a dict at {printable(repr(key))}, "
                    f"but another option sets it to {printable(repr(inside), 60)}. Give one of the two."
                )
        inside[last] = own(value)
    return unfolded


def merge(child: Any, base: Any, *, lists: bool, force: bool = True, path: str = "") -> Any:
    """Return `base` with `child` merged into it; neither is changed, untouched parts of `base` are shared.

    Args:
        child: What to merge, owned by the caller: its values may become part of the result.
        base: A dict, or (with `lists`) a list whose items `child` addresses by their index: ``{"0": ...}``.
        lists: Allow indexes as keys, and merge two lists of dicts by their key ``type``.
        force: Replace values that are there already.
        path: Where in the config this happens, for messages.

    Raises:
        ConfigTypeError: A dict would be merged into something else.
        ConfigKeyError: An index is beyond the end of a list.
    """
    base = base.copy()
    for key, value in child.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(base, list):
            _merge_item(base, key, value, force, here)
        elif lists and isinstance(value, list) and key in base:
            base[key] = _merge_lists(value, base[key], force, here)
        elif isinstance(value, dict) and key in base and not value.get(DELETE_KEY, False):
            if not isinstance(base[key], (dict, list) if lists else dict):
                raise ConfigTypeError(
                    f"{printable(here)}: a dict cannot be merged into {printable(repr(base[key]), 60)}. "
                    f"Set '{DELETE_KEY}': True in the dict to replace the value."
                )
            base[key] = merge(_without_delete(value), base[key], lists=lists, force=force, path=here)
        elif key not in base or force:
            base[key] = _clean(value)
    return base


def _merge_item(base: list[Any], key: Any, value: Any, force: bool, here: str) -> None:
    """Merge `value` into the item of `base` that `key` names."""
    if not (isinstance(key, str) and key.isascii() and key.isdigit()):
        raise ConfigTypeError(
            f"{printable(here)}: the base is a list of {len(base)} items; expected an index such as '0', "
            f"not {printable(repr(key))}."
        )
    index = int(key)
    if index >= len(base):
        raise ConfigKeyError(
            f"{printable(here)}: index {index} exceeds the list of {len(base)} items; the last is {len(base) - 1}."
        )
    if isinstance(value, dict) and isinstance(base[index], dict | list) and not value.get(DELETE_KEY, False):
        base[index] = merge(_without_delete(value), base[index], lists=True, force=force, path=here)
    elif force:
        base[index] = _clean(value)


def _merge_lists(value: list[Any], old: Any, force: bool, here: str) -> list[Any]:
    """Return `old` with `value` merged: by `type` where all items of both are dicts that have one, else replaced."""
    if not isinstance(old, list):
        raise ConfigTypeError(f"{printable(here)}: type mismatch, a list cannot replace {printable(repr(old), 60)}.")
    if not all(isinstance(item, dict) and "type" in item for item in old + value):
        return _clean(value) if force else old
    merged, used, kept = [], set(), []
    for item in old:
        match = next((i for i, new in enumerate(value) if new["type"] == item["type"]), None)
        if match is None:
            kept.append(item)
        else:
            used.add(match)
            merged.append(merge(value[match], item, lists=True, force=force, path=here))
    return merged + kept + [_clean(new) for i, new in enumerate(value) if i not in used]


def _without_delete(value: dict[Any, Any]) -> dict[Any, Any]:
    return {key: item for key, item in value.items() if key != DELETE_KEY} if DELETE_KEY in value else value


def _clean(value: Any) -> Any:
    """Return `value` without any `_delete_`, which is an instruction and no value."""
    if isinstance(value, dict):
        if DELETE_KEY in value or any(isinstance(item, dict | list) for item in value.values()):
            return type(value)({key: _clean(item) for key, item in value.items() if key != DELETE_KEY})
        return value
    if type(value) is list:
        return [_clean(item) for item in value]
    return value
