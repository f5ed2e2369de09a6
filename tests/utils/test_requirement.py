"""Verdicts on requirements: equal to packaging's own, quick, and of no use to a stranger's file."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement

from modelscope_ext.utils import requirement as r
from modelscope_ext.utils.distributions import Distribution
from tests.utils.installed import install


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on `sys.path` before all others."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("acme-box", ""),
        ("Acme_Box >= 1.2, <2", ""),
        ("acme.box==1.4.0", ""),
        ("acme-box~=1.3", ""),
        ("acme-box==1.*", ""),
        ("acme-box (>=1.0)", ""),
        ("acme-box>=1.5", "too old"),
        ("acme-box==1.5", "too old"),
        ("acme-box~=2.0", "too old"),
        ("acme-box==2.*", "too old"),
        ("acme-box<1.4", "conflict"),
        ("acme-box==1.3", "conflict"),
        ("acme-box!=1.4", "conflict"),
        ("acme-none", "missing"),
        ("acme-none>=3; python_version >= '3'", "missing"),
        ("acme-none; python_version < '3'", ""),
        ("acme-none; sys_platform == 'no-such-system'", ""),
        ("acme-box[fast]", ""),
        ("acme-box[slow]", "missing"),
        ("acme-box[fast,slow]>=1", "missing"),
        ("acme-box[old]", "missing"),
        ("acme-box[other-platform]", ""),
        ("acme-box[loop]", ""),
        ("acme-box[unknown]", ""),
        ("git+https://example.com/x.git", "refused"),
        ("acme @ https://example.com/x.whl", "refused"),
        ("acme @ file:///tmp/x", "refused"),
        ("https://example.com/x.whl", "refused"),
        ("./x", "refused"),
        ("..", "refused"),
        ("~/x", "refused"),
        ("/x/y", "refused"),
        ("org/repo", "refused"),
        ("x.whl", "refused"),
        ("-r requirements.txt", "refused"),
        ("--index-url https://example.com", "refused"),
        ("-e .", "refused"),
        ("acme-box===1.4;rm", "invalid"),
        ("acme-box===1.4", "invalid"),
        ("acme box", "invalid"),
        (">=1", "invalid"),
        ("", "invalid"),
        ("  ", "invalid"),
        ("acme-box>=1,", ""),
        ("requirements.txt", "refused"),
        ("acme-box>=x", "invalid"),
        ("acme; python_version ~= 'x'", "invalid"),
        ("acme; nonsense == 'x'", "invalid"),
        ("a" * 400, "invalid"),
    ],
)
def test_verdicts(site: Path, spec: str, problem: str) -> None:
    extras = (
        "acme-fast>=1; extra == 'fast'",
        "acme-none; extra == 'slow'",
        "acme-fast>=9; extra == 'old'",
        "acme-none; extra == 'other-platform' and sys_platform == 'none'",
        "acme-box[loop]; extra == 'loop'",
    )
    install(site, "acme_box", "1.4", requires=extras)
    install(site, "acme_fast", "1.1")
    check = r.check_requirement(spec)
    assert (check.problem, check.ok) == (problem, not problem), check
    assert bool(check.advice) == (not check.ok)


@pytest.mark.parametrize("spec", [None, 3, ["numpy"], {"name": "numpy"}, b"numpy"])
def test_values_that_are_no_text(spec: object) -> None:
    check = r.check_requirement(spec)  # type: ignore[arg-type]
    assert (check.ok, check.problem) == (False, "invalid")


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("PIL", "pillow"),
        ("Pillow", "pillow"),
        ("PIL.Image", "pillow"),
        ("cv2", "opencv-python"),
        ("sklearn", "scikit-learn"),
        ("sklearn.svm", "scikit-learn"),
        ("scikit_learn", "scikit-learn"),
        ("yaml", "pyyaml"),
        ("PyYAML", "pyyaml"),
        ("sentence_transformers", "sentence-transformers"),
        ("torch.nn", "torch"),
        ("google.protobuf", "protobuf"),
    ],
)
def test_both_spellings_mean_one_package(site: Path, name: str, package: str) -> None:
    assert r.pip_name(name) == package
    install(site, package.replace("-", "_"), "1.0")
    assert r.is_installed(name)
    assert r.check_requirement(f"{name}>=1").name == package


def test_any_package_with_the_module_will_do(site: Path) -> None:
    install(site, "opencv_python_headless", "4.9")
    assert r.check_requirement("cv2>=4").ok
    assert r.check_requirement("opencv-python").ok
    assert r.check_requirement("opencv-python>=5").advice == 'pip install "opencv-python-headless>=5"'


def test_a_dotted_distribution_keeps_its_whole_name(site: Path) -> None:
    install(site, "zope.thing", "2.0")
    assert r.check_requirement("zope.thing>=2").installed == "2.0"


def test_advice_names_what_is_installed(site: Path) -> None:
    install(site, "acme_box", "1.4")
    check = r.check_requirement("acme-box[x]>=2")
    assert str(check) == 'acme-box[x]>=2: too old, 1.4 is installed. pip install "acme-box[x]>=2"'
    assert r.check_requirement("acme-box").to_dict()["installed"] == "1.4"


def test_one_command_for_all(site: Path) -> None:
    install(site, "acme_box", "1.4")
    checks = r.check_requirements(
        [
            "acme-box",
            "acme-box>=2",
            "sklearn-missing",
            "acme-none[a,b]>=1,<2; python_version>='3'",
            "git+https://x/y",
            "z z",
        ]
    )
    command = r.install_command(checks)
    assert shlex.split(command) == ["pip", "install", "acme-box>=2", "sklearn-missing", "acme-none[a,b]<2,>=1"]
    assert r.install_command(r.check_requirements(["acme-box"])) == ""


def test_a_string_is_one_requirement_and_repetitions_count_once() -> None:
    assert [check.requirement for check in r.check_requirements("pip")] == ["pip"]
    assert len(r.check_requirements(["pip", "pip", "pip>=1"])) == 2


@pytest.mark.parametrize(
    ("specs", "fits"),
    [
        (("acme>=2", "acme<1.5"), False),
        (("acme>=2", "acme<=2"), True),
        (("acme>2", "acme<2.0.1"), True),
        (("acme>1.0", "acme<1.0.1"), True),
        (("acme==1.*", "acme>=2"), False),
        (("acme~=1.4", "acme<1.4"), False),
        (("acme~=1.4", "acme>=1.9"), True),
        (("acme<1", "acme<2"), True),
        (("acme!=1", "acme==1"), False),
        (("acme<1; python_version < '3'", "acme>=1"), True),
    ],
)
def test_requirements_that_exclude_each_other(specs: tuple[str, ...], fits: bool) -> None:
    problems = {check.problem for check in r.check_requirements(specs)}
    assert ("conflict" not in problems) == fits


_VERSION = st.lists(st.integers(0, 12), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
_CLAUSE = st.tuples(
    st.sampled_from([">=", "<=", "==", "!=", "<", ">", "~=", "=="]), _VERSION, st.sampled_from(["", ".*"])
)


@settings(max_examples=100, derandomize=True)
@given(
    version=_VERSION,
    local=st.sampled_from(["", "+cpu", "rc1", ".dev2", ".post1"]),
    clauses=st.lists(_CLAUSE, max_size=3),
)
def test_versions_are_compared_as_packaging_does(version: str, local: str, clauses: list[tuple[str, str, str]]) -> None:
    specifier = ",".join(
        sign + bound + (".1" if sign == "~=" else star if sign in ("==", "!=") else "") for sign, bound, star in clauses
    )
    check = _check_against(version + local, f"acme-typed{specifier}")
    expected = Requirement(f"acme-typed{specifier}").specifier.contains(version + local, prereleases=True)
    assert check.ok == expected, check


def _check_against(version: str, spec: str) -> r.Check:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(r, "installed", lambda name: Distribution("acme-typed", version))
        return r.check_requirement(spec)


@settings(max_examples=100, derandomize=True)
@given(st.one_of(st.text(max_size=60), st.from_regex(r"[a-z]{1,3}[ @;\[\]<>=!~.,*'\"a-z0-9-]{0,25}", fullmatch=True)))
def test_no_text_makes_it_raise_or_leaves_the_shell_open(spec: str) -> None:
    check = r.check_requirement(spec)
    assert check.requirement.isprintable()
    command = r.install_command([check])
    if command:
        words = shlex.split(command)
        assert words[:2] == ["pip", "install"]
        assert len(words) == 3
        assert not set(command) & set("$`\\;&|\n\r") or "'" not in command
        assert not words[2].startswith("-")


def test_plain_requirements_need_no_heavy_import() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from modelscope_ext.utils.requirement import *;"
        " checks = check_requirements(['pip>=1', 'torch>=2.4', 'no-such-package>=1,<2']); is_installed('cv2');"
        " install_command(checks); print([m for m in ('importlib.metadata', 'packaging', 'torch') if m in sys.modules])"
    )
    root = str(Path(r.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
