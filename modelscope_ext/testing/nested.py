"""What a backend's own code asks of the libraries: each call says what it permits, and opens what the gates have seen.

A library's defaults change with its releases, so a backend passes each of them in words. `ENTRIES` lists the calls by
which libraries open a model, and the words; `spying()` stands in their place while a backend loads.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial, wraps
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

from modelscope_ext.testing.witness import witness

__all__ = ["ENTRIES", "Nested", "spying"]

#: Keyword -> the values that a call may pass; it has to pass one of them.
Wanted: TypeAlias = Mapping[str, tuple[Any, ...]]

_CODE = {"trust_remote_code": (False,)}
_HERE = {"local_files_only": (True,)}
_FORMAT = {"use_safetensors": (True, False)}
_TENSORS = {"weights_only": (True,)}

#: ``module:function``, ``module:Class.method`` or ``module:*.method`` (of each class there) -> what a call has to say.
#: Empty: nothing, but the gates come first. None: no backend calls it, because nothing makes it safe.
ENTRIES: Mapping[str, Wanted | None] = {
    "pickle:load": None,
    "pickle:loads": None,
    "joblib:load": None,
    "huggingface_hub._snapshot_download:snapshot_download": None,
    "huggingface_hub.file_download:hf_hub_download": None,
    "modelscope.hub.snapshot_download:snapshot_download": None,
    "modelscope.hub.file_download:model_file_download": None,
    "numpy:load": {"allow_pickle": (False,)},
    "torch:load": _TENSORS,
    "torch.hub:load": None,
    "torch.jit:load": None,
    "safetensors:safe_open": {},
    "safetensors.torch:load_file": {},
    "safetensors.numpy:load_file": {},
    "onnxruntime:InferenceSession.__init__": {},
    "transformers.configuration_utils:PretrainedConfig.from_pretrained": _HERE,
    "transformers.feature_extraction_utils:FeatureExtractionMixin.from_pretrained": _CODE | _HERE,
    "transformers.generation.configuration_utils:GenerationConfig.from_pretrained": _HERE,
    "transformers.image_processing_base:ImageProcessingMixin.from_pretrained": _CODE | _HERE,
    "transformers.modeling_utils:PreTrainedModel.from_pretrained": _CODE | _HERE | _FORMAT | _TENSORS,
    "transformers.models.auto.auto_factory:_BaseAutoModelClass.from_pretrained": _CODE | _HERE | _FORMAT | _TENSORS,
    "transformers.models.auto.configuration_auto:AutoConfig.from_pretrained": _CODE | _HERE,
    "transformers.models.auto.feature_extraction_auto:AutoFeatureExtractor.from_pretrained": _CODE | _HERE,
    "transformers.models.auto.image_processing_auto:AutoImageProcessor.from_pretrained": _CODE | _HERE,
    "transformers.models.auto.processing_auto:AutoProcessor.from_pretrained": _CODE | _HERE,
    "transformers.models.auto.tokenization_auto:AutoTokenizer.from_pretrained": _CODE | _HERE,
    "transformers.models.auto.video_processing_auto:AutoVideoProcessor.from_pretrained": _CODE | _HERE,
    "transformers.pipelines:pipeline": _CODE | _HERE,
    "transformers.processing_utils:ProcessorMixin.from_pretrained": _CODE | _HERE,
    "transformers.tokenization_utils_base:PreTrainedTokenizerBase.from_pretrained": _CODE | _HERE,
    "diffusers.loaders.lora_pipeline:*.load_lora_weights": _HERE | _FORMAT,
    "diffusers.loaders.lora_pipeline:*.lora_state_dict": _HERE | _FORMAT,
    "diffusers.loaders.single_file:FromSingleFileMixin.from_single_file": _HERE,
    "diffusers.models.modeling_utils:ModelMixin.from_pretrained": _HERE | _FORMAT,
    "diffusers.pipelines.pipeline_utils:DiffusionPipeline.from_pretrained": _CODE | _HERE | _FORMAT,
    "diffusers.schedulers.scheduling_utils:SchedulerMixin.from_pretrained": _HERE,
    "sentence_transformers:CrossEncoder.__init__": _CODE | _HERE,
    "sentence_transformers:SentenceTransformer.__init__": _CODE | _HERE,
    "sentence_transformers:SparseEncoder.__init__": _CODE | _HERE,
    "peft.config:PeftConfigMixin.from_pretrained": _HERE,
    "peft.peft_model:PeftModel.from_pretrained": _HERE,
    "peft.peft_model:PeftModel.load_adapter": _HERE,
    "modelscope.models.base.base_model:Model.from_pretrained": _CODE,
    "modelscope.pipelines.builder:pipeline": _CODE,
    "mindspore:load_checkpoint": {},
    "mindone.diffusers.models.modeling_utils:ModelMixin.from_pretrained": _HERE | _FORMAT,
    "mindone.diffusers.pipelines.pipeline_utils:DiffusionPipeline.from_pretrained": _HERE | _FORMAT,
    "mindone.transformers.modeling_utils:PreTrainedModel.from_pretrained": _HERE | _FORMAT,
    "mindone.transformers.models.auto.auto_factory:_BaseAutoModelClass.from_pretrained": _CODE | _HERE | _FORMAT,
}  # fmt: skip

#: Readers of this package, which look at bytes and build nothing.
_READERS = ("modelscope_ext.metadata.", "modelscope_ext.safety.", "modelscope_ext.hub.", "modelscope_ext.models.gate")


@dataclass
class Nested:
    """What was seen.

    Attributes:
        calls: Entries that the backend called, in order.
        gates: ``"A"`` and ``"B"`` with the folder that passed, in order.
        problems: What a backend has to mend, for people.
    """

    calls: list[str] = field(default_factory=list)
    gates: list[tuple[str, Path]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> tuple[Path, ...]:
        """Return the folders that both gates have seen."""
        seen = [folder for gate, folder in self.gates if gate == "A"]
        return tuple(folder for gate, folder in self.gates if gate == "B" and folder in seen)

    def judge(self, entry: str, wanted: Wanted | None, place: Any, said: Mapping[str, Any]) -> None:
        """Note one call of the backend's."""
        self.calls.append(entry)
        name = entry.replace(":", ".")
        if wanted is None:
            self.problems.append(f"{name} is called, and nothing makes it safe")
            return
        for keyword, values in wanted.items():
            if keyword not in said:
                self.problems.append(f"{name} is called without {keyword}=; write {_listed(keyword, values)}")
            elif said[keyword] not in values:
                self.problems.append(
                    f"{name} is called with {keyword}={said[keyword]!r}; pass {_listed(keyword, values)}"
                )
        if not self.passed:
            self.problems.append(f"{name} is called before both gates have passed; call it in load()")
        elif isinstance(place, str | os.PathLike) and not _inside(Path(place), self.passed):
            self.problems.append(
                f"{name} is called with {os.fspath(place)!r}, which no gate has seen; open the folder that load() is"
                " given, another source with models.base_source.load_base"
            )


