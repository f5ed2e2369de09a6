"""How the base of an adapter is opened, shown with adapters to the toy library."""

from __future__ import annotations

import json
import shutil

import pytest

from modelscope_ext.errors import (
    LimitExceeded,
    ModelNotFound,
    NotAModel,
    OptionError,
    RedirectRefused,
    RemoteCodeRefused,
    SignatureRefused,
)
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.models.backend import Backend, Loaded
from modelscope_ext.models.base import Model
from modelscope_ext.models.base_source import load_base
from modelscope_ext.models.builder import BACKENDS, MODELS
from modelscope_ext.models.loader import load
from modelscope_ext.models.resolution import BaseReference, Match, Reason, Strength
from modelscope_ext.safety.limits import Limits
from tests.signing import make_keys, sign
from tests.toy import NAME, Toy, Weights, make_folder

ADAPTER = "toy_adapter.json"


class ToyAdapter(Backend):
    """Multiplies what its base says; `base` in its file names the base."""

    name = "toy-adapter"
    frameworks = ("numpy",)
    tasks = Toy.tasks
    options = {"extra": "a keyword for the base"}

    def probe(self, evidence):
        if ADAPTER not in evidence.basenames:
            return None
        return Match(self.name, Strength.FORMAT, (Reason(ADAPTER, "", None, "an adapter"),), "numpy", self.tasks[:2])

    def base(self, evidence):
        if ADAPTER not in evidence.basenames:
            return None
        document = json.loads(BASES[str(evidence.source)])
        return BaseReference(ADAPTER, "base", document.get("base"))

    def files(self, resolution, snapshot):
        return (ADAPTER,)

    def load(self, folder, resolution, grants, **options):
        keywords = {"scale": options["extra"]} if options.get("extra") else {}
        base = load_base(self, folder, resolution, grants, options, task=options["task"], **keywords)
        factor = json.loads((folder / ADAPTER).read_text())["factor"]
        table = {word: [v * factor for v in row] for word, row in base.native.table.items()}
        return Loaded(Weights(base.native.labels, table), {"base": base})

    def predict(self, native, task, inputs, **options):
        return Toy().predict(native, task, inputs, **options)


#: What each adapter's file says: evidence holds no files that no table knows.
BASES: dict[str, str] = {}


@pytest.fixture(autouse=True)
def backends():
    BASES.clear()
    with BACKENDS.temporary(), MODELS.temporary():
        BACKENDS.register("toy", Toy)
        BACKENDS.register("toy-adapter", ToyAdapter)
        yield


def adapter(folder, base, factor=0.5):
    folder.mkdir()
    document = {"factor": factor, **({"base": str(base)} if base else {})}
    (folder / ADAPTER).write_text(json.dumps(document))
    BASES[str(folder)] = json.dumps(document)
    return folder


def score(model):
    return model.predict("text-classification", ["good"])[0]["score"]


def test_a_base_that_is_only_named_is_refused(tmp_path):
    base = make_folder(tmp_path / "base")
    with pytest.raises(RedirectRefused, match=r"toy_adapter\.json: base leads to another source") as caught:
        load(adapter(tmp_path / "adapter", base))
    assert (caught.value.file, caught.value.field, caught.value.grant) == (ADAPTER, "base", "allow_sources")


def test_a_base_is_opened_where_the_caller_names_it(tmp_path):
    base, here = make_folder(tmp_path / "base"), adapter(tmp_path / "adapter", "org/name")
    for given in (base, str(base), Snapshot.from_folder(base), Model.from_pretrained(base)):
        assert score(load(here, base_model=given)) == 0.45


def test_a_base_is_opened_where_the_caller_permits_it(tmp_path, monkeypatch):
    make_folder(tmp_path / "base")
    here = adapter(tmp_path / "adapter", "./base")
    monkeypatch.chdir(tmp_path)  # a relative base is one of the working directory, as in peft
    assert score(load(here, allow_sources=["./base"])) == 0.45
    assert score(load(here, allow_sources=[str(tmp_path / "base")])) == 0.45
    with pytest.raises(RedirectRefused):
        load(here, allow_sources=["./other"])
    monkeypatch.chdir(here)
    with pytest.raises(ModelNotFound, match=r"its base \(toy_adapter\.json: base: \./base\): There is no folder"):
        load(here, allow_sources=["./base"])


def test_a_hub_id_that_is_permitted_is_looked_for_on_the_hub(tmp_path):
    here = adapter(tmp_path / "adapter", "org/name")
    with pytest.raises(ModelNotFound, match=r"org/name@0a1b: not in the cache.*base_model=<folder>") as caught:
        load(here, allow_sources=["org/name@0a1b"])
    assert isinstance(caught.value.__cause__, ModelNotFound)


