import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import (
    LimitExceeded,
    MalformedMetadata,
    ModelNotFound,
    ModelScopeExtError,
    PathEscapeRefused,
)
from modelscope_ext.safety.limits import Limits
from modelscope_ext.safety.reading import bases_of, inside, parse_json, parse_yaml, read_inside

SECRET = "the secret outside"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.json").write_text(SECRET)
    model = tmp_path / "model"
    (model / "unet").mkdir(parents=True)
    (model / "config.json").write_text('{"a": 1}')
    (model / "unet" / "config.json").write_text('{"b": 2}')
    return model


def test_whole_files_and_parts_are_read(folder):
    assert read_inside(folder, "config.json") == b'{"a": 1}'
    assert read_inside(folder, "unet/config.json", start=1, length=3) == b'"b"'
    assert read_inside(folder, "config.json", start=6, length=100) == b"1}"
    assert read_inside(folder, "config.json", start=100, length=5) == b""


def test_the_same_through_a_linked_parent_and_a_relative_path(folder, monkeypatch):
    (folder.parent / "link").symlink_to(folder)
    assert read_inside(folder.parent / "link", "unet/config.json") == b'{"b": 2}'
    monkeypatch.chdir(folder.parent)
    assert read_inside("link", "config.json") == read_inside("model", "config.json") == b'{"a": 1}'


@pytest.mark.parametrize("target", ["../outside/secret.json", "{outside}/secret.json", "/etc/passwd", "/dev/zero"])
def test_c04_c05_c17_a_link_that_leaves_the_model_is_refused(folder, target):
    (folder / "link.json").symlink_to(target.format(outside=folder.parent / "outside"))
    with pytest.raises(PathEscapeRefused, match="leaves the model") as error:
        read_inside(folder, "link.json", source="./m")
    assert SECRET not in str(error.value)
    assert error.value.file == "link.json"


def test_c06_a_linked_folder_that_leaves_the_model_is_refused(folder):
    (folder / "vae").symlink_to("../outside")
    with pytest.raises(PathEscapeRefused):
        read_inside(folder, "vae/secret.json")


def test_a_sibling_whose_name_begins_alike_is_outside(folder):
    evil = folder.with_name("model-evil")
    evil.mkdir()
    (evil / "x.json").write_text(SECRET)
    (folder / "x.json").symlink_to("../model-evil/x.json")
    with pytest.raises(PathEscapeRefused):
        read_inside(folder, "x.json")


def test_links_within_the_model_are_followed(folder):
    (folder / "again.json").symlink_to("unet/config.json")
    (folder / "unet2").symlink_to("unet")
    assert read_inside(folder, "again.json") == read_inside(folder, "unet2/config.json") == b'{"b": 2}'


@pytest.mark.parametrize("repo", ["models--org--name", "org--name"])
def test_links_into_the_blobs_of_the_same_cached_repo_are_followed(tmp_path, repo):
    blobs = tmp_path / repo / "blobs"
    snapshot = tmp_path / repo / "snapshots" / "0a1b"
    for made in (blobs, snapshot / "unet", tmp_path / "models--other--repo" / "blobs"):
        made.mkdir(parents=True)
    (blobs / "aa").write_text("{}")
    (tmp_path / "models--other--repo" / "blobs" / "bb").write_text(SECRET)
    (snapshot / "config.json").symlink_to("../../blobs/aa")
    (snapshot / "unet" / "config.json").symlink_to("../../../blobs/aa")
    assert read_inside(snapshot, "config.json") == read_inside(snapshot, "unet/config.json") == b"{}"
    (snapshot / "stolen.json").symlink_to(tmp_path / "models--other--repo" / "blobs" / "bb")
    (snapshot / "ref.json").symlink_to("../../refs")
    with pytest.raises(PathEscapeRefused):
        read_inside(snapshot, "stolen.json")
    assert inside(bases_of(str(snapshot)), str(blobs)) is None
    assert inside(bases_of(str(snapshot)), str(blobs / "aa")) == str(blobs)


@pytest.mark.parametrize("name", ["../outside/secret.json", "/etc/passwd", "unet/../../outside/secret.json", "a\0b"])
def test_names_that_lead_out_are_never_opened(folder, name):
    with pytest.raises((PathEscapeRefused, MalformedMetadata), match="Nothing was opened"):
        read_inside(folder, name)


def test_pipes_and_folders_are_no_files(folder):
    os.mkfifo(folder / "pipe.json")
    for name in ("pipe.json", "unet"):
        with pytest.raises(MalformedMetadata, match="not a regular file"):
            read_inside(folder, name)
    (folder / "linked.json").symlink_to("pipe.json")
    with pytest.raises(MalformedMetadata, match="not a regular file"):
        read_inside(folder, "linked.json")


def test_a_missing_file_is_not_found(folder):
    for name in ("none.json", "none/none.json", "config.json/x"):
        with pytest.raises(ModelNotFound, match="There is no file"):
            read_inside(folder, name)
    (folder / "broken.json").symlink_to("nowhere")
    with pytest.raises(ModelNotFound):
        read_inside(folder, "broken.json")


