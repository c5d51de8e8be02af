"""Errors of tokens.

ZvmdError
├── UnusableTokens         auth.tokens_file       exit 78
├── TokenRefused           auth.token_refused
└── UnknownToken           auth.unknown_token
"""

from __future__ import annotations

from chain.errors import EXIT_CONFIG, ZvmdError


class UnusableTokens(ZvmdError):
    """``tokens.json`` cannot be read, is damaged or can be read by others: nobody knows who may come in."""

    code = "auth.tokens_file"
    hint = "restrict it with chmod 600, or restore it; without the file there are no tokens but the node's own"
    exit_code = EXIT_CONFIG


class TokenRefused(ZvmdError):
    """A token that cannot be made as asked for."""

    code = "auth.token_refused"
    rpc_code = -32602
    hint = "zvmd token list shows the names that are taken; zvmd token create --help what may be given"


class UnknownToken(ZvmdError):
    """No token has this name or id."""

    code = "auth.unknown_token"
    rpc_code = -32602
    hint = "zvmd token list shows the tokens"
