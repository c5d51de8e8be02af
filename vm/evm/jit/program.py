"""A contract's code as the JIT reads it: opcodes, the indexes of entry points, and segments.

A segment is a run of opcodes whose static gas and stack bounds are checked once, before the first: nothing in
it jumps, looks at the gas or leaves to Python, except its last opcode.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Final, NamedTuple

from chain.forks import Fork
from vm.evm.interpreter import left_to_python
from vm.evm.opcodes import BY_NAME, Opcode, opcodes
from vm.evm.routines.compiled import FIRST_INDEX

SEGMENT_OPCODES_MAX: Final = 64

_INVALID: Final = BY_NAME["INVALID"]
_JUMPDEST: Final = BY_NAME["JUMPDEST"].byte
_JUMPI: Final = BY_NAME["JUMPI"].byte
_FAILURE_OPCODES_MAX: Final = 32
_PADDING: Final = bytes(33)
_EXACT: Final = {BY_NAME[name].byte for name in ("GAS", "JUMPI", "SSTORE")}
"""Nothing may be paid for beyond these: GAS and SSTORE look at the gas, after JUMPI it may be too much."""


class Operation(NamedTuple):
    """One opcode at its place; a byte that is not an opcode of the fork is INVALID."""

    pc: int
    row: Opcode
    value: int
    """Data of a PUSH."""

    @property
    def next_pc(self) -> int:
        return self.pc + 1 + self.row.immediate


class Segment(NamedTuple):
    """Opcodes that are paid for together."""

    operations: list[Operation]
    gas: int
    needs: int
    """Words that must be on the stack before it."""
    grows: int
    """Words the stack must have room for."""


class SegmentedCode:
    """One contract under one fork."""

    def __init__(self, code: bytes, fork: Fork) -> None:
        self.code = code
        self.fork = fork
        self._rows = opcodes(fork)
        self._padded = code + _PADDING
        self.always_left, self.sometimes_left = left_to_python(fork)
        self._last = self.always_left | self.sometimes_left | _EXACT
        self.targets: dict[int, int] = {}
        """pc -> index of every JUMPDEST."""
        self.entries: dict[int, int] = {0: FIRST_INDEX}
        """pc -> index of the begin and of every place after an opcode Python always carries out."""
        self.pushed: set[int] = set()
        """Every constant pushed that is an offset in the code."""
        self._runs: dict[int, int] = {}
        self._survey()

    def _survey(self) -> None:
        index = FIRST_INDEX + 1
        for operation in self.operations():
            byte = self.code[operation.pc]
            if byte == _JUMPDEST:
                self.targets[operation.pc] = index
                index += 1
            elif byte in self.always_left:
                self.entries[operation.next_pc] = index
                index += 1
            elif operation.row.immediate and operation.value < len(self.code):
                self.pushed.add(operation.value)

    def operations(self, pc: int = 0) -> Iterator[Operation]:
        """The opcodes from ``pc`` on, as they follow in the code."""
        length = len(self.code)
        while pc < length:
            operation = self.at(pc)
            yield operation
            pc = operation.next_pc

    def at(self, pc: int) -> Operation:
        """The opcode at ``pc``; STOP behind the end."""
        row = self._rows.get(self._padded[pc] if pc < len(self._padded) else 0, _INVALID)
        size = row.immediate
        return Operation(pc, row, int.from_bytes(self._padded[pc + 1 : pc + 1 + size], "big") if size else 0)

    def run_of(self, pc: int) -> int:
        """How many opcodes there are from ``pc`` up to the next jump or end, and with it."""
        if pc not in self._runs:
            rows = (operation.row for operation in self.operations(pc))
            self._runs[pc] = next((n for n, row in enumerate(rows, 1) if row.is_terminating or row.byte == _JUMPI), 0)
        return self._runs[pc]

    def fails_at(self, pc: int) -> bool:
        """Whether all that is left from ``pc`` on is to fail: what a compiler puts behind a check that holds."""
        before = 0
        for _ in range(_FAILURE_OPCODES_MAX):
            operation = self.at(pc)
            if operation.row.name in ("REVERT", "INVALID"):
                return True
            if operation.row.name == "JUMP":
                pc = before
                if pc not in self.targets:
                    return False
            elif operation.row.is_terminating or operation.row.byte in self._last:
                return False
            else:
                before, pc = operation.value if operation.row.immediate else -1, operation.next_pc
        return False

    def segment(self, pc: int, entered: Container[int]) -> Segment:
        """The segment that begins at ``pc``. A JUMPDEST among ``entered`` begins another."""
        operations: list[Operation] = []
        gas = height = needs = grows = 0
        while len(operations) < SEGMENT_OPCODES_MAX:
            operation = self.at(pc)
            row = operation.row
            if operations and pc in entered:
                break
            operations.append(operation)
            gas += row.gas
            needs = max(needs, row.pops - height)
            height += row.pushes - row.pops
            grows = max(grows, height)
            pc = operation.next_pc
            if row.is_terminating or row.byte in self._last:
                break
        return Segment(operations, gas, needs, grows)
