"""`run --python`: a second environment, real, and interpreters that are none."""

import ast
import json
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from modelscope_ext.cli.elsewhere import BASE, run_elsewhere
from modelscope_ext.data import digits_folder, digits_samples
from modelscope_ext.errors import MissingRequirement, OptionError
from tests.cli.test_main import ENV

SAMPLES = [str(path) for path in digits_samples()]
DIGITS = ("run", digits_folder(), "--backend", "onnxruntime")
SETUP = Path(__file__).parents[2] / "setup.py"


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """An environment with nothing in it."""
    folder = tmp_path_factory.mktemp("environments") / "empty"
    venv.create(folder, with_pip=False)
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """An environment with the libraries of this one, but not this package."""
    folder = tmp_path_factory.mktemp("environments") / "other"
    venv.create(folder, with_pip=False)
    [packages] = folder.glob("lib/python*/site-packages")
    libraries = packages / "libraries"
    libraries.mkdir()
    for here in map(Path, site.getsitepackages()):
        for each in here.iterdir():
            if not each.name.lower().replace("-", "_").startswith(("modelscope_ext", "__editable__")):
                (libraries / each.name).symlink_to(each)
        for path in here.glob("*.pth"):  # an environment that builds on another one
            lines = [line for line in path.read_text().splitlines() if Path(line).is_dir() and "wt" not in line]
            (packages / path.name).write_text("\n".join(lines))
    (packages / "here.pth").write_text(str(libraries))
    return folder


def command(*argv, stdin=None):
    argv = [sys.executable, "-m", "modelscope_ext", *map(str, argv)]
    return subprocess.run(argv, capture_output=True, text=True, input=stdin, env=ENV, check=False)


def test_the_same_answers_and_nothing_else(other):
    there = command(*DIGITS, *SAMPLES[:3], "--json", "--python", other)
    here = command(*DIGITS, *SAMPLES[:3], "--json")

    assert (there.returncode, there.stdout, there.stderr) == (0, here.stdout, here.stderr)
    assert [json.loads(line)[0]["label"] for line in there.stdout.splitlines()] == ["0", "1", "2"]


def test_the_other_environment_has_no_copy_of_this_package(other, tmp_path):
    argv = [other / "bin" / "python", "-c", "import modelscope_ext"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "No module named 'modelscope_ext'" in done.stderr


def test_inputs_from_a_pipe_and_after_two_dashes(other):
    done = command(*DIGITS, "--python", other / "bin" / "python", "--json", stdin=SAMPLES[9])
    assert json.loads(done.stdout)[0]["label"] == "9"

    done = command(*DIGITS, "--json", f"--python={other}", "--", SAMPLES[4])
    assert json.loads(done.stdout)[0]["label"] == "4"


@pytest.mark.parametrize(("argv", "code"), [(("nowhere",), 3), ((*DIGITS[1:], "none.png"), 7), (("x", "--no"), 2)])
def test_the_same_errors_and_exit_code(other, argv, code):
    for form in ((), ("--json",)):
        there = command("run", *argv, *form, "--python", other)
        here = command("run", *argv, *form)
        assert (there.returncode, there.stdout, there.stderr) == (here.returncode, here.stdout, here.stderr)
        assert here.returncode != 0 and (form or here.stderr)


def test_an_environment_that_lacks_what_the_package_needs(empty):
    with pytest.raises(MissingRequirement) as caught:
        run_elsewhere(empty, ["run", "x"])
    assert all(f'"{one}"' in str(caught.value) for one in BASE.values())
    assert f"{empty}/bin/python -m pip install" in str(caught.value)


@pytest.mark.parametrize("name", ["nothing", "folder", "text", "other-program"])
def test_what_is_no_interpreter(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("hello")
    (tmp_path / "other-program").symlink_to("/bin/ls")

    with pytest.raises(OptionError, match=r"--python .*" + name) as caught:
        run_elsewhere(tmp_path / name, ["run", "x"])

    assert "ms" in str(caught.value) or "venv" in str(caught.value)


def _script(path, body):
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_an_interpreter_that_is_too_old(tmp_path):
    old = _script(tmp_path / "python", """echo '{"version": [3, 8], "missing": []}'""")
    with pytest.raises(OptionError, match=r"is Python 3\.8; expected 3\.10 or later"):
        run_elsewhere(old, ["run", "x"])


def test_a_child_that_is_killed_is_not_a_success(tmp_path):
    answer = """echo '{"version": [3, 11], "missing": []}'"""
    python = _script(tmp_path / "python", f'case "$2" in *find_spec*) {answer};; *) kill -KILL $$;; esac')
    assert run_elsewhere(python, ["run", "x"]) == 128 + 9


def test_the_requirements_are_those_of_the_package():
    calls = [node for node in ast.walk(ast.parse(SETUP.read_text())) if isinstance(node, ast.Call)]
    keywords = {k.arg: k.value for call in calls for k in call.keywords}
    assert sorted(BASE.values()) == sorted(ast.literal_eval(keywords["install_requires"]))
