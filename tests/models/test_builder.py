"""MODELS, BACKENDS and build_model."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelscope_ext.errors import RegistryError
from modelscope_ext.models import builder
from modelscope_ext.models.backend import Backend
from modelscope_ext.models.backends import BUILTINS
from modelscope_ext.models.builder import BACKENDS, MODELS, Backends, build_model, canonical_condition
from modelscope_ext.preprocessors import PREPROCESSORS, build_preprocessor
from tests.utils.installed import install

GROUP = "modelscope_ext.backends_for_tests"

BODY = """
from modelscope_ext.models.backend import Backend

class Mine(Backend):
    name = "mine"
    frameworks = ("pytorch",)
    tasks = ("text-classification",)
"""


class Toy(Backend):
    name = "toy"
    tasks = ("fill-mask",)


class Model:
    def __init__(self, model_dir=None, **kwargs):
        self.model_dir, self.kwargs = model_dir, kwargs


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield folder
    for name in {name for name in set(sys.modules) - before if name.startswith("their_")}:
        del sys.modules[name]


@pytest.fixture
def backends() -> Backends:
    return Backends(GROUP)


def plugin(site: Path, package: str, points: str, **modules: str) -> None:
    texts = {f"{name}.py": text for name, text in modules.items()}
    install(site, package, "1.0", entry_points=f"[{GROUP}]\n{points}\n", modules=texts)


# MODELS and build_model


def test_tasks_of_a_registration_are_canonical() -> None:
    assert canonical_condition("task", "image_classification") == "image-classification"
    assert canonical_condition("task", "not a task at all, but prose.") == "not a task at all, but prose."
    assert canonical_condition("backend", "Sentence_Transformers") == "sentence-transformers"
    assert canonical_condition("framework", "Pytorch") == "pytorch"
    assert canonical_condition("model_type", "Qwen2") == "Qwen2"
    with MODELS.temporary():
        MODELS.register_module("sentence-embedding", "mine", Model)
        MODELS.register_module(task="Text_Classification", framework="PyTorch", module_cls=Model)
        assert MODELS.get("mine", "sentence_embedding") is Model
        assert MODELS.select(task="text-classification", framework="pytorch").target is Model


def test_build_model_in_modelscopes_form() -> None:
    cfg = {"type": "mine", "hidden": 8}
    with MODELS.temporary():
        MODELS.register_module("text-classification", "mine", Model)
        model = build_model(cfg, "text-classification", {"model_dir": "/m"})
        assert (model.model_dir, model.kwargs) == ("/m", {"hidden": 8})
        assert build_model(cfg, task_name="text_classification").kwargs == {"hidden": 8}
        assert build_model(cfg).kwargs == {"hidden": 8}
        with pytest.raises(RegistryError, match="no 'mine' for task='fill-mask'"):
            build_model(cfg, "fill-mask")
    assert cfg == {"type": "mine", "hidden": 8}


def test_build_preprocessor_in_modelscopes_form() -> None:
    with PREPROCESSORS.temporary():
        PREPROCESSORS.register_module("nlp", "mine", Model)
        assert build_preprocessor({"type": "mine", "x": 1}, "nlp", {"y": 2}).kwargs == {"x": 1, "y": 2}
        assert build_preprocessor({"type": "mine"}, field_name="nlp").kwargs == {}
        with pytest.raises(RegistryError, match="preprocessors: no 'mine' for task='cv'"):
            build_preprocessor({"type": "mine"}, "cv")


# BACKENDS


def test_every_builtin_is_a_backend_and_shared() -> None:
    for name, row in BUILTINS.items():
        backend = BACKENDS.get(name)
        assert isinstance(backend, Backend)
        assert f"{type(backend).__module__}:{type(backend).__qualname__}" == row.path
        assert BACKENDS.get(name) is backend
    assert BACKENDS.get("Sentence_Transformers") is BACKENDS.get("sentence-transformers")


def test_looking_at_the_backends_imports_none() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from modelscope_ext import BACKENDS as b;"
        " print(len(b), len(list(b)), 'transformers' in b, 'no' in b, bool(b.list()));"
        " print([m for m in sys.modules if m.startswith('modelscope_ext.models.backends.')])"
    )
    root = str(Path(builder.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True)
    assert done.stdout == f"{len(BUILTINS)} {len(BUILTINS)} True False True\n[]\n", done.stderr


def test_a_builtin_name_never_looks_for_plugins(backends: Backends, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelscope_ext.utils import plugins

    monkeypatch.setattr(plugins, "entry_points", lambda: pytest.fail("looked for plug-ins"))
    for name in (*BUILTINS, "Sentence_Transformers", "ort"):
        entry = backends._entry(name)
        assert entry.path.startswith("modelscope_ext.models.backends.")


def test_registering_a_class(backends: Backends) -> None:
    assert backends.register("toy", Toy) is Toy
    assert backends.register("toy", Toy) is Toy
    assert isinstance(backends.get("toy"), Toy)
    assert backends.get("toy") is backends.get("toy")
    assert backends.names() == (*BUILTINS, "toy")

    @backends.register("decorated")
    class Decorated(Backend):
        name = "decorated"
        tasks = ("translation",)

    assert type(backends.get("decorated")) is Decorated
    with pytest.raises(RegistryError, match=r"'toy' .*test_builder:Toy.* is already registered"):
        backends.register("toy", Decorated)
    with pytest.raises(RegistryError, match="must be a subclass of modelscope_ext"):
        backends.register("wrong", Model)
    backends.register("toy", Decorated, force=True)
    assert type(backends.get("toy")) is Decorated


def test_nobody_takes_a_builtin_name_unasked(backends: Backends) -> None:
    with pytest.raises(RegistryError) as caught:
        backends.register("transformers", Toy)
    assert "modelscope_ext.models.backends.transformers_:Transformers" in str(caught.value)
    assert "tests.models.test_builder:Toy" in str(caught.value)
    backends.register("transformers", Toy, force=True)
    assert type(backends.get("transformers")) is Toy


def test_a_plugin_joins_and_is_imported_on_first_use(backends: Backends, site: Path) -> None:
    plugin(site, "their-pkg", "mine = their_mine:Mine", their_mine=BODY)
    assert backends.names() == (*BUILTINS, "mine")
    assert "mine" in backends
    assert "their_mine" not in sys.modules
    mine = backends.get("mine")
    assert (mine.name, mine.tasks) == ("mine", ("text-classification",))
    assert [entry.origin for entry in backends.list()][-1] == "entry point 'mine' of their-pkg 1.0"


def test_a_plugin_with_a_builtins_name_is_refused_naming_both(backends: Backends, site: Path) -> None:
    plugin(site, "their-pkg", "transformers = their_mine:Mine", their_mine=BODY)
    assert backends.names() == tuple(BUILTINS)
    broken = backends.list()[-1]
    assert "their_mine:Mine" in str(broken.error)
    assert "modelscope_ext.models.backends.transformers_:Transformers" in str(broken.error)
    with pytest.raises(RegistryError, match="could not be loaded"):
        broken.load()
    assert type(backends.get("transformers")).__name__ == "Transformers"


def test_a_broken_plugin_is_left_out_and_says_why_when_asked_for(backends, site, caplog) -> None:
    points = "broken = their_broken:X\nmine = their_mine:Mine\nwrong = their_mine:Backend.probe"
    plugin(site, "their-pkg", points, their_mine=BODY, their_broken="import no_such_module_here\n")
    loadable = dict(backends.loadable())
    assert set(loadable) == {*BUILTINS, "mine"}
    assert loadable["mine"] is backends.get("mine")
    assert [name for name, _ in backends.loadable(builtins=False)] == ["mine"]
    assert "no_such_module_here" in caplog.text
    with pytest.raises(RegistryError, match=r"'broken' = their_broken:X .*entry point 'broken' of their-pkg") as caught:
        backends.get("broken")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    with pytest.raises(RegistryError, match="must be a subclass of modelscope_ext"):
        backends.get("wrong")


def test_two_packages_with_one_backend_name(backends: Backends, site: Path) -> None:
    plugin(site, "their-one", "mine = their_one:Mine", their_one=BODY)
    plugin(site, "their-two", "mine = their_two:Mine", their_two=BODY)
    with pytest.raises(RegistryError) as caught:
        backends.get("mine")
    for part in ("their_one:Mine", "their-one 1.0", "their_two:Mine", "their-two 1.0", "Uninstall one"):
        assert part in str(caught.value)


def test_an_unknown_name_lists_what_there_is(backends: Backends) -> None:
    with pytest.raises(RegistryError) as caught:
        backends.get("transfomers")
    assert str(caught.value).startswith("backends: no 'transfomers'. Did you mean 'transformers'? Registered: ")
    assert all(name in str(caught.value) for name in BUILTINS)


def test_temporary_backends_are_forgotten(backends: Backends) -> None:
    with backends.temporary():
        backends.register("toy", Toy)
        assert "toy" in backends
    assert "toy" not in backends


def test_threads_share_one_instance(backends: Backends, site: Path) -> None:
    plugin(site, "their-pkg", "mine = their_mine:Mine", their_mine="import time; time.sleep(0.05)\n" + BODY)
    start = threading.Barrier(8)

    def use(_: int) -> int:
        start.wait()
        return id(backends.get("mine"))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(use, range(8)))) == 1
