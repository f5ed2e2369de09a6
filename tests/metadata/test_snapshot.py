import json
from pathlib import Path

import pytest

from modelscope_ext.errors import (
    LimitExceeded,
    MalformedMetadata,
    ModelNotFound,
    OptionError,
    PathEscapeRefused,
)
from modelscope_ext.metadata.snapshot import Snapshot, Source
from modelscope_ext.safety.limits import Limits


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "run.yaml").write_text("a: no\n")
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "model.safetensors").write_bytes(bytes(100))
    return tmp_path


def test_a_folder_and_a_mapping_of_the_same_files_agree(folder):
    texts = {"config.json": '{"model_type": "bert"}', "run.yaml": b"a: no\n", "unet/model.safetensors": bytes(100)}
    local, mapped = Snapshot.from_folder(folder), Snapshot.from_mapping(texts)
    assert local.names == mapped.names == ("config.json", "run.yaml", "unet/model.safetensors")
    assert dict(local.sizes) == dict(mapped.sizes)
    for snapshot in (local, mapped):
        assert snapshot.document("config.json") == {"model_type": "bert"}
        assert snapshot.document("run.yaml") == {"a": "no"}
        assert snapshot.read("config.json", 1, 5) == b'"mode'
        assert "config.json" in snapshot and "unet" not in snapshot and 5 not in snapshot
        with snapshot.open("unet/model.safetensors") as file:
            assert file.read() == bytes(100)
    assert (local.folder, mapped.folder) == (folder, None)
    assert str(local.source) == str(folder)


def test_the_path_may_be_a_str_or_a_path_or_relative(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    names = {Snapshot.from_folder(path).names for path in (folder, str(folder), folder.name, Path(folder.name))}
    assert len(names) == 1


def test_a_document_is_parsed_once(folder):
    snapshot = Snapshot.from_folder(folder)
    first = snapshot.document("config.json")
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    assert snapshot.document("config.json") is first


def test_a_mapping_may_know_only_sizes():
    snapshot = Snapshot.from_mapping({"config.json": "{}"}, {"model.safetensors": 10**12, "config.json": 2})
    assert snapshot.has_text("config.json") and not snapshot.has_text("model.safetensors")
    assert snapshot.sizes["model.safetensors"] == 10**12
    with pytest.raises(ModelNotFound, match="its bytes are not here"):
        snapshot.read("model.safetensors", 0, 8)


def test_a_mapping_may_hold_the_beginning_of_a_large_file():
    snapshot = Snapshot.from_mapping({"model.safetensors": b"header"}, {"model.safetensors": 10**12})
    assert snapshot.read("model.safetensors", 0, 100) == b"header"
    assert snapshot.sizes["model.safetensors"] == 10**12


def test_an_unknown_file_lists_what_there_is(folder):
    with pytest.raises(ModelNotFound, match=r"'none\.json'.*there are: config\.json, run\.yaml"):
        Snapshot.from_folder(folder).read("none.json")


@pytest.mark.parametrize("name", ["../../.bashrc", "/etc/x", "C:\\x", "unet\\x", "a/../../x"])
def test_c13_a_listing_that_leads_out_is_refused(name):
    for arguments in (({name: "x"},), ({}, {name: 5})):
        with pytest.raises(PathEscapeRefused, match="nothing was opened"):
            Snapshot.from_mapping(*arguments)


def test_unusable_arguments_are_refused():
    with pytest.raises(MalformedMetadata):
        Snapshot.from_mapping({"a\0": "x"})
    for texts in ({"a": None}, {"a": 5}):
        with pytest.raises(OptionError, match="expected str or bytes"):
            Snapshot.from_mapping(texts)
    for size in (-1, 1.5, None, "5", True):
        with pytest.raises(OptionError, match="expected bytes as an int"):
            Snapshot.from_mapping({}, {"a": size})


def test_e12_a_large_text_is_refused_unread(folder):
    with (folder / "config.json").open("wb") as file:
        file.truncate(400 * 2**20)
    snapshot = Snapshot.from_folder(folder)
    with pytest.raises(LimitExceeded, match="419430400 bytes"):
        snapshot.document("config.json")


def test_a_file_that_grew_since_is_refused(folder):
    snapshot = Snapshot.from_folder(folder, limits=Limits(json_bytes=100))
    (folder / "config.json").write_text(json.dumps(["x" * 200]))
    with pytest.raises(LimitExceeded):
        snapshot.read("config.json")


def test_within_other_limits(folder):
    (folder / "config.json").write_text('{"a": {"b": {"c": 1}}}')
    snapshot = Snapshot.from_folder(folder)
    assert snapshot.within(snapshot.limits) is snapshot
    with pytest.raises(LimitExceeded, match="deep"):
        snapshot.within(Limits(depth=2)).document("config.json")
    assert snapshot.document("config.json") == {"a": {"b": {"c": 1}}}


def test_what_is_handed_out_cannot_change_it():
    sizes = {"a": 1}
    snapshot = Snapshot.from_mapping({}, sizes)
    sizes["b"] = 2
    assert snapshot.names == ("a",)
    with pytest.raises(TypeError):
        snapshot.sizes["c"] = 3


def test_sources_name_themselves():
    assert str(Source("modelscope", repo="org/x")) == "org/x"
    assert str(Source("mapping")) == "(mapping)"
    assert Source("local", path="./m").to_dict() == {
        "hub": "local", "repo": None, "path": "./m", "revision": None, "commit": None, "subfolder": None,
    }  # fmt: skip
    assert str(Source("modelscope", repo="org/x", revision="v1", subfolder="unet")) == "org/x/unet@v1"
    assert "\x1b" not in repr(Snapshot.from_mapping({}, source=Source("local", path="\x1b[31m")))
