"""What a stranger may send: no path, no URL, nothing larger than allowed."""

import base64
import io

import pytest

from modelscope_ext.data import digits_samples
from modelscope_ext.models.schemas import SCHEMAS
from modelscope_ext.serve import intake
from modelscope_ext.serve.intake import OPTIONS, options_of, refuse_unserved, sealed
from modelscope_ext.serve.refusal import Refused
from modelscope_ext.serve.settings import Settings

SMALL = Settings(max_pixels=100, max_text=10, max_items=3)


def data_url(data, kind="image/png"):
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def png(width=8, height=8, form="PNG"):
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (width, height)).save(stream, form)
    return stream.getvalue()


def test_every_kind_of_input_is_one_that_is_sealed():
    assert intake.kinds_are_known()


HOSTILE = ["/etc/passwd", "file:///etc/passwd", "http://169.254.169.254/latest", "https://example.org/a.png", "~/x", ""]


@pytest.mark.parametrize(
    "value", [*HOSTILE, *({"image": v} for v in HOSTILE), *({"path": v} for v in HOSTILE)], ids=str
)
def test_no_path_and_no_url_becomes_an_image(value, monkeypatch):
    monkeypatch.setattr("modelscope_ext.models.media._source", lambda *a: pytest.fail("something was opened"))
    with pytest.raises(Refused) as caught:
        sealed("image-classification", value, Settings())
    assert caught.value.status == 400


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(
    ("task", "make"),
    [
        ("automatic-speech-recognition", lambda v: v),
        ("automatic-speech-recognition", lambda v: {"audio": v}),
        ("video-classification", lambda v: v),
        ("video-classification", lambda v: [v]),
        ("document-question-answering", lambda v: {"image": v, "question": "?"}),
        ("visual-document-retrieval", lambda v: {"query": "q", "pages": [v]}),
        ("image-to-image", lambda v: v),
        ("image-inpainting", lambda v: {"image": data_url(png()), "mask_image": v}),
        ("image-text-to-text", lambda v: {"image": v, "text": "?"}),
        ("image-text-to-text", lambda v: {"images": [v], "text": "?"}),
        (
            "image-text-to-text",
            lambda v: [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": v}}]}],
        ),
        ("image-text-to-text", lambda v: [{"role": "user", "content": [{"type": "image", "path": v}]}]),
        ("image-text-to-text", lambda v: [{"role": "user", "content": [{"type": "video", "video": v}]}]),
        ("text-generation", lambda v: [{"role": "user", "content": [{"type": "image", "image": v}]}]),
        ("table-question-answering", lambda v: {"table": v, "query": "?"}),
        ("tabular-classification", lambda v: v),
    ],
)
def test_no_path_and_no_url_is_opened_for_any_task(task, make, value, monkeypatch):
    monkeypatch.setattr("modelscope_ext.models.media._source", lambda *a: pytest.fail("something was opened"))
    with pytest.raises(Refused):
        sealed(task, make(value), Settings())


def test_every_task_with_media_refuses_a_path():
    for task, schema in SCHEMAS.items():
        if schema.input in ("image", "audio", "video"):
            with pytest.raises(Refused, match="are not opened here"):
                sealed(task, str(digits_samples()[0]), Settings())


def test_an_image_comes_as_a_data_url_or_base64_and_is_the_same():
    data = digits_samples()[3].read_bytes()
    one = sealed("image-classification", data_url(data), Settings())
    other = sealed("image-classification", {"base64": base64.b64encode(data).decode()}, Settings())
    assert one.size == other.size == (8, 8)
    assert one.tobytes() == other.tobytes() != sealed("image-classification", data_url(png()), Settings()).tobytes()


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (data_url(png(11, 10)), 413),
        (data_url(png(10, 10)[:40]), 400),
        (data_url(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 5\n"), 400),
        (data_url(b""), 400),
        ("data:image/png;base64,@@@", 400),
        ("data:", 400),
        (7, 400),
        ([1], 400),
        ({"base64": "é"}, 400),
        ({"base64": None}, 400),
    ],
    ids=str,
)
def test_what_is_no_image_or_too_large_is_refused(value, status):
    with pytest.raises(Refused) as caught:
        sealed("image-classification", value, SMALL)
    assert caught.value.status == status


def test_no_format_that_starts_a_program_is_read():
    """Pillow hands EPS to ghostscript."""
    assert "EPS" not in intake._FORMATS


@pytest.mark.parametrize(
    ("task", "value", "status"),
    [
        ("text-classification", "x" * 11, 413),
        ("text-classification", "data:" + "x" * 6, 413),
        ("decision", {"state": {"x" * 11: 1}, "questions": {"a": {"type": "noul"}}}, 413),
        ("image-text-to-text", {"image": data_url(png()), "text": "data:" + "x" * 6}, 413),
        ("text-classification", 5, 400),
        ("text-classification", None, 400),
        ("text-classification", "\ud800", 400),
        ("text-ranking", {"query": "q", "documents": ["d", "x" * 11]}, 413),
        ("text-ranking", {"query": "q"}, 400),
        ("text-ranking", "q", 400),
        ("text-generation", [{"role": "user", "content": "x"}] * 4, 413),
        ("text-generation", [{"role": 5, "content": "x"}], 400),
        ("text-generation", [5], 400),
        ("text-generation", [], 400),
        ("unconditional-image-generation", -1, 400),
        ("time-series-forecasting", ["a"], 400),
    ],
)
def test_other_inputs_are_held_against_schema_and_size(task, value, status):
    with pytest.raises(Refused) as caught:
        sealed(task, value, SMALL)
    assert caught.value.status == status


def test_a_chat_of_parts_becomes_text_for_a_model_of_texts():
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    chat = sealed("text-generation", {"messages": [{"role": "user", "content": parts, "refusal": None}]}, Settings())
    assert chat == [{"role": "user", "content": "one\ntwo"}]


def test_options_are_those_of_the_table_within_their_bounds():
    known = frozenset(("top_k", "max_new_tokens", "tesseract_config", "truncation"))
    assert options_of({"top_k": 3.0, "max_new_tokens": None}, known, Settings()) == {"top_k": 3}
    for wrong in (
        {"top_k": 0},
        {"top_k": "3"},
        {"top_k": True},
        {"max_new_tokens": 5000},
        {"tesseract_config": "-x"},
        {"to_k": 1},
    ):
        with pytest.raises(Refused) as caught:
            options_of(wrong, known, Settings())
        assert caught.value.status == 400
    with pytest.raises(Refused, match="Did you mean 'top_k'"):
        options_of({"to_k": 1}, known, Settings())


def test_no_option_names_files_programs_or_further_keywords():
    dangerous = (
        "kwargs",
        "config",
        "params",
        "path",
        "file",
        "vocoder",
        "chat_template",
        "source",
        "raw",
        "batch_size",
        "device",
    )
    assert not [name for name in OPTIONS if any(word in name for word in dangerous)]


@pytest.mark.parametrize("template", ["{:>9999999999}", "{0.__class__}", "{}{}", "no place", "{{}}", "{} {"])
def test_a_template_is_a_text_with_one_place_and_no_program(template):
    known = frozenset(("hypothesis_template",))
    assert options_of({"hypothesis_template": "It is\n{}."}, known, Settings())
    with pytest.raises(Refused, match="once"):
        options_of({"hypothesis_template": template}, known, Settings())


def test_a_task_that_nobody_describes_is_not_served():
    from modelscope_ext.errors import OptionError

    for task in ("skin-retouching", None):
        with pytest.raises(OptionError, match="cannot be served"):
            refuse_unserved(task)
