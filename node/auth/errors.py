"""Errors of certificates, tokens and sockets.

ZvmdError
├── UnusableToken              auth.token_file
├── UnusableCertificate        auth.certificate
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


class UnusableCertificate(ZvmdError):
    """Certificate or key cannot be read or do not belong together."""

    code = "auth.certificate"
    hint = "delete both files in the data directory's tls folder to have new ones made"
    exit_code = EXIT_CONFIG


class UnsafeBind(ZvmdError):
    """A listener would be reachable from other machines without protection."""

    code = "auth.bind"
    hint = (
        "listen on 127.0.0.1 or ::1; from other machines use QUIC (quic.host), which has TLS and a token; only a chain "
        "begun and run with --dev and the public test mnemonic takes another [http] host"
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