def _listed(keyword: str, values: tuple[Any, ...]) -> str:
    return " or ".join(f"{keyword}={value!r}" for value in values)


def _inside(place: Path, folders: tuple[Path, ...]) -> bool:
    """Whether a file or folder lies in one that passed, or is a folder with nothing but links into it and settings."""
    if any(place.resolve().is_relative_to(folder) for folder in folders):
        return True
    if not place.is_dir():
        return False
    files = [path for path in place.rglob("*") if path.is_file()]
    linked = [path for path in files if path.is_symlink()]
    plain = all(path in linked or path.suffix == ".json" for path in files)
    return bool(linked) and plain and all(_inside(path.resolve(), folders) for path in linked)


@contextmanager
def spying(backend: type[Any], folder: Path, more: Mapping[str, Wanted | None] | None = None) -> Iterator[Nested]:
    """Yield a `Nested` that fills while the body loads models with `backend`.

    Only what is imported already is watched: load once before. Only calls of the backend's own code count; what a
    library calls in turn is its own.

    Args:
        backend: The class.
        folder: The model's folder; what the backend itself opens there before both gates have passed is a problem.
        more: Further entries, as `ENTRIES`.
    """
    nested, own = Nested(), _own(backend)
    with ExitStack() as stack:
        for entry, wanted in {**ENTRIES, **(more or {})}.items():
            for holder, name in _holders(entry, own):
                stack.enter_context(_watched(holder, name, partial(nested.judge, entry, wanted), own))
        for letter in "AB":
            stack.enter_context(_gate_watched(letter, nested))
        root = os.path.realpath(folder) + os.sep

        def opened(path: str) -> None:
            if path.startswith(root) and not nested.passed and _opened_by(sys._getframe(1), own):
                nested.problems.append(f"{path[len(root) :]} is opened by the backend before both gates have passed")

        stack.enter_context(witness()).listener = opened
        yield nested


