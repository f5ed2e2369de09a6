"""utils.atomic: the old content or the new, never half of it."""

from __future__ import annotations

import os
import stat

import pytest

from modelscope_ext.utils.atomic import write_atomic


def test_writes_and_replaces(tmp_path):
    file = tmp_path / "a.json"
    write_atomic(file, "é\r\n")
    assert file.read_bytes() == "é\r\n".encode()
    write_atomic(str(file), b"\xff")
    assert file.read_bytes() == b"\xff"
    assert os.listdir(tmp_path) == ["a.json"]


def test_keeps_the_permissions_of_the_old_file_and_follows_the_umask_for_a_new_one(tmp_path):
    old = tmp_path / "old"
    old.write_text("x")
    old.chmod(0o640)
    write_atomic(old, "y")
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    mask = os.umask(0o027)
    try:
        write_atomic(tmp_path / "new", "y")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_a_link_is_replaced_and_what_it_points_at_stays(tmp_path):
    blob = tmp_path / "blob"
    blob.write_text("cached")
    link = tmp_path / "config.json"
    link.symlink_to(blob)
    write_atomic(link, "{}")
    assert (blob.read_text(), link.read_text(), link.is_symlink()) == ("cached", "{}", False)


def test_a_failure_leaves_everything_as_it_was(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_atomic(tmp_path / "folder", "x")
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "absent" / "x", "x")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(tmp_path / "y", "\ud800")
    assert os.listdir(tmp_path) == ["folder"]
