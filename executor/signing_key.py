"""The key with which the studio signs its pictures: one file, made once, or one that the host gives.

A certificate has to be issued by another one for C2PA (section 14.5.1, certificate profile): the studio makes itself an
authority, has it issue one certificate, and forgets the authority's key.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from generator.version import NAME
from lasting import make_folder, sync, sync_folder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import CertificateBuilder, KeyUsage

LASTS = timedelta(days=3650)  # without a time stamp a signature is good for as long as its certificate
_USES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


class KeyUnusable(ValueError):
    """A file with which nothing can be signed; one sentence."""


@dataclass(frozen=True)
class SigningKey:
    """algorithm: as C2PA calls it. private, chain: PEM; of the certificates the key's own comes first."""

    algorithm: bytes
    private: bytes
    chain: bytes


def key_of(path: Path) -> SigningKey:
    """The key in a file; made where there is none. Raises ImportError, KeyUnusable, OSError."""
    with suppress(FileNotFoundError):
        return _read(path.read_bytes(), path)
    make_folder(path.parent)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(made())
            file.flush()
            sync(file.fileno())
        try:
            os.link(part, path)
        except FileExistsError:  # another executor has made one meanwhile: that is it for both
            pass
        except OSError:  # a disk without hard links
            os.replace(part, path)
        sync_folder(path.parent)
    finally:
        Path(part).unlink(missing_ok=True)
    return _read(path.read_bytes(), path)


def made() -> bytes:
    """A new key (P-256), its certificate and the one that issued that, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer, signs, issues = f"{NAME} (own authority)", _for(["digital_signature"]), _for(["key_cert_sign"])
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])  # which C2PA takes for documents
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    root = _certificate(issuer, issuer, authority).add_extension(x509.BasicConstraints(True, 0), critical=True)
    leaf = _certificate(NAME, issuer, key).add_extension(x509.BasicConstraints(False, None), critical=True)
    root = root.add_extension(issues, critical=True)
    leaf = leaf.add_extension(signs, critical=True).add_extension(purpose, critical=False)
    chain = [one.sign(authority, hashes.SHA256()) for one in (leaf.add_extension(above, critical=False), root)]
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return b"".join([private, *(one.public_bytes(pem) for one in chain)])


def _certificate(subject: str, issuer: str, key: EllipticCurvePrivateKey) -> CertificateBuilder:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    def name(text: str) -> x509.Name:
        kinds = (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)
        return x509.Name([x509.NameAttribute(kind, text) for kind in kinds])

    now, public = datetime.now(UTC), key.public_key()
    builder = x509.CertificateBuilder(name(issuer), name(subject), public, x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + LASTS)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _for(uses: Iterable[str]) -> KeyUsage:
    from cryptography.x509 import KeyUsage

    return KeyUsage(**{use: use in uses for use in _USES})


def _read(data: bytes, path: Path) -> SigningKey:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    try:
        key = serialization.load_pem_private_key(data, None)
        certificates = x509.load_pem_x509_certificates(data)
        certified = certificates[0].public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: a key with a password
        wanted = "a private key without a password and, after it, its certificates, as PEM"
        raise KeyUnusable(f"{path} cannot be read; it is to hold {wanted}.") from None
    algorithm = None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        algorithm = {"secp256r1": b"es256", "secp384r1": b"es384", "secp521r1": b"es512"}.get(key.curve.name)
    elif isinstance(key, rsa.RSAPrivateKey):
        algorithm = b"ps256"
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm = b"ed25519"
    if algorithm is None:
        raise KeyUnusable(f"C2PA does not sign with the kind of key in {path}; P-256, RSA and Ed25519 are permitted.")
    if certified != key.public_key():
        raise KeyUnusable(f"The first certificate in {path} is not that of its key.")
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return SigningKey(algorithm, private, b"".join(one.public_bytes(pem) for one in certificates))
