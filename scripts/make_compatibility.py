"""Make docs/compatibility.json and the tables of docs/compatibility.md of what the tests recorded.

``make test`` leaves one record an environment in ``.compat/``; ``pytest -m long tests/gpu
--record-compatibility=.compat/gpu.json`` leaves that of a GPU. A complete record replaces what is known of its
environment, a partial one adds to it if the releases are the same. With ``--check`` nothing is written, and the exit
status is 1 where the page is not what the JSON says, or the JSON says what is not so.
"""

from __future__ import annotations

import configparser
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from modelscope_ext.models.backend import Backend  # noqa: E402
from modelscope_ext.models.backends import BUILTINS  # noqa: E402
from modelscope_ext.models.builder import BACKENDS  # noqa: E402
from modelscope_ext.utils.distributions import canonical_name  # noqa: E402

PAGE = ROOT / "docs" / "compatibility.md"
DATA = ROOT / "docs" / "compatibility.json"
RECORDS = ROOT / ".compat"
GPU = "gpu"
_MOST = 60  # more names than that are no sentence

#: Backend -> why it serves more tasks than tests can prove; they are listed by name. Any other has to prove all.
NOT_ALL: Mapping[str, str] = {
    "peft": "an adapter serves what its base serves",
    "gguf": "transformers reads T5 from GGUF too, and no file of one can be made here",
    "onediff": "what it compiles serves what it served before",
    "modelscope": "its index names more types than can be had here",
}


def engines() -> dict[str, Backend]:
    """Return the built-in backends, aliases of another left out."""
    return {name: engine for name in BUILTINS if (engine := BACKENDS.get(name)).name == name}


def merged(data: dict[str, Any], records: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return `data` with the records, environment -> record, put in."""
    found = dict(data)
    for name, record in records.items():
        record = dict(record)
        old = found.get(name, {"backends": {}})
        if not record.pop("complete"):
            for backend, mine in old["backends"].items():
                new = record["backends"].setdefault(backend, {"versions": mine["versions"], "tasks": {}})
                if new["versions"] != mine["versions"]:
                    raise SystemExit(f"{name}: a partial record with other releases of {backend}; run all its tests")
                new["tasks"] = {**mine["tasks"], **new["tasks"]}
        found[name] = record
    return found


def pins(environment: str) -> dict[str, str]:
    """Return package -> release of the constraints that tox gives an environment."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", "utf-8")
    found: dict[str, str] = {}
    for name in _constraints(tox, environment):
        text = (ROOT / "requirements" / name).read_text("utf-8")
        found |= {canonical_name(k): v for k, v in re.findall(r"^([\w.-]+)==([^\s;+]+)", text, re.M)}
    return found


def _constraints(tox: configparser.ConfigParser, environment: str) -> Iterator[str]:
    deps = tox.get(f"testenv:{environment}", "deps", fallback="")
    for other in re.findall(r"\{\[testenv:([\w-]+)\]deps\}", deps):
        yield from _constraints(tox, other)
    yield from re.findall(r"requirements/([\w.-]+\.txt)", deps)


