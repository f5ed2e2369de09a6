"""Pictures, sounds and videos in every form people have them become the same input."""

from __future__ import annotations

import base64
import io
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from modelscope_ext.errors import OptionError
from modelscope_ext.models.inputs import is_lazy
from modelscope_ext.models.media import array_of, is_array, open_audio, open_image, open_video
from modelscope_ext.models.schemas import normalise
from modelscope_ext.safety.urls import Web

PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def png(pixels=PIXELS):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def wav(samples, rate=8000, channels=1):
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(np.asarray(samples, np.int16).tobytes())
    return stream.getvalue()


# pictures


@pytest.fixture
def pictures(tmp_path):
    """Every form of one picture."""
    from PIL import Image

    data, path = png(), tmp_path / "a.png"
    path.write_bytes(data)
    return [
        *(Image.fromarray(PIXELS), PIXELS, path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data)),
        *({"image": PIXELS}, {"img": str(path)}, {"path": str(path)}, {"bytes": data, "path": None}, {"image": data}),
        "data:image/png;base64," + base64.b64encode(data).decode(),
    ]


def test_a_picture_of_every_form_is_the_same(pictures):
    for form in pictures:
        [item], single = normalise("image-classification", form)
        assert single, form
        assert np.array_equal(np.asarray(item), PIXELS), form
    pictures[7].seek(0)
    items, single = normalise("image-classification", pictures)
    assert not single
    assert {item.tobytes() for item in items} == {PIXELS.tobytes()}


def test_an_open_file_is_an_input_and_no_data_set(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png())
    with open(path, "rb") as file:
        assert not is_lazy(file)
        assert np.array_equal(np.asarray(open_image(file)), PIXELS)
    with open(path, encoding="latin-1") as file, pytest.raises(OptionError, match=r"open it in binary mode"):
        open_image(file)
    with open(path, "rb") as file, pytest.raises(OptionError, match="more than 9 bytes"):
        open_image(file, Web.of([], {"input_bytes": 9}))
    with open(path, "rb") as file:
        pass
    with pytest.raises(OptionError, match="cannot be read"):
        open_image(file)


@pytest.mark.pt
def test_a_tensor_is_a_picture_with_its_channels_first():
    import torch

    tensor = torch.from_numpy(PIXELS).permute(2, 0, 1)
    assert is_array(tensor)
    for form in (tensor, tensor.contiguous()):
        assert np.array_equal(np.asarray(open_image(form)), PIXELS)
    assert open_image(tensor[:1]).mode == "L"
    items, single = normalise("image-classification", torch.stack([tensor, tensor]))
    assert (len(items), single) == (2, False)
    with pytest.raises(OptionError, match=r"must be uint8.*float32 .*\(array \* 255\)\.byte\(\)"):
        open_image(tensor.float())
    assert array_of(torch.ones(2, dtype=torch.bfloat16)).dtype == np.float32


@settings(max_examples=100)
@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=4, max_side=5)))
def test_any_array_of_bytes_is_a_picture_or_refused_with_its_shape(array):
    try:
        image = open_image(array)
    except OptionError as error:
        assert str(array.shape) in str(error)
        return
    assert np.array_equal(np.asarray(image).reshape(-1), array.reshape(-1))


@settings(max_examples=100)
@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda tail: png()[:40] + tail))
def test_any_bytes_are_a_picture_or_refused_in_our_words(data):
    with pytest.raises(OptionError, match="not an image that can be read"):
        open_image(data)


@pytest.mark.parametrize(
    "wrong", [{}, {"image": None}, {"image": PIXELS, "label": 1}, 3, None, [PIXELS], {"image": {"image": 3}}, object()]
)
def test_what_is_no_picture_is_refused(wrong):
    with pytest.raises(OptionError, match="expected an image"):
        open_image(wrong)


# sounds


@pytest.mark.pt
def test_a_sound_of_every_form_is_the_same(tmp_path):
    import torch

    whole = np.array([0, 8192, -16384, 32767, 5], np.int16)
    samples = whole.astype(np.float32) / 32768
    data, path = wav(whole), tmp_path / "a.wav"
    path.write_bytes(data)
    decoder = type(
        "Decoder",
        (),
        {"get_all_samples": lambda _: type("S", (), {"data": torch.tensor(samples)[None], "sample_rate": 8000})},
    )
    forms = [
        *(data, io.BytesIO(data), {"bytes": data}, {"audio": data}, {"wav": data, "sampling_rate": None}, decoder()),
        *({"raw": k, "sampling_rate": 8000} for k in (samples, whole, samples.tolist(), samples.astype(np.float64))),
        *(
            {"array": torch.tensor(samples), "sampling_rate": 8000, "path": None},
            {"audio": {"array": samples, "sampling_rate": 8000}},
        ),
        {"array": samples[None], "sampling_rate": np.int64(8000)},
        "data:audio/wav;base64," + base64.b64encode(data).decode(),
    ]
    for form in forms:
        [item], single = normalise("audio-classification", form)
        assert single, form
        assert item["sampling_rate"] == 8000, form
        assert item["raw"].dtype == np.float32
        assert np.array_equal(item["raw"], samples), form
    for form in (str(path), path, {"path": str(path)}, {"audio": path}):
        assert normalise("audio-classification", form) == ([str(path)], True)


