"""Random programs, biased to what goes wrong: memory growth, calls, reverts, creations, storage, deep stacks."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from chain.forks import Fork
from tests.differential.generator import random_code
from vm.evm.opcodes import BY_NAME, opcodes

CALLER = "ca" * 20
MAIN = "7a" * 20
CONTRACTS = (MAIN, "0b" * 20, "0c" * 20, "0d" * 20)
NOBODY = "ee" * 20
FORKS = (
    *("OSAKA",) * 5,
    *("CANCUN",) * 4,
    *("PRAGUE", "SHANGHAI", "PARIS", "LONDON", "BERLIN", "ISTANBUL", "PETERSBURG", "BYZANTIUM"),
    *("SPURIOUS_DRAGON", "TANGERINE_WHISTLE", "HOMESTEAD", "FRONTIER"),
)
"""Every fork, those in use more often."""
HELPERS = 8
"""Codes that the contracts besides the first are taken from, for a fork and so many programs:"""
PROGRAMS_PER_HELPERS = 2_000
WITHOUT_STRUCTURE = 0.35
"""Share of programs written by `tests.differential.generator`."""

_M = 2**256
EDGES = (
    0,
    1,
    2,
    31,
    32,
    33,
    255,
    256,
    2**31,
    2**63,
    2**64 - 1,
    2**64,
    2**128,
    2**255 - 1,
    2**255,
    _M - 1,
    _M - 2,
)
OFFSETS = (0, 0, 0, 1, 4, 31, 32, 33, 64, 100, 320, 1_000, 4_064, 4_095, 4_096, 4_097, 9_000, 70_000)
MONSTERS = (2**24, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**64, 2**64 + 32, 2**255, _M - 1, _M - 31)
GENERATOR = (1).to_bytes(32, "big") + (2).to_bytes(32, "big")


@dataclass
class Case:
    """A transaction to run everywhere: four contracts' codes in hex, the first one is called."""

    fork: str
    codes: list[str]
    data: str
    gas: int
    value: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


