from modelscope_ext.metadata.files import nested_to_read, root_to_read, yaml_may_decide


def test_only_files_that_can_decide_are_read():
    names = {"tokenizer.json", "vocab.json", "trainer_state.json", "special_tokens_map.json", "all_results.json",
             "tokenizer_config.json", "generation_config.json", "model.safetensors.index.json", ".hidden.yaml",
             "run.yml"}  # fmt: skip
    assert root_to_read(names) == [
        "generation_config.json", "model.safetensors.index.json", "run.yml", "tokenizer_config.json",
    ]  # fmt: skip


def test_many_yaml_files_are_not_all_read_but_known_names_are():
    names = {f"a{n:03}.yaml" for n in range(100)} | {"hyperparams.yaml"}
    found = root_to_read(names)
    assert "hyperparams.yaml" in found
    assert len(found) < 30


def test_folders_below_are_read_to_the_second_depth():
    names = ["a/config.json", "a/b/config.json", "a/b/c/config.json", "a/vocab.json", "checkpoint-10/config.json"]
    assert nested_to_read(names, True) == ["a/config.json", "a/b/config.json"]
    assert nested_to_read(names, False) == ["a/config.json", "checkpoint-10/config.json", "a/b/config.json"]
    assert len(nested_to_read([f"d{n}/config.json" for n in range(500)], True)) == 100


def test_yaml_of_other_programs_is_not_parsed():
    assert yaml_may_decide("config.yaml", b"anything")
    assert yaml_may_decide("run_llama.yaml", b"seed: 0\ntrainer:\n  type: X\n")
    assert not yaml_may_decide("mkdocs.yml", b"site_name: x\n  model: y\n")
