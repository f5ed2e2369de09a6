"""The registry: ModelScope's call forms, conditions, errors that say what there is, threads."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import ModelScopeExtError, OptionError, RegistryError
from modelscope_ext.utils.registry import CONDITIONS, Entry, Registry, build_from_cfg, default_group


class A:
    def __init__(self, **kwargs):
        self.kwargs = kwargs


class B(A): ...


class Tagged:
    tasks = ("fill-mask", "text-classification")
    framework = "pytorch"
    backend = "transformers"
    model_type = "bert"


@pytest.fixture
def models() -> Registry:
    return Registry("models")


# ModelScope's forms


def test_every_call_form_of_modelscope(models: Registry) -> None:
    @models.register_module("image-classification", "SwinT")
    class Swin: ...

    @models.register_module()
    def swin_transformer(): ...

    @models.register_module(group_key="image-classification", module_name="Second")
    class Other: ...

    assert models.register_module("image-classification", module_name="SwinT2", module_cls=A) is A
    assert models.register_module(default_group, "named", B) is B
    assert models.get("SwinT", "image-classification") is Swin
    assert models.get("SwinT", group_key="image-classification") is Swin
    assert models.get("Second", "image-classification") is Other
    assert models.get("swin_transformer") is swin_transformer
    assert models.get("swin_transformer", default_group) is swin_transformer
    assert models.get("swin_transformer", None) is swin_transformer
    assert models.get("SwinT2", "image-classification") is A
    assert models.name == "models"
    assert {group: dict(names) for group, names in models.modules.items()} == {
        "default": {"swin_transformer": swin_transformer, "named": B},
        "image-classification": {"SwinT": Swin, "Second": Other, "SwinT2": A},
    }


@pytest.mark.pt
def test_groups_and_names_equal_to_modelscope(tmp_path: Path) -> None:
    calls = """
class A: pass
class B: pass
def f(x=1): return ('f', x)
r.register_module('g', 'a', A); r.register_module('g', 'b', B); r.register_module('h', 'a', B)
r.register_module(module_cls=f); r.register_module('g', 'a', B, True); r.register_module('g', module_cls=B)
for bad in (
    lambda: r.register_module('g', 'a', A), lambda: r.register_module('g', 3, A), lambda: build(3, r),
    lambda: build({'type': 'nobody'}, r, 'g'), lambda: build({}, r), lambda: build({'type': 3}, r),
    lambda: build({'type': 'f', 'y': 1}, r),
):
    try: bad(); print('no error')
    except (KeyError, TypeError) as e: print([c.__name__ for c in (KeyError, TypeError) if isinstance(e, c)])
