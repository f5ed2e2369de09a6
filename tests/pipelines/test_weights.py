"""Weights that do not fit are errors that name them, never random weights, whatever library loads them.

The folders are copies of one that is whole, each spoilt in one way; the same table holds for every backend.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelscope_ext.errors import ModelNotFound, ModelScopeExtError, OptionError, SafetyError, WeightsMismatch

pytestmark = pytest.mark.pt

TEXT = "the cat sat on the mat"


@dataclass(frozen=True)
class Library:
    """A backend, a tiny model of it, and what it is asked.

    Attributes:
        backend: The backend.
        model: The builder's name of the model.
        ask: One input.
        layer: The prefix of the first layer's tensors.
    """

    backend: str
    model: str
    ask: Any
    layer: str

    def build(self, folder: Path) -> Path:
        from tests.tiny import sentence_transformers_, transformers_

        made = sentence_transformers_ if self.backend == "sentence-transformers" else transformers_
        return made.build(self.model, folder)


LIBRARIES = [
    Library("transformers", "text-classification", TEXT, "bert.encoder.layer."),
    Library("transformers", "text-generation", TEXT, "model.layers."),
    Library("sentence-transformers", "dense", {"source_sentence": TEXT, "sentences": ["a dog"]}, "encoder.layer."),
    Library("sentence-transformers", "ranker", {"query": "a cat", "documents": [TEXT]}, "bert.encoder.layer."),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Library], Path]:
    root, made = tmp_path_factory.mktemp("whole"), {}

    def get(library: Library) -> Path:
        if library.model not in made:
            made[library.model] = library.build(root / f"{library.backend}-{library.model}")
        return made[library.model]

    return get


@pytest.fixture
def copied(whole, tmp_path: Path) -> Callable[[Library], Path]:
    return lambda library: Path(shutil.copytree(whole(library), tmp_path / "model"))


def rewrite(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def edit(file: Path, **keys: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **keys}), encoding="utf-8")


def load(folder: Path, library: Library, **options: Any) -> Any:
    from modelscope_ext import pipeline

    return pipeline(model=folder, backend=library.backend, device="cpu", **options)


def shard(folder: Path) -> list[str]:
    """Cut the weights into two files with an index, and return their names."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, held in parts.items():
        save_file({name: tensors[name] for name in held}, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {name: file for file, held in parts.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return list(parts)


by_library = pytest.mark.parametrize("library", LIBRARIES, ids=lambda one: f"{one.backend}:{one.model}")


@by_library
def test_a_missing_tensor_is_named_and_can_be_allowed(library: Library, copied) -> None:
    folder = copied(library)
    lost = []

    def drop(tensors: dict[str, Any]) -> dict[str, Any]:
        lost.append(next(name for name in sorted(tensors) if name.startswith(library.layer) and "weight" in name))
        return {name: value for name, value in tensors.items() if name != lost[0]}

    rewrite(folder, drop)
    with pytest.raises(WeightsMismatch, match=rf"{lost[0].split('layer')[-1]}.*allow_missing_weights=True"):
        load(folder, library)
    assert load(folder, library, allow_missing_weights=True)(library.ask)


@by_library
def test_a_config_that_does_not_fit_is_an_error_that_names_a_tensor(library: Library, copied) -> None:
    folder = copied(library)
    edit(folder / "config.json", vocab_size=99)
    with pytest.raises((WeightsMismatch, SafetyError), match=r"embed|vocab_size"):
        load(folder, library)


@by_library
def test_more_layers_in_the_config_than_in_the_weights(library: Library, copied) -> None:
    folder = copied(library)
    edit(folder / "config.json", num_hidden_layers=2)
    with pytest.raises(WeightsMismatch, match=r"layers?\.1\."):
        load(folder, library)


@by_library
def test_more_layers_in_the_weights_than_in_the_config(library: Library, copied) -> None:
    folder, first = copied(library), f"{library.layer}0."
    rewrite(
        folder,
        lambda t: {**t, **{k.replace(first, f"{library.layer}1."): v.clone() for k, v in t.items() if first in k}},
    )
    with pytest.raises(WeightsMismatch, match=r"layers?\.1\."):
        load(folder, library)


@by_library
def test_shards_are_read_and_one_that_is_not_there_is_named(library: Library, copied, whole) -> None:
    folder = copied(library)
    names = shard(folder)
    expected = load(whole(library), library)(library.ask)
    assert load(folder, library)(library.ask) == expected
    (folder / names[1]).unlink()
    with pytest.raises(ModelNotFound, match=names[1]):
        load(folder, library)


@by_library
def test_an_index_that_leads_out_of_the_folder_is_refused(library: Library, copied, tmp_path: Path) -> None:
    folder = copied(library)
    names = shard(folder)
    shutil.move(folder / names[1], tmp_path / names[1])
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text("utf-8").replace(names[1], f"../{names[1]}"), encoding="utf-8")
    with pytest.raises(SafetyError):
        load(folder, library)


@by_library
def test_an_index_that_forgets_a_tensor_is_an_error(library: Library, copied) -> None:
    folder = copied(library)
    shard(folder)
    index = folder / "model.safetensors.index.json"
    known = json.loads(index.read_text("utf-8"))
    lost = next(name for name in sorted(known["weight_map"]) if name.startswith(library.layer) and "weight" in name)
    held = known["weight_map"].pop(lost)
    index.write_text(json.dumps(known), encoding="utf-8")
    from safetensors.torch import load_file, save_file

    save_file(
        {k: v for k, v in load_file(folder / held).items() if k != lost}, folder / held, metadata={"format": "pt"}
    )
    with pytest.raises(WeightsMismatch, match=lost.split("layer")[-1]):
        load(folder, library)


@by_library
def test_an_argument_that_nobody_takes_is_refused_before_anything_is_read(library: Library, copied) -> None:
    folder = copied(library)
    (folder / "model.safetensors").write_bytes(b"not read")
    for options, says in (
        ({"allow_missing_weight": True}, "allow_missing_weights"),
        ({"torch_dtyp": "float16"}, "torch_dtype"),
        ({"low_cpu_mem_usage": True}, "unknown argument 'low_cpu_mem_usage'"),
        ({"allow_missing_weights": "yes"}, "expected exactly True or False"),
    ):
        with pytest.raises(OptionError, match=says):
            load(folder, library, **options)


def test_tied_weights_may_be_stored_once(tmp_path: Path) -> None:
    """GPT-2's output head is its embedding: the checkpoint has one tensor, and nothing is missing."""
    from safetensors import safe_open

    from tests.tiny.transformers_ import build

    folder = build("gpt2", tmp_path / "m")
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert "lm_head.weight" not in list(file.keys())
    library = Library("transformers", "gpt2", TEXT, "transformer.h.")
    native = load(folder, library).model.native
    assert native.lm_head.weight.data_ptr() == native.transformer.wte.weight.data_ptr()
    edit(folder / "config.json", tie_word_embeddings=False)
    with pytest.raises(WeightsMismatch, match=r"lm_head\.weight"):
        load(folder, library)


def test_a_module_in_a_folder_of_its_own_needs_its_weights(whole, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    library = LIBRARIES[2]
    folder = Path(shutil.copytree(whole(library), tmp_path / "m"))
    [file] = folder.glob("2_Dense/model.safetensors")
    kept = {name: value for name, value in load_file(file).items() if "bias" not in name}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(ModelScopeExtError, match=r"bias"):
        load(folder, library)
    file.unlink()
    with pytest.raises(ModelScopeExtError, match=r"model\.safetensors"):
        load(folder, library)
