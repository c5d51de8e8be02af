"""Emits one compiled function: straight code from an entry point on, with side exits.

Whatever compiled code does not do itself it leaves to the interpreter with the state as it was before the
opcode: exceptional halts, memory that needs a larger buffer, guards of a segment that fail. So gas, halting
reason and output are the interpreter's in every case. Python never runs in a function: all registers it reads
but the memory's size stay the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from vm.evm.convention import code_function, go_on, indexed_function, is_halted
from vm.evm.emitter import Emitter, Value, Word
from vm.evm.emitters import EMITTERS
from vm.evm.jit.program import Operation, Segment, SegmentedCode
from vm.evm.jit.stack import Changes, VirtualStack
from vm.evm.layout import STACK_END, STACK_OFFSET, WORD_BYTES, Exit, Field
from vm.evm.opcodes import Opcode
from vm.limits import MEMORY_BYTES
from vm.message import Halt

FUNCTION_OPCODES_MAX = 128
UNWRITTEN_WORDS_MAX = 24
"""A longer run of opcodes, or one with more words to write at every side exit, goes on in another function:
compile time would grow with the square."""

FOLLOWED_OPCODES_MAX = 48
FOLLOWED_WORDS_MAX = 8
"""Where a function with more opcodes or unwritten words comes to a JUMPDEST, it goes on in that one's function instead
of repeating it. With twice as many, objects grow by another half and nothing measured runs faster by more than 7 %."""

GUARDED_GAS_MAX = 3_000
"""Most gas that is looked for at once: with less, a frame is interpreted, though it may not need as much."""


class _SideExit(NamedTuple):
    """Leaving to the interpreter: where, and what the registers and the stack are there."""

    label: str
    callee: str
    pc: int
    height: int
    changes: Changes
    gas: Word
    prepaid: int
    """Gas of opcodes that were paid for but not reached."""


@dataclass(slots=True)
class _Guard:
    """A check whose amounts are known when the function ends."""

    holds: str
    """Name of its i1."""
    before: Word
    """Gas there."""
    place: int
    """Line of its branch."""
    gas: int = 0


class Linker(Protocol):
    """Knows the other functions of the module."""

    wanted: frozenset[int]
    """JUMPDESTs with a function of their own; the others are only passed through."""

    may_follow: bool
    """Whether the function being made is to repeat code of others."""

    def function_at(self, pc: int) -> str | None:
        """Symbol of the function that begins at ``pc``, None if that is not to be compiled."""

    def followed(self, pc: int) -> None:
        """The function repeats the code at a JUMPDEST."""

    def returns_to(self, pc: int) -> None:
        """The function leaves the place of a JUMPDEST on the stack."""

    def continuation_at(self, pc: int) -> str:
        """Symbol of a function that goes on at ``pc``, which is made if need be."""

    def resumes_at(self, pc: int) -> None:
        """Python will carry out an opcode and come back at ``pc``."""

    def exit(self, code: int) -> str:
        """Symbol of what leaves with a code, to Python if need be."""


class BlockEmitter(Emitter):
    """One function."""

    def __init__(self, program: SegmentedCode, start: int, linker: Linker) -> None:
        super().__init__(program.fork)
        self._program = program
        self._start = start
        self._linker = linker
        self._stack = VirtualStack(self.b)
        self._fields: dict[tuple[Field, str], str] = {}
        self._conditions: dict[str, str] = {}
        """Words that are 0 or 1 -> the i1 they were made of."""
        self._side_exits: list[_SideExit] = []
        self._guards: list[_Guard] = []
        self._needs = self._grows = 0
        """Words that the whole function needs on the stack, and that it may come to push."""
        self._gas_paid: Word = ""
        """Gas left behind the static price of the last segment: unless that is all that was paid, nothing is known."""
        self._proven_memory = 0
        self._ended = False
        self._passed = {start}
        """Places that the function began or followed a jump at: no code is in it twice."""
        self._followed: int | None = None
        """Where the code after the jump just emitted is."""
        self._may_follow = linker.may_follow
        """False in what a condition leads to where the function goes on the other way."""
        self._operation = Operation(start, program.at(start).row, 0)
        self._height_before = 0
        self._gas_before: Word = "%gas"
        self._prepaid = 0
        self._failure_label: str | None = None
        self.operations = 0

    @property
    def row(self) -> Opcode:
        return self._operation.row

    # The function

    def function(self, symbol: str) -> str:
        """The function's text."""
        pc, arrived = self._start, True
        self.b.place("begin")
        self.b.do("%base = getelementptr i8, ptr %frame, i64 %sp")
        while not self._ended:
            if not arrived and pc in self._linker.wanted and not self._follows(pc):
                self._go_to(pc)
            elif not arrived and self._is_long():
                self._leave(self._linker.continuation_at(pc), pc)
            else:
                self._followed = None
                pc = self._emit_segment(self._program.segment(pc, self._linker.wanted))
                arrived = self._followed is not None
                pc = pc if self._followed is None else self._followed
        for side in self._side_exits:
            self._emit_side_exit(side)
        self._write_guards()
        return code_function(symbol, self.b, "nounwind noimplicitfloat")

    def _is_long(self) -> bool:
        unwritten = len(self._stack.changes(self._stack.height))
        return self.operations >= FUNCTION_OPCODES_MAX or unwritten > UNWRITTEN_WORDS_MAX

    def _emit_segment(self, segment: Segment) -> int:
        self._guard(segment)
        left = segment.gas
        for operation in segment.operations:
            self.operations += 1
            self._operation = operation
            self._height_before = self._stack.height
            self._gas_before = self.gas
            self._prepaid = left
            self._failure_label = None
            left -= operation.row.gas
            EMITTERS[operation.row.name](self)
            if operation.row.name == "INVALID":
                self._ended = True
            if self._ended:
                break
        return segment.operations[-1].next_pc

    def _follows(self, pc: int) -> bool:
        """Whether the code at a JUMPDEST is repeated in this function, which saves writing and reading the stack.

        Where a program calls a function of its own, the place it returns to is then a constant, and so followed too.
        """
        is_long = self.operations + self._program.run_of(pc) > FOLLOWED_OPCODES_MAX
        is_deep = len(self._stack.changes(self._stack.height)) > FOLLOWED_WORDS_MAX
        if not self._may_follow or pc in self._passed or is_long or is_deep:
            return False
        self._passed.add(pc)
        self._linker.followed(pc)
        return True

    def _guard(self, segment: Segment) -> None:
        """Check gas and stack bounds of a segment, and pay for it.

        The first guard checks the stack for all of the function, and each guard the gas for all segments up to the next
        opcode whose price is not constant: what a later segment lacks is found out before anything is to be written.
        """
        height = self._stack.height
        self._needs = max(self._needs, segment.needs - height)
        self._grows = max(self._grows, segment.grows + height)
        guarded = self._guards[-1] if self._guards else None
        if guarded is None or self.gas != self._gas_paid or guarded.gas + segment.gas > GUARDED_GAS_MAX:
            guarded = _Guard(self.b.fresh("enough"), self.gas, len(self.b.lines))
            self._guards.append(guarded)
            label, onward = self.b.fresh("retry"), self.b.fresh("ok")
            changes = self._stack.changes(height)
            side = _SideExit(label, "@retry", segment.operations[0].pc, height, changes, self.gas, 0)
            self._side_exits.append(side)
            self.b.do(f"br i1 %{guarded.holds}, label %{onward}, label %{label}, !prof !0")
            self.b.place(onward)
        guarded.gas += segment.gas
        if segment.gas:
            self.gas = self.let(f"sub i64 {self.gas}, {segment.gas}")
        self._gas_paid = self.gas

    def _write_guards(self) -> None:
        """Put the conditions before the branches, now that all they are to cover is known."""
        for guard in reversed(self._guards):
            conditions = [f"icmp uge i64 {guard.before}, {guard.gas}"] if guard.gas else []
            if guard is self._guards[0]:
                if self._needs:
                    conditions.append(f"icmp uge i64 %sp, {STACK_OFFSET + WORD_BYTES * self._needs}")
                if self._grows:
                    conditions.append(f"icmp ule i64 %sp, {STACK_END - WORD_BYTES * self._grows}")
            names = [f"%{guard.holds}.{i}" for i in range(len(conditions))]
            lines = [f"  {name} = {condition}" for name, condition in zip(names, conditions, strict=True)]
            holds = "true"
            for i, name in enumerate(names):
                both = f"%{guard.holds}" if i == len(names) - 1 else f"%{guard.holds}.all{i}"
                lines.append(f"  {both} = and i1 {holds}, {name}")
                holds = both
            if not names:
                lines.append(f"  %{guard.holds} = and i1 true, true")
            self.b.lines[guard.place : guard.place] = lines

    def _emit_side_exit(self, side: _SideExit) -> None:
        self.b.place(side.label)
        self._stack.write(side.changes)
        gas = self.let(f"add i64 {side.gas}, {side.prepaid}") if side.prepaid else side.gas
        self._tail(side.callee, side.height, gas, side.pc)

    # Leaving

    def _tail(self, callee: str, height: int, gas: Word, pc: int) -> None:
        sp = self.let(f"add i64 %sp, {WORD_BYTES * height}") if height else "%sp"
        ip = self.let(f"getelementptr i8, ptr %ip, i64 {pc - self._start}") if pc != self._start else "%ip"
        go_on(self.b, callee, sp=sp, gas=gas, ip=ip)

    def _leave(self, callee: str, pc: int) -> None:
        """End the function by going on at ``pc``."""
        self._write_stack(self._stack.height)
        self._tail(callee, self._stack.height, self.gas, pc)
        self._ended = True

    def _write_stack(self, height: int) -> None:
        """Bring the words below ``height`` into memory; the function must be left afterwards."""
        changes = self._stack.changes(height)
        for _, item in changes:
            if isinstance(item, int) and item in self._program.targets:
                self._linker.returns_to(item)
        self._stack.write(changes)

    def _go_to(self, pc: int) -> None:
        """Go on at a JUMPDEST, compiled or not."""
        callee = self._linker.function_at(pc)
        self._leave(callee or self._indexed(self._program.targets[pc]), pc)

    def _indexed(self, index: int | str) -> str:
        return indexed_function(self.b, index, self.pointer(Field.FUNCTIONS))

    def _look_for_halt(self) -> None:
        """Leave to the table if the execution is to end: every loop passes here, and the table may not be used."""
        self.require(self.let(f"xor i1 {is_halted(self.b)}, true"), Exit.STOPPED)

    def jump(self, target: Value) -> None:
        if not isinstance(target, int) or target <= self._operation.pc:
            self._look_for_halt()
        if isinstance(target, int):
            if target not in self._program.targets:
                self.b.do(f"br label %{self.failure(Halt.INVALID_JUMP)}")
                self._ended = True
            elif self._follows(target):
                self._followed = target
            else:
                self._go_to(target)
            return
        length = len(self._program.code)
        self.require(self.let(f"icmp ult i256 {target}, {length}"), Halt.INVALID_JUMP)
        offset = self.truncated(target)
        cell = self.let(f"getelementptr i16, ptr {self.pointer(Field.TARGETS)}, i64 {offset}")
        place = self.let(f"zext i16 {self.let(f'load i16, ptr {cell}')} to i64")
        callee = self._indexed(place)
        height = self._stack.height
        self._write_stack(height)
        code = self.let(f"getelementptr i8, ptr %ip, i64 {-self._start}")
        ip = self.let(f"getelementptr i8, ptr {code}, i64 {offset}")
        sp = self.let(f"add i64 %sp, {WORD_BYTES * height}") if height else "%sp"
        go_on(self.b, callee, sp=sp, gas=self.gas, ip=ip)
        self._ended = True

    def jumpi(self, target: Value, condition: Value) -> None:
        if isinstance(condition, int):
            if condition:
                self.jump(target)
            return
        taken, onward = self.b.fresh("taken"), self.b.fresh("onward")
        if condition in self._conditions:
            self.b.branch(self._conditions[condition], taken, onward)
        else:
            self.b.branch(self.is_zero(condition), onward, taken)
        behind = self._operation.next_pc
        if isinstance(target, int) and self._program.fails_at(behind):
            # What only fails is left to the interpreter, and the function goes on at the target.
            height = self._stack.height
            changes = self._stack.changes(height)
            self._side_exits.append(_SideExit(onward, "@defer", behind, height, changes, self.gas, 0))
            self.b.place(taken)
            self.jump(target)
            return
        stack, fields, gas = self._stack.fork(), dict(self._fields), self.gas
        self.b.place(taken)
        self._may_follow = False
        self.jump(target)
        self._stack.join(stack)
        self._fields, self.gas, self._ended = fields, gas, False
        self._may_follow = self._linker.may_follow
        self._failure_label = None
        self.b.place(onward)

    def exit(self, halt: Halt) -> None:
        # Nobody looks at the stack of a frame that has ended.
        self._tail(self._linker.exit(halt), self._stack.height, self.gas, self._operation.pc)
        self._ended = True

    def host(self) -> None:
        self._to_host()
        self._linker.resumes_at(self._operation.next_pc)
        self._ended = True

    def host_unless(self, condition: str) -> None:
        leave, onward = self.b.fresh("leave"), self.b.fresh("onward")
        self.b.do(f"br i1 {condition}, label %{onward}, label %{leave}, !prof !0")
        self.b.place(leave)
        self._to_host()
        self.b.place(onward)

    def _to_host(self) -> None:
        operation, row = self._operation, self._operation.row
        # The operands were popped but lie above the new top: Python reads them there.
        self._write_stack(self._height_before)
        height = self._height_before + row.pushes - row.pops
        self._tail(self._linker.exit(Exit.HOST + row.byte), height, self.gas, operation.next_pc)

    def failure(self, code: Halt | Exit) -> str:  # noqa: ARG002 - the interpreter finds the reason
        if self._failure_label is None:
            self._failure_label = self.b.fresh("defer")
            self._side_exits.append(
                _SideExit(
                    self._failure_label,
                    "@defer",
                    self._operation.pc,
                    self._height_before,
                    self._stack.changes(self._height_before),
                    self._gas_before,
                    self._prepaid,
                )
            )
        return self._failure_label

    # Stack, registers, memory

    def pop(self) -> Value:
        return self._stack.pop()

    def push(self, value: Value) -> None:
        self._stack.push(value)

    def drop(self) -> None:
        self._stack.drop()

    def dup(self, n: int) -> None:
        self._stack.dup(n)

    def swap(self, n: int) -> None:
        self._stack.swap(n)

    def immediate(self, size: int) -> Value:  # noqa: ARG002 - the operation knows
        return self._operation.value

    def pc(self) -> Value:
        return self._operation.pc

    def push_bool(self, condition: str) -> None:
        word = self.let(f"zext i1 {condition} to i256")
        self._conditions[word] = condition
        self.push(word)

    def is_zero(self, value: Value) -> str:
        if value in self._conditions:
            return self.let(f"xor i1 {self._conditions[str(value)]}, true")
        return super().is_zero(value)

    def _register(self, field: Field, kind: str) -> str:
        if (field, kind) not in self._fields:
            self._fields[field, kind] = self.let(f"load {kind}, ptr {self.field_pointer(field)}")
        return self._fields[field, kind]

    def field(self, field: Field) -> str:
        return self._register(field, "i64")

    def pointer(self, field: Field) -> str:
        return self._register(field, "ptr")

    def memranges(self, *ranges: tuple[Value, Value]) -> list[tuple[str, Word]]:
        if len(ranges) == 1:
            return [self._inside(*ranges[0], may_grow=True)]
        # Growth is paid for once: an opcode with two ranges that grows leaves it to the interpreter.
        return [self._inside(offset, length) for offset, length in ranges]

    def _inside(self, offset: Value, length: Value, *, may_grow: bool = False) -> tuple[str, Word]:
        """A range that lies in the memory as it is, or after growing; to the interpreter with all others."""
        if isinstance(length, int) and 0 < length <= MEMORY_BYTES and not isinstance(offset, int):
            size = room = self.field(Field.MEMORY_SIZE)
            if length > 1:
                room = self.let(f"call i64 @llvm.usub.sat.i64(i64 {size}, i64 {length - 1})")
            limit = self.let(f"zext i64 {room} to i256")
            fits = self.let(f"icmp ult i256 {offset}, {limit}")
            start: Word = self.truncated(offset)
            reach: Word = length
            if may_grow:
                near = self.let(f"icmp ule i256 {offset}, {MEMORY_BYTES}")
                self._grow_unless(fits, near, self.let(f"add i64 {start}, {length}"))
            else:
                self.require(fits, Exit.GROW)
        else:
            start, reach = self._range(offset, length)
            end = self._range_end(start, reach, length)
            if not isinstance(end, int) or end > self._proven_memory:
                fits = self.let(f"icmp uge i64 {self.field(Field.MEMORY_SIZE)}, {end}")
                if may_grow:
                    self._grow_unless(fits, "true", end)
                else:
                    self.require(fits, Exit.GROW)
            if isinstance(end, int):
                self._proven_memory = max(self._proven_memory, (end + 31) // 32 * 32)
        memory = self.pointer(Field.MEMORY)
        return self.let(f"getelementptr i8, ptr {memory}, i64 {start}"), reach

    def _grow_unless(self, fits: str, near: str, end: Word) -> None:
        """Make the memory reach ``end`` and pay for it, unless it fits; if not ``near`` it cannot."""
        size, before = self.field(Field.MEMORY_SIZE), self.b.fresh("before")
        grow, ask, grown, onward = (self.b.fresh(x) for x in ("grow", "ask", "grown", "reached"))
        self.b.do(f"br label %{before}")
        self.b.place(before)
        self.b.do(f"br i1 {fits}, label %{onward}, label %{grow}, !prof !0")
        self.b.place(grow)
        self.b.branch(near, ask, self.failure(Exit.GROW))
        self.b.place(ask)
        left = self.let(f"call i64 @expand(ptr %frame, i64 {end}, i64 {self.gas})")
        self.b.branch(self.let(f"icmp sge i64 {left}, 0"), grown, self.failure(Exit.GROW))
        self.b.place(grown)
        larger = self.let(f"load i64, ptr {self.field_pointer(Field.MEMORY_SIZE)}")
        self.b.do(f"br label %{onward}")
        self.b.place(onward)
        self.gas = self.let(f"phi i64 [ {self.gas}, %{before} ], [ {left}, %{grown} ]")
        after = self.let(f"phi i64 [ {size}, %{before} ], [ {larger}, %{grown} ]")
        self._fields[Field.MEMORY_SIZE, "i64"] = after
        # Should the opcode fail now, the interpreter repeats it with the growth done and paid for.
        self._gas_before, self._failure_label = self.gas, None
