"""What the caller permits: one frozen object that travels from the call down to every check.

Each grant is a keyword of the call; none implies another, none is ever read from a model's files, and the environment
can only take one away (``MODELSCOPE_EXT_NO_REMOTE_CODE=1``).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields, replace
from typing import Any

from modelscope_ext.errors import LimitExceeded, OptionError, RedirectRefused
from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits
from modelscope_ext.safety.signer import Signer
from modelscope_ext.utils.record import Record
from modelscope_ext.utils.revocation import NO_REMOTE_CODE, revoked
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["NO_REMOTE_CODE", "Grants"]

_PICKLE = ("weights_only", "full", False)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Grants(Record):
    """The permissions of one call. Make one with `Grants.of`, whose errors name near misses.

    Attributes:
        trust_remote_code: Run the Python that comes with this source. Exactly True or False.
        code_sha256: Only if that code has this digest (64 hexadecimal digits).
        allow_pickle: ``"weights_only"`` (plain tensors, checked before they are read), ``"full"`` or False.
        allow_sources: Other sources this model may lead to, as ``"org/name@commit"`` or a folder.
        limits: Sizes that may be read.
        local_files_only: Contact no hub.
        verify: Whose signature every file has to bear, here and in the sources this one leads to; it permits nothing.
        redirects: How many models led here, each to the next; no permission, and no keyword of a call.

    Raises:
        OptionError: A value of another type: ``"False"``, 1 and None are no answers to a question of trust.

    Example:
        >>> Grants.of(trust_remote_code=True).may_run_code
        True
        >>> Grants.of(trust_remote_code="False")
        Traceback (most recent call last):
        ...
        modelscope_ext.errors.OptionError: trust_remote_code='False': expected exactly True or False (a bool).
    """

    trust_remote_code: bool = False
    code_sha256: str | None = None
    allow_pickle: str | bool = "weights_only"
    allow_sources: tuple[str, ...] = ()
    limits: Limits = DEFAULT_LIMITS
    local_files_only: bool = False
    verify: Signer | None = None
    redirects: int = 0

    def __post_init__(self) -> None:
        for name in ("trust_remote_code", "local_files_only"):
            value = getattr(self, name)
            if type(value) is not bool:
                raise OptionError(f"{name}={_shown(value)}: expected exactly True or False (a bool).")
        if type(self.allow_pickle) not in (str, bool) or self.allow_pickle not in _PICKLE:
            raise OptionError(
                f"allow_pickle={_shown(self.allow_pickle)}: expected 'weights_only' (the default), 'full' or False."
            )
        if self.code_sha256 is not None and not (
            type(self.code_sha256) is str and _SHA256.fullmatch(self.code_sha256.lower())
        ):
            raise OptionError(
                f"code_sha256={_shown(self.code_sha256)}: expected the 64 hexadecimal digits of a sha256, "
                "as shown by the refusal."
            )
        if type(self.limits) is not Limits:
            raise OptionError(f"limits={_shown(self.limits)}: expected a Limits.")
        if self.verify is not None and type(self.verify) is not Signer:
            raise OptionError(f"verify={_shown(self.verify)}: expected a Signer.")
        if type(self.redirects) is not int or self.redirects < 0:
            raise OptionError(f"redirects={_shown(self.redirects)}: expected a count.")
        _check_sources(self.allow_sources)

    @classmethod
    def of(cls, **keywords: Any) -> Grants:
        """Return Grants from the keywords of a call.

        Args:
            **keywords: The attributes by name. ``limits`` may be None or a dict, ``allow_sources`` a list or tuple
                of strings or paths, ``verify`` what `Signer.of` takes.

        Raises:
            OptionError: An unknown keyword or a value of the wrong type.

        Example:
            >>> Grants.of(allow_sources=["org/base@0a1b"], limits=None).allow_sources
            ('org/base@0a1b',)
        """
        known = [field.name for field in fields(cls) if field.name != "redirects"]
        for name in keywords:
            if name not in known:
                raise OptionError(
                    f"no grant is called {printable(name)!r}.{did_you_mean(name, known)} There are: {listing(known)}."
                )
        if "limits" in keywords:
            keywords["limits"] = Limits.of(keywords["limits"])
        if "verify" in keywords:
            keywords["verify"] = Signer.of(keywords["verify"])
        sources = keywords.get("allow_sources")
        if isinstance(sources, list | tuple):
            keywords["allow_sources"] = tuple(s if isinstance(s, str) else _path(s) for s in sources)
        elif sources is None:
            keywords.pop("allow_sources", None)
        digest = keywords.get("code_sha256")
        if isinstance(digest, str):
            keywords["code_sha256"] = digest.lower()
        return cls(**keywords)

    @property
    def revoked(self) -> bool:
        """Whether the environment forbids code from models, whatever the call says."""
        return revoked()

    @property
    def may_run_code(self) -> bool:
        """Whether code of this source may run now; asked at the time of use, so that a revocation is seen."""
        return self.trust_remote_code and not self.revoked

    def for_source(self, name: str) -> Grants:
        """Return the grants for another source this model leads to: the same, but never its code.

        Args:
            name: The source as the model's file names it, e.g. ``"org/base"``.

        Returns:
            Grants for that source alone: judged afresh, its code and further redirects refused.

        Raises:
            RedirectRefused: `name` was not allowed by the caller.
            LimitExceeded: As for `elsewhere`.

        Example:
            >>> grants = Grants.of(trust_remote_code=True, allow_sources=["org/base@0a1b"])
            >>> grants.for_source("org/base").trust_remote_code
            False
            >>> grants.for_source("org/other")
            Traceback (most recent call last):
            ...
            modelscope_ext.errors.RedirectRefused: The model leads to another source, 'org/other', which was not \
