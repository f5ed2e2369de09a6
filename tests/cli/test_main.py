"""The frame of all commands: parsing, help, errors, interrupts, pipes, start-up."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import modelscope_ext
from modelscope_ext import cli as frame
from modelscope_ext.errors import ConfigError, PathEscapeRefused
from modelscope_ext.utils import record

ROOT = Path(modelscope_ext.__file__).parent.parent
ENV = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HOME": "/nonexistent", "NO_COLOR": "1"}

#: What a start of a command that loads nothing may not bring in.
HEAVY = {
    "torch", "transformers", "numpy", "PIL", "onnxruntime", "tokenizers", "modelscope", "pydantic", "huggingface_hub",
    "asyncio", "concurrent", "multiprocessing", "importlib.metadata", "email", "packaging", "unittest", "http", "ssl",
    "urllib.request", "socket", "sqlite3", "rich",
}  # fmt: skip


def run(*arguments, stdin=None, **keywords):
    command = [sys.executable, "-m", "modelscope_ext", *map(str, arguments)]
    keywords = {"capture_output": True, "text": True, "timeout": 120, "check": False, "env": ENV, **keywords}
    return subprocess.run(command, input=stdin, **keywords)


def loaded(code, *arguments):
    """Return the names in `sys.modules` after `code` in a fresh process."""
    script = f"{code}\nimport sys, json\nsys.stderr.write(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, env=ENV, check=True
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_version_is_the_packages_own(cli):
    assert cli("--version") == (0, f"modelscope-ext {modelscope_ext.__version__}\n", "")


def test_without_a_command_the_usage_is_shown(cli):
    done = cli()
    assert done.code == 2
    assert "COMMAND" in done.err and not done.out


@pytest.mark.parametrize("command", frame.COMMANDS)
def test_the_help_of_each_command_has_examples_and_the_exit_codes(cli, command):
    done = cli(command, "--help")
    assert done.code == 0
    assert f"modelscope-ext {command}" in done.out
    assert "examples:" in done.out and "exit codes:" in done.out and "--json" in done.out


def test_the_top_help_lists_all_commands_without_importing_any():
    names = loaded("from modelscope_ext.cli import main; main(['--help'])")
    modules = {f"modelscope_ext.cli.{module}" for module, _ in frame.COMMANDS.values()}
    assert not modules & names
    text = run("--help").stdout
    assert all(f"  {name} " in text for name in frame.COMMANDS)


def test_an_unknown_command_names_the_nearest_one(cli):
    done = cli("inspekt", "x")
    assert done.code == 2
    assert "Did you mean 'inspect'?" in done.err and "scan" in done.err


def test_options_before_the_command_count(cli):
    assert json.loads(cli("--json", "env").out)["system"]["modelscope-ext"] == modelscope_ext.__version__


def test_an_unknown_option_is_a_usage_error(cli):
    done = cli("inspect", "x", "--taks", "fill-mask")
    assert done.code == 2
    assert "--taks" in done.err


def fail_with(monkeypatch, error):
    from modelscope_ext.cli import env

    def run(args, output):
        raise error

    monkeypatch.setattr(env, "run", run)


def test_an_error_is_one_message_without_a_traceback(cli, monkeypatch):
    fail_with(monkeypatch, PathEscapeRefused("it points out\x1b[2J", file="config.json", field="vocab", grant=None))
    done = cli("env")
    assert done == (5, "", "modelscope-ext: error: PathEscapeRefused [PE]: it points out\\x1b[2J\n")


def test_an_error_is_json_too(cli, monkeypatch):
    fail_with(monkeypatch, PathEscapeRefused("no", file="config.json", field="vocab"))
    done = cli("env", "--json")
    assert json.loads(done.out) == {
        "error": {"class": "PathEscapeRefused", "message": "no", "exit": 5, "code": "PE",
                  "file": "config.json", "field": "vocab"}
    }  # fmt: skip
    assert "PathEscapeRefused" in done.err


def test_the_causes_are_shown_when_asked(cli, monkeypatch):
    error = ConfigError("cannot read it")
    error.__cause__ = ValueError("line 3")
    fail_with(monkeypatch, error)
    assert "caused by" not in cli("env").err
    assert "caused by ValueError: line 3" in cli("env", "-v").err


def test_debug_shows_where(cli, monkeypatch):
    fail_with(monkeypatch, ZeroDivisionError("oh"))
    done = cli("env")
    assert done.code == 9
    assert "--debug" in done.err
    with pytest.raises(ZeroDivisionError):
        frame.main(["env", "--debug"])


def test_an_interrupt_ends_with_130(cli, monkeypatch):
    fail_with(monkeypatch, KeyboardInterrupt())
    assert cli("env") == (130, "", "modelscope-ext: interrupted\n")


def test_a_reader_that_goes_away_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run("list", "tasks", "--json", stdout=writer, stderr=subprocess.PIPE, capture_output=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_streams_are_not_closed_or_replaced(capsys):
    before = sys.stdout, sys.stderr
    frame.main(["env"])
    assert (sys.stdout, sys.stderr) == before
    print("still open")
    assert capsys.readouterr().out.endswith("still open\n")


def test_the_garbage_collector_is_left_as_found(cli, monkeypatch):
    import gc

    from modelscope_ext.cli import env

    seen = []
    monkeypatch.setattr(env, "run", lambda args, output: seen.append(gc.isenabled()) or 0)
    assert gc.isenabled()
    assert cli("env").code == 0
    assert (seen, gc.isenabled()) == ([False], True)
    fail_with(monkeypatch, ConfigError("x"))
    cli("env")
    assert gc.isenabled()


def test_python_m_is_the_same_program():
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"modelscope-ext {modelscope_ext.__version__}\n")


def test_plain_turns_records_into_json_types():
    assert record.plain({"a": ({1},)}) == {"a": [[1]]}


def test_text_that_the_terminal_cannot_show_is_escaped(make_model):
    folder = make_model("mod\u00e8le")
    done = run("inspect", folder, env={**ENV, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert "mod\\xe8le" in done.stdout
    assert done.stdout.isascii()


COMMANDS_THAT_LOAD_NOTHING = (
    "inspect {folder}", "inspect {folder} --json", "check {folder}", "scan {folder}", "init {folder} --dry-run",
    "list backends", "list tasks", "list models", "env",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS_THAT_LOAD_NOTHING)
def test_nothing_heavy_is_imported(command, make_model):
    folder = make_model()
    arguments = [part.format(folder=folder) for part in command.split()]
    names = loaded(f"from modelscope_ext.cli import main\nmain({arguments!r})")
    assert not HEAVY & names


@pytest.mark.parametrize("shape", ["--json", "--format=text"])
def test_inspect_imports_of_the_standard_library_only_what_it_needs(shape, make_model):
    arguments = ["inspect", str(make_model()), shape]
    names = loaded(f"from modelscope_ext.cli import main\nmain({arguments!r})")
    spared = {"dataclasses", "inspect", "ast", "logging", "pathlib", "urllib.parse", "tempfile", "shutil"}
    assert not spared & (names - loaded("pass"))
