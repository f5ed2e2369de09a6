"""`modelscope-ext export MODEL OUTPUT --to onnx`: write a model in another format, checked against the original.

The copy is loaded and compared before OUTPUT appears; a command that fails, or is interrupted, leaves nothing behind.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from typing import Any

from modelscope_ext.cli import exits
from modelscope_ext.cli.options import add_model, add_permissions, permissions, positive, resolve_keywords
from modelscope_ext.cli.output import Output, size
from modelscope_ext.utils.text import printable

__all__ = ["EXAMPLES", "configure", "run"]

EXAMPLES = """\
examples:
  modelscope-ext export ./my-model ./my-model-onnx
  modelscope-ext export ./sentiment ./sentiment-onnx --to onnx --task text-classification --json
  modelscope-ext export ./embedder ./embedder-onnx --overwrite --opset 18"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_model(parser)
    parser.add_argument("output", metavar="OUTPUT", help="the folder to make")
    parser.add_argument("--to", default="onnx", metavar="FORMAT", help="the format (default: onnx)")
    parser.add_argument("--opset", type=positive, metavar="N", help="version of the ONNX operators")
    parser.add_argument("--tolerance", type=_share, metavar="X", help="largest difference of a number (default: 1e-4)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUTPUT where it is an earlier export")
    add_permissions(parser)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 up to 1, got {text!r}")
    return value


def run(args: argparse.Namespace, output: Output) -> int:
    """Export, and print where, how large and how close the copy is."""
    from modelscope_ext.models.export import TOLERANCE, export

    keywords: dict[str, Any] = {**resolve_keywords(args), **permissions(args)}
    output.show_logs()
    # Whatever an exporter prints goes to stderr; stdout carries the answer alone.
    with redirect_stdout(sys.stderr):
        done = export(
            args.model,
            args.output,
            to=args.to,
            opset=args.opset,
            tolerance=TOLERANCE if args.tolerance is None else args.tolerance,
            overwrite=args.overwrite,
            **keywords,
        )
    if output.json:
        output.document(done)
        return exits.OK
    output.heading(done.path)
    rows = [
        ("format", f"{done.format}, run by {done.backend}"),
        ("tasks", ", ".join(done.tasks)),
        ("size", f"{size(done.bytes)} in {len(done.files)} files"),
        ("made by", done.made_by),
        ("checked", f"{len(done.shapes)} batches of inputs; largest difference {done.difference:.2g}"),
        ("allowed", f"{done.tolerance:g}"),
    ]
    output.table(rows, styles=("dim",))
    output.note(f"run it: modelscope-ext run {printable(args.output)} ...")
    return exits.OK
