"""Plug-ins: found on first need, loaded once, a broken one breaks nobody else."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelscope_ext.errors import RegistryError
from modelscope_ext.utils import plugins
from modelscope_ext.utils.registry import Registry
from tests.utils.installed import install

GROUP = "modelscope_ext.for_tests"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on `sys.path` in which a test installs plug-ins; their modules are forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setitem(sys.modules, "plugin_board", type(sys)("plugin_board"))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if name.startswith("plug_"):
            del sys.modules[name]


def board(registry: Registry) -> Registry:
    """Let the plug-ins of a test see its registry, as a real one imports `MODELS`."""
    sys.modules["plugin_board"].MODELS = registry
    sys.modules["plugin_board"].runs = []
    return registry


def plugin(site: Path, name: str, body: str, *, points: str | None = None) -> None:
    head = "import plugin_board\nfrom plugin_board import MODELS\nplugin_board.runs.append(__name__)\n"
    module = f"plug_{name}"
    text = points if points is not None else f"{name} = {module}"
    install(site, f"acme_{name}", "1.0", entry_points=f"[{GROUP}]\n{text}\n", modules={f"{module}.py": head + body})


def test_a_module_runs_its_decorators_and_a_class_enters_with_its_attributes(site: Path) -> None:
    plugin(site, "module", "@MODELS.register_module('fill-mask', 'decorated')\nclass D: ...\n")
    plugin(
        site,
        "classes",
        "class C:\n    tasks = 'translation'\n    backend = 'acme'\n    class Inner: ...\n",
        points="pointed = plug_classes:C\ninner = plug_classes:C.Inner",
    )
    models = board(Registry("models", entry_points=GROUP))
    assert sys.modules["plugin_board"].runs == []  # nothing before the first need
    assert models.get("decorated", "fill-mask").__module__ == "plug_module"
    entry = models.select(task="translation", backend="acme")
    assert (entry.name, entry.path) == ("pointed", "plug_classes:C")
    assert entry.origin == "entry point 'pointed' of acme-classes 1.0"
    assert models.get("inner").__qualname__ == "C.Inner"
    assert {one.name: one.origin for one in models}["decorated"] == "entry point 'module' of acme-module 1.0"
    assert sorted(sys.modules["plugin_board"].runs) == ["plug_classes", "plug_module"]


def test_names_that_ship_with_the_package_never_lead_to_plug_ins(site: Path) -> None:
    plugin(site, "unwanted", "raise AssertionError('imported')\n")
    models = board(Registry("models", entry_points=GROUP))
    models.register_module("t", "ours", "modelscope_ext.utils.registry:Registry")
    assert models.get("ours", "t") is Registry
    assert models.get("ours") is Registry
    assert "plug_unwanted" not in sys.modules
    assert repr(models) == "Registry('models', 1 entries)"
    assert "plug_unwanted" not in sys.modules
    models.get("ours", "t", backend="acme")  # now another package could know better
    assert sys.modules["plugin_board"].runs == ["plug_unwanted"]


def test_a_broken_plugin_breaks_no_other_and_says_why(site: Path) -> None:
    plugin(site, "broken", "import no_such_module_here\n")
    plugin(site, "exits", "raise SystemExit(3)\n")
    plugin(site, "sound", "@MODELS.register_module('t', 'sound')\nclass S: ...\n")
    plugin(site, "vanished", "", points="vanished = plug_vanished:Nothing")
    models = board(Registry("models", entry_points=GROUP))
    assert models.get("sound", "t").__name__ == "S"
    assert [entry.name for entry in models] == ["sound"]
    errors = {entry.name: entry.error for entry in models.list() if entry.error}
    assert {name: type(error) for name, error in errors.items()} == {
        "broken": ModuleNotFoundError,
        "exits": SystemExit,
        "vanished": ImportError,
    }
    broken = next(entry for entry in models.list() if entry.name == "broken")
    assert broken.to_dict()["error"] == "ModuleNotFoundError: No module named 'no_such_module_here'"
    with pytest.raises(RegistryError, match=r"of acme-broken 1\.0.* could not be loaded: ModuleNot") as caught:
        broken.load()
    assert caught.value.__cause__ is errors["broken"]
    with pytest.raises(RegistryError) as caught:
        models.get("broken")
    assert caught.value.__cause__ is errors["broken"]
    assert "Plug-in 'broken' of acme-broken 1.0 could not be loaded: ModuleNotFoundError" in str(caught.value)
    with pytest.raises(RegistryError, match="Registered: sound") as caught:
        models.get("something-else")  # any of them might have registered it
    assert caught.value.__cause__ in errors.values()


def test_two_packages_with_one_key_are_refused_whoever_comes_first(site: Path) -> None:
    body = "@MODELS.register_module('t', 'same')\nclass {0}: ...\n@MODELS.register_module(task='u')\nclass {0}U: ...\n"
    plugin(site, "one", body.format("One"))
    plugin(site, "two", body.format("Two"))
    models = board(Registry("models", entry_points=GROUP))
    assert models.broken == ()
    with pytest.raises(RegistryError) as caught:
        models.get("same", "t")
    message = str(caught.value)
    for part in ("plug_one:One", "acme-one 1.0", "plug_two:Two", "acme-two 1.0", "force=True"):
        assert part in message
    with pytest.raises(RegistryError, match="Ask for one by its name, 'OneU' or 'TwoU'"):
        models.select(task="u")
    mine = models.register_module("t", "same", dict, force=True)
    assert models.get("same", "t") is mine


def test_force_before_the_discovery_wins_as_well(site: Path) -> None:
    plugin(site, "late", "@MODELS.register_module('t', 'same')\nclass L: ...\n")
    models = board(Registry("models", entry_points=GROUP))
    models.register_module("t", "same", dict, force=True)
    assert models.get("same", "t") is dict
    assert sys.modules["plugin_board"].runs == ["plug_late"]
    assert models.broken == ()


def test_no_package_takes_a_name_of_ours(site: Path) -> None:
    plugin(site, "greedy", "@MODELS.register_module('t', 'ours')\nclass G: ...\n")
    models = board(Registry("models", entry_points=GROUP))
    models.register_module("t", "ours", "modelscope_ext.utils.registry:Registry")
    (broken,) = models.broken
    assert models.get("ours", "t") is Registry
    assert "plug_greedy:G" in str(broken.error)
    assert "modelscope_ext.utils.registry:Registry" in str(broken.error)


def test_a_package_that_forces_itself_in_is_logged(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    plugin(site, "forced", "@MODELS.register_module('t', 'same', force=True)\nclass F: ...\n")
    models = board(Registry("models", entry_points=GROUP))
    models.register_module("t", "same", dict)
    assert models.get("same", "t").__name__ == "F"
    assert "'same' = plug_forced:F" in caplog.text
    assert "replaces 'same' = builtins:dict" in caplog.text


def test_a_class_that_is_decorated_and_pointed_at_is_one(site: Path) -> None:
    plugin(
        site,
        "both",
        "@MODELS.register_module(task='t')\nclass Both: ...\n",
        points="Both = plug_both:Both\nboth-by-another-name = plug_both:Both",
    )
    models = board(Registry("models", entry_points=GROUP))
    assert models.select(task="t").target.__name__ == "Both"
    assert models.get("both-by-another-name") is models.get("Both", "t")
    assert models.broken == ()


def test_lazy_groups_import_a_class_when_its_name_is_asked_for(site: Path) -> None:
    plugin(site, "lazy", "class L: ...\n", points="lazy = plug_lazy:L\nwrong = plug_lazy")
    models = board(Registry("models", entry_points=GROUP, lazy=True))
    assert [entry.path for entry in models] == ["plug_lazy:L"]
    assert [entry.name for entry in models.broken] == ["wrong"]
    assert sys.modules["plugin_board"].runs == []
    assert models.get("lazy").__name__ == "L"


def test_a_plugin_may_ask_the_registry_while_it_is_loaded(site: Path) -> None:
    plugin(site, "asks", "SEEN = [entry.name for entry in MODELS]\nMODELS.register_module('t', 'x', dict)\n")
    models = board(Registry("models", entry_points=GROUP))
    assert models.get("x", "t") is dict
    assert sys.modules["plug_asks"].SEEN == []


def test_threads_load_each_plugin_once(site: Path) -> None:
    for number in range(4):
        body = f"import time\ntime.sleep(0.03)\n@MODELS.register_module('t', 'n{number}')\nclass N: ...\n"
        plugin(site, f"slow{number}", body)
    models = board(Registry("models", entry_points=GROUP))
    start = threading.Barrier(8)

    def use(number: int) -> object:
        start.wait()
        return models.get(f"n{number % 4}", "t").__module__

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(use, range(8))) == [f"plug_slow{number % 4}" for number in range(8)]
    assert sorted(sys.modules["plugin_board"].runs) == [f"plug_slow{number}" for number in range(4)]
    assert len(models) == 4


def test_a_module_that_another_thread_is_importing_does_not_deadlock(site: Path) -> None:
    """One thread loads the plug-ins, another imports one of them, whose top asks the registry."""
    plugin(
        site,
        "crossed",
        "plugin_board.inside.set()\nplugin_board.go.wait(10)\nlist(MODELS)\nMODELS.register_module('t', 'c', dict)\n",
    )
    models = board(Registry("models", entry_points=GROUP))
    inside, go = threading.Event(), threading.Event()
    vars(sys.modules["plugin_board"]).update(inside=inside, go=go)
    importer = threading.Thread(target=plugins.import_string, args=("plug_crossed",), daemon=True)
    importer.start()
    assert inside.wait(10)
    asker = threading.Thread(target=lambda: list(models), daemon=True)
    asker.start()
    asker.join(0.2)  # it now waits for the module that the other thread imports
    go.set()
    importer.join(20)
    asker.join(20)
    assert not importer.is_alive()
    assert not asker.is_alive()
    assert models.get("c", "t") is dict


def test_a_temporary_registration_forgets_no_plugin(site: Path) -> None:
    plugin(site, "kept", "@MODELS.register_module('t', 'kept')\nclass K: ...\n")
    models = board(Registry("models", entry_points=GROUP))
    with models.temporary():
        models.register_module("t", "mine", dict)
        assert models.get("kept", "t").__name__ == "K"
    assert [entry.name for entry in models] == ["kept"]


def test_nothing_is_looked_for_without_a_group(site: Path) -> None:
    plugin(site, "any", "")
    board(Registry("models"))
    assert len(Registry("models")) == 0
    assert "plug_any" not in sys.modules


def test_import_string_names_what_is_missing() -> None:
    assert plugins.import_string("fractions").__name__ == "fractions"
    with pytest.raises(ImportError, match=r"fractions has no 'Fraction\.nothing'"):
        plugins.import_string("fractions:Fraction.nothing")
    with pytest.raises(ModuleNotFoundError):
        plugins.import_string("no_such_module_here:X")


def test_importing_the_registry_is_cheap() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from modelscope_ext.utils.registry import Registry;"
        " len(Registry('models', entry_points='modelscope_ext.models'));"
        " print([m for m in ('importlib.metadata', 'asyncio', 'packaging', 'yaml', 'difflib') if m in sys.modules])"
    )
    root = str(Path(plugins.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
