"""The house rules of imports: downward only, and nothing heavy at the top of a module."""

import ast
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import modelscope_ext

ROOT = Path(modelscope_ext.__file__).parent
LAYERS = {
    "errors": 0,
    "utils": 0,
    "data": 0,
    "safety": 1,
    "metadata": 2,
    "hub": 3,
    "models": 4,
    "preprocessors": 5,
    "pipelines": 5,
    "batch": 6,
    "testing": 7,
    "serve": 7,
    "web": 7,
    "cli": 7,
    "__main__": 8,
}
HEAVY = {
    "PIL", "accelerate", "datasets", "diffusers", "fastapi", "gradio", "huggingface_hub", "jinja2", "mindformers",
    "mindone", "mindspore", "modelscope", "numpy", "onediff", "onnx", "onnxruntime", "pandas", "peft", "pyarrow",
    "pydantic", "ray", "rich", "safetensors", "scipy", "sentence_transformers", "starlette", "tokenizers", "torch",
    "transformers", "uvicorn", "yaml", "yapf",
}  # fmt: skip
MODULES = sorted(ROOT.rglob("*.py"))


def relative(path):
    return path.relative_to(ROOT).as_posix()


def imported(tree, *, everywhere):
    """Yield (module, line) for the imports of a module: all of them, or those that run when it is imported."""
    stack = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.lineno
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            stack.extend(node.orelse)
        elif everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            stack.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_go_downward(path):
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if part == "__init__":
        return
    wrong = []
    for name, line in imported(ast.parse(path.read_text("utf-8")), everywhere=True):
        target = name.split(".")
        if target[0] == "modelscope_ext" and len(target) > 1 and LAYERS[target[1]] > LAYERS[part]:
            wrong.append(f"line {line}: {name}")
    assert not wrong, f"{relative(path)} imports from a layer above it: {wrong}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_nothing_heavy_is_imported_at_the_top(path):
    tree = ast.parse(path.read_text("utf-8"))
    heavy = [f"line {line}: {n}" for n, line in imported(tree, everywhere=False) if n.split(".")[0] in HEAVY]
    assert not heavy, f"{relative(path)} imports at its top: {heavy}"


def test_the_walk_sees_a_heavy_import():
    found = dict(imported(ast.parse("def f():\n    import torch\nif 1:\n    import numpy"), everywhere=False))
    assert found == {"numpy": 4}


def in_fresh_process(code):
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent, timeout=120, check=True
    )
    return json.loads(result.stdout)


def test_importing_every_module_imports_nothing_heavy():
    names = [m.name for m in pkgutil.walk_packages([str(ROOT)], "modelscope_ext.") if "__main__" not in m.name]
    names = [n for n in names if not n.startswith("modelscope_ext.testing")]  # it needs pytest, not a framework
    code = f"""
import importlib, json, sys
for name in {names!r}:
    importlib.import_module(name)
print(json.dumps(sorted({{m.split(".")[0] for m in sys.modules}} & set({sorted(HEAVY)!r}))))
"""
    assert in_fresh_process(code) == []


def test_importing_the_package_imports_none_of_its_parts():
    code = """
import json, sys
before = set(sys.modules)
import modelscope_ext
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    loaded = in_fresh_process(code)
    assert [m for m in loaded if m.startswith("modelscope_ext")] == ["modelscope_ext"]
    assert not {"torch", "transformers", "numpy", "pydantic", "dataclasses", "logging"} & set(loaded)
