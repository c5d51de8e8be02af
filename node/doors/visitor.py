"""What a transport shows of a peer to `node.doors`, and the answer."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from node.rpc.caller import GUEST, Caller
from node.rpc.rights import Rights


class Way(Enum):
    """How a peer reached the node."""

    HTTP = "http"
    WEBSOCKET = "websocket"
    HTTP3 = "http3"
    QUIC = "quic"
    """zvmd/1, over QUIC."""
    IPC = "ipc"
    """JSON-RPC on a unix socket."""
    SOCKET = "socket"
    """zvmd/1 on a unix socket."""


class Visitor(NamedTuple):
    """What a request or connection shows of its sender. Headers are given as often as they were sent."""

    hosts: tuple[str, ...] = ()
    address: str | None = None
    """IP address of the peer, from the socket."""
    origins: tuple[str, ...] = ()
    authorizations: tuple[str, ...] = ()
    forwarded: bool = False
    """It has a header of `node.doors.rule.FORWARDED`."""
    way: Way = Way.HTTP
    secure: bool = False
    """Whether it came over TLS: the node's own origin then begins with https."""
    tokens: tuple[str, ...] = ()
    """Tokens given otherwise than in a header: in the query of a WebSocket's address, or in Hello."""
    certificate: bytes | None = None
    """The client's certificate in DER, which TLS has verified."""
    uid: int | None = None
    """User of the process behind a unix socket, from the kernel."""


    def given_tokens(self) -> tuple[str, ...]:
        """The tokens of the request, of ``Authorization: Bearer TOKEN`` too; other schemes are ignored."""
        scheme, _, token = (self.authorizations[0] if self.authorizations else "").strip().partition(" ")
        return (token.strip(), *self.tokens) if scheme.lower() == "bearer" else self.tokens


class Rejection(NamedTuple):
    """Why a visitor is not let in."""

    status: int
    """HTTP status."""
    code: str
    message: str
    hint: str


class Verdict(NamedTuple):
    """The decision on a visitor."""

    caller: Caller = GUEST
    """Who it is. Whoever is refused is a guest."""
    origin: str | None = None
    """The page's origin, if its scripts may read the answer."""
    refusal: Rejection | None = None
    delay_s: float = 0.0
    """Seconds by which the refusal is to be sent later."""

    @property
    def rights(self) -> Rights:
        """What the visitor may call."""
        return self.caller.rights
