"""The node's certificate, signed by an authority of its own; both are made on the first run.

Clients trust ``authority.pem`` and nothing else; so a new certificate (`rotate_certificate`) needs no new
file on their side. Keys are on an elliptic curve: small first flights keep QUIC's amplification low.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.auth.errors import UnusableCertificate
from node.auth.tokens import write_private

AUTHORITY_FILE = "authority.pem"
AUTHORITY_KEY_FILE = "authority-key.pem"
CERTIFICATE_FILE = "certificate.pem"
KEY_FILE = "key.pem"
AUTHORITY_DAYS = 3650
VALID_DAYS = 397
"""The longest some TLS stacks accept."""
RENEW_DAYS_BEFORE_END = 30
NAMES = ("localhost", "zvmd")
ADDRESSES = ("127.0.0.1", "::1")


Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where certificate and key are, what clients trust, and until when they are good."""

    certificate: Path
    key: Path
    authority: Path
    not_after: datetime.datetime


def load_or_create_certificate(directory: Path, now: datetime.datetime) -> TlsFiles:
    """The certificate in ``directory``, made or renewed when needed. Raises `UnusableCertificate`."""
    certificate_path, key_path = directory / CERTIFICATE_FILE, directory / KEY_FILE
    if not certificate_path.exists() or not key_path.exists():
        return rotate_certificate(directory, now)
    certificate, key = _load(certificate_path, key_path)
    if key.public_key() != certificate.public_key():
        # A crash between the two renames of a rotation leaves the new key beside the old certificate.
        return rotate_certificate(directory, now)
    files = TlsFiles(certificate_path, key_path, directory / AUTHORITY_FILE, certificate.not_valid_after_utc)
    return rotate_certificate(directory, now) if needs_rotation(files, now) else files


def needs_rotation(files: TlsFiles, now: datetime.datetime) -> bool:
    """Whether the certificate ends soon."""
    return files.not_after - now < datetime.timedelta(days=RENEW_DAYS_BEFORE_END)


def rotate_certificate(directory: Path, now: datetime.datetime) -> TlsFiles:
    """Make a new key and certificate; existing connections keep theirs. Raises `UnusableCertificate`."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority, authority_key = _authority(directory, now)
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives: list[x509.GeneralName] = [x509.DNSName(item) for item in NAMES]
    alternatives += [x509.IPAddress(ipaddress.ip_address(item)) for item in ADDRESSES]
    not_after = min(now + datetime.timedelta(days=VALID_DAYS), authority.not_valid_after_utc)
    certificate = (
        _builder("zvmd", "zvmd local authority", key, now, not_after)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    write_private(directory / KEY_FILE, _pem(key))
    write_private(directory / CERTIFICATE_FILE, certificate.public_bytes(serialization.Encoding.PEM))
    end = certificate.not_valid_after_utc
    return TlsFiles(directory / CERTIFICATE_FILE, directory / KEY_FILE, directory / AUTHORITY_FILE, end)


def _authority(directory: Path, now: datetime.datetime) -> Pair:
    """The authority, made anew when it is missing or too old to sign a full certificate."""
    path, key_path = directory / AUTHORITY_FILE, directory / AUTHORITY_KEY_FILE
    if path.exists() and key_path.exists():
        authority, key = _load(path, key_path)
        left = authority.not_valid_after_utc - now
        if key.public_key() == authority.public_key() and left > datetime.timedelta(days=VALID_DAYS):
            return authority, key
    key = ec.generate_private_key(ec.SECP256R1())
    name = "zvmd local authority"
    authority = (
        _builder(name, name, key, now, now + datetime.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(key_path, _pem(key))
    write_private(path, authority.public_bytes(serialization.Encoding.PEM))
    return authority, key


def _builder(
    subject: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    not_after: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(not_after)
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load(certificate_path: Path, key_path: Path) -> Pair:
    try:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key_pem = key_path.read_bytes()
        key = serialization.load_pem_private_key(key_pem, None)
    except (OSError, ValueError, TypeError) as error:
        raise UnusableCertificate(f"{certificate_path.parent}: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UnusableCertificate(f"{key_path} is no elliptic curve key")
    if not key_pem.rstrip().endswith(b"-----"):  # QUIC's library would not take it
        raise UnusableCertificate(f"{key_path} has something behind its key")
    if key_path.stat().st_mode & 0o077:
        raise UnusableCertificate(f"{key_path} can be read by others; chmod 600 it")
    return certificate, key
