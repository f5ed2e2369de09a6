"""`verify=`: models signed for real by the package that verifies them, and everything that can be wrong with one."""

import base64
import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelscope_ext import Model, data, pipeline
from modelscope_ext.errors import (
    HubError,
    MissingRequirement,
    ModelScopeExtError,
    OptionError,
    PathEscapeRefused,
    SafetyError,
    SignatureRefused,
)
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.models.gate.signature import check_signature
from modelscope_ext.safety.signer import Signer
from tests.signing import make_keys, sign

pytestmark = pytest.mark.light  # the environment `core` has the extra `signing`

FILES = Path(data.__path__[0]) / "digits"
PICTURE = str(Path(data.__path__[0]) / "digits_samples" / "3.png")


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def folder(tmp_path, keys):
    """The digits model, signed by the publisher."""
    place = tmp_path / "model"
    shutil.copytree(FILES, place)
    (place / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    sign(place, keys["publisher"][0])
    return place


@pytest.fixture
def key(keys):
    return keys["publisher"][1]


def refused(folder, key, kind=SignatureRefused, **keywords):
    """Return the error of a load that must fail before any library opens a file of the model."""
    with pytest.raises(kind) as caught:
        pipeline(model=folder, verify=key, backend="onnx", **keywords)
    assert len(str(caught.value)) <= 1000 and str(caught.value).isprintable()
    return caught.value


def resigned(folder, keys, change):
    """Sign again after `change` of the statement, as a publisher with another tool might."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    file = folder / "model.sig"
    bundle = json.loads(file.read_text())
    envelope = bundle["dsseEnvelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    change(statement)
    payload = json.dumps(statement).encode()
    private = serialization.load_pem_private_key(keys["publisher"][0].read_bytes(), None)
    kind = envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    envelope["payload"] = base64.b64encode(payload).decode()
    envelope["signatures"][0]["sig"] = base64.b64encode(private.sign(signed, ec.ECDSA(hashes.SHA256()))).decode()
    file.write_text(json.dumps(bundle))


def rooted(statement):
    """Make the digest over all digests of a statement right again."""
    import hashlib

    digests = b"".join(bytes.fromhex(one["digest"]) for one in statement["predicate"]["resources"])
    statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(digests).hexdigest()


# What is signed is loaded


@pytest.mark.parametrize("form", [str, Path, lambda key: {"public_key": str(key)}], ids=["str", "path", "dict"])
def test_a_signed_model_loads_and_answers(folder, key, form):
    with pipeline(model=folder, verify=form(key), backend="onnx") as pipe:
        assert pipe(PICTURE)[0]["label"] == "3"
    with Model.from_pretrained(folder, verify=form(key), backend="onnx") as model:
        assert model.backend == "onnxruntime"


@pytest.mark.parametrize("algorithm", ["sha256", "blake2", "blake3"])
@pytest.mark.parametrize("sharded", [False, True])
def test_every_form_of_the_standard(folder, key, keys, algorithm, sharded):
    from model_signing import hashing

    config = hashing.Config()
    if sharded:
        config.use_shard_serialization(hashing_algorithm=algorithm, shard_size=1000)
    else:
        config.use_file_serialization(hashing_algorithm=algorithm)
    sign(folder, keys["publisher"][0], hashed=config)
    pipeline(model=folder, verify=key, backend="onnx").close()
    weights = folder / "onnx" / "model.onnx"
    whole = weights.read_bytes()
    for changed in (whole[:-1] + bytes([whole[-1] ^ 1]), whole + b"\0", whole[:-1000]):
        weights.write_bytes(changed)
        assert refused(folder, key).file == "onnx/model.onnx"


def test_what_is_not_read_may_be_missing_or_changed(folder, key):
    (folder / "model.safetensors").unlink()  # of another backend
    (folder / "notes.txt").write_bytes(b"unsigned, and nobody reads it")
    pipeline(model=folder, verify=key, backend="onnx").close()


def test_a_signature_of_another_name_or_place(folder, key, keys, tmp_path):
    (folder / "model.sig").rename(folder / "release.sig")
    assert "release.sig" not in str(refused(folder, key))
    wanted = {"public_key": key, "signature": "release.sig"}
    pipeline(model=folder, verify=wanted, backend="onnx").close()
    (folder / "release.sig").rename(tmp_path / "elsewhere.sig")
    wanted["signature"] = str(tmp_path / "elsewhere.sig")
    pipeline(model=folder, verify=wanted, backend="onnx").close()


def test_by_relative_and_linked_paths(folder, key, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(key.parent)
    for name in (os.path.relpath(folder), tmp_path / "link"):
        pipeline(model=name, verify=key.name, backend="onnx").close()


def test_a_chain_of_certificates(folder, keys, tmp_path):
    root, mine = _certificates(tmp_path, keys["publisher"][0])
    from model_signing import hashing, signing

    config = hashing.Config().set_ignored_paths(paths=["model.sig"], ignore_git_paths=True)
    signer = signing.Config().use_certificate_signer(
        private_key=keys["publisher"][0], signing_certificate=mine, certificate_chain=[root]
    )
    signer.set_hashing_config(config).sign(folder, folder / "model.sig")
    pipeline(model=folder, verify=root, backend="onnx").close()
    other, _ = _certificates(tmp_path / "other", keys["other"][0])
    assert refused(folder, other).file == "model.sig"
    assert refused(folder, keys["publisher"][1]).file == "model.sig"  # another method than it was signed by
    (folder / "config.json").write_bytes((folder / "config.json").read_bytes() + b" ")
    assert refused(folder, root).file == "config.json"


def _certificates(place, private):
    """Return the files of a root certificate and of one that it vouches for."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    place.mkdir(exist_ok=True)
    key, root = serialization.load_pem_private_key(private.read_bytes(), None), ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)

    def made(name, public, ca):
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=9))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, content_commitment=False,
                    key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .sign(root, hashes.SHA256())
        )  # fmt: skip

    files = []
    for name, public, ca in (("root", root.public_key(), True), ("publisher", key.public_key(), False)):
        file = place / f"{name}.crt"
        file.write_bytes(made(name, public, ca).public_bytes(serialization.Encoding.PEM))
        files.append(file)
    return files