@pytest.mark.pt
def test_channels_of_a_file_are_mixed_and_those_of_an_array_are_not():
    item = open_audio(wav([[100, 300], [-200, 0]], channels=2))
    assert np.allclose(item["raw"] * 32768, [200, -100])
    with pytest.raises(OptionError, match=r"got shape \(2, 3\) of float32: mix it down first"):
        open_audio({"raw": np.zeros((2, 3), np.float32), "sampling_rate": 8000})


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"raw": [0.0], "sampling_rate": 0}, "positive whole number"),
        ({"raw": [0.0], "sampling_rate": "8000"}, "positive whole number"),
        ({"raw": [0.0], "sampling_rate": 8000.5}, "positive whole number"),
        ({"raw": []}, r"got shape \(0,\)"),
        ({"raw": ["a"]}, "one channel of numbers"),
        ({"raw": [[1.0], [1.0, 2.0]]}, "one channel of numbers"),
        ({"raw": [1, 2]}, "samples of int64 have no scale"),
        ({"raw": [float("nan")]}, "not finite"),
        ({"raw": [0.0], "label": 1}, "expected audio"),
        ({"audio": None}, "expected audio"),
        (3, "expected audio"),
        ("no/such.wav", "no such file; expected audio"),
        ("https://h.org/a.wav", "inputs are fetched only where you say so"),
    ],
)
def test_what_is_no_sound_is_refused(wrong, says):
    with pytest.raises(OptionError, match=says):
        open_audio(wrong)


@pytest.mark.pt
@pytest.mark.parametrize("data", [b"", b"RIFF", b"\x00" * 99])
def test_bytes_that_are_no_sound_are_refused(data):
    with pytest.raises(OptionError, match="not audio that can be read"):
        open_audio(data)


@settings(max_examples=60)
@given(
    arrays.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.int16, np.int32, np.uint8]), st.integers(1, 9)
    )
)
def test_any_samples_become_floats_between_one_and_one_or_are_refused(samples):
    try:
        item = open_audio({"raw": samples, "sampling_rate": 8000})
    except OptionError as error:
        assert "not finite" in str(error)
        return
    assert item["raw"].dtype == np.float32
    assert item["raw"].shape == samples.shape
    assert samples.dtype.kind == "f" or np.abs(item["raw"]).max() <= 1


# videos


def test_a_video_of_every_form_has_the_same_frames(tmp_path):
    from PIL import Image

    frames = np.stack([PIXELS, PIXELS[::-1], PIXELS[:, ::-1]])
    pictures = [Image.fromarray(frame) for frame in frames]
    for form in (frames, list(frames), pictures, tuple(pictures), {"video": frames}, {"frames": pictures}):
        [item], single = normalise("video-classification", form)
        assert single
        assert np.array_equal(np.stack([np.asarray(frame) for frame in item]), frames)
    for batch in ([frames, pictures], np.stack([frames, frames])):
        items, single = normalise("video-classification", batch)
        assert (len(items), single) == (2, False)
    path = tmp_path / "a.mp4"
    path.write_bytes(b"not read here")
    assert normalise("video-classification", [str(path), path]) == ([str(path)] * 2, False)
    assert normalise("video-classification", b"mp4") == ([b"mp4"], True)
    assert open_video(np.zeros((2, 4, 4, 1), np.uint8)).shape == (2, 4, 4, 3)
    for wrong in (np.zeros((2, 4, 4), np.uint8), np.zeros((2, 4, 4, 3)), np.zeros((0, 4, 4, 3), np.uint8)):
        with pytest.raises(OptionError, match=r"NxHxWxC \(a tensor NxCxHxW\) and is uint8; got"):
            open_video(wrong)


@pytest.mark.pt
def test_a_tensor_is_a_video_with_its_channels_first():
    import torch

    frames = np.stack([PIXELS, PIXELS[::-1]])
    assert np.array_equal(open_video(torch.tensor(frames).permute(0, 3, 1, 2)), frames)


