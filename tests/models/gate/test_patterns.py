"""E27: patterns of real adapters pass; those that could run for ever do not."""

from __future__ import annotations

import pytest

from modelscope_ext.models.gate.patterns import fault_of_pattern

REAL = (
    "all-linear",
    r".*\.(q_proj|v_proj)$",
    r"^(?!.*patch_embed).*(?:language_model|lm_head).*(?:q_proj|k_proj|v_proj).*",
    r"(?:.*?(?:vision|language).*?(?:self_attn|mlp).*?(?:qkv|proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp))",
    r"(down_blocks|mid_block|up_blocks)\.\d+.*to_[qkv]",
    r"(.*x_embedder|.*(?<!single_)transformer_blocks\.[0-9]+\.norm1\.linear)",
)


@pytest.mark.parametrize("pattern", REAL)
def test_real_patterns_pass(pattern):
    assert fault_of_pattern(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+X",
        "(([a-z0-9_.])+)+X",
        "(?:a*)*",
        "(a|a)*X",
        "((a?))+X",
        "(a{1,}){20,}",
        ".*.*.*X",
        "((",
        "a)",
        "x" * 9000,
        "\\",
    ],
)
def test_runaway_and_broken_patterns_do_not(pattern):
    assert fault_of_pattern(pattern)
