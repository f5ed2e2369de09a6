import dataclasses

import pytest

from modelscope_ext.errors import OptionError
from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits


def test_the_defaults_are_those_of_the_contract():
    assert (DEFAULT_LIMITS.json_bytes, DEFAULT_LIMITS.tokenizer_bytes) == (16 * 2**20, 256 * 2**20)
    assert (DEFAULT_LIMITS.depth, DEFAULT_LIMITS.nodes, DEFAULT_LIMITS.yaml_aliases) == (64, 200_000, 32)
    assert (DEFAULT_LIMITS.header_bytes, DEFAULT_LIMITS.tensors, DEFAULT_LIMITS.files) == (8 * 2**20, 100_000, 10_000)
    assert (DEFAULT_LIMITS.layers, DEFAULT_LIMITS.labels, DEFAULT_LIMITS.redirect_depth) == (10_000, 1_000_000, 3)


def test_of_accepts_none_limits_and_dicts():
    assert Limits.of(None) is DEFAULT_LIMITS
    assert Limits.of(DEFAULT_LIMITS) is DEFAULT_LIMITS
    assert Limits.of({"depth": 7}) == dataclasses.replace(DEFAULT_LIMITS, depth=7)


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "9", None])
def test_a_limit_is_a_positive_int(value):
    with pytest.raises(OptionError, match=r"depth=.*positive int"):
        Limits(depth=value)


def test_an_unknown_limit_names_the_nearest():
    with pytest.raises(OptionError, match=r"'dept'.*Did you mean 'depth'\?.*json_bytes"):
        Limits.of({"dept": 3})
    with pytest.raises(OptionError, match="a Limits or a dict"):
        Limits.of(3)