def test_e12_a_large_file_is_refused_before_it_is_read(folder):
    with (folder / "config.json").open("wb") as file:
        file.truncate(400 * 2**20)  # sparse: takes no room
    with pytest.raises(LimitExceeded, match=r"419430400 bytes; at most 16777216") as error:
        read_inside(folder, "config.json")
    assert error.value.grant == "limits"
    assert len(read_inside(folder, "config.json", start=5, length=10)) == 10
    assert len(read_inside(folder, "config.json", limits=Limits(json_bytes=2**29), length=7)) == 7


def test_c21_an_unreadable_file_is_named(folder, monkeypatch):
    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)  # root, who runs some test machines, may read everything
    with pytest.raises(MalformedMetadata, match=r"config\.json: cannot be read \(Permission denied\)"):
        read_inside(folder, "config.json")


def test_c20_what_was_opened_is_what_was_checked(folder, monkeypatch):
    """A file swapped for a link between the look and the opening is noticed, because the opening is the look."""
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("../outside/secret.json")
    monkeypatch.setattr(os.path, "islink", lambda path: False)  # an attacker who wins every race for the look
    with pytest.raises(ModelScopeExtError) as error:
        read_inside(folder, "config.json")
    assert SECRET not in str(error.value)


BOMBS = {
    "E01": (b"[" * 200_000, LimitExceeded), "E02": (b'{"a":' * 900 + b"1" + b"}" * 900, LimitExceeded),
    "E03": (b"1" * 5000, MalformedMetadata), "E05": (b'{"m": 1, "m": 2}', MalformedMetadata),
    "E07a": ('{"a": 1}'.encode("utf-16"), MalformedMetadata), "E07b": (b'{"a": "\xff"}', MalformedMetadata),
    "E07c": (b'{"a\0": 1}', MalformedMetadata), "E07d": (b'{"\\ud800": 1}', MalformedMetadata),
    "E13": (b"[" + b"{}," * 300_000 + b"{}]", LimitExceeded),
}  # fmt: skip


@pytest.mark.parametrize("row", BOMBS)
def test_json_bombs_are_refused(row):
    data, error = BOMBS[row]
    with pytest.raises(error):
        parse_json(data, file="config.json")


def test_e06_a_byte_order_mark_is_accepted():
    assert parse_json(b"\xef\xbb\xbf{}", file="config.json") == {}


def _aliases(depth):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    return "\n".join(lines + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, depth)]).encode()


YAML_BOMBS = {
    "E14": (_aliases(9), LimitExceeded),
    "E16": (b"a: &a {x: 1}\n" + b"".join(b"k%d: {<<: [*a, *a, *a, *a]}\n" % n for n in range(20)), LimitExceeded),
    "E17": (b"[" * 200_000, LimitExceeded),
    "E18": (b"!!python/object/apply:os.system ['x']", MalformedMetadata),
    "E19a": (b"a: 1\n---\nb: 2\n", MalformedMetadata), "E19b": (b"[1, 2]: x\n", MalformedMetadata),
    "E21": (b"a: 0x" + b"f" * 100_000, MalformedMetadata), "E05": (b"m: 1\nm: 2\n", MalformedMetadata),
}  # fmt: skip


@pytest.mark.parametrize("row", YAML_BOMBS)
def test_yaml_bombs_are_refused(row):
    data, error = YAML_BOMBS[row]
    with pytest.raises(error):
        parse_yaml(data, file="config.yaml")


def test_e19_yaml_has_the_types_of_version_1_2():
    assert parse_yaml(b"a: no\nb: 012\nc: 1:30\nd: 2024-01-01\n", file="config.yaml") == {
        "a": "no", "b": 12, "c": "1:30", "d": "2024-01-01",
    }  # fmt: skip


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_no_reader_raises_a_foreign_error(data):
    for parse, name in ((parse_json, "config.json"), (parse_yaml, "config.yaml")):
        try:
            parse(data, file=name)
        except ModelScopeExtError as error:
            assert str(error).isprintable()
            assert len(str(error)) <= 1000


def test_the_length_transformers_writes_for_unlimited_is_read():
    # transformers.tokenization_utils_base.VERY_LARGE_INTEGER is int(1e30)
    assert parse_json(b'{"model_max_length": %d}' % int(1e30), file="tokenizer_config.json") == {
        "model_max_length": int(1e30)
    }


def test_links_into_the_blobs_that_a_whole_cache_shares_are_followed_where_they_are_marked(tmp_path):
    shared, repo = tmp_path / "blobs" / "aa", tmp_path / "models--org--name"
    snapshot = repo / "snapshots" / ("0" * 40)
    for made in (shared, repo / "blobs", snapshot):
        made.mkdir(parents=True)
    (shared / "aabb").write_text("{}")
    (repo / "blobs" / "etag").symlink_to("../../blobs/aa/aabb")
    (snapshot / "config.json").symlink_to("../../blobs/etag")
    with pytest.raises(PathEscapeRefused):
        read_inside(snapshot, "config.json")
    (tmp_path / "blobs" / ".huggingface-shared-blobs").write_text("1\n")
    assert read_inside(snapshot, "config.json") == b"{}"
