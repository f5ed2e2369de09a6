"""Run with the package installed: `pytest examples/model_by_decorator`."""

from pathlib import Path

import modelscope_ext
from modelscope_ext import MODELS, ModelMetadata, pipeline

DIGITS = Path(modelscope_ext.__file__).parent / "data" / "digits"
PICTURES = sorted(DIGITS.with_name("digits_samples").glob("*.png"))


def test_it_is_found_without_an_import():
    entry = MODELS.select(task="image-classification", backend="onnxruntime", framework="onnx", model_type="vit")
    assert entry.origin == "entry point 'acme-sure' of acme-sure 1.0"
    assert ModelMetadata.of(entry.load()).extra == {"license": "apache-2.0"}


def test_sure_or_silent():
    pictures = [str(path) for path in PICTURES]
    with pipeline(model=DIGITS, backend="onnx") as pipe:
        assert type(pipe.model).__name__ == "SureOrSilent"
        assert "acme_sure:SureOrSilent" in str(pipe.resolution.because)
        everything = pipe(pictures, at_least=0.0)
        nothing = pipe(pictures, at_least=1.1)
        some = pipe(pictures)
    assert len({labels[0]["label"] for labels in everything}) > 5
    assert {labels[0]["label"] for labels in nothing} == {"unsure"}
    assert all(len(labels) == 1 for labels in nothing)
    for sure, full in zip(some, everything, strict=True):
        expected = [one for one in full if one["score"] >= 0.9]
        assert sure == (expected or [{"label": "unsure", "score": full[0]["score"]}])
