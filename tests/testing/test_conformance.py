"""The toy backend passes every check; for each check a backend that is broken in one way fails it, and says how."""

from __future__ import annotations

import json
import os
import pickle
import random
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from modelscope_ext.errors import ModelScopeExtError
from modelscope_ext.models.backend import Backend, Loaded
from modelscope_ext.models.resolution import Match, Reason, Strength
from modelscope_ext.testing.conformance import BackendConformance
from modelscope_ext.testing.nested import ENTRIES, spying
from tests.toy import NAME, Toy, Weights, make_folder
from tests.toy_library import Reader, read


class ToyChecks:
    """What every conformance class of the toy backend says."""

    task = "text-classification"
    inputs = ("good", "bad", "fine")
    call_values = {"top_k": 2}
    load_values = {"scale": 0.5}
    libraries = ("fractions",)
    nested = {
        "tests.toy_library:Reader.from_pretrained": {"trust_remote_code": (False,), "local_files_only": (True,)},
        "tests.toy_library:read": {"weights_only": (True,)},
    }

    def make_folder(self, tmp_path):
        return make_folder(tmp_path / "toy")

    def near_misses(self, tmp_path):
        folder = tmp_path / "near"
        folder.mkdir()
        (folder / "toys.json").write_text("{}")
        yield folder


class TestToy(ToyChecks, BackendConformance):
    backend = Toy


# One broken backend for each check; several where a check holds to more than one thing.


class Nameless(Toy):
    name = ""


class OtherTasks(Toy):
    tasks = ("text-generation",)


class NoCommand(Toy):
    requires = ("pip>=1",)


class BadRequirement(Toy):
    requires = ("pip >> 1",)


class SilentOption(Toy):
    options = {"scale": ""}


class ClaimsNothing(Toy):
    def probe(self, evidence):
        return None


class ClaimsForAnother(Toy):
    def probe(self, evidence):
        reason = Reason(NAME, "", None, "")
        return Match("another", Strength.FORMAT, (reason,), "numpy", ("text-classification",))


class ClaimsWithoutReason(Toy):
    def probe(self, evidence):
        return Match("toy", Strength.FORMAT, (), "numpy")


class ClaimsForeignFramework(Toy):
    def probe(self, evidence):
        return Match("toy", Strength.FORMAT, (Reason(NAME, "", None, ""),), "jax")


class ProbeReads(Toy):
    folder: Path

    def probe(self, evidence):
        Path(str(evidence.source.path), NAME).read_text()
        return super().probe(evidence)


class ProbeImports(Toy):
    def probe(self, evidence):
        import fractions  # noqa: F401

        return super().probe(evidence)


class ProbeForgets(Toy):
    calls = 0

    def probe(self, evidence):
        type(self).calls += 1
        found = super().probe(evidence)
        return found if self.calls % 2 else None


class ClaimsAll(Toy):
    def probe(self, evidence):
        reason = Reason("(table)", "", None, "why not")
        return Match("toy", Strength.POSSIBLE, (reason,), "numpy", ("text-classification",))


class PlansNothing(Toy):
    def files(self, resolution, snapshot):
        return ()


class PlansAll(Toy):
    def files(self, resolution, snapshot):
        return snapshot.names


class PlansTwice(Toy):
    def files(self, resolution, snapshot):
        return (NAME, NAME)


class PlansGhosts(Toy):
    def files(self, resolution, snapshot):
        return (NAME, "ghost.json")


class ReadsMore(Toy):
    def load(self, folder, resolution, grants, **options):
        for path in sorted(folder.iterdir()):
            if path.suffix == ".py":
                path.read_bytes()
        return super().load(folder, resolution, grants, **options)


class WrongSchema(Toy):
    def predict(self, native, task, inputs, **options):
        return [{"label": one["label"]} for one in super().predict(native, task, inputs)]


class AlwaysTheSame(Toy):
    def predict(self, native, task, inputs, **options):
        return [{"label": "POSITIVE", "score": 0.5} for _ in inputs]


class Sorts(Toy):
    def predict(self, native, task, inputs, **options):
        return super().predict(native, task, sorted(inputs), **options)


class MixesTheBatch(Toy):
    def predict(self, native, task, inputs, **options):
        outputs = super().predict(native, task, inputs, **options)
        return [{**one, "score": one["score"] / len(inputs)} for one in outputs]


class Stingy(Toy):
    def predict(self, native, task, inputs, **options):
        if len(inputs) == 1:
            return super().predict(native, task, inputs, **options)[0]
        return super().predict(native, task, inputs, **options)


