import os
import time

import pytest

from modelscope_ext.errors import LimitExceeded, MalformedMetadata, ModelNotFound
from modelscope_ext.metadata.walk import fingerprint, walk
from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits


def write(folder, *names, text="x"):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def look(folder, limits=DEFAULT_LIMITS):
    return walk(str(folder), limits, source="./m")


def codes(seen):
    return {(finding.code, finding.file) for finding in seen.findings}


def test_regular_files_of_all_depths_are_listed(tmp_path):
    write(tmp_path, "config.json", "unet/model.safetensors", "a/b/c.txt", ".gitattributes")
    seen = look(tmp_path)
    assert seen.sizes == {"config.json": 1, "unet/model.safetensors": 1, "a/b/c.txt": 1, ".gitattributes": 1}
    assert not seen.findings


def test_folders_of_tools_are_not_entered(tmp_path):
    write(tmp_path, ".git/objects/aa", ".cache/huggingface/x.lock", "__pycache__/x.pyc", "x.py")
    assert set(look(tmp_path).sizes) == {"x.py"}


def test_links_are_listed_and_judged(tmp_path):
    model = tmp_path / "model"
    write(model, "config.json", "unet/config.json")
    write(tmp_path, "outside/secret.json", text="secret outside")
    for name, target in {
        "again.json": "config.json", "stolen.json": "../outside/secret.json", "zero.json": "/dev/zero",
        "broken.json": "nowhere", "vae": "../outside", "unet2": "unet", "loop": "loop",
    }.items():  # fmt: skip
        (model / name).symlink_to(target)
    seen = look(model)
    assert seen.links["stolen.json"] == "../outside/secret.json"
    assert {"again.json", "stolen.json"} <= set(seen.sizes)
    assert not {"broken.json", "vae", "unet2", "loop", "vae/secret.json"} & set(seen.sizes)
    assert codes(seen) == {
        ("link-escape", "stolen.json"), ("link-escape", "zero.json"), ("link-escape", "vae"),
        ("broken-link", "broken.json"), ("broken-link", "loop"), ("folder-link", "unet2"),
    }  # fmt: skip
    assert seen.sizes["stolen.json"] != len("secret outside")


def test_pipes_are_not_files(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    (tmp_path / "linked.json").symlink_to("config.json")
    seen = look(tmp_path)
    assert seen.sizes == {}
    assert seen.odd == {"config.json", "linked.json"}
    assert {code for code, _ in codes(seen)} == {"odd-file"}


def test_c21_too_many_files_are_refused(tmp_path):
    write(tmp_path, *(f"f{n}" for n in range(30)))
    with pytest.raises(LimitExceeded, match=r"more than 20 files.*name one of them") as error:
        look(tmp_path, Limits(files=20))
    assert error.value.grant == "limits"


def test_c21_deep_folders_are_not_entered(tmp_path):
    write(tmp_path, "/".join("d" * 20) + "/x.txt")
    seen = look(tmp_path)
    assert seen.sizes == {}
    assert [finding.code for finding in seen.findings] == ["too-deep"]


def test_c21_very_deep_folders_do_no_harm(tmp_path):
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(60):  # a path three times as long as a system call takes
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert {finding.code for finding in look(tmp_path).findings} <= {"too-deep", "odd-name"}
    assert fingerprint(tmp_path) is None
    while True:  # pytest's own clean-up recurses
        folder, inner = tmp_path / ("d" * 200), tmp_path / ("d" * 200) / ("d" * 200)
        if not inner.exists():
            break
        inner.rename(tmp_path / "inner")
        folder.rmdir()
        (tmp_path / "inner").rename(folder)


def test_c21_names_of_255_bytes_and_hard_links(tmp_path):
    write(tmp_path, "n" * 251 + ".txt", "model.bin")
    os.link(tmp_path / "model.bin", tmp_path.parent / "other-name")
    seen = look(tmp_path)
    assert len(seen.sizes) == 2
    assert codes(seen) == {("hard-link", "model.bin")}


def test_names_that_mean_something_else_elsewhere_are_left_out(tmp_path):
    for name in (b"a\\b", b"x\xff.json", b"c\x1b[31m", b"ok.json"):
        os.close(os.open(os.path.join(os.fsencode(tmp_path), name), os.O_CREAT | os.O_WRONLY))
    seen = look(tmp_path)
    assert set(seen.sizes) == {"ok.json"}
    assert {finding.code for finding in seen.findings} == {"odd-name"}
    assert all(finding.message.isprintable() for finding in seen.findings)


def test_two_names_that_unicode_calls_the_same_are_refused(tmp_path):
    write(tmp_path, "\u00e9.bin", "e\u0301.bin")
    with pytest.raises(MalformedMetadata, match="one name in Unicode"):
        look(tmp_path)


def test_no_folder_is_not_found(tmp_path):
    write(tmp_path, "file")
    for name in ("none", "file"):
        with pytest.raises(ModelNotFound, match="cannot be listed"):
            look(tmp_path / name)


def age(folder):
    """Wait until the files' time stamps are old enough to be told from the next change."""
    time.sleep(0.15)
    return fingerprint(folder)


def test_a_fingerprint_changes_with_every_file(tmp_path):
    write(tmp_path, "config.json", "unet/config.json")
    (tmp_path / "link.json").symlink_to("unet/config.json")
    assert fingerprint(tmp_path) is None, "a folder changed a moment ago may change again unnoticed"
    first = age(tmp_path)
    assert first is not None and first == fingerprint(str(tmp_path))
    hash(first)
    stamp = os.stat(tmp_path / "config.json")
    write(tmp_path, "config.json", text="y")
    os.utime(tmp_path / "config.json", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    second = age(tmp_path)
    assert second not in (None, first), "same size and modification time, another content"
    write(tmp_path, "unet/config.json", text="z")
    third = age(tmp_path)
    write(tmp_path, "unet/new.json")
    fourth = age(tmp_path)
    (tmp_path / "unet" / "new.json").unlink()
    assert len({first, second, third, fourth}) == 4


def test_a_walk_marks_a_folder_as_its_fingerprint_does(tmp_path):
    write(tmp_path, "config.json", "unet/config.json", "unet/deep/x.txt", "vae/config.json", ".git/config")
    (tmp_path / "link.json").symlink_to("unet/config.json")
    (tmp_path / "linked").symlink_to("unet")
    os.mkfifo(tmp_path / "pipe")
    assert look(tmp_path).mark is None, "too young"
    mark = age(tmp_path)
    assert mark is not None and look(tmp_path).mark == mark


def test_what_a_walk_leaves_out_is_never_taken_for_unchanged(tmp_path):
    write(tmp_path, "config.json", "/".join("d" * 20) + "/x.txt")
    assert age(tmp_path) is not None
    assert look(tmp_path).mark is None, "a change so far below would not be looked at"


def test_a_fingerprint_of_no_folder_is_none(tmp_path):
    assert fingerprint(tmp_path / "none") is None
    (tmp_path / "broken").symlink_to("nowhere")
    assert age(tmp_path) is None
