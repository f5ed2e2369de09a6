"""The Open Inference Protocol with tritonclient, in JSON and in binary, for several tasks."""

import base64
import json

import numpy as np
import pytest

from modelscope_ext.data import digits_samples
from tests.conftest import LOOPBACK

pytestmark = [
    pytest.mark.serve,
    pytest.mark.allow_hosts(LOOPBACK),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture
def triton(server):
    import tritonclient.http as http

    client = http.InferenceServerClient(f"{server.host}:{server.port}")
    yield client
    client.close()


def tensor(name, values, kind, binary, shape=None):
    import tritonclient.http as http

    if kind == "BYTES":
        array = np.array(values, dtype=object)
    else:
        array = np.asarray(values)
    made = http.InferInput(name, list(shape or array.shape), kind)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def ask(triton, model, inputs, outputs=(), binary=True, **parameters):
    import tritonclient.http as http

    wanted = [http.InferRequestedOutput(name, binary_data=binary) for name in outputs]
    return triton.infer(model, inputs, outputs=wanted or None, parameters=parameters or None)


def test_health_and_metadata(triton):
    assert triton.is_server_live() and triton.is_server_ready() and triton.is_model_ready("digits")
    assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    found = triton.get_model_metadata("text-ranking")
    assert {row["name"]: (row["datatype"], row["shape"]) for row in found["inputs"]} == {
        "query": ("BYTES", [-1]),
        "documents": ("BYTES", [-1, -1]),
        "json": ("BYTES", [-1]),
    }


@pytest.mark.parametrize("binary", [True, False])
def test_texts_get_their_labels(triton, models, binary):
    from modelscope_ext import pipeline

    texts = ["the cat sat", "a great movie", "sad"]
    with pipeline(model=str(models["text-classification"]), backend="onnx") as pipe:
        expected = pipe(texts, top_k=2)
    answer = ask(
        triton,
        "text-classification",
        [tensor("text", [t.encode() for t in texts] if binary else texts, "BYTES", binary)],
        ["label", "score"],
        binary,
        top_k=2,
    )
    labels = [[one.decode() if isinstance(one, bytes) else one for one in row] for row in answer.as_numpy("label")]
    assert labels == [[one["label"] for one in row] for row in expected]
    assert np.allclose(answer.as_numpy("score"), [[one["score"] for one in row] for row in expected], atol=1e-6)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("form", ["file", "array"])
def test_digits_are_read(triton, binary, form):
    from PIL import Image

    samples = digits_samples()[:4]
    if form == "array":
        pixels = np.stack([np.asarray(Image.open(path).convert("L")) for path in samples])
        inputs = [tensor("image", pixels, "UINT8", binary)]
    else:
        files = [path.read_bytes() for path in samples]
        values = files if binary else [base64.b64encode(data).decode() for data in files]
        inputs = [tensor("image", values, "BYTES", binary)]
    answer = ask(triton, "digits", inputs, ["label"], binary, top_k=1)
    labels = [one.decode() if isinstance(one, bytes) else one for one in answer.as_numpy("label")[:, 0]]
    assert labels == [path.stem for path in samples]


def test_vectors_fields_and_whole_inputs(triton, models):
    from modelscope_ext import pipeline

    given = {"query": "the cat", "documents": ["a dog", "the cat sat", "fish"]}
    with pipeline("text-ranking", str(models["text-ranking"]), backend="onnx") as pipe:
        expected = pipe(given)
    by_fields = ask(
        triton,
        "text-ranking",
        [
            tensor("query", [given["query"].encode()], "BYTES", True),
            tensor("documents", [[d.encode() for d in given["documents"]]], "BYTES", True),
        ],
        ["json"],
    )
    whole = ask(triton, "text-ranking", [tensor("json", [json.dumps(given).encode()], "BYTES", True)], ["json"])
    for answer in (by_fields, whole):
        found = json.loads(answer.as_numpy("json")[0])
        assert [one["index"] for one in found] == [one["index"] for one in expected]
        assert np.allclose([one["score"] for one in found], [one["score"] for one in expected], atol=1e-6)


def test_a_text_is_continued(triton, models):
    from modelscope_ext import pipeline

    with pipeline(model=str(models["text-generation"]), backend="onnx") as pipe:
        expected = [pipe(text, max_new_tokens=5)["generated_text"] for text in ("the cat", "hello")]
    inputs = [tensor("text", [b"the cat", b"hello"], "BYTES", True)]
    answer = ask(triton, "text-generation", inputs, ["text"], max_new_tokens=5)
    assert [one.decode() for one in answer.as_numpy("text")] == expected
    assert expected[0] != expected[1]


def bytes_of(*texts):
    return [{"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}]


IMAGE = {"name": "image", "datatype": "BYTES", "shape": [1]}
WRONG = [
    ("digits", {"inputs": [{**IMAGE, "data": ["/etc/passwd"]}]}, "paths and URLs are not opened"),
    (
        "digits",
        {"inputs": [{"name": "json", "datatype": "BYTES", "shape": [1], "data": ['"/etc/passwd"']}]},
        "not opened",
    ),
    ("digits", {"inputs": [{**IMAGE, "data": ["QUJD"]}]}, "no image"),
    (
        "digits",
        {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 1], "data": [0.5]}]},
        "FP32 is no form",
    ),
    ("digits", {"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1], "data": [1]}]}, "HxW"),
    ("text-classification", {"inputs": bytes_of("a"), "parameters": {"top_k": -1}}, "top_k"),
    ("text-classification", {"inputs": bytes_of("a"), "outputs": [{"name": "x"}]}, "no output 'x'"),
    ("text-classification", {"inputs": [{**bytes_of("a")[0], "shape": [2]}]}, "1 values for the shape"),
    ("text-classification", {"inputs": [{**bytes_of("a")[0], "name": "txt"}]}, "Did you mean 'text'"),
    ("text-classification", {"inputs": [{**bytes_of("a")[0], "shape": [0], "data": []}]}, "0 inputs"),
    ("text-classification", {"inputs": bytes_of("a") * 2}, "one name"),
    ("text-classification", {"inputs": []}, "a list as long as 1"),
    ("text-classification", {}, "'inputs' is missing"),
    ("text-classification", [], "expected object"),
    ("text-classification", {"inputs": [{"name": "json", "datatype": "BYTES", "shape": [1], "data": ["{"]}]}, "json: "),
]


@pytest.mark.parametrize(("model", "body", "says"), WRONG, ids=[says for _, _, says in WRONG])
def test_what_is_wrong_is_said(server, model, body, says):
    status, _, answer = server.ask("POST", f"/v2/models/{model}/infer", body)
    assert (status, set(answer)) == (400, {"error"})
    assert says in answer["error"]


def test_a_binary_body_that_does_not_fit_is_refused(server):
    head = json.dumps(
        {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}}]}
    ).encode()
    good = head + b"\x02\0\0\0hi"
    path = "/v2/models/text-classification/infer"
    for length, body, status in (
        (len(head), good, 200),
        (len(head), good[:-1], 400),
        (len(head), good + b"x", 400),
        (len(head), head + b"\x09\0\0\0hi", 400),
        (len(good) + 1, good, 400),
        ("-1", good, 400),
        ("٣", good, 400),
        (0, good, 400),
    ):
        headers = {"Inference-Header-Content-Length": str(length).encode(), "Content-Type": "application/octet-stream"}
        assert server.ask("POST", path, body, headers)[0] == status, (length, body)
