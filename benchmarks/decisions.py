"""`resolve` in this process, and `scan` of thousands of folders in one of its own, against reading the same files.

The floor lists the folders, reads the files that a decision reads and parses JSON with orjson; it decides nothing.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.commands import PROGRAM
from benchmarks.folders import plain_transformers
from benchmarks.measure import ROOT, Answering, Cost, Timer, each, repeated

__all__ = ["layouts", "read_by", "resolve", "scan", "scan_growth"]


def read_by(folder: str | Path) -> set[str]:
    """Return the names of the files that a decision about `folder` reads."""
    from modelscope_ext.metadata.evidence import collect
    from modelscope_ext.metadata.snapshot import Snapshot

    return {*collect(Snapshot.from_folder(folder)).documents, "README.md"}


def _floor(folder: Path) -> Callable[[], None]:
    import orjson

    needed = read_by(folder)

    def read() -> None:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.path, entry.stat().st_size) for entry in entries]
        for name, path, _ in found:
            if name in needed:
                with open(path, "rb") as stream:
                    data = stream.read()
                if name.endswith(".json"):
                    orjson.loads(data)

    return read


def resolve(scratch: Path, *, card: bool, again: bool) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    from modelscope_ext.models.resolve import cache_clear
    from modelscope_ext.models.resolve import resolve as ours

    folder = plain_transformers(scratch / "model", card=card)
    forget = (lambda: None) if again else cache_clear
    return (
        ("resolve(folder)", repeated(lambda: ours(folder), before=forget)),
        ("scandir + orjson, same files", repeated(_floor(folder))),
    )


# Many folders

#: Layouts as they are found on hubs, with the documents in them; written by hand for the tests after real ones.
_LAYOUTS = ROOT / "tests" / "models" / "decision" / "hubs.jsonl"

_FLOOR = """\
import os, sys
import orjson
needed = {layout: set(names) for layout, names in orjson.loads(open(sys.argv[2], "rb").read()).items()}
for group in os.scandir(sys.argv[1]):
    for model in os.scandir(group.path):
        names, stack, start = needed[model.name.partition("-")[2]], [model.path], len(model.path) + 1
        while stack:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                        continue
                    entry.stat().st_size
                    if entry.path[start:] in names:
                        with open(entry.path, "rb") as stream:
                            data = stream.read()
                        if entry.name.endswith(".json"):
                            orjson.loads(data)
print("[]")
"""

#: Ending -> the smallest file of that kind; a decision needs no more of what the layouts have no document for.
_EMPTY = {
    "json": b"{}",
    "yaml": b"{}",
    "safetensors": struct.pack("<Q", 2) + b"{}",
    "gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, 0),
}

#: Files that are texts; any other is as large as weights are, so that nobody takes it for a pointer to some.
_READ, _LARGE = (".json", ".yaml", ".yml", ".md", ".txt", ".py", ".jinja", ".model", ".toml", ".cfg"), 2**24


def layouts() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield the number of each layout and its files."""
    for number, line in enumerate(_LAYOUTS.read_text("utf-8").splitlines()):
        row = json.loads(line)
        files = {name: _EMPTY.get(name.rpartition(".")[2], b"PK") for name in row["files"].split()}
        for name, document in row["documents"].items():
            files[name] = (document if isinstance(document, str) else json.dumps(document)).encode()
        if row["card"]:
            files["README.md"] = f"---\n{_yaml(row['card'])}---\n# A model\n".encode()
        yield str(number), files


def _yaml(card: dict[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(card, sort_keys=False))


def _tree(scratch: Path, count: int) -> tuple[str, str]:
    """Write `count` model folders, a hundred in each group, and what is read of each; return both paths.

    The files are links to one copy of each layout: what is measured is not the disk.
    """
    templates, needed, shapes = scratch / f"templates-{count}", {}, []
    for layout, files in layouts():
        for name, data in files.items():
            path = templates / layout / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            if not name.endswith(_READ):
                os.truncate(path, _LARGE)  # a hole, which takes no room
        shapes.append((layout, sorted({name.rpartition("/")[0] for name in files} - {""}), list(files)))
        needed[layout] = sorted(read_by(templates / layout))
    root = scratch / f"models-{count}"
    make, link = os.makedirs, os.link  # half a million files: a Path for each would take longer than the files
    for number in range(count):
        layout, folders, names = shapes[number % len(shapes)]
        model = f"{root}/{number // 100}/{number}-{layout}"
        make(model)
        for folder in folders:
            make(f"{model}/{folder}", exist_ok=True)
        for name in names:
            link(f"{templates}/{layout}/{name}", f"{model}/{name}")
    listed = scratch / f"needed-{count}.json"
    listed.write_text(json.dumps(needed))
    return str(root), str(listed)


def scan(scratch: Path, *, count: int, options: tuple[str, ...] = ()) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    root, needed = _tree(scratch, count)
    return (
        (" ".join(("modelscope-ext scan", *options, f"of {count:,} folders")), _scan(root, count, *options)),
        ("scandir + orjson, same files", Answering(_FLOOR, root, needed)),
    )


def _scan(root: str, count: int, *options: str) -> Timer:
    """Time the command line; every folder must be an answer or an error, and nearly all of them answers."""
    program = PROGRAM.replace("main()", f"main(['scan', sys.argv[1], '--json', *{list(options)}])")
    ours = Answering(program, root, status=None)

    def timer() -> Cost:
        cost = ours()
        if ours.lines < 0.9 * count:
            raise AssertionError(f"scan says something about {ours.lines} of {count} folders only")
        return cost

    return timer


def scan_growth(scratch: Path, *, few: int, many: int) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    sides = []
    for count in (many, few):
        root, _ = _tree(scratch, count)
        sides.append((f"scan of {count:,} folders, for each", each(_scan(root, count), count)))
    return sides[0], sides[1]
