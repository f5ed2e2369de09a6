"""ModelScope's own models: a configuration.json whose `model.type` and `pipeline.type` stand in ModelScope's index.

The real `modelscope` package builds and runs them; `_modelscope` holds what keeps it to the folder it is given: a
staged copy of exactly the files that passed the gates (`stage`), a process that is quiet, offline and left as found
(`contain`), the check of the weights (`weights`), and how each task's inputs and answers are written (`tasks`). What a
type needs installed is a table made from ModelScope's source (`decision/native`), so that it is known before anything
is imported. Types that build on transformers need its line 4.57.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from modelscope_ext.errors import (
    BackendNotLoadable,
    ConfigError,
    MissingRequirement,
    ModelNotFound,
    ModelScopeExtError,
    NotAModel,
    OptionError,
    RedirectRefused,
    RemoteCodeFailed,
)
from modelscope_ext.models.backend import Backend, Loaded
from modelscope_ext.models.backends._modelscope.tasks import ROWS, serves
from modelscope_ext.models.decision.native import NativeType, modelscope_claim, native_type
from modelscope_ext.models.resolution import Match, Resolution
from modelscope_ext.utils.text import did_you_mean, listing, printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.safety.grants import Grants

__all__ = ["ModelScope"]

#: Tasks whose pipelines take the option `sequence_length`.
_CUT = ("fill-mask", "text-classification", "token-classification")
#: Pipelines that wrap a diffusers pipeline, and must be told the format of its weights.
_DIFFUSION = ("diffusers-stable-diffusion",)


class ModelScope(Backend):
    """Loads and runs the types of ModelScope's own index."""

    name: ClassVar[str] = "modelscope"
    frameworks: ClassVar[tuple[str, ...]] = ("pytorch",)
    requires: ClassVar[tuple[str, ...]] = (
        "modelscope>=1.38", "torch>=2.10", "addict", "datasets", "numpy", "pillow", "simplejson", "sortedcontainers",
    )  # fmt: skip
    install: ClassVar[str] = 'pip install "modelscope-ext[modelscope]"'
    options: ClassVar[Mapping[str, str]] = {
        "sequence_length": "tokens to which texts are cut and filled up (ModelScope: 128 for fill-mask, else 512)",
    }
    call_options: ClassVar[Mapping[str, tuple[str, ...]]] = {task: row.options for task, row in ROWS.items()}
    tasks: ClassVar[tuple[str, ...]] = serves()

    def probe(self, evidence: Evidence) -> Match | None:
        """Claim a `model.type` or `pipeline.type` in configuration.json."""
        return modelscope_claim(evidence)

    def files(self, resolution: Resolution, snapshot: Snapshot) -> tuple[str, ...]:
        """Return the metadata of all folders, the weights, and Python only where the model asks for it to be run."""
        from modelscope_ext.models.gate.code import code_files
        from modelscope_ext.models.plan import default_files

        names = {name for name in default_files(resolution, snapshot) if not name.endswith(".py")}
        if _document(snapshot).get("allow_remote") is True:
            code = [name for name in snapshot.names if name.endswith(".py")]
            first = [name for name in code if "/" not in name]
            # What it imports is in its text, which a hub's listing does not have.
            names.update(code_files(snapshot, first) if all(map(snapshot.has_text, first)) else code)
        return tuple(name for name in snapshot.names if name in names)

    def load(self, folder: Path, resolution: Resolution, grants: Grants, **options: Any) -> Loaded:
        """Return ModelScope's model, with its pipeline among the parts.

        Args:
            folder: The local folder.
            resolution: The decision.
            grants: What the caller permits; the model's code runs only where it asks (`allow_remote`) and he agrees.
            **options: `task`, `device`, `cfg_dict`, `allow_missing_weights`, and those of `options`. ModelScope decides
                itself in which dtype a model is, and where its parts go.

        Raises:
            WeightsMismatch: Weights are missing, so that the model would be partly random, or do not fit.
            ConfigError: configuration.json names no pipeline, or one that is not for the task.
            RedirectRefused: It names something outside the folder, or the class asks a hub for more.
            OptionError, MissingRequirement, BackendNotLoadable, NotAModel, SafetyError: As their names say.
        """
        from modelscope_ext.metadata.snapshot import Snapshot
        from modelscope_ext.models.backends._modelscope.stage import Stage, refuse_redirects
        from modelscope_ext.models.backends._transformers.load import pick_device

        if not folder.is_dir():
            raise ModelNotFound(f"{printable(str(folder))}: no such folder; ModelScope would look for it on its hub")
        source = str(resolution.source)
        snapshot = Snapshot.from_folder(folder, limits=grants.limits)
        configuration = dict(options.get("cfg_dict") or _document(snapshot))
        task = options.get("task") or resolution.default_task
        native = _types(configuration, task, source)
        arguments = _arguments(native, task, resolution, options)
        refuse_redirects(configuration, source)
        trusted = grants.may_run_code and configuration.get("allow_remote") is True
        names = [n for n in self.files(resolution, snapshot) if trusted or not n.endswith(".py")]
        configuration |= {"framework": resolution.framework or "pytorch", "task": native.task or task}
        device = str(pick_device(options.get("device")))
        stage = Stage.of(folder, names, configuration, trusted=trusted)
        try:
            pipe = self._built(stage, native, resolution, grants, device, arguments, trusted, options)
        except BaseException:
            stage.close()
            raise
        parts = {"pipeline": pipe, "stage": stage, "weights": resolution.weights.files}
        return Loaded(_inner(pipe), parts, device)

    def _built(
        self,
        stage: Any,
        native: NativeType,
        resolution: Resolution,
        grants: Grants,
        device: str,
        arguments: Mapping[str, Any],
        trusted: bool,
        options: Mapping[str, Any],
    ) -> Any:
        from modelscope_ext.models.backends._modelscope.contain import loading
        from modelscope_ext.models.backends._modelscope.library import build, check_vocabulary
        from modelscope_ext.models.backends._modelscope.weights import check_arrivals, watched

        source, code = str(resolution.source), stage.code if trusted else None
        allowed = bool(options.get("allow_missing_weights"))
        self.report("Loading weights", 0, 1)
        with loading(pickles=grants.allow_pickle == "full", code=code) as asked:
            try:
                with watched() as seen:
                    pipe = build(stage.folder, native, device=device, trusted=trusted, arguments=arguments)
                check_arrivals(seen, _inner(pipe), source, allowed=allowed)
                check_vocabulary(pipe, source)
                if getattr(pipe, "framework", None):
                    pipe.prepare_model()  # on its device now, not at the first call
            except ModelScopeExtError as error:
                if asked.hosts:
                    raise _redirect(asked.hosts, native, source) from error
                raise
            except Exception as error:
                if asked.hosts:
                    raise _redirect(asked.hosts, native, source) from error
                raise _translated(error, native, source, trusted=trusted) from error
        self.report("Loaded", 1, 1)
        return pipe

    def adopt(self, native: Any, *, task: str | None = None, preprocessor: Any = None) -> Loaded | None:
        """Take a pipeline or a model of ModelScope that the caller made; a model needs its folder to be there still."""
        kinds = {base.__name__ for base in type(native).__mro__ if base.__module__.startswith("modelscope.")}
        if not kinds & {"Pipeline", "Model"}:
            return None
        from modelscope_ext.models.tasks import canonical

        own = canonical(str(getattr(native, "group_key", None) or "")) if task is None else task
        pipe = native if "Pipeline" in kinds else _pipeline_of(native, own, preprocessor)
        return Loaded(_inner(pipe), {"pipeline": pipe, "tasks": (own,) if own else ()}, str(pipe.device_name))

    def predict(self, native: Any, task: str, inputs: Sequence[Any], **options: Any) -> Sequence[Any]:
        """Run `task` on each input, one after the other, as ModelScope does itself.

        Args:
            native: What `load` or `adopt` returned.
            task: A canonical task.
            inputs: In the forms of `models/inputs.py`.
            **options: Those of `call_options[task]`, and ``raw=True`` for ModelScope's own answers.
        """
        from modelscope_ext.models.backends._modelscope.contain import offline, running
        from modelscope_ext.models.backends._modelscope.tasks import answer

        raw = bool(options.pop("raw", False))
        options.pop("batch_size", None)
        pipe = native.parts["pipeline"]
        with running(), offline():
            return [answer(pipe, task, item, options, raw=raw) for item in inputs]

    def save(self, native: Any, folder: Path) -> None:
        """Write the files it was loaded from, with the weights the model has now."""
        from modelscope_ext.models.backends._modelscope.save import save

        save(native, folder)

    def close(self, native: Any) -> None:
        """Drop the pipeline, give cached device memory back and remove the staged folder."""
        if not isinstance(native, Loaded):
            return
        stage, device = native.parts.get("stage"), native.device
        native.native = None
        native.parts.clear()
        if stage is not None:
            stage.close()
        if device != "cpu":
            import torch

            torch.accelerator.empty_cache()

    def code(self, resolution: Resolution) -> str:
        """Return the same in ModelScope's own words."""
        from modelscope_ext.models.backends._modelscope.code import snippet

        return snippet(resolution)


