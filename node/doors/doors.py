"""The one place where every transport asks who a peer is and whether it may come in."""

from __future__ import annotations

import time
from collections.abc import Callable

from node.doors.failures import Failures
from node.doors.limits import DoorLimits
from node.doors.rule import GuardRules, judge
from node.doors.visitor import Verdict, Visitor, Way
from node.rpc.caller import OWNER, SHARED, Caller

UNAUTHORIZED = 401


def _nobody(_: str) -> bool:
    return False


class Doors:
    """The rule, the tokens and the count of failures of one node. Event loop only."""

    def __init__(
        self,
        rules: GuardRules | None = None,
        is_owner: Callable[[str], bool] = _nobody,
        is_share: Callable[[str], bool] = _nobody,
        limits: DoorLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``is_owner``: whether a token is the node's own; ``is_share``: whether it is a share token of a session."""
        self._rules = rules or GuardRules()
        self._is_owner = is_owner
        self._is_share = is_share
        self._failures = Failures(limits or DoorLimits())
        self._clock = clock

    def judge(self, visitor: Visitor) -> Verdict:
        """Who a visitor is, or why it is not let in. Counts wrong tokens, so ask once for each that was given."""
        identify = self._identify_with_shares if visitor.way in _WITH_SHARES else self._identify
        verdict = judge(self._rules, visitor, identify)
        if verdict.refusal is not None and verdict.refusal.status == UNAUTHORIZED:
            return verdict._replace(delay_s=self._failures.failed(visitor.address, self._clock()))
        return verdict

    def _identify(self, token: str) -> Caller | None:
        return OWNER if self._is_owner(token) else None

    def _identify_with_shares(self, token: str) -> Caller | None:
        caller = self._identify(token)
        return SHARED._replace(share=token) if caller is None and self._is_share(token) else caller


_WITH_SHARES = (Way.QUIC,)
"""Where a share token is a way in. Over HTTP it is a parameter."""
