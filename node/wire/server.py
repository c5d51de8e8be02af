"""The QUIC listener: routes datagrams to connections and admits new ones."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, cast

import structlog

from node.auth.certificate import TlsFiles
from node.doors.doors import Doors, Stay
from node.doors.rates import Rate, network_of
from node.doors.visitor import Verdict, Visitor, Way
from node.ops.slices import LoopSlice
from node.rpc.held import Held
from node.rpc.service import RpcService
from node.wire.admission import Places
from node.wire.answers import Answerer, welcome_of
from node.wire.certificates import ShownCertificate
from node.wire.framed import FramedSpeaker
from node.wire.handshakes import Handshakes
from node.wire.initial import VERSION_1, Initial, RetryTokens, Validated, read_initial
from node.wire.library import CONNECTION_ID_BYTES, QuicLibrary
from node.wire.limits import WireLimits
from node.wire.peer import WirePeer, WireSpeaker
from zvmd.frames import ALPN, Welcome

_log = structlog.get_logger("wire")

SOCKET_BUFFER_BYTES = 4 * 1024 * 1024


class WireListener(asyncio.DatagramProtocol):
    """All connections of a UDP socket.

    A datagram of no known connection costs a dictionary's look-up and, for an Initial, a look at its header. What
    costs more is limited in number (`WireLimits`): a Retry packet, or a handshake, of which an address that has proved
    nothing gets few.
    """

    def __init__(
        self,
        service: RpcService,
        limits: WireLimits,
        doors: Doors,
        tls: TlsFiles,
        library: QuicLibrary,
        retry: bool,
        protocols: Mapping[str, Callable[[WirePeer], WireSpeaker]],
        shown: Mapping[str, ShownCertificate],
    ) -> None:
        """As `serve_wire`."""
        self.limits = limits
        self.library = library
        self._doors = doors
        self.answerer = Answerer(service, limits.subscriptions_max, limits.receipt_wait_max_s)
        self.protocols = protocols
        self._names = [ALPN, *protocols]
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None
        self._configuration = library.configuration(limits, tls, self._names, shown)
        self._service = service
        self._peers: dict[bytes, WirePeer] = {}
        """Connections by each of their connection IDs, including ended ones that still answer with their close."""
        self._places: Places[WirePeer] = Places(limits)
        self._arriving: set[WirePeer] = set()
        """Those of which no packet has been decrypted yet. They have no place, and take none from others."""
        self.handshakes = Handshakes()
        self._retry_always = retry
        self._tokens = RetryTokens()
        self._retries = Rate(limits.retries_per_source_per_s, limits.retries_per_s, limits.strangers_per_turn_max)
        self._unproved = Rate(limits.unproved_per_source_per_s, limits.unproved_per_s, limits.unproved_per_s)
        self._proved = Rate(limits.proved_per_network_per_s, limits.proved_per_s, limits.proved_per_s)
        self._turn: LoopSlice | None = None
        self._examined = 0
        """Datagrams of unknown connections examined in this turn of the loop."""
        self._strangers: deque[tuple[Initial, bytes, Any]] = deque()
        """Initials that wait to be looked at, with their datagrams and senders."""
        self._is_stopping = False
        self._emptied = asyncio.Event()

    @property
    def connections(self) -> int:
        """Open connections, greeted or not."""
        return len(self._places)

    @property
    def names(self) -> int:
        """Connection IDs that datagrams are accepted for."""
        return len(self._peers)

    # -- for the connections -----------------------------------------------------------------------

    def welcome(self) -> Welcome:
        """The answer to a valid Hello."""
        return welcome_of(self._service, self.limits)

    def enter(self, address: str, token: bytes) -> Verdict:
        """Who comes in with a token; one that is not ASCII is wrong."""
        return self._doors.judge(Visitor(address=address, way=Way.QUIC, tokens=(token.decode("latin-1"),)))

    def stay(self, end: Callable[[], None]) -> Stay:
        """A connection has come; ``end`` closes it at once."""
        return self._doors.stay(end)

    @property
    def held(self) -> Held:
        """The budget of large answers."""
        return self._service.held

    def speaker(self, peer: WirePeer, alpn: str | None) -> WireSpeaker:
        """What is spoken on a connection, by the name in ALPN; a client without one speaks `zvmd/1`."""
        make = self.protocols.get(alpn or ALPN)
        return FramedSpeaker(peer, self) if make is None else make(peer)

    def authenticated(self, peer: WirePeer) -> None:
        """A packet of it could be decrypted: it gets a place, or it is dropped."""
        self._arriving.discard(peer)
        if self._is_stopping or not self._places.has_room(peer.address):
            peer.drop()
            return
        leaving = self._places.to_leave(peer.address)
        if leaving is not None:
            leaving.give_way()
        self._places.take(peer)

    def proved(self, peer: WirePeer) -> None:
        """The handshake is finished."""
        self._places.proved(peer)

    def greeted(self, peer: WirePeer) -> None:
        """It is a client of this node, and keeps its place."""
        self._places.greeted(peer)

    def busy(self, peer: WirePeer, is_busy: bool) -> None:
        """Whether it has work under way; an idle one may lose its place."""
        self._places.set_busy(peer, is_busy)

    def peer_gone(self, peer: WirePeer) -> None:
        """The connection has ended; its place is free."""
        self._arriving.discard(peer)
        self._places.release(peer)
        if not len(self._places):
            self._emptied.set()

    def forget(self, peer: WirePeer) -> None:
        """Hand this connection no more datagrams."""
        for name in tuple(peer.names):
            self.unnamed(peer, name)
        peer.forgotten()

    def named(self, peer: WirePeer, connection_id: bytes) -> None:
        """Datagrams with this connection ID are the peer's."""
        peer.names.add(connection_id)
        self._peers[connection_id] = peer

    def unnamed(self, peer: WirePeer, connection_id: bytes) -> None:
        """Datagrams with this connection ID are no longer the peer's."""
        peer.names.discard(connection_id)
        if self._peers.get(connection_id) is peer:
            del self._peers[connection_id]

    # -- from the socket ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagrams_received(self, data: list[bytes], addr: Any) -> None:
        """A burst of one sender: short-header packets of one connection are taken together."""
        first = data[0]
        if first and not first[0] & 0x80:
            name = first[1 : 1 + CONNECTION_ID_BYTES]
            peer = self._peers.get(name)
            if peer is not None and all(
                item and not item[0] & 0x80 and item[1 : 1 + CONNECTION_ID_BYTES] == name for item in data
            ):
                peer.datagrams_received(data, addr, self._this_turn())
                return
        for item in data:
            self.datagram_received(item, addr)

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        assert isinstance(data, bytes)
        if len(data) <= CONNECTION_ID_BYTES:
            return
        is_long = data[0] & 0x80
        name = data[6 : 6 + data[5]] if is_long else data[1 : 1 + CONNECTION_ID_BYTES]
        peer = self._peers.get(name)
        if peer is not None:
            peer.datagrams_received([data], addr, self._this_turn())
        elif is_long and self._examined < self.limits.strangers_per_turn_max:
            self._this_turn()
            self._examined += 1
            self._stranger(data, addr)

    def _stranger(self, data: bytes, addr: Any) -> None:
        """Have an Initial looked at when it is its turn."""
        initial = read_initial(data)
        if initial is None or len(self._strangers) >= self.limits.strangers_waiting_max:
            return
        self._strangers.append((initial, data, addr))
        if len(self._strangers) == 1:
            self._loop.call_soon(self._look_at_strangers)

    def _look_at_strangers(self) -> None:
        turn = LoopSlice()
        while self._strangers:
            initial, data, addr = self._strangers.popleft()
            peer = self._peers.get(initial.destination)
            if peer is not None:  # it sent its Initial twice, or it has several datagrams
                peer.datagrams_received([data], addr, turn)
            else:
                try:
                    self._newcomer(initial, data, addr)
                except Exception as error:
                    _log.error("newcomer_failed", peer=addr[0], exc_info=error)
            if turn.is_over and self._strangers:
                self._loop.call_soon(self._look_at_strangers)
                return

    def _this_turn(self) -> LoopSlice:
        """What connections may take of this turn of the loop together."""
        if self._turn is None:
            self._turn = LoopSlice()
            self._loop.call_soon(self._new_turn)
        return self._turn

    def error_received(self, exc: Exception) -> None:
        """Ignore ICMP errors of the socket: peers that have left time out."""

    async def stop(self) -> None:
        """Take no new connections, let requests be answered for `WireLimits.stop_s`, then close all."""
        self._is_stopping = True
        for action in (WirePeer.stop, WirePeer.end):
            self._emptied.clear()
            for peer in self._places:
                action(peer)
            if not len(self._places):
                break
            try:
                await asyncio.wait_for(self._emptied.wait(), self.limits.stop_s)
            except TimeoutError:
                continue
            break
        self.close()

    def close(self) -> None:
        """Close every connection and the socket at once."""
        self._is_stopping = True
        self.handshakes.close()
        for peer in (*self._places, *self._arriving):
            peer.leave()
        if self._transport is not None:
            self._transport.close()

    def use_certificate(self, tls: TlsFiles, shown: Mapping[str, ShownCertificate] | None = None) -> None:
        """Use these certificates for new connections, as `serve_wire`. Safe to call on any thread."""
        self._configuration = self.library.configuration(self.limits, tls, self._names, shown)

    # -- who connects ------------------------------------------------------------------------------

    def _new_turn(self) -> None:
        self._turn, self._examined = None, 0

    def _newcomer(self, initial: Initial, data: bytes, addr: Any) -> None:
        """Begin a connection, ask for a proof of the address, or do nothing: a good client sends again."""
        now = self._loop.time()
        if initial.version != VERSION_1:
            if self._retries.admits(addr, now):
                self._send(self._other_versions(initial), addr)
            return
        proof: Validated | None = None
        if initial.token:
            proof = self._tokens.validate(addr, initial.token, initial.destination, now)
            if proof is None or not self._proved.admits(network_of(addr[0]), now):
                return
        elif (
            self._retry_always
            or self._places.half_open + len(self._arriving) >= self.limits.half_open_before_retry
            or not self._unproved.admits(addr, now)
        ):
            if self._retries.admits(addr, now):
                self._send(self._retry(initial, addr, now), addr)
            return
        self._begin(initial, proof, data, addr)

    def _begin(self, initial: Initial, proof: Validated | None, data: bytes, addr: Any) -> None:
        if self._is_stopping or not self._places.has_room(addr[0]):
            return
        if len(self._arriving) >= self.limits.strangers_waiting_max:
            return
        connection = self.library.connection(
            configuration=self._configuration,
            original_destination_connection_id=proof.original_destination if proof else initial.destination,
            retry_source_connection_id=proof.retry_source if proof else None,
        )
        assert self._transport is not None
        peer = WirePeer(connection, self, self._transport, addr[0])
        for name in (initial.destination, connection.host_cid):
            self.named(peer, name)
        self._arriving.add(peer)
        peer.datagrams_received([data], addr)

    def _retry(self, initial: Initial, addr: Any, now: float) -> bytes:
        source = os.urandom(CONNECTION_ID_BYTES)
        return self.library.encode_retry(
            version=initial.version,
            source_cid=source,
            destination_cid=initial.source,
            original_destination_cid=initial.destination,
            retry_token=self._tokens.create(addr, initial.destination, source, now),
        )

    def _other_versions(self, initial: Initial) -> bytes:
        return self.library.encode_versions(
            source_cid=initial.destination, destination_cid=initial.source, supported_versions=[VERSION_1]
        )

    def _send(self, datagram: bytes, addr: Any) -> None:
        assert self._transport is not None
        self._transport.sendto(datagram, addr)


def open_socket(host: str, port: int) -> socket.socket:
    """A bound UDP socket."""
    family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            opened.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
        opened.bind((host, port))
    except BaseException:
        opened.close()
        raise
    return opened


async def serve_wire(
    service: RpcService,
    bound: socket.socket,
    tls: TlsFiles,
    doors: Doors,
    library: QuicLibrary,
    limits: WireLimits,
    protocols: Mapping[str, Callable[[WirePeer], WireSpeaker]] | None = None,
    shown: Mapping[str, ShownCertificate] | None = None,
) -> WireListener:
    """Listen on a bound UDP socket (`open_socket`, or one passed in by the service manager).

    ``protocols`` are spoken besides `zvmd/1`: by the name in ALPN, what makes the speaker of a connection. ``shown``
    are certificates, by the same name, of those that do not show the node's own, ``tls``.
    """
    retry = not ipaddress.ip_address(bound.getsockname()[0]).is_loopback
    listener = WireListener(service, limits, doors, tls, library, retry, protocols or {}, shown or {})
    await library.listen(lambda: listener, bound)
    return listener
