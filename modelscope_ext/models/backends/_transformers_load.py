"""Step 5 of 6, transformers: from a local folder to a model, its tokenizer and its processors.

Every call into the library names its trust arguments: ``trust_remote_code``, ``local_files_only``,
``use_safetensors`` and ``weights_only``. What transformers would only warn about (new random weights, an unknown
quantisation that it skips, an adapter that it applies or leaves out by what is installed) is an error here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelscope_ext.errors import (
    BackendNotLoadable,
    MalformedMetadata,
    MissingRequirement,
    ModelScopeExtError,
    NotAModel,
    OptionError,
    PickleRefused,
    RedirectRefused,
    RemoteCodeFailed,
    RemoteCodeRefused,
    UnknownTypeError,
)
from modelscope_ext.models.backends._transformers_code_guard import code_of
from modelscope_ext.models.backends._transformers_tasks import ROWS
from modelscope_ext.models.backends._transformers_weights import (
    check_cross_encoder,
    check_weights,
    drop_random_pooler,
    mismatch_of,
)
from modelscope_ext.models.resolution import Resolution
from modelscope_ext.safety.grants import Grants
from modelscope_ext.safety.paths import check_name
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["Folder", "choose_auto", "load_model", "load_part", "pick_device", "tasks_of"]

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

#: Kind of part -> (auto class, files that hold it, the likeliest first).
_PARTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "tokenizer": (
        "AutoTokenizer",
        (
            *("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model"),
            *("sentencepiece.bpe.model", "source.spm", "bpe.codes", "tekken.json", "prophetnet.tokenizer"),
        ),
    ),
    "image_processor": ("AutoImageProcessor", ("preprocessor_config.json", "processor_config.json")),
    "feature_extractor": ("AutoFeatureExtractor", ("preprocessor_config.json", "processor_config.json")),
    "video_processor": (
        "AutoVideoProcessor",
        ("video_preprocessor_config.json", "processor_config.json", "preprocessor_config.json"),
    ),
    "processor": ("AutoProcessor", ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")),
}

_DTYPES = {"fp16": "float16", "half": "float16", "bf16": "bfloat16", "fp32": "float32", "float": "float32"}
_DTYPES |= {"fp64": "float64", "double": "float64"}


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


def load_model(folder: Folder, resolution: Resolution, task: str | None, options: Mapping[str, Any]) -> Any:
    """Return the model for `task`, on its device, in evaluation mode, with all its weights read.

    Args:
        folder: Where to load from; its `config` is set.
        resolution: The decision; the format of its weights is binding.
        task: The task whose head is needed; None for what the architecture names.
        options: `device`, `device_map`, `dtype`, `variant`, `allow_missing_weights`, `attn_implementation`,
            `quantization_config`, `max_memory`, `offload_folder`; None where the caller said nothing.

    Raises:
        WeightsMismatch: Weights are missing, left over or of another shape.
        OptionError: The architecture has no head for `task`, or an option is of no use.
        MissingRequirement: A package that this model needs is not installed.
        MalformedMetadata, UnknownTypeError, RedirectRefused, PickleRefused: A file that must not be used.
    """
    folder.raw = folder.document("config.json")
    _refuse_surprises(folder)
    config = folder.config = _read(folder, "config.json", lambda: _load_config(folder))
    if task == "text-ranking":
        check_cross_encoder(config)
    auto = choose_auto(folder, task)
    strict = not options.get("allow_missing_weights")
    keywords: dict[str, Any] = {
        "config": config,
        "dtype": _dtype(options.get("dtype")),
        "trust_remote_code": folder.trusts("config.json"),
        "local_files_only": True,
        "use_safetensors": _use_safetensors(folder, resolution),
        "weights_only": folder.grants.allow_pickle != "full",
        "ignore_mismatched_sizes": not strict,
        "output_loading_info": True,
    }
    for name in ("variant", "attn_implementation", "quantization_config", "max_memory", "offload_folder"):
        if options.get(name) is not None:
            keywords[name] = options[name]
    device = _place(folder, keywords, options)
    model, info = _read(folder, "its weights", lambda: auto.from_pretrained(str(folder.path), **keywords))
    drop_random_pooler(model, info, task)
    check_weights(model, info, folder.name, auto.__name__, strict=strict)
    if device is not None:
        model.to(device)
    return model.eval()


def _load_config(folder: Folder) -> Any:
    from transformers import AutoConfig

    if not folder.raw:
        raise NotAModel(f"{folder.name}: transformers needs a config.json, and this folder has none.")
    trusted = folder.trusts("config.json")
    try:
        return AutoConfig.from_pretrained(str(folder.path), trust_remote_code=trusted, local_files_only=True)
    except (KeyError, ValueError) as error:
        kind = folder.raw.get("model_type")
        if "auto_map" not in folder.raw and not _knows(kind):
            import transformers

            raise BackendNotLoadable(
                f"{folder.name}: config.json: model_type {printable(repr(kind))} is unknown to transformers "
                f"{transformers.__version__}. A newer release may know it: pip install -U transformers."
            ) from error
        raise


def _knows(model_type: Any) -> bool:
    from transformers import CONFIG_MAPPING

    return isinstance(model_type, str) and model_type in CONFIG_MAPPING


def _refuse_surprises(folder: Folder) -> None:
    """Refuse what transformers would follow, apply or skip without a word."""
    where = {"source": folder.name, "file": "config.json"}
    if (folder.path / "adapter_config.json").is_file():
        raise BackendNotLoadable(
            f"{folder.name}: adapter_config.json: this folder holds an adapter, which transformers alone would leave "
            "out or apply depending on what is installed. Pass backend='peft'."
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
    _quantisation(folder)


def _quantisation(folder: Folder) -> str | None:
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


def choose_auto(folder: Folder, task: str | None) -> Any:
    """Return the auto class that loads `task`, or what the architecture names when there is no task."""
    import transformers

    named = [str(a) for a in folder.raw.get("architectures") or ()]
    autos = ROWS[task].autos if task else _autos_of(named)
    fits = [auto for name in autos if _serves(auto := getattr(transformers, name), folder)]
    if not fits:
        kind = folder.raw.get("model_type")
        can = tasks_of(folder)
        raise OptionError(
            f"{folder.name}: {task!r} needs {' or '.join(autos)}, and transformers has none for model_type {kind!r}. "
            f"This model can serve: {listing(can)}.{did_you_mean(task or '', can)}"
        )
    return next((auto for auto in fits if _class_names(auto, folder) & set(named)), fits[0])


def _autos_of(named: Sequence[str]) -> tuple[str, ...]:
    """Return the auto classes of all rows and AutoModel, those whose mapping has one of `named` are tried first."""
    return (*dict.fromkeys(auto for row in ROWS.values() for auto in row.autos if auto != "AutoModel"), "AutoModel")


def _serves(auto: Any, folder: Folder) -> bool:
    remote = folder.raw.get("auto_map")
    if folder.grants.may_run_code and isinstance(remote, dict) and auto.__name__ in remote:
        return True
    return type(folder.config) in auto._model_mapping


def _class_names(auto: Any, folder: Folder) -> set[str]:
    if type(folder.config) not in auto._model_mapping:
        return set()
    classes = auto._model_mapping[type(folder.config)]
    return {c.__name__ for c in (classes if isinstance(classes, list | tuple) else [classes])}


def tasks_of(folder: Folder) -> tuple[str, ...]:
    """Return the tasks that transformers has a class for, given this folder's configuration."""
    import transformers

    return tuple(
        task for task, row in ROWS.items() if any(_serves(getattr(transformers, name), folder) for name in row.autos)
    )


