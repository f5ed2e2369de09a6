"""`list`: what is known here, what other packages register, and the matrix of tasks and backends."""

import json

import pytest

from modelscope_ext.models.builder import BACKENDS, MODELS
from modelscope_ext.models.tasks import TASKS
from modelscope_ext.pipelines.builder import PIPELINES


def test_backends_have_their_tasks_and_how_to_install_them(cli):
    report = json.loads(cli("list", "backends", "--json").out)
    rows = {row["name"]: row for row in report["backends"]}
    assert set(rows) == set(BACKENDS.names())
    assert "text-classification" in rows["transformers"]["tasks"]
    assert rows["onnxruntime"]["frameworks"] == ["onnx"]
    assert rows["onnxruntime"]["installed"] is True  # both test environments have it
    assert all(row["install"].startswith("pip install") for row in rows.values())
    assert len(report["recognised"]) >= 35
    assert not set(report["recognised"]) & set(rows)


def test_the_matrix_has_a_row_a_task_and_a_column_a_backend(cli):
    lines = cli("list", "backends").out.splitlines()
    header = next(line for line in lines if line.split()[:1] == ["task"]).split()
    assert header[1:] == list(BACKENDS.names())
    row = next(line for line in lines if line.split()[:1] == ["object-detection"]).split()
    assert [mark == "\u2713" for mark in row[1:]] == ["object-detection" in BACKENDS.get(n).tasks for n in header[1:]]


def test_tasks_have_modality_aliases_and_backends(cli):
    rows = {row["task"]: row for row in json.loads(cli("list", "tasks", "--json").out)}
    assert set(rows) == set(TASKS)
    speech = rows["automatic-speech-recognition"]
    assert speech["modality"] == "audio" and "asr" in speech["aliases"] and "transformers" in speech["backends"]


@pytest.mark.parametrize(("what", "registry"), [("models", MODELS), ("pipelines", PIPELINES)])
def test_registrations_are_listed_with_their_conditions(cli, what, registry):
    with registry.temporary():
        registry.register_module(module_name="Mine", module_cls="no_such_module:Mine", task="fill-mask")
        rows = json.loads(cli("list", what, "--json").out)
        text = cli("list", what).out
    mine = next(row for row in rows if row["name"] == "Mine")
    assert mine["task"] == ["fill-mask"]
    line = next(line for line in text.splitlines() if " Mine " in line)
    assert line.split()[:5] == ["Mine", "fill-mask", "any", "any", "any"]


def test_there_is_nothing_else_to_list(cli):
    done = cli("list", "modles")
    assert done.code == 2 and "backends" in done.err


def test_a_broken_backend_is_shown_with_its_error_and_the_others_are_listed(cli):
    with BACKENDS.temporary():
        BACKENDS.register("acme-broken", "no_such_module_here:Acme")
        BACKENDS.register("acme-other", "json:JSONDecoder")
        done, report = cli("list", "backends"), json.loads(cli("list", "backends", "--json").out)
    assert done.code == 0
    at = done.out.index("registered, but broken")
    assert "No module named 'no_such_module_here'" in done.out[at:]
    assert "must be a subclass of" in done.out[at:]
    assert [row["name"] for row in report["broken"]] == ["acme-broken", "acme-other"]
    assert "transformers" in [row["name"] for row in report["backends"]]
