"""Step 5 of 6, diffusers: another scheduler than the folder's, out of those that can be made of its settings."""

from __future__ import annotations

from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.decision import tables
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["compatible", "exchange"]

#: Made for weights that were distilled to few steps; they read the settings of the large family, which leaves them out.
_FEW_STEPS = frozenset(("LCMScheduler", "TCDScheduler"))


def compatible(name: str) -> frozenset[str]:
    """Return the schedulers that can be made of the settings of the scheduler `name`.

    Example:
        >>> "EulerDiscreteScheduler" in compatible("DDIMScheduler"), compatible("FlowMatchHeunDiscreteScheduler")
        (True, frozenset({'FlowMatchHeunDiscreteScheduler'}))
    """
    table = tables.diffusers().schedulers
    mutual = {other for other, row in table.items() if name in row}
    found = table.get(name, frozenset()) | mutual | {name}
    return frozenset(found | _FEW_STEPS if "DDIMScheduler" in found else found)


def exchange(pipe: Any, wanted: Any, source: str) -> None:
    """Give `pipe` the scheduler that the caller names, with the settings of its own.

    Args:
        pipe: The library's pipeline.
        wanted: A class name, e.g. ``"DDIMScheduler"``.
        source: The model as the caller named it.

    Raises:
        OptionError: No such scheduler, or none that takes these settings.
    """
    import diffusers

    if not isinstance(wanted, str):
        raise OptionError(f"scheduler={printable(repr(wanted))}: expected the name of a class, e.g. 'DDIMScheduler'")
    own = getattr(pipe, "scheduler", None)
    if own is None:
        raise OptionError(f"scheduler={printable(wanted)!r}: {type(pipe).__name__} has no scheduler to exchange")
    name = type(own).__name__
    fits = compatible(name)
    if wanted not in fits:
        known = wanted in tables.diffusers().schedulers
        why = f"cannot be made of the settings of {name}" if known else "is no scheduler of diffusers"
        raise OptionError(
            f"scheduler={printable(wanted)!r} {why}, which {printable(source)} has.{did_you_mean(wanted, fits)} Those"
            f" that can: {listing(fits, 40)}."
        )
    cls = getattr(diffusers, wanted)
    if ".dummy_" in cls.__module__:
        needs = listing(getattr(cls, "_backends", ()))
        raise OptionError(f"scheduler={wanted!r} needs {needs}, which is not all installed here")
    pipe.scheduler = cls.from_config(own.config)