def _document(snapshot: Snapshot) -> Mapping[str, Any]:
    """Return the folder's configuration.json, or nothing where it has none."""
    document = snapshot.document("configuration.json") if "configuration.json" in snapshot else {}
    return document if isinstance(document, Mapping) else {}


def _types(configuration: Mapping[str, Any], task: str | None, source: str) -> NativeType:
    """Return the types that configuration.json names for the task; for the model's own code, as they stand there."""
    named = {key: _type(configuration, key) for key in ("model", "pipeline")}
    if not any(named.values()):
        raise NotAModel(
            f"{printable(source)}: configuration.json: neither model.type nor pipeline.type is there, and ModelScope"
            " loads nothing else. Add them, or leave out backend='modelscope'."
        )
    said = configuration.get("task")
    from modelscope_ext.models.tasks import canonical

    same = isinstance(said, str) and (task is None or canonical(said) == canonical(task))
    native = native_type(named["model"], named["pipeline"], str(said) if same else task)
    if configuration.get("allow_remote") is True and native.task is None:
        return NativeType(named["model"], named["pipeline"], str(said) if same else task)
    if native.task is None and native.tasks:
        raise OptionError(
            f"{printable(source)}: ModelScope has no {printable(named['model'] or named['pipeline'])!r} for"
            f" {printable(task)!r}.{did_you_mean(task or '', native.tasks)} It has it for: {listing(native.tasks)}."
        )
    if native.task is None:
        raise BackendNotLoadable(
            f"{printable(source)}: configuration.json: {listing(printable(v) for v in named.values() if v)} is not in"
            ' the index of ModelScope. A model with code of its own says "allow_remote": true there, and that code runs'
            " with trust_remote_code=True only."
        )
    if native.pipeline is None:
        raise ConfigError(
            f"{printable(source)}: configuration.json: pipeline.type is {printable(repr(named['pipeline']))}; for"
            f" {native.task} ModelScope has {listing(native.pipelines)}. Write one of them there, or pass cfg_dict=."
        )
    return native


