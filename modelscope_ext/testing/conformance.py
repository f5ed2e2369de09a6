"""The checks that every backend passes. A backend's test file inherits them all:

    class TestAcme(BackendConformance):
        backend = Acme
        task = "text-classification"
        inputs = ("what a day", "what a mess")

        def make_folder(self, tmp_path):
            return write_tiny_acme_model(tmp_path / "model")

        def near_misses(self, tmp_path):
            yield write_another_librarys_model(tmp_path / "other")

Each check is one method whose docstring says what it holds the backend to; each fails with an AssertionError that says
what to mend. Models are loaded through the package's own loader, so the gates are part of what is checked.
"""

from __future__ import annotations

import gc
import shutil
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelscope_ext.errors import ModelScopeExtError, OptionError
from modelscope_ext.models.backend import Backend
from modelscope_ext.models.outputs import difference
from modelscope_ext.models.resolution import Match
from modelscope_ext.models.schemas import check_output, normalise
from modelscope_ext.models.tasks import TASKS
from modelscope_ext.testing.nested import spying
from modelscope_ext.testing.tools import (
    GARBAGE,
    PLANTED,
    Tools,
    check,
    described_in,
    evidence_of,
    holders_of,
    plant,
    raises,
)
from modelscope_ext.testing.witness import left_behind, offline, state, witness

__all__ = ["BackendConformance"]


