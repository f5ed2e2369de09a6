"""`modelscope-ext init MODEL`: write a complete configuration.json from what the files say.

What is declared stays as it is written, unknown keys too; only what is missing is added. The file is replaced in one
step, so that a command that fails leaves it as it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscope_ext.cli import exits
from modelscope_ext.cli.output import Output
from modelscope_ext.errors import ConfigError, ModelNotFound
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.snapshot import Snapshot

__all__ = ["EXAMPLES", "configure", "run"]

EXAMPLES = """\
examples:
  modelscope-ext init ./my-model --dry-run     # show what would be written
  modelscope-ext init ./my-model
  modelscope-ext init ./my-model --force       # replace what the files contradict"""

_STYLES = {"+": "green", "-": "red", "@": "dim"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("model", metavar="MODEL", help="a model folder")
    parser.add_argument("--dry-run", action="store_true", help="show the difference, write nothing")
    parser.add_argument("--force", action="store_true", help="replace declared values that the files contradict")


def run(args: argparse.Namespace, output: Output) -> int:
    """Complete the file; 1 when it contradicts the files and ``--force`` was not given."""
    from modelscope_ext.hub.locate import open_snapshot
    from modelscope_ext.models.declare import NAME, compare, complete_configuration, document_text

    snapshot = open_snapshot(args.model)
    if snapshot.folder is None:
        raise ModelNotFound(f"init writes into a local folder, and {printable(args.model)} is none.")
    output.show_logs()
    existing, before = _existing(snapshot, NAME)
    comparison = compare(snapshot)
    errors = [c for c in comparison.contradictions if c.level == "error" and c.file == NAME]
    if errors and not args.force:
        return _refuse(errors, output)
    resolution = comparison.inferred if args.force else comparison.decided
    document = complete_configuration(resolution, existing, replace={c.field for c in errors})
    after = document_text(document, like=before)
    changed = document != existing or not before
    path = Path(snapshot.folder, NAME)
    if changed and not args.dry_run:
        from modelscope_ext.utils.atomic import write_atomic

        write_atomic(path, after)
    if output.json:
        written = changed and not args.dry_run
        output.document({"path": str(path), "changed": changed, "written": written, "configuration": document})
        return exits.OK
    if not changed:
        output.note(f"{printable(str(path))} is complete already")
        return exits.OK
    _show_difference(before, after, output)
    output.note(f"{'would write' if args.dry_run else 'wrote'} {printable(str(path))}")
    return exits.OK


def _existing(snapshot: Snapshot, name: str) -> tuple[dict[str, Any], str]:
    """Return the file that is there, parsed and as text; empty when there is none.

    Raises:
        ConfigError: It is a git-LFS pointer or no JSON object, so that nothing can be added to it.
    """
    if name not in snapshot:
        return {}, ""
    text = snapshot.read(name).decode("utf-8-sig", "replace")
    if text.startswith("version https://git-lfs"):
        raise ConfigError(f"{name} is a git-LFS pointer: its content is not here. Run `git lfs pull` in the folder.")
    document = snapshot.document(name)
    if not isinstance(document, dict):
        raise ConfigError(f"{name}: expected a JSON object, found {type(document).__name__}; move it away first.")
    return document, text


def _refuse(errors: list[Any], output: Output) -> int:
    if output.json:
        output.document({"written": False, "contradictions": errors})
    for error in errors:
        output.warn(error.message)
    output.warn("Nothing was written. Correct the file, or let --force replace what the files contradict.")
    return exits.NEGATIVE


def _show_difference(before: str, after: str, output: Output) -> None:
    from difflib import unified_diff

    for line in unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="", n=2):
        output.line(printable(line, 2000), style=_STYLES.get(line[:1], ""))
