"""Sharing of sessions: the owner may do everything, others what their token's role allows until it expires.

A token is ``zvs-SESSION-SHARE-SECRET``; of the secret, 256 random bits, only the hash is kept. Control of a session:
while nobody has it, the first who may drive and moves takes it. The moves of others are refused until the holder
releases it, the holder's token ends, or somebody takes over explicitly.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from math import ceil
from typing import Final, NamedTuple

import msgspec

from chain.errors import ZvmdError
from debugger.errors import InvalidProgram, SessionFileMalformed, SessionLimitReached, SessionNotFound
from debugger.limits import NAME_CHARACTERS
from node.sessions.errors import InvalidShare, NotDriving, OwnersOnly, ShareExpired, WatchOnly
from node.sessions.rights import SHARE_PREFIX, Right, SessionRef
from storage.sessions.shelf import SessionShelf

WATCH: Final = "watch"
DRIVE: Final = "drive"
ROLES: Final = (WATCH, DRIVE)
SHARES: Final = 32
"""Most shares of one session."""
TTL_SECONDS: Final = 3_600
TTL_MAX_SECONDS: Final = 30 * 24 * 3_600
OWNER: Final = 0
"""Share number of the owner."""
_TOKEN: Final = re.compile(SHARE_PREFIX + r"([1-9][0-9]{0,18})-([1-9][0-9]{0,18})-([0-9a-f]{64})")


class Share(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One share token."""

    id: int
    role: str
    digest: bytes
    """SHA-256 of the secret."""
    expires: int
    """Unix time, seconds; from then on the token is refused."""
    name: str = ""
    """The owner's name for the recipient."""