def test_options_hold_for_the_base_too(tmp_path):
    base, here = make_folder(tmp_path / "base"), adapter(tmp_path / "adapter", "x")
    seen = []

    class Spy(Toy):
        def load(self, folder, resolution, grants, **options):
            seen.append((grants, options))
            return super().load(folder, resolution, grants, **options)

    BACKENDS.register("toy", Spy, force=True)
    load(here, base_model=base, dtype="fp16", device="cpu", trust_remote_code=True, code_sha256="0" * 64, extra=2.0)
    [(grants, options)] = seen
    assert (options["dtype"], options["device"], options["task"]) == ("float16", "cpu", "text-classification")
    assert options["scale"] == 2.0
    assert (grants.trust_remote_code, grants.code_sha256, grants.redirects) == (False, None, 1)


def test_a_loaded_base_takes_no_options_of_a_load(tmp_path):
    base = Model.from_pretrained(make_folder(tmp_path / "base"))
    here = adapter(tmp_path / "adapter", "x")
    with pytest.raises(OptionError, match="loaded already: dtype"):
        load(here, base_model=base, dtype="fp16")
    native = load(here, base_model=base.native)
    assert score(native) == 0.45
    with pytest.raises(OptionError, match="belongs to no backend"):
        load(here, base_model=object())


def test_code_of_the_base_is_not_covered(tmp_path):
    base = make_folder(tmp_path / "base", config__json={"model_type": "evil", "auto_map": {"AutoModel": "evil.Evil"}})
    (base / "evil.py").write_text("raise SystemExit")
    here = adapter(tmp_path / "adapter", "x")
    with pytest.raises(RemoteCodeRefused, match=r"its base .*does not cover its base: load the base by itself"):
        load(here, base_model=base, trust_remote_code=True)


def test_what_is_wrong_with_the_base_is_said_of_the_base(tmp_path):
    here = adapter(tmp_path / "adapter", tmp_path / "nowhere")
    with pytest.raises(ModelNotFound, match=r"its base \(base_model=.*gone\): There is no folder"):
        load(here, base_model=tmp_path / "gone")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(NotAModel, match=r"adapter: its base \(base_model="):
        load(here, base_model=empty)


def test_a_model_of_its_own_takes_no_base_and_an_adapter_needs_one(tmp_path):
    base = make_folder(tmp_path / "base")
    with pytest.raises(OptionError, match="is no adapter to toy, so it takes no base"):
        load(base, base_model=base)
    with pytest.raises(OptionError, match=r"toy_adapter\.json: base names no base.*base_model=<"):
        load(adapter(tmp_path / "adapter", None))


def test_adapters_to_adapters_end_at_the_limit(tmp_path):
    before = make_folder(tmp_path / "0")
    for number in range(1, 6):
        before = adapter(tmp_path / str(number), before)
    every = [str(tmp_path / str(n)) for n in range(5)]
    assert score(load(tmp_path / "3", allow_sources=every)) == pytest.approx(0.9 / 8)
    with pytest.raises(RedirectRefused):  # each step has to be permitted
        load(tmp_path / "3", allow_sources=every[1:])
    with pytest.raises(LimitExceeded, match=r"the limit is 3.*redirect_depth=4"):
        load(tmp_path / "4", allow_sources=every)
    assert score(load(tmp_path / "5", allow_sources=every, limits=Limits(redirect_depth=5))) == pytest.approx(0.9 / 32)
    shutil.rmtree(tmp_path / "1")
    (adapter(tmp_path / "1", tmp_path / "2") / NAME).unlink(missing_ok=True)
    with pytest.raises(LimitExceeded):  # a circle
        load(tmp_path / "2", allow_sources=every)


@pytest.mark.light
def test_a_base_has_to_be_signed_as_the_adapter_is(tmp_path):
    base, here = make_folder(tmp_path / "base"), adapter(tmp_path / "adapter", tmp_path / "base")
    (private, key), (others, _) = make_keys(tmp_path).values()
    sign(here, private)
    for given in ({"base_model": base}, {"allow_sources": [str(base)]}):
        with pytest.raises(SignatureRefused, match=r"its base .*model\.sig.*with its own verify=") as caught:
            load(here, verify=key, **given)
        assert (caught.value.source, caught.value.grant) == (str(base), "verify")
        sign(base, others)
    sign(base, private)
    assert score(load(here, verify=key, base_model=base)) == 0.45
    assert score(load(here, verify=key, base_model=load(base))) == 0.45