class BackendConformance(Tools):
    """Inherit, set the attributes, override `make_folder` and `near_misses`.

    Attributes:
        backend: The class under test.
        task: A task the folder's model serves.
        inputs: At least two inputs of that task whose outputs differ.
        load_options: Options of the backend that every load here gets.
        predict_options: Options of the task that every call here gets, e.g. a seed and few steps.
        call_values: Call option -> a value that the task takes; each is tried.
        load_values: Load option of the backend -> a value that works; each is tried.
        libraries: Import names that `probe` may not import; default: the names in `requires`.
        damage: Names of planned files to damage one by one; default: all of them.
        nested: Calls of the library beyond `modelscope_ext.testing.nested.ENTRIES`, in its form: what opens a model,
            and the keywords that it has to be told.
        saves: Whether `save` is supported.
        has_raw: Whether ``raw=True`` gives something other than the schema's output.
        tolerance: Largest difference between numbers that count as equal.
    """

    # The checks, in the order of the hooks

    def test_it_introduces_itself(self) -> None:
        """Name, frameworks, requirements, tasks and options are written as the interface says."""
        from packaging.requirements import InvalidRequirement, Requirement

        backend = self.backend
        check(isinstance(backend, type) and issubclass(backend, Backend), "backend: set a subclass of Backend")
        check(isinstance(getattr(backend, "name", None), str) and bool(backend.name), "name: set the library's name")
        check(bool(backend.frameworks) and not isinstance(backend.frameworks, str), "frameworks: a tuple of names")
        unknown = [task for task in backend.tasks if task not in TASKS]
        check(not unknown, f"tasks: {unknown} are no canonical names")
        check(self.task in backend.tasks, f"tasks: {self.task!r} is tested but not listed")
        for spec in backend.requires:
            try:
                Requirement(spec)
            except InvalidRequirement as error:
                raise AssertionError(f"requires: {spec!r} is no PEP 508 string") from error
        check(not backend.requires or bool(backend.install), "install: give the command that installs the library")
        for name, text in dict(backend.options).items():
            check(name.isidentifier() and bool(text), f"options: {name!r} needs a line of help")
        strange = [key for key in backend.call_options if key != "*" and key not in backend.tasks]
        check(not strange, f"call_options: {strange} are not among its tasks")

    def test_probe_claims_its_own_folder(self, tmp_path: Path) -> None:
        """`probe` returns a Match with its name, a reason, a framework it runs in and tasks it serves."""
        match = self.backend().probe(evidence_of(self.make_folder(tmp_path)))
        check(isinstance(match, Match), f"probe: expected a Match for its own folder, got {match!r}")
        assert match is not None
        check(match.backend == self.backend.name, f"probe: Match.backend is {match.backend!r}, not its own name")
        check(bool(match.because), "probe: a Match needs at least one Reason")
        known = (None, *self.backend.frameworks)
        check(match.framework in known, f"probe: framework {match.framework!r} is not in `frameworks`")
        strange = [task for task in match.tasks if task not in TASKS]
        check(not strange, f"probe: {strange} are no canonical tasks")

    def test_probe_is_pure(self, tmp_path: Path) -> None:
        """`probe` opens nothing, imports no library, and gives the same answer twice."""
        evidence = evidence_of(self.make_folder(tmp_path))
        before = repr(sorted(evidence.documents.items()))
        with witness() as seen:
            first = self.backend().probe(evidence)
        second = self.backend().probe(evidence)
        check(first == second, "probe: two calls gave different answers")
        check(repr(sorted(evidence.documents.items())) == before, "probe: it changed the evidence")
        opened = seen.below(tmp_path)
        check(not opened, f"probe: it opened {opened}; everything it may know is in the evidence")
        check(not seen.sockets and not seen.programs, f"probe: it used {seen.sockets + seen.programs}")
        imported = sorted(set(seen.imported) & set(self._libraries()))
        check(not imported, f"probe: it imported {imported}")

    def test_probe_makes_no_claim_to_others(self, tmp_path: Path) -> None:
        """`probe` returns None for an empty folder and for each near miss."""
        empty = tmp_path / "empty"
        empty.mkdir()
        others = [empty, *self.near_misses(tmp_path)]
        check(len(others) > 1, "near_misses: yield at least one folder")
        for folder in others:
            match = self.backend().probe(evidence_of(folder))
            check(match is None, f"probe: it claims {folder.name}, which is not its own: {match}")

    def test_files_are_the_plan(self, tmp_path: Path) -> None:
        """`files` names existing files once; a load reads no other, and needs no other."""
        folder = self.make_folder(tmp_path)
        plant(folder)
        names = self._files(folder)
        check(len(set(names)) == len(names), f"files: names given twice: {names}")
        missing = [name for name in names if not (folder / name).is_file()]
        check(not missing, f"files: {missing} do not exist")
        planted = [name for name in names if name in PLANTED]
        check(not planted, f"files: {planted} are no files of a model")
        with self._loaded(folder) as model:
            expected = self._predict(model)
        copy = tmp_path / "planned"
        for name in names:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, copy / name)
        with self._running(copy, "from a folder that holds the planned files only") as model:
            self._compare(expected, self._predict(model), "files: a load from the planned files alone")
        for path in folder.rglob("*"):
            if path.is_file() and path.relative_to(folder).as_posix() not in names:
                path.write_bytes(GARBAGE)
        with witness() as seen, self._running(folder, "with garbage in every file that is not planned") as model:
            self._compare(expected, self._predict(model), "files: with garbage in every other file, a load")
        extra = [name for name in seen.below(folder) if (folder / name).is_file() and name not in names]
        described = [name for name in extra if name not in described_in(folder)]
        check(not described, f"files: the load opened {described}, which are not planned")

    def test_outputs_follow_the_schema(self, tmp_path: Path) -> None:
        """One output per input, in order, in the task's schema; different inputs give different outputs."""
        with self._loaded(self.make_folder(tmp_path)) as model:
            outputs = self._predict(model)
            check(len(outputs) == len(self.inputs), f"predict: {len(outputs)} outputs for {len(self.inputs)} inputs")
            items = normalise(self.task, list(self.inputs))[0]
            for output, item in zip(outputs, items, strict=True):
                check_output(self.task, output, item)
            same = difference(outputs[0], outputs[-1], self.tolerance) is None
            check(not same, "inputs: give inputs whose outputs differ, or equality proves nothing")
            turned = model.predict(self.task, items[::-1], batch_size=len(items), **self.predict_options)
            self._compare(outputs[::-1], turned, "predict: the same inputs in reverse order")

    def test_a_batch_equals_its_items(self, tmp_path: Path) -> None:
        """The output for an input does not depend on the inputs that run beside it."""
        with self._loaded(self.make_folder(tmp_path)) as model:
            items = normalise(self.task, list(self.inputs))[0]
            options = self.predict_options
            alone = [model.predict(self.task, [item], batch_size=1, **options)[0] for item in items]
            together = model.predict(self.task, items, batch_size=len(items), **options)
            self._compare(alone, together, "predict: a batch against its items one by one")

    def test_a_pipeline_answers_as_it_is_asked(self, tmp_path: Path) -> None:
        """A single input gives a single output, a list a list, also at length one, a generator a generator."""
        from modelscope_ext.pipelines.base import Pipeline

        with self._loaded(self.make_folder(tmp_path)) as model:
            pipe = Pipeline(model, self.task)
            options = self.predict_options
            single = self._try(lambda: pipe(self.inputs[0], **options), "pipeline: a single input")
            check_output(self.task, single)
            self._compare([single], pipe([self.inputs[0]], **options), "pipeline: a list of one")
            listed = pipe(list(self.inputs), **options)
            check(isinstance(listed, list), f"pipeline: a list gave a {type(listed).__name__}")
            walked = pipe((one for one in self.inputs), **options)
            check(hasattr(walked, "__next__"), f"pipeline: a generator gave a {type(walked).__name__}")
            self._compare(listed, list(walked), "pipeline: a generator against a list")

    def test_raw_gives_the_librarys_own(self, tmp_path: Path) -> None:
        """``raw=True`` gives one output per input, as the library gives it."""
        with self._loaded(self.make_folder(tmp_path)) as model:
            items = normalise(self.task, list(self.inputs))[0]
            options = {**self.predict_options, "batch_size": len(items)}
            raw = self._try(lambda: model.predict(self.task, items, raw=True, **options), "raw: predict")
            check(len(raw) == len(items), f"raw: {len(raw)} outputs for {len(items)} inputs")
            if self.has_raw:
                equal = difference(raw, model.predict(self.task, items, **options), 0.0) is None
                check(not equal, "raw: the outputs are the schema's; set has_raw = False if that is the library's own")

    def test_options_are_honest(self, tmp_path: Path) -> None:
        """An option nobody takes is refused by name, on loading and on calling; every option that is listed works."""
        from modelscope_ext.models.request import KEYWORDS
        from modelscope_ext.pipelines.base import Pipeline

        folder = self.make_folder(tmp_path)
        ours = sorted({*self.backend.options} & {*KEYWORDS})
        check(not ours, f"options: {ours} are keywords of every load")
        strange = sorted({*self.load_values} - {*self.backend.options})
        check(not strange, f"options: {strange} have values here but are not listed")
        raises(OptionError, lambda: self._load(folder, no_such_option=1), "options: an unknown load option")
        for name, value in self.load_values.items():
            with self._running(folder, f"with the option {name}={value!r}", **{name: value}) as model:
                self._try(lambda m=model: self._predict(m), f"options: predicting after a load with {name}={value!r}")
        with self._loaded(folder) as model:
            pipe = Pipeline(model, self.task)
            raises(OptionError, lambda: pipe(self.inputs[0], no_such_option=1), "call_options: an unknown call option")
            for name, value in self.call_values.items():
                self._try(
                    lambda n=name, v=value: pipe(self.inputs[0], **{**self.predict_options, n: v}),
                    f"call_options: {name}={value!r}",
                )

    def test_what_is_saved_loads_again(self, tmp_path: Path) -> None:
        """`save` writes a folder that loads without further arguments and gives equal outputs."""
        from modelscope_ext.models import loader

        if not self.saves:
            return
        saved = tmp_path / "saved"
        with self._loaded(self.make_folder(tmp_path)) as model:
            expected = self._predict(model)
            self._try(lambda: model.save_pretrained(saved), "save: override it, or set saves = False; saving")
        with self._registered():
            again = self._try(lambda: loader.load(saved, **self.load_options), "save: loading what was saved")
            with again:
                check(again.backend == self.backend.name, f"save: what was saved resolves to {again.backend!r}")
                self._compare(expected, self._predict(again), "save: the saved model")

    def test_damage_is_found(self, tmp_path: Path) -> None:
        """A planned file that is empty, cut short or missing gives an error of this package, or changes nothing."""
        folder = self.make_folder(tmp_path)
        with self._loaded(folder) as model:
            expected = self._predict(model)
        names = self._files(folder) if self.damage is None else self.damage
        for name in names:
            path = folder / name
            whole = path.read_bytes()
            for how, data in (("emptied", b""), ("cut in half", whole[: len(whole) // 2]), ("missing", None)):
                path.unlink()
                if data is not None:
                    path.write_bytes(data)
                self._damaged(folder, f"{name} {how}", expected)
                path.write_bytes(whole)

    def _damaged(self, folder: Path, what: str, expected: list[Any]) -> None:
        try:
            with self._loaded(folder) as model:
                outputs = self._predict(model)
        except ModelScopeExtError:
            return
        except Exception as error:
            kind = type(error).__name__
            raise AssertionError(f"damage: with {what}, {kind} came through; raise an error of this package") from error
        self._compare(expected, outputs, f"damage: with {what}, the load went through, and a call")

    def test_closing_releases_the_model(self, tmp_path: Path) -> None:
        """After `close` nothing of the backend holds the library's object."""
        model = self._load(self.make_folder(tmp_path))
        self._predict(model)
        native = model.native
        try:
            ref = weakref.ref(native)
        except TypeError:
            model.close()
            return
        model.close()
        del native
        gc.collect()
        check(ref() is None, f"close: the {type(ref()).__name__} is still held by {holders_of(ref())}")
        raises(ModelScopeExtError, lambda: model.predict(self.task, list(self.inputs)), "close: using a closed model")

    def test_no_network_is_used(self, tmp_path: Path) -> None:
        """Loading and predicting open no socket."""
        folder = self.make_folder(tmp_path)
        with offline() as used, suppress(ModelScopeExtError), self._loaded(folder) as model:
            self._predict(model)
        check(not used, f"network: the load used {used}; pass local_files_only and offline arguments")
        with self._loaded(folder) as model:
            self._predict(model)

    def test_nothing_in_the_folder_is_run(self, tmp_path: Path, monkeypatch: Any) -> None:
        """No Python of the folder is run and no program started, also where the folder is the working directory."""
        folder = self.make_folder(tmp_path)
        mark = tmp_path / "ran"
        plant(folder, f"with open({str(mark)!r}, 'a') as mark:\n    mark.write('code ')\n", self._libraries())
        monkeypatch.chdir(folder)
        with witness() as seen, self._loaded(folder) as model:
            self._predict(model)
        ran = seen.ran_below(folder)
        ran = ran or (mark.read_text(encoding="utf-8").split() if mark.exists() else [])
        check(not ran, f"code: the load ran {ran} of the folder")
        check(not seen.programs, f"code: the load started {seen.programs}")

    def test_nested_calls_say_what_they_permit(self, tmp_path: Path) -> None:
        """Each call into a library comes after both gates, for what they saw, and says in words what it permits.

        The words are ``trust_remote_code=False``, ``local_files_only=True``, ``use_safetensors=...``,
        ``weights_only=True`` and the like, as far as the call takes them: the table is
        `modelscope_ext.testing.nested.ENTRIES`. What is opened is the folder that `load` is given, which is one
        commit's, or another source by `models.base_source.load_base`; never a name that a hub would resolve.
        """
        folder = self.make_folder(tmp_path)
        with self._loaded(folder) as model:  # imports the library; what is not imported cannot be watched
            self._predict(model)
        with spying(self.backend, folder, self.nested) as seen, self._loaded(folder) as model:
            self._predict(model)
        check(folder.resolve() in seen.passed, f"gates: the folder passed {seen.gates}; load through the package")
        check(not seen.problems, f"nested calls: {'; '.join(dict.fromkeys(seen.problems))}")

    def test_the_process_is_left_as_found(self, tmp_path: Path) -> None:
        """Working directory, `sys.path`, environment, filters and random states are as before a load and a call."""
        folder = self.make_folder(tmp_path)
        with self._loaded(folder) as model:  # imports may set variables for the library's own process, once
            self._predict(model)
        before = state()
        with self._loaded(folder) as model:
            self._predict(model)
        changed = left_behind(before)
        check(not changed, f"state: {', '.join(changed)} changed")
        left = sorted(p.name for p in folder.rglob("*") if p.suffix in (".tmp", ".lock", ".pyc"))
        check(not left, f"state: {left} were left in the folder")
