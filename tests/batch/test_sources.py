"""Sources: how many rows, which rows from anywhere on, and a `Failure` in the place of what cannot be read."""

import json
import pickle
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_ext.batch.sources import open_source
from modelscope_ext.data import digits_samples
from modelscope_ext.errors import MissingRequirement, OptionError
from modelscope_ext.pipelines.mapping import Failure


def every(source):
    return list(source.read(0, source.rows))


@pytest.mark.parametrize("stride", [1, 3, 100])
def test_json_lines_from_anywhere_on(tmp_path, stride):
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"a": 1}\n\n  \r\n{"a": 2}\r\n{broken\n"text"\n\xff\n' + b"[" * 100_000 + b'\n{"a": 3}'
    )
    source = pickle.loads(pickle.dumps(open_source(path, stride=stride)))
    rows = every(source)
    assert source.rows == len(rows) == 7
    assert [rows[0], rows[1], rows[3], rows[6]] == [{"a": 1}, {"a": 2}, "text", {"a": 3}]
    assert [rows[n].type for n in (2, 4, 5)] == ["JSONDecodeError", "UnicodeDecodeError", "JSONDecodeError"]
    for first in range(8):
        for stop in range(first, 9):
            assert list(source.read(first, stop)) == rows[first:stop]


@pytest.mark.parametrize("stride", [1, 2, 100])
def test_csv_with_fields_of_several_lines_and_bad_rows(tmp_path, stride):
    path = tmp_path / "a.csv"
    path.write_bytes(
        b'id,text\r\n1,"a ""quoted"", text"\r\n2,"two\r\nlines"\r\n\r\n3\r\n4,caf\xe9\r\n5,caf\xc3\xa9\r\n6,a,b\r\n7,x'
    )
    source = open_source(path, stride=stride)
    rows = every(source)
    assert [row if isinstance(row, dict) else row.message for row in rows] == [
        {"id": "1", "text": 'a "quoted", text'},
        {"id": "2", "text": "two\nlines"},
        "1 fields, and there are 2 columns",
        "expected UTF-8",
        {"id": "5", "text": "café"},
        "3 fields, and there are 2 columns",
        {"id": "7", "text": "x"},
    ]
    for first in range(8):
        assert list(source.read(first, 7)) == rows[first:]


def test_a_long_field_is_read_and_the_modules_own_limit_is_left_alone(tmp_path):
    import csv

    before = csv.field_size_limit()
    (tmp_path / "a.csv").write_text("text\n" + "x" * 500_000 + "\n")
    [row] = every(open_source(tmp_path / "a.csv"))
    assert len(row["text"]) == 500_000
    assert csv.field_size_limit() == before


def test_tabs_and_headers(tmp_path):
    (tmp_path / "a.tsv").write_text("a\tb\n1\t2,3\n")
    assert every(open_source(tmp_path / "a.tsv")) == [{"a": "1", "b": "2,3"}]
    (tmp_path / "b.csv").write_text("a,a\n1,2\n")
    with pytest.raises(OptionError, match="several columns are named a"):
        open_source(tmp_path / "b.csv")
    (tmp_path / "c.csv").write_text("")
    with pytest.raises(OptionError, match="the names of the columns in the first line"):
        open_source(tmp_path / "c.csv")


def test_every_line_of_a_text_is_a_row(tmp_path):
    (tmp_path / "a.txt").write_bytes("one\n\nthrée\r\n\xff".encode("latin-1").replace(b"\xe9", b"\xc3\xa9"))
    rows = every(open_source(tmp_path / "a.txt"))
    assert rows[:3] == ["one", "", "thrée"] and rows[3].type == "UnicodeDecodeError"


def test_a_line_beyond_all_bounds_is_one_bad_row(tmp_path, monkeypatch):
    monkeypatch.setattr("modelscope_ext.batch.sources.lines._LONGEST", 50)
    (tmp_path / "a.txt").write_text("short\n" + "x" * 170 + "\n" + "y" * 49 + "\nlast\n")
    rows = every(open_source(tmp_path / "a.txt"))
    assert [row if isinstance(row, str) else row.type for row in rows] == ["short", "LimitExceeded", "y" * 49, "last"]


