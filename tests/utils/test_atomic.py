"""A file is written whole or not at all."""

import os
from pathlib import Path

import pytest

from modelscope_ext.utils.atomic import replacing


def write(path, text):
    with replacing(path) as stream:
        stream.write(text.encode())


def test_a_new_file_gets_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    write(tmp_path / "new", "text\n")
    assert (tmp_path / "new").read_bytes() == b"text\n"
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_an_existing_file_keeps_its_permissions(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o640)
    write(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)


def test_an_error_in_the_block_leaves_all_as_it_was(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as stream:
        stream.write(b"half")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert path.read_text() == "old"


def test_a_failed_replacement_leaves_all_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_text("old")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert path.read_text() == "old"


def test_a_link_is_replaced_and_its_target_stays(tmp_path):
    blob = tmp_path / "blob"
    blob.write_text("shared by others")
    link = tmp_path / "link"
    link.symlink_to(blob)
    write(link, "mine")
    assert blob.read_text() == "shared by others"
    assert not link.is_symlink() and link.read_text() == "mine"


def test_readers_never_see_a_part(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with replacing(path) as stream:
        stream.write(b"new" * 100_000)
        stream.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new" * 100_000


def test_a_folder_that_does_not_exist_is_an_error_of_its_own(tmp_path):
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "none" / "a", "x")
    assert os.listdir(tmp_path) == []