class NotRaw(Toy):
    def predict(self, native, task, inputs, **options):
        return super().predict(native, task, inputs, **{**options, "raw": False})


class RawLosesOne(Toy):
    def predict(self, native, task, inputs, **options):
        outputs = super().predict(native, task, inputs, **options)
        return outputs[1:] if options.get("raw") else outputs


class DeclaresWhatItCannot(Toy):
    def load(self, folder, resolution, grants, **options):
        if options.get("scale") is not None:
            raise TypeError("scale")
        return super().load(folder, resolution, grants, **options)


class CallsWhatItCannot(Toy):
    def predict(self, native, task, inputs, **options):
        if "top_k" in options:
            raise KeyError("top_k")
        return super().predict(native, task, inputs, **options)


class TakesKeywords(Toy):
    options = {"device": "ours already", "scale": "a factor"}


class SavesHalf(Toy):
    def save(self, native, folder):
        table = {word: row[::-1] for word, row in native.native.table.items()}
        (folder / NAME).write_text(json.dumps({"labels": native.native.labels, "weights": table}))


class SavesNothing(Toy):
    def save(self, native, folder):
        pass


class LetsDamageThrough(Toy):
    def load(self, folder, resolution, grants, **options):
        try:
            return super().load(folder, resolution, grants, **options)
        except ValueError:
            return Loaded(Weights(["NEGATIVE", "POSITIVE"], {}))


class Hoards(Toy):
    kept = []

    def load(self, folder, resolution, grants, **options):
        loaded = super().load(folder, resolution, grants, **options)
        self.kept.append(loaded.native)
        return loaded


class Phones(Toy):
    def load(self, folder, resolution, grants, **options):
        with suppress(OSError):
            socket.getaddrinfo("localhost", 80)
        return super().load(folder, resolution, grants, **options)


class RunsCode(Toy):
    def load(self, folder, resolution, grants, **options):
        path = folder / "evil.py"
        if path.exists():
            exec(compile(path.read_text(), str(path), "exec"), {"__file__": str(path)})
        return super().load(folder, resolution, grants, **options)


class StartsPrograms(Toy):
    def load(self, folder, resolution, grants, **options):
        subprocess.run([sys.executable, "-c", ""], check=True)
        return super().load(folder, resolution, grants, **options)


class LeavesPath(Toy):
    def load(self, folder, resolution, grants, **options):
        sys.path.append(str(folder))
        return super().load(folder, resolution, grants, **options)


class Seeds(Toy):
    def predict(self, native, task, inputs, **options):
        random.random()
        return super().predict(native, task, inputs, **options)


class SetsEnvironment(Toy):
    def load(self, folder, resolution, grants, **options):
        os.environ["TOY"] = str(random.Random(os.urandom(8)).random())
        return super().load(folder, resolution, grants, **options)


class LeavesFiles(Toy):
    def load(self, folder, resolution, grants, **options):
        (folder / "x.lock").write_text("")
        return super().load(folder, resolution, grants, **options)


SAFE = {"trust_remote_code": False, "local_files_only": True}


class SaysAll(Toy):
    def load(self, folder, resolution, grants, **options):
        Reader.from_pretrained(folder, **SAFE)
        read(folder / NAME, weights_only=True)
        return super().load(folder, resolution, grants, **options)


class SaysNothing(Toy):
    def load(self, folder, resolution, grants, **options):
        Reader.from_pretrained(folder)
        return super().load(folder, resolution, grants, **options)


class SaysNothingToAFunction(Toy):
    def load(self, folder, resolution, grants, **options):
        read(folder / NAME)  # by the name under which it was imported
        return super().load(folder, resolution, grants, **options)


class Trusts(Toy):
    def load(self, folder, resolution, grants, **options):
        Reader.from_pretrained(folder, **{**SAFE, "trust_remote_code": True})
        return super().load(folder, resolution, grants, **options)


class PredictsOnline(Toy):
    def predict(self, native, task, inputs, **options):
        Reader.from_pretrained(".", **{**SAFE, "local_files_only": False})
        return super().predict(native, task, inputs, **options)


class LoadsByName(Toy):
    def load(self, folder, resolution, grants, **options):
        Reader.from_pretrained("org/base", **SAFE)
        return super().load(folder, resolution, grants, **options)


class LoadsBeside(Toy):
    def load(self, folder, resolution, grants, **options):
        Reader.from_pretrained(place=folder.parent, **SAFE)
        return super().load(folder, resolution, grants, **options)


