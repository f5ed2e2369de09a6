"""A Sigstore instance of our own, in one process: a certificate authority, two logs, and whoever they vouch for.

Nothing of the verifier is replaced: it checks certificate, timestamp of the certificate's log, inclusion in the
transparency log and signed checkpoint as it does with the public instance, against this instance's trust configuration.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from tests.signing import sign

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
TYPE = "application/vnd.in-toto+json"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Log:
    """A log's key, and what it is known by."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives import serialization as s
        from cryptography.hazmat.primitives.asymmetric import ec

        self.key = ec.generate_private_key(ec.SECP256R1())
        self.der = self.key.public_key().public_bytes(s.Encoding.DER, s.PublicFormat.SubjectPublicKeyInfo)
        self.id = hashlib.sha256(self.der).digest()

    def sign(self, data: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))

    def trusted(self, url: str) -> dict[str, Any]:
        key = {"rawBytes": b64(self.der), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": {"start": stamp(START)}}
        return {"baseUrl": url, "hashAlgorithm": "SHA2_256", "publicKey": key, "logId": {"keyId": b64(self.id)}}


def stamp(time: datetime.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


class Instance:
    """One instance; two have nothing in common."""

    def __init__(self) -> None:
        from cryptography import x509

        self.root, self.certificates, self.entries = Log(), Log(), Log()  # an authority is a key as well
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
        usage = [False] * 5 + [True, True, False, False]
        ca = x509.BasicConstraints(ca=True, path_length=0)
        self.authority = self._certificate(self.name, self.root, [(ca, True), (x509.KeyUsage(*usage), True)], days=3650)

    def trust_config(self, file: Path) -> Path:
        """Write what a verifier has to know of this instance."""
        from cryptography.hazmat.primitives.serialization import Encoding

        chain = {"certificates": [{"rawBytes": b64(self.authority.public_bytes(Encoding.DER))}]}
        subject = {"organization": "example.org", "commonName": "authority"}
        valid = {"start": stamp(START)}
        service = {"majorApiVersion": 1, "validFor": valid, "operator": "example.org"}
        file.write_text(json.dumps({
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [self.entries.trusted("https://rekor.example.org")],
                "certificateAuthorities": [
                    {"subject": subject, "uri": "https://fulcio.example.org", "certChain": chain, "validFor": valid}
                ],
                "ctlogs": [self.certificates.trusted("https://ctfe.example.org")],
                "timestampAuthorities": [],
            },
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": [{"url": "https://fulcio.example.org", **service}],
                "oidcUrls": [{"url": "https://oauth2.example.org", **service}],
                "rekorTlogUrls": [{"url": "https://rekor.example.org", **service}],
                "tsaUrls": [],
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaConfig": {"selector": "ANY"},
            },
        }))  # fmt: skip
        return file

    def sign(self, folder: Path, private: Path, identity: str, issuer: str) -> None:
        """Sign the model in `folder` as `identity`, for whom `issuer` vouches; the key is used for this once."""
        sign(folder, private)  # for its statement, which does not depend on who signs
        bundle = json.loads((folder / "model.sig").read_text())
        payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
        signer = Log()
        signature = signer.sign(b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE.encode(), len(payload), payload))
        certificate = self._of(signer, identity, issuer)
        from cryptography.hazmat.primitives.serialization import Encoding

        envelope = {"payload": b64(payload), "payloadType": TYPE, "signatures": [{"sig": b64(signature), "keyid": ""}]}
        material = {
            "certificate": {"rawBytes": b64(certificate.public_bytes(Encoding.DER))},
            "tlogEntries": [self._entry(payload, signature, certificate.public_bytes(Encoding.PEM))],
        }
        bundle |= {"verificationMaterial": material, "dsseEnvelope": envelope}
        (folder / "model.sig").write_text(json.dumps(bundle))

    def _of(self, signer: Log, identity: str, issuer: str) -> Any:
        """Return a certificate that the log of certificates has seen."""
        from cryptography import x509

        usage = x509.KeyUsage(True, *[False] * 8)
        extensions = [
            (usage, True),
            (x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CODE_SIGNING]), False),
            (x509.SubjectAlternativeName([x509.RFC822Name(identity)]), True),
            (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), issuer.encode()), False),
        ]
        number, time = x509.random_serial_number(), int(START.timestamp() * 1000)
        seen = self._certificate(x509.Name([]), signer, extensions, number=number).tbs_certificate_bytes
        what = struct.pack("!BBQH", 0, 0, time, 1) + self.root.id + len(seen).to_bytes(3, "big") + seen + b"\0\0"
        signature = self.certificates.sign(what)
        stamped = struct.pack("!B32sQHBBH", 0, self.certificates.id, time, 0, 4, 3, len(signature)) + signature
        listed = struct.pack("!HH", len(stamped) + 2, len(stamped)) + stamped
        oid = x509.ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS
        extensions.append((x509.UnrecognizedExtension(oid, b"\x04" + _length(len(listed)) + listed), False))
        return self._certificate(x509.Name([]), signer, extensions, number=number)

    def _certificate(self, name: Any, holder: Log, extensions: Any, number: int = 1, days: int = 30) -> Any:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(holder.key.public_key())
            .serial_number(number)
            .not_valid_before(START)
            .not_valid_after(START + datetime.timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(holder.key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root.key.public_key()), False)
        )
        for extension, critical in extensions:
            made = made.add_extension(extension, critical)
        return made.sign(self.root.key, hashes.SHA256())

    def _entry(self, payload: bytes, signature: bytes, certificate: bytes) -> dict[str, Any]:
        """Return the only entry of the transparency log, with the proof that it is in it."""
        hashed = {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()}
        signed = {"signature": b64(signature), "verifier": b64(certificate)}
        spec = {"envelopeHash": hashed, "payloadHash": hashed, "signatures": [signed]}
        body = json.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}).encode()
        tree = hashlib.sha256(b"\0" + body).digest()
        note = f"rekor.example.org - 1\n1\n{b64(tree)}\n"
        by = b64(self.entries.id[:4] + self.entries.sign(note.encode()))
        time = int(START.timestamp()) + 60
        promised = {"body": b64(body), "integratedTime": time, "logID": self.entries.id.hex(), "logIndex": 0}
        promise = self.entries.sign(json.dumps(promised, sort_keys=True, separators=(",", ":")).encode())
        checkpoint = {"envelope": f"{note}\n\u2014 rekor.example.org {by}\n"}
        return {
            "logIndex": "0",
            "logId": {"keyId": b64(self.entries.id)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(time),
            "inclusionPromise": {"signedEntryTimestamp": b64(promise)},
            "inclusionProof": {
                "logIndex": "0", "rootHash": b64(tree), "treeSize": "1", "hashes": [], "checkpoint": checkpoint,
            },
            "canonicalizedBody": b64(body),
        }  # fmt: skip


def _length(count: int) -> bytes:
    """Return a length as DER has it."""
    return (
        bytes([count]) if count < 128 else bytes([0x81, count]) if count < 256 else b"\x82" + count.to_bytes(2, "big")
    )
