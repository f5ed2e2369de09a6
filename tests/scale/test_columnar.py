"""Parquet in and out, and data sets of Hugging Face's library as inputs."""

import json

import pytest

from modelscope_ext import pipeline
from modelscope_ext.batch import run_batch
from modelscope_ext.batch.sources import open_source
from modelscope_ext.data import digits_folder, digits_samples
from modelscope_ext.errors import OptionError
from tests.batch.data import model, records
from tests.equality import assert_close
from tests.tiny import onnx_

pytestmark = pytest.mark.scale

TEXTS = ["the cat", "a good dog", "bad film", "red blue house", "hello"] * 20


@pytest.fixture
def table(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "in.parquet"
    made = pa.table({"id": list(range(100)), "text": TEXTS, "more": [{"a": [n]} for n in range(100)]})
    pq.write_table(made, path, row_group_size=7)
    return path


def test_parquet_from_anywhere_on(table):
    source = open_source(table)
    rows = [{"id": n, "text": TEXTS[n], "more": {"a": [n]}} for n in range(100)]
    assert source.rows == 100
    for first, stop in ((0, 100), (0, 1), (6, 8), (7, 14), (13, 99), (99, 200), (100, 101), (50, 50)):
        assert list(source.read(first, stop)) == rows[first:stop]
    table.write_bytes(b"no parquet")
    with pytest.raises(OptionError, match="no Parquet file"):
        open_source(table)


def test_vectors_are_lists_of_numbers_in_parquet_and_bad_rows_null(table, tmp_path):
    import pyarrow.parquet as pq

    folder = onnx_.write("feature-extraction", tmp_path / "model")
    rows = [{"text": text} for text in TEXTS]
    rows[0], rows[70] = {"text": 1}, {"text": None}
    run_batch(folder, rows, tmp_path / "out.parquet", batch_size=4, shard_rows=64, keep=["text"])
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.schema.field("output").type.value_type.value_type == "float"
    assert found.column("row").to_pylist() == list(range(100))
    outputs = found.column("output").to_pylist()
    assert outputs[0] is outputs[70] is None
    assert json.loads(found.column("error").to_pylist()[70])["type"] == "OptionError"
    with pipeline(model=folder) as pipe:
        assert_close(outputs[1:70], [one.tolist() for one in pipe(TEXTS[1:70])])


def test_labels_are_json_in_parquet_and_going_on_keeps_the_form(table, tmp_path):
    import pyarrow.parquet as pq

    folder = model(tmp_path / "model")

    def interrupted(done, total, errors):
        if done >= 64:
            raise KeyboardInterrupt

    common = {"format": "parquet", "batch_size": 4, "shard_rows": 64, "keep": ["id", "more"]}
    with pytest.raises(KeyboardInterrupt):
        run_batch(folder, table, tmp_path / "out", progress=interrupted, **common)
    assert run_batch(folder, table, tmp_path / "out", resume=True, **common).resumed == 64
    found = pq.read_table(tmp_path / "out")
    assert found.column("id").to_pylist() == [str(n) for n in range(100)]
    assert json.loads(found.column("more").to_pylist()[5]) == {"a": [5]}
    with pipeline(model=folder) as pipe:
        assert_close([json.loads(one) for one in found.column("output").to_pylist()], pipe(TEXTS))


def test_data_sets_of_texts_and_pictures(tmp_path):
    import datasets

    texts = datasets.DatasetDict(
        train=datasets.Dataset.from_dict({"text": TEXTS}), test=datasets.Dataset.from_dict({"text": TEXTS[:3]})
    )
    texts.save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(OptionError, match=r"which split\? there are test, train"):
        open_source(tmp_path / "saved")
    with pytest.raises(OptionError, match="no split 'dev'"):
        open_source(tmp_path / "saved", split="dev")
    folder = model(tmp_path / "model")
    run_batch(folder, tmp_path / "saved", tmp_path / "out", split="test")
    with pipeline(model=folder) as pipe:
        assert_close([r["output"] for r in records(tmp_path / "out")], pipe(TEXTS[:3]))

    pictures = datasets.Dataset.from_dict({"image": [str(path) for path in digits_samples()]})
    pictures = pictures.cast_column("image", datasets.Image())
    run_batch(digits_folder(), pictures, tmp_path / "digits", backend="onnx")
    assert [r["output"][0]["label"] for r in records(tmp_path / "digits")] == list("0123456789")
    assert open_source(pictures).identity() == open_source(pictures).identity()
