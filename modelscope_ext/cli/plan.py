"""`modelscope-ext plan MODEL`: which files a load reads, and whether disk and memory have room for them."""

from __future__ import annotations

import argparse

from modelscope_ext.cli import exits
from modelscope_ext.cli.options import add_model, resolve_keywords
from modelscope_ext.cli.output import Output, size

__all__ = ["EXAMPLES", "configure", "run"]

EXAMPLES = """\
examples:
  modelscope-ext plan ./my-model
  modelscope-ext plan org/model --variant fp16       # a few kilobytes are read, nothing is fetched
  modelscope-ext plan hf:org/model --json"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_model(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Plan, and print files, bytes, disk and memory."""
    from modelscope_ext.hub.locate import open_snapshot
    from modelscope_ext.models.plan import WHERE, plan_of
    from modelscope_ext.models.resolve import resolve

    output.show_logs()
    keywords = resolve_keywords(args)
    snapshot = open_snapshot(args.model, **{name: keywords.pop(name) for name in WHERE if name in keywords})
    plan = plan_of(resolve(snapshot, **keywords), snapshot)
    whole = sum(snapshot.sizes.values())
    if output.json:
        output.document({"source": snapshot.source, "whole_bytes": whole, **plan.to_dict()})
        return exits.OK
    output.heading(str(snapshot.source))
    rows = [(file.name, size(file.bytes), "here" if file.cached else "to fetch") for file in plan.files]
    output.table(rows, styles=("", "cyan", "dim"))
    output.heading("room")
    disk = "" if plan.disk_free is None else f"; {size(plan.disk_free)} free"
    sums = [
        ("files", f"{len(plan.files)} of {len(snapshot.names)}"),
        ("bytes", f"{size(plan.total_bytes)} of {size(whole)} in the whole repository"),
        ("to fetch", f"{size(plan.to_fetch_bytes)}{disk}"),
    ]
    memory = [(f"memory, {dtype}", size(count)) for dtype, count in plan.memory_needed.items()]
    free = [("memory free", size(plan.memory_free))] if plan.memory_free is not None else []
    output.table([*sums, *memory, *free], styles=("dim", "cyan"))
    return exits.OK
