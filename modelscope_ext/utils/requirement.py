"""Does this environment have what a model needs? Answered from installers' records; no package is imported.

Requirements are PEP 508 strings. Those of a model's `requirement_dependency` come from a stranger: authors write pip
names and import names (``cv2``), so both are understood; what would fetch code from an address is refused and never
suggested.

Example:
    >>> check_requirement("pip>=1").ok, check_requirement("no-such-package-here").problem
    (True, 'missing')
    >>> check_requirement("x @ https://example.com/x.whl").problem
    'refused'
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from modelscope_ext.utils.conflicts import PROVIDERS, advice_of_companions, conflict_between, conflict_of
from modelscope_ext.utils.distributions import Distribution, canonical_name, installed, requires
from modelscope_ext.utils.record import Record, dataclass, replace
from modelscope_ext.utils.text import printable
from modelscope_ext.utils.versions import BOUND, holds, plain_bounds, plain_release, release

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = ["Check", "check_requirement", "check_requirements", "install_command", "is_installed", "pip_name"]

#: ``name``, ``name>=1.2``, ``name>=1,<2``: what nearly all requirements look like, judged without `packaging` (16 ms).
_PLAIN = re.compile(rf"\s*([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)\s*((?:{BOUND}(?:\s*,\s*{BOUND})*)?)\s*\Z", re.ASCII)
#: Options of pip, addresses and paths: lines that pip would fetch from somewhere else than the registry.
_FETCHES = re.compile(r"\s*-|.*://|.*@\s*\S|\s*(git|hg|svn|bzr)\+|\s*[.~]|.*[/\\]", re.DOTALL)
_FILES = (".whl", ".zip", ".tar.gz", ".txt", ".py", ".git")
_LONGEST = 300


@dataclass(frozen=True)
class Check(Record):
    """The verdict on one requirement.

    Attributes:
        requirement: As it was given, safe to show.
        ok: Whether a load may go on.
        installed: The installed version; None when there is none.
        problem: ``""``, ``"missing"``, ``"too old"``, ``"conflict"`` (too new, or cannot share this environment with
            something else), ``"invalid"`` (not a requirement) or ``"refused"`` (would fetch from an address).
        advice: What to do: the pip command, or a sentence where no command helps; empty when `ok`.
        name: The name that pip knows it by; empty when there is none.
        specifier: What to give to pip after the name, extras and versions, e.g. ``"[torch]>=4.37"``.
    """

    requirement: str
    ok: bool
    installed: str | None = None
    problem: str = ""
    advice: str = ""
    name: str = ""
    specifier: str = ""

    def __str__(self) -> str:
        """One line: the requirement, what is wrong with it, what to do."""
        if self.ok:
            return self.requirement
        has = f", {self.installed} is installed" if self.installed else ""
        return f"{self.requirement}: {self.problem}{has}. {self.advice}"


def is_installed(name: str) -> bool:
    """Return whether a package is installed, by its pip name or its import name. Takes microseconds.

    Example:
        >>> is_installed("pip"), is_installed("no_such_package_here")
        (True, False)
    """
    return _find(name) is not None


def pip_name(name: str) -> str:
    """Return the name that pip knows a package by.

    Example:
        >>> pip_name("cv2"), pip_name("PIL.Image"), pip_name("Torch")
        ('opencv-python', 'pillow', 'torch')
    """
    return _providers(name)[0]


def check_requirement(spec: str) -> Check:
    """Compare one requirement with what is installed.

    Args:
        spec: A PEP 508 string. Extras and environment markers are honoured. Anything else is a Check that says so.
    """
    if not isinstance(spec, str) or len(spec) > _LONGEST or not spec.strip():
        return Check(printable(spec), False, problem="invalid", advice="Write it as a PEP 508 string: 'name>=1.2'.")
    file = spec.strip().lower().endswith(_FILES)
    plain = None if file else _PLAIN.match(spec)
    if plain:
        return _check_plain(" ".join(spec.split()), plain[1], "".join(plain[2].split()))
    if file or _FETCHES.match(spec):
        return Check(
            printable(spec),
            False,
            problem="refused",
            advice="It would fetch code from elsewhere, which is never done. Read it, then install it by hand.",
        )
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(spec)
        applies = not requirement.marker or requirement.marker.evaluate({"extra": ""})
    except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName) as error:
        reason = printable(str(error).splitlines()[0], 200)
        return Check(printable(spec), False, problem="invalid", advice=f"Not a PEP 508 string: {reason}.")
    if not applies:
        return Check(printable(spec), True)
    if "===" in str(requirement.specifier):  # anything may follow it, and it would end up in a command line
        return Check(printable(spec), False, problem="invalid", advice="Use == instead of ===.")
    return _check_parsed(requirement, printable(spec), frozenset())


def check_requirements(specs: Iterable[str]) -> tuple[Check, ...]:
    """Check several requirements, each once, against what is installed and against each other."""
    items = (specs,) if isinstance(specs, str) else specs
    checks = tuple(dict.fromkeys(check_requirement(spec) for spec in items))
    bounds: dict[str, list[str]] = {}
    for check in checks:
        if check.name:
            bounds.setdefault(check.name, []).append(_versions(check))
    wanted = {name: ",".join(filter(None, several)) for name, several in bounds.items()}
    between = conflict_between(wanted)
    for name, several in bounds.items():
        if len(several) > 1 and wanted[name] and _impossible(wanted[name]):
            between.setdefault(name, f"No version of {name} is {wanted[name]}; mend the list.")
    checks = tuple(
        replace(check, ok=False, problem="conflict", advice=between[check.name]) if check.name in between else check
        for check in checks
    )
    apart = advice_of_companions(check.name for check in checks if check.problem == "conflict")
    return tuple(
        replace(check, advice=apart[check.name]) if check.problem == "conflict" and check.name in apart else check
        for check in checks
    )


def install_command(checks: Iterable[Check]) -> str:
    """Return the one pip command that installs what is missing, too old or too new; empty when nothing would help.

    Where packages cannot live here nothing does: they need an environment of their own.

    Example:
        >>> install_command(check_requirements(["no-such-package-here>=2", "PIL-no-such"]))
        'pip install "no-such-package-here>=2" pil-no-such'
    """
    bad = [check for check in checks if not check.ok]
    if any(check.problem == "conflict" for check in bad):
        return ""
    wanted = dict.fromkeys(_argument(check) for check in bad if check.advice.startswith("pip "))
    return f"pip install {' '.join(wanted)}" if wanted else ""


def _check_plain(spec: str, name: str, clauses: str) -> Check:
    found = _find(name)
    verdict = Check(spec, True, found.version if found else None, name=_name_for(name, found), specifier=clauses)
    if found is None:
        return _judged(verdict, "missing")
    have = plain_release(found.version)
    if clauses and have is None:  # a pre-release, an epoch, ...
        from packaging.requirements import Requirement

        return _check_parsed(Requirement(spec), spec, frozenset())
    known = have or ()
    wrong = [bound for sign, bound in plain_bounds(clauses) or () if not holds(known, sign, bound)]
    return _judged(verdict, _problem(known < release(bound) for bound in wrong))


def _check_parsed(requirement: Requirement, shown: str, above: frozenset[str]) -> Check:
    """Check a parsed requirement and, one level after the other, what its extras need."""
    found = _find(requirement.name)
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    verdict = Check(
        shown,
        True,
        found.version if found else None,
        name=_name_for(requirement.name, found),
        specifier=extras + str(requirement.specifier),
    )
    if found is None:
        return _judged(verdict, "missing")
    from packaging.version import InvalidVersion, Version

    try:
        have = Version(found.version)
    except InvalidVersion:  # older than PEP 440
        return _judged(verdict, "too old" if requirement.specifier else "")
    wrong = [one.version for one in requirement.specifier if not one.contains(have, prereleases=True)]
    if not wrong and requirement.extras and not _extras_met(found, requirement.extras, above):
        return _judged(verdict, "missing")
    return _judged(verdict, _problem(have < Version(bound.removesuffix(".*")) for bound in wrong))


def _extras_met(found: Distribution, extras: set[str], above: frozenset[str]) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    for line in requires(found):
        try:
            needed = Requirement(line)
        except InvalidRequirement:
            continue
        if not needed.marker or needed.marker.evaluate({"extra": ""}) or needed.url:
            continue
        if any(needed.marker.evaluate({"extra": extra}) for extra in extras) and needed.name not in above:
            needed.marker = None
            if not _check_parsed(needed, line, above | {found.name, needed.name}).ok:
                return False
    return True


def _judged(verdict: Check, problem: str) -> Check:
    """Return `verdict` with its problem and advice; a known conflict overrules what pip could do."""
    advice = conflict_of(verdict.name, verdict.installed, _versions(verdict), met=not problem)
    if advice:
        return replace(verdict, ok=False, problem="conflict", advice=advice)
    if not problem:
        return verdict
    return replace(verdict, ok=False, problem=problem, advice=f"pip install {_argument(verdict)}")


def _impossible(versions: str) -> bool:
    """Whether no version satisfies the bounds; only the bounds themselves and what lies just above can tell."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    bounds = SpecifierSet(versions)
    named = [bound.version.removesuffix(".*") for bound in bounds]
    releases = [Version(version).base_version for version in named]
    tried = ["0", *named, *releases, *(f"{release}.{more}" for release in releases for more in ("0.0.1", "1"))]
    return not any(bounds.contains(version, prereleases=True) for version in tried)


def _versions(check: Check) -> str:
    return check.specifier.rpartition("]")[2]


def _find(name: str) -> Distribution | None:
    return next((found for one in _providers(name) if (found := installed(one))), None)


def _providers(name: str) -> tuple[str, ...]:
    """Return the distributions that bring what `name` means, the one to install first."""
    whole = canonical_name(name)
    top = canonical_name(name.partition(".")[0])
    if whole in PROVIDERS:
        return PROVIDERS[whole]
    if "." in name and not installed(whole):
        return PROVIDERS.get(top, (top,))
    return (whole,)


def _name_for(name: str, found: Distribution | None) -> str:
    return found.name if found else _providers(name)[0]


def _argument(check: Check) -> str:
    argument = f"{check.name}{check.specifier}"
    return f'"{argument}"' if check.specifier else argument


def _problem(wrong: Iterable[bool]) -> str:
    """Name the problem from the bounds that fail: whether what is installed is older than each."""
    older = list(wrong)
    return ("too old" if any(older) else "conflict") if older else ""
