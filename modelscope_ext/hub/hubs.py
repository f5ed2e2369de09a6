"""The hubs that are known, by name, and how a call's keywords say which is asked and how."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from modelscope_ext.errors import OptionError
from modelscope_ext.hub.names import PREFIXES
from modelscope_ext.hub.protocol import Access
from modelscope_ext.safety.limits import Limits
from modelscope_ext.utils.text import did_you_mean, printable

if TYPE_CHECKING:
    from modelscope_ext.hub.protocol import Hub

__all__ = ["HUBS", "access_of", "hub_of", "is_offline", "name_of", "order"]

#: Name -> the class that asks it; the first is the default.
HUBS: Mapping[str, str] = {
    "modelscope": "modelscope_ext.hub.modelscope_:ModelScope",
    "huggingface": "modelscope_ext.hub.huggingface_:HuggingFace",
    "openmind": "modelscope_ext.hub.openmind_:OpenMind",
}
_SPELLED = {**PREFIXES, "hugging-face": "huggingface", "modelers": "openmind"}
#: Which hubs are asked, in order, where the call does not say.
ORDER = "MODELSCOPE_EXT_HUB"
#: Whether a socket may be opened; it decides before the clients' own variables do.
OFFLINE = "MODELSCOPE_EXT_OFFLINE"
_YES, _NO = frozenset(("1", "on", "yes", "true")), frozenset(("0", "off", "no", "false"))


def name_of(hub: str) -> str:
    """Return the name of a hub, however it is spelled.

    Raises:
        OptionError: No hub is called that.

    Example:
        >>> name_of("hf"), name_of("ModelScope")
        ('huggingface', 'modelscope')
    """
    if not isinstance(hub, str):
        raise OptionError(f"hub={printable(repr(hub))}: expected a str: {', '.join(HUBS)} or local.")
    text = hub.strip().lower()
    name = _SPELLED.get(text, text)
    if name not in HUBS:
        known = (*HUBS, "local")
        raise OptionError(
            f"hub={printable(repr(hub))}: unknown.{did_you_mean(text, known)} There are: {', '.join(known)}."
        )
    return name


def hub_of(name: str) -> Hub:
    """Return the hub of that name; its client is imported when it is asked."""
    module, _, kind = HUBS[name].partition(":")
    return cast("Hub", getattr(import_module(module), kind)())


def order() -> tuple[str, ...]:
    """Return the hubs to ask where the call names none: those of ``MODELSCOPE_EXT_HUB``, else the default one.

    Raises:
        OptionError: The variable names a hub that nobody knows.
    """
    named = [name for name in os.environ.get(ORDER, "").replace(",", " ").split() if name]
    try:
        return tuple(dict.fromkeys(map(name_of, named))) or (next(iter(HUBS)),)
    except OptionError as error:
        raise OptionError(f"The environment variable {ORDER}: {error}") from error


def is_offline() -> bool:
    """Return whether the environment forbids sockets."""
    own = os.environ.get(OFFLINE, "").strip().lower()
    if own in _YES | _NO:
        return own in _YES
    return any(os.environ.get(name, "").strip().lower() in _YES for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def access_of(
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    limits: Limits | None = None,
) -> Access:
    """Return how a call's keywords want hubs to be asked.

    Raises:
        OptionError: A value of another type.

    Example:
        >>> access_of(local_files_only=True).offline
        True
    """
    if not isinstance(token, str | bool | None):
        raise OptionError("token: expected a str, None (the stored one) or False (none).")
    if not isinstance(cache_dir, str | os.PathLike | None):
        raise OptionError(f"cache_dir={printable(repr(cache_dir))}: expected the path of a folder.")
    if not isinstance(local_files_only, bool):
        raise OptionError(f"local_files_only={printable(repr(local_files_only))}: expected True or False.")
    own = None if token is None or token is True else (token or "")
    if own is not None and (not own.isascii() or not own.isprintable() or " " in own):
        raise OptionError("token: it holds characters that no token has.")
    folder = Path(cache_dir).expanduser() if cache_dir is not None else None
    return Access(own, folder, local_files_only or is_offline(), limits=Limits.of(limits))
