"""Errors of certificates, tokens and sockets.

ZvmdError
├── UnusableToken              auth.token_file
├── UnusableTokens             auth.tokens_file
├── UnusableCertificate        auth.certificate
├── UnusableTlsFile            auth.tls_file
│   └── EncryptedKey           auth.encrypted_key
├── NoAuthority                auth.no_authority
├── CertificateExists          auth.certificate_exists
├── UnsafeBind                 auth.bind
├── SocketPathTooLong          auth.socket_path
└── SocketUnavailable          auth.socket
"""

from __future__ import annotations

from chain.errors import EXIT_CONFIG, EXIT_UNAVAILABLE, ZvmdError


class UnusableToken(ZvmdError):
    """The token file cannot be read, is malformed or open to others."""

    code = "auth.token_file"
    hint = "delete the file to have a new token made, or restrict it with chmod 600"
    exit_code = EXIT_CONFIG


class UnusableTokens(ZvmdError):
    """``tokens.json`` cannot be read, is damaged or can be read by others: nobody knows who may come in."""

    code = "auth.tokens_file"
    hint = "chmod 600 it, or restore it from a copy; if you remove it, every token but the node's own stops working"
    exit_code = EXIT_CONFIG


class UnusableCertificate(ZvmdError):
    """Certificate or key cannot be read or do not belong together."""

    code = "auth.certificate"
    hint = "delete both files in the data directory's tls folder to have new ones made"
    exit_code = EXIT_CONFIG


class UnusableTlsFile(ZvmdError):
    """A file that the settings name for TLS cannot be read, or is not what it should be."""

    code = "auth.tls_file"
    hint = (
        "[http] tls_certificate is a PEM file with the certificate and then those above it, [http] tls_key its key "
        "without a passphrase, [http] client_authority a PEM file of authorities or auto"
    )
    exit_code = EXIT_CONFIG


class EncryptedKey(UnusableTlsFile):
    """The key for TLS has a passphrase."""

    code = "auth.encrypted_key"
    hint = "decrypt it with openssl pkey -in KEY -out PLAIN, and keep PLAIN readable by the node's user only"


class NoAuthority(ZvmdError):
    """A data directory has no authority that could sign a certificate."""

    code = "auth.no_authority"
    hint = "name the node's directory with --data-dir; its first start makes the authority"


class CertificateExists(ZvmdError):
    """A file would be written over that holds a key."""

    code = "auth.certificate_exists"
    hint = "choose another name or another --out, or move the file away"


class UnsafeBind(ZvmdError):
    """A listener would be reachable from other machines without protection."""

    code = "auth.bind"
    hint = (
        "set [http] tls (--http-tls auto), with which other machines need a token, or listen on 127.0.0.1 or ::1; "
        "without TLS only a chain begun and run with --dev and the public test mnemonic takes another [http] host"
    )
    exit_code = EXIT_CONFIG


class SocketPathTooLong(ZvmdError):
    """The path of a unix socket has more bytes than the system allows."""

    code = "auth.socket_path"
    hint = "set ipc.path to a shorter one (/run/zvmd/zvmd.ipc), or ipc.enabled to false"
    exit_code = EXIT_CONFIG


class SocketUnavailable(ZvmdError):
    """A unix socket cannot be made at its path, or another process listens there."""

    code = "auth.socket"
    hint = "remove what lies at the path, stop what listens there, set another ipc.path, or ipc.enabled to false"
    exit_code = EXIT_UNAVAILABLE
