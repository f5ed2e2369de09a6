"""`modelscope-ext list WHAT`: what this installation knows: backends, tasks, registered models and pipelines."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from modelscope_ext.cli import exits
from modelscope_ext.cli.output import Output

if TYPE_CHECKING:
    from modelscope_ext.models.backend import Backend
    from modelscope_ext.utils.entry import Entry
    from modelscope_ext.utils.registry import Registry

__all__ = ["EXAMPLES", "configure", "run"]

EXAMPLES = """\
examples:
  modelscope-ext list backends           # and which tasks each of them serves
  modelscope-ext list tasks
  modelscope-ext list models --json      # what is registered, here and by other packages"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("what", choices=tuple(_LISTS), help="what to list")


def run(args: argparse.Namespace, output: Output) -> int:
    """Print the list; no library is imported for it."""
    _LISTS[args.what](output)
    return exits.OK


def _backends(output: Output) -> None:
    from modelscope_ext.models.backends import BUILTINS
    from modelscope_ext.models.builder import BACKENDS
    from modelscope_ext.models.decision.libraries import LIBRARIES

    backends = dict(BACKENDS.loadable())
    origins = {entry.name: entry.origin for entry in BACKENDS.list()}
    rows = [{**_backend_row(name, backend), "origin": origins.get(name)} for name, backend in backends.items()]
    broken = _broken(BACKENDS.list())
    others = sorted({library.name for library in LIBRARIES} - set(backends))
    if output.json:
        output.document({"backends": rows, "broken": broken, "recognised": others})
        return
    output.heading("backends that load")
    output.table(
        [
            (
                output.tick(r["installed"]),
                r["name"],
                ", ".join(r["frameworks"]),
                r["install"] if not r["installed"] else "" if r["name"] in BUILTINS else r["origin"],
            )
            for r in rows
        ],
        styles=("", "bold cyan"),
    )
    _show_broken(broken, output)
    output.heading("tasks by backend")
    _matrix(backends, output)
    output.heading("recognised, not loadable here")
    for line in _wrapped(others):
        output.line(f"  {line}")


def _broken(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Return name, origin and error of each plug-in that cannot be loaded; each is imported to find out."""
    from modelscope_ext.errors import RegistryError

    found = []
    for entry in entries:
        try:
            entry.load()
        except RegistryError as error:
            found.append({"name": entry.name, "origin": entry.origin, "error": str(error)})
    return found


def _show_broken(broken: list[dict[str, Any]], output: Output) -> None:
    if broken:
        output.heading("registered, but broken")
        output.table([(output.tick(False), row["name"], row["error"]) for row in broken], styles=("", "bold cyan"))


def _backend_row(name: str, backend: Backend) -> dict[str, Any]:
    from modelscope_ext.utils.requirement import check_requirements

    return {
        "name": name,
        "frameworks": list(backend.frameworks),
        "tasks": list(backend.tasks),
        "requires": list(backend.requires),
        "installed": all(check.ok for check in check_requirements(backend.requires)),
        "install": backend.install,
    }


def _matrix(backends: dict[str, Backend], output: Output) -> None:
    tasks = sorted({task for backend in backends.values() for task in backend.tasks})
    rows = [(task, *(output.tick(True) if task in b.tasks else "." for b in backends.values())) for task in tasks]
    output.table(rows, header=("task", *backends))


def _tasks(output: Output) -> None:
    from modelscope_ext.models.builder import BACKENDS
    from modelscope_ext.models.tasks import ALIASES, TASKS

    spellings: dict[str, list[str]] = {}
    for alias, task in ALIASES.items():
        spellings.setdefault(task, []).append(alias)
    serving = {name: frozenset(backend.tasks) for name, backend in BACKENDS.loadable()}
    rows = [
        {
            "task": task,
            "modality": modality,
            "backends": [name for name, tasks in serving.items() if task in tasks],
            "aliases": spellings.get(task, []),
        }
        for task, modality in TASKS.items()
    ]
    if output.json:
        output.document(rows)
        return
    output.table(
        [(r["task"], r["modality"], ", ".join(r["backends"]) or "-", ", ".join(r["aliases"])) for r in rows],
        header=("task", "modality", "backends", "also written"),
        styles=("cyan", "", "", "dim"),
    )


def _models(output: Output) -> None:
    from modelscope_ext.models.builder import MODELS

    _entries(MODELS, output)


def _pipelines(output: Output) -> None:
    from modelscope_ext.pipelines.builder import PIPELINES

    _entries(PIPELINES, output)


def _entries(registry: Registry, output: Output) -> None:
    everything = registry.list()
    if output.json:
        output.document([entry.to_dict() for entry in everything])
        return
    entries = [entry for entry in everything if entry.error is None]
    _show_broken(_broken(entry for entry in everything if entry.error is not None), output)
    if not everything:
        output.note("nothing is registered; `@MODELS.register_module(...)` or an entry point does it")
        return
    keys = ("task", "backend", "framework", "model_type")
    if not entries:
        return
    output.table(
        [(e.name, *(", ".join(getattr(e, key)) or "any" for key in keys), e.origin) for e in entries],
        header=("name", *keys, "registered by"),
        styles=("bold cyan", "", "", "", "", "dim"),
    )


def _wrapped(names: list[str]) -> list[str]:
    from textwrap import wrap

    return wrap(", ".join(names), 100, break_on_hyphens=False)


_LISTS: dict[str, Callable[[Output], None]] = {
    "backends": _backends,
    "tasks": _tasks,
    "models": _models,
    "pipelines": _pipelines,
}
