"""Keys, and models signed for real by the package that verifies them."""

from pathlib import Path
from typing import Any


def make_keys(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Write two key pairs and return their PEM files: (private, public) of the publisher and of somebody else."""
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ec

    made = {}
    for name, curve in (("publisher", ec.SECP256R1()), ("other", ec.SECP384R1())):
        key = ec.generate_private_key(curve)
        private, public = folder / f"{name}.key", folder / f"{name}.pem"
        private.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()))
        public.write_bytes(key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo))
        made[name] = private, public
    return made


def sign(folder: Path, private: Path, name: str = "model.sig", *, hashed: Any = None) -> None:
    """Sign what is in `folder`; `hashed` is the package's configuration of hashing."""
    from model_signing import hashing, signing

    config = hashing.Config() if hashed is None else hashed
    config.set_ignored_paths(paths=[name], ignore_git_paths=True)
    signer = signing.Config().use_elliptic_key_signer(private_key=private)
    signer.set_hashing_config(config).sign(folder, folder / name)
