"""`modelscope-ext scan FOLDER`: classify every model below a folder, one row each, as they are found.

A folder inside a recognised model is part of it and no row of its own; a folder that cannot be read or understood is a
row with its error. Large trees are classified by as many processes as there are processors.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from modelscope_ext.cli import exits
from modelscope_ext.cli.output import Output, padded, size
from modelscope_ext.cli.tree import Row, Tree, error_row, look
from modelscope_ext.errors import AmbiguousModel, ModelNotFound, ModelScopeExtError, NotAModel
from modelscope_ext.metadata.snapshot import Source
from modelscope_ext.safety.finding import Finding
from modelscope_ext.utils.processors import processors

__all__ = ["EXAMPLES", "configure", "run", "walk"]

EXAMPLES = """\
examples:
  modelscope-ext scan ~/models
  modelscope-ext scan ~/.cache/huggingface/hub --json > models.jsonl
  modelscope-ext scan ./models --format sarif > models.sarif
  modelscope-ext scan /srv/models --jobs 8 --json | jq -r 'select(.backend == "diffusers") | .path'

A folder that is not a model is no row (-v names it); a folder that could not be read is a row with its error. What is
installed does not influence the answers. The rows come in the same order with any number of processes; a scan of few
folders starts none."""

_WIDTHS = (12, 22, 32, 10)
_HEADER = ("framework", "backend", "task", "weights", "path")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    from modelscope_ext.cli.options import add_shape, positive

    parser.add_argument("folder", metavar="FOLDER", help="where to look for models")
    parser.add_argument(
        "--jobs", type=positive, metavar="N", help="processes that classify (default: as many as there are processors)"
    )
    add_shape(parser, "what `inspect --security` finds in each, remarks left out; 1 where one is dangerous")


def run(args: argparse.Namespace, output: Output) -> int:
    """Classify what is below the folder; 0 when all of it could be read and there was a model."""
    root = Path(args.folder)
    if not root.is_dir():
        problem = "is a file" if root.exists() else "does not exist"
        raise ModelNotFound(f"scan needs a folder: {args.folder} {problem}.")
    from modelscope_ext.cli.progress import Counter

    found = failed = 0
    log = _Log() if args.shape == "sarif" else None
    ask = partial(walk, security=log is not None)
    with Counter(output, total=_count_children(root)) as counter:
        for row in Tree(os.fspath(root), ask, counter.step, args.jobs or processors()).rows():
            if row.kind == "none":
                if output.verbose:
                    counter.pause()
                    output.note(f"not a model: {row.path}: {row.fields['reason']}")
                continue
            found, failed = found + (row.kind == "model"), failed + (row.kind == "error")
            counter.found = found
            if log is not None:
                log.add(row)
                continue
            counter.pause()
            _print(row, output, first=found + failed == 1)
    if log is not None:
        output.document(log.document(args.folder))
        return exits.NEGATIVE if log.dangerous or failed or not found else exits.OK
    if not output.json:
        output.note(f"{found} model(s), {failed} error(s), {counter.folders} folder(s) looked at")
    return exits.NEGATIVE if failed or not found else exits.OK


class _Log:
    """Collects what is dangerous or worth a warning in each model, for one SARIF log."""

    def __init__(self) -> None:
        self.found: list[tuple[Source, list[Finding]]] = []
        self.dangerous = False
        self._environment: set[Finding] = set()  # of the libraries here, not of a model: said once

    def add(self, row: Row) -> None:
        kept = [finding for finding in row.findings if finding.level != "info" and finding not in self._environment]
        self._environment.update(finding for finding in kept if finding.code == "vulnerable-library")
        self.dangerous = self.dangerous or any(finding.level == "danger" for finding in kept)
        self.found.append((Source("local", path=row.path), kept))

    def document(self, folder: str) -> dict[str, Any]:
        from modelscope_ext.models.sarif import root_of, sarif_log

        return sarif_log(self.found, name=f"scan/{folder}", root=root_of(folder))


def _print(row: Row, output: Output, *, first: bool) -> None:
    if output.json:
        output.record({"path": row.path, **row.fields})
        return
    if first:
        output.line(_columns(_HEADER), style="dim")
    fields = row.fields
    if row.kind == "error":
        error = fields["error"]
        output.line(_columns(("error", error["class"], "", "", f"{row.path}: {error['message']}")), style="red")
        return
    tasks = fields["tasks"]
    values = (fields["framework"], fields["backend"], tasks[0] if tasks else "?", size(fields["bytes"]), row.path)
    output.line(_columns(values))


def _columns(values: tuple[str | None, ...]) -> str:
    from modelscope_ext.utils.text import printable

    cells = [printable(value or "?" if i < 3 else value or "", 1000) for i, value in enumerate(values)]
    return " ".join(padded(cell, width) for cell, width in zip(cells, (*_WIDTHS, 0), strict=True)).rstrip()


def _count_children(root: Path) -> int:
    try:
        return len(look(os.fspath(root)).children)
    except OSError:
        return 0


def walk(path: str, security: bool = False) -> Row:
    """Classify one folder; whatever goes wrong is in the row."""
    row = _classified(path)
    return row._replace(findings=tuple(_findings(row))) if security and row.kind != "none" else row


def _findings(row: Row) -> Iterable[Finding]:
    """Return what a load of the model would refuse or need a grant for."""
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.models.security import security_report

    try:
        return security_report(Snapshot.from_folder(row.path)).findings
    except (ModelScopeExtError, OSError, RecursionError, MemoryError) as error:
        return [Finding("not-read", "warning", None, None, str(error) or type(error).__name__)]


def _classified(path: str) -> Row:
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.models.resolve import resolve

    try:  # the folder is known to be one, and is asked about once: neither located nor remembered
        resolution = resolve(Snapshot.from_folder(path), installed=False)
    except NotAModel as error:
        return Row(path, "none", {"reason": str(error)})
    except AmbiguousModel as error:  # e.g. several models one level down: they are asked about one by one
        return Row(path, "none", {"reason": str(error)})
    except (ModelScopeExtError, OSError, RecursionError, MemoryError) as error:
        return error_row(path, error)
    return Row(path, "model", {
        "framework": resolution.framework,
        "backend": resolution.backend,
        "tasks": list(resolution.tasks),
        "model_type": resolution.model_type,
        "format": resolution.weights.format,
        "bytes": resolution.weights.bytes,
        "loadable": resolution.loadable,
        "requirement_dependency": list(resolution.requirement_dependency),
        "findings": [finding.code for finding in resolution.findings],
    })  # fmt: skip
