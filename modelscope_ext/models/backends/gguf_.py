"""gguf: language models in llama.cpp's format, unpacked and run by transformers in PyTorch.

Of several quantised copies in one folder ``variant="Q8_0"`` picks one; by default it is Q4_K_M, else the next in
quality. transformers unpacks the blocks on loading, so that a model takes the memory of its dtype, not of its file:
4 bytes for each parameter in float32, the default, and 2 with ``dtype="bfloat16"``; `plan(...).memory_needed` says how
much that is. llama.cpp runs the packed blocks as they are, and also the architectures, projectors and models of other
kinds that transformers has no code for; those are recognised, and refused with its name.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from modelscope_ext.errors import BackendNotLoadable, NotAModel, OptionError, WeightsMismatch
from modelscope_ext.models.backend import Backend, Loaded
from modelscope_ext.models.backends._transformers.tasks import ROWS
from modelscope_ext.models.backends.transformers_ import Transformers
from modelscope_ext.models.resolution import Match, Resolution
from modelscope_ext.utils.text import listing, printable

if TYPE_CHECKING:
    from pathlib import Path

    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.models.backends._transformers.folder import Folder
    from modelscope_ext.safety.grants import Grants

__all__ = ["Gguf"]

_ENGINE = Transformers()
_TASKS = ("text-generation", "text2text-generation")
#: Options of the transformers backend that make sense here.
_OPTIONS = ("attn_implementation", "max_memory", "tokenizer")
#: Files that transformers reads beside a GGUF file, where there are any.
_BESIDE = (
    "config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
)  # fmt: skip


class Gguf(Backend):
    """Loads and runs GGUF files of the architectures that transformers knows."""

    name: ClassVar[str] = "gguf"
    frameworks: ClassVar[tuple[str, ...]] = ("ggml",)
    requires: ClassVar[tuple[str, ...]] = ("gguf>=0.10", "accelerate>=1.0", *Transformers.requires)
    install: ClassVar[str] = 'pip install "modelscope-ext[gguf]"'
    options: ClassVar[Mapping[str, str]] = {name: Transformers.options[name] for name in _OPTIONS}
    call_options: ClassVar[Mapping[str, tuple[str, ...]]] = {task: ROWS[task].options for task in _TASKS}
    tasks: ClassVar[tuple[str, ...]] = _TASKS
    runs_code: ClassVar[bool] = False

    def probe(self, evidence: Evidence) -> Match | None:
        """Claim folders whose weights are GGUF files."""
        from modelscope_ext.models.decision.recognised import recognise_one

        return recognise_one(self.name, evidence)

    def load(self, folder: Path, resolution: Resolution, grants: Grants, **options: Any) -> Loaded:
        """Load the chosen file, its blocks unpacked, with the tokenizer that is in it.

        Args:
            folder: The local folder.
            resolution: The decision; `resolution.weights.files` is the file.
            grants: What the caller permits.
            **options: `task`, `device` (default: an accelerator, else the CPU), `device_map`, `dtype` (default:
                float32), `allow_missing_weights`, and those of `options`. `variant` has chosen the file already.

        Raises:
            BackendNotLoadable: An architecture or a kind of file that llama.cpp runs and transformers does not.
            WeightsMismatch: Weights are missing, or of another shape.
            NotAModel, OptionError, MissingRequirement, SafetyError: As their names say.
        """
        from modelscope_ext.models.backends._transformers.folder import Folder
        from modelscope_ext.models.backends._transformers.quiet import loading

        source = str(resolution.source)
        name = _file(resolution, source)
        _check_kind(folder, name, source, grants)
        task = _task(options.get("task") or resolution.default_task, source)
        where = Folder(folder, source, grants)
        with loading(), _without_bar():
            self.report("Unpacking weights", 0, 2)
            model = _load_model(where, name, task, options)
            self.report("Loading tokenizer", 1, 2)
            given = options.get("tokenizer")
            tokenizer = given if given is not None else _load_tokenizer(where, name)
            self.report("Loaded", 2, 2)
        return Loaded(model, {"tokenizer": tokenizer, "file": folder / name, "folder": where}, str(model.device))

    def predict(self, native: Any, task: str, inputs: Sequence[Any], **options: Any) -> Sequence[Any]:
        """Run `task` on `inputs` as the transformers backend does."""
        return _ENGINE.predict(native, task, inputs, **options)

    def stream(self, native: Any, task: str, item: Any, **options: Any) -> Iterator[str]:
        """Yield the text that text-generation makes for one input, piece by piece."""
        return _ENGINE.stream(native, task, item, **options)

    def count_tokens(self, native: Any, item: Any) -> int | None:
        """Return how many tokens the model reads for a text or a chat."""
        return _ENGINE.count_tokens(native, item)

    def save(self, native: Any, folder: Path) -> str | None:
        """Copy the file that the model was loaded from, bit by bit, with the settings that lie beside it.

        Nothing is packed anew: weights that were changed since are not in it.

        Raises:
            NotAModel: The file is gone.
        """
        source: Path = native.parts["file"]
        if not source.is_file():
            raise NotAModel(
                f"{printable(str(source))} is gone, so there is nothing to copy; save before it is deleted."
            )
        folder.mkdir(parents=True, exist_ok=True)
        root: Path = native.parts["folder"].path
        for path in (source, *(root / name for name in _BESIDE if (root / name).is_file())):
            if (folder / path.name).resolve() != path.resolve():
                shutil.copyfile(path, folder / path.name)
        native.native.generation_config.save_pretrained(str(folder))
        return None

    def close(self, native: Any) -> None:
        """Drop pipelines and parts, which refer to the model, and give cached device memory back."""
        _ENGINE.close(native)

    def code(self, resolution: Resolution) -> str:
        """Return the same in transformers' own words; nothing for what it cannot load."""
        files, task = resolution.weights.files, resolution.default_task
        if not resolution.loadable or not files or task not in _TASKS:
            return ""
        return _snippet(resolution, task)


