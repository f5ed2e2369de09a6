"""Hostile folders end to end, by the rows of the project's safety table: the exact error, and nothing else happens.

Each batch runs in a process of its own with an audit hook; see `worker.py`. The decision and both gates are asked in
any environment, the whole load where the libraries are (marked `pt`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelscope_ext import errors
from modelscope_ext.models.gate.contents import check_file
from modelscope_ext.models.loader import load
from modelscope_ext.safety.grants import Grants
from tests.reference import OFFLINE
from tests.safety.cases import ARRAYS, ELSEWHERE, EVIL, EVIL_PICKLE, IDS, MODEL, Case, write
from tests.safety.cases import CASES as TABLE
from tests.safety.invented import INVENTED, INVENTED_ARRAYS

ROOT = Path(__file__).parents[2]
CODES = {kind.code: kind for name in errors.__all__ if hasattr(kind := getattr(errors, name), "code")}
CASES = (*TABLE, *INVENTED)
BY_ID = {case.id: case for case in CASES}
ALL_ARRAYS = (*ARRAYS, *INVENTED_ARRAYS)
#: Rows asked by the tests below this table, not by the table.
BELOW = ("A41", "C20", "D07", "D11", "E45", "E48", "F01", "F02", "F10")


def test_every_row_is_asked_somewhere():
    asked = {case.row for case in TABLE} | set(BELOW) | {row for row, *_ in ARRAYS}
    assert sorted(set(IDS) - asked) == sorted(ELSEWHERE)
    assert not asked & set(ELSEWHERE)
    assert len(BY_ID) == len(CASES)
    for file, word in ELSEWHERE.values():
        assert word.lower() in (ROOT / file).read_text(encoding="utf-8").lower(), (file, word)


#: Cases that nothing is wrong with: what a decision imports and reads for the first time is known before the others.
HARMLESS = ("A06", "A21-is_torch_available", "A23-code", "B05", "E06")


def outcomes(jobs: list[dict], cwd: Path, variables: dict[str, str] | None = None) -> list[dict]:
    """Return what happened in children of a fresh process, one answer per job."""
    temporary = cwd / "tmp"
    temporary.mkdir(exist_ok=True)
    harmless = [str(BY_ID[name].write(temporary / f"harmless-{name}")) for name in HARMLESS]
    environment = {
        **os.environ,
        **OFFLINE,
        **(variables or {}),
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(temporary),
    }
    caches = [os.environ[name] for name in ("HF_HOME", "MODELSCOPE_CACHE", "XDG_CACHE_HOME")]
    for job in jobs:
        job["allowed"] = [
            str(ROOT / "modelscope_ext"),
            str(ROOT / "tests/safety"),
            os.path.realpath(temporary),
            *map(os.path.realpath, caches),
        ]
    worker = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("worker.py"))]
    done = subprocess.run(
        worker,
        input=json.dumps({"harmless": harmless, "jobs": jobs}),
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=1200,
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
        for entry, trust in (("resolve", False), ("gates", False), ("gates", True)):
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
        # What is asked for by a keyword of the call, and not by the folder, nothing permits.
        "RD": (None,) if answer["field"] == "custom_pipeline" else ("allow_sources",),
        "LM": ("limits", None),
    }
    assert answer["grant"] in grants.get(expected, (None,)), answer["text"]


#: Rows whose library has no loader here: the load ends at that, after gate A.
NO_LOADER = ("B21", "E40", "E42", "E42-twice")
WHOLE = [case for case in CASES if case.code]


@pytest.fixture(scope="module")
def loads(places, tmp_path_factory) -> dict[tuple[str, bool], dict]:
    """What `pipeline(model=folder)` does with every folder that must be refused."""
    names = [(case.id, trust) for case in WHOLE for trust in (False, True) if not trust or case.trusted is None]
    jobs = [
        {"folder": str(places[name]), "entry": "pipeline", "keywords": asked(BY_ID[name], trust)}
        for name, trust in names
    ]
    return dict(zip(names, outcomes(jobs, tmp_path_factory.mktemp("cwd")), strict=True))


@pytest.mark.pt
@pytest.mark.parametrize("case", WHOLE, ids=[case.id for case in WHOLE])
def test_a_load_is_refused_before_any_framework(case, loads, places):
    for trust in (False, True):
        answer = loads.get((case.id, trust))
        if answer is None:
            continue
        check_quiet(answer)
        assert answer["frameworks"] == []
        assert answer["seconds"] < 5
        if case.id in NO_LOADER:
            assert answer["kind"] in ("BackendNotLoadable", "MissingRequirement", "RequirementConflict")
        else:
            check_refusal(case, trust, answer, str(places[case.id]))


#: The forms in which a caller may name a folder, beside its absolute path as a str; `place` is the working directory.
FORMS = {
    "path": lambda folder, place: {"folder": str(folder), "as_path": True},
    "relative": lambda folder, place: {"folder": os.path.relpath(folder, place)},
    "linked-parent": lambda folder, place: {"folder": str(place / "linked" / folder.name)},
}
#: Both at once; these are asked of loads alone.
MIXED = {
    "relative-path": lambda folder, place: {"folder": os.path.relpath(folder, place), "as_path": True},
    "linked-parent-relative": lambda folder, place: {"folder": f"linked/{folder.name}"},
}
#: What a hub cannot list: links, pipes, empty folders and names that no hub would take.
ON_HUB = [case for case in CASES if not callable(case.make) and case.id != "E51+names"]
SERVED = """
import json, sys
from modelscope_ext.testing.hub_server import HubServer
with HubServer(hubs=["huggingface"], cdn=False) as server:
    for repo, folder in json.load(sys.stdin).items():
        server.add(repo, folder)
    print(json.dumps(server.environment()), flush=True)
    sys.stdin.close()
    sys.stdout.close()
    import signal
    signal.pause()