def _use_safetensors(folder: Folder, resolution: Resolution) -> bool:
    form = resolution.weights.format
    if form is None:
        form = "safetensors" if any(folder.path.glob("*.safetensors")) else "pickle"
    if form not in ("safetensors", "pickle"):
        raise BackendNotLoadable(
            f"{folder.name}: the weights are {form} files, and transformers 5 reads safetensors and PyTorch's .bin. "
            "Convert them with transformers 4, or pick another backend."
        )
    if form == "pickle" and folder.grants.allow_pickle is False:
        raise PickleRefused(
            f"{folder.name}: the weights are pickles, which allow_pickle=False refuses (nothing was opened).",
            source=folder.name,
            grant="allow_pickle",
        )
    return form == "safetensors"


def _dtype(value: Any) -> Any:
    """Return a torch dtype, or ``"auto"``: the checkpoint's own, as transformers 5 does."""
    if value is None or value == "auto":
        return "auto"
    import torch

    if isinstance(value, torch.dtype):
        return value
    name = str(value).removeprefix("torch.")
    found = getattr(torch, _DTYPES.get(name, name), None)
    if not isinstance(found, torch.dtype):
        known = ["auto", "float16", "bfloat16", "float32", "float64", *_DTYPES]
        raise OptionError(f"dtype={printable(repr(value))}: no dtype of torch.{did_you_mean(name, known)}")
    return found