class LoadsInThePlan(Toy):
    def files(self, resolution, snapshot):
        Reader.from_pretrained(snapshot.folder, **SAFE)
        return super().files(resolution, snapshot)


class ReadsInThePlan(Toy):
    def files(self, resolution, snapshot):
        Path(snapshot.folder, NAME).read_bytes()
        return super().files(resolution, snapshot)


class Unpickles(Toy):
    def load(self, folder, resolution, grants, **options):
        pickle.loads(pickle.dumps(1))
        return super().load(folder, resolution, grants, **options)


BROKEN = [
    ("test_it_introduces_itself", Nameless, "name: set the library's name"),
    ("test_it_introduces_itself", OtherTasks, "'text-classification' is tested but not listed"),
    ("test_it_introduces_itself", NoCommand, "install: give the command"),
    ("test_it_introduces_itself", BadRequirement, "'pip >> 1' is no PEP 508 string"),
    ("test_it_introduces_itself", SilentOption, "'scale' needs a line of help"),
    ("test_probe_claims_its_own_folder", ClaimsNothing, "expected a Match for its own folder, got None"),
    ("test_probe_claims_its_own_folder", ClaimsForAnother, "Match.backend is 'another'"),
    ("test_probe_claims_its_own_folder", ClaimsWithoutReason, "at least one Reason"),
    ("test_probe_claims_its_own_folder", ClaimsForeignFramework, "framework 'jax' is not in"),
    ("test_probe_is_pure", ProbeReads, r"probe: it opened \['toy/toy.json'\]"),
    ("test_probe_is_pure", ProbeImports, r"probe: it imported \['fractions'\]"),
    ("test_probe_is_pure", ProbeForgets, "two calls gave different answers"),
    ("test_probe_makes_no_claim_to_others", ClaimsAll, "it claims empty, which is not its own"),
    ("test_files_are_the_plan", PlansNothing, "from a folder that holds the planned files only raised"),
    ("test_files_are_the_plan", PlansAll, r"files: \['__init__.py'.* are no files of a model"),
    ("test_files_are_the_plan", PlansTwice, "names given twice"),
    ("test_files_are_the_plan", PlansGhosts, r"\['ghost.json'\] do not exist"),
    (
        "test_files_are_the_plan",
        ReadsMore,
        r"the load opened \['__init__.py', 'conftest.py', .*\], which are not planned",
    ),
    ("test_outputs_follow_the_schema", WrongSchema, r"missing \['score'\]"),
    ("test_outputs_follow_the_schema", AlwaysTheSame, "give inputs whose outputs differ"),
    ("test_outputs_follow_the_schema", Sorts, "the same inputs in reverse order gives other outputs"),
    (
        "test_a_batch_equals_its_items",
        MixesTheBatch,
        r"a batch against its items one by one gives other outputs: .*score",
    ),
    (
        "test_a_pipeline_answers_as_it_is_asked",
        Stingy,
        "pipeline: a single input raised ModelScopeExtError: .*2 outputs for 1 inputs",
    ),
    ("test_raw_gives_the_librarys_own", NotRaw, "raw: the outputs are the schema's"),
    ("test_raw_gives_the_librarys_own", RawLosesOne, "2 outputs for 3 inputs"),
    ("test_options_are_honest", DeclaresWhatItCannot, r"with the option scale=0.5 raised .*scale"),
    ("test_options_are_honest", CallsWhatItCannot, r"call_options: top_k=2 raised .*KeyError"),
    ("test_options_are_honest", TakesKeywords, r"options: \['device'\] are keywords of every load"),
    ("test_what_is_saved_loads_again", SavesHalf, "save: the saved model gives other outputs"),
    ("test_what_is_saved_loads_again", SavesNothing, "save: loading what was saved raised"),
    (
        "test_damage_is_found",
        LetsDamageThrough,
        "damage: with toy.json emptied, the load went through, and a call gives",
    ),
    ("test_closing_releases_the_model", Hoards, r"close: the Weights is still held by .*list"),
    ("test_no_network_is_used", Phones, r"network: the load used \[\"getaddrinfo"),
    ("test_nothing_in_the_folder_is_run", RunsCode, r"code: the load ran \['evil.py'\] of the folder"),
    ("test_nothing_in_the_folder_is_run", StartsPrograms, "code: the load started"),
    (
        "test_nested_calls_say_what_they_permit",
        SaysNothing,
        "Reader.from_pretrained is called without trust_remote_code=; write trust_remote_code=False; "
        "tests.toy_library.Reader.from_pretrained is called without local_files_only=",
    ),
    (
        "test_nested_calls_say_what_they_permit",
        SaysNothingToAFunction,
        "toy_library.read is called without weights_only",
    ),
    (
        "test_nested_calls_say_what_they_permit",
        Trusts,
        "called with trust_remote_code=True; pass trust_remote_code=Fal",
    ),
    ("test_nested_calls_say_what_they_permit", PredictsOnline, "called with local_files_only=False; pass local_files_"),
    ("test_nested_calls_say_what_they_permit", LoadsByName, "called with 'org/base', which no gate has seen"),
    ("test_nested_calls_say_what_they_permit", LoadsBeside, "called with '.*', which no gate has seen"),
    ("test_nested_calls_say_what_they_permit", LoadsInThePlan, "called before both gates have passed"),
    ("test_nested_calls_say_what_they_permit", ReadsInThePlan, "toy.json is opened by the backend before both gates"),
    ("test_nested_calls_say_what_they_permit", Unpickles, "pickle.loads is called, and nothing makes it safe"),
    ("test_the_process_is_left_as_found", LeavesPath, "state: sys.path changed"),
    ("test_the_process_is_left_as_found", Seeds, "state: random's state changed"),
    ("test_the_process_is_left_as_found", SetsEnvironment, "state: the environment changed"),
    ("test_the_process_is_left_as_found", LeavesFiles, r"state: \['x.lock'\] were left in the folder"),
]


