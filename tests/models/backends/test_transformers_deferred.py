"""scipy's optimisers and PyTorch's compiler are imported by what needs them, not by the load, and do the same then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.pt

_LOADED = """\
import sys
from modelscope_ext import pipeline
print(len(pipeline(model=sys.argv[1])("a good day")))
"""

_LOSS = """\
import json, sys, types
import torch
if len(sys.argv) > 1:
    from modelscope_ext.models.backends._transformers.deferred import import_modeling
    import_modeling()
    assert "transformers.loss.loss_utils" in sys.modules and "scipy.optimize" not in sys.modules
from transformers.loss.loss_for_object_detection import ForObjectDetectionLoss
assert ("scipy.optimize" in sys.modules) == (len(sys.argv) == 1)
torch.manual_seed(0)
config = types.SimpleNamespace(
    class_cost=1, bbox_cost=5, giou_cost=2, num_labels=3, eos_coefficient=0.1, auxiliary_loss=False,
    bbox_loss_coefficient=5, giou_loss_coefficient=2,
)
boxes, logits = torch.rand(2, 5, 4), torch.randn(2, 5, 4)
labels = [{"class_labels": torch.tensor([0, 2]), "boxes": torch.rand(2, 4)} for _ in range(2)]
loss, parts, _ = ForObjectDetectionLoss(logits, labels, torch.device("cpu"), boxes, config)
assert "scipy.optimize" in sys.modules
print(json.dumps([loss.item(), {name: value.item() for name, value in parts.items()}]))
"""

_OTHERS = """\
import sys
from modelscope_ext.models.backends._transformers import deferred
names = deferred._UNOPENED["scipy.optimize"]
sys.modules["scipy.optimize"] = unopened = deferred._Unopened("scipy.optimize", names, thread=0)
import scipy.optimize as before
assert before is unopened
from scipy.optimize import minimize
import scipy.optimize._minimize
assert sys.modules["scipy.optimize"] is not unopened and before.minimize is minimize
import scipy.stats
print(unopened.linear_sum_assignment([[1, 0], [0, 1]])[1].tolist(), hasattr(before, "__no_such__"))
"""

_COMPILER_MEANWHILE = """\
import sys, torch
from modelscope_ext.models.backends._transformers import deferred
sys.meta_path.insert(0, deferred._FINDER)
for name, names in deferred._UNOPENED.items():
    sys.modules[name] = deferred._Unopened(name, names, thread=0)
from torch._dynamo.decorators import allow_in_graph
import torch._dynamo.config
config = torch._dynamo.config
config.__spec__.loader.get_filename()
print(torch._dynamo.allow_in_graph is allow_in_graph, sys.modules["torch._dynamo.config"] is config)
print([name for name in deferred._UNOPENED if isinstance(sys.modules.get(name), deferred._Unopened)])
"""

# A mask that needs the compiler's context, what the compiler knows of transformers' functions then, and a function that
# it must leave to Python.
_COMPILER = """\
import json, sys
import torch
if len(sys.argv) > 1:
    from modelscope_ext.models.backends._transformers.deferred import import_modeling
    import_modeling()
from transformers.integrations import deepgemm, finegrained_fp8, sonicmoe
from transformers.integrations.flex_attention import WrappedFlexAttention
from transformers.masking_utils import sdpa_mask

assert ("torch._dynamo" in sys.modules) == (len(sys.argv) == 1)
table = torch.tensor([True, False, True, True])
mask = sdpa_mask(
    batch_size=1, q_length=4, kv_length=4, use_vmap=True, allow_is_causal_skip=False,
    mask_function=lambda batch, head, query, key: table[key] & (key <= query),
)
assert 0 < mask.sum() < mask.numel()

from torch._dynamo import trace_rules
known = {
    f"{module.__name__}.{name}": [
        id(item) in trace_rules._allowed_callable_ids.function_ids,
        getattr(item, "_dynamo_marked_constant", False),
    ]
    for module in (deepgemm, finegrained_fp8, sonicmoe)
    for name, item in vars(module).items() if callable(item) and getattr(item, "__module__", "") == module.__name__
}
assert any(allowed for allowed, _ in known.values()) and any(constant for _, constant in known.values())

def step(x):
    x = x + 1
    WrappedFlexAttention(False)
    return x * 2

told = torch._dynamo.explain(step)(torch.arange(3.0))
compiled = torch.compile(step, backend="eager")(torch.arange(3.0)).tolist()
print(json.dumps([mask.tolist(), known, told.graph_count, told.graph_break_count, compiled]))
"""


def _python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)


def test_a_load_and_a_prediction_import_neither_optimisers_nor_compiler(tmp_path: Path) -> None:
    from tests.tiny.transformers_ import build

    folder = build("text-classification", tmp_path / "model")
    look = "print([n for n in sys.modules if n.startswith(('scipy.optimize', 'torch._dynamo'))])"

    done = _python(f"{_LOADED}\n{look}", str(folder))

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "[]"]


@pytest.mark.parametrize("script", [_LOSS, _COMPILER], ids=["loss", "compiler"])
def test_what_was_deferred_does_the_same(script: str) -> None:
    ours, theirs = _python(script, "deferred"), _python(script)

    assert (ours.returncode, theirs.returncode) == (0, 0), ours.stderr + theirs.stderr
    assert ours.stdout == theirs.stdout


def test_whoever_imports_the_optimisers_meanwhile_gets_them() -> None:
    done = _python(_OTHERS)

    assert (done.returncode, done.stdout) == (0, "[1, 0] False\n"), done.stderr


def test_whoever_imports_the_compiler_meanwhile_gets_it() -> None:
    done = _python(_COMPILER_MEANWHILE)

    assert (done.returncode, done.stdout) == (0, "True True\n[]\n"), done.stderr


def test_tensors_with_memory_are_filled_as_ever() -> None:
    import torch

    from modelscope_ext.models.backends._transformers.deferred import no_values_for_meta

    torch.manual_seed(0)
    plain = torch.nn.Linear(3, 2).weight
    torch.manual_seed(0)
    with no_values_for_meta():
        with torch.device("meta"):
            layers = torch.nn.Linear(3, 2), torch.nn.Embedding(2, 3)
        filled = torch.nn.Linear(3, 2).weight

    assert torch.equal(plain, filled)
    assert all(layer.weight.is_meta for layer in layers)


def test_losses_that_cannot_be_imported_are_left_to_the_library(tmp_path: Path) -> None:
    (tmp_path / "scipy").mkdir()
    (tmp_path / "scipy" / "__init__.py").touch()
    (tmp_path / "transformers").mkdir()
    (tmp_path / "transformers" / "__init__.py").write_text("raise RuntimeError('a broken install')")
    script = """\
import sys
sys.path.insert(0, sys.argv[1])
from modelscope_ext.models.backends._transformers.deferred import import_modeling
import_modeling()
print([n for n in sys.modules if n.startswith(("scipy", "transformers"))])
"""

    done = _python(script, str(tmp_path))

    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