class Writer:
    """Writes one program."""

    def __init__(self, chance: random.Random, fork: str) -> None:
        self.chance = chance
        self.fork = fork
        self.out = bytearray()
        self.rows = [row for row in opcodes(Fork[fork]).values() if not row.is_terminating]
        self._has_push0 = Fork[fork] >= Fork.SHANGHAI
        self._marks: list[int] = []
        self._open: list[int] = []

    def op(self, *names: str) -> None:
        """Opcodes by name."""
        self.out += bytes(BY_NAME[name].byte for name in names)

    def push(self, value: int) -> None:
        """The value, by one of the opcodes that can."""
        size = (value.bit_length() + 7) // 8
        if not size and self._has_push0 and self.chance.random() < 0.7:
            self.op("PUSH0")
            return
        size = max(1, size) if self.chance.random() < 0.9 else 32
        self.out.append(0x5F + size)
        self.out += value.to_bytes(size, "big")

    def number(self) -> int:
        """An operand for arithmetic."""
        kind = self.chance.random()
        if kind < 0.4:
            return self.chance.choice(EDGES)
        if kind < 0.6:
            return self.chance.randrange(300)
        return self.chance.getrandbits(self.chance.randrange(1, 257))

    def place(self) -> int:
        """An offset or a size in memory."""
        return self.chance.choice(OFFSETS) if self.chance.random() < 0.97 else self.chance.choice(MONSTERS)

    def who(self) -> int:
        """An address to call or to look at."""
        kind = self.chance.random()
        if kind < 0.55:
            return int(self.chance.choice(CONTRACTS), 16)
        if kind < 0.8:
            return self.chance.randrange(1, 10)
        return self.chance.choice((int(CALLER, 16), int(NOBODY, 16), 0, 10, 0x100, _M - 1, 0xC0FFEE))

    # Pieces

    def arithmetic(self) -> None:
        row = self.chance.choice([row for row in self.rows if row.byte < 0x20])
        for _ in range(row.pops):
            self.push(self.number())
        self.op(row.name)

    def memory(self) -> None:
        name = self.chance.choice(("MSTORE", "MSTORE8", "MLOAD", "KECCAK256", "COPY", "COPY", "MSIZE"))
        if name == "COPY":
            name = self.chance.choice(("CALLDATACOPY", "CODECOPY", "RETURNDATACOPY", "MCOPY", "EXTCODECOPY"))
            if name not in {row.name for row in self.rows}:
                return
            for _ in range(3):
                self.push(self.place())
            if name == "EXTCODECOPY":
                self.push(self.who())
        elif name.startswith("MSTORE"):
            self.push(self.number())
            self.push(self.place())
        elif name != "MSIZE":
            self.push(self.place())
            if name == "KECCAK256":
                self.push(self.place())
        self.op(name)

    def storage(self) -> None:
        names = ["SSTORE", "SLOAD", "SSTORE"]
        if Fork[self.fork] >= Fork.CANCUN:
            names += ["TSTORE", "TLOAD"]
        name = self.chance.choice(names)
        if name.endswith("STORE"):
            self.push(self.chance.choice((0, 0, 1, 2, 5)))
        self.push(self.chance.randrange(6))
        self.op(name)

    def call(self) -> None:
        """A call; often the same once more, which native code may then make alone."""
        begin = len(self.out)
        self._one_call()
        if self.chance.random() < 0.5:
            self.out += self.out[begin:] * self.chance.randrange(1, 4)

    def _one_call(self) -> None:
        names = ["CALL", "CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"]
        name = self.chance.choice(names)
        if self.chance.random() < 0.5:
            for operand in (
                self.chance.choice((32, 64, 96, 128, 192, 213)),
                0,
                self.chance.choice(OFFSETS[:9]),
            ):
                self.push(operand)
            self.op("CALLDATACOPY")
        for _ in range(4):
            self.push(
                self.place() if self.chance.random() < 0.5 else self.chance.choice((0, 32, 64, 128, 192))
            )
        if name in ("CALL", "CALLCODE"):
            self.push(self.chance.choice((0, 0, 0, 0, 1, 3, 10**30)))
        self.push(self.who())
        if self.chance.random() < 0.25:
            self.op("GAS")
        else:
            self.push(self.chance.choice((0, 100, 2_300, 5_000, 12_000, 40_000, 2**64, _M - 1)))
        self.op(name)
        if self.chance.random() < 0.4:
            self.op("RETURNDATASIZE")
            if self.chance.random() < 0.6:
                self.push(0)
                self.push(self.chance.choice(OFFSETS[:9]))
                self.op("RETURNDATACOPY")

    def create(self) -> None:
        small = Writer(self.chance, self.fork)
        for _ in range(self.chance.randrange(4)):
            small.piece()
        small.ending()
        code = bytes(small.out)[: self.chance.randrange(4, 33)]
        self.push(int.from_bytes(code.ljust(32, b"\0"), "big"))
        self.push(0)
        self.op("MSTORE")
        is_salted = Fork[self.fork] >= Fork.CONSTANTINOPLE and self.chance.random() < 0.5
        if is_salted:
            self.push(self.chance.randrange(3))
        self.push(self.chance.choice((len(code), 32, 32, self.place())))
        self.push(0)
        self.push(self.chance.choice((0, 0, 1, 10**30)))
        self.op("CREATE2" if is_salted else "CREATE")
        if self.chance.random() < 0.5:
            for _ in range(5):
                self.push(0)
            self.op("DUP6", "GAS", "CALL")

    def log(self) -> None:
        topics = self.chance.randrange(5)
        for _ in range(topics):
            self.push(self.number())
        self.push(self.place())
        self.push(self.place())
        self.op(f"LOG{topics}")

    def any_opcode(self) -> None:
        row = self.chance.choice(self.rows)
        self.op(row.name)
        self.out += self.chance.randbytes(row.immediate)

    def look(self) -> None:
        name = self.chance.choice(
            ("BALANCE", "EXTCODESIZE", "EXTCODEHASH", "BLOCKHASH", "CALLDATALOAD", "BLOBHASH")
        )
        if name in {row.name for row in self.rows}:
            self.push(self.who() if name[0] != "C" else self.place())
            self.op(name)

    def jump(self) -> None:
        kind = self.chance.random()
        if kind < 0.5 and len(self.out) < 60_000:
            self.push(self.chance.choice((0, 1, 7)))
            self.out.append(0x61)
            self._open.append(len(self.out))
            self.out += b"\0\0"
            self.op("JUMPI")
        elif kind < 0.8:
            self._marks.append(len(self.out))
            self.op("JUMPDEST")
        elif kind < 0.87 and self._marks:
            self.op("GAS")  # a loop that ends
            self.push(1 << self.chance.randrange(9, 16))
            self.op("AND")
            self.push(self.chance.choice(self._marks))
            self.op("JUMPI")
        elif kind < 0.92:
            self.push(self.number())
            self.push(self.number())
            self.op("JUMPI")

    def deep(self) -> None:
        if self.chance.random() < 0.015:
            self.push(7)
            self.out += bytes([BY_NAME["DUP1"].byte]) * self.chance.choice((1_015, 1_022, 1_023, 1_024))
        else:
            for _ in range(self.chance.randrange(16)):
                self.push(self.chance.randrange(256))
            self.op(self.chance.choice(("SWAP", "DUP")) + str(self.chance.randrange(1, 17)))

    def ending(self) -> None:
        """Usually a RETURN or REVERT; every forward jump gets its target before it."""
        if self._open:
            target = len(self.out)
            self.op("JUMPDEST")
            for at in self._open:
                self.out[at : at + 2] = target.to_bytes(2, "big")
            self._open = []
        kind = self.chance.random()
        if kind < 0.6:
            self.push(
                self.chance.choice((0, 1, 32, 33, 64, 300)) if self.chance.random() < 0.95 else self.place()
            )
            self.push(self.chance.choice((0, 0, 0, 7, 32)) if self.chance.random() < 0.95 else self.place())
            self.op("RETURN" if kind < 0.4 else "REVERT")
        elif kind < 0.7:
            self.push(self.who())
            self.op("SELFDESTRUCT")
        elif kind < 0.75:
            self.op("INVALID")
        elif kind < 0.85:
            self.out += bytes([self.chance.randrange(0x60, 0x80)]) + self.chance.randbytes(
                self.chance.randrange(8)
            )

    def piece(self) -> None:
        """One piece of a random kind."""
        kinds = (
            self.arithmetic,
            self.memory,
            self.storage,
            self.call,
            self.create,
            self.log,
            self.any_opcode,
        )
        kinds += (self.look, self.jump, self.deep)
        self.chance.choices(kinds, (5, 5, 4, 4, 0.7, 0.7, 2, 1, 2.5, 0.8))[0]()