# chats with media, and ModelScope's dicts


def test_media_of_a_chat_are_opened_and_the_caller_keeps_his_own(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png())
    url = "data:image/png;base64," + base64.b64encode(png()).decode()
    pieces = [
        {"type": "image", "image": str(path)},
        {"type": "image", "url": url},
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "image", "base64": base64.b64encode(png()).decode()},
        {"type": "audio", "audio": [0.0, 0.5]},
        {"type": "text", "text": "what?"},
        "plain",
    ]
    chat = [{"role": "user", "content": pieces}]
    for form in (chat, {"messages": chat}, {"text": chat}):
        [item], single = normalise("any-to-any", form)
        assert single
        [message] = item
        kinds = [piece["type"] for piece in message["content"]]
        assert kinds == ["image", "image", "image", "image", "audio", "text", "text"]
        assert all(np.array_equal(np.asarray(piece["image"]), PIXELS) for piece in message["content"][:4])
        assert message["content"][4]["audio"]["raw"].tolist() == [0.0, 0.5]
    assert pieces[0] == {"type": "image", "image": str(path)}
    web = {"role": "user", "content": [{"type": "image", "image": "https://h.org/a.png"}]}
    with pytest.raises(OptionError, match="is a URL, and inputs are fetched only where you say so"):
        normalise("any-to-any", [web])


def test_a_text_beside_media_is_one_input():
    [item], single = normalise("image-text-to-text", {"image": PIXELS, "text": "what?"})
    assert single
    assert (item["text"], len(item["image"])) == ("what?", 1)
    [item], _ = normalise("image-text-to-text", {"images": [PIXELS, PIXELS], "question": "same?"})
    assert (item["text"], len(item["image"])) == ("same?", 2)
    assert normalise("image-text-to-text", "hello") == (["hello"], True)
    for wrong, says in (
        ({"imgae": PIXELS, "text": "a"}, "Did you mean 'image'"),
        ({}, "an empty dict"),
        ({"text": [{"role": "user", "content": "a"}], "image": PIXELS}, "a chat has its media inside its messages"),
        (3, "expected a str, or a chat"),
    ):
        with pytest.raises(OptionError, match=says):
            normalise("image-text-to-text", wrong)


PAIR = {"text": "a", "text_pair": "b"}


@pytest.mark.parametrize(
    ("task", "given_", "expected"),
    [
        ("text-classification", {"text": "a", "text2": "b"}, PAIR),
        ("text-classification", {"text1": "a", "text2": "b"}, PAIR),
        ("text-classification", {"sentence1": "a", "sentence2": "b"}, PAIR),
        ("text-classification", {"premise": "a", "hypothesis": "b"}, PAIR),
        ("translation", {"src": "a"}, "a"),
        ("summarization", {"text": "a"}, "a"),
        ("question-answering", {"query": "a", "context": "b"}, {"question": "a", "context": "b"}),
        ("multiple-choice", {"prompt": "a", "choices": ["b"]}, {"prompt": "a", "choices": ["b"]}),
        (
            "decision",
            {"text": 1, "questions": {"q": {"type": "noul"}}},
            {"state": 1, "questions": {"q": {"type": "noul"}}},
        ),
        ("time-series-forecasting", {"past_values": [1, 2]}, [1.0, 2.0]),
    ],
)
def test_dicts_in_the_manner_of_modelscope_and_of_data_sets(task, given_, expected):
    [item], single = normalise(task, given_)
    assert single
    assert (item.tolist() if hasattr(item, "tolist") else item) == expected


def test_a_question_about_a_picture_in_the_manner_of_modelscope():
    for form in ({"image": PIXELS, "text": "how many?"}, {"img": PIXELS, "question": "how many?"}):
        [item], _ = normalise("visual-question-answering", form)
        assert item["question"] == "how many?"
        assert np.array_equal(np.asarray(item["image"]), PIXELS)


def test_a_column_of_texts_is_a_batch():
    assert normalise("text-classification", np.array(["a", "b"])) == (["a", "b"], False)
    items, _ = normalise("fill-mask", np.array(["a"], dtype=object))
    assert [type(item) for item in items] == [str]


def test_pages_are_a_list_of_pictures():
    [item], single = normalise("visual-document-retrieval", {"query": "a", "pages": [PIXELS, png()]})
    assert single
    assert [page.size for page in item["documents"]] == [(6, 4), (6, 4)]
    with pytest.raises(OptionError, match="key 'documents': expected a list of images"):
        normalise("visual-document-retrieval", {"query": "a", "documents": []})
