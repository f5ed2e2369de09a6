"""mindformers: language models in MindSpore, from a yaml or config.json of its own and ``.ckpt`` files.

Llama's class is served, which in mindformers is Llama's and Qwen2's alike (docs/decisions.md); ``modelscope-ext convert
--to mindformers`` makes such folders of transformers' models. Weights keep the dtype of the checkpoint, whatever the
yaml leaves out. On a CPU the kernels that MindSpore lacks there are replaced, and so are settings that ask for others;
both are said in `explain()`. Text is generated greedily unless the model's generation_config.json, its own settings or
the caller say otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backend import Backend, Loaded
from modelscope_ext.models.backends._mindformers.run import CALL_OPTIONS
from modelscope_ext.models.backends._mindformers.tables import ARCHITECTURES
from modelscope_ext.models.resolution import Match, Resolution
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.safety.grants import Grants

__all__ = ["MindFormers"]

_TASK = "text-generation"


class MindFormers(Backend):
    """Loads and runs Llama models of mindformers."""

    name: ClassVar[str] = "mindformers"
    frameworks: ClassVar[tuple[str, ...]] = ("mindspore",)
    requires: ClassVar[tuple[str, ...]] = ("mindformers>=1.8,<2", "mindspore>=2.7")
    install: ClassVar[str] = 'pip install "modelscope-ext[mindspore]"'
    options: ClassVar[Mapping[str, str]] = {
        "yaml": "which of several yaml files describes the model, e.g. 'predict_llama.yaml'",
        "seq_length": "tokens of prompt and answer that room is made for, instead of what the file says",
        "tokenizer": "a loaded tokenizer of mindformers to use instead of the folder's own",
    }
    call_options: ClassVar[Mapping[str, tuple[str, ...]]] = {_TASK: CALL_OPTIONS}
    tasks: ClassVar[tuple[str, ...]] = (_TASK,)

    def probe(self, evidence: Evidence) -> Match | None:
        """Claim folders in mindformers' own layouts."""
        from modelscope_ext.models.decision.recognised import recognise_one

        return recognise_one(self.name, evidence)

    def files(self, resolution: Resolution, snapshot: Snapshot) -> tuple[str, ...]:
        """Return the metadata, and the checkpoint of each file that describes a model."""
        from modelscope_ext.models.backends._mindformers.files import planned

        beside = super().files(resolution, snapshot)
        weights = set(resolution.weights.files)
        wanted = {*planned(snapshot), *(name for name in beside if name not in weights and not name.endswith(".py"))}
        return tuple(name for name in snapshot.names if name in wanted)

    def load(self, folder: Path, resolution: Resolution, grants: Grants, **options: Any) -> Loaded:
        """Load network and tokenizer from `folder`, and nothing from anywhere else.

        Args:
            folder: The local folder.
            resolution: The decision.
            grants: What the caller permits.
            **options: `task`, `device` (default: an Ascend card, else the CPU), `dtype` (default: the checkpoint's),
                `allow_missing_weights`, and those of `options`.

        Raises:
            WeightsMismatch: Tensors are missing, left over, or of another shape than the settings say.
            BackendNotLoadable: A class or a setting that is not served.
            OptionError: A device or dtype that cannot be used.
            NotAModel, AmbiguousModel, ConfigError, SafetyError: As their names say.
        """
        from modelscope_ext.models.backends._mindformers.load import load_network, read_settings
        from modelscope_ext.models.backends._mindformers.tokens import generation_of, load_tokenizer

        source = str(resolution.source)
        _check_options(options, source)
        settings, files = read_settings(folder, source, grants, options.get("yaml"))
        from modelscope_ext.models.backends._mindspore.device import start
        from modelscope_ext.models.backends._mindspore.quiet import loading

        with loading():
            device = start(options.get("device"))
            self.report("Loading tokenizer", 0, 2)
            given = options.get("tokenizer")
            tokenizer = given if given is not None else load_tokenizer(folder, source, grants)
            self.report("Loading weights", 1, 2)
            network = load_network(folder, source, settings, files, options, grants, device)
            self.report("Loaded", 2, 2)
        parts = {
            "tokenizer": tokenizer,
            "own_tokenizer": given is not None,
            "settings": settings,
            "dtypes": network.dtypes,
            "asked_dtype": options.get("dtype") not in (None, "auto"),
            "generation": generation_of(folder, settings, source, grants),
            "folder": folder,
        }
        return Loaded(network.cell, parts, device, network.because)

    def adopt(self, native: Any, *, task: str | None = None, preprocessor: Any = None) -> Loaded | None:
        """Return what `load` would for a network that the caller made, or None for another library's object.

        Args:
            native: Anything.
            task: The caller's task.
            preprocessor: Its tokenizer of mindformers.
        """
        if not _owns(native):
            return None
        import mindspore

        name = mindspore.get_context("device_target")
        parts = {"tokenizer": preprocessor, "own_tokenizer": True, "tasks": (task or _TASK,)}
        return Loaded(native, parts, "cpu" if name == "CPU" else "npu:0")

    def predict(self, native: Any, task: str, inputs: Sequence[Any], **options: Any) -> Sequence[Any]:
        """Run text generation on `inputs`, one output per input.

        Args:
            native: What `load` or `adopt` returned.
            task: ``"text-generation"``.
            inputs: Texts and chats.
            **options: Those of `call_options`; `batch_size` (default 1); and ``raw=True`` for mindformers' own outputs:
                the tokens of prompt and answer, with ``output_logits=True`` also the logits of each new token.

        Raises:
            OptionError: An input that is longer than there is room for, or a chat without a template.
            TemplateRefused: A chat template that reaches for more than text.
        """
        from modelscope_ext.models.backends._mindformers.run import generate, texts
        from modelscope_ext.models.backends._mindspore.quiet import quiet

        raw, size = options.pop("raw", False), options.pop("batch_size", None) or 1
        with quiet():
            natives = generate(native, inputs, size, options)
            return natives if raw else texts(native, inputs, natives, options)

    def stream(self, native: Any, task: str, item: Any, **options: Any) -> Iterator[str]:
        """Yield the text for one input piece by piece."""
        from modelscope_ext.models.backends._mindformers.run import stream

        for name in ("raw", "batch_size"):
            options.pop(name, None)
        return stream(native, item, options)

    def save(self, native: Any, folder: Path) -> None:
        """Write config.json, ``mindspore_model.ckpt`` and the tokenizer into `folder`.

        Tensors are written in the dtype they came in, settings as the folder had them: nothing of what a CPU needs.
        """
        from modelscope_ext.models.backends._mindformers.save import save
        from modelscope_ext.models.backends._mindspore.quiet import quiet

        with quiet():
            save(native, folder)

    def close(self, native: Any) -> None:
        """Drop the network and its parts."""
        native.native = None
        native.parts.clear()

    def code(self, resolution: Resolution) -> str:
        """Return the same in mindformers' own words, for a machine with an Ascend card."""
        from modelscope_ext.models.snippets import native_snippet

        return native_snippet(resolution)


def _owns(native: Any) -> bool:
    """Whether `native` is a network of mindformers of a class that is served; imports nothing."""
    return type(native).__name__ in ARCHITECTURES and any(
        base.__name__ == "PreTrainedModel" and base.__module__.partition(".")[0] == "mindformers"
        for base in type(native).__mro__
    )


def _check_options(options: Mapping[str, Any], source: str) -> None:
    if options.get("device_map") is not None:
        raise OptionError(f"{printable(source)}: device_map: MindSpore runs on one device per process; use device=")
    task, length = options.get("task"), options.get("seq_length")
    if task not in (None, _TASK):
        raise OptionError(f"{printable(source)}: mindformers runs {_TASK} here, not {printable(repr(task))}")
    if length is not None and (type(length) is not int or not 1 <= length <= 2**16):
        raise OptionError(f"seq_length={printable(repr(length))}: expected a whole number from 1 to {2**16}")
