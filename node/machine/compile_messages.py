"""How the daemon and its compiling process talk: one request, one answer, each a length and its bytes.

    request   u32 length | u16 fork | u8 level | u32 code length | code | u16 pc ..., none for all
    answer    u32 length | u8 1 | object              or    u32 length | u8 0 | reason, UTF-8
"""

from __future__ import annotations

import struct
from typing import IO, Final

from chain.forks import Fork
from vm.evm.jit.ports import CompileRequest

MESSAGE_BYTES_MAX: Final = 64 << 20
_LENGTH: Final = struct.Struct("<I")
_HEAD: Final = struct.Struct("<HBI")


def encode_request(request: CompileRequest) -> bytes:
    """The bytes of a request, without its length."""
    hot = request.hot or ()
    pcs = struct.pack(f"<{len(hot)}H", *hot)
    return _HEAD.pack(request.fork, request.level, len(request.code)) + request.code + pcs


def decode_request(data: bytes) -> CompileRequest:
    """The request in these bytes."""
    fork, level, length = _HEAD.unpack_from(data)
    end = _HEAD.size + length
    pcs = struct.unpack(f"<{(len(data) - end) // 2}H", data[end:])
    return CompileRequest(Fork(fork), level, data[_HEAD.size : end], pcs or None)


def send(stream: IO[bytes], data: bytes) -> None:
    """Write one message. Raises `OSError` if the other side has closed."""
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """Read one message; None if the other side has closed or sent a malformed message."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > MESSAGE_BYTES_MAX:
        return None
    data = stream.read(length)
    return data if len(data) == length else None
