"""Which of the weight files a load would read: one format, one variant, all shards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NoReturn

from modelscope_ext.errors import OptionError
from modelscope_ext.models.decision.pipeline_index import INDEX, PipelineIndex, weight_files
from modelscope_ext.models.resolution import Finding, Match, Weights
from modelscope_ext.utils.text import did_you_mean, listing, printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.weights import WeightFile

__all__ = ["choice_finding", "choose_weights", "quantization_of"]

#: Framework -> weight formats it can read, the preferred first.
_FORMATS: Mapping[str, tuple[str, ...]] = {
    "pytorch": ("safetensors", "pickle", "gguf", "nemo", "executorch"),
    "mindspore": ("safetensors", "mindspore", "pickle", "mindir"),
    "mlx": ("safetensors", "npz"),
    "tensorflow": ("saved_model", "keras", "h5", "tf_checkpoint", "pb", "tfjs"),
    "jax": ("msgpack", "safetensors"),
    "onnx": ("onnx",),
    "ggml": ("gguf", "ggml", "llamafile"),
    "tvm": ("mlc",),
    "ctranslate2": ("ct2",),
    "rknn": ("rkllm", "rknn"),
}
#: File stems of the model itself, by backend; other weights in the folder are copies or extras.
_STEMS: Mapping[str, tuple[str, ...]] = {
    "transformers": ("model", "pytorch_model", "tf_model", "flax_model"),
    "mindone": ("model", "pytorch_model"),
    "sentence-transformers": ("model", "pytorch_model"),
    "peft": ("adapter_model",),
}
#: Backends whose model is spread over folders.
_SPREAD = frozenset(
    (
        "diffusers",
        "onediff",
        "sentence-transformers",
        "mindone",
        "espnet",
        "stanza",
        "spacy",
        "triton",
        "pylate",
        "setfit",
    )
)
_WHOLE_PIPELINE = frozenset(("diffusers", "onediff"))


def choose_weights(evidence: Evidence, match: Match, framework: str | None, variant: str | None = None) -> Weights:
    """Return the weight files that the backend of `match` would read.

    Raises:
        OptionError: There is no file of that `variant`; the message lists the variants there are.
    """
    index = PipelineIndex.of(evidence.documents.get(INDEX)) if match.backend in _WHOLE_PIPELINE else None
    if index is not None and (found := _of_pipeline(evidence, index, variant)):
        return found
    files = [w for w in evidence.weights if not _in_checkpoint(w.folder)]
    formats = _FORMATS.get(framework or "", ()) or tuple(dict.fromkeys(w.format for w in files))
    spread = match.backend in _SPREAD
    for form in formats:
        some = [w for w in files if w.format == form and (spread or form == "onnx" or not w.folder)]
        some = some or [w for w in files if w.format == form and not _rooted(match.backend)]
        if some:
            break
    else:
        return Weights(quantization=quantization_of(evidence, ()))
    if form == "onnx":
        some = _graphs(some, variant)
    elif form == "gguf":
        some = _quantised(some, variant)
    else:
        some = _of_variant(_of_stem(some, match.backend), variant)
    some = _one_export(evidence, some)
    return _weights(evidence, form, tuple(dict.fromkeys(w.name for w in some)), some)


def _weights(evidence: Evidence, form: str, names: tuple[str, ...], some: list[WeightFile]) -> Weights:
    """Return the record of the chosen files, with what their headers say."""
    size = sum(evidence.sizes.get(name, 0) for name in names)
    dtypes: dict[str, int] = {}
    for name in names:
        header = evidence.headers.get(name)
        for dtype, count in (header.dtypes if header else {}).items():
            dtypes[dtype] = dtypes.get(dtype, 0) + count
    read = [evidence.headers.get(name) for name in names]
    complete = bool(names) and all(header is not None and header.complete for header in read)
    chosen = next((w.variant for w in some if w.variant), None)
    return Weights(
        form, names, size, chosen, dtypes, sum(dtypes.values()) if complete else None, quantization_of(evidence, some)
    )


def _of_pipeline(evidence: Evidence, index: PipelineIndex, variant: str | None) -> Weights | None:
    """Return the weights of the components that the index names, or None where they are none of PyTorch's."""
    names = [n for c in index.components for n in weight_files(evidence.name_set, c.name, variant)]
    some = [w for w in evidence.weights if w.name in set(names)]
    if not some:
        return None
    if variant is not None and not any(w.variant == variant for w in some):
        inside = {component.name for component in index.components}
        _refuse_variant(variant, [w for w in evidence.weights if w.folder in inside])
    form = "safetensors" if any(w.format == "safetensors" for w in some) else "pickle"
    return _weights(evidence, form, tuple(names), some)


def choice_finding(evidence: Evidence, weights: Weights) -> Finding | None:
    """Return a remark when one of several quantised copies was chosen: which, and how to choose another."""
    if weights.format != "gguf" or not weights.files:
        return None
    others = sorted({w.variant for w in evidence.weights if w.format == "gguf" and w.variant and not _extra(w)})
    if len(others) < 2:
        return None
    name = weights.files[0]
    text = f"{printable(name)} is one of {len(others)} quantised copies; variant= takes another: {listing(others)}"
    return Finding("weights-choice", "info", name, "variant", text)


def quantization_of(evidence: Evidence, files: Iterable[WeightFile]) -> str | None:
    """Return the method by which the weights are quantised, or None."""
    method = evidence.get("config.json", "quantization_config", "quant_method")
    if isinstance(method, str):
        return printable(method, 40)
    config = evidence.get("config.json", "quantization_config")
    if isinstance(config, Mapping) and (config.get("load_in_4bit") or config.get("load_in_8bit")):
        return "bitsandbytes"
    if isinstance(evidence.get("config.json", "quantization"), Mapping):
        return f"mlx-{evidence.get('config.json', 'quantization', 'bits')}bit"
    if "quantize_config.json" in evidence.documents and evidence.get("quantize_config.json", "bits"):
        return "gptq"
    return next((w.variant for w in files if w.format in ("gguf", "ggml") and w.variant), None)


