"""transformers: text, images, sound and both together, in PyTorch, from config.json and safetensors.

What it serves is a table, `_transformers.tasks.ROWS`; the other modules there hold loading, the check of the weights,
and the runners of each family of tasks. Models keep the dtype of their checkpoint, as transformers 5 does, and go to an
accelerator where there is one. Text is generated greedily unless the model's own generation_config.json, or the caller,
says otherwise. `cfg_dict` replaces configuration.json, which decides backend and task; config.json is the library's own
and describes the weights, so nothing but the folder can say what is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backend import Backend, Exported, Loaded
from modelscope_ext.models.backends._transformers.graphs import TO_ONNX
from modelscope_ext.models.backends._transformers.tasks import NOT_SERVED, ROWS, Row
from modelscope_ext.models.resolution import Match, Resolution
from modelscope_ext.utils.text import did_you_mean, listing

if TYPE_CHECKING:
    from pathlib import Path

    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.safety.grants import Grants

__all__ = ["Transformers"]


class Transformers(Backend):
    """Loads and runs Hugging Face transformers models."""

    name: ClassVar[str] = "transformers"
    frameworks: ClassVar[tuple[str, ...]] = ("pytorch",)
    requires: ClassVar[tuple[str, ...]] = ("transformers>=4.57.1", "torch>=2.10")
    install: ClassVar[str] = 'pip install "modelscope-ext[transformers]"'
    options: ClassVar[Mapping[str, str]] = {
        "attn_implementation": "'eager', 'sdpa', 'flash_attention_2', ...; transformers picks one by default",
        "quantization_config": "a quantisation config of transformers, to quantise while loading",
        "max_memory": "bytes per device for device_map, e.g. {0: '10GiB', 'cpu': '30GiB'}",
        "offload_folder": "where device_map puts what fits nowhere else",
        "tokenizer": "a loaded tokenizer to use instead of the folder's own",
        "processor": "a loaded processor of any kind to use instead of the folder's own",
        "num_labels": "how many labels a classifier has, where its weights have another number than config.json",
        "id2label": "names of a classifier's labels, e.g. {0: 'bad', 1: 'good'}, instead of config.json's",
        "supplied": "names of weights that are brought from elsewhere, e.g. by an adapter: not missed in the folder",
        "without_adapter": "True: load a model as if no adapter lay beside it",
    }
    call_options: ClassVar[Mapping[str, tuple[str, ...]]] = {task: row.options for task, row in ROWS.items()}
    tasks: ClassVar[tuple[str, ...]] = tuple(ROWS)
    exports: ClassVar[Mapping[str, tuple[str, ...]]] = {"onnx": TO_ONNX}

    def probe(self, evidence: Evidence) -> Match | None:
        """Claim what has a config.json with an architecture or model_type of transformers."""
        from modelscope_ext.models.decision.architectures import transformers_claim

        return transformers_claim(evidence)

    def files(self, resolution: Resolution, snapshot: Snapshot) -> tuple[str, ...]:
        """Return the metadata and weights of the default, and Python files only where a metadata file asks for code."""
        from modelscope_ext.models.backends._transformers.folder import DESCRIBING

        names = super().files(resolution, snapshot)
        described = (snapshot.document(name) for name in DESCRIBING if name in snapshot and snapshot.has_text(name))
        if any(isinstance(document, Mapping) and "auto_map" in document for document in described):
            return names
        return tuple(name for name in names if not name.endswith(".py"))

    def load(self, folder: Path, resolution: Resolution, grants: Grants, **options: Any) -> Loaded:
        """Load model, tokenizer and processors from `folder`, and nothing from anywhere else.

        Args:
            folder: The local folder; `subfolder` inside it where given.
            resolution: The decision; its first task picks the head unless `task` is given. For a task that is not
                served (`NOT_SERVED`) the architecture does, and the model is there as `native` only.
            grants: What the caller permits; code of the folder runs only where it is needed and permitted.
            **options: `task`, `device` (default: an accelerator, else the CPU), `device_map`, `dtype` (default: the
                checkpoint's), `variant`, `subfolder`, `allow_missing_weights`, and those of `options`.

        Raises:
            WeightsMismatch: Weights are missing, so that the model would be partly random, or left over.
            OptionError: No head for the task, no such device or dtype.
            NotAModel: No config.json, tokenizer or processor where the task needs one.
            MissingRequirement, BackendNotLoadable, SafetyError: As their names say.
        """
        from modelscope_ext.models.backends._transformers.code_guard import contained
        from modelscope_ext.models.backends._transformers.folder import Folder
        from modelscope_ext.models.backends._transformers.load import load_model
        from modelscope_ext.models.backends._transformers.parts import kind_of, load_part
        from modelscope_ext.models.backends._transformers.quiet import loading

        task = options.get("task") or resolution.default_task
        task = None if task in NOT_SERVED else task
        row = _row(task) if task else None
        where = Folder(folder / (options.get("subfolder") or ""), str(resolution.source), grants)
        parts: dict[str, Any] = {"folder": where, "task": task}
        kinds = row.parts if row else ()

        def load_parts() -> None:
            for name in ("tokenizer", "processor"):
                if options.get(name) is not None:
                    parts[kind_of(options[name]) or name] = options[name]
            for number, kind in enumerate(kinds):
                self.report(f"Loading {kind.replace('_', ' ')}", number, len(kinds) + 1)
                if not kind.endswith("?") and not _has(parts, kind):
                    part = load_part(where, kind)
                    parts[kind_of(part) or kind] = part
            self.report("Loading weights", len(kinds), len(kinds) + 1)

        with loading(), contained():
            # The parts come first: what they lack is said before gigabytes are read.
            model = load_model(where, resolution, task, options, before_weights=load_parts)
            if parts.get("decision_config") is not None and hasattr(model, "decision_config"):
                model.decision_config = parts["decision_config"]
            self.report("Loaded", len(kinds) + 1, len(kinds) + 1)
        return Loaded(model, parts, str(model.device))

    def predict(self, native: Any, task: str, inputs: Sequence[Any], **options: Any) -> Sequence[Any]:
        """Run `task` on `inputs`, one output per input.

        Args:
            native: What `load` or `wrap` returned, or a `PreTrainedModel`.
            task: A task of `tasks`.
            inputs: In the forms of `models/inputs.py`.
            **options: Those of `call_options[task]`; `batch_size` (default 1; a text model without any token to pad
                with runs one by one), and ``raw=True`` for the library's own outputs.

        Raises:
            OptionError: A missing or unusable option, or an input longer than the model takes.
            TemplateRefused: A chat template that reaches for more than text.
        """
        import torch

        from modelscope_ext.models.backends._transformers.quiet import quiet
        from modelscope_ext.models.backends._transformers.run import Session, kept, seeded, told

        raw, size, seed = options.pop("raw", False), options.pop("batch_size", None), options.pop("seed", None)
        session = Session(native if isinstance(native, Loaded) else self.wrap(native), task, size)
        runner = _runner(_row(task))
        with quiet(), torch.inference_mode(), told(session), kept(session, options), seeded(seed, session.device):
            natives, convert = runner(session, list(inputs), options)
            return natives if raw else [convert(out, item) for out, item in zip(natives, inputs, strict=True)]

    def stream(self, native: Any, task: str, item: Any, **options: Any) -> Iterator[str]:
        """Yield the text that text-generation makes for one input, piece by piece."""
        from modelscope_ext.models.backends._transformers.run import Session
        from modelscope_ext.models.backends._transformers.text import stream

        if task != "text-generation":
            raise OptionError(f"transformers streams text-generation only, not {task!r}; leave out stream=True")
        for name in ("raw", "batch_size"):
            options.pop(name, None)
        return stream(Session(native if isinstance(native, Loaded) else self.wrap(native), task), item, options)

    def count_tokens(self, native: Any, item: Any) -> int | None:
        """Return how many tokens the tokenizer makes of a text, or of a chat written out with its template."""
        from modelscope_ext.models.backends._transformers.quiet import quiet

        parts = native.parts if isinstance(native, Loaded) else {}
        tokenizer = parts.get("tokenizer") or getattr(parts.get("processor"), "tokenizer", None)
        if tokenizer is None or not isinstance(item, str | list):
            return None
        with quiet():
            if isinstance(item, str):
                return len(tokenizer(item)["input_ids"])
            text = tokenizer.apply_chat_template(item, add_generation_prompt=True, tokenize=False)
            return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    def adopt(self, native: Any, *, task: str | None = None, preprocessor: Any = None) -> Loaded | None:
        """Return what `load` would for a model that the caller made, or None for another library's object.

        Args:
            native: Anything.
            task: The caller's task; without it the tasks that the model's class serves are left in ``parts["tasks"]``.
            preprocessor: Its tokenizer or processor.
        """
        if not self.owns(native):
            return None
        from modelscope_ext.models.backends._transformers.load import tasks_of_class

        loaded = self.wrap(native, preprocessor=preprocessor)
        loaded.parts["tasks"] = (task,) if task else tasks_of_class(native)
        return loaded

    def owns(self, native: Any) -> bool:
        """Whether `native` is a model of transformers, and not another library's that builds on it; imports nothing.

        Example:
            >>> Transformers().owns("a string")
            False
        """
        return not type(native).__module__.startswith("modelscope.") and any(
            base.__name__ == "PreTrainedModel" and base.__module__.partition(".")[0] == "transformers"
            for base in type(native).__mro__
        )

    def wrap(self, native: Any, **parts: Any) -> Loaded:
        """Return a model that the caller made, with its tokenizer or processors, as `load` would have.

        Args:
            native: A `PreTrainedModel`.
            **parts: `tokenizer`, `processor`, `image_processor`, `feature_extractor`, or any of them as `preprocessor`.
        """
        from modelscope_ext.models.backends._transformers.parts import kind_of

        if not self.owns(native):
            raise OptionError(f"expected a transformers model, got {type(native).__name__}")
        known = {kind_of(part) or kind.replace("pre", ""): part for kind, part in parts.items() if part is not None}
        native.eval()
        return Loaded(native, known, str(native.device))

    def save(self, native: Any, folder: Path) -> None:
        """Write weights as safetensors, config.json, tokenizer and processors into `folder`.

        What the model's own folder has, but no call has needed yet, is written as well.
        """
        from modelscope_ext.models.backends._transformers.quiet import quiet

        loaded = native if isinstance(native, Loaded) else self.wrap(native)
        folder.mkdir(parents=True, exist_ok=True)
        with quiet():
            loaded.native.save_pretrained(str(folder), safe_serialization=True)
        self.save_parts(loaded, folder)

    def save_parts(self, loaded: Loaded, folder: Path) -> None:
        """Write tokenizer and processors into `folder`."""
        from modelscope_ext.models.backends._transformers.parts import parts_to_save
        from modelscope_ext.models.backends._transformers.quiet import quiet

        with quiet():
            for part in parts_to_save(loaded.parts):
                part.save_pretrained(str(folder))

    def cannot_export(self, task: str, to: str) -> str | None:
        """Return why a task is no single graph."""
        from modelscope_ext.models.backends._transformers.graphs import why_not

        return why_not(task)

    def export(self, native: Any, task: str, to: str, folder: Path, **options: Any) -> Exported:
        """Write the model as one ONNX graph that onnxruntime runs, with config, tokenizer and processors beside it."""
        from modelscope_ext.models.backends._transformers.export import export
        from modelscope_ext.models.backends._transformers.quiet import loading
        from modelscope_ext.models.backends._transformers.run import Session

        with loading():
            return export(Session(native if isinstance(native, Loaded) else self.wrap(native), task), folder, options)

    def close(self, native: Any) -> None:
        """Drop pipelines and parts, which refer to the model, and give cached device memory back."""
        if not isinstance(native, Loaded):
            return
        device, native.native = native.device, None
        native.parts.clear()
        if device != "cpu":
            import torch

            torch.accelerator.empty_cache()

    def code(self, resolution: Resolution) -> str:
        """Return the same in transformers' own words: a script that runs on its own and prints one answer."""
        from modelscope_ext.models.backends._transformers.code import snippet

        return snippet(resolution)


def _row(task: str) -> Row:
    if task in NOT_SERVED:
        raise OptionError(f"{task!r} is not served: {NOT_SERVED[task]}. The model itself is there as `native`.")
    if task not in ROWS:
        raise OptionError(
            f"transformers does not serve {task!r}.{did_you_mean(task, ROWS)} It serves: {listing(ROWS, 60)}"
        )
    return ROWS[task]


def _runner(row: Row) -> Any:
    module, _, name = row.run.partition(".")
    return getattr(import_module(f"modelscope_ext.models.backends._transformers.{module}"), name)


def _has(parts: Mapping[str, Any], kind: str) -> bool:
    return any(
        parts.get(one) is not None or getattr(parts.get("processor"), one, None) is not None for one in kind.split("|")
    )
