"""Step 5 of 6, gate B: the files that decided and those that will be read are what their signer signed.

The package `model-signing` verifies the signature, and with it the list of files and hashes that was signed. It would
then hash the whole folder; a load reads part of a model, so that the hashes are compared here: each file that counts
has to be on the list with its hash. Files that are on the list and not read do not have to be here.

Source: OpenSSF Model Signing 1.0; Sigstore bundle 0.3 around a DSSE envelope around an in-toto statement.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from modelscope_ext.errors import (
    HubError,
    MissingRequirement,
    ModelNotFound,
    OptionError,
    PathEscapeRefused,
    SignatureRefused,
)
from modelscope_ext.metadata.files import CARDS
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.safety.paths import fault_of
from modelscope_ext.safety.reading import open_inside, parse_json, read_inside
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.processors import processors
from modelscope_ext.utils.text import listing, printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.safety.grants import Grants
    from modelscope_ext.safety.signer import Signer

__all__ = ["TRUST_ROOT", "check_signature", "check_signer", "consulted"]

#: Where Sigstore's trust root is fetched from, if the caller permits it.
TRUST_ROOT = "https://tuf-repo-cdn.sigstore.dev"
_REQUIRES = ("model-signing>=1.1.1", "pyOpenSSL")
_INSTALL = 'pip install "modelscope-ext[signing]"'
_PIECE = 2**20
_MOST_NAMES = 5

#: Part of a file: its first byte, the one after its last (None: to the end), algorithm and digest.
Piece = tuple[int, int | None, str, bytes]


def check_signer(grants: Grants, source: str) -> None:
    """Raise for what stands in the way of any verification and can be known before something is fetched.

    Raises:
        MissingRequirement: The package that verifies is not installed.
        SignatureRefused: Sigstore's trust root would have to be fetched, and that was not permitted.
    """
    from modelscope_ext.utils.requirement import check_requirements

    signer = grants.verify
    if signer is None:
        return
    bad = [check for check in check_requirements(_REQUIRES) if not check.ok]
    if bad:
        lines = "\n".join(f"  {check.requirement}: {check.installed or 'not installed'}" for check in bad)
        raise MissingRequirement(f"verify= needs what is not installed:\n{lines}\nInstall it with: {_INSTALL}")
    if signer.identity is None or signer.trust_config is not None:
        return
    from modelscope_ext.hub.hubs import is_offline

    offline = grants.local_files_only or is_offline()
    if offline or TRUST_ROOT not in {allowed.rstrip("/") for allowed in grants.allow_sources}:
        why = "the network may not be used" if offline else f"{TRUST_ROOT} was not allowed"
        raise SignatureRefused(
            f"{printable(source)}: to verify an identity, Sigstore's trust root has to be fetched, and {why}. Nothing"
            f" was loaded. Pass trust_config (a file with it) in verify=, or allow_sources=[{TRUST_ROOT!r}].",
            source=source, grant="verify" if offline else "allow_sources",
        )  # fmt: skip


def consulted(evidence: Evidence, snapshot: Snapshot) -> tuple[str, ...]:
    """Return the files whose content took part in the decision."""
    card = next((name for name in CARDS if name in snapshot), None)
    read = {*evidence.documents, *evidence.unreadable, *evidence.headers, *([card] if card is not None else [])}
    return tuple(sorted(name for name in read if name in snapshot))


def check_signature(folder: Path, names: Iterable[str] | None, signer: Signer, snapshot: Snapshot) -> None:
    """Return only if each of `names` is what `signer` signed, as it lies in `folder` now.

    Args:
        folder: The model's folder.
        names: The files that count. None: all that are there, but for those that were left out when it was signed;
            code of a model's own reads what it likes.
        signer: Who has to have signed them.
        snapshot: The model, for its name and limits.

    Raises:
        SignatureRefused: There is no signature, it is another's or of another form, or a file is not what was signed.
        MalformedMetadata, LimitExceeded, PathEscapeRefused: Of the signature's file, or of a name in it.
        OptionError: A key, certificate or trust configuration that cannot be used.
        HubError: Sigstore's trust root could not be fetched.
    """
    source = str(snapshot.source)
    manifest = _manifest(_bundle(folder, signer, snapshot), signer, source)
    signed = _signed(manifest, signer, source)
    wanted = sorted({*(_all(folder, manifest, snapshot) if names is None else names)} - {signer.signature})
    unsigned = [name for name in wanted if name not in signed]
    if unsigned:
        _refuse(
            f"{listing(map(printable, unsigned[:_MOST_NAMES]))} would be read and is not among the {len(signed)} files"
            f" that {printable(signer.signature)} signs. Remove it, or ask the publisher to sign the model again.",
            source, unsigned[0],
        )  # fmt: skip
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(4, processors())) as pool:
        found = pool.map(lambda name: _differs(folder, name, signed[name], source), wanted)
        changed = [name for name, differs in zip(wanted, found, strict=True) if differs]
    if changed:
        _refuse(
            f"{listing(map(printable, changed[:_MOST_NAMES]))} is not what was signed: the bytes have another hash"
            f" than {printable(signer.signature)} says (verified with {signer.told}). Fetch the model again from its"
            " publisher.",
            source, changed[0],
        )  # fmt: skip
    logger.info("%s: %d files are what %s signed", printable(source), len(wanted), signer.told)


def _refuse(why: str, source: str, file: str | None, cause: BaseException | None = None) -> NoReturn:
    raise SignatureRefused(
        f"{printable(source)}: {why} Nothing of it was loaded.", source=source, file=file, grant="verify"
    ) from cause


def _bundle(folder: Path, signer: Signer, snapshot: Snapshot) -> bytes:
    """Return the signature's file, which is small and plain JSON."""
    name, limits, source = signer.signature, snapshot.limits, str(snapshot.source)
    outside = os.path.isabs(name)  # noqa: PTH117 - then it is the caller's own
    root, base = os.path.split(name) if outside else (os.fspath(folder), name)
    try:
        data = read_inside(os.path.realpath(root) if outside else root, base, limits=limits, source=source)
    except ModelNotFound as error:
        _refuse(
            f"it is not signed: there is no {printable(name)}. If its signature has another name, pass it in verify= as"
            " signature; leave verify= out to load what nobody signed.",
            source, name, error,
        )  # fmt: skip
    parse_json(data, file=name, limits=limits, source=source)
    return data


