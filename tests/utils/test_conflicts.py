"""Packages that cannot share an environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelscope_ext.utils.conflicts import CONFLICTS, PROVIDERS
from modelscope_ext.utils.distributions import canonical_name
from modelscope_ext.utils.requirement import check_requirement, check_requirements, install_command
from tests.utils.installed import install

_KNOWN = ("transformers", "numpy", "torch", "torchvision", "mindone", "mindformers")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with packages: what this environment has does not show through."""
    folder = tmp_path / "site"
    folder.mkdir()
    from modelscope_ext.utils import distributions

    monkeypatch.setattr(distributions, "_stamps", lambda: ((str(folder), len(list(folder.iterdir()))),))
    return folder


@pytest.mark.parametrize(
    ("installed", "spec", "problem"),
    [
        # mindone 0.5 pins transformers 4.57.1 and numpy<2
        ({}, "mindone", "missing"),
        ({"transformers": "4.57.1", "numpy": "1.26.4"}, "mindone>=0.5", "missing"),
        ({"transformers": "5.23.0"}, "mindone", "conflict"),
        ({"numpy": "2.4.6"}, "mindone==0.5.0", "conflict"),
        ({"mindone": "0.5.0", "transformers": "5.23.0"}, "mindone", "conflict"),
        ({"mindone": "0.5.0", "transformers": "4.57.1", "numpy": "1.26.4"}, "mindone", ""),
        ({"mindone": "0.7.0", "transformers": "5.23.0"}, "mindone", ""),
        ({"mindone": "0.5.0", "transformers": "4.57.1"}, "transformers>=5", "conflict"),
        ({"mindone": "0.5.0", "transformers": "4.30.0"}, "transformers>=4.37", "too old"),
        ({"transformers": "4.57.1"}, "transformers>=5", "too old"),
        ({"mindformers": "1.8.0", "numpy": "1.26.4"}, "numpy>=2", "conflict"),
        # mindformers 2 cannot be installed
        ({}, "mindformers>=2", "conflict"),
        ({}, "mindformers", "missing"),
        ({"numpy": "2.0.1"}, "mindformers>=1.8", "conflict"),
        # torchvision of another build than torch
        ({"torch": "2.13.0+cpu"}, "torchvision", "conflict"),
        ({"torch": "2.13.0+cpu", "torchvision": "0.28.0"}, "torchvision>=0.20", "conflict"),
        ({"torch": "2.13.0+cpu", "torchvision": "0.28.0+cpu"}, "torchvision>=0.20", ""),
        ({"torch": "2.13.0", "torchvision": "0.28.0"}, "torchvision", ""),
        ({"torch": "2.13.0"}, "torchvision", "missing"),
        ({}, "torchvision", "missing"),
        # types of ModelScope that build on transformers 4
        ({"transformers": "5.23.0"}, "transformers>=4.57.1,<5", "conflict"),
        ({"transformers": "4.57.1"}, "transformers>=4.57.1,<5", ""),
        ({"transformers": "4.30.0"}, "transformers>=4.57.1,<5", "too old"),
        ({}, "transformers>=4.57.1,<5", "missing"),
    ],
)
def test_against_what_is_installed(site: Path, installed: dict[str, str], spec: str, problem: str) -> None:
    for name, version in installed.items():
        install(site, name, version)
    check = check_requirement(spec)
    assert check.problem == problem, check
    if problem == "conflict":
        assert install_command([check]) == ""  # pip alone cannot mend it
        assert len(check.advice) > 60


@pytest.mark.parametrize(
    ("specs", "clash"),
    [
        (("mindone", "transformers>=5"), True),
        (("mindone", "numpy>=2"), True),
        (("mindone>=0.5", "transformers>=4.37", "numpy"), False),
        (("mindone", "mindformers"), False),
    ],
)
def test_against_each_other(site: Path, specs: tuple[str, ...], clash: bool) -> None:
    problems = [check.problem for check in check_requirements(specs)]
    assert problems == (["conflict", "conflict"] if clash else ["missing"] * len(specs))


def test_advice_says_which_and_what_to_do(site: Path) -> None:
    install(site, "transformers", "5.23.0")
    advice = check_requirement("mindone").advice
    assert "mindone works only with transformers==4.57.1 and numpy<2" in advice
    assert "python -m venv" in advice


def test_the_tables_are_spelled_as_they_are_looked_up() -> None:
    names = [*PROVIDERS, *(name for group in PROVIDERS.values() for name in group), *(row.package for row in CONFLICTS)]
    assert [name for name in names if canonical_name(name) != name] == []
    assert {row.package for row in CONFLICTS} | {other for row in CONFLICTS for other in row.needs} <= set(_KNOWN)
    assert all("{" not in row.text() for row in CONFLICTS)
