"""Whole processes: the import of the package and its command line, from start to end, bytecode already written."""

from __future__ import annotations

from pathlib import Path

from benchmarks.folders import plain_transformers
from benchmarks.measure import Timer, modules_after, process

__all__ = ["import_", "imports_nothing_heavy", "inspect", "inspect_bare", "inspect_imports_nothing_heavy"]

_FORBIDDEN = {"torch", "transformers", "numpy", "pydantic", "modelscope", "onnxruntime", "PIL", "yaml", "rich"}

#: What pip writes into the file `modelscope-ext`.
PROGRAM = "import sys; from modelscope_ext.cli import main; sys.exit(main())"


def imports_nothing_heavy() -> None:
    found = _FORBIDDEN & modules_after("import modelscope_ext")
    if found:
        raise AssertionError(f"import modelscope_ext imports {sorted(found)}")


def inspect_imports_nothing_heavy() -> None:
    from modelscope_ext.data import digits_folder

    code = f"from modelscope_ext.cli import main; main(['inspect', {str(digits_folder())!r}])"
    found = (_FORBIDDEN - {"yaml", "rich"}) & modules_after(code)
    if found:
        raise AssertionError(f"inspect imports {sorted(found)}")


def import_(_: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    return (
        ("import modelscope_ext", process("-c", "import modelscope_ext")),
        ("import modelscope", process("-c", "import modelscope")),
    )


def inspect(scratch: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    folder = plain_transformers(scratch / "inspected")
    return (
        ("modelscope-ext inspect DIR", process("-c", PROGRAM, "inspect", str(folder))),
        ("import optimum's TasksManager", process("-c", "from optimum.exporters.tasks import TasksManager")),
    )


def inspect_bare(scratch: Path, *, terminal: bool) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    folder = str(plain_transformers(scratch / "bare"))
    shown = ["inspect", folder] if terminal else ["inspect", folder, "--json"]
    name = "modelscope-ext inspect DIR" + (", on a terminal" if terminal else " --json")
    return (name, process("-c", PROGRAM, *shown, terminal=terminal)), ("python -c pass", process("-c", "pass"))