allowed (nothing was opened). If you trust it, pass allow_sources=['org/other'].
        """
        if self.allowed_as(name) is None:
            raise RedirectRefused(
                f"The model leads to another source, {printable(name)!r}, which was not allowed (nothing was opened). "
                f"If you trust it, pass allow_sources=[{printable(name)!r}].",
                grant="allow_sources",
            )
        return self.elsewhere()

    def elsewhere(self) -> Grants:
        """Return the grants for another source that the caller himself names: the same, but never its code.

        Raises:
            LimitExceeded: Too many models led here, each to the next (`Limits.redirect_depth`).

        Example:
            >>> Grants.of(trust_remote_code=True).elsewhere().redirects
            1
        """
        if self.redirects >= self.limits.redirect_depth:
            raise LimitExceeded(
                f"{self.redirects} models led here, each to the next, and this one leads on; the limit is"
                f" {self.limits.redirect_depth}. Nothing more was opened. If it is right, pass"
                f" limits=Limits(redirect_depth={self.redirects + 1}).",
                grant="limits",
            )
        return replace(self, trust_remote_code=False, code_sha256=None, redirects=self.redirects + 1)

    def allowed_as(self, name: str) -> str | None:
        """Return how the caller allowed `name` (with its commit, if one was given), or None.

        Example:
            >>> Grants.of(allow_sources=["org/base@0a1b"]).allowed_as("org/base")
            'org/base@0a1b'
        """
        for allowed in self.allow_sources:
            if name in (allowed, allowed.rpartition("@")[0]):
                return allowed
            if _is_path(allowed) and os.path.realpath(allowed) == os.path.realpath(name):
                return allowed
        return None


def _shown(value: object) -> str:
    return printable(repr(value))


def _path(value: object) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _is_path(name: str) -> bool:
    return name.startswith((".", "/", os.sep)) or re.match(r"[A-Za-z]:[/\\]", name) is not None


def _check_sources(sources: object) -> None:
    if type(sources) is not tuple or not all(type(item) is str and item for item in sources):
        raise OptionError(
            f"allow_sources={_shown(sources)}: expected a list of sources, e.g. ['org/base@commit', './folder']."
        )
