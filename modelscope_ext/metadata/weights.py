"""Which files are weights, and in which format: by name, extension and the files beside them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import cache

from modelscope_ext.utils.record import Record, dataclass

__all__ = ["FORMATS", "WeightFile", "classify", "format_of", "weight_file"]


@dataclass(frozen=True)
class WeightFile(Record):
    """One file of weights.

    Attributes:
        name: Relative posix path.
        bytes: Size.
        format: ``"safetensors"``, ``"pickle"``, ``"onnx"``, ...; see `FORMATS`.
        folder: The folder it lies in, without the final slash; empty for the model's own.
        variant: E.g. ``"fp16"`` of ``model.fp16.safetensors``, ``"Q4_K_M"`` of a GGUF file.
        shard: (number, count) of ``model-00002-of-00005.safetensors``; count is 0 where the name does not tell.
    """

    name: str
    bytes: int
    format: str
    folder: str = ""
    variant: str | None = None
    shard: tuple[int, int] | None = None


#: Extension -> format. ``bin``, ``ckpt``, ``pb`` and ``xml`` are decided by `_BY_SIBLINGS`.
FORMATS: Mapping[str, str] = {
    "safetensors": "safetensors",
    "pt": "pickle", "pth": "pickle", "pyt": "pickle",
    "bin": "pickle", "ckpt": "pickle",
    "onnx": "onnx", "onnx_data": "onnx", "ort": "onnx",
    "gguf": "gguf", "ggml": "ggml", "ggjt": "ggml",
    "msgpack": "msgpack",
    "h5": "h5", "hdf5": "h5", "keras": "keras",
    "pb": "pb", "tflite": "tflite", "litertlm": "tflite", "task": "mediapipe",
    "pdparams": "paddle", "pdiparams": "paddle", "pdmodel": "paddle",
    "xml": "openvino",
    "rkllm": "rkllm", "rknn": "rknn",
    "nemo": "nemo", "mar": "torchserve",
    "mlmodel": "coreml", "mlpackage": "coreml",
    "mindir": "mindir", "om": "om", "air": "air",
    "engine": "tensorrt", "trt": "tensorrt", "plan": "tensorrt",
    "pt2": "exported", "ptl": "torchscript", "jit": "torchscript", "torchscript": "torchscript", "pte": "executorch",
    "ot": "rust", "mnn": "mnn", "caffemodel": "caffe", "weights": "darknet", "t7": "torch7", "dlc": "snpe",
    "hef": "hailo", "llamafile": "llamafile", "params": "mxnet", "mdl": "kaldi", "mge": "megengine",
    "pkl": "pkl", "pickle": "pkl", "joblib": "pkl", "skops": "skops",
    "npz": "npz",
    "q4": "ggml",
}  # fmt: skip

#: Extensions of most other files; looked at first, because there are more of them.
_TEXTS = frozenset(("json", "txt", "md", "py", "jinja", "gitattributes"))
# What training leaves behind, and vocabularies: never weights, whatever the extension says. Each has one of the words.
_NOT_WEIGHTS = (
    r"optimizer(?:[-_.].*)?\.(?:pt|pth|bin|ckpt|safetensors)|.*[-_](?:optim|optimizer)(?:_states?)?\.(?:pt|pth|bin)"
    r"|(?:lr_)?scheduler(?:_\d+)?\.(?:pt|pth|bin)|scaler\.(?:pt|pth)|training_args\.(?:bin|pt)|train_args\.bin"
    r"|(?:rng_state|random_states?)[\w-]*\.(?:pth?|pkl)|sampler(?:_\d+)?\.bin|dataloader[\w-]*\.(?:pt|bin)"
    r"|trainer_state\..*|tokenizer\.(?:bin|pkl|pickle)|vocab(?:ulary)?\.(?:bin|pkl|pt|pth)|.*_optim_states\.pt"
    r"|(?:feats|speakers?|spk2id|label_encoder|tokens?)\.(?:bin|pkl|pickle)|.*\.tfevents\..*"
    r"|.*(?:config|vocab|stats|cmvn).*\.(?:pkl|pickle|npz|joblib)"
    r"|keras_metadata\.pb|fingerprint\.pb|loss.*\.(?:pkl|pickle)|history\.(?:pkl|pickle)"
)
_NOT_WEIGHTS_WORDS = (
    "optim", "scheduler", "scaler", "train", "rng_", "random_", "sampler", "dataloader", "token", "vocab", "feats",
    "speaker", "spk2id", "label", "tfevents", "config", "stats", "cmvn", "metadata", "fingerprint", "loss", "history",
)  # fmt: skip
_SHARD = r"-(\d{1,6})-of-(\d{1,6})(?=[.-]|$)"
_META_SHARD = r"consolidated\.(\d+)$"
_VARIANT = (
    r"(?:^|/)(?:model|pytorch_model|flax_model|tf_model|adapter_model|pytorch_lora_weights|(?:diffusion_\w+?|flux)_model"
    r"|diffusion_\w+|open_clip_pytorch_model)\.([A-Za-z][\w]*)$"
)
_ONNX_VARIANT = (
    r"(?i)[-_.](fp16|bf16|fp32|int8|uint8|int4|q4f16|q4|q8|q8f16|bnb4|quantized|quant|qint8[\w]*|quint8[\w]*"
    r"|optimized|O[1-4])$"
)
_GGUF_VARIANT = (
    r"(?i)(?:^|[-_.])((?:UD-)?(?:IQ|Q)\d(?:_[A-Za-z0-9]+)*|TQ\d_0|MXFP4(?:_MOE)?|BF16|F16|F32|FP16|FP32|NVFP4)$"
)
_RANK = r"(?:^|[_-])rank_\d+|-\d+_\d+\.ckpt$|^mindspore"
_TF_DATA = r"(?:data-\d+-of-\d+|index)$"
_CT2_WORDS = ("vocabulary.txt", "vocabulary.json", "shared_vocabulary.txt", "shared_vocabulary.json",
              "source_vocabulary.txt", "source_vocabulary.json")  # fmt: skip

Beside = Callable[[str], bool]  # is a file of that name in the same folder?


def _bin(stem: str, base: str, beside: Beside) -> str | None:
    """Tell the many meanings of ``.bin`` apart."""
    if base.startswith("params_shard_") or beside("ndarray-cache.json") or beside("tensor-cache.json"):
        return "mlc"
    if base.startswith("openvino") or beside(stem + ".xml"):
        return "openvino"
    if base == "model.bin" and any(map(beside, _CT2_WORDS)):
        return "ct2"
    if beside(stem + ".onnx") and not beside("config.json"):
        return "onnx"
    if "ggml" in base.lower() or re.search(r"\.q[2-8]_[0-9k]", base, re.IGNORECASE):
        return "ggml"
    if base.endswith(".ncnn.bin") or beside(stem + ".param"):
        return "ncnn"
    if re.fullmatch(r"(?:group\d+-)?shard\d+of\d+\.bin", base) or re.fullmatch(r"group\d+-shard\d+of\d+", stem):
        return "tfjs"
    if stem.startswith("lid.") or (stem == "model" and beside("lid.176.ftz")):
        return "fasttext"
    return "pickle"


def _ckpt(stem: str, base: str, beside: Beside) -> str | None:
    """``.ckpt`` is MindSpore's, PyTorch Lightning's or TensorFlow 1's."""
    if beside(base + ".index") or beside(base + ".meta"):
        return "tf_checkpoint"
    if _compiled(_RANK).search(base) or beside("mindspore_model.ckpt.index.json"):
        return "mindspore"
    return "pickle"


