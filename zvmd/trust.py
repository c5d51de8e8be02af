"""What a client trusts over HTTPS, and by which certificate it shows who it is: contexts for the standard library.

>>> context_of("http://127.0.0.1:8545") is None
True
"""

from __future__ import annotations

import ssl
from pathlib import Path

from zvmd.errors import ConnectionFailed

FILE_BYTES_MAX = 256 * 1024


def context_of(
    url: str,
    certificate: str | Path | None = None,
    client_certificate: str | Path | None = None,
    also: Path | None = None,
) -> ssl.SSLContext | None:
    """The TLS to use for a URL; None for one without TLS.

    ``certificate`` is a PEM file of authorities to trust instead of the system's, ``also`` one to trust beside them if
    it is there; ``client_certificate`` a PEM file with certificate and key. Raises `ConnectionFailed`.
    """
    if not url.startswith(("https:", "wss:")):
        return None
    if certificate is not None and not Path(certificate).is_file():
        raise _unusable(certificate, "it is not a file")
    try:
        context = ssl.create_default_context(cafile=certificate)
        if certificate is None and also is not None and also.is_file():
            context.load_verify_locations(cafile=also)
    except OSError as error:
        raise _unusable(certificate or also, error) from None
    return _shown(context, client_certificate)


def pinned_context(certificate: Path, client_certificate: str | Path | None = None) -> ssl.SSLContext:
    """TLS with a node of this machine: only the certificates of a file are trusted themselves, whatever their names.

    Raises `ConnectionFailed`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # it is for other machines' names; nobody else has its key
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        with certificate.open("rb") as file:
            context.load_verify_locations(cadata=file.read(FILE_BYTES_MAX).decode("ascii"))
    except (OSError, ValueError) as error:
        raise _unusable(certificate, error) from None
    return _shown(context, client_certificate)


def _shown(context: ssl.SSLContext, client_certificate: str | Path | None) -> ssl.SSLContext:
    if client_certificate is not None:
        try:
            context.load_cert_chain(client_certificate)
        except (OSError, ValueError) as error:
            raise _unusable(client_certificate, error) from None
    return context


def _unusable(path: str | Path | None, reason: object) -> ConnectionFailed:
    said = getattr(reason, "strerror", None) or reason
    hint = "give a PEM file: the node's tls/authority.pem, or a client's certificate with its key"
    return ConnectionFailed(f"{path} cannot be used: {said}", code="client.certificate", hint=hint)
