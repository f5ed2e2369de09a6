"""The CPU replacements: each against PyTorch, and only where MindSpore has nothing itself (environment `ms`)."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelscope_ext.models.backends._mindspore.kernels import all_rows
from tests.models.backends.mindspore_cases import CASES, FIRST_ONLY, IN_PLACE, Draw
from tests.reference import in_process

pytestmark = pytest.mark.ms

ROWS = all_rows()
#: Drawn at random, or without a value that matters: these have tests of their own.
RANDOM = {
    "RandExt", "RandLikeExt", "Randn", "RandnLike", "RandInt", "RandIntLike", "RandpermExt", "NormalFloatFloat",
    "NormalTensorFloat", "NormalFloatTensor", "NormalTensorTensor", "BernoulliExt", "MultinomialExt", "FuncDropoutExt",
}  # fmt: skip
SHAPE_ONLY = {"mint.empty", "mint.empty_like", "Tensor.new_empty"}
#: Relative difference of one rounding in the dtype, times what a few dozen of them add up to.
TOLERANCE = {"float16": 4e-3, "float32": 2e-5, "float64": 2e-5}


@pytest.fixture(scope="module", autouse=True)
def cpu():
    from modelscope_ext.models.backends._mindspore.device import start
    from modelscope_ext.models.backends._mindspore.quiet import loading

    with loading():
        assert start("cpu") == "cpu"


def test_every_row_has_a_case():
    assert ROWS.keys() == CASES.keys() | RANDOM | SHAPE_ONLY


def brought(value, make):
    if isinstance(value, np.ndarray):
        return make(value)
    return [brought(one, make) for one in value] if isinstance(value, list) else value


def as_dtype(value):
    import mindspore

    return getattr(mindspore, value) if isinstance(value, str) and value in ("float32", "float16", "int64") else value


def numbers(value):
    """Return a list of (dtype, array) for whatever a library gave."""
    if isinstance(value, tuple | list):
        return [one for part in value for one in numbers(part)]
    array = value.numpy() if hasattr(value, "numpy") else value.asnumpy()
    return [(str(array.dtype), array)]


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_as_pytorch_does(name, data):
    import mindspore
    import torch

    arguments, theirs = CASES[name](Draw(data.draw))
    arguments = arguments.get(name, arguments.get("*")) if isinstance(arguments, dict) else arguments
    theirs = theirs[name] if isinstance(theirs, dict) else theirs
    given_ = [brought(one, lambda a: mindspore.Tensor(a.copy())) for one in arguments]
    asked = [brought(one, lambda a: torch.from_numpy(a.copy())) for one in arguments]
    expected = numbers(theirs(*asked))
    found = ROWS[name].run(*map(as_dtype, given_))
    if name in IN_PLACE:
        np.testing.assert_array_equal(given_[0].asnumpy(), found.asnumpy())
    found = numbers(found)
    if name in FIRST_ONLY:
        found = found[:1]
    assert [dtype for dtype, _ in found] == [dtype for dtype, _ in expected]
    for (dtype, ours), (_, right) in zip(found, expected, strict=True):
        assert ours.shape == right.shape
        size = TOLERANCE.get(dtype, 0)
        largest = np.abs(right[np.isfinite(right)]).max(initial=1) if size else 0
        np.testing.assert_allclose(ours, right, rtol=size, atol=size * largest)


def state(seed, offset=0):
    import mindspore

    return mindspore.Tensor(seed, mindspore.int64), mindspore.Tensor(offset, mindspore.int64)


def drawn(name, *arguments, seed=1):
    return ROWS[name].run(*arguments, *state(seed)).asnumpy()


class TestRandom:
    """Shapes, dtypes, ranges and moments of what is drawn; the same seed gives the same."""

    @pytest.fixture
    def like(self):
        import mindspore

        return mindspore.Tensor(np.full((50, 80), 0.25, np.float32))

    @pytest.mark.parametrize("name", ["RandExt", "RandLikeExt"])
    def test_uniform(self, name, like):
        values = drawn(name, (50, 80) if name == "RandExt" else like)
        assert values.shape == (50, 80) and values.dtype == np.float32
        assert values.min() >= 0 and values.max() < 1
        assert abs(values.mean() - 0.5) < 0.02 and abs(values.var() - 1 / 12) < 0.005
        assert np.array_equal(values, drawn(name, (50, 80) if name == "RandExt" else like))
        assert not np.array_equal(values, drawn(name, (50, 80) if name == "RandExt" else like, seed=2))

    @pytest.mark.parametrize(
        ("name", "mean", "deviation"),
        [("Randn", 0, 1), ("RandnLike", 0, 1), ("NormalFloatFloat", 3, 2), ("NormalTensorFloat", 0.25, 2),
         ("NormalFloatTensor", 3, 0.25), ("NormalTensorTensor", 0.25, 0.25)],
    )  # fmt: skip
    def test_normal(self, name, mean, deviation, like):
        arguments = {
            "Randn": [(50, 80)], "RandnLike": [like], "NormalFloatFloat": [3.0, 2.0, (50, 80)],
            "NormalTensorFloat": [like, 2.0], "NormalFloatTensor": [3.0, like], "NormalTensorTensor": [like, like],
        }[name]  # fmt: skip
        values = drawn(name, *arguments)
        assert values.shape == (50, 80) and values.dtype == np.float32
        assert abs(values.mean() - mean) < 0.05 * deviation and abs(values.std() - deviation) < 0.05 * deviation
        assert np.array_equal(values, drawn(name, *arguments))

    def test_integers(self, like):
        for values in (drawn("RandInt", 2, 7, (50, 80)), drawn("RandIntLike", like, 2, 7).astype(int)):
            assert values.shape == (50, 80) and set(np.unique(values)) == {2, 3, 4, 5, 6}
        assert drawn("RandInt", 2, 7, (3,)).dtype == np.int64 and drawn("RandIntLike", like, 2, 7).dtype == np.float32
        order = drawn("RandpermExt", 30)
        assert sorted(order) == list(range(30)) and list(order) != sorted(order)

    def test_chances(self, like):
        assert abs(drawn("BernoulliExt", like).mean() - 0.25) < 0.03
        import mindspore

        weights = mindspore.Tensor(np.array([[1, 3, 0], [0, 1, 1]], np.float32))
        often = drawn("MultinomialExt", weights, 4000, True)
        assert often.shape == (2, 4000) and often.dtype == np.int64
        assert abs((often[0] == 1).mean() - 0.75) < 0.03 and set(often[1]) == {1, 2}
        assert [sorted(row) for row in drawn("MultinomialExt", weights, 2, False)] == [[0, 1], [1, 2]]

    def test_dropout(self, like):
        values = ROWS["FuncDropoutExt"].run(like, 0.4, True, False, *state(1)).asnumpy()
        assert set(np.unique(values).round(4)) == {0.0, np.float32(0.4167)}
        assert abs((values == 0).mean() - 0.4) < 0.03
        assert ROWS["FuncDropoutExt"].run(like, 0.4, False, False, *state(1)) is like


def test_empty_has_shape_and_dtype():
    import mindspore

    half = mindspore.Tensor(np.ones((2, 3), np.float16))
    for made in (ROWS["mint.empty"].run((2, 3), dtype=mindspore.float16), ROWS["mint.empty_like"].run(half)):
        assert made.shape == (2, 3) and made.dtype == mindspore.float16
    made = ROWS["Tensor.new_empty"].run(half, 4, 1)
    assert made.shape == (4, 1) and made.dtype == mindspore.float16


def test_through_mindspore_itself():
    """The names users call: functions, cells, methods, a primitive with settings, the form without."""
    import mindspore as ms
    import torch
    from mindspore import mint, ops

    x = np.random.default_rng(0).random((2, 3), np.float32)
    ours, theirs = ms.Tensor(x), torch.from_numpy(x)
    pairs = [
        (mint.arange(2, 8, 3), torch.arange(2, 8, 3)),
        (mint.nn.functional.gelu(ours), torch.nn.functional.gelu(theirs)),
        (mint.nn.LayerNorm(3)(ours), torch.nn.LayerNorm(3)(theirs).detach()),
        (mint.einsum("ij,kj->ik", ours, ours), theirs @ theirs.T),
        (mint.stack([ours, ours], dim=-1), torch.stack([theirs, theirs], -1)),
        (ops.auto_generate.StackExt(1)((ours, ours)), torch.stack([theirs, theirs], 1)),
        (ops.rms_norm(ours, ours[0], 1e-3)[0], torch.nn.functional.rms_norm(theirs, (3,), theirs[0], 1e-3)),
        (mint.std(ours, dim=1), theirs.std(dim=1)),
        (ours.clone().masked_fill_(ours > 0.5, -1.0), theirs.clone().masked_fill_(theirs > 0.5, -1.0)),
        (mint.nn.functional.interpolate(ours[None], size=7, mode="linear"),
         torch.nn.functional.interpolate(theirs[None], size=7, mode="linear")),
        (mint.roll(ours, 1, 1), theirs.roll(1, 1)),
        (mint.unique(ms.Tensor([3, 1, 3])), torch.tensor([1, 3])),
    ]  # fmt: skip
    for number, (one, other) in enumerate(pairs):
        np.testing.assert_allclose(one.asnumpy(), other.numpy(), rtol=1e-5, atol=1e-6, err_msg=str(number))
    assert mint.equal(ours, ours) is True and mint.equal(ours, ours + 1) is False


def test_a_failure_is_waited_for_and_never_told_to_a_later_call():
    from modelscope_ext.models.backends._mindspore import cpu

    report = cpu.probe()
    assert "unregistered" in report.replaced["Embedding"] and "Ascend" in report.replaced["Tensor.new_full"]
    assert (report.untried, report.unclear) == ((), {})
    import mindspore

    assert (mindspore.Tensor([1.0]) + 1).asnumpy() == [2.0]
    assert json.loads(json.dumps(report.to_dict()))["replaced"].keys() == report.replaced.keys()


def test_every_row_is_lacking_in_this_release_or_it_would_be_dead():
    from modelscope_ext.models.backends._mindspore import cpu

    assert cpu.probe().native == ()


def test_the_command_env_reports_them(capsys):
    from modelscope_ext.cli import main

    def said(*arguments):
        assert main(["env", "--json", *arguments]) == 0
        return json.loads(capsys.readouterr().out)["mindspore_cpu"]

    assert said() == {"replacements": len(ROWS), "in use": "not tried: pass --kernels"}
    tried = said("--kernels")
    assert tried["in use"] == len(ROWS) and "unregistered" in tried["replaced Embedding"]


def test_the_gates_stand_once_and_only_on_a_cpu():
    answer = in_process("""
import mindspore as ms
from mindspore.ops.auto_generate import gen_ops_prim
from modelscope_ext.models.backends._mindspore import cpu
plain = gen_ops_prim.Embedding.__call__
result = [cpu.install("Ascend"), cpu.installed(), gen_ops_prim.Embedding.__call__ is plain]
ms.set_device("CPU")
cpu.install()
first = gen_ops_prim.Embedding.__call__
cpu.install()
result += [first is not plain, gen_ops_prim.Embedding.__call__ is first, cpu.report().replaced]

# A kernel that MindSpore has is MindSpore's, and its own failures are the caller's.
from modelscope_ext.models.backends._mindspore.rows import Of, Row
calls = []
row = Row("Tensor.exp", lambda self: calls.append(1), (Of((2,)),))
bad = Row("Tensor.sin", lambda self: calls.append(1), (3,))
plain = ms.Tensor.exp
gate, other = cpu._before_call(row), cpu._before_call(bad)
value = float(ms.Tensor([0.0]).exp().asnumpy()[0])
float(ms.Tensor([0.0]).sin().asnumpy()[0])
result += [value, calls, gate.lacks, other.lacks, bool(other.said)]
""")
    assert answer == [False, False, True, True, True, {}, 1.0, [], False, False, True]
