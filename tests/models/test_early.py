"""The framework's libraries are mapped beforehand, and whatever is wrong with them is left to the import to say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modelscope_ext.models.early import map_libraries

_MAPPED = """\
import sys
from pathlib import Path
from modelscope_ext.models.early import map_libraries

thread = map_libraries("pytorch")
thread.join()
assert "torch" not in sys.modules
print("libtorch_cpu" in Path("/proc/self/maps").read_text())
import torch
print(torch.ones(3, 2) @ torch.ones(2, 1), map_libraries("pytorch"))
"""


def _python(script: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    setup = "".join(f"import sys; sys.path.insert(0, {str(path)!r})\n" for path in paths)
    return subprocess.run([sys.executable, "-c", setup + script], capture_output=True, text=True, check=False)


@pytest.mark.pt
@pytest.mark.skipif(sys.platform != "linux", reason="libraries are mapped on Linux only")
def test_the_import_finds_what_was_mapped() -> None:
    done = _python(_MAPPED)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "tensor([[2.],", "[2.],", "[2.]])", "None"]


def test_a_library_that_cannot_be_mapped_is_left_to_the_import(tmp_path: Path) -> None:
    (tmp_path / "torch" / "lib").mkdir(parents=True)
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('no such build')")
    (tmp_path / "torch" / "lib" / "libtorch_cpu.so").write_bytes(b"junk")
    script = """\
from modelscope_ext.models.early import map_libraries
thread = map_libraries("pytorch")
if thread is not None: thread.join()
try: import torch
except ImportError as error: print(error)
"""

    done = _python(script, tmp_path)

    assert (done.stdout, done.stderr) == ("no such build\n", "")


@pytest.mark.parametrize("framework", [None, "onnx", "mindspore", "pytorch "])
def test_other_frameworks_have_nothing_to_map(framework: str | None) -> None:
    assert map_libraries(framework) is None
