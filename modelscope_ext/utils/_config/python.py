"""Running a `.py` configuration that the caller trusts, in a namespace that is thrown away."""

# What is put back was text, too.
# ruff: noqa: PTH100, PTH109, PTH120

from __future__ import annotations

import os
import random
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelscope_ext.errors import RemoteCodeFailed, RemoteCodeRefused
from modelscope_ext.utils.revocation import NO_REMOTE_CODE, revoked
from modelscope_ext.utils.text import printable

__all__ = ["refuse_unless_trusted", "run"]


def refuse_unless_trusted(trusted: bool, data: bytes, file: str, *, field: str | None = None, by: str = "") -> None:
    """Raise RemoteCodeRefused, naming the bytes that would run, unless the caller trusts them.

    Args:
        trusted: The caller's `trust_remote_code`; the environment variable MODELSCOPE_EXT_NO_REMOTE_CODE=1 revokes it.
        data: The source code.
        file: The file it stands in.
        field: The key that names the file, if another file does.
        by: That other file.
    """
    if trusted and not revoked():
        return
    from hashlib import sha256

    named = f" {printable(by)}: {field} names it." if by else ""
    advice = f"Unset {NO_REMOTE_CODE}, which revokes it." if trusted else "Read it, then pass trust_remote_code=True."
    raise RemoteCodeRefused(
        f"Refused to run {printable(file)} (nothing was executed): a .py configuration is a program.{named} "
        f"Would run: sha256:{sha256(data).hexdigest()}. {advice}",
        file=by or file,
        field=field,
        grant=None if trusted else "trust_remote_code",
    )


def run(text: str, file: str) -> dict[str, Any]:
    """Execute `text` and return its variables, without modules, functions and names that begin with two underscores.

    Raises:
        RemoteCodeFailed: It raised, or is not Python; `sys.path`, `sys.modules` and the rest are as before.
    """
    namespace: dict[str, Any] = {"__name__": "modelscope_ext_config", "__file__": file, "__builtins__": __builtins__}
    with _put_back(os.path.dirname(os.path.abspath(file))):
        try:
            exec(compile(text, file, "exec", dont_inherit=True), namespace)  # nosec B102 # with trust_remote_code=True
        except (Exception, SystemExit) as error:
            raise RemoteCodeFailed(
                f"{printable(file)}{_line_of(error, file)}: {type(error).__name__}: {printable(str(error), 200)}. "
                "What it changed in this process was put back.",
                file=file,
            ) from error
    return {
        name: value
        for name, value in namespace.items()
        if not name.startswith("__") and not isinstance(value, types.ModuleType | types.FunctionType)
    }


def _line_of(error: BaseException, file: str) -> str:
    line = error.lineno if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None and not isinstance(error, SyntaxError):
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f", line {line}" if line else ""


@contextmanager
def _put_back(folder: str) -> Iterator[None]:
    """Restore what a configuration could change in this process; installed libraries that it imported stay imported."""
    path, modules, environment, filters = list(sys.path), dict(sys.modules), dict(os.environ), list(warnings.filters)
    cwd, limit, state = os.getcwd(), sys.getrecursionlimit(), random.getstate()
    try:
        yield
    finally:
        sys.path[:] = path
        for name in [name for name in sys.modules if name not in modules and _is_local(sys.modules[name], folder, cwd)]:
            del sys.modules[name]
        sys.modules.update(modules)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)
        warnings.filters[:] = filters  # type: ignore[index]
        os.chdir(cwd)
        sys.setrecursionlimit(limit)
        random.setstate(state)


def _is_local(module: Any, *folders: str) -> bool:
    """Return whether `module` came from one of `folders`, or from nowhere: a library may not be imported twice."""
    file = getattr(module, "__file__", None)
    if file is None:
        return getattr(module, "__spec__", None) is None
    return "site-packages" not in file and any(os.path.abspath(file).startswith(f + os.sep) for f in folders)
