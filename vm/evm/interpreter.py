"""The interpreter as IR: one function per opcode, threaded through dispatch tables by ``musttail`` calls.

Every function has the same signature; frame, stack pointer, gas, instruction pointer and table travel in
registers. A mode is a table: *plain* runs; in *step* every entry counts down first. A mode that is off costs
nothing; in *jit* JUMPDEST goes where the frame's entry table says (`vm.evm.routines.compiled`).
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

from chain.forks import Fork
from vm.evm.convention import (
    code_function,
    exit_function,
    go_on,
    opcode_function,
    routines_before_python,
    table,
)
from vm.evm.emitter import Emitter, Value
from vm.evm.emitters import EMITTERS
from vm.evm.layout import STACK_END, STACK_OFFSET, WORD_BYTES, Exit, Field
from vm.evm.opcodes import BY_NAME, Opcode, opcodes
from vm.evm.routines import compiled, modes, routines
from vm.ir.builder import declared_exports
from vm.message import Halt

_ENTRY_POINTS: Final = (
    "enter",
    "resume",
    "plain",
    "step",
    "jit",
    "map_jumps",
    "map_entries",
    "interpret",
    "undo",
    f"exit{int(Halt.INVALID_JUMP)}",
    f"exit{int(Exit.STOPPED)}",
)


def exports(fork: Fork) -> tuple[str, ...]:
    """Order of the addresses in the exported table ``@exports``."""
    return (*_ENTRY_POINTS, *compiled.symbols(fork))


_JUMPDEST: Final = BY_NAME["JUMPDEST"].byte


class InterpreterEmitter(Emitter):
    """Emits one opcode as a function of its own; the stack is in the frame."""

    def __init__(self, fork: Fork, row: Opcode, exits: set[int]) -> None:
        super().__init__(fork)
        self._row = row
        self.exits = exits
        self._height = 0
        self._top: str | None = None
        self._failures: dict[int, str] = {}
        self.has_ended = False
        """Nothing follows in this opcode."""

    @property
    def row(self) -> Opcode:
        return self._row

    def _slot(self, height: int) -> str:
        if self._top is None:
            # In the entry block, so that it dominates every use.
            self._top = self.let("getelementptr i8, ptr %frame, i64 %sp")
        return self.let(f"getelementptr i8, ptr {self._top}, i64 {WORD_BYTES * height}")

    def _load(self, height: int) -> str:
        return self.let(f"load i256, ptr {self._slot(height)}, align 32")

    def _store(self, height: int, value: Value) -> None:
        self.b.do(f"store i256 {value}, ptr {self._slot(height)}, align 32")

    def pop(self) -> Value:
        self._height -= 1
        return self._load(self._height)

    def push(self, value: Value) -> None:
        self._store(self._height, value)
        self._height += 1

    def drop(self) -> None:
        self._height -= 1

    def dup(self, n: int) -> None:
        word = self.let(f"load i256, ptr {self._slot(-n)}, align 32")
        self.b.do(f"store i256 {word}, ptr {self._slot(0)}, align 32")
        self._height += 1

    def swap(self, n: int) -> None:
        top, low = self._slot(-1), self._slot(-1 - n)
        upper = self.let(f"load i256, ptr {top}, align 32")
        lower = self.let(f"load i256, ptr {low}, align 32")
        self.b.do(f"store i256 {lower}, ptr {top}, align 32")
        self.b.do(f"store i256 {upper}, ptr {low}, align 32")

    def immediate(self, size: int) -> Value:
        # Code is followed by 33 zero bytes, so reading past the data or the end is safe.
        at = self.let("getelementptr i8, ptr %ip, i64 1")
        width = next(w for w in (8, 16, 32, 64, 256) if w >= 8 * size)
        word = self.let(f"load i{width}, ptr {at}, align 1")
        if width > 8:
            word = self.let(f"call i{width} @llvm.bswap.i{width}(i{width} {word})")
        if width > 8 * size:
            word = self.let(f"lshr i{width} {word}, {width - 8 * size}")
        return word if width == 256 else self.let(f"zext i{width} {word} to i256")

    def pc(self) -> Value:
        code = self.field(Field.CODE)
        here = self.let("ptrtoint ptr %ip to i64")
        return self.let(f"zext i64 {self.let(f'sub i64 {here}, {code}')} to i256")

    def failure(self, code: Halt | Exit) -> str:
        self.exits.add(code)
        return self._failures.setdefault(code, f"fail{int(code)}")

    def _dispatch(self, ip: str, height: int) -> None:
        sp = self._sp(height)
        go_on(self.b, opcode_function(self.b, "%table", ip), sp=sp, gas=self.gas, ip=ip)

    def _sp(self, height: int) -> str:
        return self.let(f"add i64 %sp, {WORD_BYTES * height}") if height else "%sp"

    def _next_ip(self) -> str:
        return self.let(f"getelementptr i8, ptr %ip, i64 {1 + self.row.immediate}")

    def jump(self, target: Value) -> None:
        length = self.let(f"zext i64 {self.field(Field.CODE_LENGTH)} to i256")
        self.require(self.let(f"icmp ult i256 {target}, {length}"), Halt.INVALID_JUMP)
        offset = self.truncated(target)
        cell = self.let(f"getelementptr i8, ptr {self.pointer(Field.JUMP_MAP)}, i64 {offset}")
        mark = self.let(f"load i8, ptr {cell}")
        self.require(self.let(f"icmp ne i8 {mark}, 0"), Halt.INVALID_JUMP)
        self._dispatch(
            self.let(f"getelementptr i8, ptr {self.pointer(Field.CODE)}, i64 {offset}"), self._height
        )
        self.has_ended = True

    def jumpi(self, target: Value, condition: Value) -> None:
        taken, onward = self.b.fresh("taken"), self.b.fresh("onward")
        self.b.branch(self.is_zero(condition), onward, taken)
        self.b.place(taken)
        self.jump(target)
        self.b.place(onward)
        self.has_ended = False

    def exit(self, halt: Halt) -> None:
        self.exits.add(halt)
        go_on(self.b, self._leaving(halt), sp=self._sp(self._height), gas=self.gas)
        self.has_ended = True

    def _leaving(self, code: int) -> str:
        return "@" + routines_before_python(self.fork).get(code, f"exit{code}")

    def host_unless(self, condition: str) -> None:
        leave, onward = self.b.fresh("leave"), self.b.fresh("onward")
        self.b.branch(condition, onward, leave)
        self.b.place(leave)
        self._to_host()
        self.b.place(onward)

    def host(self) -> None:
        self._to_host()
        self.has_ended = True

    def _to_host(self) -> None:
        code = Exit.HOST + self.row.byte
        self.exits.add(code)
        sp = self._sp(self.row.pushes - self.row.pops)
        go_on(self.b, self._leaving(code), sp=sp, gas=self.gas, ip=self._next_ip())

    def guards(self) -> None:
        """Check stack bounds and charge static gas."""
        row = self.row
        if row.pops:
            low = STACK_OFFSET + WORD_BYTES * row.pops
            self.require(self.let(f"icmp uge i64 %sp, {low}"), Halt.STACK_UNDERFLOW)
        if row.pushes > row.pops:
            high = STACK_END - WORD_BYTES * (row.pushes - row.pops)
            self.require(self.let(f"icmp ule i64 %sp, {high}"), Halt.STACK_OVERFLOW)
        if row.gas:
            self.charge(row.gas)
        if row.pops or row.pushes:
            self._top = self.let("getelementptr i8, ptr %frame, i64 %sp")

    def function(self) -> str:
        """The whole function of the opcode."""
        self.guards()
        EMITTERS[self.row.name](self)
        if not self.has_ended and self.row.name != "INVALID":
            assert self._height == self.row.pushes - self.row.pops or self.row.name.startswith("SWAP"), (
                self.row
            )
            self._dispatch(self._next_ip(), self._height)
        for code, label in self._failures.items():
            self.b.place(label)
            go_on(self.b, f"@exit{int(code)}")
        # Vector loads of words that were stored in 64-bit parts would stall: no implicit vectors.
        return code_function(f"op_{self.row.name}", self.b, "nounwind noimplicitfloat")


class LeftToPython(NamedTuple):
    """Bytes of the opcodes that leave native code."""

    always: frozenset[int]
    sometimes: frozenset[int]


@cache
def left_to_python(fork: Fork) -> LeftToPython:
    """Found by asking the emitters."""
    always: set[int] = set()
    sometimes: set[int] = set()
    for byte, row in opcodes(fork).items():
        emitter = InterpreterEmitter(fork, row, set())
        emitter.function()
        if Exit.HOST + byte in emitter.exits:
            (always if emitter.has_ended else sometimes).add(byte)
    return LeftToPython(frozenset(always), frozenset(sometimes))


def interpreter_ir(fork: Fork) -> str:
    """The interpreter of one fork as a module's text, its gas and opcodes folded in."""
    exits: set[int] = {Exit.STEP, Exit.STOPPED, Halt.INVALID_OPCODE}
    rows = opcodes(fork)
    functions = [InterpreterEmitter(fork, row, exits).function() for row in rows.values()]
    invalid = f"exit{int(Halt.INVALID_OPCODE)}"
    plain = [f"op_{rows[byte].name}" if byte in rows else invalid for byte in range(256)]
    jit = list(plain)
    jit[_JUMPDEST] = "to_compiled"
    swaps = "".join(f"declare i{w} @llvm.bswap.i{w}(i{w})\n" for w in (16, 32, 64))
    return "".join(
        (
            swaps,
            routines(fork),
            *(exit_function(code) for code in sorted(exits)),
            *functions,
            modes.step_ir(),
            table("plain", plain),
            table("jit", jit),
            compiled.entry("enter", into_compiled=False),
            compiled.ir(left_to_python(fork).always),
            declared_exports(exports(fork)),
            '!0 = !{!"branch_weights", i32 10000, i32 1}\n',
        )
    )
