"""Step 4 of 6: what a model needs installed, and which of it is missing here. Nothing is imported to find out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscope_ext.models.builder import BACKENDS
from modelscope_ext.models.decision.recognised import library
from modelscope_ext.models.resolution import Match
from modelscope_ext.utils.requirement import check_requirements

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.utils.entry import Entry

__all__ = ["missing", "requirements"]

_MOST_REMEMBERED = 256

#: What transformers needs to read weights that are quantised by a method.
_QUANTIZERS = {
    "bitsandbytes": "bitsandbytes",
    "gptq": "gptqmodel",
    "awq": "gptqmodel",
    "compressed-tensors": "compressed-tensors",
    "aqlm": "aqlm",
    "hqq": "hqq",
    "eetq": "eetq",
    "quanto": "optimum-quanto",
    "torchao": "torchao",
    "higgs": "flute-kernel",
}


def requirements(evidence: Evidence, match: Match, quantization: str | None, entry: Entry | None) -> tuple[str, ...]:
    """Return what the backend, the quantised weights and the model itself ask for.

    A registered class for a library without a backend here, or for a type of ModelScope's, says itself what it needs,
    when it is loaded.
    """
    needs: list[str] = []
    row = library(match.backend)
    itself = entry is not None and match.backend == "modelscope"  # the class that a model.type names
    if match.backend in BACKENDS and match.loadable and not itself:
        needs += _requires(match.backend)
    elif entry is None and row is not None and row.install.startswith("pip install ") and "+" not in row.install:
        needs += [name.strip('"') for name in row.install.removeprefix("pip install ").split()]
        needs = [match.backend if n.startswith("modelscope-ext") else n for n in needs]
    needs += match.requires
    if match.backend == "transformers" and quantization in _QUANTIZERS:
        needs.append(_QUANTIZERS[quantization])
    needs += [fact.value for fact in evidence.declared.get("requirements", ()) if isinstance(fact.value, str)]
    return tuple(dict.fromkeys(needs))


#: Backend -> the entries there were when it was asked, and its requirements.
_REQUIRES: dict[str, tuple[object, tuple[str, ...]]] = {}


def _requires(name: str) -> tuple[str, ...]:
    """Return a backend's own requirements; remembered while the same backends are registered."""
    entries = BACKENDS.entries
    known = _REQUIRES.get(name)
    if known is None or known[0] is not entries:
        known = _REQUIRES[name] = (entries, tuple(BACKENDS.get(name).requires))
    return known[1]


#: Requirements -> what was installed when they were checked, and the lines about those that are not met.
_CHECKED: dict[tuple[str, ...], tuple[object, tuple[str, ...]]] = {}


def missing(needs: tuple[str, ...], now: object) -> tuple[str, ...]:
    """Return a line for each requirement that is not met; remembered until something is installed or removed."""
    known = _CHECKED.get(needs)
    if known is None or known[0] is not now:
        lines = tuple(str(check) for check in check_requirements(needs) if not check.ok)
        if len(_CHECKED) >= _MOST_REMEMBERED:
            _CHECKED.clear()
        known = _CHECKED[needs] = (now, lines)
    return known[1]
