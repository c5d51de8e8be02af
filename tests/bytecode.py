"""A sort of assembler for test programs written in Python; `debugger.assembly` is the one for text."""

from __future__ import annotations

from vm.evm.opcodes import BY_NAME


def code(*parts: str | int | bytes) -> bytes:
    """Bytecode of opcode names, ints (pushed by the shortest PUSH) and raw bytes.

    >>> code(1, "DUP1 ADD", b"\xfe").hex()
    '60018001fe'
    """
    out = bytearray()
    for part in parts:
        if isinstance(part, bytes):
            out += part
        elif isinstance(part, int):
            size = max(1, (part.bit_length() + 7) // 8)
            out.append(0x5F + size)
            out += part.to_bytes(size, "big")
        else:
            out += bytes([BY_NAME[name].byte for name in part.split()])
    return bytes(out)
