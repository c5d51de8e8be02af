"""The node's certificate and those of its clients, signed by an authority of its own.

Clients trust only ``authority.pem``, and in it only the key: a new certificate, or a new authority certificate for the
same key, needs no new file on their side. A certificate is made again whenever it is not what would be made now:
missing, damaged, for another key or other names, not valid yet or expiring soon. Keys are on an elliptic curve, because
small first flights keep QUIC's amplification low.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.auth.certificate import (
    AUTHORITY_FILE,
    AUTHORITY_KEY_FILE,
    CERTIFICATE_FILE,
    CLIENT_FILE,
    KEY_FILE,
    NOTHING_MORE,
    TlsFiles,
    Wanted,
    files_in,
)
from node.auth.errors import NoAuthority, UnusableCertificate
from node.auth.private import Exposed, read_private, write_private

log = structlog.get_logger(__name__)

AUTHORITY_DAYS = 3650
VALID_DAYS = 397
"""The longest lifetime that some TLS stacks accept."""
RENEW_DAYS_BEFORE_END = 30
BEGIN_BEFORE = datetime.timedelta(hours=1)
"""A certificate is valid from a little before it was made: the clocks of clients may be behind."""
AUTHORITY_NAME, NODE_NAME, CLIENT_NAME = "zvmd local authority", "zvmd", "zvmd local client"
NAMES = ("localhost", "zvmd")
ADDRESSES = ("127.0.0.1", "::1")

Key = ec.EllipticCurvePrivateKey
Span = tuple[datetime.datetime, datetime.datetime]
Make = Callable[[Span, int], x509.Certificate]
"""Makes a certificate of a key: valid in that span, with that serial number."""


def load_or_create_certificate(directory: Path, now: datetime.datetime, wanted: Wanted = NOTHING_MORE) -> TlsFiles:
    """The certificate in ``directory``; files that are missing or unusable are made again.

    Raises `UnusableCertificate` for a damaged authority key, which clients elsewhere rely on, and as `write_private`.
    """
    authority, authority_key = _authority(directory, now)
    if wanted.client:
        _keep_client(directory, authority, authority_key, now)
    key = _node_key(directory)
    if key is not None:
        make = partial(_node_certificate, key, authority_key, wanted)
        path, margin = directory / CERTIFICATE_FILE, datetime.timedelta(days=RENEW_DAYS_BEFORE_END)
        certificate, fault = _checked(_content(path), make, authority_key, now, margin)
        if certificate is not None:
            return files_in(directory, certificate.not_valid_after_utc, wanted)
        log.info("the certificate is recreated", path=str(path), reason=fault)
    return _rotate(directory, authority, authority_key, now, wanted)


def span_of_use(directory: Path, wanted: Wanted = NOTHING_MORE) -> Span:
    """From when until when `load_or_create_certificate` would leave as they are the files it has just left or made."""
    margins = {AUTHORITY_FILE: VALID_DAYS, CERTIFICATE_FILE: RENEW_DAYS_BEFORE_END}
    margins |= {CLIENT_FILE: RENEW_DAYS_BEFORE_END} if wanted.client else {}
    spans = []
    for name, days in margins.items():
        found = x509.load_pem_x509_certificate((directory / name).read_bytes())
        spans.append((found.not_valid_before_utc, found.not_valid_after_utc - datetime.timedelta(days=days)))
    return max(since for since, _ in spans), min(until for _, until in spans)


def issue_client_certificate(directory: Path, name: str, now: datetime.datetime, days: int) -> bytes:
    """A new certificate for a client of that name, and its key: PEM. ``directory`` has the node's authority.

    Raises `NoAuthority`, `UnusableCertificate`, and `ValueError` for a name that no certificate can have.
    """
    if not (directory / AUTHORITY_KEY_FILE).exists():
        raise NoAuthority(f"{directory} has no {AUTHORITY_KEY_FILE}")
    authority, authority_key = _authority(directory, now)
    key = ec.generate_private_key(ec.SECP256R1())
    span = _span(now, days, authority.not_valid_after_utc)
    certificate = _client_certificate(name, key, authority_key, span, x509.random_serial_number())
    return _pem(certificate) + _pem_of_key(key)


def needs_rotation(files: TlsFiles, now: datetime.datetime) -> bool:
    """Whether the certificate expires soon."""
    return files.not_after - now < datetime.timedelta(days=RENEW_DAYS_BEFORE_END)


def rotate_certificate(directory: Path, now: datetime.datetime) -> TlsFiles:
    """Make a new key and certificate; existing connections keep theirs. Raises as `load_or_create_certificate`."""
    return _rotate(directory, *_authority(directory, now), now, NOTHING_MORE)


def _rotate(
    directory: Path, authority: x509.Certificate, authority_key: Key, now: datetime.datetime, wanted: Wanted
) -> TlsFiles:
    key = ec.generate_private_key(ec.SECP256R1())
    span = _span(now, VALID_DAYS, authority.not_valid_after_utc)
    certificate = _node_certificate(key, authority_key, wanted, span, x509.random_serial_number())
    write_private(directory / KEY_FILE, _pem_of_key(key))
    write_private(directory / CERTIFICATE_FILE, _pem(certificate))
    return files_in(directory, certificate.not_valid_after_utc, wanted)


def _keep_client(directory: Path, authority: x509.Certificate, authority_key: Key, now: datetime.datetime) -> None:
    """Have a certificate for clients on this machine, in one file with its key; what cannot be used is made again."""
    path, margin = directory / CLIENT_FILE, datetime.timedelta(days=RENEW_DAYS_BEFORE_END)
    try:
        content = read_private(path) or b""
        key = _parsed_key(content)
        make = partial(_client_certificate, CLIENT_NAME, key, authority_key)
        own = content.removesuffix(_pem_of_key(key))
        found, fault = _checked(own, make, authority_key, now, margin)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        found, fault = None, str(error)
    if found is None:
        log.info("the certificate of local clients is made", path=str(path), reason=fault)
        key = ec.generate_private_key(ec.SECP256R1())
        span = _span(now, VALID_DAYS, authority.not_valid_after_utc)
        made = _client_certificate(CLIENT_NAME, key, authority_key, span, x509.random_serial_number())
        write_private(path, _pem(made) + _pem_of_key(key))


def _authority(directory: Path, now: datetime.datetime) -> tuple[x509.Certificate, Key]:
    """The authority and its key; the key is made only where there is none."""
    path, key_path = directory / AUTHORITY_FILE, directory / AUTHORITY_KEY_FILE
    try:
        content = read_private(key_path)
        key = None if content is None else _parsed_key(content)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UnusableCertificate(f"{key_path} cannot be used: {error}") from None
    if key is None:
        if path.exists():
            log.warning("the authority's key is missing: clients elsewhere need the new file", path=str(path))
        key = ec.generate_private_key(ec.SECP256R1())
        write_private(key_path, _pem_of_key(key))
    make = partial(_authority_certificate, key)
    found, fault = _checked(_content(path), make, key, now, datetime.timedelta(days=VALID_DAYS))
    if found is None:
        log.info("the authority's certificate is made of its key", path=str(path), reason=fault)
        found = make(_span(now, AUTHORITY_DAYS), x509.random_serial_number())
        write_private(path, _pem(found))
    return found, key


def _node_key(directory: Path) -> Key | None:
    """The key of the certificate; None if it is missing, damaged, written otherwise than here, or known to others."""
    path = directory / KEY_FILE
    try:
        content = read_private(path)
        key = None if content is None else _parsed_key(content)
        reason = "it is missing" if key is None else "" if _pem_of_key(key) == content else "it was changed"
    except Exposed:
        key, reason = None, "others can read it"
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        key, reason = None, str(error)
    if reason:
        log.info("the certificate's key is recreated", path=str(path), reason=reason)
    return None if reason else key


def _content(path: Path) -> bytes | None:
    """Content of a certificate's file, None if it cannot be read: the certificate is made again then."""
    try:
        return read_private(path, secret=False)
    except OSError:
        return None


