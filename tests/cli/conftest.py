"""The command line run in this process, and small model folders for it."""

import hashlib
import json
from collections import namedtuple

import pytest

from modelscope_ext.cli import main
from tests.cli.folders import BERT, safetensors

Done = namedtuple("Done", "code out err")


@pytest.fixture
def cli(capsys):
    """Run the command line in this process."""

    def run(*argv):
        capsys.readouterr()
        code = main([str(argument) for argument in argv])
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("MODELSCOPE_EXT_FRAMEWORK", "MODELSCOPE_EXT_NO_REMOTE_CODE", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def make_model(tmp_path):
    """Write a model folder: file name -> bytes, text, or something for JSON."""

    def make(name="model", files=None, **more):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        given = {"config.json": BERT, "model.safetensors": safetensors()} if files is None else files
        for file, content in {**given, **more.pop("add", {})}.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return folder

    return make


def fingerprint(folder):
    """Return the names and digests of all files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def unchanged():
    """Return a function that notes a folder's content; its result asserts that nothing has changed since."""

    def note(folder):
        before = fingerprint(folder)

        def check():
            assert fingerprint(folder) == before

        return check

    return note
