"""What a process and the compiling process say to each other, in messages of `node.ops.worker`.

request   u8 0 | u16 fork | u8 level | u32 code length | code | u16 pc ...    parts of a contract, all without a pc
          u8 1 | IR text                                                      a library
          u8 2                                          what decides machine code besides the text
answer    u8 1 | image, or lines for a request 2        or    u8 0 | reason, UTF-8
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from chain.forks import Fork
from vm.evm.jit.ports import CompileRequest

_HEAD: Final = struct.Struct("<HBI")


class CompileKind(IntEnum):
    """What a request is: its first byte."""

    CONTRACT = 0
    LIBRARY = 1
    COMPILED_FOR = 2


def asking(asked: CompileKind, content: bytes = b"") -> bytes:
    """The bytes of a request, without its length."""
    return bytes((asked,)) + content


def encode_request(request: CompileRequest) -> bytes:
    """The content of a request for parts of a contract."""
    hot = request.hot or ()
    pcs = struct.pack(f"<{len(hot)}H", *hot)
    return _HEAD.pack(request.fork, request.level, len(request.code)) + request.code + pcs


def decode_request(data: bytes) -> CompileRequest:
    """The contract in these bytes."""
    fork, level, length = _HEAD.unpack_from(data)
    end = _HEAD.size + length
    pcs = struct.unpack(f"<{(len(data) - end) // 2}H", data[end:])
    return CompileRequest(Fork(fork), level, data[_HEAD.size : end], pcs or None)


def read_answer(answer: bytes) -> tuple[bytes | None, str]:
    """What was asked for; None with the reason if there is none."""
    return (answer[1:], "") if answer[0] == 1 else (None, answer[1:].decode(errors="replace"))