print({g: {n: c.__name__ for n, c in names.items()} for g, names in r.modules.items()})
print([r.get(n, g).__name__ for g, n in (('g', 'a'), ('g', 'b'), ('h', 'a'), ('default', 'f'), ('g', 'B'))])
print(build({'type': 'f', 'x': 5}, r), build({'type': 'f'}, r, default_args={'x': 7}), build({'type': f, 'x': 3}, r))
"""
    heads = {
        "ours": "from modelscope_ext.utils.registry import Registry, build_from_cfg as build\nr = Registry('models')\n",
        "theirs": "from modelscope.utils.registry import Registry, build_from_cfg as build\nr = Registry('models')\n",
    }
    root = str(Path(__file__).parents[2])
    lines = {}
    for who, head in heads.items():
        path = [root] if who == "ours" else []
        code = f"import sys; sys.path[:0] = {path}\n{head}{calls}"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        lines[who] = [line for line in done.stdout.splitlines() if not line.startswith(("20", "import"))]
    assert len(lines["ours"]) == 10
    assert lines["ours"] == lines["theirs"]


def test_the_positional_group_is_found_by_name_and_never_selected(models: Registry) -> None:
    models.register_module("text-classification", "mine", A)
    assert models.select(task="text-classification") is None
    assert models.select(name="mine", task="text-classification").target is A
    assert models.get("mine", task="text-classification") is A
    models.register_module("text-classification", "theirs", B, model_type="bert")
    assert models.select(task="text-classification", model_type="bert").target is B


# Conditions


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"task": "t"}, "one"),
        ({"task": "t", "backend": "b"}, "two"),
        ({"task": "t", "backend": "b", "framework": "pytorch", "model_type": "bert"}, "four"),
        ({"task": "t", "backend": "b", "framework": "jax", "model_type": "bert"}, "two"),
        ({"task": "u"}, "one"),
        ({"task": "v"}, None),
        ({}, None),
        ({"backend": "b"}, None),
        ({"name": "nameless", "task": "t"}, "nameless"),
        ({"name": "unknown", "task": "t"}, "one"),
    ],
)
def test_the_most_specific_wins(models: Registry, query: dict[str, str], name: str | None) -> None:
    models.register_module(module_name="nameless", module_cls=A)
    models.register_module(module_name="one", module_cls=A, task=("t", "u"))
    models.register_module(module_name="two", module_cls=A, task="t", backend="b")
    models.register_module(
        module_name="four", module_cls=A, task="t", backend="b", framework=["pytorch", "onnx"], model_type="bert"
    )
    entry = models.select(**query)
    assert (entry.name if entry else None) == name


_VALUES = st.sampled_from(["x", "y"])
_CONDITIONS = st.fixed_dictionaries(
    {}, optional={name: st.lists(_VALUES, min_size=1, unique=True).map(tuple) for name in CONDITIONS}
)


@settings(max_examples=100, derandomize=True)
@given(
    entries=st.lists(
        _CONDITIONS, max_size=6, unique_by=lambda c: tuple(sorted((k, tuple(sorted(v))) for k, v in c.items()))
    ),
    query=st.fixed_dictionaries({}, optional=dict.fromkeys(CONDITIONS, _VALUES)),
    order=st.randoms(use_true_random=False),
)
def test_selection_follows_its_definition_in_any_order(entries, query, order) -> None:
    made = [(f"n{i}", type(f"C{i}", (), {}), conditions) for i, conditions in enumerate(entries)]
    held = {n: len(c) for n, _, c in made if c and all(query.get(k) in v for k, v in c.items())}
    best = [name for name, count in held.items() if count == max(held.values())]
    order.shuffle(made)
    registry = Registry("models")
    for name, cls, conditions in made:
        registry.register_module(module_name=name, module_cls=cls, **conditions)
    if len(best) > 1:
        with pytest.raises(RegistryError) as caught:
            registry.select(**query)
        assert all(repr(name) in str(caught.value) for name in best)
    else:
        entry = registry.select(**query)
        assert (entry.name if entry else None) == (best[0] if best else None)


def test_equal_counts_list_both_and_what_settles_it(models: Registry) -> None:
    models.register_module(module_name="a", module_cls=A, task="t", backend="b")
    models.register_module(module_name="b", module_cls=B, task="t", framework="f")
    with pytest.raises(RegistryError) as caught:
        models.select(task="t", backend="b", framework="f", model_type="m")
    message = str(caught.value)
    assert "2 entries are equally good for task='t', backend='b', framework='f', model_type='m'" in message
    assert "'a' = tests.utils.test_registry:A (task='t', backend='b', module tests.utils.test_registry)" in message
    assert "'b' = tests.utils.test_registry:B (task='t', framework='f'" in message
    assert (
        "Ask for one by its name, 'a' or 'b', or register one of them with a further condition (model_type=)."
        in message
    )


def test_one_name_with_two_tasks_asks_for_the_task(models: Registry) -> None:
    models.register_module(module_name="same", module_cls=A, task="t")
    models.register_module(module_name="same", module_cls=B, task="u", backend="b")
    models.register_module(module_name="same", module_cls=B, task="u", backend="c")
    assert models.get("same") is A  # fewest conditions that nobody asked for
    assert models.get("same", "t") is A
    assert models.get("same", "u", backend="b") is B
    assert models.get("same", backend="c") is B
    models.register_module(module_name="same", module_cls=B, task="v")
    with pytest.raises(RegistryError, match=r"Pass task='t' or task='v'\."):
        models.get("same")


def test_two_names_for_one_class_are_no_ambiguity(models: Registry) -> None:
    models.register_module(module_name="a", module_cls=A, task="t")
    models.register_module(module_name="b", module_cls=A, task="t")
    assert models.select(task="t").target is A


def test_conditions_left_out_are_read_from_the_class(models: Registry) -> None:
    before = dict(vars(Tagged))
    models.register_module(module_cls=Tagged)
    (entry,) = models
    assert entry.conditions == {
        "task": ("fill-mask", "text-classification"),
        "backend": ("transformers",),
        "framework": ("pytorch",),
        "model_type": ("bert",),
    }
    assert (
        models.select(task="text-classification", backend="transformers", framework="pytorch", model_type="bert").target
        is Tagged
    )
    assert dict(vars(Tagged)) == before


def test_a_narrower_registration_agrees_with_the_class(models: Registry) -> None:
    models.register_module(module_cls=Tagged, task="text-classification")
    assert models.entries[0].task == ("text-classification",)


@pytest.mark.parametrize(
    ("conditions", "attribute"),
    [
        ({"task": "translation"}, "tasks"),
        ({"task": ("fill-mask", "translation")}, "tasks"),
        ({"group_key": "translation"}, "tasks"),
        ({"framework": "jax"}, "framework"),
        ({"backend": "onnx"}, "backend"),
        ({"model_type": "gpt2"}, "model_type"),
    ],
)
def test_a_registration_that_contradicts_the_class_is_refused(models: Registry, conditions, attribute) -> None:
    with pytest.raises(
        RegistryError, match=rf"Tagged is registered with .*, but the class has {attribute}=.*; make them"
    ):
        models.register_module(module_cls=Tagged, **conditions)
    assert len(models) == 0


def test_properties_of_a_class_say_nothing(models: Registry) -> None:
    class Late:
        @property
        def tasks(self):
            return ("fill-mask",)

    models.register_module(module_cls=Late, task="translation")
    assert models.entries[0].task == ("translation",)


def test_spellings_are_normalised_everywhere() -> None:
    models = Registry("models", normalise=lambda condition, value: value.lower() if condition == "task" else value)
    models.register_module("Fill-Mask", "a", Tagged)
    models.register_module(module_name="b", module_cls=A, task="FILL-MASK", backend="X")
    assert models.get("a", "FILL-mask") is Tagged
    assert models.select(task="Fill-mask", backend="X").name == "b"
    assert ("FILL-MASK", "a") in models
    assert set(models.modules) == {"default", "fill-mask"}


def test_a_base_class_may_be_demanded() -> None:
    models = Registry("models", base=A)
    models.register_module(module_cls=B)
    with pytest.raises(RegistryError, match=r"Tagged must be a subclass of tests\.utils\.test_registry:A"):
        models.register_module(module_cls=Tagged)
    models.register_module(module_name="lazy", module_cls=f"{__name__}:Tagged")
    with pytest.raises(RegistryError, match="must be a subclass"):
        models.get("lazy")


# Duplicates


def test_the_same_object_twice_is_no_event_and_another_is_refused(models: Registry) -> None:
    models.register_module("g", "x", A)
    models.register_module("g", "x", A)
    assert len(models) == 1
    with pytest.raises(RegistryError) as caught:
        models.register_module("g", "x", B)
    assert "tests.utils.test_registry:A" in str(caught.value)
    assert "tests.utils.test_registry:B" in str(caught.value)
    assert "force=True" in str(caught.value)
    assert isinstance(caught.value, KeyError)
    assert models.get("x", "g") is A
    models.register_module("g", "x", B, force=True)
    assert models.get("x", "g") is B
    assert len(models) == 1


def test_a_class_and_its_dotted_name_are_the_same(models: Registry) -> None:
    models.register_module("g", "x", f"{__name__}:A")
    sys.modules[__name__].__dict__.setdefault("A", A)
    models.register_module("g", "x", A)
    assert len(models) == 1


# Lazy strings


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package whose modules leave a mark when they run."""
    name = f"lazy_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("runs = []\n")
    (folder / "good.py").write_text(
        f"import time\nimport {name}\n{name}.runs.append(__name__)\ntime.sleep(0.05)\n"
        "class Good:\n    class Inner: pass\n\nnumber = 3\n\nclass Other:\n    tasks = ('translation',)\n"
    )
    (folder / "bad.py").write_text("import no_such_module_here\n")
    (folder / "exits.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        del sys.modules[module]


def test_a_dotted_name_is_imported_on_first_use(models: Registry, package: str) -> None:
    models.register_module("g", "x", f"{package}.good:Good")
    models.register_module(module_name="y", module_cls=f"{package}.good:Good.Inner", task="t")
    assert [entry.name for entry in models] == ["x", "y"]
    assert models.modules["g"]["x"] == f"{package}.good:Good"
    assert models.select(task="t").path == f"{package}.good:Good.Inner"
    assert f"{package}.good" not in sys.modules
    good = models.get("x", "g")
    assert (good.__name__, good.__module__) == ("Good", f"{package}.good")
    assert models.select(task="t").load() is good.Inner


@pytest.mark.parametrize(
    ("path", "cause", "text"),
    [
        ("bad:Bad", ModuleNotFoundError, "no_such_module_here"),
        ("good:Missing", ImportError, "has no 'Missing'"),
        ("none:X", ModuleNotFoundError, "none"),
        ("exits:X", SystemExit, "3"),
    ],
)
def test_a_failed_import_names_the_entry_and_keeps_its_cause(models, package, path, cause, text) -> None:
    models.register_module("g", "x", f"{package}.{path}")
    with pytest.raises(RegistryError) as caught:
        models.get("x", "g")
    assert isinstance(caught.value.__cause__, cause)
    for part in ("'x'", f"{package}.{path}", "task='g'", f"module {package}.", cause.__name__, text):
        assert part in str(caught.value)


def test_what_is_imported_must_be_callable_and_agree(models: Registry, package: str) -> None:
    models.register_module("g", "number", f"{package}.good:number")
    models.register_module("fill-mask", "other", f"{package}.good:Other")
    with pytest.raises(RegistryError, match="is neither a class nor a function"):
        models.get("number", "g")
    with pytest.raises(RegistryError, match="registered with task='fill-mask', but the class has tasks='translation'"):
        models.get("other", "fill-mask")


def test_a_string_in_a_config_is_a_name_and_never_an_import(models: Registry, package: str) -> None:
    with pytest.raises(RegistryError, match="no '"):
        build_from_cfg({"type": f"{package}.good:Good"}, models)
    assert f"{package}.good" not in sys.modules


# Wrong arguments


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda r: r.register_module(A), "brackets"),
        (lambda r: r.register_module(len), "brackets"),
        (lambda r: r.register_module("g", 3, A), "module_name must be a string or None, not int"),
        (lambda r: r.register_module("g", "x", A, task="h"), "the same argument"),
        (lambda r: r.register_module(3, "x", A), "task must be a string"),
        (lambda r: r.register_module("g", "x", A, backend=("a", 3)), "backend must be a string"),
        (lambda r: r.register_module("g", "x", A, framework=""), "framework must be a string"),
        (lambda r: r.register_module("g", "x", "pkg.mod.Class"), "'pkg.mod:Class'"),
        (lambda r: r.register_module("g", "x", 3), "neither a class nor a function"),
        (lambda r: r.register_module("g", None, __import__("functools").partial(int)), "pass module_name="),
        (lambda r: r.get("x", tsk="t"), "tsk"),
        (lambda r: r.entry("x", bakend="t"), "Did you mean 'backend'"),
        (lambda r: r.get(3), "a name is a string, not int"),
        (lambda r: r.select(task=3), "ask for one task as a string"),
    ],
)
def test_wrong_arguments_say_what_is_expected(models: Registry, call, text: str) -> None:
    with pytest.raises((ModelScopeExtError, TypeError), match=text.replace("(", r"\(")):
        call(models)
    assert len(models) == 0