@pytest.fixture
def restored(monkeypatch):
    """What the broken backends change is put back."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("TOY", "")
    Hoards.kept.clear()
    state = random.getstate()
    yield
    random.setstate(state)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(("check", "broken", "says"), BROKEN, ids=[f"{b.__name__}-{c}" for c, b, _ in BROKEN])
def test_a_broken_backend_fails_its_check(check, broken, says, tmp_path, monkeypatch):
    class Checks(ToyChecks, BackendConformance):
        backend = broken

    method = getattr(Checks(), check)
    given = {"tmp_path": tmp_path, "monkeypatch": monkeypatch}
    wanted = method.__code__.co_varnames[1 : method.__code__.co_argcount]
    with pytest.raises(AssertionError, match=says):
        method(**{name: given[name] for name in wanted})


def test_every_check_has_a_broken_backend():
    checks = {name for name in dir(BackendConformance) if name.startswith("test_")}
    assert checks == {check for check, _, _ in BROKEN}


def test_a_backend_that_says_all_is_watched_and_passes(tmp_path):
    class Checks(ToyChecks, BackendConformance):
        backend = SaysAll

    Checks().test_nested_calls_say_what_they_permit(tmp_path)
    before = (Reader.__dict__["from_pretrained"], read, pickle.loads)
    with spying(SaysAll, tmp_path / "toy", ToyChecks.nested) as seen, Checks()._loaded(tmp_path / "toy"):
        assert Reader.__dict__["from_pretrained"] is not before[0]
    assert [name.partition(":")[2] for name in seen.calls] == ["Reader.from_pretrained", "read"]
    assert seen.passed == ((tmp_path / "toy").resolve(),)
    assert seen.problems == []
    assert (Reader.__dict__["from_pretrained"], read, pickle.loads) == before


@pytest.mark.pt
@pytest.mark.long
def test_every_entry_of_an_installed_library_is_there():
    """A library that renames one would else no longer be watched, in silence."""
    import importlib

    from modelscope_ext.testing.nested import _holders

    lost = []
    for entry in ENTRIES:
        name = entry.partition(":")[0]
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            importlib.import_module(name)
            lost += [entry] if not list(_holders(entry, ())) else []
    assert not lost


def test_forgotten_overrides_say_what_to_write(tmp_path):
    class Checks(BackendConformance):
        backend = Toy
        task = "text-classification"
        inputs = ("good", "bad")

    with pytest.raises(NotImplementedError, match="make_folder"):
        Checks().test_probe_is_pure(tmp_path)
    with pytest.raises(NotImplementedError, match="near_misses"):
        Checks().test_probe_makes_no_claim_to_others(tmp_path)


def test_a_backend_that_was_never_registered_is_not_registered_afterwards():
    from modelscope_ext.models.builder import BACKENDS

    assert "toy" not in BACKENDS
    assert issubclass(Toy, Backend)
    assert issubclass(ModelScopeExtError, Exception)
