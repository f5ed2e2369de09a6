"""The snippet of diffusers with onediff's line in it, as `Resolution.code()` shows it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Any

from modelscope_ext.models.backends._onediff.compilers import COMPILERS, TORCH
from modelscope_ext.models.resolution import Reason

__all__ = ["snippet"]

_IMPORTS = "import onediffx\n"
_TORCH = """\
import onediffx
import torch
from onediff.infer_compiler.backends.nexfort.deployable_module import get_deployable_module
from onediff.infer_compiler.backends.registry import register_backend


@register_backend("torch")
def compile_with_torch(module, *, options=None):  # PyTorch's own compiler, not oneflow's or nexfort's
    return get_deployable_module(module, torch.compile(module, **(options or {})))


"""


def snippet(diffusers: str, compiler: str, because: Iterable[Reason] = ()) -> str:
    """Return `diffusers`, a snippet that loads a pipeline or a component, with the line that compiles it.

    Args:
        diffusers: Python whose first assignment of a ``from_pretrained(...)`` is what is compiled.
        compiler: A name of `COMPILERS`.
        because: What a load noted: the options in use are among it.

    Example:
        >>> print(snippet("pipe = X.from_pretrained('here')\\nimage = pipe('a cat')\\n", "nexfort"), end="")
        import onediffx
        pipe = X.from_pretrained('here')
        pipe = onediffx.compile_pipe(pipe, backend='nexfort')
        image = pipe('a cat')
    """
    lines = diffusers.splitlines()
    name, end = next(_made(diffusers), ("", 0))
    if not name:
        return diffusers
    backend = compiler if compiler == TORCH.name else COMPILERS[compiler].registered
    head = _TORCH if compiler == TORCH.name else _IMPORTS
    said = {reason.key.rpartition(".")[2]: reason.value for reason in because}
    options = {key: value for key, value in (said.get("compiler_options") or {}).items() if _is_literal(value)}
    more = f", options={options!r}" if options else ""
    if name == "pipe":
        more += f", ignores={said['ignores']!r}" if said.get("ignores") else ""
        made = f"pipe = onediffx.compile_pipe(pipe, backend={backend!r}{more})"
    else:
        head = head.replace("import onediffx\n", "import onediff.infer_compiler\n")
        made = f"{name} = onediff.infer_compiler.compile({name}, backend={backend!r}{more})"
    return head + "\n".join([*lines[:end], made, *lines[end:]]) + "\n"


def _made(text: str) -> Iterator[tuple[str, int]]:
    """Yield each name that is assigned what `from_pretrained` returns, and the line where that ends."""
    for node in ast.parse(text).body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and "from_pretrained" in ast.dump(node)
        ):
            yield node.targets[0].id, node.end_lineno or 0


def _is_literal(value: Any) -> bool:
    """Whether `value` can be written into a snippet; a function that was passed as torch.compile's backend cannot."""
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (SyntaxError, ValueError):
        return False
