"""Config.from_file and from_string: formats, `_base_`, trust, and what broken or hostile files end in."""

from __future__ import annotations

import json
import os
import random
import sys
import types
import warnings
from pathlib import Path

import pytest

from modelscope_ext.errors import (
    ConfigError,
    LimitExceeded,
    MalformedMetadata,
    ModelScopeExtError,
    OptionError,
    PathEscapeRefused,
    RedirectRefused,
    RemoteCodeFailed,
    RemoteCodeRefused,
)
from modelscope_ext.utils.config import Config

FILES = {
    "a.json": '{"model": {"type": "bert", "layers": [1, 2]}, "lr": 0.1}',
    "a.yaml": "model:\n  type: bert\n  layers: [1, 2]\nlr: 0.1\n",
    "a.yml": "{model: {type: bert, layers: [1, 2]}, lr: 0.1}",
    "a.py": "import os\ndef f(): pass\n__hidden = 1\nmodel = dict(type='bert', layers=[1, 2])\nlr = 0.1\n",
}
VALUES = {"model": {"type": "bert", "layers": [1, 2]}, "lr": 0.1}


@pytest.fixture
def write(tmp_path):
    """Write files below tmp_path from a mapping; a value that is no text is written as JSON."""

    def write(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            data = content if isinstance(content, bytes | str) else json.dumps(content)
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return tmp_path

    return write


# --- formats --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_values(write, name, monkeypatch):
    folder = write(FILES)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    (folder / "sub").mkdir()
    (folder.parent / "link").unlink(missing_ok=True)
    (folder.parent / "link").symlink_to(folder)
    for file in (folder / name, str(folder / name), name, f"sub/../{name}", f"~/{name}", folder.parent / "link" / name):
        cfg = Config.from_file(file, trust_remote_code=True)
        assert cfg.to_dict() == VALUES
        assert cfg.filename == os.fspath(file)
        assert cfg.text.splitlines()[1:] == FILES[name].splitlines()
        assert os.path.isabs(cfg.text.splitlines()[0])
    read = Config.from_string(FILES[name], Path(name).suffix, trust_remote_code=True)
    assert (read.to_dict(), read.filename, read.text) == (VALUES, None, FILES[name])


def test_text_has_unix_line_ends_and_no_byte_order_mark(write):
    folder = write({"a.json": b'\xef\xbb\xbf{\r\n"a": 1}\r\n'})
    assert Config.from_file(folder / "a.json").text == f'{folder}/a.json\n{{\n"a": 1}}\n'


def test_an_empty_yaml_is_empty(write):
    assert Config.from_file(write({"a.yaml": "# nothing\n"}) / "a.yaml").to_dict() == {}


def test_yaml_takes_numbers_as_keys_and_aliases_become_copies(write):
    cfg = Config.from_file(write({"a.yaml": "names: {0: cat, 1: dog}\na: &x {k: 1}\nb: *x\n"}) / "a.yaml")
    assert cfg.names == {0: "cat", 1: "dog"}
    cfg.a.k = 2
    assert cfg.b.k == 1


def test_a_config_may_be_made_for_a_file(write):
    file = write({"a.json": "{}"}) / "a.json"
    cfg = Config({"a": 1}, filename=file)
    assert (cfg.filename, cfg.text, cfg.a) == (str(file), "{}", 1)
    assert Config({}, cfg_text="x", filename="absent").text == "x"


def test_python_text_under_another_name_is_noticed(caplog):
    Config.from_string("a: dict(b=1)", ".yaml")
    assert "is its file_format .py rather than .yaml?" in caplog.text


# --- bad input ------------------------------------------------------------------------------------------------------

BAD = [
    ("missing.json", {"a.yaml": "{}"}, FileNotFoundError, "missing.json: no such file. There: a.yaml."),
    ("confg.json", {"config.json": "{}"}, FileNotFoundError, "no such file. Did you mean 'config.json'?"),
    ("no/a.json", {}, FileNotFoundError, "no' does not exist."),
    ("a.json/b.json", {"a.json": "{}"}, OSError, "cannot be read: Not a directory."),
    ("a.txt", {"a.txt": "{}"}, OSError, "the ending '.txt' is no format of a configuration; expected one of .py"),
    ("a", {"a": "{}"}, OSError, "the ending '' is no format"),
    ("a.json", {"a.json/b": ""}, OSError, "expected a configuration file, but it is a folder; name the file in it."),
    ("a.json", {"a.json": "[1]"}, MalformedMetadata, "the top level is a list; expected an object ({...} in JSON)."),
    ("a.json", {"a.json": "null"}, MalformedMetadata, "the top level is null;"),
    ("a.json", {"a.json": "3.5"}, MalformedMetadata, "the top level is a number;"),
    ("a.yaml", {"a.yaml": "text"}, MalformedMetadata, "the top level is a string;"),
    ("a.json", {"a.json": ""}, MalformedMetadata, "a.json, line 1: the file is empty; expected JSON."),
    ("a.json", {"a.json": '{"a": 1, // b\n}'}, MalformedMetadata, "JSON has no comments: remove it."),
    ("a.json", {"a.json": '{"a": 1, "a": 2}'}, MalformedMetadata, "the key 'a' appears twice"),
    ("a.yaml", {"a.yaml": "a: 1\na: 2"}, MalformedMetadata, "a.yaml, line 2, column 1: the key 'a' appears twice"),
    ("a.yaml", {"a.yaml": "a: !!python/object/apply:os.system [x]"}, MalformedMetadata, "nothing was constructed"),
    ("a.json", {"a.json": "[" * 900}, LimitExceeded, "nested more than 64 deep"),
    ("a.json", {"a.json": b"\xff\xfe{"}, MalformedMetadata, "UTF-16 at byte offset 0"),
    ("a.json", {"a.json": {"text": 1}}, KeyError, "a.json: 'text' is reserved for Config itself. Rename the key."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "files", "kind", "message"), BAD)
def test_bad_files_are_explained(write, name, files, kind, message):
    path = write(files) / name
    with pytest.raises(kind) as caught:
        Config.from_file(path)
    assert message in str(caught.value)
    assert isinstance(caught.value, ModelScopeExtError)
    assert isinstance(caught.value, ValueError)  # what ModelScope's callers catch
    assert len(str(caught.value)) <= 1000


def test_a_pipe_does_not_hang_and_a_large_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(ConfigError, match="it is no regular file"):
        Config.from_file(tmp_path / "a.json")
    with open(tmp_path / "b.json", "wb") as file:
        file.truncate(400 * 2**20)
    with pytest.raises(LimitExceeded, match="419430400 bytes; the limit is 16777216"):
        Config.from_file(tmp_path / "b.json")
    with pytest.raises(LimitExceeded):
        Config({}, filename=tmp_path / "b.json")


def test_limits_are_the_callers(write):
    folder = write({"a.json": {"a": {"b": [1, 2, 3]}}, "a.yaml": "a: {b: [1, 2, 3]}"})
    for name, least in (("depth", 3), ("nodes", 6), ("json_bytes", 23)):
        Config.from_file(folder / "a.json", limits=types.SimpleNamespace(**{name: least}))
        with pytest.raises(LimitExceeded):
            Config.from_file(folder / "a.json", limits=types.SimpleNamespace(**{name: least - 1}))
    with pytest.raises(LimitExceeded):
        Config.from_file(folder / "a.yaml", limits=types.SimpleNamespace(depth=2))
    with pytest.raises(LimitExceeded):
        Config.from_string("[[1]]", ".json", limits=types.SimpleNamespace(depth=1))


@pytest.mark.parametrize("kind", [".txt", "json", "", ".JSON"])
def test_from_string_knows_four_formats(kind):
    with pytest.raises(OSError, match=r"file_format=.*; expected one of \.py, \.json, \.yaml, \.yml"):
        Config.from_string("{}", kind)


def test_from_string_explains_what_is_broken():
    with pytest.raises(MalformedMetadata, match=r"<string>\.json, line 1, column 2: expected a key"):
        Config.from_string("{a: 1}", ".json")
    with pytest.raises(MalformedMetadata, match=r"<string>\.json: not UTF-8"):
        Config.from_string('"\ud800"', ".json")
    with pytest.raises(
        ConfigError, match=r"<string>\.yaml: _base_ needs a file to be relative to. Use Config\.from_file"
    ):
        Config.from_string("_base_: a.yaml", ".yaml")


# --- trust ----------------------------------------------------------------------------------------------------------

CODE = "import sys, pathlib\npathlib.Path(__file__).with_name('ran').touch()\nvalue = 1\n"
REFUSED = (
    r"Refused to run .*a\.py \(nothing was executed\).*Would run: sha256:[0-9a-f]{64}\. Read it, then pass trust_rem"
)


def test_python_runs_only_with_trust(write):
    folder = write({"a.py": CODE})
    with pytest.raises(RemoteCodeRefused, match=REFUSED) as caught:
        Config.from_file(folder / "a.py")
    assert (caught.value.grant, caught.value.file) == ("trust_remote_code", str(folder / "a.py"))
    assert not (folder / "ran").exists()
    assert Config.from_file(folder / "a.py", trust_remote_code=True).to_dict() == {"value": 1}
    assert (folder / "ran").exists()
    assert sorted(os.listdir(folder)) == ["a.py", "ran"]
    with pytest.raises(RemoteCodeRefused):
        Config.from_file(folder / "a.py", model_dir=str(folder))


def test_python_text_runs_only_with_trust():
    with pytest.raises(RemoteCodeRefused, match=r"Refused to run <string>\.py \(nothing was executed\)"):
        Config.from_string("raise SystemExit", ".py")
    assert Config.from_string("a = 1", ".py", trust_remote_code=True).a == 1


@pytest.mark.parametrize("value", ["False", "true", 1, 0, None, [True]])
def test_trust_is_exactly_true_or_false(write, value):
    folder = write({"a.json": "{}"})
    for call in (
        lambda: Config.from_file(folder / "a.json", trust_remote_code=value),
        lambda: Config.from_string("{}", ".json", trust_remote_code=value),
    ):
        with pytest.raises(OptionError, match="expected exactly True or False"):
            call()


def test_the_environment_revokes_and_never_grants(write, monkeypatch):
    file = write({"a.py": CODE}) / "a.py"
    monkeypatch.setenv("MODELSCOPE_EXT_NO_REMOTE_CODE", "1")
    with pytest.raises(RemoteCodeRefused, match="Unset MODELSCOPE_EXT_NO_REMOTE_CODE, which revokes it") as caught:
        Config.from_file(file, trust_remote_code=True)
    assert caught.value.grant is None
    monkeypatch.setenv("MODELSCOPE_EXT_NO_REMOTE_CODE", "0")
    with pytest.raises(RemoteCodeRefused):
        Config.from_file(file)
    Config.from_file(file, trust_remote_code=True)


RUDE = """
import os, random, sys, types, warnings
sys.path.insert(0, os.path.dirname(__file__))
import rude_helper
sys.modules['made_up'] = types.ModuleType('made_up')
sys.modules['json'] = None
os.environ['RUDE'] = '1'
os.environ.pop('HOME', None)
os.chdir('/')
sys.setrecursionlimit(5000)
warnings.simplefilter('ignore')
random.seed(1)
value = rude_helper.VALUE
"""


@pytest.mark.parametrize("end", ["", "raise RuntimeError('half way')", "sys.exit(3)"])
def test_what_a_configuration_changes_in_the_process_is_put_back(write, end):
    folder = write({"a.py": RUDE + end, "rude_helper.py": "VALUE = 1"})

    def state():
        return (
            list(sys.path), dict(sys.modules), dict(os.environ), os.getcwd(), sys.getrecursionlimit(),
            list(warnings.filters), random.getstate(),
        )  # fmt: skip

    before = state()
    if end:
        with pytest.raises(RemoteCodeFailed, match=r"a\.py, line 14: (RuntimeError: half way|SystemExit: 3)\. What it"):
            Config.from_file(folder / "a.py", trust_remote_code=True)
    else:
        assert Config.from_file(folder / "a.py", trust_remote_code=True).to_dict() == {"value": 1}
    assert state() == before


def test_code_that_fails_keeps_its_cause(write):
    folder = write(
        {"a.py": "x = 1\nraise ValueError('no\x1b[31m')", "b.py": "x = = 1", "c.py": "raise KeyboardInterrupt"}
    )
    with pytest.raises(RemoteCodeFailed, match=r"a\.py, line 2: ValueError: no\\x1b\[31m\. What it changed") as caught:
        Config.from_file(folder / "a.py", trust_remote_code=True)
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(RemoteCodeFailed, match=r"b\.py, line 1: SyntaxError: "):
        Config.from_file(folder / "b.py", trust_remote_code=True)
    with pytest.raises(KeyboardInterrupt):
        Config.from_file(folder / "c.py", trust_remote_code=True)


# --- _base_ ---------------------------------------------------------------------------------------------------------

INHERITED = [
    ({"a.json": {"_base_": "b.json", "x": 1}, "b.json": {"y": 2}}, {"x": 1, "y": 2}),
    ({"a.json": {"_base_": "./d/b.yaml", "m": {"x": 1}}, "d/b.yaml": "m: {y: 2}"}, {"m": {"x": 1, "y": 2}}),
    (
        {"a.json": {"_base_": ["b.json", "c.json"], "m": {"x": 1}}, "b.json": {"m": {"x": 0}}, "c.json": {"n": [1]}},
        {"m": {"x": 1}, "n": [1]},
    ),
    ({"a.json": {"_base_": "b.json", "m": {"_delete_": True, "x": 1}}, "b.json": {"m": {"y": 2}}}, {"m": {"x": 1}}),
    ({"a.json": {"_base_": "b.json", "l": [3]}, "b.json": {"l": [1, 2]}}, {"l": [3]}),
    (
        {"a.json": {"_base_": "d/b.json"}, "d/b.json": {"_base_": "../c.json", "x": 1}, "c.json": {"x": 0, "y": 0}},
        {"x": 1, "y": 0},
    ),
    ({"a.json": {"_base_": [], "x": 1}}, {"x": 1}),
    ({"a.py": "_base_ = ['b.py']\nm = dict(x=1)", "b.py": "m = dict(y=2)"}, {"m": {"x": 1, "y": 2}}),
    ({"a.json": {"_base_": "b.py"}, "b.py": "x = 1"}, {"x": 1}),
]


@pytest.mark.parametrize(("files", "values"), INHERITED)
def test_inheritance(write, files, values):
    folder = write(files)
    cfg = Config.from_file(folder / next(iter(files)), trust_remote_code=True)
    assert cfg.to_dict() == values
    assert [line for line in cfg.text.splitlines() if line.startswith(str(folder))][
        -1
    ] == f"{folder}/{next(iter(files))}"


BROKEN_BASES = [
    ({"_base_": "https://evil/x.json"}, RedirectRefused, "_base_ names 'https://evil/x.json', which is another source"),
    ({"_base_": "hub:other/repo"}, RedirectRefused, "which is another source (nothing was opened)."),
    ({"_base_": "../outside.json"}, PathEscapeRefused, "_base_ names '../outside.json', which is outside"),
    ({"_base_": "/etc/passwd"}, PathEscapeRefused, "(nothing was opened). Move it there, or pass base_root="),
    ({"_base_": "d/../../outside.json"}, PathEscapeRefused, "which is outside"),
    ({"_base_": "C:\\x.json"}, PathEscapeRefused, "which is outside"),
    ({"_base_": "..\\x.json"}, PathEscapeRefused, "which is outside"),
    ({"_base_": "a\0.json"}, PathEscapeRefused, "names 'a\\x00.json'"),
    ({"_base_": ""}, PathEscapeRefused, "names ''"),
    ({"_base_": "link.json"}, PathEscapeRefused, "names 'link.json', which is outside"),
    ({"_base_": "~/x.json"}, FileNotFoundError, "_base_ names '~/x.json'."),
    ({"_base_": "bb.json"}, FileNotFoundError, "no such file. Did you mean 'b.json'?"),
    ({"_base_": "b.txt"}, OSError, "_base_ names 'b.txt'; expected one of .py, .json, .yaml, .yml."),
    ({"_base_": 3}, MalformedMetadata, "_base_ is 3; expected a path or a list of paths."),
    ({"_base_": ["b.json", {}]}, MalformedMetadata, "expected a path or a list of paths."),
    (
        {"_base_": ["b.json", "b.json"]},
        KeyError,
        "the key 'x' is in two of its bases, b.json and b.json. Set it in one",
    ),
    ({"_base_": ["b.json", "c.json"]}, KeyError, "the key 'x' is in two of its bases, b.json and c.json."),
    ({"_base_": "a.json"}, MalformedMetadata, "_base_ runs in a circle: a.json -> a.json."),
    ({"_base_": "round.json"}, MalformedMetadata, "_base_ runs in a circle: a.json -> round.json -> a.json."),
    ({"_base_": "evil.py"}, RemoteCodeRefused, "a.json: _base_ names it. Would run: sha256:"),
    ({"_base_": "b.json", "x": {"y": 1}}, TypeError, "x: a dict cannot be merged into 1."),
    ({"_base_": "broken.json"}, MalformedMetadata, "broken.json, line 1"),
    ({"_base_": "wide/0.json"}, LimitExceeded, "_base_ draws in more than 64 files."),
    ({"_base_": "\x1b[31m\u202e.json"}, FileNotFoundError, "names '\\x1b[31m\\u202e.json'"),
]


@pytest.mark.parametrize(("top", "kind", "message"), BROKEN_BASES, ids=lambda p: repr(p)[:40])
def test_broken_and_hostile_bases(write, top, kind, message):
    others = {
        "m/b.json": {"x": 1}, "m/c.json": {"x": 2}, "m/b.txt": "", "m/round.json": {"_base_": "a.json"},
        "m/broken.json": "{",
        "m/evil.py": "raise SystemExit", "outside.json": {"secret": 1}, "x.json": {"secret": 1},
        **{f"m/wide/{i}.json": {"_base_": f"{i + 1}.json"} for i in range(80)},
    }  # fmt: skip
    folder = write({"m/a.json": top, **others}) / "m"
    (folder / "link.json").symlink_to(folder.parent / "outside.json")
    with pytest.raises(kind) as caught:
        Config.from_file(folder / "a.json")
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value, ModelScopeExtError)
    assert len(str(caught.value)) <= 1000
    if kind in (RedirectRefused, PathEscapeRefused):
        assert caught.value.field == "_base_"
        with pytest.raises(kind):
            Config.from_file(folder / "a.json", trust_remote_code=True)