# Looking at it


def test_not_found_lists_what_there_is(models: Registry) -> None:
    models.register_module("text-classification", "structbert", A)
    models.register_module("fill-mask", "deberta", A)
    with pytest.raises(RegistryError) as caught:
        models.get("structbart", "text-classification")
    assert str(caught.value) == (
        "models: no 'structbart' for task='text-classification'. Did you mean 'structbert'?"
        " Registered: deberta, structbert."
    )
    with pytest.raises(RegistryError) as caught:
        models.get("deberta", "text-classification")
    assert "There is 'deberta' = tests.utils.test_registry:A (task='fill-mask'" in str(caught.value)
    with pytest.raises(RegistryError, match=r"Registered: \(none\)"):
        Registry("empty").get("x")
    with pytest.raises(RegistryError) as caught:
        models.get("a\x1b[31m" + chr(0x202E))
    assert "\x1b" not in str(caught.value)


def test_looking_at_it(models: Registry) -> None:
    models.register_module("g", "a", A)
    models.register_module(module_name="b", module_cls=B, backend="x")
    entries = list(models)
    assert entries == list(models.entries) == list(models.list())
    assert all(isinstance(entry, Entry) and entry in models for entry in entries)
    assert len(models) == 2
    for item, there in (
        ("a", True),
        ("c", False),
        (("g", "a"), True),
        (("h", "a"), False),
        (("default", "b"), True),
        (3, False),
    ):
        assert (item in models) is there
    assert repr(models) == "Registry('models', 2 entries)"
    assert entries[1].to_dict() == {
        "name": "b",
        "target": "tests.utils.test_registry:B",
        "task": [],
        "backend": ["x"],
        "framework": [],
        "model_type": [],
        "origin": "module tests.utils.test_registry",
        "by_name": False,
        "forced": False,
        "error": None,
    }


