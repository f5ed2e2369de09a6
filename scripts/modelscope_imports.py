"""What the modules of ModelScope import when they are first imported, found by reading their source.

ModelScope's own index lists the imports of each file alone; a pipeline needs in addition what the preprocessors and
utilities need that it imports. This follows those imports through ModelScope's lazy packages. What stands in a
function, or behind ``try`` or ``if``, is optional and left out.
"""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modelscope_ext.utils.requirement import pip_name

__all__ = ["needs_of"]

#: Import names that are a package of the registry under that name though ModelScope's metadata does not list them. The
#: others (``utils``, ``tasks``) are files that lie beside some repo's code; nobody must be told to install those.
_ALSO = frozenset(
    (
        "torch",
        "torchvision",
        "torchaudio",
        "diffusers",
        "onnxruntime",
        "tensorflow",
        "mmcv",
        "fairseq",
        "six",
        "xformers",
    )
)
#: What the backend asks for whatever the type (`ModelScope.requires`; a test compares them).
_BACKEND = frozenset(("modelscope", "torch", "addict", "datasets", "numpy", "pillow", "simplejson", "sortedcontainers"))
#: What ModelScope's classes that build on transformers are written for; transformers 5 breaks them when they run.
_TRANSFORMERS_4 = "transformers>=4.57.1,<5"
#: Types that use transformers' own classes only, and were seen to run with transformers 5.
_RUN_WITH_5 = frozenset(("stable-diffusion", "stable-diffusion-xl", "diffusers-stable-diffusion"))


@cache
def _known() -> frozenset[str]:
    return frozenset(canonicalize_name(Requirement(line).name) for line in requires("modelscope") or ()) | _ALSO


@cache
def _always() -> frozenset[str]:
    """Return what the backend asks for whatever the type, and what ModelScope and datasets bring along."""
    own = [line for line in requires("modelscope") or () if "extra ==" not in line]
    return _BACKEND | {"pandas"} | {canonicalize_name(Requirement(line).name) for line in own}


@cache
def _file(module: str) -> tuple[Path, str] | None:
    """Return the file of a module of ModelScope and the package it lies in, or None where there is none."""
    import modelscope

    path = Path(modelscope.__file__).parents[1].joinpath(*module.split("."))
    for file, package in ((path / "__init__.py", module), (path.with_suffix(".py"), module.rpartition(".")[0])):
        if file.is_file():
            return file, package
    return None


#: An import at the very left: what stands in a function or behind ``if`` is indented. A parser takes ten times as long.
_IMPORT = re.compile(
    r"^(?:from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]*(\([^)]*\)|(?:\\\n|[^\n\\])*)|import[ \t]+([^\n#]+))", re.MULTILINE
)


@cache
def _read(module: str) -> tuple[tuple[tuple[str, tuple[str, ...]], ...], dict[str, str]]:
    """Return the imports of a module (absolute name, what is taken from it), and name -> submodule where it is lazy."""
    found = _file(module)
    if found is None:
        return (), {}
    text = found[0].read_text("utf-8")
    imports = []
    for dots, named, taken, plain in _IMPORT.findall(text):
        if plain:
            imports += [(name, ()) for name in _names(plain)]
            continue
        above = found[1].split(".")[: len(found[1].split(".")) - len(dots) + 1] if dots else []
        imports.append((".".join((*above, *filter(None, [named]))), _names(taken)))
    return tuple(imports), _structure(text) if "_import_structure" in text else {}


def _names(text: str) -> tuple[str, ...]:
    """Return what stands between the commas, without ``as``, comments and parentheses."""
    parts = re.sub(r"#[^\n]*|[()\\]", "", text).split(",")
    return tuple(part.split()[0] for part in parts if part.strip())


def _structure(text: str) -> dict[str, str]:
    for node in ast.walk(ast.parse(text)):
        named = isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets]
        if named == ["_import_structure"] and isinstance(node.value, ast.Dict):
            structure = ast.literal_eval(node.value)
            return {name: module for module, names in structure.items() for name in (*names, module)}
    return {}


def _run_by(module: str, names: tuple[str, ...] = ()) -> set[str]:
    """Return the modules that ``from module import names`` runs, the packages above included."""
    parts = module.split(".")
    lazy = _read(module)[1]
    inner = (lazy.get(name, name if _file(f"{module}.{name}") else "") for name in names)
    return {*(".".join(parts[:end]) for end in range(1, len(parts) + 1)), *(f"{module}.{one}" for one in inner if one)}


def needs_of(module: str, name: str) -> tuple[str, ...]:
    """Return the requirements of the type `name` in `module` beyond those of every type, sorted.

    Example:
        >>> needs_of("modelscope.pipelines.cv.image_denoise_pipeline", "nafnet-image-denoise")
        ('opencv-python', 'pandas', 'torchvision')
    """
    todo, seen, tops = _run_by(module), set(), set()
    while todo:
        one = todo.pop()
        seen.add(one)
        for target, names in _read(one)[0]:
            if target.partition(".")[0] == "modelscope":
                todo |= _run_by(target, names) - seen
            else:
                tops.add(target.partition(".")[0])
    found = {canonicalize_name(pip_name(top)) for top in tops - {*sys.stdlib_module_names, ""}}
    chosen = (found & _known()) - _always()
    if "transformers" in chosen and name not in _RUN_WITH_5:
        chosen = chosen - {"transformers"} | {_TRANSFORMERS_4}
    return tuple(sorted(chosen))
