"""Findings as SARIF: valid by the standard's schema, with what code scanning asks for beyond it."""

import ast
import json
import re
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

import modelscope_ext
from modelscope_ext.metadata.snapshot import Source
from modelscope_ext.models.sarif import sarif_log
from modelscope_ext.models.sarif_rules import RULES
from modelscope_ext.models.security import security_report
from modelscope_ext.safety.finding import Finding
from tests.safety.cases import BERT, EVIL, write

SCHEMA = json.loads(Path(__file__).with_name("sarif-2.1.0.schema.json").read_text("utf-8"))
DANGER = Finding("remote-code", "danger", "config.json", "auto_map.AutoModel", "Refused.", "trust_remote_code")
HERE = Source("local", path="models/x")


def checked(log):
    """Return the only run of a log that is valid and has what GitHub's code scanning asks for."""
    from jsonschema import Draft4Validator

    log = json.loads(json.dumps(log, allow_nan=False))
    Draft4Validator(SCHEMA).validate(log)
    [run] = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    assert urlsplit(run["originalUriBaseIds"]["%SRCROOT%"]["uri"]).scheme and run["automationDetails"]["id"]
    marks = set()
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] and result["message"]["text"]
        [location] = result["locations"]
        place = location["physicalLocation"]
        uri = place["artifactLocation"]["uri"]
        assert uri and not urlsplit(uri).scheme and not uri.startswith("/") and uri.isascii()
        assert place["region"]["startLine"] >= 1
        marks.add(result["partialFingerprints"]["primaryLocationLineHash"])
    assert len(marks) == len(run["results"])
    return run


def only(run):
    [result] = run["results"]
    return result, result["locations"][0]["physicalLocation"]


def test_the_schema_refuses_what_is_no_sarif():
    from jsonschema import Draft4Validator

    log = sarif_log([(HERE, [DANGER])], name="x")
    del log["runs"][0]["results"][0]["message"]
    assert not Draft4Validator(SCHEMA).is_valid(log)
    assert not Draft4Validator(SCHEMA).is_valid({**log, "version": "2.0.0"})


def test_a_hostile_folder(tmp_path, monkeypatch):
    folder = tmp_path / "models" / "a b%2f#?ü"
    write(folder, {
        "config.json": json.dumps({**BERT, "model_type": "evil", "auto_map": {"AutoModel": "evil.M"}}, indent=2),
        "evil.py": EVIL, "tokenizer_config.json": {"chat_template": "{{ messages }}"}, "rng_state.pth": b"",
    })  # fmt: skip
    monkeypatch.chdir(tmp_path)
    report = security_report(folder)
    run = checked(sarif_log([(report.origin, report.findings)], name=report.source))
    assert len(run["results"]) == len(report.findings) > 3
    result = next(r for r in run["results"] if r["ruleId"] == "remote-code")
    assert (result["level"], result["properties"]["grant"]) == ("error", "trust_remote_code")
    place = result["locations"][0]["physicalLocation"]
    root = run["originalUriBaseIds"]["%SRCROOT%"]["uri"]
    full = Path(unquote(urlsplit(urljoin(root, place["artifactLocation"]["uri"])).path))
    assert full == folder / "config.json"
    assert '"AutoModel": "evil.M"' in full.read_text("utf-8").splitlines()[place["region"]["startLine"] - 1]
    rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]
    assert rule["defaultConfiguration"]["level"] == "error" and "security" in rule["properties"]["tags"]
    levels = {r["ruleId"]: r["level"] for r in run["results"]}
    assert levels["chat-template"] == levels["pickle-unread"] == "note"


@pytest.mark.parametrize("inside", [True, False])
def test_paths_start_where_a_checkout_does(tmp_path, monkeypatch, inside):
    folder = tmp_path / "models" / "x"
    write(folder, {"config.json": BERT})
    monkeypatch.chdir(tmp_path if inside else folder.parent.parent.parent)
    if not inside:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
    run = checked(sarif_log([(Source("local", path=str(folder)), [DANGER])], name="x"))
    _, place = only(run)
    assert place["artifactLocation"]["uri"] == ("models/x/config.json" if inside else "config.json")
    assert run["originalUriBaseIds"]["%SRCROOT%"]["uri"] == (tmp_path if inside else folder).as_uri() + "/"


