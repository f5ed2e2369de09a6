"""mindone: the folders of transformers and diffusers in MindSpore, from safetensors that PyTorch wrote.

Nothing in a folder tells that it is meant for mindone, so it is chosen by ``framework="mindspore"``,
``backend="mindone"``, a declaration, or the environment's preference. Two layouts: `_mindone.load` reads a config.json
with a model_type, `_mindone.pictures` a model_index.json. On a CPU, kernels that MindSpore lacks there are replaced
(`_mindspore.cpu`) before mindone is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backend import Backend, Loaded
from modelscope_ext.models.backends._mindone.tasks import NOT_SERVED, PIPELINES, ROWS
from modelscope_ext.models.backends._transformers.tasks import Row
from modelscope_ext.models.decision.pipeline_index import INDEX, PipelineIndex
from modelscope_ext.models.resolution import Match, Reason, Resolution
from modelscope_ext.utils.text import did_you_mean, listing, printable

if TYPE_CHECKING:
    from pathlib import Path

    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.safety.grants import Grants

__all__ = ["Mindone"]


class Mindone(Backend):
    """Loads and runs the models of transformers and diffusers with MindSpore."""

    name: ClassVar[str] = "mindone"
    frameworks: ClassVar[tuple[str, ...]] = ("mindspore",)
    requires: ClassVar[tuple[str, ...]] = ("mindone>=0.5,<0.6", "mindspore>=2.7,<2.8", "transformers>=4.57.1,<5")
    install: ClassVar[str] = 'pip install "modelscope-ext[mindspore]"'
    options: ClassVar[Mapping[str, str]] = {
        "tokenizer": "a loaded tokenizer to use instead of the folder's own",
        "processor": "a loaded processor of any kind to use instead of the folder's own",
    }
    call_options: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **{task: row.options for task, row in ROWS.items()},
        **{task: row.options for task, row in PIPELINES.items()},
    }
    tasks: ClassVar[tuple[str, ...]] = (*ROWS, *PIPELINES)
    runs_code: ClassVar[bool] = False

    def probe(self, evidence: Evidence) -> Match | None:
        """Claim what transformers or diffusers would, as a possibility: nothing in a folder speaks for mindone."""
        from modelscope_ext.models.decision.architectures import transformers_claim
        from modelscope_ext.models.decision.claims import twins
        from modelscope_ext.models.decision.recognised import recognise_one

        match = recognise_one("diffusers", evidence) or transformers_claim(evidence)
        found = () if match is None else twins([match])
        return next((twin for twin in found if twin.backend == self.name), None)

    def files(self, resolution: Resolution, snapshot: Snapshot) -> tuple[str, ...]:
        """Return the files of the components of a pipeline, or what transformers would read without its Python."""
        from modelscope_ext.models.backends._diffusers.folder import planned

        document = snapshot.document(INDEX) if INDEX in snapshot and snapshot.has_text(INDEX) else None
        index = PipelineIndex.of(document)
        if index is not None:
            return planned(frozenset(snapshot.names), index, resolution.weights.variant)
        return tuple(name for name in super().files(resolution, snapshot) if not name.endswith(".py"))

    def load(self, folder: Path, resolution: Resolution, grants: Grants, **options: Any) -> Loaded:
        """Load a model or a pipeline from `folder`, and nothing from anywhere else.

        Args:
            folder: The local folder.
            resolution: The decision.
            grants: What the caller permits; Python of the folder never runs.
            **options: `task`, `device` (default: an Ascend card, else the CPU), `dtype` (default: the checkpoint's;
                bfloat16 becomes float32 on a CPU), `variant`, `subfolder`, `allow_missing_weights`, and those of
                `options`.

        Raises:
            WeightsMismatch: Weights are missing, left over or of another shape.
            BackendNotLoadable: mindone lacks the architecture or a component, or the weights are quantised.
            PickleRefused: Weights that are not safetensors.
            OptionError: No head for the task, no such device or dtype.
            NotAModel, SafetyError: As their names say.
        """
        from modelscope_ext.models.backends._mindspore.device import start
        from modelscope_ext.models.backends._mindspore.quiet import loading

        if options.get("device_map") is not None:
            raise OptionError("device_map: MindSpore runs a model on one device; pass device='cpu' or 'npu:0'")
        with loading():
            device = start(options.get("device"))
            where = folder / (options.get("subfolder") or "")
            if (where / INDEX).is_file() or _is_component(where):
                loaded = self._load_pictures(where, resolution, grants, options, device)
            else:
                loaded = self._load_model(where, resolution, grants, options, device)
        return loaded

    def _load_pictures(
        self, folder: Path, resolution: Resolution, grants: Grants, options: Mapping[str, Any], device: str
    ) -> Loaded:
        from modelscope_ext.models.backends._diffusers.folder import Place
        from modelscope_ext.models.backends._mindone.pictures import load_pictures

        for name in self.options:
            if options.get(name) is not None:
                raise OptionError(f"{name}: a pipeline takes its components from its folder; leave it out")
        place = Place(folder, str(resolution.source), grants, options.get("variant"))
        pipe, why = load_pictures(place, resolution, options, device, self.report)
        index = PipelineIndex.of(place.document(INDEX))
        assert index is not None
        return Loaded(pipe, {"kind": index.kind}, device, because=_reasons(why))

    def _load_model(
        self, folder: Path, resolution: Resolution, grants: Grants, options: Mapping[str, Any], device: str
    ) -> Loaded:
        from modelscope_ext.models.backends._mindone.load import load_model
        from modelscope_ext.models.backends._transformers.folder import Folder
        from modelscope_ext.models.backends._transformers.parts import kind_of, load_part

        task = options.get("task") or resolution.default_task
        row = ROWS.get(str(task))  # a model for another task is there as `native` only
        where = Folder(folder, str(resolution.source), grants)
        parts: dict[str, Any] = {"folder": where, "task": task}
        kinds = row.parts if row else ()

        def load_parts() -> None:
            for name in ("tokenizer", "processor"):
                if options.get(name) is not None:
                    parts[kind_of(options[name]) or name] = options[name]
            for number, kind in enumerate(kinds):
                self.report(f"Loading {kind.replace('_', ' ')}", number, len(kinds) + 1)
                if parts.get(kind) is None and getattr(parts.get("processor"), kind, None) is None:
                    part = load_part(where, kind)
                    parts[kind_of(part) or kind] = part
            self.report("Loading weights", len(kinds), len(kinds) + 1)

        model, why = load_model(where, resolution, task if row else None, options, device, load_parts)
        self.report("Loaded", len(kinds) + 1, len(kinds) + 1)
        return Loaded(model, parts, device, because=_reasons(why))

    def check_task(self, native: Any, task: str | None) -> None:
        """Refuse a task that is not served, or that a pipeline's components cannot run."""
        if task is None:
            return
        if _is_pipeline(native.native):
            from modelscope_ext.models.backends._mindone.pictures import related

            related(native, task)
        else:
            _row(task)

    def predict(self, native: Any, task: str, inputs: Sequence[Any], **options: Any) -> Sequence[Any]:
        """Run `task` on `inputs`, one output per input.

        Args:
            native: What `load` or `adopt` returned.
            task: A task of `tasks`.
            inputs: In the forms of `models/inputs.py`; for unconditional-image-generation the seed of each image.
            **options: Those of `call_options[task]`; `batch_size` (default 1), and ``raw=True`` for mindone's own.

        Raises:
            OptionError: A missing or unusable option, or an input longer than the model takes.
            TemplateRefused: A chat template that reaches for more than text.
        """
        from modelscope_ext.models.backends._mindspore.quiet import quiet

        raw, size, seed = options.pop("raw", False), options.pop("batch_size", None), options.pop("seed", None)
        with quiet():
            if _is_pipeline(native.native):
                return self._pictures(native, task, inputs, options, size or 1, seed, raw=raw)
            return self._answers(native, task, inputs, options, size, seed, raw=raw)

    def _answers(
        self,
        native: Loaded,
        task: str,
        inputs: Sequence[Any],
        options: dict[str, Any],
        size: int | None,
        seed: int | None,
        *,
        raw: bool,
    ) -> Sequence[Any]:
        from modelscope_ext.models.backends._mindone.run import MindSession, seeded
        from modelscope_ext.models.backends._transformers.run import told

        row = _row(task)
        session = MindSession(native, task, size)
        with told(session), seeded(seed):
            natives, convert = _runner(row.run)(session, list(inputs), options)
            return natives if raw else [convert(out, item) for out, item in zip(natives, inputs, strict=True)]

    def _pictures(
        self,
        native: Loaded,
        task: str,
        inputs: Sequence[Any],
        options: Mapping[str, Any],
        size: int,
        seed: int | None,
        *,
        raw: bool,
    ) -> Sequence[Any]:
        from modelscope_ext.models.backends._diffusers.run import Call, run
        from modelscope_ext.models.backends._mindone.chance import MindChance
        from modelscope_ext.models.backends._mindone.pictures import related

        pipe = related(native, task)
        pipe.set_progress_bar_config(disable=True)
        said = {name: value for name, value in options.items() if value is not None}
        return run(Call(pipe, task, said, seed, MindChance()), inputs, size, raw=raw)

    def adopt(self, native: Any, *, task: str | None = None, preprocessor: Any = None) -> Loaded | None:
        """Take a model or pipeline of mindone that the caller made."""
        bases = {one.__name__ for one in type(native).__mro__ if one.__module__.partition(".")[0] == "mindone"}
        if "DiffusionPipeline" in bases:
            from modelscope_ext.models.backends._mindone.pictures import served

            return Loaded(native, {"tasks": (task,) if task else served(native)})
        if not bases & {"PreTrainedModel", "MSPreTrainedModel"}:
            return None
        from modelscope_ext.models.backends._transformers.parts import kind_of

        parts: dict[str, Any] = {"tasks": (task,) if task else _tasks_of(native)}
        if preprocessor is not None:
            parts[kind_of(preprocessor) or "processor"] = preprocessor
        return Loaded(native.set_train(False), parts)

    def save(self, native: Any, folder: Path) -> None:
        """Write weights as safetensors, and what belongs to them, into `folder`."""
        from modelscope_ext.models.backends._mindspore.quiet import quiet
        from modelscope_ext.models.backends._transformers.parts import parts_to_save

        with quiet():
            native.native.save_pretrained(str(folder), safe_serialization=True)
            if not _is_pipeline(native.native):
                for part in parts_to_save(native.parts):
                    part.save_pretrained(str(folder))

    def close(self, native: Any) -> None:
        """Drop pipelines and parts, which refer to the model."""
        native.native = None
        native.parts.clear()

    def code(self, resolution: Resolution) -> str:
        """Return the same in mindone's own words: a script that runs on its own and prints one answer."""
        from modelscope_ext.models.backends._mindone.code import snippet

        return snippet(resolution)


