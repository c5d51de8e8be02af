"""Random code without structure: odd jumps, JUMPDESTs in data, segments that end anywhere, random bytes."""

from __future__ import annotations

import random

from chain.forks import Fork
from vm.evm.opcodes import opcodes

EDGES = (0, 1, 2, 31, 32, 33, 255, 256, 2**31, 2**63 - 1, 2**64 - 1, 2**128, 2**255, 2**256 - 1)
MEMORY = ("MLOAD", "MSTORE", "MSTORE8", "KECCAK256", "CALLDATACOPY", "CODECOPY", "RETURNDATACOPY", "MCOPY")
LEAVING = ("SLOAD", "SSTORE", "TLOAD", "TSTORE", "BALANCE", "EXTCODESIZE", "LOG0", "LOG1", "LOG2", "SELFBALANCE")
CALLS = ("CALL", "DELEGATECALL", "STATICCALL", "CREATE", "CALLCODE")
SMALL = ("MSIZE", "GAS", "PC", "CALLDATASIZE", "CALLER", "CALLVALUE", "RETURNDATASIZE", "JUMPDEST", "POP")
ENDS = ("STOP", "RETURN", "REVERT", "INVALID", "SELFDESTRUCT")


def _push(source: random.Random, value: int | None = None) -> bytes:
    if value is None:
        value = source.choice(EDGES) if source.random() < 0.25 else source.randrange(80)
    size = max(1, (value.bit_length() + 7) // 8)
    if source.random() < 0.1:
        size = min(32, size + source.randrange(3))
    return bytes([0x5F + size]) + value.to_bytes(size, "big")


def _piece(source: random.Random, named: dict[str, int], rows: dict[int, int], length: int) -> bytes:
    kind = source.random()
    if kind < 0.28:
        return _push(source)
    if kind < 0.40:
        return bytes([source.choice((0x80, 0x90)) + source.randrange(16 if source.random() < 0.2 else 4)])
    if kind < 0.58:
        byte = source.choice([b for b in rows if b < 0x20])
        return b"".join(_push(source) for _ in range(rows[byte])) * (source.random() < 0.5) + bytes([byte])
    if kind < 0.72:
        return _operands(source, named, rows, MEMORY)
    if kind < 0.80:
        return _operands(source, named, rows, LEAVING)
    if kind < 0.84:
        return _operands(source, named, rows, CALLS)
    if kind < 0.92:
        name = source.choice(SMALL)
        return bytes([named[name]]) if name in named else b""
    if kind < 0.97:
        target = source.randrange(length + 3)
        return _push(source, source.randrange(3)) + _push(source, target) + b"\x57" + b"\x5b" * source.randrange(2)
    if kind < 0.985:
        return _push(source, source.randrange(length + 3)) + b"\x56" + b"\x5b" * source.randrange(2)
    name = source.choice(ENDS)
    return _operands(source, named, rows, (name,)) if name in named else b"\xfe"


def _operands(source: random.Random, named: dict[str, int], rows: dict[int, int], names: tuple[str, ...]) -> bytes:
    known = [name for name in names if name in named]
    byte = named[source.choice(known)]
    if source.random() < 0.15:
        return bytes([byte])
    wild = source.random() < 0.1
    return b"".join(_push(source, None if wild else source.randrange(200)) for _ in range(rows[byte])) + bytes([byte])


def _aim_jumps(source: random.Random, code: bytearray) -> None:
    """Let most jumps land on a JUMPDEST (or on one inside PUSH data)."""
    landings = [pc for pc, byte in enumerate(code) if byte == 0x5B]
    if not landings:
        return
    pc = 0
    while pc < len(code):
        byte = code[pc]
        size = byte - 0x5F if 0x60 <= byte <= 0x7F else 0
        after = pc + 1 + size
        if size and after < len(code) and code[after] in (0x56, 0x57) and source.random() < 0.85:
            target = source.choice(landings)
            if target < 256**size:
                code[pc + 1 : after] = target.to_bytes(size, "big")
        pc = after


def random_code(source: random.Random, fork: Fork) -> bytes:
    """One program's code."""
    named = {row.name: byte for byte, row in opcodes(fork).items()}
    rows = {byte: row.pops for byte, row in opcodes(fork).items()}
    length = source.randrange(10, 200)
    code = bytearray(b"".join(_push(source) for _ in range(source.randrange(8))))
    if source.random() < 0.01:
        code += b"\x80" * source.randrange(900, 1024)
    while len(code) < length:
        code += _piece(source, named, rows, length)
    if source.random() < 0.1:
        code += bytes([source.randrange(256) for _ in range(source.randrange(20))])
    _aim_jumps(source, code)
    return bytes(code)
