"""The tokens that the owner has made, in ``tokens.json``: names, scopes and limits, and of each secret only its hash.

A token is ``zvmd_``, 52 characters of base32 that are 256 random bits, and 6 that are a checksum of them. So a search
for leaked secrets finds it (``zvmd_[a-z2-7]{58}``), and one that was mistyped or cut is distinguished from a wrong
one. It is looked up by its SHA-256: the time that takes says nothing of a secret of 256 random bits.

The file is read once. Whoever changes it has the data directory's lock: the running node, or a command while no node
runs. A change is durable before it counts.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b32encode
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from node.auth.errors import UnusableTokens
from node.auth.private import read_private, write_private
from node.doors.errors import TokenRefused, UnknownToken
from node.rpc.registry import Scope

TOKENS_FILE: Final = "tokens.json"
PREFIX: Final = "zvmd_"
VERSION: Final = 1
TOKENS_MAX: Final = 100
"""The file stays below `node.auth.private.FILE_BYTES_MAX`."""
SECRET_BYTES: Final = 32
CHECKSUM_CHARACTERS: Final = 6
EXPIRES_WITHIN_S: Final = 10 * 365 * 86_400
_ID: Final = re.compile("[0-9a-f]{8}")
TOKEN: Final = re.compile(rf"{PREFIX}[a-z2-7]{{58}}")

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Seconds = Annotated[int, Meta(ge=0, le=2**53)]


class TokenEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One token."""

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{8}\Z")]
    name: Name
    scopes: tuple[Scope, ...]
    created: Seconds
    """Unix time."""
    sha256: Digest | None = None
    """The hash of the whole token; None for an entry that is only for a certificate."""
    certificate_sha256: Digest | None = None
    """Fingerprint of a client certificate, in DER, whose holder is let in as with the token."""
    expires: Seconds | None = None
    """Unix time from which on it is refused; None: never."""
    requests_per_second: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    connections: Annotated[int, Meta(ge=1, le=65_536)] | None = None

    def is_valid(self, now: float) -> bool:
        """Whether it has not expired; ``now`` is Unix time."""
        return self.expires is None or now < self.expires