def pick_device(value: Any) -> Any:
    """Return the torch device for the option `device`: as named, or an accelerator where there is one, else the CPU.

    Raises:
        OptionError: A device that this machine or this build of torch does not have.
    """
    import torch

    if value is None:
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return torch.device(found.type if found is not None else "cpu")
    name = "cuda" + value[3:] if isinstance(value, str) and value.startswith("gpu") else value
    try:
        device = torch.device(f"cuda:{name}" if isinstance(name, int) and name >= 0 else "cpu" if name == -1 else name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        has = [f"{a}:{i}" for a in _accelerators() for i in range(torch.accelerator.device_count())]
        raise OptionError(
            f"device={printable(repr(value))} cannot be used here: {printable(str(error).splitlines()[0], 200)} "
            f"This machine has: {listing(['cpu', *has])}."
        ) from error
    return device


def _accelerators() -> list[str]:
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return [found.type] if found is not None else []


def _place(folder: Folder, keywords: dict[str, Any], options: Mapping[str, Any]) -> Any:
    """Add `device_map` to `keywords` where the library must place the weights itself, else return the device."""
    device_map = options.get("device_map")
    if device_map is not None:
        if options.get("device") is not None:
            raise OptionError("device and device_map exclude each other: pass one of them.")
        from modelscope_ext.models.backends._transformers_inputs import need

        need("accelerate", "device_map")
        keywords["device_map"] = device_map
        return None
    device = pick_device(options.get("device"))
    if _quantisation(folder) or options.get("quantization_config") is not None:
        keywords["device_map"] = {"": device}
        return None
    return device


def _read(folder: Folder, what: str, call: Any) -> Any:
    """Run `call`, and turn what the library raises into an error that names the folder and what mends it."""
    try:
        return call()
    except ModelScopeExtError:
        raise
    except ImportError as error:
        raise _missing_package(folder, what, error) from error
    except MemoryError:
        raise
    except Exception as error:
        raise _translated(folder, what, error) from error


def _missing_package(folder: Folder, what: str, error: Exception) -> MissingRequirement:
    method = _quantisation(folder) if what != "config.json" else None
    detail = printable(" ".join(str(error).split()), 400)
    if method is not None:
        package = QUANTISERS.get(method, (method, method))[0]
        return MissingRequirement(
            f"{folder.name}: its weights are quantised with {method}, which needs a package that is not installed: "
            f'pip install "{package}" (transformers says: {detail})'
        )
    name = getattr(error, "name", None)
    advice = f" pip install {name}" if name else ""
    return MissingRequirement(f"{folder.name}: {what} cannot be read without a further package: {detail}{advice}")


def _translated(folder: Folder, what: str, error: Exception) -> Exception:
    detail = printable(" ".join(str(error).split()), 400)
    mismatch = mismatch_of(error, folder.name)
    if mismatch is not None:
        return mismatch
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
    method = _quantisation(folder) if what != "config.json" else None
    if method in QUANTISERS and not _installed(QUANTISERS[method][1]):
        return _missing_package(folder, what, error)
    if method is not None and any(word in detail for word in ("GPU", "CUDA", "accelerator")):
        return BackendNotLoadable(f"{folder.name}: weights quantised with {method} cannot run on this device: {detail}")
    kind = type(error).__name__
    if kind == "SafetensorError" or isinstance(error, EOFError | json.JSONDecodeError):
        return MalformedMetadata(f"{folder.name}: {what} is damaged: {detail}", source=folder.name)
    if isinstance(error, OSError):
        return NotAModel(f"{folder.name}: {what} cannot be found by transformers: {detail}")
    return MalformedMetadata(
        f"{folder.name}: transformers cannot use {what} ({kind}: {detail})", source=folder.name, file="config.json"
    )


def _installed(module: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def load_part(folder: Folder, kind: str) -> Any:
    """Return the tokenizer or a processor of the folder.

    Args:
        folder: Where to load from.
        kind: A key of `_PARTS`; ``a|b`` returns the first that can be loaded.

    Raises:
        NotAModel: The folder has no file for it.
        MalformedMetadata: It has, but they cannot be used.
        MissingRequirement: A package that it needs is not installed.
    """
    first: ModelScopeExtError | None = None
    for one in kind.split("|"):
        try:
            return _load_one_part(folder, one)
        except (NotAModel, MalformedMetadata, MissingRequirement) as error:
            first = first or error
    assert first is not None
    raise first


def _load_one_part(folder: Folder, kind: str) -> Any:
    import transformers

    name, files = _PARTS[kind]
    there = [file for file in files if (folder.path / file).is_file()]
    if not there:
        raise NotAModel(
            f"{folder.name}: there is no {kind.replace('_', ' ')}: none of {listing(files)} is in the folder. Copy it "
            "from the model it was trained from, or pass one as preprocessor=."
        )
    trusted = folder.trusts("tokenizer_config.json", "preprocessor_config.json", "processor_config.json", "config.json")
    try:
        part = getattr(transformers, name).from_pretrained(
            str(folder.path), trust_remote_code=trusted, local_files_only=True
        )
    except ImportError as error:
        raise _missing_package(folder, there[0], error) from error
    except Exception as error:
        detail = printable(" ".join(str(error).split()), 400)
        raise MalformedMetadata(
            f"{folder.name}: the {kind.replace('_', ' ')} in {there[0]} cannot be used "
            f"({type(error).__name__}: {detail})",
            source=folder.name,
            file=there[0],
        ) from error
    if isinstance(part, transformers.ProcessorMixin) != (kind == "processor"):
        # AutoProcessor gives a lone tokenizer where there is no processor, the others a whole processor.
        part = getattr(part, kind, None)
    if part is None:
        raise NotAModel(f"{folder.name}: {there[0]} describes no {kind.replace('_', ' ')}.")
    logger.debug("%s: loaded %s as %s", folder.name, there[0], type(part).__name__)
    return part
