"""`modelscope-ext check MODEL`: does what configuration.json and the card declare agree with the files?

Made for the CI of a hub or a repo: what is installed plays no part, and the exit code is the answer.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from modelscope_ext.cli import exits
from modelscope_ext.cli.options import add_model, add_shape
from modelscope_ext.cli.output import Output
from modelscope_ext.safety.finding import Finding

if TYPE_CHECKING:
    from modelscope_ext.models.declare import Comparison, Contradiction

__all__ = ["EXAMPLES", "configure", "run"]

EXAMPLES = """\
examples:
  modelscope-ext check ./my-model            # 0: nothing contradicts the files; 1: something does
  modelscope-ext check ./my-model --strict   # warnings count too
  modelscope-ext check ./my-model --json
  modelscope-ext check ./my-model --format sarif > check.sarif    # for code scanning"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_model(parser, choose=False)
    parser.add_argument("--strict", action="store_true", help="fail on warnings too")
    add_shape(parser, "the contradictions and findings")


def run(args: argparse.Namespace, output: Output) -> int:
    """Compare and report; 1 when something is contradicted."""
    from modelscope_ext.cli.options import resolve_keywords
    from modelscope_ext.hub.locate import open_snapshot
    from modelscope_ext.models.declare import compare

    keywords = resolve_keywords(args)
    variant = keywords.pop("variant", None)
    snapshot = open_snapshot(args.model, **keywords)
    output.show_logs()
    comparison = compare(snapshot, **({"variant": variant} if variant else {}))
    bad = {"error", "danger", "warning"} if args.strict else {"error"}
    levels = [c.level for c in comparison.contradictions] + [f.level for f in comparison.decided.findings]
    failed = any(level in bad for level in levels)
    if args.shape == "sarif":
        from modelscope_ext.models.sarif import sarif_log

        found = [*map(_finding, comparison.contradictions), *comparison.decided.findings]
        output.document(sarif_log([(snapshot.source, found)], name=f"check/{snapshot.source}"))
    elif output.json:
        output.document({"ok": not failed, "strict": args.strict, **vars(comparison)})
    else:
        _show(comparison, failed, output)
    return exits.NEGATIVE if failed else exits.OK


def _finding(one: Contradiction) -> Finding:
    return Finding(f"declared-{one.field.replace('_', '-')}", one.level, one.file, one.key, one.message)


def _show(comparison: Comparison, failed: bool, output: Output) -> None:
    output.heading(str(comparison.decided.source))
    rows = [(f.key, str(f.value), f.file) for facts in comparison.declared.values() for f in facts]
    inferred = comparison.inferred
    output.table(
        [
            ("framework", inferred.framework or "unknown"),
            ("backend", inferred.backend),
            ("tasks", ", ".join(inferred.tasks) or "unknown"),
            ("model type", inferred.model_type or "unknown"),
        ],
        styles=("dim", "cyan"),
    )
    output.heading("declared")
    output.table(rows or [("nothing", "", "the files speak for themselves")], styles=("dim", "cyan", "dim"))
    if comparison.contradictions:
        output.heading("contradictions")
        output.table([(c.level, c.message) for c in comparison.contradictions])
    remarks = [f for f in comparison.decided.findings if f.level != "info"]
    if remarks:
        output.heading("findings")
        output.table([(f.level, f.message) for f in remarks])
    output.line("contradicted" if failed else "ok", style="bold red" if failed else "bold green")
