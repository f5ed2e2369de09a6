"""`modelscope-ext download MODEL`: fetch what a load would read, and print the folder."""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from modelscope_ext.cli import exits
from modelscope_ext.cli.options import add_model, positive, resolve_keywords, signer
from modelscope_ext.cli.output import Output, size
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.models.fetching import Fetched

__all__ = ["EXAMPLES", "configure", "run", "show_files"]

EXAMPLES = """\
examples:
  modelscope-ext download org/model --dry-run          # what would be fetched, and what would not
  modelscope-ext download hf:org/model --variant fp16
  modelscope-ext download org/model --include "*.json" --local-dir ./model"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_model(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would be fetched, fetch nothing")
    parser.add_argument("--include", action="append", default=[], metavar="PATTERN",
                        help="fetch these instead of the files that a load reads; repeatable")  # fmt: skip
    parser.add_argument("--exclude", action="append", default=[], metavar="PATTERN", help="leave these out; repeatable")
    parser.add_argument("--local-dir", metavar="DIR", help="put the files there instead of into the hub's cache")
    parser.add_argument("--verify", metavar="KEY", type=signer,
                        help="check that the files are what this signer signed: a PEM file, or JSON")  # fmt: skip
    parser.add_argument("--max-workers", type=positive, metavar="N", help="files on their way at once (default: 8)")


def run(args: argparse.Namespace, output: Output) -> int:
    """Fetch, and print the folder alone, so that a shell can use it."""
    from modelscope_ext.models.fetching import fetch_model

    output.show_logs()
    with redirect_stdout(sys.stderr):  # whatever a library prints; stdout carries the answer alone
        done = fetch_model(
            args.model,
            include=args.include,
            exclude=args.exclude,
            local_dir=args.local_dir,
            dry_run=args.dry_run,
            workers=args.max_workers,
            verify=args.verify,
            progress=False if output.quiet else None,
            **resolve_keywords(args),
        )
    if output.json:
        output.document({"dry_run": args.dry_run, **done.to_dict()})
        return exits.OK
    if args.dry_run:
        show_files(done, output)
        return exits.OK
    output.note(f"{printable(str(done.source))}: {_summary(done)}")
    output.line(done.folder)
    return exits.OK


def show_files(done: Fetched, output: Output) -> None:
    """Print the files as a table, and what they add up to."""
    output.heading(f"{done.source} at {done.source.commit or 'its folder'}")
    rows = [(file.name, size(file.bytes), "here" if file.cached else "to fetch") for file in done.plan.files]
    output.table(rows, styles=("", "cyan", "dim"))
    output.line(_summary(done))
    if done.plan.disk_free is not None:
        output.line(f"{size(done.plan.disk_free)} free in {printable(done.folder)}")


def _summary(done: Fetched) -> str:
    plan = done.plan
    share = f"; the whole repository has {size(done.whole_bytes)}" if done.whole_bytes > plan.total_bytes else ""
    fetched = f"{size(plan.to_fetch_bytes)} of {size(plan.total_bytes)}" if plan.to_fetch_bytes else "nothing"
    return f"{len(plan.files)} files, {fetched} to fetch{share}"
