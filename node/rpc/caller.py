"""Who makes a request: known by a token, by being on this machine, or not at all."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address, ip_network
from itertools import count
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
    connection: int | None = None
    """Which connection it is, of those that stay: a WebSocket, a unix socket, QUIC's own protocol."""

    @property
    def shared_by(self) -> str | None:
        """What all connections of the caller have in common: its token, or its address on another machine.

        None for those of this machine: programs there share an address, and are not one another.
        """
        if self.token_id is not None:
            return f"token {self.token_id}"
        return None if self.address is None else _network_of(self.address)


@lru_cache(256)
def _network_of(text: str) -> str | None:
    """An IPv4 address, or the network of one customer in IPv6; None for a loopback address."""
    address = ip_address(text.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback:
        return None
    return str(address) if address.version == 4 else str(ip_network((address, 64), strict=False))


_connections = count(1)


def on_connection(caller: Caller) -> Caller:
    """The caller of a connection that stays, told from its other connections."""
    return caller._replace(connection=next(_connections))


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
