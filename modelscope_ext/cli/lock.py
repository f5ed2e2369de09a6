"""`modelscope-ext lock MODEL`: write down exactly what a load would load, for `pipeline(lock=...)`."""

from __future__ import annotations

import argparse
from pathlib import Path

from modelscope_ext.cli import exits
from modelscope_ext.cli.options import add_model, resolve_keywords
from modelscope_ext.cli.output import Output, size
from modelscope_ext.utils.text import printable

__all__ = ["EXAMPLES", "configure", "run"]

EXAMPLES = """\
to load it:
  from modelscope_ext import pipeline
  pipe = pipeline(lock="model.lock.json")

examples:
  modelscope-ext lock org/model -o model.lock.json
  modelscope-ext lock ./my-model > model.lock.json"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_model(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="write it there instead of to stdout")


def run(args: argparse.Namespace, output: Output) -> int:
    """Make the lock, and write it."""
    from modelscope_ext.models.lock import make_lock
    from modelscope_ext.utils.atomic import write_atomic

    output.show_logs()
    lock = make_lock(args.model, **resolve_keywords(args))
    if args.output is not None:
        write_atomic(Path(args.output), lock.text())
        total = size(sum(file.bytes for file in lock.files))
        output.note(
            f"wrote {printable(args.output)}: {len(lock.files)} files, {total}, {len(lock.libraries)} libraries"
        )
    if output.json or args.output is None:
        output.stdout.write(lock.text())
    return exits.OK