def problems(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the data claims wrongly, or lacks."""
    for name, environment in data.items():
        pinned = pins(name)
        for backend, found in environment["backends"].items():
            if name != GPU:
                for package, release in found["versions"].items():
                    pin = pinned.get(canonical_name(package))
                    if pin != release:
                        yield f"{name}: {backend} ran with {package} {release}; pinned is {pin}"
            for task, tests in found["tasks"].items():
                lost = [test for test in tests if not _is_there(test)]
                if lost or not tests:
                    yield f"{name}: {backend}, {task}: no such test: {', '.join(lost)}"
    for backend, engine in engines().items():
        lacking = not_proven(data, engine)
        if lacking and (backend not in NOT_ALL or lacking == sorted(engine.tasks)):
            yield f"{backend}: no test that ran compared its answers with the library's for {_named(lacking)}"


def not_proven(data: Mapping[str, Any], engine: Backend) -> list[str]:
    """Return the tasks that the backend serves and no test has proven."""
    return sorted(task for task in engine.tasks if not any(_where(data, engine.name, task)))


def _is_there(test: str) -> bool:
    path, *_, function = test.split("::")
    file = ROOT / path
    return file.is_file() and re.search(rf"^\s*def {function}\b", file.read_text("utf-8"), re.M) is not None


def _where(data: Mapping[str, Any], backend: str, task: str) -> Iterator[str]:
    for name, environment in data.items():
        if name != GPU and environment["backends"].get(backend, {}).get("tasks", {}).get(task):
            yield name


def overview(data: Mapping[str, Any]) -> str:
    """Return the table task x backend: the environments in which it is proven."""
    known = engines()
    rows = []
    for task in sorted({task for engine in known.values() for task in engine.tasks}):
        cells = [" ".join(f"`{name}`" for name in _where(data, backend, task)) for backend in known]
        if any(cells):
            rows.append([task, *cells])
    return _table(["task", *(f"`{name}`" for name in known)], rows)


def details(data: Mapping[str, Any]) -> str:
    """Return for each backend the releases it ran with, its proven tasks with their tests, and the names of others."""
    parts = []
    for backend, engine in engines().items():
        ran = {name: one["backends"][backend] for name, one in data.items() if backend in one["backends"]}
        parts.append(f"### {backend}")
        parts += [""] if ran else []
        for name, found in ran.items():
            releases = ", ".join(f"{package} {release}" for package, release in found["versions"].items())
            card = f", {data[name]['card']}" if name == GPU else ""
            parts.append(f"- `{name}`: {releases}; Python {data[name]['python']}{card}")
        named = [name for name in ran if name != GPU]
        lacking = not_proven(data, engine)
        rows = [_row(task, ran, named) for task in sorted(set(engine.tasks) - set(lacking))]
        if rows:
            parts.append("\n" + _table(["task", *(f"`{name}`" for name in named), "GPU", "test"], rows))
        if lacking:
            why = f" ({NOT_ALL[backend]})" if backend in NOT_ALL else ""
            parts.append(f"\nServed, and proven by no test{why}: {_named(lacking)}.")
        parts.append("")
    return "\n".join(parts).strip()


def _named(tasks: list[str]) -> str:
    return ", ".join(tasks) if len(tasks) <= _MOST else f"{len(tasks)} tasks, as `{tasks[0]}` and `{tasks[-1]}`"


def _row(task: str, ran: Mapping[str, Any], environments: list[str]) -> list[str]:
    tests = {name: found["tasks"].get(task, {}) for name, found in ran.items()}
    counts = [str(sum(tests[name].values()) or "") for name in environments]
    gpu = sum(tests.get(GPU, {}).values())
    named = {test: count for name in environments for test, count in tests[name].items()}
    most = max(named, key=lambda test: named[test])
    return [task, *counts, str(gpu) if gpu else "not run", f"`{most.removeprefix('tests/')}`"]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(("| " + " | ".join(line) + " |").replace("|  |", "| |").replace("|  |", "| |") for line in lines)


def page(text: str, data: Mapping[str, Any]) -> str:
    """Return the page's text with its tables made of `data`."""
    for mark, made in (("overview", overview(data)), ("details", details(data))):
        block = f"<!-- {mark} -->\n{made}\n<!-- /{mark} -->"
        text, count = re.subn(rf"<!-- {mark} -->.*?<!-- /{mark} -->", lambda _, b=block: b, text, flags=re.S)
        if count != 1:
            raise SystemExit(f"{PAGE.name} has no place for {mark}")
    return text


def main() -> int:
    data = json.loads(DATA.read_text("utf-8"))
    old = PAGE.read_text("utf-8")
    if "--check" not in sys.argv:
        records = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(RECORDS.glob("*.json"))}
        data = merged(data, records)
        DATA.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
        PAGE.write_text(page(old, data), "utf-8")
        old = PAGE.read_text("utf-8")
    wrong = list(problems(data))
    if page(old, data) != old:
        wrong.append(f"{PAGE.name} is not what {DATA.name} says")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
