"""`--python PATH`: the same command in another environment's interpreter, in a child process.

Libraries that cannot live together (mindone and transformers 5) get environments of their own; one command line serves
both. The child runs this very package, whatever the other environment has installed, and needs only its few
requirements there. Input, output and exit code are the child's own, and so are its errors.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from modelscope_ext.errors import MissingRequirement, OptionError
from modelscope_ext.utils.text import printable

__all__ = ["BASE", "run_elsewhere", "without_option"]

#: Module -> what this package requires of every environment (setup.py, install_requires).
BASE: Mapping[str, str] = {
    "addict": "addict>=2.4",
    "yapf": "yapf>=0.40",
    "yaml": "PyYAML>=6",
    "packaging": "packaging>=22",
    "platformdirs": "platformdirs>=3.5",
}

_OLDEST = (3, 10)
_PROBE = """\
import sys
del sys.path[0]
import json
from importlib.util import find_spec
missing = [name for name in sys.argv[1:] if find_spec(name) is None]
print(json.dumps({"version": sys.version_info[:2], "missing": missing}))
"""
_START = """\
import sys
del sys.path[0]
from importlib.util import module_from_spec, spec_from_file_location
file = sys.argv.pop(1)
spec = spec_from_file_location("modelscope_ext", file, submodule_search_locations=[file.rpartition("__init__")[0]])
sys.modules["modelscope_ext"] = module = module_from_spec(spec)
spec.loader.exec_module(module)
sys.argv[0] = "modelscope-ext"
from modelscope_ext.cli import main
sys.exit(main())
"""


def run_elsewhere(python: str | os.PathLike[str], arguments: Sequence[str]) -> int:
    """Run ``modelscope-ext ARGUMENTS`` with another interpreter and return its exit code.

    Args:
        python: An interpreter, or the folder of a virtual environment.
        arguments: The command and its arguments, without ``--python``.

    Raises:
        OptionError: There is no such interpreter, or it is too old.
        MissingRequirement: Its environment lacks a requirement of this package.
    """
    interpreter = _interpreter(python)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONSAFEPATH")}
    _check(interpreter, environment)
    import modelscope_ext

    command = [interpreter, "-c", _START, str(modelscope_ext.__file__), *arguments]
    sys.stdout.flush()
    sys.stderr.flush()
    with subprocess.Popen(command, env=environment) as child, _handed_on(child):
        code = _wait(child)
    return code if code >= 0 else 128 - code


def without_option(arguments: Sequence[str], option: str) -> list[str]:
    """Return `arguments` without an option and its value; what follows ``--`` is left alone.

    Example:
        >>> without_option(["run", "m", "--python", "p", "--json", "--", "--python"], "--python")
        ['run', 'm', '--json', '--', '--python']
    """
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return [*kept, argument, *rest]
        if argument == option:
            next(rest, None)
        elif not argument.startswith(f"{option}="):
            kept.append(argument)
    return kept


def _interpreter(python: str | os.PathLike[str]) -> str:
    """Return the interpreter's path; a link is not followed, since it is what makes a virtual environment."""
    path = Path(python)
    if path.is_dir():
        inside = [path / "bin" / "python", path / "Scripts" / "python.exe"]
        found = next((one for one in inside if one.is_file()), None)
        if found is None:
            raise OptionError(
                f"--python {printable(str(path))}: no virtual environment: neither bin/python nor Scripts/python.exe is"
                " in it. Pass an interpreter, or the folder that `python -m venv` made"
            )
        return os.path.abspath(found)  # noqa: PTH100  resolve() would leave the environment
    if not path.is_file():
        raise OptionError(
            f"--python {printable(str(path))}: no such file. Pass an interpreter such as ms/bin/python; "
            "`python -m venv ms` makes an environment"
        )
    if not os.access(path, os.X_OK):
        raise OptionError(
            f"--python {printable(str(path))}: it cannot be run. Pass an interpreter such as ms/bin/python"
        )
    return os.path.abspath(path)  # noqa: PTH100


def _check(interpreter: str, environment: Mapping[str, str]) -> None:
    """Refuse what is no Python, is too old, or lacks what this package needs."""
    said = _probe(interpreter, environment)
    version = tuple(said["version"])
    if version < _OLDEST:
        raise OptionError(
            f"--python {printable(interpreter)} is Python {version[0]}.{version[1]}; expected"
            f" {_OLDEST[0]}.{_OLDEST[1]} or later. Make the environment anew with a later one"
        )
    missing = [BASE[name] for name in said["missing"]]
    if missing:
        listed = " ".join(f'"{one}"' for one in missing)
        raise MissingRequirement(
            f"--python {printable(interpreter)}: its environment lacks {', '.join(missing)}, which modelscope-ext needs"
            f" everywhere.\nInstall it with: {printable(interpreter)} -m pip install {listed}"
        )


def _probe(interpreter: str, environment: Mapping[str, str]) -> dict[str, Any]:
    command = [interpreter, "-c", _PROBE, *BASE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True)
        said = json.loads(done.stdout)
        if len(said["version"]) == 2 and set(said["missing"]) <= set(BASE):
            return dict(said)
        raise ValueError(f"it printed {printable(done.stdout, 100)}")
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        raise OptionError(
            f"--python {printable(interpreter)} does not answer as an interpreter of Python does"
            f" ({printable(str(error), 200)}). Pass one such as ms/bin/python"
        ) from error


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Wait for the child; Ctrl-C reaches it too, and it says so and cleans up by itself."""
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            continue


@contextmanager
def _handed_on(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Hand SIGTERM on to the child, which would outlive us otherwise."""

    def hand_on(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    try:
        before = signal.signal(signal.SIGTERM, hand_on)
    except ValueError:  # not the main thread, which alone receives signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