def _own(backend: type[Any]) -> tuple[str, ...]:
    """Return the packages in which the code of a backend, and of those it builds on, may lie."""
    ours = "modelscope_ext.models.backends"
    names = [kind.__module__ for kind in backend.__mro__[:-1]]
    return tuple({ours if name.startswith("modelscope_ext.") else name.partition(".")[0] for name in names})


def _is_own(module: str, own: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in own)


def _opened_by(frame: FrameType | None, own: tuple[str, ...]) -> bool:
    """Whether it is the backend that opens a file here, not a bounded reader of this package that it asked."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(_READERS):
            return False
        if _is_own(module, own):
            return True
        frame = frame.f_back
    return False


def _holders(entry: str, own: tuple[str, ...]) -> Iterator[tuple[Any, str]]:
    """Yield what holds an entry and by which name, where it is imported; also where the backend imported it from."""
    module_name, _, path = entry.partition(":")
    module = sys.modules.get(module_name)
    if module is None:
        return
    owner, _, name = path.rpartition(".")
    if owner:
        kinds = list(vars(module).values()) if owner == "*" else [vars(module).get(owner)]
        yield from ((kind, name) for kind in kinds if isinstance(kind, type) and name in vars(kind))
    elif name in vars(module):
        plain = vars(module)[name]
        yield module, name
        for other in [one for key, one in list(sys.modules.items()) if one is not module and _is_own(key, own)]:
            yield from ((other, key) for key, value in list(vars(other).items()) if value is plain)


@contextmanager
def _watched(holder: Any, name: str, judge: Callable[..., None], own: tuple[str, ...]) -> Iterator[None]:
    """Put a function in the place of an entry that judges the backend's own calls, and makes every call."""
    plain = vars(holder)[name]
    kind = type(plain) if isinstance(plain, classmethod | staticmethod) else None
    call = plain.__func__ if kind is not None else plain
    first = int(isinstance(holder, type) and kind is not staticmethod)

    @wraps(call, updated=())
    def watched(*args: Any, **keywords: Any) -> Any:
        if _is_own(sys._getframe(1).f_globals.get("__name__", ""), own):
            judge(args[first] if len(args) > first else keywords.get(_parameter(call, first)), keywords)
        return call(*args, **keywords)

    setattr(holder, name, kind(watched) if kind is not None else watched)
    try:
        yield
    finally:
        setattr(holder, name, plain)


def _parameter(call: Callable[..., Any], number: int) -> str:
    """Return the name of a parameter, "" where a call has none that can be told."""
    try:
        return list(inspect.signature(call).parameters)[number]
    except (IndexError, TypeError, ValueError):
        return ""


@contextmanager
def _gate_watched(letter: str, nested: Nested) -> Iterator[None]:
    """Note each folder that passes a gate."""
    from modelscope_ext.models import gate

    name = f"gate_{letter.lower()}"
    plain = getattr(gate, name)

    @wraps(plain)
    def watched(*args: Any, **keywords: Any) -> None:
        plain(*args, **keywords)
        snapshot = inspect.signature(plain).bind(*args, **keywords).arguments["snapshot"]
        if snapshot.folder is not None:
            nested.gates.append((letter, Path(snapshot.folder).resolve()))

    setattr(gate, name, watched)
    try:
        yield
    finally:
        setattr(gate, name, plain)