class TokenWish(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is asked for besides name and scopes."""

    expires_in: Annotated[int, Meta(ge=1, le=EXPIRES_WITHIN_S)] | None = None
    """Seconds."""
    requests_per_second: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    connections: Annotated[int, Meta(ge=1, le=65_536)] | None = None
    certificate_sha256: Digest | None = None


class _TokenFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    tokens: Annotated[tuple[TokenEntry, ...], Meta(max_length=TOKENS_MAX)]


def _checksum(body: str) -> str:
    return b32encode(hashlib.sha256(body.encode()).digest()).decode().lower()[:CHECKSUM_CHARACTERS]


def make_token(random: bytes) -> str:
    """The token of 32 random bytes."""
    body = PREFIX + b32encode(random).decode().lower().rstrip("=")
    return body + _checksum(body)


def is_mistyped(token: str) -> bool:
    """Whether it begins like a token of `make_token` but cannot be one.

    >>> is_mistyped(make_token(bytes(32))), is_mistyped(make_token(bytes(32))[:-1]), is_mistyped("something else")
    (False, True, False)
    """
    if not token.startswith(PREFIX):
        return False
    return not TOKEN.fullmatch(token) or _checksum(token[:-CHECKSUM_CHARACTERS]) != token[-CHECKSUM_CHARACTERS:]


def digest_of(secret: bytes) -> str:
    """SHA-256 of a token or a certificate, in hex."""
    return hashlib.sha256(secret).hexdigest()


class TokenBook:
    """All tokens of a data directory, and the only one who changes them. Not thread-safe."""

    def __init__(self, path: Path, entries: Iterable[TokenEntry] = ()) -> None:
        self._path = path
        self._take(entries)

    @classmethod
    def read(cls, directory: Path) -> TokenBook:
        """The tokens of a data directory, none if there is no file. Raises `UnusableTokens`."""
        path = directory / TOKENS_FILE
        try:
            content = read_private(path)
            if content is None:
                return cls(path)
            read = msgspec.json.decode(content, type=_TokenFile)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UnusableTokens(f"{path}: {error}") from None
        if read.version != VERSION:
            raise UnusableTokens(f"{path} has version {read.version}; this program reads version {VERSION}")
        for unique in ("id", "name"):
            if len({getattr(entry, unique) for entry in read.tokens}) != len(read.tokens):
                raise UnusableTokens(f"{path}: two tokens have the same {unique}")
        return cls(path, read.tokens)

    @property
    def entries(self) -> tuple[TokenEntry, ...]:
        """All of them, the oldest first; expired ones too, until another is made."""
        return self._entries

    def of_token(self, token: str, now: float) -> TokenEntry | None:
        """The entry of a token that is valid at a Unix time."""
        digest = digest_of(token.encode())
        found = self._by_token.get(digest)
        is_it = found is not None and hmac.compare_digest(found.sha256 or "", digest)
        return found if found is not None and is_it and found.is_valid(now) else None

    def of_certificate(self, certificate: bytes, now: float) -> TokenEntry | None:
        """The entry of a client certificate in DER that is valid at a Unix time."""
        found = self._by_certificate.get(digest_of(certificate))
        return found if found is not None and found.is_valid(now) else None

    def create(
        self,
        name: str,
        scopes: Iterable[Scope],
        wish: TokenWish,
        now: float,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> tuple[TokenEntry, str]:
        """Make a token, durably; its entry, and its secret, which is nowhere else.

        For a certificate no token is made: the secret is empty. Expired tokens are removed.
        Raises `TokenRefused`, `StorageFull`, `StoragePanic`, `DataDirectoryUnusable`.
        """
        kept = [entry for entry in self._entries if entry.is_valid(now)]
        wanted = tuple(scope for scope in Scope if scope in set(scopes))
        if not wanted:
            raise TokenRefused("a token has at least one scope")
        if _ID.fullmatch(name):
            raise TokenRefused(f"{name!r} looks like the id of a token")
        if any(entry.name == name for entry in kept):
            raise TokenRefused(f"there is a token with the name {name!r}")
        if len(kept) >= TOKENS_MAX:
            raise TokenRefused(f"there are {TOKENS_MAX} tokens, the most there may be")
        print_ = wish.certificate_sha256
        if print_ is not None and any(entry.certificate_sha256 == print_ for entry in kept):
            raise TokenRefused("this certificate belongs to another token")
        secret = "" if print_ is not None else make_token(random(SECRET_BYTES))
        taken = {entry.id for entry in kept}
        fresh = (random(4).hex() for _ in range(1_000))
        made = {
            "id": next(number for number in fresh if number not in taken),
            "name": name,
            "scopes": wanted,
            "created": int(now),
            "sha256": digest_of(secret.encode()) if secret else None,
            "certificateSha256": print_,
            "expires": None if wish.expires_in is None else int(now) + wish.expires_in,
            "requestsPerSecond": wish.requests_per_second,
            "connections": wish.connections,
        }
        try:
            entry = msgspec.convert(made, TokenEntry)
        except msgspec.ValidationError as error:
            raise TokenRefused(f"a token cannot be made so: {error}") from None
        self._keep([*kept, entry])
        return entry, secret

    def revoke(self, name_or_id: str) -> TokenEntry:
        """Remove a token, durably. Raises `UnknownToken` and what writing raises."""
        found = next((entry for entry in self._entries if name_or_id == entry.name), None)
        found = found or next((entry for entry in self._entries if name_or_id == entry.id), None)
        if found is None:
            raise UnknownToken(f"no token has the name or id {name_or_id[:80]!r}")
        self._keep([entry for entry in self._entries if entry is not found])
        return found

    def _keep(self, entries: list[TokenEntry]) -> None:
        content = msgspec.json.format(msgspec.json.encode(_TokenFile(VERSION, tuple(entries))), indent=2)
        write_private(self._path, content + b"\n")
        self._take(entries)

    def _take(self, entries: Iterable[TokenEntry]) -> None:
        self._entries = tuple(entries)
        self._by_token = {entry.sha256: entry for entry in self._entries if entry.sha256 is not None}
        self._by_certificate = {
            entry.certificate_sha256: entry for entry in self._entries if entry.certificate_sha256 is not None
        }


def wish_of(options: object) -> TokenWish:
    """The options of a request. Raises `TokenRefused`."""
    try:
        return msgspec.convert(options or {}, TokenWish)
    except msgspec.ValidationError as error:
        raise TokenRefused(f"unusable options: {error}") from None


def scopes_of(names: Iterable[object]) -> list[Scope]:
    """Scopes by their names. Raises `TokenRefused`."""
    known = {scope.value: scope for scope in Scope}
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise TokenRefused(f"{str(name)[:60]!r} is not a scope; there are {', '.join(known)}")
    return [known[str(name)] for name in names]


def shown(entry: TokenEntry) -> dict[str, object]:
    """All of an entry but its hash, for answers."""
    return {
        "id": entry.id,
        "name": entry.name,
        "scopes": [scope.value for scope in entry.scopes],
        "created": entry.created,
        "expires": entry.expires,
        "requestsPerSecond": entry.requests_per_second,
        "connections": entry.connections,
        "certificateSha256": entry.certificate_sha256,
    }
