"""ModelScope's backend before anything of it is imported: claims, requirements, gates, the staged folder."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from modelscope_ext import Model, Snapshot, pipeline, plan, resolve
from modelscope_ext.errors import (
    BackendNotLoadable,
    ConfigError,
    InstallRefused,
    MissingRequirement,
    ModelNotFound,
    OptionError,
    RedirectRefused,
    RemoteCodeRefused,
    RequirementConflict,
    RequirementError,
)
from modelscope_ext.models.backends._modelscope.stage import Stage, refuse_redirects
from modelscope_ext.models.backends._modelscope.tasks import ROWS, answer
from modelscope_ext.models.backends.modelscope_ import ModelScope, _types
from modelscope_ext.models.decision import tables
from modelscope_ext.models.decision.native import native_type
from modelscope_ext.models.schemas import SCHEMAS
from modelscope_ext.safety.grants import Grants

NAFNET = {
    "framework": "pytorch",
    "task": "image-denoising",
    "model": {"type": "nafnet"},
    "pipeline": {"type": "nafnet-image-denoise"},
}
SEGMENTS = {
    "framework": "pytorch",
    "task": "document-segmentation",
    "model": {"type": "bert-for-document-segmentation", "model_config": {"type": "bert", "level": "doc"}},
    "pipeline": {"type": "document-segmentation"},
}


def snapshot(configuration, **files):
    texts = {"configuration.json": json.dumps(configuration), **{n: v for n, v in files.items() if isinstance(v, str)}}
    return Snapshot.from_mapping(texts, {n: v for n, v in files.items() if isinstance(v, int)})


def folder_of(folder, configuration, **files):
    folder.mkdir(exist_ok=True)
    (folder / "configuration.json").write_text(json.dumps(configuration))
    for name, data in {"pytorch_model.pt": b"PK", **files}.items():
        (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder


# The decision


@pytest.mark.parametrize(
    ("configuration", "task", "needs"),
    [
        (NAFNET, "image-denoising", {"torchvision", "opencv-python"}),
        (SEGMENTS, "document-segmentation", {"transformers>=4.57.1,<5"}),
        ({**SEGMENTS, "framework": "Pytorch"}, "document-segmentation", {"transformers>=4.57.1,<5"}),
        ({**NAFNET, "model": None}, "image-denoising", {"torchvision"}),
        ({**NAFNET, "task": None}, "image-denoising", {"torchvision"}),
    ],
)
def test_resolve_names_backend_task_and_what_the_type_needs(configuration, task, needs):
    configuration = {key: value for key, value in configuration.items() if value is not None}
    info = resolve(snapshot(configuration, **{"pytorch_model.pt": 9}), installed=False)
    assert (info.backend, info.framework, info.tasks) == ("modelscope", "pytorch", (task,))
    assert needs <= set(info.requirement_dependency)
    assert set(ModelScope.requires) <= set(info.requirement_dependency)
    assert info.loadable and info.weights.files == ("pytorch_model.pt",)
    same = resolve(snapshot({}, **{"pytorch_model.pt": 9}), cfg_dict=configuration, installed=False)
    assert (same.backend, same.tasks, same.requirement_dependency) == (
        info.backend,
        info.tasks,
        info.requirement_dependency,
    )


def test_a_format_beats_a_native_type_which_stays_an_alternative():
    index = json.dumps({"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]})
    native = {"task": "text-to-image-synthesis", "model": {"type": "stable-diffusion-xl"}}
    info = resolve(snapshot(native, **{"model_index.json": index}), installed=False)
    assert (info.backend, info.default_task) == ("diffusers", "text-to-image")
    assert "modelscope" in [other.backend for other in info.alternatives]


def test_the_plan_holds_code_only_where_it_is_asked_for():
    files = {
        "pytorch_model.pt": 9,
        "ms_wrapper.py": "from . import helper",
        "helper.py": "",
        "setup.py": "",
        "x/y.py": "",
    }
    planned = [file.name for file in plan(snapshot(NAFNET, **files), installed=False).files]
    assert planned == ["configuration.json", "pytorch_model.pt"]
    asked = plan(snapshot({**NAFNET, "allow_remote": True}, **files), installed=False)
    names = {file.name for file in asked.files}
    assert {"ms_wrapper.py", "helper.py"} <= names and "x/y.py" not in names


# The table


def test_the_tables_needs_are_what_the_type_adds():
    table = tables.modelscope()
    own = {name.partition(">")[0] for name in ModelScope.requires}
    for needs in table.needs.values():
        assert not own & {name.partition(">")[0] for name in needs}
    for (kind, name, task), needs in table.needs.items():
        rows = getattr(table, kind)
        assert task in rows[name]
        assert not {"utils", "tasks", "config", "test"} & set(needs)
    assert len(table.needs) > 600


def test_a_type_is_looked_up_by_its_task():
    assert native_type("structbert", "fill-mask", "fill-mask").task == "fill-mask"
    nothing = native_type("no-such-type", "no-such-pipeline", "fill-mask")
    assert (nothing.model, nothing.pipeline, nothing.task, nothing.needs) == (None, None, None, ())
    wrong = native_type("nafnet", "nafnet-image-denoise", "fill-mask")
    assert wrong.task is None and "image-denoising" in wrong.tasks
    two = native_type("nafnet", None, "image-deblurring")
    assert (two.pipeline, two.pipelines) == ("nafnet-image-deblur", ("nafnet-image-deblur",))


def test_what_the_index_does_not_have_is_an_error_that_says_so():
    with pytest.raises(OptionError, match=r"no 'nafnet' for 'fill-mask'.*It has it for: image-denoising"):
        _types(NAFNET, "fill-mask", "./m")
    with pytest.raises(BackendNotLoadable, match=r"nobodys is not in the index of ModelScope.*allow_remote"):
        _types({"task": "fill-mask", "model": {"type": "nobodys"}}, None, "./m")
    with pytest.raises(
        ConfigError, match=r"pipeline\.type is None; for fill-mask ModelScope has fill-mask, fill-mask-ponet"
    ):
        _types({"task": "fill-mask", "model": {"type": "structbert"}}, None, "./m")


def test_tasks_that_can_be_run_are_listed():
    assert set(ROWS) <= set(ModelScope.tasks)
    assert "translation" in SCHEMAS and "translation" not in ModelScope.tasks  # nobody wrote down how it answers
    with pytest.raises(OptionError, match="raw=True"):
        answer(lambda item: {"translation": item}, "translation", "a", {}, raw=False)
    assert answer(lambda item: {"translation": item}, "translation", "a", {}, raw=True) == {"translation": "a"}
    assert answer(lambda item: [item], "siamese-uie", "a", {}, raw=False) == ["a"]


# The gates


@pytest.mark.parametrize("key", ["plugins"])
def test_nothing_is_installed_for_a_model(tmp_path, key):
    folder = folder_of(tmp_path / "m", {**NAFNET, key: ["adaseq"]})
    with pytest.raises(InstallRefused):
        Model.from_pretrained(folder, trust_remote_code=True)


def test_code_is_refused_by_name_of_every_file_that_would_run(tmp_path):
    folder = folder_of(tmp_path / "m", {**NAFNET, "allow_remote": True}, **{"ms_wrapper.py": "", "network.py": ""})
    with pytest.raises(RemoteCodeRefused, match=r"ms_wrapper\.py, network\.py sha256:"):
        Model.from_pretrained(folder)


def test_a_model_that_another_one_stands_for_is_refused(tmp_path):
    native = {**NAFNET, "model": {"type": "nafnet", "pretrained_model_name_or_path": "damo/other"}}
    with pytest.raises(RedirectRefused, match=r"damo/other"):
        Model.from_pretrained(folder_of(tmp_path / "m", native))


@pytest.mark.parametrize("value", ["/x", "~/x", "a/../../x", "C:/x", "C:\\x", "\\\\host\\x", "http://x/y", "s3://x"])
def test_arguments_that_lead_elsewhere_are_refused(value):
    with pytest.raises(RedirectRefused, match=r"preprocessor\.files\[1\]"):
        refuse_redirects({"preprocessor": {"type": "x", "files": ["vocab.txt", value]}}, "./m")
    refuse_redirects({"train": {"work_dir": value}, "model": {"name": "a.b/c..d", "type": "x"}}, "./m")


def test_a_stage_holds_the_planned_files_and_a_configuration_of_ours(tmp_path):
    granted = {**NAFNET, "allow_remote": True, "plugins": ["x"], "model": {"type": "nafnet", "trust_remote_code": True}}
    folder = folder_of(tmp_path / "m", granted, **{"evil.py": "", "requirements.txt": "evil"})
    (folder / "unet").mkdir()
    (folder / "unet" / "config.json").write_text("{}")
    names = ["configuration.json", "pytorch_model.pt", "unet/config.json"]
    stage = Stage.of(folder.resolve(), names, granted, trusted=False)
    there = sorted(p.relative_to(stage.folder).as_posix() for p in stage.folder.rglob("*") if p.is_file())
    assert there == names
    assert stage.folder.is_absolute()
    document = json.loads((stage.folder / "configuration.json").read_text())
    assert document == NAFNET
    root = stage.root
    stage.close()
    assert not root.exists() and (folder / "pytorch_model.pt").exists()
    trusted = Stage.of(folder.resolve(), names, granted, trusted=True)
    assert json.loads((trusted.folder / "configuration.json").read_text())["allow_remote"] is True
    root = trusted.root
    del trusted
    import gc

    gc.collect()
    assert not root.exists()


def test_a_missing_folder_is_not_looked_for_on_a_hub(tmp_path):
    info = resolve(snapshot(NAFNET), installed=False)
    with pytest.raises(ModelNotFound, match="no such folder"):
        ModelScope().load(tmp_path / "gone", info, Grants.of())


# What is missing, named before anything is imported or read


def test_what_a_type_needs_is_missing_here(tmp_path):
    folder = folder_of(tmp_path / "m", NAFNET)
    if not _absent("torchvision"):
        pytest.fail("torchvision is installed: this test belongs to the environments without it")
    info = resolve(folder)
    assert any(line.startswith("torchvision: ") for line in info.missing)
    with pytest.raises(RequirementError, match="torchvision"):
        pipeline(model=folder)


def test_the_command_names_everything_that_is_missing(tmp_path, monkeypatch):
    from modelscope_ext.models.decision import needs
    from modelscope_ext.utils import distributions

    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setattr(distributions, "_stamps", lambda: ((str(site), 0),))
    monkeypatch.setattr(needs, "_CHECKED", {})
    with pytest.raises(MissingRequirement, match=r"pip install .*\"modelscope>=1.38\" .*opencv-python.*torchvision"):
        Model.from_pretrained(folder_of(tmp_path / "m", NAFNET))


@pytest.mark.pt
def test_types_for_transformers_4_are_a_conflict_with_5_that_names_the_way_out(tmp_path):
    folder = folder_of(tmp_path / "m", SEGMENTS)
    assert any("transformers>=4.57.1,<5: conflict, 5." in line for line in resolve(folder).missing)
    command = r'python -m venv ms && ms/bin/pip install "modelscope-ext\[modelscope\]" "transformers==4\.57\.1"'
    with pytest.raises(RequirementConflict, match=command):
        Model.from_pretrained(folder)


def _absent(name):
    from importlib.util import find_spec

    return find_spec(name) is None


def test_the_native_snippet_passes_task_and_an_absolute_path():
    code = ModelScope().code(resolve(snapshot(NAFNET), installed=False))
    compile(code, "snippet", "exec")
    assert "pipeline('image-denoising', model=folder" in code and "os.path.abspath" in code
    code = ModelScope().code(resolve(snapshot(SEGMENTS), installed=False))
    compile(code, "snippet", "exec")
    assert "DocumentSegmentationTransformersPreprocessor(folder, 512)" in code


# The process around it


@pytest.mark.pt
def test_every_load_of_a_pickle_is_one_of_tensors_only(tmp_path, monkeypatch):
    import pickle

    import torch

    from modelscope_ext.models.backends._modelscope.contain import loading

    torch.save({"a": Path("x")}, tmp_path / "more.pt")
    torch.save({"a": torch.ones(2)}, tmp_path / "plain.pt")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with loading(pickles=False):
        assert torch.load(tmp_path / "plain.pt", weights_only=False)["a"].sum() == 2
        with pytest.raises(pickle.UnpicklingError):
            torch.load(tmp_path / "more.pt", weights_only=False)
    assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1" and "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
    with loading(pickles=True):
        assert torch.load(tmp_path / "more.pt", weights_only=False)["a"] == Path("x")


@pytest.mark.pt
def test_the_process_is_left_as_found_also_after_a_failure(tmp_path, monkeypatch, capfd):
    import logging
    import random
    import sys
    import warnings

    import torch

    from modelscope_ext.models.backends._modelscope.contain import loading
    from modelscope_ext.testing.witness import left_behind, state

    before, lookup, filters = state(), socket.getaddrinfo, list(logging.getLogger("modelscope").filters)
    with pytest.raises(ZeroDivisionError), loading(pickles=False):
        print("noise")
        logging.getLogger("modelscope").warning("noise")
        warnings.warn("noise", stacklevel=1)
        torch.rand(3), random.random()
        sys.path.insert(0, "/x")
        os.environ["PATH"], os.environ["NEW"] = "/x", "1"
        os.chdir(tmp_path)
        1 / 0
    assert left_behind(before) == []
    assert socket.getaddrinfo is lookup and logging.getLogger("modelscope").filters == filters
    out, err = capfd.readouterr()
    assert (out, err) == ("", "noise\n")  # what is printed goes where it disturbs no output


@pytest.mark.pt
def test_stdout_comes_back_after_threads_that_overlap(capfd):
    import sys
    import threading

    from modelscope_ext.models.backends._modelscope.contain import running

    plain, inside, leave = sys.stdout, threading.Event(), threading.Event()

    def run():
        with running():
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=run)
    with running():
        other.start()
        inside.wait(10)
    leave.set()
    other.join()
    assert sys.stdout is plain


@pytest.mark.pt
def test_only_the_thread_that_loads_is_offline():
    import threading

    from modelscope_ext.models.backends._modelscope.contain import offline

    answers = []

    def look_up():
        try:
            answers.append(socket.getaddrinfo("localhost", 80)[0][4][0])
        except Exception as error:
            answers.append(type(error).__name__)

    with offline() as asked:
        look_up()
        with offline() as inner:
            look_up()
        look_up()
        other = threading.Thread(target=look_up)
        other.start()
        other.join()
    look_up()
    assert (asked.hosts, inner.hosts) == (["localhost", "localhost"], ["localhost"])
    assert answers[:3] == ["Offline"] * 3
    assert "Offline" not in answers[3:]


@pytest.mark.pt
def test_parameters_that_no_state_dict_had_are_found():
    import torch

    from modelscope_ext.errors import WeightsMismatch
    from modelscope_ext.models.backends._modelscope.weights import check_arrivals, watched

    def network():
        return torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))

    whole = network().state_dict()
    part = {name: value for name, value in whole.items() if name != "1.bias"}
    with watched() as seen:
        model = network()
        model.load_state_dict(part, strict=False)
    with pytest.raises(WeightsMismatch, match=r"1 weights are not in the checkpoint and would be random \(1\.bias\)"):
        check_arrivals(seen, model, "./m", allowed=False)
    with watched() as seen:  # in two goes
        model = network()
        model.load_state_dict(part, strict=False)
        model.load_state_dict({"1.bias": whole["1.bias"]}, strict=False)
    check_arrivals(seen, model, "./m", allowed=False)
    with watched() as seen:  # a network that fetched nothing is none of ours
        model = network()
        model[0].load_state_dict(network()[0].state_dict())
    check_arrivals(seen, model, "./m", allowed=False)
    assert torch.nn.Module.load_state_dict.__module__ == "torch.nn.modules.module"