def write_program(chance: random.Random, fork: str, pieces: int) -> bytes:
    """A program of so many pieces."""
    writer = Writer(chance, fork)
    for _ in range(pieces):
        writer.piece()
    writer.ending()
    return bytes(writer.out)


def calldata(chance: random.Random) -> bytes:
    """Calldata, often an input some precompile accepts."""
    kind = chance.random()
    if kind < 0.3:
        return chance.randbytes(chance.choice((0, 1, 4, 32, 36, 100, 213)))
    if kind < 0.5:
        return GENERATOR + chance.choice((GENERATOR, chance.randbytes(32), bytes(64), b"\xff" * 32))
    if kind < 0.7:
        sizes = [chance.choice((0, 1, 2, 31, 32, 33)) for _ in range(3)]
        return b"".join(size.to_bytes(32, "big") for size in sizes) + chance.randbytes(sum(sizes))
    if kind < 0.85:
        return (
            chance.choice((0, 1, 12, 400)).to_bytes(4, "big")
            + chance.randbytes(208)
            + bytes([chance.randrange(3)])
        )
    return chance.randbytes(32) + (27 + chance.randrange(3)).to_bytes(32, "big") + chance.randbytes(64)


@lru_cache(maxsize=2 * len(FORKS))
def helpers(number: int, fork: str) -> tuple[str, ...]:
    """Codes that many programs call, so that each is compiled once for all of them."""
    chance = random.Random(f"helpers {number} {fork}")
    return tuple(write_program(chance, fork, chance.randrange(1, 8)).hex() for _ in range(HELPERS))


def random_case(seed: int) -> Case:
    """The case of a seed; seeds that follow each other share what their contracts call."""
    chance = random.Random(seed)
    fork = chance.choice(FORKS)
    if chance.random() < WITHOUT_STRUCTURE:
        main = random_code(chance, Fork[fork])
    else:
        main = write_program(chance, fork, chance.randrange(3, 25))
    codes = [main.hex(), *chance.sample(helpers(seed // PROGRAMS_PER_HELPERS, fork), len(CONTRACTS) - 1)]
    gas = chance.choice((60_000, 90_000, 150_000, 150_000, 400_000))
    return Case(fork, codes, calldata(chance).hex(), gas, chance.choice((0, 0, 1)))