def _type(configuration: Mapping[str, Any], key: str) -> str | None:
    section = configuration.get(key)
    value = section.get("type") if isinstance(section, Mapping) else None
    return value if isinstance(value, str) and value else None


def _arguments(
    native: NativeType, task: str | None, resolution: Resolution, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of the pipeline's class; refuse what no class of ModelScope takes."""
    for name in ("device_map", "dtype", "variant"):
        if options.get(name) is not None and (name, options[name]) != ("dtype", "auto"):
            raise OptionError(f"{name}={printable(options[name])}: ModelScope's own types do not take it; leave it out")
    length = options.get("sequence_length")
    found: dict[str, Any] = {}
    if length is not None:
        if type(length) is not int or length < 1:
            raise OptionError(f"sequence_length={printable(length)}: expected a whole number of at least 1")
        if task not in _CUT:
            raise OptionError(f"sequence_length: {task!r} has none; it is for {listing(_CUT)}")
        found["sequence_length"] = length
    if native.pipeline in _DIFFUSION:
        found["use_safetensors"] = resolution.weights.format == "safetensors"
    return found


def _inner(pipe: Any) -> Any:
    """Return the model inside ModelScope's pipeline: its own, the library's that it wraps, or the pipeline itself."""
    model = getattr(pipe, "model", None)
    if model is not None and not isinstance(model, str):
        return model
    return getattr(pipe, "pipeline", pipe)


def _pipeline_of(model: Any, task: str | None, preprocessor: Any) -> Any:
    from modelscope.pipelines import pipeline

    from modelscope_ext.models.backends._modelscope.contain import loading

    folder = Path(str(getattr(model, "model_dir", "")))
    if not (folder / "configuration.json").is_file():
        raise OptionError(
            f"{type(model).__name__}: its folder {printable(str(folder))} has no configuration.json, from which"
            " ModelScope takes the rest; pass a modelscope pipeline instead"
        )
    from modelscope_ext.safety.reading import parse_json, read_inside

    configuration = parse_json(read_inside(folder, "configuration.json"), file="configuration.json")
    native = _types(configuration if isinstance(configuration, Mapping) else {}, task, str(folder))
    from modelscope_ext.models.backends._modelscope.library import preprocessor_of

    with loading(pickles=False):
        made = preprocessor if preprocessor is not None else preprocessor_of(folder, native)
        return pipeline(
            native.task, model=model, pipeline_name=native.pipeline, preprocessor=made, device="cpu",
            trust_remote_code=False,
        )  # fmt: skip


def _redirect(hosts: Sequence[str], native: NativeType, source: str) -> RedirectRefused:
    return RedirectRefused(
        f"{printable(source)}: ModelScope's {native.model or native.pipeline} asks"
        f" {listing(map(printable, hosts), 3)} for more than the folder holds. No connection was made. Copy what it"
        " needs into the folder.",
        source=source,
        file="configuration.json",
        field="model.type",
    )


def _translated(error: Exception, native: NativeType, source: str, *, trusted: bool) -> Exception:
    """Return our error for one of ModelScope's, whose type it changes on the way and whose message it prefixes."""
    from modelscope_ext.errors import MalformedMetadata
    from modelscope_ext.models.backends._modelscope.weights import mismatch_of

    chain, seen = [error], error.__cause__ or error.__context__
    while isinstance(seen, Exception) and len(chain) < 16:
        chain.append(seen)
        seen = seen.__cause__ or seen.__context__
    name, detail = printable(source), printable(" ".join(str(error).split()), 400)
    kind = native.model or native.pipeline
    mismatch = mismatch_of(error, source)
    if mismatch is not None:
        return mismatch
    absent = next((one for one in chain if isinstance(one, ImportError)), None)
    if absent is not None:
        package = getattr(absent, "name", None)
        advice = f" pip install {package}" if package else ""
        return MissingRequirement(f"{name}: ModelScope's {native.pipeline} needs a further package: {detail}{advice}")
    if trusted:
        return RemoteCodeFailed(
            f"{name}: loaded with its own code, which you permitted, it failed ({type(error).__name__}: {detail})."
            " What it had registered was taken back.",
            source=source,
        )
    lost = next((one for one in chain if isinstance(one, FileNotFoundError)), None)
    if lost is not None or "no file named" in detail.lower():
        return NotAModel(
            f"{name}: ModelScope's {native.model or native.pipeline} misses a file of the folder: {detail}"
        )
    return MalformedMetadata(
        f"{name}: ModelScope cannot build {kind} from it ({type(error).__name__}: {detail})",
        source=source,
        file="configuration.json",
    )
