"""The one place where every transport asks who a peer is and whether it may come in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from node.doors.failures import Failures
from node.doors.limits import DoorLimits
from node.doors.rule import TOO_MANY_CONNECTIONS, WRONG_TOKEN, GuardRules, Identification, judge
from node.doors.token_book import TokenBook, TokenEntry, is_mistyped
from node.doors.visitor import Rejection, Verdict, Visitor, Way
from node.ops.audit import AuditLog
from node.rpc.caller import OWNER, SHARED, Caller
from node.rpc.request_rate import RequestRate
from node.rpc.rights import Rights

UNAUTHORIZED = 401
LOOK_AGAIN_S = 3_600.0
"""A token's end is looked for at least so often: the clock of the wall may have been set."""


def _nobody(_: str) -> bool:
    return False


def _nothing() -> None:
    pass


class Stay:
    """The time that one connection is there, with the tokens that its requests came with."""

    __slots__ = ("_doors", "_tokens", "end")

    def __init__(self, doors: Doors, end: Callable[[], None]) -> None:
        self._doors = doors
        self._tokens: set[str] = set()
        self.end = end
        """Closes the connection; called when one of the tokens is revoked or expires."""

    def use(self, caller: Caller) -> Rejection | None:
        """The connection makes a request as this caller; why it may not. Costs nothing when asked again."""
        token_id = caller.token_id
        if token_id is None or token_id in self._tokens:
            return None
        refused = self._doors.admit(self, token_id)
        if refused is None:
            self._tokens.add(token_id)
        return refused

    def over(self) -> None:
        """The connection is gone. Idempotent."""
        for token_id in self._tokens:
            self._doors.dismiss(self, token_id)
        self._tokens = set()
        self.end = _nothing  # it has the connection, and a cycle would wait for the garbage collector


