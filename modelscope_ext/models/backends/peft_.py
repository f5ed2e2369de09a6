"""peft: adapters (LoRA, IA3, prompts and their like) to models of transformers, in PyTorch.

An adapter is a small folder that changes another model, its base. The base is a source of its own and is opened only
where the caller names it (``base_model=``) or permits it (``allow_sources=[...]``); then it is loaded by transformers'
own backend with the head that the adapter was trained for. Heads that were trained along (``modules_to_save``) come
from the adapter. The adapter stays apart from its base by default, which gives the very numbers of peft and can be
saved as an adapter again; ``merge=True`` puts it into the base's weights, which is faster and needs no peft to run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from modelscope_ext.errors import BackendNotLoadable, OptionError
from modelscope_ext.models.backend import Backend, Loaded
from modelscope_ext.models.backends._transformers.tasks import NOT_SERVED, ROWS
from modelscope_ext.models.backends.transformers_ import Transformers
from modelscope_ext.models.resolution import BaseReference, Match, Resolution
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.models.backends._peft.adapter import Adapter
    from modelscope_ext.models.base import Model
    from modelscope_ext.safety.grants import Grants

__all__ = ["Peft"]

#: Runs what the adapter was applied to.
_ENGINE = Transformers()
#: Options of the transformers backend that hold for the base.
_OF_BASE = ("attn_implementation", "quantization_config", "max_memory", "offload_folder", "tokenizer", "processor")
_CONFIG, _KEY = "adapter_config.json", "base_model_name_or_path"
#: What peft calls an adapter of which there is one.
_NAME = "default"
#: Kind of part -> the files in an adapter's folder that show that it has one of its own.
_SETTINGS: Mapping[str, tuple[str, ...]] = {"tokenizer": ("tokenizer_config.json",)}
_OF_PROCESSORS = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")


class Peft(Backend):
    """Applies adapters to models of transformers and runs them."""

    name: ClassVar[str] = "peft"
    frameworks: ClassVar[tuple[str, ...]] = ("pytorch",)
    requires: ClassVar[tuple[str, ...]] = ("peft>=0.19", *Transformers.requires)
    install: ClassVar[str] = 'pip install "modelscope-ext[peft]"'
    options: ClassVar[Mapping[str, str]] = {
        "merge": "True: put the adapter into the base's weights; by default it stays apart",
        **{name: Transformers.options[name] for name in _OF_BASE},
    }
    call_options: ClassVar[Mapping[str, tuple[str, ...]]] = Transformers.call_options
    tasks: ClassVar[tuple[str, ...]] = Transformers.tasks

    def probe(self, evidence: Evidence) -> Match | None:
        """Claim what has peft's adapter_config.json or adapter_model weights."""
        from modelscope_ext.models.decision.recognised import recognise_one

        return recognise_one(self.name, evidence)

    def base(self, evidence: Evidence) -> BaseReference | None:
        """Return what adapter_config.json calls its base."""
        if self.probe(evidence) is None:
            return None
        named = evidence.get(_CONFIG, _KEY)
        return BaseReference(_CONFIG, _KEY, named if isinstance(named, str) and named else None)

    def files(self, resolution: Resolution, snapshot: Snapshot) -> tuple[str, ...]:
        """Return the adapter's metadata and weights; the base's files are planned when it is opened."""
        return _ENGINE.files(resolution, snapshot)

    def load(self, folder: Path, resolution: Resolution, grants: Grants, **options: Any) -> Loaded:
        """Load the base, apply the adapter in `folder` to it, and return both.

        Args:
            folder: The adapter's folder.
            resolution: The decision; its first task picks the base's head unless `task` is given.
            grants: What the caller permits; for the base, which is another source, without its code.
            **options: `base_model` (a folder, a Snapshot, a `Model` or a `PreTrainedModel`; one that is loaded is
                changed in place until this one is closed), `task`, `device`, `device_map`, `dtype`,
                `allow_missing_weights`, and those of `options`.

        Raises:
            RedirectRefused: The base is neither named nor permitted by the caller.
            WeightsMismatch: The adapter and the base do not belong together, or the adapter changes nothing.
            NotAModel, BackendNotLoadable, OptionError, MissingRequirement, SafetyError: As their names say.
        """
        from modelscope_ext.models.backends._peft.adapter import read_adapter
        from modelscope_ext.models.backends._peft.attach import attach, inner, keep, kept_random, merged
        from modelscope_ext.models.backends._transformers.quiet import loading
        from modelscope_ext.models.base_source import is_loaded, load_base

        merge, lent = _merge(options), is_loaded(options.get("base_model"))
        if merge and lent:
            raise OptionError(
                "merge=True would change the weights of the model that was passed as base_model= for good; pass its"
                " folder, or leave merge out"
            )
        adapter = read_adapter(folder, resolution, grants)
        task = _served(options.get("task") or resolution.default_task, resolution)
        own = _own_parts(folder, resolution, grants, task)
        self.report("Loading the base", 0, 2)
        kinds = {"transformers": _of_base(adapter, own, options), self.name: {"merge": True}, "gguf": {}}
        with kept_random():  # of a head that the adapter brings, random weights are made first
            base = load_base(self, folder, resolution, grants, options, task=task, backends=kinds)
        try:
            native = _native(base, resolution)
            self.report("Applying the adapter", 1, 2)
            with loading():
                strict = not options.get("allow_missing_weights")
                kept = keep(native, adapter) if lent else None
                model = attach(native, adapter, _NAME, strict=strict, kept=kept)
                runs = merged(model, adapter) if merge else inner(model)
        except BaseException:
            if not lent:
                base.close()
            raise
        self.report("Loaded", 2, 2)
        parts = {**{k: v for k, v in base.parts.items() if k not in ("pipelines", "tasks")}, **own}
        held = {"inner": Loaded(runs, parts, base.device), "adapter": adapter, "merged": merge}
        held |= {"base": base, "kept": kept} if lent else {"owned": base}
        return Loaded(runs if merge else model, {**parts, **held}, str(native.device))

    def predict(self, native: Any, task: str, inputs: Sequence[Any], **options: Any) -> Sequence[Any]:
        """Run `task` on `inputs` as the transformers backend does, with the adapter in use.

        Where an adapter adds tokens, texts are continued one by one: padding would come between those tokens and the
        text, and change the answer.
        """
        inner = self._inner(native)
        if task == "text-generation" and _is_peft_model(inner.native):
            options["batch_size"] = None
        return _ENGINE.predict(inner, task, inputs, **options)

    def stream(self, native: Any, task: str, item: Any, **options: Any) -> Iterator[str]:
        """Yield the text that text-generation makes for one input, piece by piece."""
        return _ENGINE.stream(self._inner(native), task, item, **options)

    def adopt(self, native: Any, *, task: str | None = None, preprocessor: Any = None) -> Loaded | None:
        """Return what `load` would for a `PeftModel` that the caller made, or None for another library's object."""
        if not _is_peft_model(native):
            return None
        from modelscope_ext.models.backends._peft.attach import inner
        from modelscope_ext.models.backends._transformers.load import tasks_of_class

        whole = native.get_base_model()
        if not _ENGINE.owns(whole):
            return None
        wrapped = _ENGINE.wrap(whole, preprocessor=preprocessor)
        native.eval()
        runs = Loaded(inner(native), wrapped.parts, wrapped.device)
        tasks = (task,) if task else tasks_of_class(whole)
        return Loaded(native, {**wrapped.parts, "inner": runs, "tasks": tasks}, wrapped.device)

    def count_tokens(self, native: Any, item: Any) -> int | None:
        """Return how many tokens the model reads for a text or a chat."""
        return _ENGINE.count_tokens(self._inner(native), item)

    def save(self, native: Any, folder: Path) -> str | None:
        """Write the adapter as an adapter, which names the same base as before; a merged one as a transformers model.

        A saved adapter needs its base again to be loaded. Tokenizer and processors are written beside it.
        """
        from modelscope_ext.models.backends._peft.attach import write

        inner = self._inner(native)
        if isinstance(native, Loaded) and native.parts.get("merged"):
            _ENGINE.save(inner, folder)
            return _ENGINE.name
        folder.mkdir(parents=True, exist_ok=True)
        adapter = native.parts.get("adapter") if isinstance(native, Loaded) else None
        write(native.native if isinstance(native, Loaded) else native, folder, adapter)
        _ENGINE.save_parts(inner, folder)
        return None

    def close(self, native: Any) -> None:
        """Close the base that was loaded for the adapter; give back one of the caller's as it was."""
        if not isinstance(native, Loaded):
            return
        from modelscope_ext.models.backends._peft.attach import unload

        if "base" in native.parts and native.native is not None:
            unload(native.native, native.parts.get("kept", {}))
        inner, owned = native.parts.get("inner"), native.parts.get("owned")
        native.native = None
        native.parts.clear()
        if owned is not None:
            owned.close()
        if inner is not None and inner.native is not None:
            _ENGINE.close(inner)

    def code(self, resolution: Resolution) -> str:
        """Return the same in peft's own words: a script that runs on its own and prints one answer."""
        from modelscope_ext.models.backends._peft.code import snippet

        return snippet(resolution)

    def _inner(self, native: Any) -> Loaded:
        """Return what transformers runs."""
        loaded = native if isinstance(native, Loaded) else self.adopt(native)
        if loaded is None:
            raise OptionError(f"expected a PeftModel of a transformers model, got {type(native).__name__}")
        inner: Loaded = loaded.parts["inner"]
        return inner


