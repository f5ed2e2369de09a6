"""`modelscope-ext init MODEL`: write a complete configuration.json from what the files say.

What is declared stays as it is written, unknown keys too; only what is missing is added. The file is replaced in one
step, so that a command that fails leaves it as it was. Of a model on a hub, `--push` adds it to the repository, through
the hub's own client, after the difference was shown and agreed to.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscope_ext.cli import exits
from modelscope_ext.cli.output import Output, is_terminal
from modelscope_ext.errors import ConfigError, OptionError
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.snapshot import Snapshot

__all__ = ["EXAMPLES", "configure", "run"]

EXAMPLES = """\
examples:
  modelscope-ext init ./my-model --dry-run     # show what would be written
  modelscope-ext init ./my-model
  modelscope-ext init ./my-model --force       # replace what the files contradict
  modelscope-ext init hf:org/model --push      # show the difference, ask, open a pull request
  modelscope-ext init org/model --push --yes   # where nobody can be asked"""

_STYLES = {"+": "green", "-": "red", "@": "dim"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("model", metavar="MODEL", help="a model folder, or with --push a hub id")
    parser.add_argument("--dry-run", action="store_true", help="show the difference, write nothing")
    parser.add_argument("--force", action="store_true", help="replace declared values that the files contradict")
    group = parser.add_argument_group("a model on a hub")
    group.add_argument("--push", action="store_true", help="add the file to the repository; a pull request if possible")
    group.add_argument("--yes", action="store_true", help="push without asking; needed where nobody can be asked")
    group.add_argument("--hub", help="hub to ask instead of the usual order")
    group.add_argument("--revision", help="branch of the repository")
    group.add_argument("--token", help="the hub's access token; better: log in with the hub's own client")


def run(args: argparse.Namespace, output: Output) -> int:
    """Complete the file; 1 when it contradicts the files and ``--force`` was not given."""
    from modelscope_ext.hub.locate import open_snapshot
    from modelscope_ext.models.declare import NAME, compare, complete_configuration, document_text

    where = {name: value for name in ("hub", "revision", "token") if (value := getattr(args, name)) is not None}
    snapshot = open_snapshot(args.model, **where)
    _check_place(snapshot, args)
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
    if snapshot.remote is not None:
        return _pushed(snapshot, (before, after), document, changed, args, output)
    path = Path(str(snapshot.folder), NAME)
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


def _check_place(snapshot: Snapshot, args: argparse.Namespace) -> None:
    if snapshot.remote is not None and not args.push:
        raise OptionError(
            f"{printable(str(snapshot.source))} is on a hub: pass --push to add the file to the repository, or download"
            " it and name the folder"
        )
    if snapshot.remote is None and args.push:
        raise OptionError(f"--push: {printable(args.model)} is a folder; it is written to without --push")


def _pushed(
    snapshot: Snapshot,
    texts: tuple[str, str],
    document: dict[str, Any],
    changed: bool,
    args: argparse.Namespace,
    output: Output,
) -> int:
    """Show the difference, ask, and push it."""
    from modelscope_ext.hub.push import can_propose, push
    from modelscope_ext.models.declare import NAME

    source = printable(str(snapshot.source))
    answer = {"source": snapshot.source, "changed": changed, "pushed": False, "configuration": document}
    if not changed or args.dry_run:
        if output.json:
            output.document(answer)
        elif changed:
            _show_difference(*texts, output)
            output.note(f"would push {NAME} to {source}")
        else:
            output.note(f"{NAME} of {source} is complete already")
        return exits.OK
    if not output.json:
        _show_difference(*texts, output)
    what = "open a pull request on" if can_propose(snapshot.source.hub) else "commit to"
    if not args.yes and not _agreed(f"{what.capitalize()} {source}?", output):
        output.warn("Nothing was pushed.")
        return exits.NEGATIVE
    prefix = f"{snapshot.remote.subfolder}/" if snapshot.remote.subfolder else ""
    done = push(snapshot.remote, f"{prefix}{NAME}", texts[1].encode(), f"Add what the files say to {NAME}")
    if output.json:
        output.document({**answer, "pushed": True, **done.to_dict()})
    else:
        output.note(f"{'proposed' if done.proposed else 'pushed'}: {done.url}")
    return exits.OK


def _agreed(question: str, output: Output) -> bool:
    """Ask whoever sits at the terminal.

    Raises:
        OptionError: Nobody does.
    """
    if output.json or not (is_terminal(sys.stdin) and is_terminal(output.stderr)):
        raise OptionError("--push: nobody can be asked here whether to push the difference: pass --yes")
    output.stderr.write(f"{question} [y/N] ")
    output.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


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
