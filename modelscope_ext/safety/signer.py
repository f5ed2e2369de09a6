"""Whose signature a model has to bear: the keyword `verify` of a load, checked before anything is read.

The methods and their words are those of OpenSSF Model Signing: a public key, a chain of certificates, or an identity
that Sigstore vouches for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.safety.paths import fault_of
from modelscope_ext.utils.record import Record, dataclass
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["SIGNATURE", "Signer"]

#: What the standard calls the file of the signature.
SIGNATURE = "model.sig"
_MOST_BYTES = 2**20
_EXAMPLE = "verify='publisher.pem', or a dict such as {'identity': 'a@b.org', 'oidc_issuer': 'https://...'}"


@dataclass(frozen=True)
class Signer(Record):
    """One signer, by exactly one method. Make it with `Signer.of`.

    Attributes:
        public_key: A PEM file with the public key (P-256, P-384 or P-521) whose private half signed.
        certificate_chain: PEM files with the certificates that are trusted to vouch for the signer's own.
        identity: The e-mail address or URI in the signer's certificate of Sigstore.
        oidc_issuer: Who vouched for that identity, as a URL; goes with `identity`.
        trust_config: A file with Sigstore's trust configuration; goes with `identity`. Without one it would be fetched.
        signature: The file of the signature: a name inside the model, or an absolute path.
    """

    public_key: str | None = None
    certificate_chain: tuple[str, ...] = ()
    identity: str | None = None
    oidc_issuer: str | None = None
    trust_config: str | None = None
    signature: str = SIGNATURE

    @classmethod
    def of(cls, value: Any) -> Signer | None:
        """Return the signer that `value` names; None for None.

        Args:
            value: The path of a PEM file (a public key, or certificates), or a mapping with the attributes by name.

        Raises:
            OptionError: No file there, a private key, a word that is no attribute, or not exactly one method. What
                would verify nothing (``False``, ``""``) is refused too.

        Example:
            >>> Signer.of({"identity": "a@b.org", "oidc_issuer": "https://b.org"}).signature
            'model.sig'
            >>> Signer.of("")
            Traceback (most recent call last):
            ...
            modelscope_ext.errors.OptionError: verify='': expected verify='publisher.pem', or a dict such as \
{'identity': 'a@b.org', 'oidc_issuer': 'https://...'}; leave it out to load what nobody signed.
        """
        if value is None or isinstance(value, Signer):
            return value
        if isinstance(value, str | os.PathLike) and os.fspath(value):
            file = _file("verify", value)
            return cls(certificate_chain=(file,)) if _holds_certificates(file) else cls(public_key=file)
        if not isinstance(value, Mapping) or not value:
            raise OptionError(
                f"verify={printable(repr(value))}: expected {_EXAMPLE}; leave it out to load what nobody signed."
            )
        return cls(**_attributes(value))

    @property
    def told(self) -> str:
        """Who that is, for messages."""
        if self.identity is not None:
            return f"{printable(self.identity)} of {printable(self.oidc_issuer)}"
        return printable(self.public_key or listing(self.certificate_chain))


def _attributes(given: Mapping[Any, Any]) -> dict[str, Any]:
    known = [field.name for field in fields(Signer)]
    for name in given:
        if name not in known:
            near = did_you_mean(str(name), known)
            raise OptionError(f"verify holds {printable(name)!r}, which is no word.{near} There are: {listing(known)}.")
    found = {name: value for name, value in given.items() if value is not None and value != ()}
    methods = [name for name in ("public_key", "certificate_chain", "identity") if name in found]
    if len(methods) != 1:
        said = f"{listing(methods)} are there" if methods else "none is there"
        raise OptionError(f"verify: expected one of public_key, certificate_chain and identity; {said}.")
    if ("identity" in found) != ("oidc_issuer" in found) or ("trust_config" in found and "identity" not in found):
        raise OptionError("verify: identity and oidc_issuer go together, and trust_config goes with them.")
    for name in ("identity", "oidc_issuer"):
        if not isinstance(found.get(name, "x"), str) or not found.get(name, "x"):
            raise OptionError(f"verify: {name}={printable(repr(found[name]))}: expected a str.")
    for name in ("public_key", "trust_config"):
        if name in found:
            found[name] = _file(f"verify: {name}", found[name])
    if "certificate_chain" in found:
        chain = found["certificate_chain"]
        chain = (chain,) if isinstance(chain, str | os.PathLike) else tuple(chain)
        found["certificate_chain"] = tuple(_file("verify: certificate_chain", one) for one in chain)
        if not chain:  # the package would trust whatever the system trusts
            raise OptionError("verify: certificate_chain: expected at least one file.")
    if "signature" in found:
        found["signature"] = _signature(found["signature"])
    return found


def _signature(value: Any) -> str:
    name = os.fspath(value) if isinstance(value, str | os.PathLike) else value
    if isinstance(name, str) and os.path.isabs(name):  # noqa: PTH117
        return _file("verify: signature", name)
    fault = fault_of(name)
    if fault is not None:
        raise OptionError(
            f"verify: signature={printable(repr(value))}: {fault[1]}. Expected a name inside the model such as"
            f" {SIGNATURE!r}, or an absolute path."
        )
    return str(name)


def _file(what: str, value: Any) -> str:
    """Return the full path of a file of the caller's."""
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str) or not os.fspath(value):
        raise OptionError(f"{what}={printable(repr(value))}: expected the path of a file.")
    path = os.path.abspath(os.fspath(value))  # noqa: PTH100
    if not os.path.isfile(path):  # noqa: PTH113
        raise OptionError(f"{what}={printable(repr(os.fspath(value)))}: there is no such file.")
    return path


def _holds_certificates(file: str) -> bool:
    """Whether a PEM file holds certificates; a public key otherwise.

    Raises:
        OptionError: It holds neither, or a private key, which is nobody's to hand out.
    """
    try:
        with Path(file).open("rb") as stream:
            text = stream.read(_MOST_BYTES)
    except OSError as error:
        raise OptionError(f"verify={printable(file)}: cannot be read ({printable(error.strerror)}).") from error
    if b"PRIVATE KEY-----" in text:
        raise OptionError(
            f"verify={printable(file)}: this is a private key. Expected the public one:"
            " openssl pkey -in FILE -pubout -out publisher.pem"
        )
    if b"-----BEGIN CERTIFICATE-----" in text:
        return True
    if b"-----BEGIN PUBLIC KEY-----" in text:
        return False
    raise OptionError(f"verify={printable(file)}: expected a PEM file with a public key or with certificates.")
