import logging
import os
from pathlib import Path

import pytest

from modelscope_ext.errors import LimitExceeded, ModelNotFound, OptionError, PathEscapeRefused
from modelscope_ext.hub.locate import locate, looks_like_repo, open_snapshot
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.safety.limits import Limits


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "damo" / "bert" / "unet").mkdir(parents=True)
    (tmp_path / "damo" / "bert" / "config.json").write_text("{}")
    (tmp_path / "damo" / "bert" / "unet" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_is_found_however_it_is_written(here):
    for model in ("damo/bert", "./damo/bert", "damo/bert/", Path("damo/bert"), here / "damo" / "bert"):
        (source,) = locate(model)
        assert (source.hub, open_snapshot(model).names) == ("local", ("config.json", "unet/config.json"))
    (here / "link").symlink_to("damo")
    assert open_snapshot("link/bert").names == ("config.json", "unet/config.json")


def test_d11_a_folder_that_looks_like_a_hub_id_wins_and_says_so(here, caplog):
    with caplog.at_level(logging.INFO, logger="modelscope_ext"):
        snapshot = open_snapshot("damo/bert")
    assert [(f.code, f.level) for f in snapshot.findings] == [("local-folder", "info")]
    assert [record.message for record in caplog.records] == [snapshot.findings[0].message]
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="modelscope_ext"):
        assert open_snapshot("./damo/bert").findings == ()
    assert not caplog.records


def test_a_snapshot_stays_what_it_is():
    snapshot = Snapshot.from_mapping({})
    assert open_snapshot(snapshot) is snapshot


def test_a_subfolder_is_opened(here):
    assert open_snapshot("damo/bert", subfolder="unet").names == ("config.json",)
    with pytest.raises(ModelNotFound, match=r"has no folder 'unett'.*Did you mean 'unet'\?"):
        open_snapshot("damo/bert", subfolder="unett")
    for outside in ("../bert", "/etc"):
        with pytest.raises((PathEscapeRefused, ModelNotFound)):
            open_snapshot("damo/bert", subfolder=outside)


NOT_FOUND = {
    "./damo/bort": r"There is no folder \./damo/bort \(looked in .*Did you mean 'bert'",
    "bert": r"There is no folder bert \(looked in ",
    "damo/bert/config.json": r"damo/bert/config\.json is a file\. .*pass 'damo/bert'",
    "https://huggingface.co/damo/bert": r"is a URL\. .*org/name",
    "~/bert": r"'~' is not expanded here",
    "/dev/null": r"/dev/null is neither a file nor a folder",
    "a\x1b[31mb": r"a\\x1b\[31mb",
    "a\0b": r"There is no folder",
    "x" * 5000: r"There is no folder x+\.\.\. \(looked",
}


@pytest.mark.parametrize("model", NOT_FOUND)
def test_what_is_not_there_gets_its_own_advice(here, model):
    with pytest.raises(ModelNotFound, match=NOT_FOUND[model]) as error:
        locate(model)
    assert isinstance(error.value, FileNotFoundError)
    assert len(str(error.value)) <= 1000 and str(error.value).isprintable()


def test_a_pipe_is_no_folder(here):
    os.mkfifo("pipe")
    with pytest.raises(ModelNotFound, match="neither a file nor a folder"):
        locate("pipe")


@pytest.mark.parametrize("model", [None, 5, [], "", b"bytes", object()])
def test_a_model_is_a_str_or_a_path(model):
    with pytest.raises(OptionError, match="model"):
        locate(model)


def test_an_empty_folder_is_opened_and_judged_later(tmp_path):
    assert open_snapshot(tmp_path).names == ()


def hubs(*args, **keywords):
    return [(source.hub, source.repo) for source in locate(*args, **keywords)]


