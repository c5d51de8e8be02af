"""The access token: 32 random bytes in a file only the owner can read, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from node.auth.errors import UnusableToken
from node.auth.private import read_private, write_private

TOKEN_FILE = "token"  # noqa: S105 - a file name
TOKEN_HEX_DIGITS = 64


def load_or_create_token(directory: Path) -> str:
    """The token of a data directory, made if there is none. Raises `UnusableToken` and what `write_private` does."""
    path = directory / TOKEN_FILE
    try:
        content = read_private(path)
        text = "" if content is None else content.decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableToken(f"{path}: {error}") from None
    if content is None:
        text = secrets.token_hex(TOKEN_HEX_DIGITS // 2)
        write_private(path, text.encode() + b"\n")
    if len(text) != TOKEN_HEX_DIGITS or not set(text) <= set("0123456789abcdef"):
        raise UnusableToken(f"{path} does not hold {TOKEN_HEX_DIGITS} hex digits")
    return text


class TokenChecker:
    """Compares tokens by their hash, so that timing does not reveal how much of a guess was right."""

    def __init__(self, token: str) -> None:
        self._digest = hashlib.sha256(token.encode()).digest()

    def __call__(self, token: bytes | str) -> bool:
        given = token.encode() if isinstance(token, str) else token
        return hmac.compare_digest(hashlib.sha256(given).digest(), self._digest)
