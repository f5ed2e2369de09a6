"""Step 5 of 6, transformers: a local folder, what in it must not be used, and the library's errors in our words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from modelscope_ext.errors import (
    BackendNotLoadable,
    MalformedMetadata,
    MissingRequirement,
    ModelScopeExtError,
    NotAModel,
    RedirectRefused,
    RemoteCodeFailed,
    RemoteCodeRefused,
    UnknownTypeError,
)
from modelscope_ext.models.backends._transformers.code_guard import code_of
from modelscope_ext.safety.grants import Grants
from modelscope_ext.safety.paths import check_name
from modelscope_ext.utils.text import listing, printable

__all__ = ["DESCRIBING", "QUANTISERS", "Folder", "missing_package", "quantisation", "read", "refuse_surprises"]

_T = TypeVar("_T")

#: Quantisation methods that transformers leaves to another package -> (pip name, import name).
QUANTISERS: Mapping[str, tuple[str, str]] = {
    "awq": ("gptqmodel", "gptqmodel"),
    "aqlm": ("aqlm[gpu]", "aqlm"),
    "auto-round": ("auto-round", "auto_round"),
    "bitsandbytes": ("bitsandbytes", "bitsandbytes"),
    "compressed-tensors": ("compressed-tensors", "compressed_tensors"),
    "eetq": ("eetq", "eetq"),
    "fbgemm_fp8": ("fbgemm-gpu", "fbgemm_gpu"),
    "fp_quant": ("fp-quant", "fp_quant"),
    "gptq": ("gptqmodel", "gptqmodel"),
    "higgs": ("flute-kernel", "flute"),
    "hqq": ("hqq", "hqq"),
    "quanto": ("optimum-quanto", "optimum.quanto"),
    "quark": ("amd-quark", "quark"),
    "spqr": ("spqr-quant", "spqr_quant"),
    "torchao": ("torchao", "torchao"),
    "vptq": ("vptq", "vptq"),
}


#: Files that may name code of the folder (`auto_map`).
DESCRIBING = ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")


@dataclass
class Folder:
    """A local folder and what may be done with it.

    Attributes:
        path: The folder.
        name: How the user named it, for messages.
        grants: What the caller permits.
        config: The loaded `PreTrainedConfig`, once `load_model` has read it.
        raw: config.json as it stands.
    """

    path: Path
    name: str
    grants: Grants
    config: Any = None
    raw: dict[str, Any] = field(default_factory=dict)

    def document(self, name: str) -> dict[str, Any]:
        """Return a JSON file of the folder, or an empty dict where there is none."""
        file = self.path / name
        if not file.is_file():
            return {}
        from modelscope_ext.safety.reading import parse_json

        value = parse_json(file.read_bytes(), file=name, limits=self.grants.limits, source=self.name)
        return value if isinstance(value, dict) else {}

    def trusts(self, *names: str) -> bool:
        """Whether one of the files `names` asks for code of this folder that the caller permits to run."""
        return self.grants.may_run_code and any("auto_map" in self.document(name) for name in names)


def refuse_surprises(folder: Folder, *, adapter: bool = True) -> None:
    """Refuse what transformers would follow, apply or skip without a word.

    Args:
        folder: The folder.
        adapter: False where an adapter beside the model is left out on purpose.
    """
    where = {"source": folder.name, "file": "config.json"}
    if adapter and (folder.path / "adapter_config.json").is_file():
        raise BackendNotLoadable(
            f"{folder.name}: adapter_config.json: this folder holds an adapter, which transformers alone would leave "
            "out or apply depending on what is installed. Pass backend='peft', or without_adapter=True for the model"
            " that lies beside it."
        )
    for nested in (folder.raw, *(v for v in folder.raw.values() if isinstance(v, dict))):
        for key in ("attn_implementation", "_attn_implementation", "experts_implementation"):
            value = nested.get(key)
            if isinstance(value, str) and "/" in value:
                raise RedirectRefused(
                    f"{folder.name}: config.json: {key} names {printable(value)!r}, code of another source (nothing "
                    "was executed). Pass attn_implementation='sdpa' to a copy without this key.",
                    field=key,
                    **where,
                )
    weights = folder.raw.get("transformers_weights")
    if weights is not None:
        check_name(str(weights), file="config.json", field="transformers_weights")
    quantisation(folder)


def quantisation(folder: Folder) -> str | None:
    """Return the quantisation method of config.json; raise for one that transformers would skip."""
    settings = folder.raw.get("quantization_config")
    if not isinstance(settings, dict):
        return None
    method = settings.get("quant_method")
    if settings.get("load_in_4bit") or settings.get("load_in_8bit"):
        method = "bitsandbytes"
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    known = {*AUTO_QUANTIZATION_CONFIG_MAPPING, "bitsandbytes"}
    if not isinstance(method, str) or method not in known:
        raise UnknownTypeError(
            f"{folder.name}: config.json: quantization_config.quant_method {printable(repr(method))} is none that "
            f"transformers knows; it would load the quantised weights as plain ones. Known: {listing(known, 30)}.",
            source=folder.name,
            file="config.json",
            field="quantization_config.quant_method",
        )
    return method


def read(folder: Folder, what: str, call: Callable[[], _T]) -> _T:
    """Run `call`, and turn what the library raises into an error that names the folder and what mends it."""
    try:
        return call()
    except ModelScopeExtError:
        raise
    except ImportError as error:
        raise missing_package(folder, what, error) from error
    except MemoryError:
        raise
    except Exception as error:
        raise _translated(folder, what, error) from error


def missing_package(folder: Folder, what: str, error: Exception) -> ModelScopeExtError:
    """Return the error for a package that is not there, or for a device that the quantisation needs."""
    method = quantisation(folder) if what != "config.json" else None
    detail = printable(" ".join(str(error).split()), 400)
    if method is not None and _is_refused(detail):
        return BackendNotLoadable(f"{folder.name}: weights quantised with {method} cannot be used here: {detail}")
    if method is not None:
        package = QUANTISERS.get(method, (method, method))[0]
        return MissingRequirement(
            f"{folder.name}: its weights are quantised with {method}, which needs a package that is not installed: "
            f'pip install "{package}" (transformers says: {detail})'
        )
    said = re.search(r"requires the (\w+) library", detail)
    name = getattr(error, "name", None) or (said and said[1].lower())
    advice = f" pip install {name}" if name else ""
    return MissingRequirement(f"{folder.name}: {what} cannot be read without a further package: {detail}{advice}")


def _translated(folder: Folder, what: str, error: Exception) -> Exception:
    detail = printable(" ".join(str(error).split()), 400)
    if code_of(error, folder.path):
        return RemoteCodeFailed(
            f"{folder.name}: its own code, which you permitted to run, failed while {what} was read "
            f"({type(error).__name__}: {detail}). What it had imported was taken back.",
            source=folder.name,
        )
    if "trust_remote_code" in str(error) or "custom code" in str(error):
        return RemoteCodeRefused(
            f"{folder.name}: config.json: auto_map: {what} needs code of this folder (nothing was executed). Read it, "
            "then pass trust_remote_code=True.",
            source=folder.name,
            file="config.json",
            field="auto_map",
            grant="trust_remote_code",
        )
    method = quantisation(folder) if what != "config.json" else None
    if method is not None and _is_refused(detail):
        return BackendNotLoadable(f"{folder.name}: weights quantised with {method} cannot be used here: {detail}")
    if method is not None and method in QUANTISERS and not _installed(QUANTISERS[method][1]):
        return missing_package(folder, what, error)
    kind = type(error).__name__
    if kind == "SafetensorError" or isinstance(error, EOFError | json.JSONDecodeError):
        return MalformedMetadata(f"{folder.name}: {what} is damaged: {detail}", source=folder.name)
    if isinstance(error, OSError):
        return NotAModel(f"{folder.name}: {what} cannot be found by transformers: {detail}")
    return MalformedMetadata(
        f"{folder.name}: transformers cannot use {what} ({kind}: {detail})", source=folder.name, file="config.json"
    )


def _is_refused(detail: str) -> bool:
    """Whether the library says that no package, only another device or release, would help."""
    return any(word in detail for word in ("GPU", "CUDA", "accelerator", "not supported"))


def _installed(module: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
