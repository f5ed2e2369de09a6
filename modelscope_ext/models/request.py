"""Step 5 of 6: the keywords of a load, checked and brought into one spelling before anything is read.

Example:
    >>> Request.of({"model_revision": "v1", "device": "gpu:1", "dtype": "fp16"}).load_options()["device"]
    'cuda:1'
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.safety.grants import Grants
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["KEYWORDS", "Request", "unknown_keyword"]

#: Keywords of every load, in the order of `pipeline()`.
KEYWORDS = (
    "task", "framework", "device", "trust_remote_code", "backend", "hub", "revision", "cfg_dict", "config_file",
    "dtype", "device_map", "variant", "subfolder", "base_model", "allow_missing_weights", "token", "cache_dir",
    "local_files_only", "allow_pickle", "allow_sources", "code_sha256", "limits", "verify", "ignore_file_pattern",
    "lock",
)  # fmt: skip
#: Other spelling -> keyword.
_SPELLED = {"model_revision": "revision", "torch_dtype": "dtype"}
#: Keywords of ModelScope that change nothing here.
_IGNORED = {
    "use_hf": "name the hub with hub=",
    "external_engine_for_llm": "choose the library with backend=",
    "llm_framework": "choose the library with backend=",
    "model_prefetched": "a folder is never fetched",
    "invoked_by": "it was never used",
}
_GRANTS = (
    "trust_remote_code", "code_sha256", "allow_pickle", "allow_sources", "limits", "local_files_only", "verify",
)  # fmt: skip
#: A dict or object further down may not hold these: what the caller permits is said at the top of the call.
_NESTED = frozenset(("trust_remote_code", "code_sha256", "allow_pickle", "allow_sources"))
_RESOLVED = ("task", "backend", "framework")
_LOADED = ("task", "device", "device_map", "dtype", "variant", "cfg_dict", "base_model", "allow_missing_weights")
_DEVICE = re.compile(r"(cpu|cuda|npu|mps|xpu|mlu|hpu)(:\d{1,3})?")
_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")
#: Keywords that are a str, with an example for the message.
_TEXTS = {
    "backend": "'transformers'", "framework": "'pytorch'", "revision": "'v1.0'", "variant": "'fp16'",
    "subfolder": "'unet'", "token": "the hub's access token",
}  # fmt: skip
_DTYPES = {
    "float32": ("fp32", "float"), "float16": ("fp16", "half"), "bfloat16": ("bf16",), "float64": ("fp64", "double"),
    "auto": (), "float8_e4m3fn": ("fp8",),
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What one call asks for.

    Attributes:
        values: The keywords of `KEYWORDS` that were given, in one spelling.
        grants: What the caller permits.
        extra: The other keywords: options of the backend, not yet checked.
    """

    values: Mapping[str, Any]
    grants: Grants
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, keywords: Mapping[str, Any]) -> Request:
        """Return the request that `keywords` make.

        Raises:
            OptionError: Two spellings that disagree, a device nobody has, a grant that is not at the top of the call.
        """
        given = {name: value for name, value in _one_spelling(keywords).items() if value is not None}
        for name, why in _IGNORED.items():
            if name in given:
                given.pop(name)
                text = f"{name} is accepted for ModelScope's sake and ignored: {why}"
                warnings.warn(text, UserWarning, stacklevel=_callers_level())
        grants = Grants.of(**{name: keywords[name] for name in _GRANTS if name in keywords})
        values = {name: given.pop(name) for name in KEYWORDS if name in given}
        for name, value in given.items():
            _refuse_nested(name, value)
        for name, example in _TEXTS.items():
            if not isinstance(values.get(name, ""), str):
                raise OptionError(
                    f"{name}={printable(values[name])}: expected a str such as {example}, got"
                    f" {type(values[name]).__name__}"
                )
        _configuration(values)
        _placement(values)
        return cls(values, grants, given)

    def get(self, name: str) -> Any:
        """Return a keyword's value, None where the caller said nothing."""
        return self.values.get(name)

    def resolve_options(self) -> dict[str, Any]:
        """Return the keywords that `resolve` takes beside a snapshot."""
        return {name: self.values[name] for name in _RESOLVED if name in self.values}

    def load_options(self) -> dict[str, Any]:
        """Return the keywords that every backend's `load` takes, None where the caller said nothing."""
        return {name: self.values.get(name) for name in _LOADED} | {
            "allow_missing_weights": self.values.get("allow_missing_weights", False)
        }


