from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import OptionError
from modelscope_ext.models.request import KEYWORDS, Request


def test_other_spellings_are_the_same_argument():
    request = Request.of({"model_revision": "v1", "torch_dtype": "bf16"})
    assert (request.get("revision"), request.get("dtype")) == ("v1", "bfloat16")
    assert Request.of({"model_revision": "v1", "revision": "v1"}).get("revision") == "v1"
    with pytest.raises(OptionError, match="model_revision='v1' and revision='v2' are the same argument: pass one"):
        Request.of({"model_revision": "v1", "revision": "v2"})
    with pytest.raises(OptionError, match="torch_dtype='float16' and dtype='float32' are the same argument"):
        Request.of({"torch_dtype": "float16", "dtype": "float32"})


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("gpu", "cuda"),
        ("gpu:1", "cuda:1"),
        ("CUDA", "cuda"),
        ("npu", "npu"),
        (0, "cuda:0"),
        (-1, "cpu"),
        ("cpu", "cpu"),
    ],
)
def test_devices(device, expected):
    assert Request.of({"device": device}).get("device") == expected


@pytest.mark.parametrize("spread", ["auto", "cpu", "cuda:1", {"": "cpu"}, 0])
def test_device_maps(spread):
    assert Request.of({"device_map": spread}).get("device_map") == spread


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"device": "cdua"}, r"device='cdua': expected one of cpu, cuda, gpu, .*Did you mean 'cuda'\?"),
        ({"device": "cuda:x"}, r"device='cuda:x': expected one of"),
        ({"device": "cpu", "device_map": "auto"}, "device='cpu' and device_map='auto' say the same: pass one"),
        ({"dtype": "flaot16"}, r"dtype='flaot16': .*Did you mean 'float16'\?"),
        ({"cfg_dict": "v1"}, r"cfg_dict: expected a Config, ConfigDict or dict, got str\. .*revision="),
        ({"cfg_dict": {}, "config_file": "x.json"}, "config_file and cfg_dict both replace configuration.json"),
        ({"device": "auto"}, r"device='auto': .*To spread it over what there is, pass device_map='auto'\."),
        ({"device": "meta"}, r"device='meta': expected one of cpu, cuda"),
        ({"device": ""}, r"device='': expected one of"),
        (
            {"device_map": "blanced"},
            r"device_map='blanced': expected one of auto, balanced, .*Did you mean 'balanced'\?",
        ),
        ({"device_map": 1.5}, r"device_map=1.5: expected auto, balanced, .*, a device, or a dict of module names"),
        ({"dtype": "int8"}, r"dtype='int8': expected one of auto, bfloat16"),
        ({"variant": 16}, r"variant=16: expected a str such as 'fp16', got int"),
        ({"subfolder": 3}, r"subfolder=3: expected a str such as 'unet', got int"),
        ({"backend": ["onnx"]}, r"backend=\['onnx'\]: expected a str such as 'transformers', got list"),
        ({"allow_missing_weights": 1}, "allow_missing_weights=1: expected exactly True or False"),
    ],
)
def test_what_nobody_knows_is_an_error(keywords, says):
    with pytest.raises(OptionError, match=says):
        Request.of(keywords)


@pytest.mark.parametrize("name", ["use_hf", "external_engine_for_llm", "llm_framework"])
def test_keywords_of_modelscope_are_accepted_with_a_warning(name):
    with pytest.warns(UserWarning, match=f"{name} is accepted for ModelScope's sake and ignored"):
        assert Request.of({name: True}).extra == {}
    assert Request.of({name: None}).extra == {}


def test_a_config_file_replaces_configuration(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text('{"task": "fill-mask"}')
    assert Request.of({"config_file": str(file)}).get("cfg_dict") == {"task": "fill-mask"}


def test_a_config_object_is_read_and_not_changed():
    from modelscope_ext.utils.config import Config

    document = {"task": "fill-mask", "model": {"a": [1]}}
    given = Request.of({"cfg_dict": Config(document)}).get("cfg_dict")
    given["model"]["a"].append(2)
    assert document == {"task": "fill-mask", "model": {"a": [1]}}


def test_the_rest_is_the_backends():
    request = Request.of({"task": "fill-mask", "attn_implementation": "eager", "nothing": None})
    assert request.extra == {"attn_implementation": "eager"}
    assert set(request.values) == {"task"}


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(KEYWORDS) | st.text(min_size=1, max_size=8),
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=5)
        | st.dictionaries(st.text(max_size=3), st.text()),
        max_size=4,
    )
)
def test_any_keywords_make_a_request_or_our_error(keywords):
    try:
        request = Request.of(keywords)
    except (OptionError, OSError) as error:
        assert str(error)
        return
    assert not {*request.values} & {*request.extra}


def test_a_verification_that_verifies_nothing_is_refused():
    for nothing in (True, False, "", {}):
        with pytest.raises(OptionError, match=r"^verify="):
            Request.of({"verify": nothing})
    assert Request.of({"verify": None}).grants.verify is None


@pytest.mark.parametrize("file", [False, 1, b"x.json", {"task": "fill-mask"}])
def test_a_configuration_file_is_a_path(file):
    with pytest.raises(OptionError, match=r"config_file=.*: expected the path of a \.json or \.yaml file"):
        Request.of({"config_file": file})