def test_code_that_reads_what_it_likes_finds_signed_files_only(folder, key, keys):
    """A class that loads by itself is no backend, of which it is known what it opens."""

    class Mine(Model):
        backend, task = "onnxruntime", "image-classification"

        @classmethod
        def load(cls, place, resolution):
            return (place / "notes.txt").read_text()

    (folder / ".gitattributes").write_text("left out when a model is signed")
    (folder / "notes.txt").write_text("signed")
    with pytest.raises(SignatureRefused) as caught:
        Mine.from_pretrained(folder, verify=key)
    assert caught.value.file == "notes.txt"
    sign(folder, keys["publisher"][0])
    assert Mine.from_pretrained(folder, verify=key).native == "signed"


# What is not signed is not


def test_an_unsigned_model(folder, key):
    (folder / "model.sig").unlink()
    error = refused(folder, key)
    assert (error.code, error.file, error.grant, error.source) == ("SG", "model.sig", "verify", str(folder))
    pipeline(model=folder, backend="onnx").close()  # and nothing is remembered


def test_another_signer(folder, keys):
    error = refused(folder, keys["other"][1])
    assert error.file == "model.sig" and str(keys["other"][1]) in str(error) and error.__cause__ is not None


@pytest.mark.parametrize("name", ["onnx/model.onnx", "config.json", "README.md", "preprocessor_config.json"])
def test_a_changed_file(folder, key, name):
    """The card and the configuration too: they are read before the signature is, and they decide."""
    file = folder / name
    text = file.read_bytes()
    file.write_bytes(text + b"\n" if name.endswith((".json", ".md")) else text[:-1] + bytes([text[-1] ^ 1]))
    error = refused(folder, key)
    assert error.file == name and name in str(error)


@pytest.mark.parametrize("name", ["tokenizer.json", "configuration.json", "model_index.json"])
def test_an_unsigned_file_that_would_be_read(folder, key, name):
    (folder / name).write_text("{}")
    error = refused(folder, key)
    assert error.file == name and "publisher" in str(error)


