"""JSON-RPC on a unix socket, framed as geth frames it: a stream of JSON values in, a line of JSON for each answer out.

Requests are answered as soon as their answers are made, in any order; ``eth_subscribe`` works as on a WebSocket.
Source: go-ethereum's rpc/json.go and rpc/ipc_unix.go.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable

from chain.errors import ZvmdError
from node.auth.unix_sockets import BACKLOG, SocketFile, is_gone, user_of
from node.doors.doors import Doors
from node.doors.visitor import Verdict, Visitor, Way
from node.gateway.connections import ConnectionTable
from node.gateway.json_stream import JsonStream
from node.gateway.limits import HttpLimits
from node.gateway.link import ClientLink
from node.gateway.message_line import MessageLine
from node.ops.slices import LoopSlice
from node.rpc.errors import IpcUserRefused, NodeBusy, ParseError
from node.rpc.held import SMALL_BYTES
from node.rpc.service import RpcService

LATE = "the request did not arrive completely in time"


class IpcLine(MessageLine):
    """The `Speaker` of a connection, and the `Channel` of its requests."""

    def __init__(self, link: ClientLink, service: RpcService, limits: HttpLimits, verdict: Verdict) -> None:
        super().__init__(link, service, limits, verdict.caller)
        self._service = service
        self._refusal = None if verdict.refusal is None else IpcUserRefused(verdict.refusal.message)
        self._stream = JsonStream(service.context.limits.body_size_max_bytes)
        self._is_last = False
        """Whether the connection ends with the answers to what has been received."""
        self._has_ended = False
        """Whether the peer sends no more."""

    # -- for the link -------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Bytes of the peer."""
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif self._link.is_surplus:
            self._refuse(NodeBusy("all connections are in use; [limits] ipc_connections is their number"))
        else:
            self._stream.receive(data)
            self._advance()

    def ended(self) -> None:
        """The peer sends no more: it waits for its answers, or has gone."""
        self._is_last = self._has_ended = True
        if is_gone(self._link.peer_socket):
            self._link.close()
        else:
            self._advance()

    def expired(self) -> None:
        """A request takes too long, or nothing has come yet."""
        if self._is_partial:
            self._refuse(ParseError(LATE))
        elif self._refusal is not None or self._link.is_surplus or self._link.is_behind:
            self._link.abort()
        else:
            self._link.allow(math.inf)  # the kernel tells when a peer of this machine goes

    def make_room(self) -> None:
        """Close; the place is needed."""
        self._link.close()

    def stop(self) -> None:
        """The node stops: close when what is under way is answered."""
        self._is_last = True
        self._advance()

    # -- for the requests ---------------------------------------------------------------------------

    def _send(self, message: bytes) -> None:
        if self._link.is_open:
            self._write(message, b"\n")
            self._touch()

    # -- requests -----------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Take requests, as many as this turn and the limits allow."""
        left, turn = self._limits.requests_per_turn_max, LoopSlice()
        try:
            while self._link.is_open and self._turn is None and not self._is_waiting:
                request = self._stream.take()
                if request is not None:
                    left -= 1
                    self._holding.release()
                    self._requests.receive(request)
                    self._touch()
                elif not self._stream.is_ahead:
                    break
                if not left or request is None or turn.is_over:
                    self._turn = self._loop.call_soon(self._next_turn)
            self._mark()
        except ZvmdError as error:
            self._refuse(error)

    def _mark(self) -> None:
        """Set the time for what is waited for, and whether more is received meanwhile. Raises `ZvmdError`."""
        if not self._link.is_open:
            return
        is_waiting = self._is_waiting
        if self._has_ended and self._turn is None and not is_waiting and self._stream.is_partial:
            raise ParseError("the stream ended inside a request")
        if self._is_last and self._turn is None and not is_waiting and not self._requests.unanswered:
            self._link.close() if self._has_ended else self._link.finish()
            return
        self._holding.hold(len(self._stream))
        is_partial = not is_waiting and self._stream.is_partial
        if is_waiting:
            self._link.allow(self._limits.answer_s)
        elif is_partial != self._is_partial or not is_partial:
            self._link.allow(self._limits.request_s if is_partial else math.inf)
        self._is_partial = is_partial
        self._link.read((self._turn is None and not is_waiting) or len(self._stream) < SMALL_BYTES)

    def _refuse(self, error: ZvmdError) -> None:
        """Say why, and close."""
        if self._link.is_open:
            self._link.write(self._service.dispatcher.encode_error(None, error), b"\n")
        self._link.finish()


class IpcListener:
    """A running listener on a unix socket."""

    def __init__(self, connect: Callable[[], ClientLink], table: ConnectionTable, file: SocketFile) -> None:
        self._connect = connect
        self._server: asyncio.Server | None = None
        self.connections = table
        self.file = file

    async def listen(self, file: SocketFile) -> None:
        """Accept connections at this file, and no more at the one before; those that there are stay."""
        before, loop = self._server, asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._connect, sock=file.bound, backlog=BACKLOG)
        self.file = file
        if before is not None:
            before.close()

    async def close(self) -> None:
        """Accept no more, finish what is under way, and remove the socket's file."""
        self.file.remove()
        if self._server is not None:
            self._server.close()
        await self.connections.close()


async def serve_ipc(
    service: RpcService,
    file: SocketFile,
    doors: Doors,
    limits: HttpLimits,
    user_of_peer: Callable[[socket.socket], int] = user_of,
) -> IpcListener:
    """Listen on a bound unix socket; ``user_of_peer`` is whose process has connected."""
    table = ConnectionTable(limits)

    def speaker(link: ClientLink) -> IpcLine:
        verdict = doors.judge(Visitor(way=Way.IPC, uid=user_of_peer(link.peer_socket)))
        return IpcLine(link, service, limits, verdict)

    listener = IpcListener(lambda: ClientLink(table, limits, speaker), table, file)
    await listener.listen(file)
    return listener