def test_the_views_cannot_be_written_to(models: Registry) -> None:
    models.register_module("g", "a", A)
    with pytest.raises(TypeError):
        models.modules["g"]["a"] = B
    with pytest.raises(TypeError):
        models.modules["h"] = {}
    with pytest.raises(AttributeError):
        models.entries[0].name = "b"
    assert models.get("a", "g") is A


def test_temporary_registrations_are_forgotten(models: Registry) -> None:
    models.register_module("g", "a", A)
    with models.temporary() as same:
        assert same is models
        models.register_module("g", "b", B)
        models.register_module("g", "a", B, force=True)
        assert models.get("a", "g") is B
        with pytest.raises(ZeroDivisionError), models.temporary():
            models.register_module("g", "c", A)
            raise ZeroDivisionError
        assert ("g", "c") not in models
        assert ("g", "b") in models
    assert [(entry.name, entry.target) for entry in models] == [("a", A)]


# Threads


def test_many_threads_register_without_loss(models: Registry) -> None:
    start = threading.Barrier(8)

    def register(number: int) -> None:
        start.wait()
        for i in range(50):
            models.register_module(f"g{number}", f"n{i}", type(f"C{number}_{i}", (), {}))
            models.get(f"n{i}", f"g{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(register, range(8)))
    assert {(entry.task[0], entry.name) for entry in models} == {
        (f"g{number}", f"n{i}") for number, i in itertools.product(range(8), range(50))
    }


def test_one_of_many_threads_wins_a_name(models: Registry) -> None:
    start = threading.Barrier(8)

    def register(number: int) -> int:
        start.wait()
        try:
            models.register_module("g", "x", type(f"C{number}", (), {}))
        except RegistryError:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(register, range(8))) == 1
    assert len(models) == 1