class Sharing(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The sharing of a session, as its record stores it."""

    shares: tuple[Share, ...] = ()
    given: int = 0
    """The highest share number ever given."""
    driver: int | None = None
    """The share in control, `OWNER`, or None if nobody is."""
    changes: int = 0
    """Number of changes of the session so far: the cursor of its events."""


UNSHARED: Final = Sharing()


def encode_sharing(sharing: Sharing) -> bytes:
    """Encode for a session's place.

    >>> decode_sharing(encode_sharing(Sharing(driver=0, changes=3))).changes, encode_sharing(UNSHARED)
    (3, b'')
    """
    return b"" if sharing == UNSHARED else msgspec.msgpack.encode(sharing)


def decode_sharing(data: bytes) -> Sharing:
    """Raises `SessionFileMalformed`."""
    try:
        return msgspec.msgpack.decode(data, type=Sharing) if data else UNSHARED
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SessionFileMalformed(f"the session's sharing: {error}"[:300]) from None


class SessionAccess(NamedTuple):
    """The access that a reference to a session gives."""

    session: int
    share: int
    may_drive: bool


def parse_token(token: str) -> tuple[int, int, str]:
    """Session, share and secret. Raises `InvalidShare`."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise InvalidShare("this is not a share token")
    return int(found[1]), int(found[2]), found[3]


def given(sharing: Sharing, session: int, role: str, ttl: int, name: str, now: float) -> tuple[Sharing, Share, str]:
    """Add a share: the new sharing, the share, and its token. Raises `InvalidProgram`, `SessionLimitReached`."""
    if role not in ROLES:
        raise InvalidProgram(f"a role is watch or drive, not {role[:60]!r}")
    if not 1 <= ttl <= TTL_MAX_SECONDS:
        raise InvalidProgram(f"a token is valid for 1 to {TTL_MAX_SECONDS} seconds, not {ttl}")
    if len(name) > NAME_CHARACTERS or not name.isprintable():
        raise InvalidProgram(f"names have at most {NAME_CHARACTERS} characters, all of them printable")
    alive = tuple(share for share in sharing.shares if now < share.expires)
    if len(alive) >= SHARES:
        raise SessionLimitReached(f"a session has at most {SHARES} shares at once")
    secret = secrets.token_hex(32)
    share = Share(sharing.given + 1, role, _digest(secret), ceil(now) + ttl, name)
    token = f"{SHARE_PREFIX}{session}-{share.id}-{secret}"
    return msgspec.structs.replace(sharing, shares=(*alive, share), given=share.id), share, token


def revoked(sharing: Sharing, share: int) -> Sharing:
    """The sharing without a share. Raises `InvalidShare` if there is none of that number."""
    left = tuple(other for other in sharing.shares if other.id != share)
    if len(left) == len(sharing.shares):
        raise InvalidShare(f"no share {share}")
    driver = None if sharing.driver == share else sharing.driver
    return msgspec.structs.replace(sharing, shares=left, driver=driver)


def entered(sharing: Sharing, session: int, share: int, secret: str, now: float) -> SessionAccess:
    """The access of a token. Raises `InvalidShare`, `ShareExpired`."""
    found = next((other for other in sharing.shares if other.id == share), None)
    if found is None or not hmac.compare_digest(found.digest, _digest(secret)):
        raise InvalidShare(f"this token is not, or no longer, one of session {session}'s")
    if now >= found.expires:
        raise ShareExpired(f"share {share} of session {session} has expired")
    return SessionAccess(session, share, found.role == DRIVE)


def holder(sharing: Sharing, now: float) -> int | None:
    """Who is in control: a valid share, `OWNER`, or None."""
    if sharing.driver is None or sharing.driver == OWNER:
        return sharing.driver
    return next((s.id for s in sharing.shares if s.id == sharing.driver and now < s.expires), None)


def control_taken(sharing: Sharing, share: int, now: float, take_over: bool = False) -> Sharing:
    """The sharing with a share in control. Raises `NotDriving` if somebody else is."""
    held = holder(sharing, now)
    if held not in (None, share) and not take_over:
        assert held is not None
        raise NotDriving(f"{holder_name(sharing, held)} drives this session")
    return msgspec.structs.replace(sharing, driver=share)


def control_released(sharing: Sharing, share: int, now: float) -> Sharing:
    """The sharing with nobody in control. Raises `NotDriving` if somebody else is."""
    return msgspec.structs.replace(control_taken(sharing, share, now), driver=None)


def holder_name(sharing: Sharing, share: int | None) -> str:
    """The holder of control as events and errors name it: the owner, a share by number and name, or nobody."""
    if share is None:
        return "nobody"
    if share == OWNER:
        return "owner"
    name = next((s.name for s in sharing.shares if s.id == share), "")
    return f"share {share}" + (f" ({name})" if name else "")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


class Sharings:
    """Owns the sharing of every session in memory; records on the shelf have it too. Use it from one event loop."""

    def __init__(self, shelf: SessionShelf, clock: Callable[[], float] = time.time) -> None:
        """``clock`` returns Unix seconds, by which tokens expire."""
        self._shelf = shelf
        self._clock = clock
        self._sharings: dict[int, Sharing] = {}

    def now(self) -> float:
        """Unix time, seconds."""
        return self._clock()

    def of(self, session: int) -> Sharing:
        """The sharing in the session's record. Raises `SessionNotFound`."""
        kept = self._shelf.get(session)
        if kept is None:
            raise SessionNotFound(f"no session {session}")
        found = self._sharings.get(session)
        if found is None:
            found = self._sharings[session] = decode_sharing(kept.place.sharing)
        return found

    def kept(self, session: int, sharing: Sharing | None) -> None:
        """The session's record, with this sharing, is durable; None: the session is closed."""
        if sharing is None:
            self._sharings.pop(session, None)
        else:
            self._sharings[session] = sharing

    def enter(self, ref: SessionRef) -> SessionAccess:
        """The access of a number or token. Raises `SessionNotFound`, `InvalidShare`, `ShareExpired`."""
        if isinstance(ref, int):
            self.of(ref)
            return SessionAccess(ref, OWNER, True)
        session, share, secret = parse_token(ref)
        return entered(self.of(session), session, share, secret, self.now())

    def is_valid(self, token: str) -> bool:
        """Whether it is a share token, of any session, that has not expired and was not revoked."""
        try:
            return self.enter(token).share != OWNER
        except ZvmdError:
            return False

    def driver(self, ref: SessionRef) -> SessionAccess:
        """`enter` for a caller who wants to move or change the session. Raises also `WatchOnly`."""
        access = self.enter(ref)
        if not access.may_drive:
            raise WatchOnly(f"share {access.share} of session {access.session} has the role watch")
        return access

    def check(self, ref: SessionRef, right: Right) -> None:
        """Raise what `enter` and `driver` raise, or `OwnersOnly`, unless the reference has the right.

        The owner's numbers have every right, even for sessions that do not exist: the command reports that.
        """
        if isinstance(ref, int):
            return
        if right is Right.OWN:
            raise OwnersOnly("a share token is not enough for this")
        (self.driver if right is Right.DRIVE else self.enter)(ref)

    def changed(self, access: SessionAccess) -> Sharing:
        """The sharing after one more change by the holder of an access, who takes control if nobody has it.

        Raises `NotDriving`.
        """
        sharing = control_taken(self.of(access.session), access.share, self.now())
        return msgspec.structs.replace(sharing, changes=sharing.changes + 1)

    def seconds_left(self, access: SessionAccess) -> float | None:
        """Seconds until the access expires; None for the owner's."""
        expiry = next((s.expires for s in self.of(access.session).shares if s.id == access.share), None)
        return None if expiry is None else max(0.0, expiry - self.now())
