"""What is installed, read without importlib.metadata, must be what importlib.metadata says."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from modelscope_ext.utils import distributions as d
from tests.utils.installed import install


def test_equal_to_the_standard_library_here() -> None:
    expected: dict[str, str] = {}
    for one in importlib.metadata.distributions():
        expected.setdefault(d.canonical_name(one.metadata["Name"]), one.version)
    ours = {name: one.version for name, one in d.distributions().items()}
    assert len(ours) > 5
    assert ours == expected


def test_entry_points_equal_to_the_standard_library_here() -> None:
    expected = {(e.name, e.value.split(" ")[0]) for e in importlib.metadata.entry_points(group="console_scripts")}
    ours = {(e.name, e.value) for e in d.entry_points("console_scripts")}
    assert len(ours) > 3
    assert ours == expected


def test_the_first_on_the_path_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, version in (("second", "1.0"), ("first", "2.0")):
        install(tmp_path / folder, "acme_Thing", version)
        monkeypatch.syspath_prepend(tmp_path / folder)
    found = d.installed("Acme.thing")
    assert found is not None
    assert (found.name, found.version) == ("acme-thing", "2.0")


def test_an_installation_and_a_removal_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    assert d.installed("acme-late") is None
    info = install(tmp_path, "acme_late", "1.0")
    os.utime(tmp_path, ns=(1, 1))
    assert d.installed("acme-late") == d.Distribution("acme-late", "1.0", str(info))
    (info / "METADATA").unlink()  # an interrupted removal
    os.utime(tmp_path, ns=(2, 2))
    assert d.installed("acme-late") is None


def test_the_working_directory_is_never_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "acme_planted", entry_points="[modelscope_ext.models]\nevil = evil\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), ".", *sys.path])
    assert d.installed("acme-planted") is None
    assert not [point for point in d.entry_points() if point.name == "evil"]


def test_a_folder_named_with_hyphens_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "acme-2go-box", "1.0rc1")
    monkeypatch.syspath_prepend(tmp_path)
    found = d.installed("acme_2go.box")
    assert found is not None
    assert (found.name, found.version) == ("acme-2go-box", "1.0rc1")


def test_eggs_of_all_three_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme_file-1.5-py3.11.egg-info").write_text("Name: acme-file\nVersion: 1.5\n")
    develop = tmp_path / "acme_develop.egg-info"
    develop.mkdir()
    (develop / "PKG-INFO").write_text("Name: acme-develop\nVersion: 0.3\nRequires-Dist: pip\n\nbody\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = {name: d.installed(name) for name in ("acme-file", "acme-develop")}
    assert {name: one.version for name, one in found.items() if one} == {"acme-file": "1.5", "acme-develop": "0.3"}
    assert found["acme-develop"] is not None
    assert d.requires(found["acme-develop"]) == ("pip",)


def test_an_archive_on_the_path_is_read_by_the_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("acme_zip-4.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: acme-zip\nVersion: 4.2\n")
        stream.writestr("acme_zip-4.2.dist-info/entry_points.txt", "[modelscope_ext.models]\nzipped = acme_zip\n")
    monkeypatch.syspath_prepend(archive)
    assert d.installed("acme-zip") == d.Distribution("acme-zip", "4.2")
    assert d.EntryPoint("modelscope_ext.models", "zipped", "acme_zip", "acme-zip 4.2") in d.entry_points()


def test_entry_points_are_read_as_the_specification_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "# a comment\n[console_scripts]\nx = y:z\n\n[modelscope_ext.models]\n"
        "b = pkg.mod:Class.inner [extra1, extra2]\n; no = no\na=pkg\n[modelscope_ext.pipelines]\nc = pkg\n"
    )
    install(tmp_path, "acme", "3", entry_points=text)
    monkeypatch.syspath_prepend(tmp_path)
    ours = [point for point in d.entry_points() if point.package == "acme 3"]
    assert [(point.group, point.name, point.value) for point in ours] == [
        ("modelscope_ext.models", "a", "pkg"),
        ("modelscope_ext.models", "b", "pkg.mod:Class.inner"),
        ("modelscope_ext.pipelines", "c", "pkg"),
    ]


def test_requires_reads_the_header_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "acme", requires=("pip>=1", "x; extra == 'y'"))
    monkeypatch.syspath_prepend(tmp_path)
    found = d.installed("acme")
    assert found is not None
    assert d.requires(found) == ("pip>=1", "x; extra == 'y'")


def test_a_missing_working_directory_does_not_matter(tmp_path: Path) -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); gone = sys.argv[2]; os.mkdir(gone); os.chdir(gone);"
        " os.rmdir(gone); from modelscope_ext.utils.distributions import installed; print(installed('pip') is not None)"
    )
    root = str(Path(d.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code, root, str(tmp_path / "gone")], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


def test_nothing_slow_is_imported() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from modelscope_ext.utils import distributions as d;"
        " d.installed('pip'); d.entry_points();"
        " print([m for m in ('importlib.metadata', 'email', 'packaging', 'zipfile', 'json') if m in sys.modules])"
    )
    root = str(Path(d.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