def _merge(options: Mapping[str, Any]) -> bool:
    merge = options.get("merge")
    if merge not in (None, True, False):
        raise OptionError(f"merge={printable(repr(merge))}: expected True or False")
    return bool(merge)


def _served(task: str | None, resolution: Resolution) -> str | None:
    """Return the task whose head the base needs: the chosen one, or the first that transformers serves."""
    if task is None or task in ROWS or task in NOT_SERVED:
        return task
    return next((one for one in resolution.tasks if one in ROWS), None)


def _own_parts(folder: Path, resolution: Resolution, grants: Grants, task: str | None) -> dict[str, Any]:
    """Return the tokenizer and processors that lie beside the adapter; they were changed along with it."""
    from modelscope_ext.models.backends._transformers.code_guard import contained
    from modelscope_ext.models.backends._transformers.folder import Folder
    from modelscope_ext.models.backends._transformers.parts import kind_of, load_part
    from modelscope_ext.models.backends._transformers.quiet import loading

    where, found = Folder(folder, str(resolution.source), grants), {}
    wanted = ROWS[task].parts if task is not None and task in ROWS else ()
    for kind in dict.fromkeys(one for part in wanted for one in part.rstrip("?").split("|")):
        if any((folder / name).is_file() for name in _SETTINGS.get(kind, _OF_PROCESSORS)):
            with loading(), contained():
                part = load_part(where, kind)
            found[kind_of(part) or kind] = part
    return found


