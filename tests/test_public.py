"""The names the package promises, and where they come from."""

import pytest

import modelscope_ext

PROMISED = {
    "BACKENDS", "Config", "MODELS", "Model", "ModelMetadata", "PIPELINES", "PREPROCESSORS", "Snapshot", "Tasks",
    "build_model", "build_pipeline", "build_preprocessor", "pipeline", "plan", "resolve",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted({*PROMISED, *modelscope_ext.__all__}))
def test_a_public_name_can_be_imported(name):
    value = getattr(modelscope_ext, name)
    assert value is not None
    assert name in dir(modelscope_ext)
    assert name in modelscope_ext.__all__
    home = getattr(value, "__module__", None)
    if home and isinstance(value, type):
        assert home.startswith("modelscope_ext"), f"{name} is somebody else's: {home}"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'pipelin'"):
        modelscope_ext.pipelin


def test_public_callables_explain_themselves():
    lacking = [n for n in modelscope_ext.__all__ if n != "__version__" and not getattr(modelscope_ext, n).__doc__]
    assert lacking == []
