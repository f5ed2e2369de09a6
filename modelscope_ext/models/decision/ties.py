"""Ties: several libraries load the same folder, and what is installed or asked for in the environment picks one.

A tie is between a library and its twin in another framework (mindone), or where nothing but a config.json that both can
read speaks for either. The framework of ``MODELSCOPE_EXT_FRAMEWORK`` decides it first, then a library that is installed
over one that is not. The choice is recorded in the reasons, and is off with ``installed=False``, so that decisions need
not depend on a laptop.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from modelscope_ext.models.builder import BACKENDS
from modelscope_ext.models.decision.claims import TWINS
from modelscope_ext.models.frameworks import canonical_framework
from modelscope_ext.models.resolution import Match, Reason, Strength
from modelscope_ext.utils.record import replace
from modelscope_ext.utils.requirement import is_installed

__all__ = ["break_tie"]

#: Libraries that load the same folders, with what each needs.
_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "transformers": ("torch", "transformers"),
    "sentence-transformers": ("torch", "sentence-transformers"),
    "diffusers": ("torch", "diffusers"),
    "mindone": ("mindspore", "mindone"),
    "onnxruntime": ("onnxruntime",),
}
_VARIABLE = "MODELSCOPE_EXT_FRAMEWORK"


def break_tie(match: Match, pool: Iterable[Match], here: object = None) -> Match:
    """Return `match`, or the rival in `pool` that loads the same folder and is preferred here.

    Args:
        match: The strongest claim.
        pool: All claims.
        here: What is installed, as `distributions()` gives it: answers are remembered while it is the same object.
    """
    if match.backend not in _PACKAGES:
        return match
    rivals = [m for m in pool if m.backend in _PACKAGES and m.framework != match.framework and _tied(match, m)]
    if not rivals:
        return match
    wanted = canonical_framework(os.environ.get(_VARIABLE, ""))
    if wanted is not None:
        if match.framework == wanted:
            return match
        for rival in rivals:
            if rival.framework == wanted:
                return _switched(rival, Reason("(environment)", _VARIABLE, wanted, "asked for in the environment"))
    if _ready(match, here):
        return match
    ready = next((rival for rival in rivals if _ready(rival, here) and _serves(rival)), None)
    if ready is None:
        return match
    lacking = ", ".join(name for name in _PACKAGES[match.backend] if not is_installed(name))
    text = f"{ready.backend} is installed here; {match.backend} lacks {lacking}"
    return _switched(ready, Reason("(environment)", "installed", ready.backend, text))


def _tied(match: Match, rival: Match) -> bool:
    """Whether neither has more to show: twins always load the same folder; others where both can merely read it.

    A format (model_index.json, modules.json) or a card that names the library is more than a config.json for both.
    """
    return rival.backend in TWINS.get(match.backend, {}) or match.strength <= Strength.READABLE


#: What was installed when it was asked, by whom, and the answers.
_answers: tuple[object, object, dict[str, bool]] = (None, None, {})


def _ready(match: Match, here: object) -> bool:
    """Whether the packages are there; remembered until something is installed or removed."""
    global _answers
    if here is None or _answers[0] is not here or _answers[1] is not is_installed:
        _answers = (here, is_installed, {})
    known = _answers[2]
    if match.backend not in known:
        known[match.backend] = all(is_installed(name) for name in _PACKAGES[match.backend])
    return known[match.backend]


def _serves(match: Match) -> bool:
    """Whether the backend can run what the model is for; a tie is not broken towards one that cannot."""
    if match.backend not in BACKENDS:
        return match.loadable
    tasks = BACKENDS.get(match.backend).tasks
    return not tasks or not match.tasks or match.tasks[0] in tasks


def _switched(rival: Match, reason: Reason) -> Match:
    return replace(rival, because=(reason, *rival.because))