class Doors:
    """The rule, the tokens, and the counts of wrong tokens, connections and requests. Event loop only."""

    def __init__(
        self,
        rules: GuardRules | None = None,
        is_owner: Callable[[str], bool] = _nobody,
        is_share: Callable[[str], bool] = _nobody,
        limits: DoorLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        tokens: TokenBook | None = None,
        wall: Callable[[], float] = time.time,
        audit: AuditLog | None = None,
    ) -> None:
        """``is_owner``: whether a token is the node's own; ``is_share``: whether it is a share token of a session.

        ``clock`` and ``wall`` return seconds, the second Unix time.
        """
        self._rules = rules or GuardRules()
        self._is_owner = is_owner
        self._is_share = is_share
        self._limits = limits or DoorLimits()
        self._failures = Failures(self._limits)
        self._clock = clock
        self._wall = wall
        self._audit = audit
        every_s, at_once = self._limits.failures_told_every_s, self._limits.failures_told_at_once
        self._told = RequestRate(1 / every_s, clock, at_once)
        self._untold = 0
        self.tokens = tokens or TokenBook(Path())
        self._callers: dict[str, Caller] = {}
        """By token; they have the rate that all connections of a token share."""
        self._stays: dict[str, set[Stay]] = {}
        self._ends: dict[str, asyncio.TimerHandle] = {}

    # -- who comes in ------------------------------------------------------------------------------

    def judge(self, visitor: Visitor) -> Verdict:
        """Who a visitor is, or why it is not let in. Counts wrong tokens, so ask once for each that was given."""
        known = Identification(
            self._identify_with_shares if visitor.way in _WITH_SHARES else self._identify, self._of_certificate
        )
        verdict = judge(self._rules, visitor, known)
        if verdict.refusal is None or verdict.refusal.code != WRONG_TOKEN.code:
            return verdict
        return self._failed(visitor, verdict)

    def stay(self, end: Callable[[], None]) -> Stay:
        """A connection has come; ``end`` closes it at once."""
        return Stay(self, end)

    def _failed(self, visitor: Visitor, verdict: Verdict) -> Verdict:
        now = self._clock()
        delay_s = self._failures.failed(visitor.address, now)
        if self._audit is not None and not self._told.take(1):
            untold, self._untold = self._untold, 0
            more = {"untold": untold} if untold else {}
            self._audit.note("token refused", way=visitor.way.value, address=visitor.address, **more)
        else:
            self._untold += 1
        if verdict.refusal is not None and any(is_mistyped(token) for token in visitor.given_tokens()):
            message = "the token was mistyped or cut: its checksum does not fit"
            verdict = verdict._replace(refusal=verdict.refusal._replace(message=message))
        return verdict._replace(delay_s=delay_s)

    def _identify(self, token: str) -> Caller | None:
        if self._is_owner(token):
            return OWNER
        found = self.tokens.of_token(token, self._wall())
        return None if found is None else self._caller(found)

    def _identify_with_shares(self, token: str) -> Caller | None:
        caller = self._identify(token)
        return SHARED._replace(share=token) if caller is None and self._is_share(token) else caller

    def _of_certificate(self, certificate: bytes) -> Caller | None:
        found = self.tokens.of_certificate(certificate, self._wall())
        return None if found is None else self._caller(found)

    def _caller(self, entry: TokenEntry) -> Caller:
        found = self._callers.get(entry.id)
        if found is None:
            limit = entry.requests_per_second
            rate = None if limit is None else RequestRate(limit, self._clock)
            found = self._callers[entry.id] = Caller(entry.name, Rights(*entry.scopes), entry.id, rate=rate)
        return found

    # -- who is there ------------------------------------------------------------------------------

    def admit(self, stay: Stay, token_id: str) -> Rejection | None:
        """A connection begins to use a token (`Stay.use`)."""
        entry = next((entry for entry in self.tokens.entries if entry.id == token_id), None)
        if entry is None or not entry.is_valid(self._wall()):
            return WRONG_TOKEN
        stays = self._stays.setdefault(token_id, set())
        if entry.connections is not None and len(stays) >= entry.connections:
            return TOO_MANY_CONNECTIONS
        stays.add(stay)
        self._look_later(entry)
        return None

    def dismiss(self, stay: Stay, token_id: str) -> None:
        """A connection is gone (`Stay.over`)."""
        stays = self._stays.get(token_id, set())
        stays.discard(stay)
        if not stays:
            self._stays.pop(token_id, None)
            if (timer := self._ends.pop(token_id, None)) is not None:
                timer.cancel()

    def end(self, token_id: str) -> None:
        """The token is not valid any more: close every connection that used it."""
        self._callers.pop(token_id, None)
        for stay in tuple(self._stays.get(token_id, ())):
            stay.end()
            stay.over()

    def connected(self, token_id: str) -> int:
        """Connections that used a token."""
        return len(self._stays.get(token_id, ()))

    def close(self) -> None:
        """The node stops."""
        for timer in self._ends.values():
            timer.cancel()
        self._ends.clear()

    def status(self) -> dict[str, int]:
        """What ``zvmd status`` shows."""
        return {
            "tokens": len(self.tokens.entries),
            "connections": sum(map(len, self._stays.values())),
            "refused": self._failures.count,
        }

    def _look_later(self, entry: TokenEntry) -> None:
        """End the token's connections when it expires."""
        if entry.expires is None or entry.id in self._ends:
            return
        seconds = min(max(entry.expires - self._wall(), 0.0), LOOK_AGAIN_S)
        self._ends[entry.id] = asyncio.get_running_loop().call_later(seconds, self._look, entry)

    def _look(self, entry: TokenEntry) -> None:
        self._ends.pop(entry.id, None)
        if entry.is_valid(self._wall()):
            self._look_later(entry)
        else:
            self.end(entry.id)


_WITH_SHARES = (Way.QUIC, Way.SOCKET)
"""Where a share token is a way in. Over HTTP it is a parameter."""
