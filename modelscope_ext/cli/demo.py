"""`modelscope-ext demo`: the model that ships with the package, at work on real images of handwritten digits."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscope_ext.cli import exits
from modelscope_ext.cli.options import add_permissions, permissions, port
from modelscope_ext.cli.output import Output
from modelscope_ext.errors import OptionError

if TYPE_CHECKING:
    from modelscope_ext.models.resolution import Resolution

__all__ = ["EXAMPLES", "configure", "draw", "run"]

EXAMPLES = """\
examples:
  modelscope-ext demo
  modelscope-ext demo --backend onnx     # with onnxruntime alone, no PyTorch
  modelscope-ext demo --json
  modelscope-ext demo ./my-model --web    # a page for any model, on this machine alone"""

_SHADES = " .:-=+*#%@"  # dark to bright, for files and pipes
_GREYS = 232, 23  # the first grey of a terminal's 256 colours, and how many steps follow it
_PIXEL = 2  # characters a pixel is wide: they are about twice as tall as wide
_GAP = "  "


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("model", metavar="MODEL", nargs="?", help="with --web: a model of yours instead of ours")
    parser.add_argument("--backend", help="library to run it with; the resolver's choice by default")
    group = parser.add_argument_group("a page")
    group.add_argument("--web", action="store_true", help="show a page to try the model, until interrupted")
    group.add_argument("--task", help="task instead of the inferred one")
    group.add_argument("--device", help="cpu, cuda, cuda:1, npu, mps, ...")
    group.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1: this machine only)")
    group.add_argument("--port", type=port, default=7860, metavar="N", help="0 takes a free one (7860)")
    add_permissions(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Run the model on ten pictures, show them with the answers, and explain how it was loaded."""
    from modelscope_ext.data import digits_folder, digits_samples
    from modelscope_ext.pipelines.builder import pipeline

    if args.web:
        return _show_page(args, output)
    if args.model is not None:
        raise OptionError(
            f"demo shows a page of a model of yours: add --web; `modelscope-ext run {args.model}` runs it"
        )
    start = time.perf_counter()
    samples = digits_samples()
    choice = {"backend": args.backend} if args.backend else {}
    with pipeline(model=str(digits_folder()), **choice) as pipe:
        loaded = time.perf_counter()
        best = [answer[0] for answer in pipe([str(path) for path in samples])]
        done = time.perf_counter()
        resolution = pipe.model.resolution
    results = [
        {"truth": path.stem, "label": answer["label"], "score": answer["score"]}
        for path, answer in zip(samples, best, strict=True)
    ]
    right = sum(result["truth"] == result["label"] for result in results)
    seconds = {"load": round(loaded - start, 3), "predict": round(done - loaded, 3)}
    if output.json:
        output.document({"results": results, "right": right, "seconds": seconds, "resolution": resolution})
    else:
        _show(samples, results, output)
        if resolution is not None:
            _explain(resolution, output)
        output.line()
        text = f"{right} of {len(results)} right; loaded in {seconds['load']} s, predicted in {seconds['predict']} s"
        output.line(text, style="bold green" if right == len(results) else "bold red")
    return exits.OK if right == len(results) else exits.NEGATIVE


def _show_page(args: argparse.Namespace, output: Output) -> int:
    """Load the model and show its page until interrupted."""
    from modelscope_ext.cli.run import failure
    from modelscope_ext.data import digits_folder
    from modelscope_ext.pipelines.builder import pipeline
    from modelscope_ext.serve.needs import require
    from modelscope_ext.web import launch

    require("gradio", extra="web")
    given = {name: value for name in ("backend", "task", "device") if (value := getattr(args, name)) is not None}

    def ready(address: str) -> None:
        if output.json:
            output.record({"address": address})
        else:
            output.raw(f"{address}  (Ctrl-C ends it)")

    with redirect_stdout(sys.stderr), ExitStack() as stack:  # what Gradio prints is no answer
        with failure("loading the model"):
            pipe = stack.enter_context(pipeline(model=args.model or str(digits_folder()), **given, **permissions(args)))
        launch(pipe, host=args.host, port=args.port, ready=ready)
    return exits.OK


def _show(samples: Sequence[Path], results: Sequence[dict[str, Any]], output: Output) -> None:
    """Print the pictures in rows, each with its answer below it."""
    pictures = [draw(path, colour=output.colour) for path in samples]
    width = 8 * _PIXEL
    per_row = max(1, (shutil.get_terminal_size().columns + len(_GAP)) // (width + len(_GAP)))
    per_row = min(per_row, 5)
    for first in range(0, len(pictures), per_row):
        row = slice(first, first + per_row)
        for lines in zip(*pictures[row], strict=True):
            output.raw(_GAP.join(lines).rstrip(" "))
        captions = [
            f"{output.tick(r['label'] == r['truth'])} {r['label']} {r['score']:.1%} (is {r['truth']})".ljust(width)
            for r in results[row]
        ]
        output.raw(_GAP.join(captions).rstrip())
        output.raw("")


def draw(path: Path, *, colour: bool) -> list[str]:
    """Return a small grey picture as lines of text: greys on a terminal, shades of ASCII elsewhere."""
    from PIL import Image

    with Image.open(path) as image:
        grey = image.convert("L")
    width, height = grey.size
    data = grey.tobytes()
    rows = [data[y * width : (y + 1) * width] for y in range(height)]
    if not colour:
        return ["".join(_SHADES[v * len(_SHADES) // 256] * _PIXEL for v in row) for row in rows]
    first, steps = _GREYS
    return ["".join(f"\x1b[48;5;{first + v * steps // 255}m{' ' * _PIXEL}" for v in row) + "\x1b[0m" for row in rows]


def _explain(resolution: Resolution, output: Output) -> None:
    """Print the decision with the first reason for each field."""
    output.heading("No configuration.json told how to load this folder; the files did:")
    values = {"framework": resolution.framework, "backend": resolution.backend, "tasks": resolution.default_task}
    rows = [(name, value, resolution.because[name][0].text if resolution.because.get(name) else "")
            for name, value in values.items()]  # fmt: skip
    output.table(rows, styles=("dim", "bold cyan"))
