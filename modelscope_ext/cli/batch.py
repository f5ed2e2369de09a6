"""`modelscope-ext batch MODEL INPUT OUTPUT`: run a model over a data set and write one record a row, in order."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from modelscope_ext.cli import exits
from modelscope_ext.cli.options import add_model, add_permissions, key_value, permissions, positive, resolve_keywords
from modelscope_ext.cli.output import Output
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.batch import Report

__all__ = ["EXAMPLES", "configure", "run"]

EXAMPLES = """\
inputs:
  A file of JSON lines, CSV, Parquet or text; a folder of such files, of images, sounds or videos; a data set of
  Hugging Face's `datasets` (the folder it was saved to, or hf:org/name). OUTPUT is a folder: part-00000.jsonl, ... with
  {"row", the columns of --keep, "output", "error"} in each record, and _manifest.json.

examples:
  modelscope-ext batch ./sentiment reviews.jsonl results/
  modelscope-ext batch ./sentiment reviews.csv results/ --column review --keep id --batch-size 32 --workers 2
  modelscope-ext batch ./sentiment reviews.jsonl results/ --resume      # after whatever ended the first try
  modelscope-ext batch ./vit photos/ labels/ --format csv --option top_k=1 --json
  modelscope-ext batch ./reranker queries.jsonl ranked/ --column query=question --column documents=found

on a cluster (pip install "modelscope-ext[ray]"; MODEL must be found on every node, INPUT and OUTPUT on this one):
  modelscope-ext batch MODEL INPUT OUTPUT --engine ray --address auto --workers 8 --gpus-per-worker 1"""

#: Arguments that go to `pipeline()` under their own name when given.
_LOAD = ("device_map", "dtype", "base_model", "lock")
#: Arguments that go to `run_batch()` under their own name when given.
_JOB = (
    "task", "batch_size", "format", "input_format", "split", "shard_rows", "shard_seconds", "engine", "workers",
    "address", "cpus_per_worker", "gpus_per_worker", "plugins", "stall",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_model(parser)
    parser.add_argument("input", metavar="INPUT", help="a file, a folder or a data set; see below")
    parser.add_argument("output", metavar="OUTPUT", help="a folder, made where it is not there")
    parser.add_argument("--resume", action="store_true", help="go on where OUTPUT ends")
    parser.add_argument("--option", metavar="KEY=VALUE", type=key_value, action="append", default=[],
                        help="an option of the task, or a field that is the same for every row")  # fmt: skip
    parser.add_argument("--batch-size", type=positive, metavar="N", help="rows that run at once (default: 16)")
    _add_rows(parser)
    _add_engine(parser)
    group = parser.add_argument_group("loading")
    group.add_argument("--device", help="cpu, cuda, npu, ...; several for the workers in turn: cuda:0,cuda:1")
    group.add_argument("--device-map", help="spread over devices, e.g. auto")
    group.add_argument("--dtype", help="float32, float16, bfloat16 or auto")
    group.add_argument("--base-model", help="base of an adapter")
    group.add_argument("--lock", metavar="FILE", help="load exactly what `modelscope-ext lock` wrote down")
    group.add_argument("--load-option", metavar="KEY=VALUE", type=key_value, action="append", default=[],
                       help="an option of the backend")  # fmt: skip
    add_permissions(parser)


def _add_rows(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("rows and records")
    group.add_argument("--column", metavar="[FIELD=]COLUMN", dest="columns", action="append", default=[],
                       help="the column that is the input, or that is a field of it; repeatable")  # fmt: skip
    group.add_argument("--keep", metavar="COLUMN", action="append", help="a column for the records; repeatable")
    group.add_argument(
        "--input-format", metavar="KIND", help="jsonl, csv, text, parquet, image, ... where no ending says"
    )
    group.add_argument("--split", help="of a data set that has several")
    group.add_argument("--config", metavar="NAME", help="configuration of a data set that has several")
    group.add_argument("--format", help="jsonl, csv or parquet (default: jsonl, or the ending of OUTPUT)")
    group.add_argument("--shard-rows", type=positive, metavar="N", help="rows of a file of OUTPUT (default: 10240)")
    group.add_argument("--shard-seconds", type=float, metavar="S",
                       help="end a file after this time, however few rows it has (default: 300)")  # fmt: skip


def _add_engine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where it runs")
    group.add_argument("--engine", help="local (default) or ray")
    group.add_argument("--workers", type=positive, metavar="N",
                       help="processes, or actors of Ray, each with the model (default: this process)")  # fmt: skip
    group.add_argument("--address", help="of a Ray cluster: auto, or host:6379 (default: one for this job)")
    group.add_argument("--cpus-per-worker", type=float, metavar="X", help="of a Ray actor (default: 1)")
    group.add_argument("--gpus-per-worker", type=float, metavar="X", help="of a Ray actor (default: 0)")
    group.add_argument(
        "--plugin", metavar="WHEEL", dest="plugins", action="append", help="for the Ray actors; repeatable"
    )
    group.add_argument("--stall", type=float, metavar="S",
                       help="replace Ray's driver where nothing comes for so long (default: 600)")  # fmt: skip


def run(args: argparse.Namespace, output: Output) -> int:
    """Run the batch, and print its folder alone, so that a shell can use it."""
    from modelscope_ext.batch import run_batch
    from modelscope_ext.cli.progress import Rows

    output.show_logs()
    keywords = resolve_keywords(args)
    keywords |= {name: value for name in (*_JOB, *_LOAD) if (value := getattr(args, name)) is not None}
    keywords |= permissions(args) | dict(args.load_option) | _devices(args.device)
    with Rows(output) as rows:
        report = run_batch(
            args.model,
            args.input,
            args.output,
            columns=_columns(args.columns),
            keep=args.keep,
            options=dict(args.option),
            name=args.config,
            resume=args.resume,
            progress=rows,
            **keywords,
        )
    if output.json:
        output.document(report)
    else:
        output.note(_summary(report))
        output.line(printable(report.output, 4000))
    return exits.NEGATIVE if report.errors else exits.OK


def _columns(given: list[str]) -> Any:
    """Return what --column says: one column, or fields and their columns.

    Example:
        >>> _columns(["review"]), _columns(["query=question", "documents=found"]), _columns([])
        ('review', {'query': 'question', 'documents': 'found'}, None)
    """
    from modelscope_ext.errors import OptionError

    if not given:
        return None
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    pairs = [one.partition("=") for one in given]
    if alone := [column for column, equals, _ in pairs if not equals]:
        raise OptionError(f"--column {printable(alone[0])}: with several columns each is FIELD=COLUMN")
    return {field: column for field, _, column in pairs}


def _devices(device: str | None) -> dict[str, Any]:
    if device is None:
        return {}
    several = tuple(one.strip() for one in device.split(","))
    return {"devices": several} if len(several) > 1 else {"device": device}


def _summary(report: Report) -> str:
    before = f", {report.resumed} of them before" if report.resumed else ""
    wrong = f"; {report.errors} could not be answered and say why" if report.errors else ""
    files = "1 file" if len(report.shards) == 1 else f"{len(report.shards)} files"
    return f"{report.rows} rows{before}, in {files}, {report.seconds:.1f} s{wrong}"
