"""diffusers: images, videos and sounds, from the components that `model_index.json` names.

Loading takes one component after the other, each out of a closed table of classes and with all its weights; the
pipeline's class, or for a related task the one that diffusers' own mapping names, joins them. A folder that is a single
component loads as that. All components have one dtype: the caller's, else that of most weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backend import Backend, Loaded
from modelscope_ext.models.backends._diffusers.tasks import ROWS
from modelscope_ext.models.decision.pipeline_index import INDEX, PipelineIndex
from modelscope_ext.models.resolution import BaseReference, Match, Resolution

if TYPE_CHECKING:
    from pathlib import Path

    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.safety.grants import Grants

__all__ = ["Diffusers"]


class Diffusers(Backend):
    """Loads and runs pipelines of Hugging Face diffusers, and their components."""

    name: ClassVar[str] = "diffusers"
    frameworks: ClassVar[tuple[str, ...]] = ("pytorch",)
    requires: ClassVar[tuple[str, ...]] = ("diffusers>=0.38", "transformers>=5.3", "torch>=2.10", "accelerate>=1.0")
    install: ClassVar[str] = 'pip install "modelscope-ext[diffusers]"'
    options: ClassVar[Mapping[str, str]] = {
        "scheduler": "another scheduler made of the settings of the folder's own, e.g. 'DDIMScheduler'",
        "lora_scale": "how strongly low-rank weights (LoRA) change their base, 1.0 by default",
    }
    call_options: ClassVar[Mapping[str, tuple[str, ...]]] = {task: row.options for task, row in ROWS.items()}
    tasks: ClassVar[tuple[str, ...]] = tuple(ROWS)

    def probe(self, evidence: Evidence) -> Match | None:
        """Claim pipelines (`model_index.json`), components (`config.json` with `_class_name`) and LoRA files."""
        from modelscope_ext.models.decision.recognised import recognise_one

        return recognise_one("diffusers", evidence)

    def base(self, evidence: Evidence) -> BaseReference | None:
        """Return what a folder of low-rank weights alone calls its base: in its card, or in the weights' metadata."""
        from modelscope_ext.models.backends._diffusers.lora import reference

        return reference(evidence)

    def files(self, resolution: Resolution, snapshot: Snapshot) -> tuple[str, ...]:
        """Return the files of the components that the index names, one variant of each, and nothing else."""
        from modelscope_ext.models.backends._diffusers.folder import planned
        from modelscope_ext.models.backends._diffusers.lora import lora_file

        lora = lora_file(frozenset(snapshot.names))
        if lora is not None:
            return (lora,)
        document = snapshot.document(INDEX) if INDEX in snapshot and snapshot.has_text(INDEX) else None
        index = PipelineIndex.of(document)
        return planned(frozenset(snapshot.names), index, resolution.weights.variant)

    def load(self, folder: Path, resolution: Resolution, grants: Grants, **options: Any) -> Loaded:
        """Load a pipeline or a component from `folder`, and nothing from anywhere else.

        Args:
            folder: The local folder.
            resolution: The decision.
            grants: What the caller permits; a pipeline's own code runs only where permitted.
            **options: `task`, `device` (default: an accelerator, else the CPU), `device_map`, `dtype` (default: that of
                most weights), `variant`, `allow_missing_weights`, and those of `options`.

        Raises:
            WeightsMismatch: A component's weights are missing, left over or of another shape.
            BackendNotLoadable: A modular pipeline, or a class that the installed release lacks.
            OptionError: No such device, dtype or scheduler.
            NotAModel, MissingRequirement, SafetyError: As their names say.
        """
        from modelscope_ext.models.backends._diffusers.folder import Place
        from modelscope_ext.models.backends._diffusers.load import load_native
        from modelscope_ext.models.backends._diffusers.lora import lora_file
        from modelscope_ext.models.backends._diffusers.placing import SPREAD, put
        from modelscope_ext.models.backends._diffusers.quiet import loading
        from modelscope_ext.models.backends._transformers.code_guard import contained
        from modelscope_ext.models.backends._transformers.load import pick_device

        place = Place(folder, str(resolution.source), grants, options.get("variant"))
        if (lora := lora_file(place.names)) is not None:
            return self._load_lora(place, lora, resolution, options)
        if options.get("lora_scale") is not None:
            raise OptionError(f"lora_scale: {place.name} holds no low-rank weights alone; leave it out")
        spread = options.get("device_map")
        with loading(), contained():
            device = pick_device(spread if isinstance(spread, str) and spread not in SPREAD else options.get("device"))
            native = load_native(place, resolution, options, self.report)
            put(native, device, spread)
        index = PipelineIndex.of(place.document(INDEX))
        parts = {} if index is None else {"kind": index.kind, "own": index.module is not None}
        return Loaded(native, parts, str(device))

    def _load_lora(self, place: Any, file: str, resolution: Resolution, options: Mapping[str, Any]) -> Loaded:
        """Open the base as a source of its own and apply the low-rank weights to it."""
        from modelscope_ext.models.backends._diffusers.lora import active, apply, check_installed, remove
        from modelscope_ext.models.backends._diffusers.quiet import loading
        from modelscope_ext.models.base_source import is_loaded, load_base

        check_installed(place)
        lent = is_loaded(options.get("base_model"))
        further = {} if options.get("scheduler") is None else {"scheduler": options["scheduler"]}
        self.report("Loading the base", 0, 2)
        further |= {"backend": Diffusers.name}  # also for a library that goes on from what this one loads
        base = load_base(self, place.path, resolution, place.grants, options, task=resolution.default_task, **further)
        before = active(base.native) if lent else ()
        try:
            self.report("Applying the adapter", 1, 2)
            with loading():
                strict = not options.get("allow_missing_weights")
                apply(place, base.native, file, options.get("lora_scale"), strict=strict)
        except BaseException:
            if lent:
                remove(base.native, before)
            else:
                base.close()
            raise
        self.report("Loaded", 2, 2)
        parts = {
            "kind": base.parts.get("kind"),
            "lora": (place.path, file, _named(base)),
            "base": base,
            "lent": lent,
            "before": before,
        }
        return Loaded(base.native, {k: v for k, v in parts.items() if v is not None}, base.device)

    def check_task(self, native: Any, task: str | None) -> None:
        """Refuse a task that the pipeline's class does not serve, and any task of a single component."""
        from modelscope_ext.models.backends._diffusers.load import check_task

        check_task(native, task)

    def predict(self, native: Any, task: str, inputs: Sequence[Any], **options: Any) -> Sequence[Any]:
        """Run `task` on `inputs`, one output per input.

        Args:
            native: What `load` or `adopt` returned.
            task: A task of `tasks`.
            inputs: In the forms of `models/inputs.py`; for unconditional-image-generation the seed of each image.
            **options: Those of `call_options[task]`; `batch_size` (default 1), and ``raw=True`` for the library's own
                outputs.

        Raises:
            OptionError: A task, option or field that the pipeline does not take, or a field that it lacks.
        """
        import torch

        from modelscope_ext.models.backends._diffusers.load import related
        from modelscope_ext.models.backends._diffusers.quiet import quiet, shows_bars
        from modelscope_ext.models.backends._diffusers.run import Call, run

        raw, size, seed = options.pop("raw", False), options.pop("batch_size", None) or 1, options.pop("seed", None)
        said = {name: value for name, value in options.items() if value is not None}
        with quiet(), torch.inference_mode():
            pipe = related(native, task)
            pipe.set_progress_bar_config(disable=not shows_bars())
            return run(Call(pipe, task, said, seed), inputs, size, raw=raw)

    def adopt(self, native: Any, *, task: str | None = None, preprocessor: Any = None) -> Loaded | None:
        """Take a DiffusionPipeline that the caller made."""
        bases = {b.__name__ for b in type(native).__mro__ if b.__module__.partition(".")[0] == "diffusers"}
        if "DiffusionPipeline" not in bases:
            return None
        from modelscope_ext.models.backends._diffusers.load import tasks_of

        return Loaded(native, {"tasks": (task,) if task else tasks_of(native)}, str(native.device))

    def save(self, native: Any, folder: Path) -> None:
        """Write the pipeline's components as safetensors and its index into `folder`; of an adapter, its weights."""
        from modelscope_ext.models.backends._diffusers.quiet import quiet

        if "lora" in native.parts:
            from modelscope_ext.models.backends._diffusers.lora import save

            save(folder, *native.parts["lora"])
            return
        with quiet():
            native.native.save_pretrained(str(folder), safe_serialization=True)

    def close(self, native: Any) -> None:
        """Drop the pipelines and give cached device memory back."""
        base = native.parts.get("base")
        if base is not None and native.parts["lent"]:
            from modelscope_ext.models.backends._diffusers.lora import remove

            remove(native.native, native.parts["before"])  # the caller's own pipeline, as it was
        elif base is not None:
            base.close()
        device, native.native = native.device, None
        native.parts.clear()
        if device != "cpu":
            import torch

            torch.accelerator.empty_cache()

    def code(self, resolution: Resolution) -> str:
        """Return the same in diffusers' own words: a script that runs on its own and prints one answer."""
        from modelscope_ext.models.backends._diffusers.code import snippet

        return snippet(resolution)


def _named(base: Any) -> str:
    """Return how the base was named."""
    return str(base.resolution.source)
