"""E23, E25: what a configuration declares against the bytes of its weights."""

from __future__ import annotations

import pytest

from modelscope_ext.errors import LimitExceeded
from modelscope_ext.models.gate.shapes import check_shapes

GIB = 2**30
LLAMA = {
    "model_type": "llama",
    "vocab_size": 128_256,
    "hidden_size": 8192,
    "num_hidden_layers": 80,
    "intermediate_size": 28_672,
}


@pytest.mark.parametrize("size", [141 * GIB, 40 * GIB, 10 * GIB])  # bfloat16, 4 bits, 1 bit
def test_a_real_model_passes_however_it_is_packed(size):
    check_shapes({"config.json": LLAMA}, size, 723, source="m")


def test_a_large_configuration_beside_a_small_file_does_not():
    with pytest.raises(LimitExceeded) as caught:
        check_shapes({"config.json": {"text_config": LLAMA}}, 2**20, 3, source="m")
    assert (caught.value.file, caught.value.source) == ("config.json", "m")
    assert caught.value.field.startswith("text_config.")


def test_layers_without_tensors():
    deep = {"num_hidden_layers": 9000, "hidden_size": 4}
    with pytest.raises(LimitExceeded, match="declares 9000 layers"):
        check_shapes({"config.json": deep}, GIB, 12, source="m")
    check_shapes({"config.json": {**deep, "num_hidden_layers": 512}}, GIB, 12, source="m")


def test_what_is_no_size_is_not_counted():
    check_shapes({"config.json": {"vocab_size": None, "hidden_size": "x"}, "a/config.json": []}, 8, None, source="m")
