"""Step 5 of 6, one backend: ONNX graphs through onnxruntime, with tokenizers, Pillow and numpy; no torch.

For folders with only ONNX weights, for ``backend="onnx"``, and where torch is not installed. From the start of the
process to the first answer it takes about a tenth of the time of the PyTorch libraries on the same model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backend import Backend, Loaded
from modelscope_ext.models.resolution import Match, Resolution
from modelscope_ext.utils.text import listing, printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.safety.grants import Grants

__all__ = ["Onnx"]

#: Task -> "module:function" in `_onnx`, and the options of a call.
TASKS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "text-classification": ("tasks:text_classification", ("top_k", "function_to_apply")),
    "token-classification": ("entities:token_classification", ("aggregation_strategy", "ignore_labels")),
    "fill-mask": ("tasks:fill_mask", ("top_k", "targets")),
    "feature-extraction": (
        "embed:feature_extraction",
        ("prompt", "prompt_name", "normalize_embeddings"),
    ),
    "sentence-similarity": (
        "embed:sentence_similarity",
        ("prompt", "prompt_name", "normalize_embeddings"),
    ),
    "text-ranking": ("tasks:text_ranking", ("top_k",)),
    "zero-shot-classification": (
        "tasks:zero_shot_classification",
        ("candidate_labels", "hypothesis_template", "multi_label"),
    ),
    "text-generation": (
        "generate:generate",
        (
            *("max_new_tokens", "max_length", "do_sample", "repetition_penalty", "eos_token_id"),
            *("return_full_text", "continue_final_message", "skip_special_tokens"),
        ),
    ),
    "question-answering": (
        "qa:question_answering",
        ("top_k", "doc_stride", "max_seq_len", "max_answer_len", "handle_impossible_answer"),
    ),
    "multiple-choice": ("qa:multiple_choice", ()),
    "image-classification": ("vision:image_classification", ("top_k", "function_to_apply")),
    "image-feature-extraction": ("vision:image_feature_extraction", ("pool",)),
    "image-segmentation": (
        "masks:image_segmentation",
        ("subtask", "threshold", "mask_threshold", "overlap_mask_area_threshold"),
    ),
    "object-detection": ("vision:object_detection", ("threshold",)),
    "depth-estimation": ("vision:depth_estimation", ()),
    "image-to-image": ("vision:image_to_image", ()),
    "video-classification": (
        "vision:video_classification",
        ("top_k", "function_to_apply", "num_frames", "frame_sampling_rate"),
    ),
    "zero-shot-image-classification": (
        "vision:zero_shot_image_classification",
        ("candidate_labels", "hypothesis_template"),
    ),
    "audio-classification": ("audio:audio_classification", ("top_k", "function_to_apply")),
    "automatic-speech-recognition": (
        "audio:speech_recognition",
        ("return_timestamps", "chunk_length_s", "stride_length_s"),
    ),
}

#: Files that a task may read beside the graph; of folders below only their config.json (``1_Pooling``).
DOCUMENTS = frozenset(
    (
        *("config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json"),
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json"),
        *("chat_template.jinja", "configuration.json", "README.md"),
        *("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"),
    )
)

#: dtype spellings that ask for nothing but what the file holds.
_OWN_DTYPE = (None, "auto")


class Onnx(Backend):
    """ONNX graphs, run by onnxruntime."""

    name = "onnxruntime"
    frameworks = ("onnx",)
    requires = ("onnxruntime>=1.17", "tokenizers>=0.15", "pillow", "numpy")
    install = 'pip install "modelscope-ext[onnx]"'
    tasks = tuple(TASKS)
    runs_code = False
    options: ClassVar[Mapping[str, str]] = {
        "file_name": "the ONNX file to load, by its name in the model, e.g. onnx/model_O3.onnx",
        "threads": "threads inside one operator (OMP_NUM_THREADS, or onnxruntime decides)",
        "max_length": "tokens after which a text is cut (what the model's files say)",
        "pooling": "how token vectors become one vector where the files do not say: cls, max, mean, ...",
    }
    call_options: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "*": ("batch_size",),
        **{task: options for task, (_, options) in TASKS.items()},
    }

    def probe(self, evidence: Evidence) -> Match | None:
        """Claim folders with ONNX weights; usually not overridden."""
        from modelscope_ext.models.decision.architectures import onnx_claim

        return onnx_claim(evidence)

    def files(self, resolution: Resolution, snapshot: Snapshot) -> tuple[str, ...]:
        """Return the documents that a task may read, one ONNX file and the files of tensors beside it.

        Usually not overridden.
        """
        from ._onnx.files import choose, siblings

        graph = choose(_named(resolution, snapshot.names), resolution.weights.variant)
        documents = (name for name in _documents(snapshot.names) if name != "README.md")  # only ever copied along
        return tuple(sorted({*documents, *siblings(graph, snapshot.names)}))

    def load(self, folder: Path, resolution: Resolution, grants: Grants, **options: Any) -> Loaded:
        """Open the graph; tokenizer and image settings are read when a task first needs them.

        Raises:
            OptionError: A device, dtype, variant or file that is not there.
            PathEscapeRefused: The graph names tensors outside the folder.
            MalformedMetadata: The graph cannot be read.
            MissingRequirement: The device's provider is not installed.
        """
        from ._onnx.files import choose, external_files
        from ._onnx.session import Bundle, Graph, open_session

        _check(options)
        names = _named(resolution, _listed(folder)) if options.get("file_name") is None else _listed(folder)
        file = choose(names, options.get("variant") or resolution.weights.variant, options.get("file_name"))
        external = external_files(folder, file)
        device = str(options.get("device") or "cpu")
        self.report(f"Opening {printable(file)}", 0, 1)
        graph = Graph(open_session(folder / file, device, options.get("threads"), file=file))
        self.report("Loaded", 1, 1)
        own = {key: options.get(key) for key in ("max_length", "pooling")}
        bundle = Bundle(graph, folder, file, external, grants.limits, own)
        return Loaded(graph.session, {"bundle": bundle}, device)

    def predict(self, native: Any, task: str, inputs: Sequence[Any], **options: Any) -> Sequence[Any]:
        """Run `task`; ``raw=True`` gives for each input a dict of the graph's own outputs."""
        from importlib import import_module

        bundle = native.parts["bundle"]
        if task not in TASKS:
            raise OptionError(f"The onnx backend does not serve {printable(task)!r}. It serves: {listing(TASKS)}.")
        module, function = TASKS[task][0].split(":")
        runner = getattr(import_module(f"{__package__}._onnx.{module}"), function)
        if not options.pop("raw", False):
            return list(runner(bundle, inputs, options))
        outputs = []
        for item in inputs:
            with bundle.graph.recording() as seen:
                runner(bundle, [item], options)
            outputs.append(seen[0] if len(seen) == 1 else seen)
        return outputs

    def stream(self, native: Any, task: str, item: Any, **options: Any) -> Iterator[Any]:
        """Yield generated text in pieces."""
        if task != "text-generation":
            return super().stream(native, task, item, **options)
        from ._onnx.generate import stream

        return stream(native.parts["bundle"], item, options)

    def count_tokens(self, native: Any, item: Any) -> int | None:
        """Return how many tokens the tokenizer makes of a text, or of a chat written out with its template."""
        from ._onnx.generate import count

        return count(native.parts["bundle"], item) if isinstance(item, str | list) else None

    def save(self, native: Any, folder: Path) -> None:
        """Copy the graph, its tensors and the documents; a graph cannot be changed, so nothing is converted."""
        import shutil

        bundle = native.parts["bundle"]
        for name in (bundle.file, *bundle.external, *_documents(_listed(bundle.folder))):
            target = Path(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.folder / name, target)

    def close(self, native: Any) -> None:
        """Drop the session and everything read beside it."""
        bundle = native.parts.pop("bundle", None)
        if bundle is not None:
            bundle.graph.session = None
        native.native = None

    def code(self, resolution: Resolution) -> str:
        """Return the same in onnxruntime's own words."""
        from ._onnx.code import snippet
        from ._onnx.files import choose

        folder = resolution.source.path or resolution.source.repo or "."
        graphs = [name for name in resolution.weights.files if name.lower().endswith(".onnx")]
        file = choose(graphs, resolution.weights.variant) if graphs else "model.onnx"
        return snippet(resolution.default_task, str(folder), file)