def _file(resolution: Resolution, source: str) -> str:
    """Return the one file to load."""
    files = resolution.weights.files
    if not files or resolution.weights.format != "gguf":
        raise NotAModel(f"{printable(source)}: there is no GGUF file to load.")
    if len(files) > 1:
        raise BackendNotLoadable(
            f"{printable(source)}: {listing(map(printable, files), 3)}: transformers reads no split files. Join them"
            f" with llama.cpp's `llama-gguf-split --merge`, pick another copy with variant=, or {_LLAMA}"
        )
    return files[0]


_LLAMA = "run it with llama.cpp or llama-cpp-python (pip install llama-cpp-python)."


def _check_kind(folder: Path, name: str, source: str, grants: Grants) -> None:
    """Refuse a file of which transformers makes no language model."""
    from modelscope_ext.models.decision import tables
    from modelscope_ext.safety.headers import gguf_header
    from modelscope_ext.safety.reading import read_inside

    def read(start: int, length: int) -> bytes:
        return read_inside(folder, name, start=start, length=length, source=source)

    size = (folder / name).stat().st_size
    header = gguf_header(read, size, file=name, limits=grants.limits, source=source)
    architecture = header.metadata.get("general.architecture")
    known = tables.transformers().gguf
    if architecture not in known or "mmproj" in name.lower():
        raise BackendNotLoadable(
            f"{printable(source)}: {printable(name)}: general.architecture: {printable(repr(architecture))} is none"
            f" that transformers loads from GGUF ({listing(sorted(known), 40)}); {_LLAMA}"
        )
    count = header.metadata.get(f"{architecture}.block_count")
    blocks = [int(parts[1]) for t in header.tensors if (parts := t.split("."))[0] == "blk" and parts[1].isdigit()]
    if type(count) is int and max(blocks, default=-1) >= count:
        raise WeightsMismatch(
            f"{printable(source)}: {printable(name)}: {architecture}.block_count is {count}, but there are weights of"
            f" {max(blocks) + 1} blocks, which would be left out. The file is damaged, or was cut wrongly."
        )


def _task(task: str | None, source: str) -> str | None:
    if task is None or task in _TASKS:
        return task
    raise OptionError(
        f"{printable(source)}: {printable(repr(task))} is not what transformers runs a GGUF file for: pass task= with"
        f" one of {listing(_TASKS)}, or {_LLAMA}"
    )


def _load_model(folder: Folder, name: str, task: str | None, options: Mapping[str, Any]) -> Any:
    import transformers

    from modelscope_ext.models.backends._transformers.folder import read
    from modelscope_ext.models.backends._transformers.load import as_dtype, choose_auto, pick_device
    from modelscope_ext.models.backends._transformers.weights import check_weights

    trust: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True, "gguf_file": name}
    place = str(folder.path)
    folder.config = read(folder, name, lambda: transformers.AutoConfig.from_pretrained(place, **trust))  # nosec B615
    auto = choose_auto(folder, task)
    keywords = {**trust, "dtype": as_dtype(options.get("dtype")), "ignore_mismatched_sizes": True}
    unpacking = getattr(transformers, "GgufConfig", None)  # older releases always unpack
    if unpacking is not None:  # else it may fetch kernels from the hub, to run packed blocks
        keywords["quantization_config"] = unpacking(dequantize=True)
    keywords |= {n: options[n] for n in ("attn_implementation", "max_memory") if options.get(n) is not None}
    device = pick_device(options.get("device")) if options.get("device_map") is None else None
    if device is None:
        keywords["device_map"] = options["device_map"]
    model, info = read(
        folder, name, lambda: auto.from_pretrained(str(folder.path), output_loading_info=True, **keywords)
    )
    strict = not options.get("allow_missing_weights")
    check_weights(model, info, folder.name, auto.__name__, strict=strict)
    if device is not None:
        model.to(device)
    return model.eval()


@contextmanager
def _without_bar() -> Iterator[None]:
    """Draw no bar where none may be drawn: this one of transformers does not follow transformers' own setting."""
    from modelscope_ext.models.backends._transformers.quiet import shows_bars

    try:
        from transformers import modeling_gguf_pytorch_utils as theirs
    except ImportError:  # a release without the module
        theirs = None
    bar = getattr(theirs, "tqdm", None)
    if bar is None or shows_bars():
        yield
        return
    theirs.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        theirs.tqdm = bar


def _load_tokenizer(folder: Folder, name: str) -> Any:
    from transformers import AutoTokenizer

    from modelscope_ext.models.backends._transformers.folder import read

    return read(
        folder,
        f"the tokenizer in {name}",
        lambda: AutoTokenizer.from_pretrained(  # nosec B615 # a local folder
            str(folder.path), gguf_file=name, trust_remote_code=False, local_files_only=True
        ),
    )


def _snippet(resolution: Resolution, task: str) -> str:
    """Return a script that loads the chosen file with transformers and prints one answer."""
    from modelscope_ext.models.backends._transformers.code import snippet

    folder = str(resolution.source)
    text = snippet(resolution).replace("from_pretrained(folder)", "from_pretrained(folder, gguf_file=file)")
    return text.replace(f"folder = {folder!r}", f"folder, file = {folder!r}, {resolution.weights.files[0]!r}")
