"""The access token: 32 random bytes in a file only the owner can read, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from node.auth.errors import UnusableToken

TOKEN_FILE = "token"  # noqa: S105 - a file name
TOKEN_HEX_DIGITS = 64


def load_or_create_token(directory: Path) -> str:
    """The token of a data directory, made if there is none. Raises `UnusableToken`."""
    path = directory / TOKEN_FILE
    try:
        text = path.read_text("ascii").strip()
    except FileNotFoundError:
        text = secrets.token_hex(TOKEN_HEX_DIGITS // 2)
        write_private(path, text.encode() + b"\n")
        return text
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableToken(f"{path}: {error}") from None
    if len(text) != TOKEN_HEX_DIGITS or not set(text) <= set("0123456789abcdef"):
        raise UnusableToken(f"{path} does not hold {TOKEN_HEX_DIGITS} hex digits")
    if path.stat().st_mode & 0o077:
        raise UnusableToken(f"{path} can be read by others; chmod 600 it")
    return text


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 atomically and durably."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class TokenChecker:
    """Compares tokens by their hash, so that neither time nor memory tells how much was right."""

    def __init__(self, token: str) -> None:
        self._digest = hashlib.sha256(token.encode()).digest()

    def __call__(self, token: bytes | str) -> bool:
        given = token.encode() if isinstance(token, str) else token
        return hmac.compare_digest(hashlib.sha256(given).digest(), self._digest)