def _check(options: Mapping[str, Any]) -> None:
    dtype = options.get("dtype")
    if not (dtype is None or str(dtype) in _OWN_DTYPE):
        raise OptionError(
            f"dtype={printable(dtype)}: an ONNX graph keeps the dtype it was exported with. "
            'Choose another file with variant="fp16" (or the like), or use backend="transformers".'
        )
    if options.get("device_map") is not None:
        raise OptionError('device_map: onnxruntime runs a graph on one device. Pass device="cpu" or device="cuda".')
    threads, most, pooling = (options.get(key) for key in ("threads", "max_length", "pooling"))
    for name, number in (("threads", threads), ("max_length", most)):
        if number is not None and (type(number) is not int or number < 1):
            raise OptionError(f"{name}={printable(number)}: expected a whole number of at least 1.")
    if pooling is not None:
        from ._onnx.embed import MODES

        if pooling not in MODES:
            raise OptionError(f"pooling={printable(pooling)!r} is unknown. There are: {listing(MODES)}.")


def _named(resolution: Resolution, names: Sequence[str]) -> Sequence[str]:
    """Return the ONNX files that the decision is about, or all of `names` where it names none."""
    chosen = [name for name in resolution.weights.files if name.lower().endswith(".onnx")]
    return chosen if chosen and set(chosen) <= set(names) else names


def _documents(names: Iterable[str]) -> list[str]:
    return [name for name in names if name in DOCUMENTS or (name.endswith("/config.json") and name.count("/") == 1)]


def _listed(folder: Path) -> list[str]:
    """Return the files of a model at most two folders down, which is where exporters put things."""
    patterns = ("*", "*/*", "*/*/*")
    found = (path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)