def _checked(
    content: bytes | None, make: Make, signer: Key, now: datetime.datetime, margin: datetime.timedelta
) -> tuple[x509.Certificate | None, str]:
    """The certificate if it is what ``make`` makes, valid now and for longer than ``margin``; else None and why."""
    if content is None:
        return None, "it is missing or cannot be read"
    try:
        found = x509.load_pem_x509_certificate(content)
        again = make((found.not_valid_before_utc, found.not_valid_after_utc), found.serial_number)
        signer.public_key().verify(found.signature, found.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return None, "it was signed by another key"
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        return None, f"it is damaged: {error}"
    faults = {
        "it is of another key, or for other names": found.tbs_certificate_bytes != again.tbs_certificate_bytes,
        "the file was changed": _pem(found) != content,
        "it is not valid yet": found.not_valid_before_utc > now,
        "it ends soon": found.not_valid_after_utc - now < margin,
    }
    fault = next((what for what, holds in faults.items() if holds), "")
    return (None if fault else found), fault


def _authority_certificate(key: Key, span: Span, serial: int) -> x509.Certificate:
    return (
        _builder(AUTHORITY_NAME, AUTHORITY_NAME, key, span, serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _node_certificate(key: Key, authority_key: Key, wanted: Wanted, span: Span, serial: int) -> x509.Certificate:
    names = dict.fromkeys((*NAMES, *wanted.names))
    addresses = dict.fromkeys(ipaddress.ip_address(item) for item in (*ADDRESSES, *wanted.addresses))
    alternatives: list[x509.GeneralName] = [x509.DNSName(item) for item in names]
    alternatives += [x509.IPAddress(item) for item in addresses]
    return (
        _builder(NODE_NAME, AUTHORITY_NAME, key, span, serial)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _client_certificate(name: str, key: Key, authority_key: Key, span: Span, serial: int) -> x509.Certificate:
    return (
        _builder(name, AUTHORITY_NAME, key, span, serial)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(subject: str, issuer: str, key: Key, span: Span, serial: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(span[0])
        .not_valid_after(span[1])
    )


def _span(now: datetime.datetime, days: int, end: datetime.datetime | None = None) -> Span:
    """A validity from a little before now for ``days`` days, but not beyond ``end``."""
    last = datetime.datetime.max.replace(tzinfo=datetime.UTC)  # X.509 knows no later one either
    length = datetime.timedelta(days=days)
    return now - BEGIN_BEFORE, min(now + length if last - now > length else last, end or last)


def _parsed_key(content: bytes) -> Key:
    key = serialization.load_pem_private_key(content, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("not an elliptic curve key")
    return key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_of_key(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
