"""The node's certificate: self-signed on an elliptic curve, made on the first run, renewed before it ends.

Clients pin it: they are given the file (or find it in the data directory) and trust nothing else.
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

CERTIFICATE_FILE = "certificate.pem"
KEY_FILE = "key.pem"
VALID_DAYS = 397
"""The longest some TLS stacks accept."""
RENEW_DAYS_BEFORE_END = 30
NAMES = ("localhost", "zvmd")
ADDRESSES = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where certificate and key are, and until when they are good."""

    certificate: Path
    key: Path
    not_after: datetime.datetime


def load_or_create_certificate(directory: Path, now: datetime.datetime) -> TlsFiles:
    """The certificate in ``directory``, made or renewed when needed. Raises `UnusableCertificate`."""
    certificate_path, key_path = directory / CERTIFICATE_FILE, directory / KEY_FILE
    if not certificate_path.exists() or not key_path.exists():
        return rotate_certificate(directory, now)
    try:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise UnusableCertificate(f"{directory}: {error}") from None
    if key.public_key() != certificate.public_key():
        # A crash between the two renames of a rotation leaves the new key beside the old certificate.
        return rotate_certificate(directory, now)
    if key_path.stat().st_mode & 0o077:
        raise UnusableCertificate(f"{key_path} can be read by others; chmod 600 it")
    if certificate.not_valid_after_utc - now < datetime.timedelta(days=RENEW_DAYS_BEFORE_END):
        return rotate_certificate(directory, now)
    return TlsFiles(certificate_path, key_path, certificate.not_valid_after_utc)


def needs_rotation(files: TlsFiles, now: datetime.datetime) -> bool:
    """Whether the certificate ends soon."""
    return files.not_after - now < datetime.timedelta(days=RENEW_DAYS_BEFORE_END)


def rotate_certificate(directory: Path, now: datetime.datetime) -> TlsFiles:
    """Make a new key and certificate; connections that exist keep the old one."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "zvmd")])
    alternatives: list[x509.GeneralName] = [x509.DNSName(item) for item in NAMES]
    alternatives += [x509.IPAddress(ipaddress.ip_address(item)) for item in ADDRESSES]
    not_after = now + datetime.timedelta(days=VALID_DAYS)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(not_after)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(directory / KEY_FILE, key_pem)
    write_private(directory / CERTIFICATE_FILE, certificate.public_bytes(serialization.Encoding.PEM))
    files = TlsFiles(directory / CERTIFICATE_FILE, directory / KEY_FILE, certificate.not_valid_after_utc)
    assert not needs_rotation(files, now)
    return files