@given(st.lists(st.tuples(st.text(), st.text())), st.integers(1, 7))
def test_any_table_is_read_as_it_was_written(tmp_path_factory, table, stride):
    import csv

    path = tmp_path_factory.mktemp("csv") / "a.csv"
    table = [[c.replace("\r", "").replace("\0", "").encode("utf-8", "replace").decode() for c in row] for row in table]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *table])
    if not table:
        with pytest.raises(OptionError, match="there are no rows"):
            open_source(path, stride=stride)
        return
    source = open_source(path, stride=stride)
    assert every(source) == [{"a": a, "b": b} for a, b in table]
    half = source.rows // 2
    assert list(source.read(half, source.rows)) == every(source)[half:]


def test_a_folder_of_files_is_read_as_one(tmp_path):
    for name, rows in (("b/1.jsonl", [3, 4]), ("a.jsonl", [0, 1, 2]), ("c.jsonl", []), ("d.jsonl", [5])):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("".join(f"{n}\n" for n in rows))
    (tmp_path / "_manifest.json").write_text("{}")
    (tmp_path / "notes.md").write_text("")
    source = open_source(tmp_path, stride=2)
    assert every(source) == [0, 1, 2, 3, 4, 5]
    for first in range(7):
        for stop in range(first, 7):
            assert list(source.read(first, stop)) == [*range(first, stop)]
    (tmp_path / "e.csv").write_text("a\n1\n")
    with pytest.raises(OptionError, match="a folder of csv, jsonl; say which with --input-format"):
        open_source(tmp_path)
    assert open_source(tmp_path, kind="csv").rows == 1


def test_a_folder_of_pictures(tmp_path):
    (tmp_path / "sub").mkdir()
    for place, name in zip(digits_samples(), ("b.png", "sub/a.png", "a.PNG"), strict=False):
        shutil.copy(place, tmp_path / name)
    source = open_source(tmp_path)
    assert [row["file"] for row in every(source)] == ["a.PNG", "b.png", "sub/a.png"]
    assert list(source.read(1, 2)) == [{"file": "b.png", "image": str(tmp_path / "b.png")}]
    before = source.identity()
    (tmp_path / "b.png").write_bytes(b"")
    assert open_source(tmp_path).identity() != before


def test_the_identity_is_that_of_the_content(tmp_path):
    a = tmp_path / "a.jsonl"
    a.write_text('{"a": 1}\n{"a": 2}\n')
    before = open_source(a).identity()
    assert open_source(a, stride=9).identity() == before
    a.write_text('{"a": 1}\n{"a": 3}\n')
    assert open_source(a).identity() != before
    assert open_source([1, 2]).identity() != open_source([1, 3]).identity()


def test_a_file_that_shrinks_while_it_is_read_loses_no_row(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("1\n2\n3\n")
    source = open_source(path)
    path.write_text("1\n2\n")
    rows = every(source)
    assert rows[:2] == [1, 2] and isinstance(rows[2], Failure)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.jsonl", None, "no such file or folder"),
        ("a.jsonl", "\n\n", "there are no rows in it"),
        ("a.xml", "<a/>", "what is in it"),
        ("a.png", "", "or a folder"),
    ],
)
def test_what_is_no_source(tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(OptionError, match=says):
        open_source(tmp_path / name)


def test_other_mistakes(tmp_path):
    with pytest.raises(OptionError, match="a folder without a file of a known kind"):
        open_source(tmp_path)
    with pytest.raises(OptionError, match="Did you mean 'jsonl'"):
        open_source(tmp_path, kind="json")
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(OptionError, match="split and name choose from a data set"):
        open_source(tmp_path / "a.txt", split="train")
    with pytest.raises(OptionError, match="expected a path, a list of rows or a data set, got int"):
        open_source(5)


def test_another_ending(tmp_path):
    (tmp_path / "a.log").write_text('{"a": 1}\n')
    assert every(open_source(tmp_path / "a.log", kind="text")) == ['{"a": 1}']
    assert every(open_source(tmp_path / "a.log", kind="jsonl")) == [{"a": 1}]


def without(monkeypatch, module):
    monkeypatch.setitem(__import__("sys").modules, module, None)


def test_parquet_and_data_sets_name_what_they_need(tmp_path, monkeypatch):
    without(monkeypatch, "pyarrow.parquet")
    without(monkeypatch, "datasets")
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingRequirement, match=r"modelscope-ext\[parquet\]"):
        open_source(tmp_path / "a.parquet")
    with pytest.raises(MissingRequirement, match=r"modelscope-ext\[datasets\]"):
        open_source("hf:org/name")
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["train"]}))
    with pytest.raises(MissingRequirement, match=r"modelscope-ext\[datasets\]"):
        open_source(tmp_path)
