from modelscope_ext.metadata.evidence import collect
from modelscope_ext.metadata.snapshot import Snapshot


def found(texts, sizes=None):
    return {finding.code: finding for finding in collect(Snapshot.from_mapping(texts, sizes or {})).findings}


def test_a36_code_in_the_folder_is_listed():
    finding = found({"config.json": "{}"}, {"evil.py": 1, "build.sh": 1, "setup.py": 9, "\x41.txt": 1})["code-files"]
    assert (finding.level, finding.file) == ("info", "build.sh")
    assert "3 code files" in finding.message and "evil.py" in finding.message and "not run" in finding.message


def test_a03_a_grant_in_a_file_is_reported_and_named():
    texts = {
        "config.json": '{"model_type": "x", "text_config": {"trust_remote_code": true},'
        ' "l": [{"trust_remote_code": 1}]}',
        "sentence_bert_config.json": '{"model_args": {"trust_remote_code": true}}',
        "generation_config.json": '{"trust_remote_code": false}',
        "tokenizer_config.json": '{"note": "trust_remote_code"}',
    }
    evidence = collect(Snapshot.from_mapping(texts))
    places = {(f.file, f.field) for f in evidence.findings if f.code == "grant-in-file"}
    assert places == {
        ("config.json", "text_config.trust_remote_code"),
        ("config.json", "l[0].trust_remote_code"),
        ("sentence_bert_config.json", "model_args.trust_remote_code"),
    }


def test_weights_that_are_pointers_are_named():
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 5\n"
    finding = found({"config.json": "{}", "model.safetensors": pointer, "pytorch_model.bin": pointer})["lfs-weights"]
    assert "git lfs pull" in finding.message and "pytorch_model.bin" in finding.message
    assert "lfs-weights" not in found({"config.json": "{}"}, {"model.safetensors": 130})


def test_a_plain_folder_has_nothing_to_remark():
    assert found({"config.json": '{"model_type": "bert"}'}, {"model.safetensors": 10**6}) == {}
