"""The `Emitter` through which opcodes are written once for every back end.

A value (`Value`, 256 bits) or word (`Word`, 64 bits) is a Python int when it is known at build time, else the
name of an SSA value. An i1 is always a name. Folding constants is then ordinary Python.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from chain.forks import Fork
from chain.gas_schedule import SCHEDULES
from chain.types import UINT256_MAX
from vm.evm.convention import field_at, set_field
from vm.evm.layout import ENV_OFFSET, WORD_BYTES, Env, Exit, Field
from vm.evm.opcodes import Opcode
from vm.ir.builder import Builder
from vm.limits import MEMORY_BYTES
from vm.message import Halt

Value = int | str
Word = int | str


class Emitter(ABC):
    """The operations that emitters use. Each back end implements stack, control flow and exits in its own way."""

    def __init__(self, fork: Fork) -> None:
        self.fork = fork
        self.gas_schedule = SCHEDULES[fork]
        self.b = Builder()
        self.gas: Word = "%gas"
        """Gas left at this point of the opcode, after its static gas."""

    @property
    @abstractmethod
    def row(self) -> Opcode:
        """The opcode being emitted."""

    @abstractmethod
    def pop(self) -> Value:
        """Pop the top word."""

    @abstractmethod
    def push(self, value: Value) -> None:
        """Push a word."""

    @abstractmethod
    def drop(self) -> None:
        """Drop the top word."""

    @abstractmethod
    def dup(self, n: int) -> None:
        """Push a copy of word ``n``, 1 being the top."""

    @abstractmethod
    def swap(self, n: int) -> None:
        """Exchange the top with the word ``n`` below it."""

    @abstractmethod
    def immediate(self, size: int) -> Value:
        """The ``size`` bytes of code after this opcode."""

    @abstractmethod
    def pc(self) -> Value:
        """Offset of this opcode."""

    @abstractmethod
    def jump(self, target: Value) -> None:
        """End the opcode by jumping; halts unless ``target`` is a JUMPDEST."""

    @abstractmethod
    def jumpi(self, target: Value, condition: Value) -> None:
        """End the opcode by jumping if ``condition`` is not 0."""

    @abstractmethod
    def exit(self, halt: Halt) -> None:
        """End the frame here."""

    @abstractmethod
    def host(self) -> None:
        """End the opcode by handing it to Python (see `vm.evm.layout.Exit.HOST`)."""

    @abstractmethod
    def host_unless(self, condition: str) -> None:
        """Like `host` if the i1 is false; continue natively if it is true."""

    @abstractmethod
    def failure(self, code: Halt | Exit) -> str:
        """Label of a block that aborts the opcode, with the state from before it."""

    # Everything below is the same for all back ends.

    def let(self, instruction: str) -> str:
        """Emit an instruction and name its result."""
        return self.b.let(instruction)

    def push_bool(self, condition: str) -> None:
        """Push 1 or 0."""
        self.push(self.let(f"zext i1 {condition} to i256"))

    def field_pointer(self, field: Field) -> str:
        """Address of a register of the frame."""
        return field_at(self.b, field)

    def field(self, field: Field) -> str:
        """Value of a register of the frame, i64."""
        return self.b.load("i64", self.field_pointer(field))

    def pointer(self, field: Field) -> str:
        """Value of a register of the frame that is an address."""
        return self.b.load("ptr", self.field_pointer(field))

    def set_field(self, field: Field, value: Word) -> None:
        """Write a register of the frame."""
        set_field(self.b, field, value)

    def env(self, word: Env) -> str:
        """A word of the environment."""
        at = self.let(f"getelementptr i8, ptr %frame, i64 {ENV_OFFSET + WORD_BYTES * word}")
        return self.let(f"load i256, ptr {at}")

    def require(self, condition: str, code: Halt | Exit) -> None:
        """Abort the opcode unless the i1 is true."""
        onward = self.b.fresh("ok")
        self.b.do(f"br i1 {condition}, label %{onward}, label %{self.failure(code)}, !prof !0")
        self.b.place(onward)

    def require_not_static(self) -> None:
        """Halt in a static frame (EIP-214)."""
        if self.fork >= Fork.BYZANTIUM:
            static = self.field(Field.STATIC)
            self.require(self.let(f"icmp eq i64 {static}, 0"), Halt.STATIC_VIOLATION)

    def _parts(self, value: Value) -> list[str]:
        parts = []
        for i in range(4):
            part = self.let(f"lshr i256 {value}, {64 * i}") if i else value
            parts.append(self.let(f"trunc i256 {part} to i64"))
        return parts

    def is_zero(self, value: Value) -> str:
        """Whether a value is 0, i1, by 64-bit parts: a vector load of what was stored in parts stalls."""
        parts = self._parts(value)
        low = self.let(f"or i64 {parts[0]}, {parts[1]}")
        high = self.let(f"or i64 {parts[2]}, {parts[3]}")
        return self.let(f"icmp eq i64 {self.let(f'or i64 {low}, {high}')}, 0")

    def charge(self, amount: Word) -> None:
        """Charge gas, an unsigned i64, or halt out of gas."""
        self.require(self.let(f"icmp uge i64 {self.gas}, {amount}"), Halt.OUT_OF_GAS)
        self.gas = self.let(f"sub i64 {self.gas}, {amount}")

    def truncated(self, value: Value) -> Word:
        """The low 64 bits."""
        return value & (2**64 - 1) if isinstance(value, int) else self.let(f"trunc i256 {value} to i64")

    def saturated(self, value: Value) -> Word:
        """The value as i64, at most 2**63 - 1."""
        top = 2**63 - 1
        if isinstance(value, int):
            return min(value, top)
        fits = self.let(f"icmp ule i256 {value}, {top}")
        return self.let(f"select i1 {fits}, i64 {self.truncated(value)}, i64 {top}")

    def bounded(self, value: Value) -> Word:
        """The value as i64; halts out of gas if no affordable memory reaches that far."""
        if isinstance(value, int) and value <= MEMORY_BYTES:
            return value
        self.require(self.let(f"icmp ule i256 {value}, {MEMORY_BYTES}"), Halt.OUT_OF_GAS)
        return self.truncated(value)

    def words(self, length: str) -> str:
        """Length in bytes, at most 2**32, to words rounded up."""
        return self.let(f"lshr i64 {self.let(f'add i64 {length}, 31')}, 5")

    def charge_size(self, size: Word) -> None:
        """Charge what this opcode pays for ``size`` bytes of memory (`GasSchedule.sized`)."""
        if isinstance(size, int):
            self.charge(self.gas_schedule.sized(self.row.name, size))
            return
        per_word, per_byte = (
            prices.get(self.row.name) for prices in (self.gas_schedule.per_word, self.gas_schedule.per_byte)
        )
        if per_word:
            self.charge(self.let(f"mul i64 {self.words(size)}, {per_word}"))
        if per_byte:
            self.charge(self.let(f"mul i64 {size}, {per_byte}"))

    def memrange(self, offset: Value, length: Value) -> tuple[str, Word]:
        """Expand the memory to a range and pay for it; returns the range's address and length."""
        (found,) = self.memranges((offset, length))
        return found

    def memranges(self, *ranges: tuple[Value, Value]) -> list[tuple[str, Word]]:
        """Like `memrange` for several ranges, paid for at once: an opcode may grow the memory only once."""
        bounds: list[tuple[Word, Word]] = []
        end: Word = 0
        for offset, length in ranges:
            start, size = self._range(offset, length)
            bounds.append((start, size))
            this = self._range_end(start, size, length)
            end = this if end == 0 else self.let(f"call i64 @llvm.umax.i64(i64 {end}, i64 {this})")
        self._reach(end)
        memory = self.pointer(Field.MEMORY)
        return [(self.let(f"getelementptr i8, ptr {memory}, i64 {start}"), size) for start, size in bounds]

    def _range(self, offset: Value, length: Value) -> tuple[Word, Word]:
        size = self.bounded(length)
        if isinstance(length, int):
            return (self.bounded(offset) if length else 0), size
        # An empty range reaches nowhere, whatever its offset.
        empty = self.let(f"icmp eq i64 {size}, 0")
        if isinstance(offset, int) and offset <= MEMORY_BYTES:
            return offset, size
        near = self.let(f"icmp ule i256 {offset}, {MEMORY_BYTES}")
        self.require(self.let(f"or i1 {near}, {empty}"), Halt.OUT_OF_GAS)
        return self.let(f"select i1 {empty}, i64 0, i64 {self.truncated(offset)}"), size

    def _range_end(self, start: Word, size: Word, length: Value) -> Word:
        if isinstance(start, int) and isinstance(size, int):
            return start + size
        end = self.let(f"add i64 {start}, {size}")
        if isinstance(length, int):
            return end
        empty = self.let(f"icmp eq i64 {size}, 0")
        return self.let(f"select i1 {empty}, i64 0, i64 {end}")

    def _reach(self, end: Word) -> None:
        if end == 0:
            return
        size = self.field(Field.MEMORY_SIZE)
        before, grow, paid, onward = (self.b.fresh(x) for x in ("before", "grow", "paid", "reached"))
        self.b.do(f"br label %{before}")
        self.b.place(before)
        inside = self.let(f"icmp ule i64 {end}, {size}")
        self.b.do(f"br i1 {inside}, label %{onward}, label %{grow}, !prof !0")
        self.b.place(grow)
        left = self.let(f"call i64 @expand(ptr %frame, i64 {end}, i64 {self.gas})")
        self._unless_negative(left, Exit.GROW, paid)
        self.b.do(f"br label %{onward}")
        self.b.place(onward)
        self.gas = self.let(f"phi i64 [ {self.gas}, %{before} ], [ {left}, %{paid} ]")

    def _unless_negative(self, left: str, code: Exit, onward: str) -> None:
        """Go on at ``onward`` with gas left by a routine: -1 is out of gas, -2 gives up with the code."""
        why = self.b.fresh("why")
        self.b.do(f"br i1 {self.let(f'icmp sge i64 {left}, 0')}, label %{onward}, label %{why}, !prof !0")
        self.b.place(why)
        poor = self.let(f"icmp eq i64 {left}, -1")
        self.b.branch(poor, self.failure(Halt.OUT_OF_GAS), self.failure(code))
        self.b.place(onward)

    def settle(self, left: str, code: Exit) -> None:
        """Take the gas that a routine left; if that is -1 halt out of gas, if -2 give up with the code."""
        self._unless_negative(left, code, self.b.fresh("settled"))
        self.gas = left

    def copy_padded(self, source: Field, length: Field, operands: Sequence[Value]) -> None:
        """Copy (memory offset, source offset, size) from a buffer of the frame, zeros beyond its end."""
        to, start, size = operands
        target, count = self.memrange(to, size)
        self.charge_size(count)
        self.b.do(
            f"call void @copy_padded(ptr {target}, ptr {self.pointer(source)}, i64 {self.field(length)}, "
            f"i64 {self.saturated(start)}, i64 {count})"
        )


def signed(value: int) -> int:
    """A word read as two's complement.

    >>> signed(2**256 - 1)
    -1
    """
    return value - 2**256 if value >> 255 else value


def wrapped(value: int) -> int:
    """Modulo 2**256."""
    return value & UINT256_MAX