def _of_base(adapter: Adapter, own: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the base's load: the caller's, and what the adapter brings in its place."""
    given = {name: options[name] for name in _OF_BASE if options.get(name) is not None}
    for kind, part in own.items():
        given.setdefault("tokenizer" if kind == "tokenizer" else "processor", part)
    labels: dict[str, Any] = {"num_labels": adapter.num_labels} if adapter.num_labels is not None else {}
    if labels and len(adapter.labels) == adapter.num_labels:
        labels["id2label"] = dict(adapter.labels)
    return {**given, **labels, "supplied": tuple(adapter.brings), "without_adapter": True}


def _native(base: Model, resolution: Resolution) -> Any:
    """Return the base's own object, which has to be a model of transformers."""
    if _ENGINE.owns(base.native):
        return base.native
    found = f"{base.backend} ({type(base.native).__name__})"
    if _is_peft_model(base.native):
        raise OptionError(
            f"{printable(str(resolution.source))}: its base is adapted already, {found}. Pass the folder of that"
            " adapter, which is then merged, or load it with merge=True."
        )
    raise BackendNotLoadable(
        f"{printable(str(resolution.source))}: its base is a model of {found}; adapters are applied to models of"
        " transformers here. Pass base_model=<the folder of such a model>."
    )


def _is_peft_model(native: Any) -> bool:
    return any(
        base.__name__ == "PeftModel" and base.__module__.partition(".")[0] == "peft" for base in type(native).__mro__
    )
