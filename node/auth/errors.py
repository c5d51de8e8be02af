"""Errors of certificates and tokens.

ZvmdError
├── UnusableToken              auth.token_file
├── UnusableTokens             auth.tokens_file
├── UnusableCertificate        auth.certificate
└── UnsafeBind                 auth.bind
"""

from __future__ import annotations

from chain.errors import EXIT_CONFIG, ZvmdError


class UnusableToken(ZvmdError):
    """The token file cannot be read, is malformed or open to others."""

    code = "auth.token_file"
    hint = "delete the file to have a new token made, or restrict it with chmod 600"
    exit_code = EXIT_CONFIG


class UnusableTokens(ZvmdError):
    """``tokens.json`` cannot be read, is damaged or can be read by others: nobody knows who may come in."""

    code = "auth.tokens_file"
    hint = "restrict it with chmod 600, or restore it; without the file there are no tokens but the node's own"
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
