"""The opcode table: one row per opcode. Which of them a fork has, and their gas, its gas schedule tells."""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

from chain.forks import Fork
from chain.gas_schedule import SCHEDULES


class Opcode(NamedTuple):
    """One row of the table, under one fork."""

    byte: int
    name: str
    immediate: int
    """Bytes of data that follow in the code."""
    pops: int
    """Words the stack must hold; for DUPn and SWAPn all words that are looked at."""
    pushes: int
    """Words in their place afterwards."""
    doc: str
    is_terminating: bool = False
    """Nothing after it runs without a jump."""
    gas: int = 0
    """What every execution of it pays (`chain.gas_schedule.GasSchedule.opcodes`)."""


def _row(
    byte: int,
    name: str,
    pops: int,
    pushes: int,
    doc: str,
    is_terminating: bool = False,
    immediate: int = 0,
) -> Opcode:
    return Opcode(byte, name, immediate, pops, pushes, doc, is_terminating)


_ROWS: Final = (
    _row(0x00, "STOP", 0, 0, "end successfully without output", is_terminating=True),
    _row(0x01, "ADD", 2, 1, "a + b"),
    _row(0x02, "MUL", 2, 1, "a * b"),
    _row(0x03, "SUB", 2, 1, "a - b"),
    _row(0x04, "DIV", 2, 1, "a // b, 0 for b = 0"),
    _row(0x05, "SDIV", 2, 1, "signed a / b, truncated"),
    _row(0x06, "MOD", 2, 1, "a % b, 0 for b = 0"),
    _row(0x07, "SMOD", 2, 1, "signed remainder with the sign of a"),
    _row(0x08, "ADDMOD", 3, 1, "(a + b) % n without wrapping"),
    _row(0x09, "MULMOD", 3, 1, "(a * b) % n without wrapping"),
    _row(0x0A, "EXP", 2, 1, "a ** b; plus gas per byte of b"),
    _row(0x0B, "SIGNEXTEND", 2, 1, "extend the sign of the (a+1)-byte number b"),
    _row(0x10, "LT", 2, 1, "a < b"),
    _row(0x11, "GT", 2, 1, "a > b"),
    _row(0x12, "SLT", 2, 1, "signed a < b"),
    _row(0x13, "SGT", 2, 1, "signed a > b"),
    _row(0x14, "EQ", 2, 1, "a == b"),
    _row(0x15, "ISZERO", 1, 1, "a == 0"),
    _row(0x16, "AND", 2, 1, "a & b"),
    _row(0x17, "OR", 2, 1, "a | b"),
    _row(0x18, "XOR", 2, 1, "a ^ b"),
    _row(0x19, "NOT", 1, 1, "~a"),
    _row(0x1A, "BYTE", 2, 1, "byte a of b, counted from the most significant"),
    _row(0x1B, "SHL", 2, 1, "b << a (EIP-145)"),
    _row(0x1C, "SHR", 2, 1, "b >> a (EIP-145)"),
    _row(0x1D, "SAR", 2, 1, "signed b >> a (EIP-145)"),
    _row(0x1E, "CLZ", 1, 1, "leading zero bits (EIP-7939)"),
    _row(0x20, "KECCAK256", 2, 1, "Keccak-256 of memory[a : a+b]; plus memory and gas per word"),
    _row(0x30, "ADDRESS", 0, 1, "account this frame acts for"),
    _row(0x31, "BALANCE", 1, 1, "balance of an account"),
    _row(0x32, "ORIGIN", 0, 1, "sender of the transaction"),
    _row(0x33, "CALLER", 0, 1, "account that called"),
    _row(0x34, "CALLVALUE", 0, 1, "wei sent with the call"),
    _row(0x35, "CALLDATALOAD", 1, 1, "word of calldata, zeros beyond its end"),
    _row(0x36, "CALLDATASIZE", 0, 1, "bytes of calldata"),
    _row(0x37, "CALLDATACOPY", 3, 0, "copy calldata to memory"),
    _row(0x38, "CODESIZE", 0, 1, "bytes of the running code"),
    _row(0x39, "CODECOPY", 3, 0, "copy running code to memory"),
    _row(0x3A, "GASPRICE", 0, 1, "effective gas price"),
    _row(0x3B, "EXTCODESIZE", 1, 1, "bytes of an account's code"),
    _row(0x3C, "EXTCODECOPY", 4, 0, "copy an account's code to memory"),
    _row(0x3D, "RETURNDATASIZE", 0, 1, "bytes the last call returned (EIP-211)"),
    _row(0x3E, "RETURNDATACOPY", 3, 0, "copy return data; beyond its end is a halt (EIP-211)"),
    _row(0x3F, "EXTCODEHASH", 1, 1, "hash of an account's code (EIP-1052)"),
    _row(0x40, "BLOCKHASH", 1, 1, "hash of one of the 256 blocks before"),
    _row(0x41, "COINBASE", 0, 1, "fee recipient of the block"),
    _row(0x42, "TIMESTAMP", 0, 1, "seconds of the block"),
    _row(0x43, "NUMBER", 0, 1, "number of the block"),
    _row(0x44, "PREVRANDAO", 0, 1, "randomness of the beacon chain (EIP-4399); difficulty before Paris"),
    _row(0x45, "GASLIMIT", 0, 1, "gas limit of the block"),
    _row(0x46, "CHAINID", 0, 1, "chain id (EIP-1344)"),
    _row(0x47, "SELFBALANCE", 0, 1, "balance of this account (EIP-1884)"),
    _row(0x48, "BASEFEE", 0, 1, "base fee of the block (EIP-3198)"),
    _row(0x49, "BLOBHASH", 1, 1, "versioned hash of blob a (EIP-4844)"),
    _row(0x4A, "BLOBBASEFEE", 0, 1, "blob base fee of the block (EIP-7516)"),
    _row(0x50, "POP", 1, 0, "drop the top word"),
    _row(0x51, "MLOAD", 1, 1, "word at memory[a]"),
    _row(0x52, "MSTORE", 2, 0, "write word b to memory[a]"),
    _row(0x53, "MSTORE8", 2, 0, "write the lowest byte of b to memory[a]"),
    _row(0x54, "SLOAD", 1, 1, "storage[a]"),
    _row(0x55, "SSTORE", 2, 0, "storage[a] = b; gas by old, new and original value"),
    _row(0x56, "JUMP", 1, 0, "continue at a JUMPDEST", is_terminating=True),
    _row(0x57, "JUMPI", 2, 0, "continue at a JUMPDEST if b is not 0"),
    _row(0x58, "PC", 0, 1, "offset of this opcode"),
    _row(0x59, "MSIZE", 0, 1, "bytes of memory in use"),
    _row(0x5A, "GAS", 0, 1, "gas left after this opcode"),
    _row(0x5B, "JUMPDEST", 0, 0, "place a jump may land"),
    _row(0x5C, "TLOAD", 1, 1, "transient storage[a] (EIP-1153)"),
    _row(0x5D, "TSTORE", 2, 0, "transient storage[a] = b (EIP-1153)"),
    _row(0x5E, "MCOPY", 3, 0, "copy within memory (EIP-5656)"),
    _row(0x5F, "PUSH0", 0, 1, "push 0 (EIP-3855)"),
    *(
        _row(0x5F + n, f"PUSH{n}", 0, 1, f"push the next {n} bytes of code", immediate=n)
        for n in range(1, 33)
    ),
    *(_row(0x7F + n, f"DUP{n}", n, n + 1, f"push a copy of word {n} from the top") for n in range(1, 17)),
    *(
        _row(0x8F + n, f"SWAP{n}", n + 1, n + 1, f"exchange the top with the word {n} below it")
        for n in range(1, 17)
    ),
    *(_row(0xA0 + n, f"LOG{n}", n + 2, 0, f"emit a log with {n} topics") for n in range(5)),
    _row(0xF0, "CREATE", 3, 1, "create a contract"),
    _row(0xF1, "CALL", 7, 1, "call an account"),
    _row(0xF2, "CALLCODE", 7, 1, "run another account's code for this account"),
    _row(0xF3, "RETURN", 2, 0, "end successfully with output", is_terminating=True),
    _row(0xF4, "DELEGATECALL", 6, 1, "CALLCODE keeping caller and value (EIP-7)"),
    _row(0xF5, "CREATE2", 4, 1, "create at an address of salt and init code (EIP-1014)"),
    _row(0xFA, "STATICCALL", 6, 1, "call that may change nothing (EIP-214)"),
    _row(0xFD, "REVERT", 2, 0, "end undoing all changes, with output (EIP-140)", is_terminating=True),
    _row(0xFE, "INVALID", 0, 0, "exceptional halt (EIP-141)", is_terminating=True),
    _row(0xFF, "SELFDESTRUCT", 1, 0, "send the balance away; delete it (EIP-6780: if new)", is_terminating=True),
)


@cache
def opcodes(fork: Fork) -> dict[int, Opcode]:
    """The opcodes of a fork by byte. Bytes that are missing are invalid.

    >>> opcodes(Fork.BERLIN)[0x54].gas, opcodes(Fork.FRONTIER)[0x54].gas
    (100, 50)
    """
    gas = SCHEDULES[fork].opcodes
    return {row.byte: row._replace(gas=gas[row.name]) for row in _ROWS if row.name in gas}


BY_NAME: Final[dict[str, Opcode]] = {row.name: row for row in _ROWS}
"""Every opcode of any fork; gas is 0 here."""
