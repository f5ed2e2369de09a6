"""The model that ships with the package: handwritten digits, trained by `examples/digits/train.py`.

Example:
    >>> from modelscope_ext.data import digits_folder, digits_samples
    >>> sorted(p.name for p in digits_folder().iterdir())
    ['README.md', 'config.json', 'model.safetensors', 'onnx', 'preprocessor_config.json']
    >>> [p.stem for p in digits_samples()]
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["digits_folder", "digits_samples"]

_HERE = Path(__file__).parent


def digits_folder() -> Path:
    """Return the folder of the shipped model: a ViT in safetensors and ONNX, without a configuration.json."""
    return _HERE / "digits"


def digits_samples() -> list[Path]:
    """Return ten held-out pictures (PNG, 8x8, grey), one of each digit in order; a file's stem is its true label."""
    return sorted((_HERE / "digits_samples").glob("*.png"))
