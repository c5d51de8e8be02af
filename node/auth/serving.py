"""The TLS of the HTTP listener: a context made of files that were looked at first.

TLS 1.2 and 1.3, no renegotiation, no compression; TLS 1.2 with forward secrecy and authenticated encryption only (RFC
9325, sections 3.1 and 4.2). A context is never changed: other files make another one.
"""

from __future__ import annotations

import datetime
import hashlib
import ssl
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from qh3._hazmat import Certificate

from node.auth.errors import EncryptedKey, UnusableTlsFile
from node.ops.reading import read_limited

FILE_BYTES_MAX: Final = 256 * 1024
"""Largest file: a certificate with those above it, its key, or client authorities."""
CIPHERS_1_2: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
PROTOCOLS: Final = ["http/1.1"]


class Paths(NamedTuple):
    """Which files the TLS of HTTP is made of."""

    certificate: Path
    key: Path
    client_authorities: tuple[Path, ...] = ()
    """Whose certificates are required of clients; none: of nobody."""


class ServedTls(NamedTuple):
    """What a listener secures new connections with."""

    context: ssl.SSLContext
    digest: bytes
    """Digest of the files' content."""
    certificate: str
    """The node's own certificate, PEM."""
    not_after: datetime.datetime
    files: tuple[bytes, bytes]
    """Content of the certificate's file and of its key's."""


def digest_of(paths: Paths) -> bytes:
    """Digest of the files' content. Raises `UnusableTlsFile`."""
    digest = hashlib.blake2b(digest_size=32)
    for path in (paths.certificate, paths.key, *paths.client_authorities):
        content = _read(path)
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.digest()


def served_tls(paths: Paths, now: datetime.datetime) -> ServedTls:
    """What the files are good for. Raises `UnusableTlsFile`."""
    digest = digest_of(paths)  # before they are read: a later change is seen as one
    own = _first_certificate(paths.certificate)
    try:
        dates = Certificate(ssl.PEM_cert_to_DER_cert(own))
    except Exception as error:  # of several kinds, one of them the library's own
        raise UnusableTlsFile(f"{paths.certificate} holds no certificate: {error}") from None
    begin = datetime.datetime.fromtimestamp(dates.not_valid_before, datetime.UTC)
    end = datetime.datetime.fromtimestamp(dates.not_valid_after, datetime.UTC)
    if not begin <= now < end:
        raise UnusableTlsFile(f"{paths.certificate} is valid from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC")
    context = _context(paths)
    return ServedTls(context, digest, own, end, (_read(paths.certificate), _read(paths.key)))


def check_authorities(paths: tuple[Path, ...]) -> None:
    """Whether they are authorities of clients. Raises `UnusableTlsFile`."""
    _trust(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), paths)


def key_is_exposed(path: Path) -> bool:
    """Whether every user of the machine can read a key."""
    try:
        return bool(path.stat().st_mode & 0o004)
    except OSError:
        return False


def _context(paths: Paths) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_ciphers(CIPHERS_1_2)
    context.set_alpn_protocols(PROTOCOLS)
    try:
        context.load_cert_chain(paths.certificate, paths.key, password=lambda: _is_encrypted(paths.key))
    except ssl.SSLError as error:
        raise UnusableTlsFile(f"{paths.certificate} with {paths.key}: {_reason(error)}") from None
    except OSError as error:
        raise UnusableTlsFile(f"{paths.certificate} with {paths.key}: {error}") from None
    _trust(context, paths.client_authorities)
    context.verify_mode = ssl.CERT_REQUIRED if paths.client_authorities else ssl.CERT_NONE
    return context


def _trust(context: ssl.SSLContext, authorities: tuple[Path, ...]) -> None:
    """Take certificates of these."""
    for path in authorities:
        try:
            context.load_verify_locations(cadata=_read(path).decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise UnusableTlsFile(f"{path} holds no authority's certificate: {_reason(error)}") from None


def _is_encrypted(path: Path) -> NoReturn:
    raise EncryptedKey(f"{path} is encrypted, and a node has nobody to ask for the passphrase")


def _reason(error: OSError | ValueError) -> str:
    word = getattr(error, "reason", None)
    if word == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate"
    return str(word or getattr(error, "strerror", None) or error).lower().replace("_", " ")


def _first_certificate(path: Path) -> str:
    """The first certificate of a PEM file, which is the server's own."""
    text = _read(path).decode("latin-1")
    begin, end = text.find(ssl.PEM_HEADER), text.find(ssl.PEM_FOOTER)
    if not 0 <= begin < end:
        raise UnusableTlsFile(f"{path} holds no certificate in PEM form")
    return text[begin : end + len(ssl.PEM_FOOTER)] + "\n"


def _read(path: Path) -> bytes:
    try:
        return read_limited(path, FILE_BYTES_MAX)
    except OSError as error:
        raise UnusableTlsFile(f"{path}: {error.strerror or error}") from None
