import pytest

from modelscope_ext.errors import LimitExceeded, MalformedMetadata, PathEscapeRefused
from modelscope_ext.metadata.checks import check_document
from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits

BERT = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100}


def check(name, document, limits=DEFAULT_LIMITS):
    check_document(name, document, limits, source="./m")


@pytest.mark.parametrize("document", [[], "x", None, 5, 1.5, True])
@pytest.mark.parametrize("name", ["config.json", "configuration.json", "model_index.json", "adapter_config.json"])
def test_e08_the_top_level_is_an_object(name, document):
    with pytest.raises(MalformedMetadata, match=rf"{name}: expected an object at the top level, found") as error:
        check(name, document)
    assert (error.value.file, error.value.source) == (name, "./m")


def test_e09_modules_json_is_a_list_of_modules():
    for document, where in (
        ({}, "a list of modules"),
        ([5], r"\[0\]"),
        ([{"type": 5}], r"\[0\]\.type"),
        (["x"], "object"),
    ):
        with pytest.raises(MalformedMetadata, match=where):
            check("modules.json", document)
    check("modules.json", [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}])


E09 = [
    ("config.json", "model_type", {}, "a string"), ("config.json", "model_type", 5, "a string"),
    ("config.json", "architectures", {}, "a string or a list"),
    ("config.json", "architectures", [5], "a list of strings"),
    ("config.json", "auto_map", [], "an object"), ("config.json", "_class_name", {}, "a string or a list"),
    ("config.json", "quantization_config", "gptq", "an object"), ("config.json", "id2label", 5, "an object or a list"),
    ("adapter_config.json", "peft_type", {}, "a string"),
    ("adapter_config.json", "base_model_name_or_path", [], "a string"),
    ("model_index.json", "_class_name", 5, "a string or a list"),
    ("model.safetensors.index.json", "weight_map", [], "an object"),
    ("model.safetensors.index.json", "weight_map", {"a": 5}, "a file name"),
    ("configuration.json", "framework", {}, "a string or a list"),
    ("configuration.json", "tasks", 5, "a string or a list"),
    ("configuration.json", "allow_remote", "true", "true or false"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "key", "value", "expected"), E09)
def test_e09_a_deciding_key_of_the_wrong_type_names_the_expected_one(name, key, value, expected):
    with pytest.raises(MalformedMetadata, match=rf"{name}: {key}.*expected {expected}.*found") as error:
        check(name, {key: value})
    assert error.value.field.startswith(key)


def test_null_is_as_good_as_absent():
    for name, keys in {
        "config.json": ["model_type", "architectures", "auto_map", "vocab_size", "num_labels", "hidden_size"],
        "adapter_config.json": ["task_type", "auto_mapping", "base_model_name_or_path"],
        "configuration.json": ["framework", "task", "model", "plugins"],
        "pytorch_model.bin.index.json": ["weight_map", "metadata"],
    }.items():  # fmt: skip
        check(name, dict.fromkeys(keys))


def test_the_configuration_of_another_program_may_have_any_types():
    check("configuration.json", {"task": {"id": 5}, "servers": []})
    check("configuration.json", {"framework": {"name": "django"}, "servers": []})


WEIGHT_MAPS = ["../../outside/x.safetensors", "/abs/x.safetensors", "..\\x", "C:\\x", "\\\\h\\s"]


@pytest.mark.parametrize("shard", WEIGHT_MAPS)
def test_c01_c03_an_index_that_leads_out_is_refused(shard):
    with pytest.raises(PathEscapeRefused, match="weight_map"):
        check("model.safetensors.index.json", {"weight_map": {"a": "model.safetensors", "b": shard}})


@pytest.mark.parametrize("shard", ["a\0b", "a/./b", "x ", "CON", "e\u0301.safetensors", "n" * 4096])
def test_c03_an_index_of_unusable_names_is_malformed(shard):
    with pytest.raises(MalformedMetadata, match="weight_map"):
        check("unet/model.safetensors.index.json", {"weight_map": {"a": shard}})


E25 = [
    ("config.json", "num_hidden_layers", 10**8), ("config.json", "num_hidden_layers", 10**6),
    ("config.json", "n_layer", 10**5),
    ("config.json", "vocab_size", 2**40), ("config.json", "hidden_size", 2**20), ("config.json", "d_model", 2**20),
    ("config.json", "num_labels", 20_000_000), ("config.json", "num_train_timesteps", 10**9),
    ("unet/config.json", "block_out_channels", [320, 2**20]), ("2_Dense/config.json", "in_features", 10**10),
    ("adapter_config.json", "r", 2 * 10**8), ("config.json", "intermediate_size", 2**40),
]  # fmt: skip


@pytest.mark.parametrize(("name", "key", "value"), E25)
def test_e22_e25_declared_sizes_beyond_the_limits_are_refused(name, key, value):
    for document in ({**BERT, key: value}, {key: value}):
        with pytest.raises(LimitExceeded, match=rf"{key} declares .*Nothing was allocated.*limits=Limits\(") as error:
            check(name, document)
        assert (error.value.field, error.value.grant) == (key, "limits")


def test_sizes_of_nested_configurations_count():
    with pytest.raises(LimitExceeded, match=r"text_config\.num_hidden_layers"):
        check("config.json", {"model_type": "llava", "text_config": {"num_hidden_layers": 10**8}})


def test_e24_labels_are_limited_and_must_be_listed():
    labels = {str(n): f"L{n}" for n in range(300)}
    with pytest.raises(LimitExceeded, match="id2label declares 300"):
        check("config.json", {**BERT, "id2label": labels}, Limits(labels=200))
    check("config.json", {**BERT, "id2label": labels, "num_labels": 300}, Limits(unlisted_labels=10))
    with pytest.raises(LimitExceeded, match=r"num_labels declares 300.*unlisted_labels"):
        check("config.json", {**BERT, "num_labels": 300}, Limits(unlisted_labels=10))


@pytest.mark.parametrize("value", [-1, 1.5, "12", True, float("inf"), 0])
@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads"])
def test_e26_sizes_are_whole_numbers_above_zero(key, value):
    with pytest.raises(MalformedMetadata, match=rf"config\.json: {key}"):
        check("config.json", {**BERT, key: value})


def test_sizes_that_real_configurations_have_pass():
    check("config.json", {**BERT, "num_attention_heads": [1, 2, 5, 8], "intermediate_size": [128, 256]})
    check("config.json", {**BERT, "max_position_embeddings": -1, "n_ctx": 0, "num_labels": 0, "hidden_size": 32.0})
    check("config.json", {**BERT, "num_hidden_layers": {"vision": 5, "language": 9}})
    check("config.json", {"vocab_size": "None", "hidden_size": "768"})  # not transformers': nothing is known about it
    check("config.json", {"model_type": "x", "transf_decoder": {"config_dict": {"vocab_size": "None"}}})
    check("config.json", {"model_type": "x", "vision_config": {"num_layers": 0, "hidden_size": "big"}})
