"""`inspect --security`: every danger is named with what it would need, and nothing of the model is run."""

import json

import pytest

from modelscope_ext.models.security import security_report
from tests.models.test_sarif import checked
from tests.safety import build
from tests.safety.cases import ADAPTER, BERT, EVIL, EVIL_PICKLE, MODEL, SAFE, TENSORS, bert, evil_zip, linked, write


@pytest.fixture
def folder(tmp_path):
    """A folder with one of everything."""
    place = tmp_path / "m"
    place.mkdir()
    linked("vocab.txt", "OUT/config.json")(place)
    write(
        place,
        {
            "config.json": {**BERT, "model_type": "evil", "auto_map": {"AutoModel": "evil.M"}},
            "evil.py": EVIL,
            "pytorch_model.bin": evil_zip(),
            "other.bin": TENSORS,
            "training_args.bin": EVIL_PICKLE,
            "adapter_config.json": ADAPTER,
            "tokenizer_config.json": {"chat_template": "{{ messages }}"},
            "chat_template.jinja": "SYSTEM: obey {{ messages }}",
        },
    )
    (place / "inner.json").symlink_to("config.json")
    return place


def found_in(report):
    return {(finding.code, finding.file): finding for finding in report.findings}


def test_one_of_everything(folder):
    report = security_report(folder, backend="transformers")
    found = found_in(report)
    assert found["remote-code", "config.json"].grant == "trust_remote_code"
    assert found["redirect", "adapter_config.json"].grant == "allow_sources"
    calls = found["pickle-calls", "pytorch_model.bin"]
    assert "posix.system" in calls.message and calls.grant == "allow_pickle"
    assert found["pickle-tensors", "other.bin"].level == "info"
    assert found["pickle-unread", "training_args.bin"].level == "info"
    assert found["link", "inner.json"].message.endswith("a link to config.json.")
    assert found["link-escape", "vocab.txt"].level != "info"
    assert "sha256:" in found["chat-template", "chat_template.jinja"].message
    assert found["template-disagreement", "chat_template.jinja"].level == "warning"
    assert (report.code_files, len(report.code_sha256)) == (("evil.py",), 64)
    assert report.dangerous
    assert [finding.level for finding in report.findings] == sorted(
        (finding.level for finding in report.findings), key=("danger", "warning", "info").index
    )


def test_the_digest_it_shows_is_the_one_a_load_takes(folder):
    from modelscope_ext.errors import RemoteCodeRefused
    from modelscope_ext.models.loader import load

    digest = security_report(folder, backend="transformers").code_sha256
    with pytest.raises(RemoteCodeRefused, match=digest):
        load(folder, backend="transformers", trust_remote_code=True, code_sha256="0" * 64)


@pytest.mark.parametrize(
    ("files", "code", "grant"),
    [
        (bert(num_hidden_layers=10**8), "beyond-limits", "limits"),
        (bert(hidden_size=1024, codebook_size=2**33), "beyond-limits", None),
        ({**MODEL, "config.json": "{"}, "malformed", None),
        ({**MODEL, "model.safetensors": SAFE + b"x"}, "malformed", None),
        ({"config.json": BERT, "pytorch_model.bin": evil_zip()}, "pickle-refused", "allow_pickle"),
        ({**MODEL, "configuration.json": {"task": "fill-mask", "plugins": ["evil"]}}, "install", None),
    ],
    ids=["declared", "dimension", "json", "bytes", "pickle", "plugin"],
)
def test_what_a_load_would_refuse(tmp_path, files, code, grant):
    write(tmp_path, files)
    report = security_report(tmp_path)
    assert report.dangerous
    assert (report.findings[0].code, report.findings[0].grant) == (code, grant)


def test_a_library_with_a_known_hole(monkeypatch, tmp_path):
    from modelscope_ext.utils import distributions

    old = distributions.Distribution("torch", "2.5.1")
    monkeypatch.setattr(distributions, "installed", lambda name: old if name == "torch" else None)
    write(tmp_path, MODEL)
    report = security_report(tmp_path)
    assert [(f.code, f.field) for f in report.findings if f.level == "danger"] == [("vulnerable-library", "torch")]
    assert "CVE-2026-24747" in report.findings[0].message


def test_a_gguf_template_is_shown(tmp_path):
    pair = build.gguf_pair("tokenizer.chat_template", 8, build.gguf_text("{{ x }}"))
    write(tmp_path, {"m.gguf": build.gguf([build.gguf_pair("general.architecture", 8, build.gguf_text("llama")), pair],
                                          [])})  # fmt: skip
    assert ("chat-template", "(gguf)") in found_in(security_report(tmp_path))


def test_a_plain_model_is_fine(cli, make_model):
    done = cli("inspect", make_model(), "--security")
    assert (done.code, done.out.splitlines()[-1]) == (0, "nothing dangerous was found")


def test_the_command_says_no(cli, folder):
    done = cli("inspect", folder, "--security", "--backend", "transformers")
    assert done.code == 1
    for part in ("evil.py", "needs trust_remote_code", "posix.system", "dangerous"):
        assert part in done.out
    report = json.loads(cli("inspect", folder, "--security", "--backend", "transformers", "--json").out)
    assert report["dangerous"] and report["code_files"] == ["evil.py"]
    assert {"code", "level", "file", "field", "message", "grant"} == set(report["findings"][0])


def test_no_model_at_all_is_looked_at_too(cli, tmp_path):
    write(tmp_path, {"x.bin": EVIL_PICKLE})
    done = cli("inspect", tmp_path, "--security")
    assert "pickle-calls" in done.out


def test_sarif(cli, folder):
    done = cli("inspect", folder, "--security", "--backend", "transformers", "--format", "sarif")
    run = checked(json.loads(done.out))
    assert done.code == 1 and {"remote-code", "pickle-calls"} <= {result["ruleId"] for result in run["results"]}


def test_sarif_is_a_form_of_security(cli, folder):
    done = cli("inspect", folder, "--format", "sarif")
    assert done.code == 2 and "--security" in done.err and not done.out


def test_json_is_short_for_a_format(cli, make_model, tmp_path):
    model = make_model()
    assert cli("inspect", model, "--format", "json").out == cli("inspect", model, "--json").out
    for wanted in (["--json"], ["--format=json"], ["--format", "json"]):
        assert json.loads(cli("inspect", tmp_path / "nowhere", *wanted).out)["error"]["exit"] == 3
    assert cli("inspect", tmp_path / "nowhere", "--security", "--format", "sarif").out == ""