def test_threads_share_the_first_import(models: Registry, package: str) -> None:
    models.register_module("g", "x", f"{package}.good:Good")
    start = threading.Barrier(8)

    def use(_: int) -> object:
        start.wait()
        return models.get("x", "g")

    with ThreadPoolExecutor(8) as pool:
        got = set(pool.map(use, range(8)))
    assert len(got) == 1
    assert sys.modules[package].runs == [f"{package}.good"]


# build_from_cfg


class Instantiated:
    @classmethod
    def _instantiate(cls, **kwargs):
        return ("made", kwargs)


class Failing:
    def __init__(self, **kwargs):
        try:
            raise OSError(2, "no such file", "weights.bin")
        except OSError as error:
            raise OddError("cannot open", 7) from error


class OddError(Exception):
    """An exception that cannot be made from its message alone."""

    def __init__(self, message, code):
        super().__init__(message, code)
        self.code = code


def test_arguments_are_passed_and_the_config_is_not_changed(models: Registry) -> None:
    models.register_module("g", "a", A)
    models.register_module("g", "i", Instantiated)
    cfg, defaults = {"type": "a", "x": 1}, {"x": 2, "y": 3}
    assert build_from_cfg(cfg, models, "g", defaults).kwargs == {"x": 1, "y": 3}
    assert build_from_cfg({"type": "i", "trust_remote_code": True}, models, "g") == (
        "made",
        {"trust_remote_code": True},
    )
    assert build_from_cfg({"x": 1}, models, "g", {"type": "a"}).kwargs == {"x": 1}  # ModelScope's raises KeyError here
    assert type(build_from_cfg({"type": B, "x": 1}, models)) is B
    assert (cfg, defaults) == ({"type": "a", "x": 1}, {"x": 2, "y": 3})