def _reasons(why: str) -> dict[str, tuple[Reason, ...]]:
    return {"dtype": (Reason("(weights)", "dtype", "bfloat16", why),)} if why else {}


def _is_pipeline(native: Any) -> bool:
    return any(one.__name__ == "DiffusionPipeline" for one in type(native).__mro__)


def _is_component(folder: Path) -> bool:
    """Whether the folder's config.json is that of one component, which has a class name and no model_type."""
    file = folder / "config.json"
    return file.is_file() and b'"_class_name"' in file.read_bytes()[: 1 << 20]


def _row(task: Any) -> Row:
    if task in NOT_SERVED:
        raise OptionError(f"{task!r} is not served by mindone: {NOT_SERVED[task]}. The model itself is `native`.")
    if task not in ROWS:
        raise OptionError(
            f"mindone does not serve {printable(task)!r} here.{did_you_mean(task, ROWS)} It serves:"
            f" {listing(ROWS, 60)}. framework='pytorch' may."
        )
    return ROWS[task]


def _runner(path: str) -> Any:
    package, module, name = path.split(".")
    return getattr(import_module(f"modelscope_ext.models.backends.{package}.{module}"), name)


def _tasks_of(native: Any) -> tuple[str, ...]:
    """Return the tasks whose heads a model's class is."""
    from mindone.transformers.models.auto import modeling_auto

    name = type(native).__name__
    found = []
    for task, row in ROWS.items():
        for auto in row.autos:
            names = getattr(modeling_auto, auto)._model_mapping._model_mapping.values()
            if any(name == one or (isinstance(one, tuple | list) and name in one) for one in names):
                found.append(task)
    return tuple(dict.fromkeys(found))
