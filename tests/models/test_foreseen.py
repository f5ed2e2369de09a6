"""`resolve().findings` says what a load will be refused for, without a further read, and what would permit it."""

import pytest

from modelscope_ext import Snapshot, errors, resolve
from modelscope_ext.models.gate.findings import finding_of
from modelscope_ext.models.security import security_report
from tests.safety.cases import CASES
from tests.safety.invented import INVENTED

KINDS = {kind.code: kind for name in errors.__all__ if hasattr(kind := getattr(errors, name), "code")}
#: Only a load reads the file, or looks that deep.
LATER = ("A28-types", "A28-words", "A28-code", "C01+unet", "D01+audio-file", "D01+kernel-inside")
METADATA = [
    case for case in (*CASES, *INVENTED) if case.stage == "metadata" and case.code in KINDS and not case.keywords
]


@pytest.mark.parametrize("case", METADATA, ids=lambda case: case.id)
def test_it_is_foreseen(case, tmp_path):
    folder = case.write(tmp_path / "model")
    code = finding_of(KINDS[case.code]("x")).code
    found = [
        (finding.code, finding.file) for finding in resolve(folder).findings if case.field in (None, finding.field)
    ]
    assert ((code, case.file) in found) == (case.id not in LATER), found


def test_what_a_grant_permits_is_information_and_names_it():
    adapter = {"adapter_config.json": '{"peft_type": "LORA", "base_model_name_or_path": "org/base"}'}
    [finding] = resolve(Snapshot.from_mapping(adapter), installed=False).findings
    assert (finding.code, finding.level, finding.grant) == ("redirect", "info", "allow_sources")
    plugins = {"configuration.json": '{"task": "fill-mask", "framework": "pytorch", "plugins": ["evil"]}'}
    model = Snapshot.from_mapping({**plugins, "config.json": '{"model_type": "bert"}'})
    [finding] = [one for one in resolve(model, installed=False).findings if one.code == "install"]
    assert (finding.level, finding.grant) == ("danger", None)


def test_a_plain_model_is_not_looked_at_closer(monkeypatch):
    from modelscope_ext.models.gate import findings

    def never(*_):
        raise AssertionError

    monkeypatch.setattr(findings, "foreseen", never)
    config = {"config.json": '{"model_type": "bert", "architectures": ["BertModel"]}', "tokenizer_config.json": "{}"}
    assert not resolve(Snapshot.from_mapping(config, {"model.safetensors": 8}), installed=False).findings


def test_the_security_report_says_it_once():
    texts = {"config.json": '{"model_type": "evil", "auto_map": {"AutoModel": "evil.M"}}', "evil.py": ""}
    found = [f for f in security_report(Snapshot.from_mapping(texts)).findings if f.code == "remote-code"]
    assert [(f.level, f.field) for f in found] == [("danger", "auto_map.AutoModel")]