def test_base_root_widens_where_bases_may_come_from(write):
    folder = write({"configs/m/a.json": {"_base_": "../_base_/b.json"}, "configs/_base_/b.json": {"x": 1}})
    with pytest.raises(PathEscapeRefused):
        Config.from_file(folder / "configs/m/a.json")
    assert Config.from_file(folder / "configs/m/a.json", base_root=folder / "configs").x == 1
    (folder / "link").symlink_to(folder / "configs")
    assert Config.from_file(folder / "configs/m/a.json", base_root=folder / "link").x == 1
    assert Config.from_file(folder / "link/m/a.json", base_root=folder / "link").x == 1
    with pytest.raises(PathEscapeRefused):
        Config.from_file(folder / "configs/m/a.json", base_root=folder / "configs/m")


def test_links_within_a_hub_cache_are_followed(write):
    folder = write(
        {"models--o--n/blobs/1": {"_base_": "b.json"}, "models--o--n/blobs/2": {"x": 1}, "other/blobs/3": "{}"}
    )
    snapshot = folder / "models--o--n/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "a.json").symlink_to("../../blobs/1")
    (snapshot / "b.json").symlink_to("../../blobs/2")
    assert Config.from_file(snapshot / "a.json").x == 1
    (snapshot / "b.json").unlink()
    (snapshot / "b.json").symlink_to(folder / "other/blobs/3")
    with pytest.raises(PathEscapeRefused):
        Config.from_file(snapshot / "a.json")


def test_a_base_that_only_the_caller_sets_is_a_plain_value():
    assert Config({"_base_": "https://x"})["_base_"] == "https://x"
