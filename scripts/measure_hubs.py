"""Count what it costs to decide about repositories on a hub: requests and bytes, first and second time.

    python scripts/measure_hubs.py ROWS.jsonl [--hub modelscope] [--all]

Each row is a repository: its files with sizes, and the contents of its metadata (`score_corpus.py` of the corpus
describes the fields). It is served by the hub server for tests, with every file in its real size, and resolved three
times: cold, again, and again at the commit. Each decision is compared with the one from the same files on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from modelscope_ext import Snapshot, resolve
from modelscope_ext.errors import ModelScopeExtError
from modelscope_ext.testing.hub_server import Content, HubServer

UNKNOWN_SIZE = 1_000_000
PREFIXES = {"modelscope": "ms", "huggingface": "hf"}
OWN = (("configuration_json", "configuration.json"), ("config_json", "config.json"),
       ("model_index_json", "model_index.json"))  # fmt: skip


class Hollow(Content):
    """A file of which only the beginning is known; its hashes are made up, because nobody reads all of it."""

    def __init__(self, name: str, size: int, head: bytes) -> None:
        self.size, self.head = max(size, len(head)), head
        self.__dict__["sha256"] = f"{abs(hash((name, size))):064x}"[-64:]
        self.__dict__["blob_id"] = self.sha256[:40]

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `stop`."""
        at, end = start, self.size if stop is None else min(stop, self.size)
        while at < end:
            piece = self.head[at : min(end, at + 2**20)] if at < len(self.head) else bytes(min(2**20, end - at))
            yield piece
            at += len(piece)


def head_of(name: str, size: int) -> bytes:
    """Return the beginning of a weight file of that name: the header of one tensor."""
    if name.endswith(".safetensors"):
        text = b'{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}'
        body = size - 8 - 512
        header = (text % (body, body)).ljust(512)
        return struct.pack("<Q", len(header)) + header
    if name.endswith(".gguf"):
        key, value = b"general.architecture", b"llama"
        pair = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(value)) + value
        return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + pair
    return b"PK\x03\x04" if name.endswith((".ckpt", ".bin", ".pt", ".pth")) else b""


def restore(value: Any) -> Any:
    """Return a document with the label maps that the corpus gives by their length."""
    if isinstance(value, list):
        return [restore(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, item in value.items():
        count = item.get("_dropped_map_of") if isinstance(item, dict) else None
        if count and key == "id2label":
            found[key] = {str(i): f"LABEL_{i}" for i in range(count)}
        elif count and key == "label2id":
            found[key] = {f"LABEL_{i}": i for i in range(count)}
        else:
            found[key] = restore(item)
    return found


def texts_of(row: dict[str, Any]) -> dict[str, bytes]:
    """Return the metadata of a row by file name."""
    texts = {name: json.dumps(restore(row[key])) for key, name in OWN if row.get(key) is not None}
    if row.get("readme_front_matter") is not None:
        texts["README.md"] = "---\n" + yaml.safe_dump(row["readme_front_matter"], allow_unicode=True) + "---\n"
    for name, value in (row.get("other") or {}).items():
        if isinstance(value, str):
            texts[name] = value
        elif isinstance(value, dict) and "_head" in value:
            texts[name] = value["_head"]
        else:
            yaml_file = name.endswith((".yaml", ".yml"))
            texts[name] = yaml.safe_dump(value, allow_unicode=True) if yaml_file else json.dumps(restore(value))
    return {name: text.encode() for name, text in texts.items()}


def files_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return all files of a row in their real sizes; of those whose content is not known the beginning is made up."""
    texts, files = texts_of(row), {}
    for listed in row["files"]:
        name, text = listed["name"], texts.get(listed["name"])
        size = listed["size"] if listed.get("size") is not None else UNKNOWN_SIZE if text is None else len(text)
        begin = text or (b"{}" if name.endswith(".json") else head_of(name, size))
        small = text is not None or size <= 2**16
        files[name] = begin.ljust(size, b"\n") if small else Hollow(name, size, begin)
    return files | {name: text for name, text in texts.items() if name not in files}


def decided(model: Any, **options: Any) -> tuple[Any, ...]:
    """Return the decision about a model, or the class of the error."""
    try:
        found = resolve(model, installed=False, **options)
    except ModelScopeExtError as error:
        return (type(error).__name__, str(error))
    return found.backend, found.framework, found.tasks, found.model_type, found.weights.files


def main() -> int:
    """Serve, resolve, count, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("--hub", choices=PREFIXES, default="modelscope")
    parser.add_argument("--all", action="store_true", help="print every row")
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.rows.read_text("utf-8").splitlines()]
    counts: list[tuple[int, int, int, int]] = []
    differ = []
    with tempfile.TemporaryDirectory() as cache, HubServer(hubs=[args.hub]) as server:
        os.environ.update(server.environment(args.hub), MODELSCOPE_EXT_CACHE=f"{cache}/own", HF_HOME=f"{cache}/hf",
                          MODELSCOPE_CACHE=f"{cache}/ms", MODELSCOPE_EXT_OFFLINE="0")  # fmt: skip
        for number, row in enumerate(rows):
            files = files_of(row)
            server.add(name := f"row/r{number}", files)
            model = f"{PREFIXES[args.hub]}:{name}"
            found, ((first, size), again, pinned) = [], ((0, 0), (0, 0), (0, 0))
            spent = []
            for options in ({}, {}, {"revision": server.commit_id(name)}):
                begun = len(server.requests)
                found.append(decided(model, **options))
                asked = [r for r in server.requests[begun:] if r.route != "agents"]
                spent.append((len(asked), sum(r.sent for r in asked)))
            (first, size), again, pinned = spent
            counts.append((first, size, again[0], pinned[0]))
            known = {n: c for n, c in files.items() if isinstance(c, bytes)}
            heads = {n: c.head for n, c in files.items() if isinstance(c, Hollow)}
            here = decided(
                Snapshot.from_mapping({**heads, **known}, {n: c.size for n, c in files.items() if n in heads})
            )
            if len({found[0][:4], found[1][:4], found[2][:4], here[:4]}) > (1 if len(here) > 2 else 3):
                differ.append((row["id"], here, found[0]))
            if args.all:
                print(f"{first:4} {size:9,} {again[0]:3} {pinned[0]:3}  {row['id']}")
    print(f"{args.hub}: {len(rows)} repositories")
    for place, label in enumerate(("requests, first time", "bytes, first time", "requests, second time",
                                   "requests, second time, at a commit")):  # fmt: skip
        column = [count[place] for count in counts]
        share = sorted(column)[int(len(column) * 0.9)]
        print(f"  {label:36} median {statistics.median(column):>9,}  90 % {share:>9,}  most {max(column):>9,}")
    print(
        f"  more than 256 kB: {sum(count[1] > 256_000 for count in counts)}; decided otherwise than here: {len(differ)}"
    )
    for one in differ:
        print("   ", *one, sep="\n      ")
    return bool(differ)


if __name__ == "__main__":
    sys.exit(main())