def _rooted(backend: str) -> bool:
    return backend in ("transformers", "mindone", "peft")


def _in_checkpoint(folder: str) -> bool:
    return folder.startswith(("checkpoint-", "global_step", "runs/"))


def _of_stem(files: list[WeightFile], backend: str) -> list[WeightFile]:
    """Prefer the file names that the library looks for; in a pipeline's own folder there are only whole copies."""
    if backend in _WHOLE_PIPELINE:
        nested = [w for w in files if w.folder]
        return nested or files
    stems = _STEMS.get(backend)
    if not stems:
        return files
    for stem in stems:
        own = [w for w in files if _stem(w.name) == stem]
        if own:
            return own
    return files


def _of_variant(files: list[WeightFile], variant: str | None) -> list[WeightFile]:
    """Keep one variant: the asked one, else the files without; folders that lack it keep what they have."""
    folders: dict[str, list[WeightFile]] = {}
    for weight in files:
        folders.setdefault(weight.folder, []).append(weight)
    if variant is not None and not any(w.variant == variant for w in files):
        _refuse_variant(variant, files)
    kept: list[WeightFile] = []
    for group in folders.values():
        wanted = [w for w in group if w.variant == variant]
        if not wanted:
            first = min((w.variant or "" for w in group), default="")
            wanted = [w for w in group if (w.variant or "") == first]
        whole = [w for w in wanted if w.shard is None]
        kept += whole if whole and len(whole) < len(wanted) else wanted
    return kept


def _refuse_variant(variant: str, files: Iterable[WeightFile]) -> NoReturn:
    there = sorted({w.variant for w in files if w.variant})
    raise OptionError(
        f"variant={printable(variant)!r}: no weight file has it.{did_you_mean(variant, there)} "
        f"There are: {listing(there)}."
    )


#: The copy of a quantised model that is taken unasked: what its tools take by default, then the next in quality.
_QUANTISED = ("Q4_K_M", "Q4_K_S", "Q5_K_M", "Q4_0", "Q5_K_S", "Q6_K", "Q8_0", "Q3_K_M", "BF16", "F16", "FP16", "F32")


def _quantised(files: list[WeightFile], variant: str | None) -> list[WeightFile]:
    """Of the quantised copies keep one with all its shards; projectors and drafts beside it are no copies of it."""
    models = [w for w in files if not _extra(w)] or files
    if variant is not None:
        wanted = next((w.variant for w in models if (w.variant or "").lower() == variant.lower()), variant)
        return _of_variant(models, wanted)
    order = {name: number for number, name in enumerate(_QUANTISED)}
    first = min(models, key=lambda w: (order.get((w.variant or "").upper().removeprefix("UD-"), len(order)), w.name))
    if first.shard is None:
        return [first]
    return [w for w in models if w.variant == first.variant and w.folder == first.folder and w.shard is not None]


def _extra(weight: WeightFile) -> bool:
    return "mmproj" in weight.name.lower() or "imatrix" in weight.name.lower()


def _graphs(files: list[WeightFile], variant: str | None) -> list[WeightFile]:
    """Of the copies of one graph keep one: the variant, or the one that is not quantised."""
    graphs = [w for w in files if w.name.endswith(".onnx")]
    folder = min((w.folder for w in graphs), key=lambda f: (f.count("/") + bool(f), f), default="")
    graphs = [w for w in graphs if w.folder == folder]
    plain = [w for w in graphs if w.variant == variant] or [w for w in graphs if w.variant is None] or graphs[:1]
    stems = {w.name for w in plain}
    data = [
        w
        for w in files
        if not w.name.endswith(".onnx") and any(w.name.startswith(s.removesuffix(".onnx")) for s in stems)
    ]
    return plain + data


def _one_export(evidence: Evidence, files: list[WeightFile]) -> list[WeightFile]:
    """Of several exports of one model in a folder, told apart by the number of their shards, keep one.

    It is the one that the index lists; without an index at hand, the first that is complete.
    """
    exports: dict[tuple[str, str], dict[int, list[WeightFile]]] = {}
    for weight in files:
        count = weight.shard[1] if weight.shard else 0
        exports.setdefault((weight.folder, _stem(weight.name)), {}).setdefault(count, []).append(weight)
    dropped: set[str] = set()
    for counts in exports.values():
        if len(counts) < 2:
            continue
        listed = {name for group in counts.values() for name in _listed_with(evidence, group[0].name)}
        kept = next((n for n, group in counts.items() if {w.name for w in group} & listed), None)
        if kept is None:
            kept = next((n for n, group in sorted(counts.items()) if n and len(group) == n), None)
        if kept is not None:
            dropped.update(w.name for n, group in counts.items() if n != kept for w in group)
    return [weight for weight in files if weight.name not in dropped]


def _listed_with(evidence: Evidence, name: str) -> set[str]:
    """Return the files that the index of the shard `name` lists; nothing where its text is not at hand."""
    folder, _, base = name.rpartition("/")
    prefix = f"{folder}/" if folder else ""
    document = evidence.documents.get(f"{prefix}{_stem(base)}.{base.rpartition('.')[2]}.index.json")
    table = document.get("weight_map") if isinstance(document, Mapping) else None
    return {f"{prefix}{shard}" for shard in table.values()} if isinstance(table, Mapping) else set()


def _stem(name: str) -> str:
    base = name.rpartition("/")[2]
    return base.partition(".")[0].partition("-0")[0]
