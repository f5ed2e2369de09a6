"""Contributors' packages, installed as any other: found without an import, in this process and in spawned workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.conftest import Site

LOOK = """
import json, sys
from modelscope_ext import BACKENDS, MODELS, PIPELINES

def look():
    from modelscope_ext import BACKENDS, MODELS, PIPELINES
    return {
        "models": sorted([entry.name, entry.origin] for entry in MODELS),
        "pipelines": sorted([entry.name, entry.path] for entry in PIPELINES if entry.name.startswith("acme")),
        "backend": [BACKENDS.get("centroid").name, "centroid" in BACKENDS.names()],
        "broken": [str(one) for registry in (MODELS, PIPELINES, BACKENDS) for one in registry.list() if one.error],
    }

if __name__ == "__main__":
    import multiprocessing
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        spawned = pool.apply(look)
    early = sorted(name for name in sys.modules if name.startswith("acme"))
    print(json.dumps({"early": early, "spawned": spawned, "here": look()}))
"""

RUN = """
import json, sys

def run(folders):
    from modelscope_ext import pipeline
    keywords, topics, digits, picture = folders
    one, two, three = pipeline(model=keywords), pipeline(model=topics), pipeline(model=digits, backend="onnx")
    with one, two, three:
        return [
            one(["a great day", "awful"]),
            two(["the team lost the match", "too much salt in the soup"]),
            [type(three.model).__name__, three(picture, at_least=1.1)[0]["label"]],
            two.resolution.backend,
        ]

if __name__ == "__main__":
    import multiprocessing
    folders = sys.argv[1:]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        spawned = pool.apply(run, (folders,))
    print(json.dumps({"spawned": spawned, "here": run(folders)}))
"""


def script(folder: Path, text: str) -> str:
    path = folder / "script.py"
    path.write_text(text)
    return str(path)


def test_entry_points_are_found_here_and_in_a_spawned_worker(site: Site, tmp_path: Path) -> None:
    done = site.run(script(tmp_path, LOOK), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["early"] == []  # importing modelscope_ext imports no plug-in
    assert answer["here"] == answer["spawned"]
    assert answer["here"] == {
        "models": [
            ["SureOrSilent", "entry point 'acme-sure' of acme-sure 1.0"],
            ["acme-keywords", "entry point 'acme-keywords' of acme-keywords 1.0"],
        ],
        "pipelines": [["acme-keywords-pipeline", "acme_keywords.modeling:KeywordPipeline"]],
        "backend": ["centroid", True],
        "broken": [],
    }


@pytest.mark.parametrize("name", ["model_by_decorator", "modelscope_style", "backend_entry_point"])
def test_the_packages_own_tests_pass(site: Site, name: str, tmp_path: Path) -> None:
    tests = site.sources / name / "tests"
    done = site.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(tests), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_pipelines_run_here_and_in_a_spawned_worker(site: Site, tmp_path: Path) -> None:
    import modelscope_ext

    keywords, topics = tmp_path / "keywords", tmp_path / "topics"
    keywords.mkdir()
    configuration = {
        "framework": "pytorch",
        "task": "text-classification",
        "model": {"type": "acme-keywords"},
        "pipeline": {"type": "acme-keywords-pipeline"},
    }
    (keywords / "configuration.json").write_text(json.dumps(configuration))
    (keywords / "keywords.json").write_text(json.dumps({"good": ["great"], "bad": ["awful"]}))
    topics.mkdir()
    labels = {"sport": {"match": 1.0, "team": 1.0}, "food": {"salt": 1.0, "soup": 1.0}}
    (topics / "centroid.json").write_text(json.dumps({"format": "centroid-1", "labels": labels}))
    data = Path(modelscope_ext.__file__).parent / "data"
    picture = sorted((data / "digits_samples").glob("*.png"))[0]
    done = site.run(script(tmp_path, RUN), str(keywords), str(topics), str(data / "digits"), str(picture), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["here"] == answer["spawned"]
    first, second, third, backend = answer["here"]
    assert [one["labels"][0] for one in first] == ["good", "bad"]
    assert [one["label"] for one in second] == ["sport", "food"]
    assert third == ["SureOrSilent", "unsure"]
    assert backend == "centroid"


AMBIGUOUS = """
from modelscope_ext import MODELS
from modelscope_ext.errors import RegistryError
for ask in (
    lambda: MODELS.get("acme-key", "text-classification"),
    lambda: MODELS.select(task="text-classification", model_type="acme-key"),
):
    try:
        print("found", ask())
    except RegistryError as error:
        print(error)
