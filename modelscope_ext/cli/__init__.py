"""The command line `modelscope-ext`: it parses, asks the package, prints the answer, and returns an exit code.

The commands are rows of `COMMANDS`. Only the chosen command's module is imported; the parser of all commands is built
from the table alone, so that ``modelscope-ext --help`` and every short command start fast.

Each command is one module with ``EXAMPLES`` (text for its ``--help``), ``configure(parser)`` and
``run(args, output) -> int``, whose result is a row of `modelscope_ext.cli.exits.EXITS`.

Example:
    >>> from modelscope_ext.cli import main
    >>> main(["--version"])
    modelscope-ext 0.1.0
    0
"""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from modelscope_ext import __version__
from modelscope_ext.cli import exits

__all__ = ["COMMANDS", "PROGRAM", "main", "parse"]

PROGRAM = "modelscope-ext"

#: Command -> (its module, one line of help), in the order of ``--help``.
COMMANDS = {
    "inspect": ("inspect_", "say what a model is, what it needs, and why"),
    "plan": ("plan", "say which files a load reads, and whether disk and memory have room"),
    "download": ("download", "fetch what a load reads into the hub's cache, or into a folder"),
    "lock": ("lock", "write down exactly what a load would load, for pipeline(lock=...)"),
    "run": ("run", "load a model and run its task on inputs"),
    "batch": ("batch", "run a model over a data set, in shards that survive a crash; here or on a cluster"),
    "serve": ("serve", "answer OpenAI's clients, and the Open Inference Protocol, over HTTP"),
    "export": ("export", "write a model in another format, checked against the original"),
    "convert": ("convert", "turn a model's weights into another library's, bit by bit"),
    "check": ("check", "compare what configuration.json and the card declare with the files"),
    "init": ("init", "write a complete configuration.json from what the files say"),
    "scan": ("scan", "classify every model below a folder"),
    "list": ("list_", "list backends, tasks, registered models or pipelines"),
    "env": ("env", "show versions, installed libraries and settings in effect"),
    "demo": ("demo", "run the small model that ships with this package on real images"),
}

#: Commands whose garbage is worth collecting; the others end before it matters.
_LONG = frozenset(("run", "batch", "serve", "download", "export", "convert", "scan", "demo"))

EXAMPLES = """\
examples:
  modelscope-ext demo
  modelscope-ext inspect ./my-model
  modelscope-ext run ./my-model "What a lovely day"
  modelscope-ext check ./my-model --json
  modelscope-ext COMMAND --help"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are ours: with the nearest option, and as JSON where that is asked for."""

    def error(self, message: str) -> NoReturn:
        """Raise OptionError; argparse would print the whole usage and exit."""
        from modelscope_ext.errors import OptionError
        from modelscope_ext.utils.text import did_you_mean, printable

        _, _, strange = message.partition("unrecognized arguments: ")
        near = did_you_mean(strange.split(" ")[0].partition("=")[0], self._option_string_actions) if strange else ""
        raise OptionError(f"{printable(message, 2000).rstrip('.')}.{near} `{self.prog} --help` shows what there is")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help as wide as the terminal; argparse would import `shutil` to find that out, at every start (3 ms)."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return max(int(columns), 40)
    try:
        return max(os.get_terminal_size(sys.__stdout__.fileno()).columns, 40)  # type: ignore[union-attr]
    except (OSError, ValueError, AttributeError):
        return 80


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing is raised for what a user can cause.

    Args:
        argv: The arguments without the program's name; `sys.argv[1:]` by default.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # A program that has been started twice in one process (tests) must not keep a stream of the first run.
    stdout, debug = sys.stdout, "--debug" in arguments
    try:
        with _short_life(arguments):
            code = _run(arguments)
        stdout.flush()
        return code
    except SystemExit as end:  # argparse ends --help, --version and usage errors this way
        return end.code if isinstance(end.code, int) else exits.USAGE
    except KeyboardInterrupt:
        _to_stderr("interrupted")
        return exits.INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe, e.g. `head`, has enough
        _silence(stdout)
        return exits.BROKEN_PIPE
    except Exception as error:
        if debug:
            raise
        from modelscope_ext.cli.output import report_error

        return report_error(error, arguments)


@contextmanager
def _short_life(arguments: Sequence[str]) -> Iterator[None]:
    """Spare a short command the garbage collector, which would take a sixth of the time of a cold `inspect`."""
    if not gc.isenabled() or _LONG.intersection(arguments):
        yield
        return
    gc.disable()
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)  # the last collection, at the interpreter's end, then finds nothing to look at
    try:
        yield
    finally:
        gc.enable()


def _run(arguments: list[str]) -> int:
    args, module = parse(arguments)
    from modelscope_ext.cli.output import Output

    with Output.of(args) as output:
        return int(module.run(args, output))


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, Any]:
    """Return the parsed arguments and the module of the chosen command.

    Raises:
        SystemExit: For ``--help`` and ``--version`` (0).
        OptionError: What cannot be parsed.
    """
    common, command, rest = _split(arguments)
    if command not in COMMANDS:
        _top_parser(command).parse_args([*common, *([] if command is None else [command])])
        raise SystemExit(exits.USAGE)
    from importlib import import_module

    name, text = COMMANDS[command]
    module = import_module(f"modelscope_ext.cli.{name}")
    from modelscope_ext.cli.options import add_common

    parser = _Parser(
        prog=f"{PROGRAM} {command}",
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=f"{module.EXAMPLES.rstrip()}\n\n{exits.help_text()}",
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    module.configure(parser)
    add_common(parser)
    args = parser.parse_intermixed_args([*common, *rest])
    args.arguments = list(arguments)
    return args, module


def _split(arguments: Sequence[str]) -> tuple[list[str], str | None, list[str]]:
    """Split into the options before the command (none of them takes a value), the command, and what follows it."""
    for index, argument in enumerate(arguments):
        if not argument.startswith("-"):
            return list(arguments[:index]), argument, list(arguments[index + 1 :])
    return list(arguments), None, []


def _top_parser(command: str | None) -> argparse.ArgumentParser:
    """Return the parser that knows the commands by name only; it serves --help, --version and unknown commands."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items())
    parser = _Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} COMMAND [ARGUMENT...]",
        description="Work out framework, backend and task of a model folder, explain the decision, and run it.",
        epilog=f"commands:\n{commands}\n\n{EXAMPLES}\n\n{exits.help_text()}",
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.add_argument("command", metavar="COMMAND", type=_known_command, help="one of the commands below")
    if command is None:
        from modelscope_ext.cli.options import add_common

        add_common(parser)
    return parser


def _known_command(name: str) -> str:
    from modelscope_ext.utils.text import did_you_mean, printable

    raise argparse.ArgumentTypeError(
        f"unknown command {printable(name)!r}.{did_you_mean(name, COMMANDS)} Commands: {', '.join(COMMANDS)}"
    )


def _to_stderr(text: str) -> None:
    print(f"{PROGRAM}: {text}", file=sys.stderr)


def _silence(stdout: Any) -> None:
    """Point stdout at nothing, so that the interpreter's flush at exit does not fail again."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
    except (OSError, ValueError):  # not a real file: nothing will flush it at exit
        return
