"""What a decision about a hub's repo costs: requests and bytes, over many layouts, and that it is the same decision."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from modelscope_ext import Snapshot, resolve
from modelscope_ext.errors import ModelScopeExtError
from modelscope_ext.testing.hub_server import Generated
from tests.hub.gguf import header

LINES = (Path(__file__).parent.parent / "models" / "decision" / "hubs.jsonl").read_text("utf-8").splitlines()
#: Every fifth of the 437 well-known repositories: about ninety layouts.
ROWS = [json.loads(line) for line in LINES][::5]
LARGE = Generated(70_000)


def texts_of(row):
    texts = {name: v if isinstance(v, str) else json.dumps(v) for name, v in row["documents"].items()}
    if row["card"]:
        lines = "\n".join(f"{key}: {json.dumps(value)}" for key, value in row["card"].items())
        texts["README.md"] = f"---\n{lines}\n---\n# Title\n"
    return texts


def decided(model, **options):
    try:
        found = resolve(model, installed=False, **options)
    except ModelScopeExtError as error:
        return type(error)
    return found.backend, found.framework, found.tasks, found.model_type


@pytest.mark.parametrize("hub", ["modelscope", "huggingface"])
def test_many_layouts_are_decided_as_on_this_machine_for_a_few_requests(online, hub):
    counts, wrong = [], {}
    for number, row in enumerate(ROWS):
        texts = texts_of(row)
        others = {name: LARGE for name in row["files"].split() if name not in texts}
        online.add(repo := f"org/model-{number}", {**others, **texts})
        here = decided(Snapshot.from_mapping(texts, dict.fromkeys(others, LARGE.size)))
        spent = []
        for revision in (None, None, online.commit_id(repo)):
            begun = len(online.requests)
            there = decided(repo, hub=hub, revision=revision)
            asked = [r for r in online.requests[begun:] if r.route != "agents"]
            spent.append((len(asked), sum(r.sent for r in asked)))
            if there != here:
                wrong[row["name"], revision] = (here, there)
        counts.append(spent)
    assert wrong == {}
    requests, size = zip(*(first for first, _, _ in counts), strict=True)
    assert statistics.median(requests) <= 5 and max(requests) <= 12
    assert max(size) <= 256_000
    assert max(again[0] for _, again, _ in counts) == 1
    assert max(pinned[0] for _, _, pinned in counts) == 0
    print(
        f"{hub}: requests median {statistics.median(requests)}, most {max(requests)}; "
        f"bytes median {statistics.median(size)}, most {max(size)}"
    )


@pytest.mark.parametrize(("kind", "loadable"), [("qwen2", True), ("unheard-of", False)])
def test_a_gguf_file_on_a_hub_is_read_up_to_its_keys(online, tmp_path, kind, loadable):
    text = header({"general.architecture": kind, "general.file_type": 15}, vocabulary=60_000)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model-Q4_K_M.gguf").write_bytes(text)
    online.add("org/model", tmp_path / "m")
    found, here = resolve("org/model", installed=False), resolve(tmp_path / "m", installed=False)
    for field in ("backend", "framework", "tasks", "model_type", "loadable", "requirement_dependency"):
        assert getattr(found, field) == getattr(here, field), field
    assert (found.backend, found.loadable, found.weights.quantization) == ("gguf", loadable, "Q4_K_M")
    assert found.weights.parameters is None
    assert sum(r.sent for r in online.requests if r.file) <= 2**17 < len(text)


def test_a_long_front_matter_is_read_to_its_end_and_no_further(online):
    results = "".join(f"  - type: t{n}\n" for n in range(20_000))
    card = f"---\nmodel-index:\n- results:\n{results}library_name: sentence-transformers\n---\n" + "text\n" * 400_000
    online.add("org/model", {"README.md": card, "config.json": '{"model_type": "bert"}', "model.safetensors": LARGE})
    resolve("org/model", installed=False)
    assert 2**19 <= sum(r.sent for r in online.requests if r.file == "README.md") < 2**20