def test_a_config_object_will_do(models: Registry) -> None:
    from modelscope_ext.utils.config import Config, ConfigDict

    models.register_module("g", "a", A)
    assert build_from_cfg(Config({"type": "a", "x": 1}), models, "g").kwargs == {"x": 1}
    assert build_from_cfg(ConfigDict(type="a", x={"y": 2}), models, "g").kwargs == {"x": {"y": 2}}


def test_what_the_class_raises_arrives_as_it_is(models: Registry) -> None:
    models.register_module("g", "f", Failing)
    with pytest.raises(OddError) as caught:
        build_from_cfg({"type": "f", "x": 1}, models, "g")
    error = caught.value
    assert (type(error), error.args, error.code) == (OddError, ("cannot open", 7), 7)
    assert isinstance(error.__cause__, OSError)
    assert error.__cause__.filename == "weights.bin"
    assert caught.traceback[-1].name == "__init__"
    if sys.version_info >= (3, 11):
        assert error.__notes__ == ["While building tests.utils.test_registry:Failing from registry 'models' with x."]


@pytest.mark.parametrize(
    ("cfg", "error", "text"),
    [
        ({"typo": "a", "x": 1}, RegistryError, r"cfg needs the key 'type'; it has typo, x"),
        ({"type": 3}, OptionError, "'type' must be a registered name, a class or a function: 3"),
        ({"type": None}, OptionError, "'type' must be"),
        ("a", OptionError, "cfg must be a mapping, not str"),
        (None, OptionError, "cfg must be a mapping, not NoneType"),
        ({"type": "aa"}, RegistryError, "no 'aa'"),
    ],
)
def test_wrong_configs(models: Registry, cfg, error, text) -> None:
    models.register_module("g", "a", A)
    with pytest.raises(error, match=text):
        build_from_cfg(cfg, models)
    with pytest.raises(OptionError, match="registry must be"):
        build_from_cfg({"type": "a"}, {"a": A})
    with pytest.raises(OptionError, match="default_args must be a mapping, not list"):
        build_from_cfg({"type": "a"}, models, "g", [1])