def test_an_id_is_looked_for_on_modelscope_unless_something_says_otherwise(here, monkeypatch):
    assert hubs("damo/bort") == [("modelscope", "damo/bort")]
    assert hubs("hf:damo/bort") == hubs("damo/bort", hub="huggingface") == hubs("damo/bort", hub="HF")
    assert hubs("om:damo/bort", hub="modelers") == [("openmind", "damo/bort")]
    assert hubs("hf:gpt2") == [("huggingface", "gpt2")]
    monkeypatch.setenv("MODELSCOPE_EXT_HUB", "hf, modelscope,hf")
    assert hubs("damo/bort") == [("huggingface", "damo/bort"), ("modelscope", "damo/bort")]
    assert hubs("ms:damo/bort") == [("modelscope", "damo/bort")]


def test_a_folder_wins_unless_the_call_names_a_hub(here):
    assert locate("damo/bert")[0].hub == locate("damo/bert", hub="local")[0].hub == "local"
    assert hubs("damo/bert", hub="modelscope") == hubs("ms:damo/bert") == [("modelscope", "damo/bert")]
    assert locate(here / "damo" / "bert", hub="modelscope")[0].hub == "local"
    (here / "hf:damo").mkdir()
    (here / "hf:damo" / "bert").mkdir()
    assert locate("hf:damo/bert")[0].hub == "local"
    assert [f.code for f in open_snapshot("hf:damo/bert").findings] == ["local-folder"]


def test_a_subfolder_and_a_revision_go_along(here):
    (source,) = locate("damo/bort", subfolder="unet/", revision="v1")
    assert (source.subfolder, source.revision) == ("unet/", "v1")


WRONG_HUBS = {
    "modelscop": r"hub='modelscop': unknown\. Did you mean 'modelscope'\?",
    "": r"hub='': unknown",
    "../x": r"unknown",
}


@pytest.mark.parametrize("hub", WRONG_HUBS)
def test_an_unknown_hub_is_named(here, hub, monkeypatch):
    with pytest.raises(OptionError, match=WRONG_HUBS[hub]):
        locate("damo/bort", hub=hub)
    if hub:
        monkeypatch.setenv("MODELSCOPE_EXT_HUB", f"modelscope,{hub}")
        with pytest.raises(OptionError, match=r"environment variable MODELSCOPE_EXT_HUB: .*unknown"):
            locate("damo/bort")


def test_a_hub_that_is_no_str_or_contradicts_the_prefix(here):
    with pytest.raises(OptionError, match="hub=3: expected a str"):
        locate("damo/bort", hub=3)
    with pytest.raises(OptionError, match="contradicts the prefix"):
        locate("hf:damo/bort", hub="modelscope")


def test_a_path_is_never_asked_of_a_hub(here):
    for path in ("./damo/bort", "/damo/bort", "~/bort", "../damo/bort"):
        with pytest.raises(ModelNotFound, match="There is no folder"):
            locate(path, hub="modelscope")
    with pytest.raises(ModelNotFound, match="is a file"):
        locate("damo/bert/config.json")


def test_a_revision_of_a_folder_is_a_warning(here, caplog):
    with caplog.at_level(logging.WARNING, logger="modelscope_ext"):
        locate("./damo/bert", revision="v1")
    assert "revision=v1 has no meaning" in caplog.text


def test_limits_reach_the_listing(here):
    with pytest.raises(LimitExceeded, match="more than 1 files"):
        open_snapshot("damo/bert", limits=Limits(files=1))


def test_hub_ids_are_told_from_paths():
    assert all(map(looks_like_repo, ("a/b", "Qwen/Qwen2.5-7B", "org.x/name_1")))
    assert not any(map(looks_like_repo, ("a", "./a/b", "/a/b", "../b", "a/b/c", "~/a", "a/.b", "a b/c", "-a/b")))


def test_a_subfolder_a_variant_or_limits_of_another_type_are_our_error(tmp_path):
    from modelscope_ext.models.resolve import resolve

    (tmp_path / "config.json").write_text("{}")
    for keywords, says in (
        ({"subfolder": 3}, "subfolder=3: expected a str such as 'unet'"),
        ({"variant": 3}, "variant=3: expected a str such as 'fp16'"),
        ({"limits": 3}, "limits=3: expected"),
    ):
        with pytest.raises(OptionError, match=says):
            resolve(tmp_path, **keywords)