print(sorted(entry.name for entry in MODELS))
"""


def test_two_packages_with_one_key_are_an_error_that_names_both(same_key: Site, tmp_path: Path) -> None:
    done = same_key.run("-c", AMBIGUOUS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "models: 2 entries are equally good for task='text-classification':",
        "  'acme-key' = acme_key_one:One (task='text-classification', entry point 'acme-key-one' of acme-key-one 1.0)",
        "  'acme-key' = acme_key_two:Two (task='text-classification', entry point 'acme-key-two' of acme-key-two 1.0)",
        "Uninstall one of the packages, or register the one you mean again with force=True.",
        "models: 2 entries are equally good for task='text-classification', model_type='acme-key':",
        "  'ChosenOne' = acme_key_one:ChosenOne (task='text-classification', model_type='acme-key',"
        " entry point 'acme-key-one' of acme-key-one 1.0)",
        "  'ChosenTwo' = acme_key_two:ChosenTwo (task='text-classification', model_type='acme-key',"
        " entry point 'acme-key-two' of acme-key-two 1.0)",
        "Ask for one by its name, 'ChosenOne' or 'ChosenTwo', or register one of them with a further condition"
        " (backend=, framework=).",
        "['ChosenOne', 'ChosenTwo', 'acme-key', 'acme-key']",
    ]
    readme = (Path(__file__).parents[2] / "examples" / "same_key_one" / "README.md").read_text()
    assert all(line in readme for line in done.stdout.splitlines()[:4])


def test_a_planted_package_in_the_working_directory_is_no_plugin(same_key: Site, tmp_path: Path) -> None:
    info = tmp_path / "evil-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[modelscope_ext.models]\nevil = evil\n[modelscope_ext.backends]\nevil = evil:E\n"
    )
    (tmp_path / "evil.py").write_text("print('executed')\n")
    code = "from modelscope_ext import BACKENDS, MODELS; print(len(MODELS), 'evil' in BACKENDS, MODELS.broken)"
    done = same_key.run("-c", code, cwd=tmp_path)
    assert (done.stdout, done.returncode) == ("4 False ()\n", 0), done.stderr


BROKEN = """
import sys
from modelscope_ext import BACKENDS, MODELS, pipeline, resolve
print(resolve(sys.argv[1]).backend, pipeline(model=sys.argv[1])("soup")["label"])
print([entry.name for entry in MODELS.list() if entry.error], "broken" in BACKENDS)
try:
    BACKENDS.get("broken")
except KeyError as error:
    print(type(error.__cause__).__name__, "broken-pkg 1.0" in str(error))
"""


def test_a_broken_package_breaks_nobody_else(site: Site, tmp_path: Path) -> None:
    """Its backend cannot be imported, another one fails in `probe`, and its models' module raises."""
    from tests.utils.installed import install

    points = (
        "[modelscope_ext.backends]\nbroken = broken_backend:B\nfails = fails_backend:B\n"
        "[modelscope_ext.models]\nbroken-models = broken_models\n"
    )
    modules = {
        "broken_backend.py": "import no_such_module_here\n",
        "fails_backend.py": "from modelscope_ext import Backend\nclass B(Backend):\n    name = 'fails'\n",
        "broken_models.py": "1 / 0\n",
    }
    install(tmp_path / "more", "broken_pkg", entry_points=points, modules=modules)
    topics = tmp_path / "topics"
    topics.mkdir()
    labels = {"sport": {"match": 1.0}, "food": {"soup": 1.0}}
    (topics / "centroid.json").write_text(json.dumps({"format": "centroid-1", "labels": labels}))
    head = f"import sys; sys.path.append({str(tmp_path / 'more')!r})\n"
    done = site.run("-c", head + BROKEN, str(topics), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "centroid food",
        "['broken-models'] True",
        "ModuleNotFoundError True",
    ]
