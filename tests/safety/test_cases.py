"""Hostile folders end to end, by the rows of the project's safety table: the exact error, and nothing else happens.

Each batch runs in a process of its own with an audit hook; see `worker.py`. The decision and both gates are asked in
any environment, the whole load where the libraries are (marked `pt`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelscope_ext import errors
from modelscope_ext.models.gate.contents import check_file
from modelscope_ext.safety.grants import Grants
from tests.reference import OFFLINE
from tests.safety.cases import ARRAYS, CASES, ELSEWHERE, IDS, LATER, Case

ROOT = Path(__file__).parents[2]
CODES = {kind.code: kind for name in errors.__all__ if hasattr(kind := getattr(errors, name), "code")}
BY_ID = {case.id: case for case in CASES}
#: Rows asked by the tests below this table, not by the table.
BELOW = (
    "B08",
    "C20",
    "D07",
    "D11",
    "E43",
    "E45",
    "E48",
    "F01",
    "F02",
    "F04",
    "F05",
    "F06",
    "F08",
    "F09",
    "F10",
    "F12",
    "E19",
    "E21",
)


def test_every_row_is_asked_somewhere():
    asked = {case.row for case in CASES} | set(BELOW) | {row for row, *_ in ARRAYS}
    assert sorted(set(IDS) - asked) == sorted({*LATER, *ELSEWHERE})
    assert not asked & set(LATER)
    assert all((ROOT / file).is_file() for file in ELSEWHERE.values())
    assert len(BY_ID) == len(CASES)


def outcomes(jobs: list[dict], cwd: Path) -> list[dict]:
    """Return what happened in a fresh process, one answer per job."""
    temporary = cwd / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = {**os.environ, **OFFLINE, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    caches = [os.environ[name] for name in ("HF_HOME", "MODELSCOPE_CACHE", "XDG_CACHE_HOME")]
    for job in jobs:
        job["allowed"] = [str(ROOT / "modelscope_ext"), os.path.realpath(temporary), *map(os.path.realpath, caches)]
    worker = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("worker.py"))]
    done = subprocess.run(
        worker, input=json.dumps(jobs), capture_output=True, text=True, cwd=cwd, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def asked(case: Case, trust: bool) -> dict:
    return {**case.keywords, **({"trust_remote_code": True} if trust else {})}


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("cases")
    return {case.id: case.write(root / case.id) for case in CASES}


@pytest.fixture(scope="module")
def answers(places, tmp_path_factory) -> Iterator[dict[tuple[str, str, bool], dict]]:
    """What `resolve` and the gates do with every folder, with and without trust."""
    cwd = tmp_path_factory.mktemp("cwd")
    jobs, names = [], []
    for case in CASES:
        for entry in ("resolve", "gates"):
            for trust in (False, True):
                names.append((case.id, entry, trust))
                keywords = asked(case, trust) if entry == "gates" else {}
                jobs.append({"folder": str(places[case.id]), "entry": entry, "keywords": keywords})
    return dict(zip(names, outcomes(jobs, cwd), strict=True))


def check_quiet(answer: dict) -> None:
    """What every case must satisfy, whatever the error."""
    assert answer["exception"]
    assert answer["seen"] == []
    assert answer["changed"] == []
    assert len(answer["text"]) <= 1024
    assert answer["text"].replace("\n", "").isprintable()
    assert "SECRET" not in answer["text"]


@pytest.mark.parametrize("case", CASES, ids=BY_ID)
def test_looking_is_safe(case, answers):
    answer = answers[case.id, "resolve", False]
    check_quiet(answer)
    assert answer["frameworks"] == []
    assert answer["seconds"] < 2
    assert answer["memory"] < 64 * 2**20
    if case.stage == "resolve":
        assert (answer["code"], answer["file"]) == (case.code, case.file), answer["text"]
    elif case.code not in ("RC", "XF") or answer["kind"]:
        assert answer["code"] in ("", None), answer["text"]


@pytest.mark.parametrize("trust", [False, True], ids=["default", "trusted"])
@pytest.mark.parametrize("case", CASES, ids=BY_ID)
def test_the_gates_refuse(case, trust, answers, places):
    answer = answers[case.id, "gates", trust]
    check_quiet(answer)
    assert answer["frameworks"] == []
    check_refusal(case, trust, answer, str(places[case.id]))


def check_refusal(case: Case, trust: bool, answer: dict, folder: str) -> None:
    expected = case.trusted if trust and case.trusted is not None else case.code
    if len(expected) > 2:
        assert answer["kind"] == expected, answer["text"]
        return
    assert answer["code"] == expected, (answer["kind"], answer["text"])
    if not expected:
        return
    assert answer["kind"] == CODES[expected].__name__
    assert answer["source"] == folder
    if expected == case.code:
        assert answer["file"] == case.file, answer["text"]
        assert case.field is None or answer["field"] == case.field, answer["text"]
        assert case.says in answer["text"]
    grants = {
        "RC": ("trust_remote_code", None),
        "PK": ("allow_pickle",),
        "RD": ("allow_sources",),
        "LM": ("limits", None),
    }
    assert answer["grant"] in grants.get(expected, (None,)), answer["text"]


@pytest.mark.parametrize(("row", "name", "data", "code"), ARRAYS, ids=[f"{row[0]}-{row[1]}" for row in ARRAYS])
def test_arrays(tmp_path, row, name, data, code):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CODES[code]) as caught:
        check_file(tmp_path, name, [name], Grants(), "m")
    assert (caught.value.file, caught.value.source) == (name, "m")