def _pb(stem: str, base: str, beside: Beside) -> str | None:
    return "saved_model" if base == "saved_model.pb" else "pb"


def _xml(stem: str, base: str, beside: Beside) -> str | None:
    return "openvino" if base.startswith("openvino") or beside(stem + ".bin") else None


_BY_SIBLINGS: Mapping[str, Callable[[str, str, Beside], str | None]] = {
    "bin": _bin, "ckpt": _ckpt, "pb": _pb, "xml": _xml,
}  # fmt: skip


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern when a name first asks for it: together they take as long as the rest of a short command."""
    return re.compile(pattern)


def _is_left_over(base: str) -> bool:
    lower = base.lower()
    return any(word in lower for word in _NOT_WEIGHTS_WORDS) and bool(_compiled(_NOT_WEIGHTS).fullmatch(lower))


def format_of(name: str, names: Collection[str]) -> str | None:
    """Return the weight format of the file `name`, or None when it holds no weights.

    Args:
        name: Relative posix path.
        names: All names of the model; siblings decide where the extension does not. A set, for speed.

    Example:
        >>> format_of("model.bin", {"model.bin", "vocabulary.txt"}), format_of("training_args.bin", set())
        ('ct2', None)
    """
    extension = name.rpartition(".")[2]
    if extension in _TEXTS:
        return None
    if extension not in FORMATS:
        lower = extension.lower()
        if lower not in FORMATS:
            return _unusual(name, extension)
        extension = lower
    folder, _, base = name.rpartition("/")
    if base.startswith(".") or _is_left_over(base):
        return None
    if ".mlpackage/" in name or ".mlmodelc/" in name:
        return "coreml"
    decide = _BY_SIBLINGS.get(extension)
    if decide is None:
        return FORMATS[extension]
    prefix = folder + "/" if folder else ""
    return decide(base.rpartition(".")[0], base, lambda other: prefix + other in names)


def _unusual(name: str, extension: str) -> str | None:
    """Formats whose extension alone is not enough."""
    if _compiled(_TF_DATA).match(extension) and (".ckpt" in name or "variables/" in name or "/model" in "/" + name):
        return "saved_model" if "variables/" in name else "tf_checkpoint"
    if name.endswith((".onnx.data", ".onnx.dat")) or (extension.startswith("onnx_data") and extension[9:10] in "_"):
        return "onnx"
    if extension == "weight" and name.endswith(".mnn.weight"):
        return "mnn"
    return None


def weight_file(name: str, size: int, form: str) -> WeightFile:
    """Return the record of a file whose format is known: folder, variant and shard are read from its name.

    Example:
        >>> weight_file("unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors", 9, "safetensors").variant
        'fp16'
    """
    folder, _, base = name.rpartition("/")
    stem = base.rpartition(".")[0]
    shard = None
    found = _compiled(_SHARD).search(stem) if "-of-" in stem else None
    if found:
        shard = (int(found.group(1)), int(found.group(2)))
        stem = stem[: found.start()] + stem[found.end() :]
    elif found := _compiled(_META_SHARD).search(stem) if "consolidated." in stem else None:
        shard = (int(found.group(1)) + 1, 0)
    pattern = _ONNX_VARIANT if form == "onnx" else _GGUF_VARIANT if form == "gguf" else _VARIANT
    variant = _compiled(pattern).search(stem) if stem not in ("model", "pytorch_model") else None
    return WeightFile(name, size, form, folder, variant.group(1) if variant else None, shard)


def classify(sizes: Mapping[str, int], formats: Mapping[str, str] | None = None) -> tuple[WeightFile, ...]:
    """Return the weight files among `sizes`, sorted by name.

    Args:
        sizes: Bytes by name of all files of the model.
        formats: What is known better than the name tells, by name (e.g. from the first bytes of a ``.ckpt``).

    Example:
        >>> [w.format for w in classify({"model.safetensors": 8, "optimizer.pt": 9, "tf_model.h5": 7})]
        ['safetensors', 'h5']
    """
    known = formats or {}
    found = []
    for name in sorted(sizes):
        form = known.get(name) or format_of(name, sizes.keys())
        if form is not None:
            found.append(weight_file(name, sizes[name], form))
    return tuple(found)