def _all(folder: Path, manifest: Any, snapshot: Snapshot) -> Iterator[str]:
    """Yield the files in a folder but for those that its signer left out."""
    left_out = tuple(str(path).rstrip("/") for path in manifest.serialization_type.get("ignore_paths", ()))
    for name in Snapshot.from_folder(folder, limits=snapshot.limits).names:
        if not any(name == path or name.startswith(f"{path}/") for path in left_out):
            yield name


def _signed(manifest: Any, signer: Signer, source: str) -> Mapping[str, list[Piece]]:
    """Return what was signed, by name."""
    found: dict[str, list[Piece]] = {}
    sharded = manifest.serialization_type.get("method") == "shards"
    for resource in manifest.resource_descriptors():
        name, start, end = str(resource.identifier), 0, None
        if sharded:
            name, first, last = name.rsplit(":", 2)
            start, end = int(first), int(last)
        fault = fault_of(name)
        if fault is not None and fault[0] is PathEscapeRefused:
            raise PathEscapeRefused(
                f"{printable(signer.signature)} signs {printable(name)}: {fault[1]}. Nothing was opened.",
                source=source, file=signer.signature,
            )  # fmt: skip
        found.setdefault(name, []).append((start, end, resource.digest.algorithm, resource.digest.digest_value))
    return found


class _Keeper:
    """Stands where the package hashes the folder and compares: it takes the list of what was signed, and no more."""

    manifest: Any = None

    def hash(self, *_: Any, **__: Any) -> _Keeper:
        """Return what the list is compared with."""
        return self

    def add_ignored_paths(self, **_: Any) -> None:
        """What was ignored when it was signed is not on the list either."""

    def __eq__(self, signed: object) -> bool:
        self.manifest = signed
        return True

    __hash__ = None  # type: ignore[assignment]


def _manifest(bundle: bytes, signer: Signer, source: str) -> Any:
    """Have the package verify the signature, and return the list that was signed."""
    from tempfile import TemporaryDirectory

    config, keeper = _config(signer), _Keeper()
    config.set_hashing_config(keeper)
    with TemporaryDirectory(prefix="modelscope-ext-") as place:
        file = Path(place) / "model.sig"  # the bytes that were judged, wherever they came from
        file.write_bytes(bundle)
        try:
            config.verify(Path(place), file)
        except Exception as error:  # noqa: BLE001 - of a dozen libraries; what cannot be verified is refused
            said = printable(f"{type(error).__name__}: {error}".rstrip(": "), 200)
            _refuse(
                f"{printable(signer.signature)} is no signature by {signer.told} ({said}). If you trust another signer,"
                " name that one in verify=.",
                source, signer.signature, error,
            )  # fmt: skip
    if keeper.manifest is None:
        _refuse("the installed model-signing returned without a list of what was signed.", source, signer.signature)
    return keeper.manifest


def _config(signer: Signer) -> Any:
    from model_signing import verifying

    config = verifying.Config()
    try:
        if signer.public_key is not None:
            return config.use_elliptic_key_verifier(public_key=Path(signer.public_key))
        if signer.identity is None:
            return config.use_certificate_verifier(certificate_chain=[Path(file) for file in signer.certificate_chain])
        trust = None if signer.trust_config is None else Path(signer.trust_config)
        return config.use_sigstore_verifier(
            identity=signer.identity, oidc_issuer=str(signer.oidc_issuer), trust_config=trust
        )
    except Exception as error:
        said = printable(f"{type(error).__name__}: {error}", 300)
        if signer.identity is not None and signer.trust_config is None:
            raise HubError(
                f"Sigstore's trust root could not be fetched from {TRUST_ROOT} ({said}). Nothing was loaded. Try again,"
                " or pass trust_config (a file with it) in verify=."
            ) from error
        raise OptionError(f"verify={signer.told}: cannot be used to verify a signature ({said}).") from error


def _differs(folder: Path, name: str, pieces: list[Piece], source: str) -> bool:
    """Whether a file is not what its pieces say, from its first byte to its last."""
    descriptor, size = open_inside(folder, name, source=source)
    with os.fdopen(descriptor, "rb") as file:
        at = 0
        for start, end, algorithm, expected in sorted(pieces, key=lambda piece: piece[0]):
            make = _HASHES.get(algorithm.partition("-sharded-")[0])
            if make is None or start != at:
                return True
            at = size if end is None else end
            digest, left = make(), at - start
            while left > 0 and (data := file.read(min(_PIECE, left))):
                digest.update(data)
                left -= len(data)
            if left or digest.digest() != expected:
                return True
        return at != size or file.read(1) != b""


def _blake3() -> Any:
    from blake3 import blake3

    return blake3()


#: The standard's algorithms by the names they have in a signature.
_HASHES: Mapping[str, Callable[[], Any]] = {
    "sha256": hashlib.sha256,
    "blake2b": hashlib.blake2b,
    "blake3": _blake3,
}
