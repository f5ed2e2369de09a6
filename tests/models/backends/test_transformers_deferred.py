"""scipy's optimisers are imported by the loss that needs them, not by the load, and do the same then."""

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
    from modelscope_ext.models.backends._transformers.deferred import import_losses
    import_losses()
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
sys.modules["scipy.optimize"] = unopened = deferred._Unopened(thread=0)
import scipy.optimize as before
assert before is unopened
from scipy.optimize import minimize
import scipy.optimize._minimize
assert sys.modules["scipy.optimize"] is not unopened and before.minimize is minimize
import scipy.stats
print(deferred.linear_sum_assignment([[1, 0], [0, 1]])[1].tolist(), hasattr(before, "__no_such__"))
"""


def _python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)


def test_a_load_and_a_prediction_import_no_optimisers(tmp_path: Path) -> None:
    from tests.tiny.transformers_ import build

    folder = build("text-classification", tmp_path / "model")

    done = _python(f"{_LOADED}\nprint([n for n in sys.modules if n.startswith('scipy.optimize')])", str(folder))

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "[]"]


def test_a_loss_is_the_same_to_the_last_bit() -> None:
    ours, theirs = _python(_LOSS, "deferred"), _python(_LOSS)

    assert (ours.returncode, theirs.returncode) == (0, 0), ours.stderr + theirs.stderr
    assert ours.stdout == theirs.stdout


def test_whoever_imports_the_optimisers_meanwhile_gets_them() -> None:
    done = _python(_OTHERS)

    assert (done.returncode, done.stdout) == (0, "[1, 0] False\n"), done.stderr


def test_losses_that_cannot_be_imported_are_left_to_the_library(tmp_path: Path) -> None:
    (tmp_path / "scipy").mkdir()
    (tmp_path / "scipy" / "__init__.py").touch()
    (tmp_path / "transformers").mkdir()
    (tmp_path / "transformers" / "__init__.py").write_text("raise RuntimeError('a broken install')")
    script = """\
import sys
sys.path.insert(0, sys.argv[1])
from modelscope_ext.models.backends._transformers.deferred import import_losses
import_losses()
print([n for n in sys.modules if n.startswith(("scipy", "transformers"))])
"""

    done = _python(script, str(tmp_path))

    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
