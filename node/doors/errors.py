"""Errors of tokens.

ZvmdError
├── TokenRefused           auth.token_refused
└── UnknownToken           auth.unknown_token
"""

from __future__ import annotations

from chain.errors import ZvmdError


class TokenRefused(ZvmdError):
    """A token that cannot be made as asked for."""

    code = "auth.token_refused"
    rpc_code = -32602
    hint = "zvmd token list shows the names that are taken"


class UnknownToken(ZvmdError):
    """No token has this name or id."""

    code = "auth.unknown_token"
    rpc_code = -32602
    hint = "zvmd token list shows the tokens"
