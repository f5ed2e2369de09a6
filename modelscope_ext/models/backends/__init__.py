"""The table of built-in backends: name -> where it lives and how its library is installed.

A backend is named after its library and is one file here and one row in `BUILTINS`; those of other packages come by the
entry-point group ``modelscope_ext.backends``. Looking at the table imports no backend and no library.

Example:
    >>> BUILTINS["transformers"].install
    'pip install "modelscope-ext[transformers]"'
    >>> canonical_backend("Sentence_Transformers"), canonical_backend("onnxruntime")
    ('sentence-transformers', 'onnxruntime')
    >>> canonical_backend("onnx")
    'onnxruntime'
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from modelscope_ext.utils.record import Record, dataclass

__all__ = ["ALIASES", "BUILTINS", "Builtin", "canonical_backend"]


@dataclass(frozen=True)
class Builtin(Record):
    """One row of the table.

    Attributes:
        path: ``"package.module:Class"``.
        install: The command that installs the library.
        frameworks: The frameworks it runs in, the usual one first.
    """

    path: str
    install: str
    frameworks: tuple[str, ...] = ("pytorch",)


_HERE = "modelscope_ext.models.backends."

BUILTINS: Mapping[str, Builtin] = MappingProxyType(
    {
        "transformers": Builtin(f"{_HERE}transformers_:Transformers", 'pip install "modelscope-ext[transformers]"'),
        "sentence-transformers": Builtin(
            f"{_HERE}sentence_transformers_:SentenceTransformers", 'pip install "modelscope-ext[sentence-transformers]"'
        ),
        "diffusers": Builtin(f"{_HERE}diffusers_:Diffusers", 'pip install "modelscope-ext[diffusers]"'),
        "peft": Builtin(f"{_HERE}peft_:Peft", 'pip install "modelscope-ext[peft]"'),
        "gguf": Builtin(f"{_HERE}gguf_:Gguf", 'pip install "modelscope-ext[gguf]"', ("ggml",)),
        "onnxruntime": Builtin(f"{_HERE}onnx_:Onnx", 'pip install "modelscope-ext[onnx]"', ("onnx",)),
        "modelscope": Builtin(f"{_HERE}modelscope_:ModelScope", 'pip install "modelscope-ext[modelscope]"'),
        # Made for JavaScript, but plain ONNX graphs with a tokenizer.json: onnxruntime runs the same files.
        "transformers.js": Builtin(f"{_HERE}onnx_:Onnx", 'pip install "modelscope-ext[onnx]"', ("onnx",)),
        "mindone": Builtin(f"{_HERE}mindone_:Mindone", 'pip install "modelscope-ext[mindspore]"', ("mindspore",)),
        "mindformers": Builtin(
            f"{_HERE}mindformers_:MindFormers", 'pip install "modelscope-ext[mindspore]"', ("mindspore",)
        ),
        "onediff": Builtin(f"{_HERE}onediff_:OneDiff", 'pip install "modelscope-ext[onediff]"'),
    }
)

#: Other spelling (lower case, hyphens) -> backend name.
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "sentence-transformer": "sentence-transformers",
        "sbert": "sentence-transformers",
        "sentencetransformers": "sentence-transformers",
        "hf": "transformers",
        "huggingface": "transformers",
        "onnx": "onnxruntime",
        "ort": "onnxruntime",
        "optimum": "onnxruntime",
        "transformersjs": "transformers.js",
        "ms": "modelscope",
        "llama.cpp": "gguf",
        "llama-cpp": "gguf",
        "llama-cpp-python": "gguf",
        "mlc": "mlc-llm",
        "mlc-ai": "mlc-llm",
        "mlx-lm": "mlx",
        "mlx-vlm": "mlx",
        "nemo-toolkit": "nemo",
        "tf-keras": "keras",
        "pylate": "colbert",
        "colpali": "colpali-engine",
        "diffusion": "diffusers",
        "torch-timm": "timm",
        "openvino-genai": "openvino",
    }
)


def canonical_backend(spelling: str) -> str:
    """Return the backend's name for any spelling of it: capitals, underscores and well-known aliases do not matter."""
    name = spelling.strip().lower().replace("_", "-").replace(" ", "-")
    return ALIASES.get(name, name)
