"""TLS of one connection without its socket: bytes in, bytes out; and how many handshakes go on in a turn of the loop.

The event loops have TLS of their own, behind which a listener sees neither the first byte of a client that speaks
plain HTTP nor how much a handshake has sent, and which encrypts a large answer in one go. Sources: RFC 8446 (TLS 1.3),
RFC 5246 (1.2), sections on alerts and ``close_notify``.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress

HANDSHAKE = 0x16
"""First byte of a TLS connection: the record type of a ClientHello. No HTTP method begins with it."""
RECORD_BYTES = 16 * 1024
"""Largest plaintext of a record (RFC 8446, 5.1)."""
HEAD_BYTES = 5
"""Type, version and length of a record, which are not encrypted."""


class TlsFault(Exception):
    """The peer broke the protocol, or has no certificate that was asked for. An alert for it is in `TlsLayer.sent`."""


class TlsLayer:
    """The server's side of TLS over two buffers in memory."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._received, self._sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._sent, server_side=True)
        self.is_established = False
        """Whether the handshake is complete."""
        self.has_ended = False
        """Whether the peer has said that it sends no more (``close_notify``)."""
        self.silent_records = 0
        """Records behind the handshake that carried no data."""
        self._head = b""
        """What has arrived of the head of the next record."""
        self._rest_bytes = 0
        """Bytes of the last record that have not arrived."""

    @property
    def certificate(self) -> bytes | None:
        """The certificate by which the peer has proved who it is, DER; only one that the context has verified."""
        return self._tls.getpeercert(binary_form=True)

    def receive(self, data: bytes, records_max: int) -> tuple[bytes, bytes]:
        """Take so many records of the peer; returns what they carry, and the bytes that are left. Raises `TlsFault`.

        What is to be answered by TLS itself is in `sent` afterwards, also after a fault.
        """
        size, records = self._measure(data, records_max)
        self._received.write(data[:size] if size < len(data) else data)
        was_established = self.is_established
        parts = self._open()
        if was_established:
            self.silent_records += max(0, records - len(parts))
        return parts[0] if len(parts) == 1 else b"".join(parts), data[size:]

    def _open(self) -> list[bytes]:
        """What the records that have arrived carry, each for itself. Raises `TlsFault`."""
        parts: list[bytes] = []
        try:
            if not self.is_established:
                self._tls.do_handshake()
                self.is_established = True
            while part := self._tls.read(RECORD_BYTES):
                parts.append(part)
            self.has_ended = True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except ssl.SSLZeroReturnError:
            self.has_ended = True
        except ssl.SSLError as error:
            raise TlsFault(error.reason or str(error)) from None
        return parts

    def _measure(self, data: bytes, records_max: int) -> tuple[int, int]:
        """How many bytes the next records have, if they are as many; and how many of them end there."""
        position = records = 0
        while position < len(data):
            if self._rest_bytes:
                step = min(self._rest_bytes, len(data) - position)
                self._rest_bytes -= step
                records += not self._rest_bytes
                position += step
            elif records >= records_max:
                break
            else:
                step = min(HEAD_BYTES - len(self._head), len(data) - position)
                self._head += data[position : position + step]
                position += step
                if len(self._head) == HEAD_BYTES:
                    self._rest_bytes, self._head = int.from_bytes(self._head[3:], "big"), b""
                    records += not self._rest_bytes
        return position, records

    def sent(self) -> bytes:
        """What is to be sent to the peer, each byte once."""
        return self._sent.read() if self._sent.pending else b""

    def seal(self, data: bytes | memoryview) -> bytes:
        """Bytes to send that carry ``data``."""
        self._tls.write(data)
        return self.sent()

    def end(self) -> bytes:
        """Bytes that tell the peer that nothing more comes."""
        with suppress(ssl.SSLError):  # it waits for the peer's own word, or the handshake was never completed
            self._tls.unwrap()
        return self.sent()


class HandshakeTurns:
    """Lets so many connections take a step of their handshake in one turn of the event loop; the others wait.

    A step signs with the node's key, which takes a quarter of a millisecond or more, and all clients may come at once.
    """

    def __init__(self, per_turn: int) -> None:
        self._per_turn = per_turn
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_scheduled = False

    def take(self, step: Callable[[], None]) -> None:
        """Call ``step`` on the event loop, in the order of these calls."""
        self._waiting.append(step)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        for _ in range(min(self._per_turn, len(self._waiting))):
            self._loop.call_soon(self._waiting.popleft())
        self._is_scheduled = bool(self._waiting)
        if self._is_scheduled:
            self._loop.call_soon(self._turn)