def test_a_library_sees_nothing_of_what_is_refused(folder, key, monkeypatch):
    from modelscope_ext.models.backends.onnx_ import Onnx

    monkeypatch.setattr(Onnx, "load", lambda *a, **k: pytest.fail("a refused model was loaded"))
    (folder / "model.sig").unlink()
    refused(folder, key)


def test_a_file_that_changes_while_it_is_loaded(folder, key, monkeypatch):
    from modelscope_ext.models.backends.onnx_ import Onnx

    real = Onnx.load

    def load(self, place, *args, **options):
        made = real(self, place, *args, **options)
        (folder / "README.md").write_text("---\ntags: [other]\n---\n")
        return made

    monkeypatch.setattr(Onnx, "load", load)
    with pytest.raises(SafetyError, match="was changed while"):
        pipeline(model=folder, verify=key, backend="onnx")


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[]", b"not json", b'{"a": 1, "a": 2}', b"[" * 100_000, b'{"verificationMaterial": {}}', b"\xff\xfe",
     b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": {"publicKey": 1}}'],
)  # fmt: skip
def test_what_is_no_signature(folder, key, text):
    (folder / "model.sig").write_bytes(text)
    assert refused(folder, key, kind=SafetyError).file == "model.sig"


@given(place=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_signature_is_refused_or_says_the_same(folder, key, place, byte, cut):
    file = folder / "model.sig"
    whole = file.read_bytes()
    at = place % len(whole)
    file.write_bytes(whole[:at] if cut else whole[:at] + bytes([byte]) + whole[at + 1 :])
    snapshot, names = Snapshot.from_folder(folder), ["config.json", "onnx/model.onnx"]
    try:
        check_signature(folder, names, Signer.of(key), snapshot)  # e.g. of a blank, or of base64's last bits
    except SafetyError as error:
        assert error.file == "model.sig"
    finally:
        file.write_bytes(whole)
    check_signature(folder, names, Signer.of(key), snapshot)


@pytest.mark.parametrize("target", ["secret.sig", "/dev/zero"])
def test_a_signature_that_leads_out_of_the_folder(folder, key, tmp_path, target):
    shutil.copy(folder / "model.sig", tmp_path / "secret.sig")
    (folder / "model.sig").unlink()
    (folder / "model.sig").symlink_to(tmp_path / target)
    refused(folder, key, kind=PathEscapeRefused)


def test_a_huge_signature(folder, key):
    with (folder / "model.sig").open("ab") as file:
        file.truncate(64 * 2**20)
    assert refused(folder, key, kind=SafetyError).code == "LM"


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/passwd", "a/../../b", "C:\\x"])
def test_a_signature_that_names_files_outside(folder, key, keys, name):
    def change(statement):
        resources = statement["predicate"]["resources"]
        resources.append({**resources[0], "name": name})
        rooted(statement)

    resigned(folder, keys, change)
    assert refused(folder, key, kind=PathEscapeRefused).file == "model.sig"


def test_a_statement_of_another_kind(folder, key, keys):
    def other(statement):
        statement["predicateType"] = "https://slsa.dev/provenance/v1"

    resigned(folder, keys, other)
    assert refused(folder, key).file == "model.sig"


def test_a_hash_nobody_knows_verifies_nothing(folder, key, keys):
    def md5(statement):
        for resource in statement["predicate"]["resources"]:
            resource["algorithm"] = "md5"

    resigned(folder, keys, md5)
    assert refused(folder, key).file


def test_shards_that_leave_bytes_out(folder, key, keys):
    from model_signing import hashing

    sign(folder, keys["publisher"][0], hashed=hashing.Config().use_shard_serialization(shard_size=1000))

    def hole(statement):
        resources = statement["predicate"]["resources"]
        resources[:] = [one for one in resources if not one["name"].startswith("onnx/model.onnx:1000:")]
        rooted(statement)

    resigned(folder, keys, hole)
    assert refused(folder, key).file == "onnx/model.onnx"


def test_no_temporary_file_is_left(folder, key, keys, tmp_path, monkeypatch):
    import tempfile

    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    pipeline(model=folder, verify=key, backend="onnx").close()
    refused(folder, keys["other"][1])
    assert not list((tmp_path / "tmp").iterdir())


# The package, the network, other sources


def test_without_the_package(folder, key, monkeypatch):
    from modelscope_ext.utils import requirement

    real = requirement._find
    monkeypatch.setattr(requirement, "_find", lambda name: None if "signing" in name else real(name))
    with pytest.raises(MissingRequirement, match=r'pip install "modelscope-ext\[signing\]"'):
        pipeline(model=folder, verify=key, backend="onnx")


IDENTITY = {"identity": "a@b.org", "oidc_issuer": "https://accounts.example.org"}


def test_an_identity_needs_a_trust_root(folder, tmp_path, monkeypatch):
    """Nothing is fetched unasked: this test can open no socket."""
    monkeypatch.setenv("MODELSCOPE_EXT_OFFLINE", "0")
    error = refused(folder, IDENTITY)
    assert error.grant == "allow_sources" and "https://tuf-repo-cdn.sigstore.dev" in str(error)
    offline = refused(folder, IDENTITY, allow_sources=["https://tuf-repo-cdn.sigstore.dev/"], local_files_only=True)
    assert offline.grant == "verify" and "network" in str(offline)
    trust = tmp_path / "trust.json"
    trust.write_text("{}")
    with pytest.raises(OptionError, match="cannot be used"):
        pipeline(model=folder, verify={**IDENTITY, "trust_config": trust}, backend="onnx")


def test_a_trust_root_that_cannot_be_fetched(folder, tmp_path, monkeypatch):
    """The network is permitted, and not there."""
    monkeypatch.setenv("MODELSCOPE_EXT_OFFLINE", "0")
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    allowed = ["https://tuf-repo-cdn.sigstore.dev"]
    with pytest.raises(HubError, match="trust root could not be fetched"):
        pipeline(model=folder, verify=IDENTITY, backend="onnx", allow_sources=allowed)


def test_an_identity(folder, key, keys, tmp_path):
    """Sigstore's verifier, offline, with an instance whose keys are made here."""
    from tests.signing_sigstore import Instance

    ours, other = Instance(), Instance()
    ours.sign(folder, keys["publisher"][0], IDENTITY["identity"], IDENTITY["oidc_issuer"])
    wanted = {**IDENTITY, "trust_config": ours.trust_config(tmp_path / "trust.json")}
    with pipeline(model=folder, verify=wanted, backend="onnx", local_files_only=True) as pipe:
        assert pipe(PICTURE)[0]["label"] == "3"
    for change in (
        {"identity": "evil@b.org"},
        {"oidc_issuer": "https://evil.example.org"},
        {"trust_config": other.trust_config(tmp_path / "other.json")},
    ):
        assert refused(folder, {**wanted, **change}).file == "model.sig"
    assert refused(folder, key).file == "model.sig"
    (folder / "config.json").write_bytes((folder / "config.json").read_bytes() + b" ")
    assert refused(folder, wanted).file == "config.json"


def test_a_key_that_cannot_verify(folder, tmp_path):
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    for key in (ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)):
        file = tmp_path / "strange.pem"
        file.write_bytes(key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo))
        with pytest.raises(OptionError, match=r"strange\.pem"):
            pipeline(model=folder, verify=file, backend="onnx")