@pytest.mark.parametrize(
    ("file", "uri"),
    [(None, "models/x/"), ("(gguf)", "models/x/"), ("a:b/c.json", "models/x/a%3Ab/c.json"), ("\udcff", None)],
)
def test_every_finding_has_a_place(file, uri):
    _, place = only(checked(sarif_log([(HERE, [Finding("odd-name", "warning", file, None, "m")])], name="x")))
    assert uri is None or place["artifactLocation"]["uri"] == uri


def test_a_model_in_the_working_directory_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    libraries = Finding("vulnerable-library", "danger", None, "torch", "torch 2.5 has a hole")
    _, place = only(checked(sarif_log([(Source("local", path="."), [libraries])], name=".")))
    assert place["artifactLocation"]["uri"] == "./"


def test_a_fingerprint_stays_while_the_message_changes():
    def marks(*findings):
        run = checked(sarif_log([(HERE, findings)], name="x"))
        return [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]

    [first] = marks(DANGER)
    other = Finding("remote-code", "danger", "config.json", "auto_map.AutoModel", "Refused; sha256:1f", None)
    assert marks(other) == [first]
    assert marks(DANGER, other)[0] == first  # and `checked` wants the second to differ
    assert marks(Finding("remote-code", "danger", "config.json", "auto_map", "Refused.")) != [first]


def test_a_key_that_cannot_be_found_is_on_the_first_line(tmp_path):
    write(tmp_path, {"config.json": '{\n"a.b": 1,\n"c": [\n{"d": 2}]}'})
    source = Source("local", path=str(tmp_path))
    for field, line in (("c", 3), ("c[0].d", 4), ("nothing", 1), ("c.a", 1), ("..", 1)):
        _, place = only(checked(sarif_log([(source, [Finding("malformed", "danger", "config.json", field, "m")])],
                                          name="x")))  # fmt: skip
        assert place["region"]["startLine"] == line, field


def test_a_code_of_a_plug_in_has_a_rule_too():
    run = checked(sarif_log([(HERE, [Finding("my-own", "odd", None, None, "m")])], name="x"))
    assert run["tool"]["driver"]["rules"][0]["shortDescription"] == {"text": "My own."}
    assert run["results"][0]["level"] == "warning"


def test_nothing_found_is_a_log_as_well():
    assert checked(sarif_log([], name="nothing"))["results"] == []


def test_a_model_on_a_hub_is_at_its_commit(hub_server, monkeypatch, tmp_path):
    config = {**BERT, "model_type": "evil", "auto_map": {"AutoModel": "evil.M"}}
    hub_server.add("org/m", {"config.json": json.dumps(config), "evil.py": EVIL})
    for name, value in hub_server.environment("modelscope", "huggingface").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MODELSCOPE_EXT_CACHE", str(tmp_path))
    report = security_report("hf:org/m", cache_dir=tmp_path)
    run = checked(sarif_log([(report.origin, report.findings)], name=report.source))
    commit = report.origin.commit
    [provenance] = run["versionControlProvenance"]
    assert re.fullmatch("[0-9a-f]{40}", commit) and provenance["revisionId"] == commit
    result = next(r for r in run["results"] if r["ruleId"] == "remote-code")
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    full = urljoin(run["originalUriBaseIds"]["%SRCROOT%"]["uri"], uri)
    assert full.endswith(f"/org/m/resolve/{commit}/config.json") and provenance["repositoryUri"].endswith("/org/m")


def test_every_code_of_the_package_has_a_row():
    made = set()
    for path in Path(modelscope_ext.__file__).parent.rglob("*.py"):
        text = path.read_text("utf-8")
        for node in ast.walk(ast.parse(text)) if "Finding" in text or "note(" in text else ():
            name = getattr(getattr(node, "func", None), "id", getattr(getattr(node, "func", None), "attr", ""))
            if name in ("Finding", "note", "_note") and len(node.args) > 3 and isinstance(node.args[0], ast.Constant):
                made.add(node.args[0].value)
    from modelscope_ext.models.gate.findings import _CODES

    made |= {*_CODES.values(), "refused"}
    assert len(made) > 40 and made <= set(RULES), made - set(RULES)
