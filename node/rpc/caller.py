"""Who makes a request: known by a token, by being on this machine, or not at all."""

from __future__ import annotations

from typing import NamedTuple

from node.rpc.request_rate import RequestRate
from node.rpc.rights import EVERYTHING, NOTHING, STANDARD, Rights


class Caller(NamedTuple):
    """One caller. `node.doors` decides who it is; the transports pass it on with each request."""

    name: str
    """The name of its token, or one of the callers below."""
    rights: Rights
    token_id: str | None = None
    """Which of the tokens that can be revoked it came in with."""
    way: str = ""
    """How it reached the node: a value of `node.doors.visitor.Way`; empty for the node itself."""
    address: str | None = None
    """Its IP address."""
    rate: RequestRate | None = None
    """How many requests it may make, if that is limited."""
    share: str | None = None
    """The share token of a debug session, of a caller who has nothing else."""


NODE = Caller("node", EVERYTHING)
"""The node itself, and tests that call its parts."""
LOCAL = Caller("local", EVERYTHING)
"""A process of this machine, by its loopback address or its user."""
OWNER = Caller("owner", EVERYTHING)
"""Whoever has the token that the node made for itself."""
GUEST = Caller("guest", STANDARD)
"""Anybody else who is let in."""
SHARED = Caller("share", NOTHING)
"""Whoever has a share token of a debug session: its methods are checked one by one (`node.wire.rights`)."""