@pytest.fixture
def hub(hub_server, monkeypatch, tmp_path, folder):
    """The signed model on a hub."""
    files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    for name, value in hub_server.environment("modelscope", "huggingface").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MODELSCOPE_EXT_OFFLINE", "0")
    for name in ("HF_HOME", "MODELSCOPE_CACHE", "MODELSCOPE_EXT_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    hub_server.add("org/digits", files)

    def add(repo, **changed):
        hub_server.add(repo, {**files, **changed})

    return add


@pytest.mark.parametrize("prefix", ["hf", "ms"])
def test_a_signed_model_on_a_hub(hub, key, keys, prefix):
    for _ in range(2):  # fetched, then from the cache
        with pipeline(model=f"{prefix}:org/digits", verify=key, backend="onnx") as pipe:
            assert pipe(PICTURE)[0]["label"] == "3"
            folder = pipe.model.resolution.source
    assert refused(f"{prefix}:org/digits", keys["other"][1]).source == str(folder)


@pytest.mark.parametrize("name", ["config.json", "README.md", "onnx/model.onnx", "tokenizer.json"])
def test_a_hub_that_serves_other_bytes(hub, folder, key, name):
    hub("org/evil", **{name: (FILES / "config.json").read_bytes() + b" " if "onnx" not in name else b"\x08\x08x"})
    assert refused("hf:org/evil", key).file == name


def test_a_cache_that_was_changed_behind_our_back(hub, key, tmp_path):
    pipeline(model="hf:org/digits", verify=key, backend="onnx").close()
    [file] = {path.resolve() for path in (tmp_path / "HF_HOME").rglob("model.onnx") if path.is_file()}
    text = file.read_bytes()
    os.chmod(file, 0o644)
    file.write_bytes(text[:-1] + bytes([text[-1] ^ 1]))
    with pytest.raises(ModelScopeExtError):
        pipeline(model="hf:org/digits", verify=key, backend="onnx", local_files_only=True)


def test_download_verifies(hub, key, keys, tmp_path, capsys):
    from modelscope_ext.cli import main

    target = ["download", "hf:org/digits", "--local-dir", str(tmp_path / "copy"), "--backend", "onnx"]
    assert main([*target, "--verify", str(key)]) == 0
    assert (tmp_path / "copy" / "model.sig").is_file()
    pipeline(model=tmp_path / "copy", verify=key, backend="onnx").close()  # a part of the model, and all of it signed
    assert main([*target, "--verify", json.dumps({"public_key": str(keys["other"][1])})]) == 5
    assert "[SG]" in capsys.readouterr().err


def test_run_verifies(folder, key, keys, capsys):
    from modelscope_ext.cli import main

    command = ["run", str(folder), PICTURE, "--backend", "onnx", "--json"]
    assert main([*command, "--verify", str(key)]) == 0
    assert json.loads(capsys.readouterr().out)[0]["label"] == "3"
    assert main([*command, "--verify", str(keys["other"][1])]) == 5
    assert main([*command, "--verify", "{"]) == 2


# What verify= takes


@pytest.mark.parametrize(
    "value",
    [True, False, "", 1, b"key.pem", {}, [], "nowhere.pem", {"key": "x"}, {"identity": "a"}, {"oidc_issuer": "a"},
     {"identity": "", "oidc_issuer": "b"}, {"identity": 1, "oidc_issuer": "b"}, {"public_key": None},
     {"certificate_chain": []}, {"public_key": "nowhere.pem"}, {**IDENTITY, "signature": "../x"},
     {**IDENTITY, "signature": ""}, {**IDENTITY, "signature": 3}, {**IDENTITY, "public_key": "x"},
     {**IDENTITY, "trust_config": "nowhere.json"}, {1: 2}],
    ids=repr,
)  # fmt: skip
def test_what_would_verify_nothing_is_an_error(value):
    with pytest.raises(OptionError, match="verify"):
        Signer.of(value)


def test_a_private_key_is_not_taken(keys, tmp_path):
    with pytest.raises(OptionError, match="private key"):
        Signer.of(keys["publisher"][0])
    (tmp_path / "notes.pem").write_text("hello")
    with pytest.raises(OptionError, match="PEM"):
        Signer.of(tmp_path / "notes.pem")


def test_a_verification_holds_for_other_sources_too(keys):
    from modelscope_ext.safety.grants import Grants

    grants = Grants.of(verify=keys["publisher"][1], allow_sources=["org/base"])
    assert grants.for_source("org/base").verify == grants.verify is not None


def test_a_loaded_model_cannot_be_verified_any_more(folder, key):
    with Model.from_pretrained(folder, backend="onnx") as model, pytest.raises(OptionError, match="verify"):
        pipeline(model=model, verify=key)


def test_the_page_about_it_is_true(folder, keys, tmp_path):
    import re
    import subprocess
    import sys

    root = Path(__file__).parents[3]
    folder.rename(tmp_path / "my-model")
    shutil.copy(keys["publisher"][1], tmp_path / "publisher.pem")
    [block] = re.findall(r"^```python\n(.*?)^```", (root / "docs" / "signing.md").read_text("utf-8"), re.M | re.S)
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout == "image-classification\n", done.stderr
