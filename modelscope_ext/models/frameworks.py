"""The names of frameworks: one spelling inside, every spelling seen in the wild accepted.

Example:
    >>> canonical_framework("Pytorch"), canonical_framework("onnxruntime"), canonical_framework("other")
    ('pytorch', 'onnx', None)
"""

from __future__ import annotations

from collections.abc import Mapping

from modelscope_ext.errors import OptionError
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["FRAMEWORKS", "canonical_framework"]

#: Framework -> other spellings (lower case), blank-separated.
_SPELLINGS = {
    "pytorch": "torch pt pytorch2",
    "mindspore": "ms mind-spore",
    "tensorflow": "tf tf2 tensorflow2",
    "jax": "flax",
    "onnx": "onnxruntime ort onnx-runtime",
    "paddle": "paddlepaddle pd",
    "mlx": "",
    "ggml": "gguf llama.cpp",
    "tvm": "mlc",
    "openvino": "ov",
    "ctranslate2": "ct2",
    "rknn": "rkllm",
    "sklearn": "scikit-learn",
    "coreml": "core-ml",
    "tflite": "litert",
    "tensorrt": "trt",
    "ncnn": "", "mnn": "", "qnn": "", "executorch": "", "sentis": "",
    "xgboost": "", "lightgbm": "", "catboost": "", "fasttext": "",
}  # fmt: skip

FRAMEWORKS: tuple[str, ...] = tuple(_SPELLINGS)
_ALIASES: Mapping[str, str] = {
    alias: name for name, spellings in _SPELLINGS.items() for alias in (name, *spellings.split())
}


def canonical_framework(spelling: object, *, strict: bool = False) -> str | None:
    """Return the framework that `spelling` means, or None when it means none.

    Args:
        spelling: As it stands in a file or an argument.
        strict: Raise for what is not known.

    Raises:
        OptionError: With `strict`, for an unknown name.
    """
    name = spelling.strip().lower().replace("_", "-") if isinstance(spelling, str) else ""
    found = _ALIASES.get(name)
    if found is None and strict:
        raise OptionError(
            f"Unknown framework {printable(spelling)!r}.{did_you_mean(name, _ALIASES)} Known: {listing(FRAMEWORKS)}."
        )
    return found