"""


@pytest.fixture(scope="module")
def hub(places) -> Iterator[dict[str, str]]:
    """A hub in a process of its own that serves every case as a repo; yields the variables that lead to it."""
    repos = {f"org/{repo_of(case)}": str(places[case.id]) for case in ON_HUB}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SERVED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment,
    )  # fmt: skip
    started.stdin.write(json.dumps(repos))
    started.stdin.close()
    try:
        yield json.loads(started.stdout.readline())
    finally:
        started.terminate()
        started.wait()
        started.stdout.close()


def repo_of(case: Case) -> str:
    return "".join(c if c.isalnum() or c == "-" else f"x{ord(c):x}x" for c in case.id)


def on_hub(cases: list[Case], entry: str, variables: dict[str, str], cwd: Path) -> list[dict]:
    """Return what happens with cases by their id on a hub."""
    port = int(variables["HF_ENDPOINT"].rpartition(":")[2])
    known = {"hub": port, "entry": entry}
    jobs = [
        {
            "folder": f"org/{repo_of(case)}",
            **known,
            "keywords": {**(case.keywords if entry == "pipeline" else {}), "hub": "huggingface"},
        }
        for case in cases
    ]
    return outcomes(jobs, cwd, {**variables, "HF_HOME": str(cwd / "hf"), "XDG_CACHE_HOME": str(cwd / "cache")})


@pytest.fixture(scope="module")
def other_forms(places, tmp_path_factory) -> dict[tuple[str, str], dict]:
    """What `resolve` does with every case by every other form of its name."""
    cwd = tmp_path_factory.mktemp("forms")
    (cwd / "linked").symlink_to(places[CASES[0].id].parent)
    names = [(case.id, form) for case in CASES for form in FORMS]
    jobs = [{**FORMS[form](places[name], cwd), "entry": "resolve"} for name, form in names]
    return dict(zip(names, outcomes(jobs, cwd), strict=True))


@pytest.mark.parametrize("case", CASES, ids=BY_ID)
def test_the_same_by_every_form_of_its_name(case, answers, other_forms):
    first = answers[case.id, "resolve", False]
    for form in FORMS:
        answer = other_forms[case.id, form]
        check_quiet(answer)
        assert [answer[k] for k in ALIKE] == [first[k] for k in ALIKE], form


#: What an answer has in common whatever the source is called.
ALIKE = ("kind", "code", "file", "field", "grant", "frameworks")


@pytest.fixture(scope="module")
def hub_answers(hub, tmp_path_factory) -> dict[str, dict]:
    answers = on_hub(ON_HUB, "resolve", hub, tmp_path_factory.mktemp("on-hub"))
    return dict(zip((case.id for case in ON_HUB), answers, strict=True))


@pytest.mark.parametrize("case", ON_HUB, ids=[case.id for case in ON_HUB])
def test_the_same_on_a_hub(case, answers, hub_answers):
    """Only what decides is fetched from a hub, so a file that does not may stay unread: never more, never another."""
    first, answer = answers[case.id, "resolve", False], hub_answers[case.id]
    check_quiet(answer)
    assert answer["frameworks"] == []
    if case.id in READ_ONLY_HERE:
        assert answer["kind"] in ("", "NotAModel"), answer["text"]
    else:
        assert [answer[k] for k in ALIKE] == [first[k] for k in ALIKE], answer["text"]


#: Refused from a folder because of a file that no decision needs, and that is not fetched for one.
READ_ONLY_HERE = ("E13+index", "E14+scalars", "E17", "E23+unet", "E25-blocks", "E25-dense")

#: One of each class, loaded by all forms and from a hub.
ONE_EACH = ("A01", "B01", "C01", "C04", "D01", "E05", "E25-within")


@pytest.mark.parametrize("name", ONE_EACH)
def test_a_load_by_every_form(name, places, tmp_path):
    (tmp_path / "linked").symlink_to(places[name].parent)
    jobs = [{**form(places[name], tmp_path), "entry": "gates"} for form in (*FORMS.values(), *MIXED.values())]
    for answer in outcomes(jobs, tmp_path):
        check_quiet(answer)
        assert (answer["code"], answer["file"]) == (BY_ID[name].code, BY_ID[name].file)


@pytest.mark.pt
def test_a_load_from_a_hub(hub, tmp_path):
    cases = [BY_ID[name] for name in ONE_EACH if BY_ID[name] in ON_HUB]
    for case, answer in zip(cases, on_hub(cases, "pipeline", hub, tmp_path), strict=True):
        check_quiet(answer)
        assert answer["frameworks"] == [], case.id
        assert (answer["code"], answer["file"]) == (case.code, case.file), (case.id, answer["text"])


@pytest.mark.parametrize(("row", "name", "data", "code"), ALL_ARRAYS, ids=[f"{row[0]}-{row[1]}" for row in ALL_ARRAYS])
def test_arrays(tmp_path, row, name, data, code):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CODES[code]) as caught:
        check_file(tmp_path, name, [name], Grants(), "m")
    assert (caught.value.file, caught.value.source) == (name, "m")


# Loading what is harmless (env pt)

EXTRAS = {
    "D07": {},
    "A06": {"custom_generate/generate.py": EVIL},
    "A08": {"ms_wrapper.py": EVIL},
    "A36": BY_ID["A36"].make,
    "A37": BY_ID["A37"].make,
    "B04": {"pytorch_model.bin": EVIL_PICKLE},
    "B06": {"x.msc": EVIL_PICKLE, "x.mdl": EVIL_PICKLE},
    "B19": {"training_args.bin": EVIL_PICKLE, "optimizer.pt": EVIL_PICKLE, "rng_state.pth": EVIL_PICKLE},
    "E33": {"chat_template.jinja": "SYSTEM: obey {{ messages }}"},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    from tests.tiny.transformers_ import build

    return build("text-classification", tmp_path_factory.mktemp("tiny") / "m")


def copied(tiny: Path, folder: Path, files: dict) -> Path:
    shutil.copytree(tiny, folder)
    write(folder, {name: text for name, text in files.items() if name not in MODEL})
    return folder


@pytest.mark.pt
def test_harmless_additions_change_nothing(tiny, tmp_path):
    folders = [copied(tiny, tmp_path / row, files) for row, files in EXTRAS.items()]
    jobs = [{"folder": str(folder), "entry": "pipeline", "inputs": ["good"], "first": str(tiny)} for folder in folders]
    for row, answer in zip(EXTRAS, outcomes(jobs, tmp_path), strict=True):
        assert (row, answer["text"]) == (row, "")
        assert (row, answer["seen"]) == (row, [])
        assert (row, answer["changed"]) == (row, [])


@pytest.mark.pt
def test_optional_imports_never_come_from_the_folder(tiny, tmp_path):
    """A37: Python started inside the folder, which has modules of every name that a library might try."""
    folder = copied(tiny, tmp_path / "m", {**EXTRAS["A37"], "README.md": "---\nlicense: mit\n---\n"})
    jobs = [{"folder": ".", "entry": entry, "here": True, "inputs": ["good"]} for entry in ("resolve", "pipeline")]
    for answer in outcomes(jobs, folder):
        assert answer["text"] == ""
        assert [line for line in answer["seen"] if not line.startswith("open ")] == []


def test_the_command_line_inside_a_hostile_folder(tmp_path):
    """A36, A37: `python -m` puts the working directory first on `sys.path`."""
    write(tmp_path, {**EXTRAS["A37"], "argparse.py": EVIL, "README.md": "---\nlicense: mit\n---\n"})
    command = [sys.executable, "-m", "modelscope_ext", "inspect", "."]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "transformers" in done.stdout
    assert "evil" not in done.stderr


@pytest.mark.pt
@pytest.mark.parametrize("name", ["spiece.model", "tokenizer.json", "vocab.txt"])
def test_garbage_vocabularies(tiny, tmp_path, name):
    """E45: a vocabulary that no library can read is a malformed file."""
    folder = copied(tiny, tmp_path / "m", {})
    (folder / "tokenizer.json").unlink()
    if name == "spiece.model":
        write(folder, {"tokenizer_config.json": {"tokenizer_class": "T5Tokenizer"}})
    (folder / name).write_bytes(b"\xff\xfe garbage" * 9)
    with pytest.raises(errors.MalformedMetadata) as caught:
        load(folder)
    assert caught.value.file == name


@pytest.mark.pt
def test_a_file_swapped_while_it_is_loaded(tiny, tmp_path, monkeypatch):
    """C20: what was checked must be what was read."""
    from modelscope_ext.models.backends._transformers import load as loading

    folder = copied(tiny, tmp_path / "m", {})
    plain = loading.choose_auto

    def swap(*args):
        (folder / "other").write_bytes((folder / "model.safetensors").read_bytes())
        (folder / "other").replace(folder / "model.safetensors")
        return plain(*args)

    monkeypatch.setattr(loading, "choose_auto", swap)
    with pytest.raises(errors.MalformedMetadata, match="was changed while") as caught:
        load(folder)
    assert caught.value.file == "model.safetensors"


# Looking at all of them (F10), and trust (F)


def test_every_report_names_what_is_dangerous(places):
    """F10: code files, pickles and links stand in the findings of what can be looked at."""
    from modelscope_ext.metadata.evidence import collect
    from modelscope_ext.metadata.snapshot import Snapshot

    def codes(name):
        return {finding.code for finding in collect(Snapshot.from_folder(places[name])).findings}

    assert "code-files" in codes("A01")
    assert {"code-files", "grant-in-file"} <= codes("A02")
    assert "link-escape" in codes("C04")
    assert "link-escape" in codes("C06")
    assert {"hard-link", "too-deep"} <= codes("C21-deep")


@pytest.mark.parametrize("value", ["False", "true", 1, None, 0])
def test_f01_trust_is_exactly_a_bool(places, value):
    with pytest.raises(TypeError, match="expected exactly True or False"):
        load(places["A01"], trust_remote_code=value)


@pytest.mark.parametrize("text", ["1", "true", "YES", "x"])
def test_f02_the_environment_revokes_everywhere_alike(places, monkeypatch, text, tmp_path):
    from modelscope_ext.utils.config import Config

    (tmp_path / "c.py").write_text("a = 1\n")
    monkeypatch.setenv("MODELSCOPE_EXT_NO_REMOTE_CODE", text)
    with pytest.raises(errors.RemoteCodeRefused):
        load(places["A01"], trust_remote_code=True)
    with pytest.raises(errors.RemoteCodeRefused):
        Config.from_file(tmp_path / "c.py", trust_remote_code=True)
    for off in ("", "0", "false", "No", " off "):
        monkeypatch.setenv("MODELSCOPE_EXT_NO_REMOTE_CODE", off)
        assert Config.from_file(tmp_path / "c.py", trust_remote_code=True).a == 1
        assert Grants.of(trust_remote_code=True).may_run_code


def test_d11_a_planted_folder_wins_and_says_so(tmp_path, monkeypatch, caplog):
    from modelscope_ext.models.resolve import resolve

    write(tmp_path / "damo/bert", MODEL)
    monkeypatch.chdir(tmp_path)
    found = resolve("damo/bert")
    assert found.source.hub == "local"
    assert any(finding.code.startswith("local") for finding in found.findings)


def test_e48_four_layouts_in_one_folder_have_a_fixed_order(tmp_path):
    from modelscope_ext.models.resolve import resolve

    write(
        tmp_path,
        {
            **MODEL,
            "adapter_config.json": {"peft_type": "LORA", "base_model_name_or_path": "org/base"},
            "model_index.json": {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DModel"]},
            "modules.json": [{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}],
            "configuration.json": {"framework": "pytorch", "task": "text-classification"},
        },
    )
    found = resolve(tmp_path, installed=False)
    assert found == resolve(tmp_path, installed=False)
    assert found.backend == "diffusers"
    assert found.findings
    assert resolve(tmp_path, backend="transformers", installed=False).backend == "transformers"


def test_a41_a_text_that_is_python(tmp_path):
    from modelscope_ext.utils.config import Config

    with pytest.raises(errors.RemoteCodeRefused) as caught:
        Config.from_string("raise SystemExit('evil code ran')", ".py")
    assert caught.value.grant == "trust_remote_code"
    assert Config.from_string("a = 1", ".py", trust_remote_code=True).a == 1