def unknown_keyword(name: str, known: Mapping[str, str] | frozenset[str], who: str) -> OptionError:
    """Return the error for a keyword that nobody takes."""
    options = f" Options of {who}: {listing(known)}." if known else f" {who} has no options of its own."
    near = did_you_mean(name, {*KEYWORDS, *_SPELLED, "batch_size", "pipeline_name", "preprocessor", *known})
    return OptionError(f"unknown argument {printable(name)!r}.{near}{options}")


def _callers_level() -> int:
    """Return the `stacklevel` that makes a warning point at the first caller outside this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("modelscope_ext."):
        level, frame = level + 1, frame.f_back
    return level


def _one_spelling(keywords: Mapping[str, Any]) -> dict[str, Any]:
    given = dict(keywords)
    for other, name in _SPELLED.items():
        value = given.pop(other, None)
        if value is None:
            continue
        if given.get(name) is not None and given[name] != value:
            raise OptionError(f"{other}={_said(value)} and {name}={_said(given[name])} are the same argument: pass one")
        given[name] = value
    return given


def _configuration(values: dict[str, Any]) -> None:
    """Make one `cfg_dict` of `cfg_dict` and ModelScope's `config_file`."""
    file, document = values.pop("config_file", None), values.get("cfg_dict")
    if file is not None and document is not None:
        raise OptionError("config_file and cfg_dict both replace configuration.json: pass one")
    if file is not None:
        if not isinstance(file, str | PathLike):
            raise OptionError(f"config_file={_said(file)}: expected the path of a .json or .yaml file")
        from modelscope_ext.utils.config import Config

        document = Config.from_file(file)
    if document is None:
        return
    if not isinstance(document, Mapping) and callable(getattr(document, "to_dict", None)):
        document = document.to_dict()
    if not isinstance(document, Mapping):
        raise OptionError(
            f"cfg_dict: expected a Config, ConfigDict or dict, got {type(document).__name__}. A branch or commit is"
            " given as revision=, a file as cfg_dict=Config.from_file(...)"
        )
    _refuse_nested("cfg_dict", document)
    values["cfg_dict"] = document


def _placement(values: dict[str, Any]) -> None:
    device, spread = values.get("device"), values.get("device_map")
    if device is not None and spread is not None:
        raise OptionError(f"device={_said(device)} and device_map={_said(spread)} say the same: pass one")
    if device is not None:
        values["device"] = _device(device)
    if isinstance(spread, str) and spread not in _MAPS:
        values["device_map"] = _device(spread, "device_map", (*_MAPS, *_DEVICES))
    elif not isinstance(spread, str | int | Mapping | None) and type(spread).__module__ != "torch":
        raise OptionError(
            f"device_map={_said(spread)}: expected {listing(_MAPS)}, a device, or a dict of module names and devices"
        )
    if "dtype" in values:
        values["dtype"] = _dtype(values["dtype"])
    missing = values.get("allow_missing_weights", False)
    if type(missing) is not bool:
        raise OptionError(f"allow_missing_weights={_said(missing)}: expected exactly True or False")


_DEVICES = ("cpu", "cuda", "gpu", "npu", "mps", "xpu")


def _device(device: Any, keyword: str = "device", known: tuple[str, ...] = _DEVICES) -> str:
    if type(device) is int:
        return "cpu" if device < 0 else f"cuda:{device}"
    name = re.sub(r"^gpu\b", "cuda", str(device).strip().lower())
    if not _DEVICE.fullmatch(name):
        near = (
            " To spread it over what there is, pass device_map='auto'." if name in _MAPS else did_you_mean(name, known)
        )
        raise OptionError(
            f"{keyword}={_said(device)}: expected one of {listing(known)}, with a number if there are several"
            f" ('cuda:1').{near}"
        )
    return name


def _said(value: Any) -> str:
    return printable(repr(value))


def _dtype(dtype: Any) -> str:
    name = str(dtype).removeprefix("torch.").removeprefix("mindspore.").lower()
    for canonical, others in _DTYPES.items():
        if name == canonical or name in others:
            return canonical
    raise OptionError(f"dtype={_said(dtype)}: expected one of {listing(_DTYPES)}.{did_you_mean(name, _DTYPES)}")


def _refuse_nested(name: str, value: Any, depth: int = 0) -> None:
    """Refuse a grant inside a dict, list or configuration object of the call."""
    if depth > 16:
        return
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    else:
        held = getattr(value, "__dict__", None)
        items = list(held.items()) if depth == 0 and isinstance(held, dict) else []
    for key, inner in items:
        if key in _NESTED and inner not in (None, False):
            raise OptionError(
                f"{name} holds {key}={printable(inner, 40)}: what is permitted is said at the top of the call, as"
                f" {key}=..., and nowhere else"
            )
        if isinstance(inner, Mapping | list | tuple):
            _refuse_nested(f"{name}.{printable(key, 40)}", inner, depth + 1)
