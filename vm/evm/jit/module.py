"""Gathers the compiled functions of one contract into the text of a module, and says what it exports."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from chain.forks import Fork
from vm.evm.convention import (
    INTERPRET,
    code_function,
    exit_function,
    get_field,
    go_on,
    indexed_function,
    routines_before_python,
)
from vm.evm.jit.emitter import BlockEmitter
from vm.evm.jit.program import SegmentedCode
from vm.evm.layout import Field
from vm.evm.routines.compiled import symbols
from vm.ir.builder import Builder

OPCODES_MAX: Final = 30_000
"""Opcodes compiled of one contract at once; the rest stays interpreted."""

BEGIN_FUNCTIONS_MAX: Final = 8
"""Functions made of the straight code that runs once a call: fetching more of it costs more than interpreting."""

_INTRINSICS: Final = """
declare i64 @llvm.usub.sat.i64(i64, i64)
declare i64 @llvm.umax.i64(i64, i64)
declare i256 @llvm.bswap.i256(i256)
declare i256 @llvm.ctlz.i256(i256, i1)
declare i256 @llvm.abs.i256(i256, i1)
declare i256 @llvm.umin.i256(i256, i256)
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
"""


class Compilation(NamedTuple):
    """A module's text and figures."""

    ir: str
    functions: int
    operations: int


class ModuleBuilder:
    """Compiles the entry points asked for and, with them, where Python returns to from inside them."""

    def __init__(self, program: SegmentedCode, jumpdests: Iterable[int], *, with_begin: bool) -> None:
        self._program = program
        self.wanted = frozenset(pc for pc in jumpdests if pc in program.targets)
        self.may_follow = True
        self._followed: set[int] = set()
        """JUMPDESTs whose code other functions repeat."""
        self._next = [0] if with_begin else []
        """Places that control comes to from functions that repeat code: they do it too."""
        self._waiting = sorted(self.wanted, reverse=True)
        self._last: list[int] = []
        """Places that others' code is repeated for, if ever they are reached, only up to the next JUMPDEST."""
        self._done: dict[int, str] = {}
        self._referenced: set[int] = set()
        self._exits: set[int] = set()
        self._operations = 0
        self._current = 0
        self._once = {0} - self.wanted
        """Places that run at most once a call."""
        self._runs: dict[int, int] = {}
        """How many functions may still follow on such a place."""

    # What `vm.evm.jit.emitter.Linker` asks for

    def function_at(self, pc: int) -> str | None:
        """Symbol of the JUMPDEST's function if it is compiled."""
        if pc not in self.wanted:
            return None
        self._referenced.add(pc)
        self._come_to(pc)
        return f"@at{pc}"

    def followed(self, pc: int) -> None:
        """Its own function is wanted only if something else leads there."""
        self._followed.add(pc)

    def returns_to(self, pc: int) -> None:
        """Control will come there."""
        if pc in self.wanted:
            self._come_to(pc)

    def continuation_at(self, pc: int) -> str:
        """Symbol of the function at a place that nobody else enters."""
        run = self._runs.get(self._current, BEGIN_FUNCTIONS_MAX)
        if run:
            self._runs[pc] = run - (self._current in self._once)
            if self._current in self._once:
                self._once.add(pc)
            self._come_to(pc)
        self._referenced.add(pc)
        return f"@at{pc}"

    def resumes_at(self, pc: int) -> None:
        """Compile what follows an opcode of Python's."""
        self._come_to(pc)

    def exit(self, code: int) -> str:
        """Symbol of what leaves with a code, to Python if need be."""
        routine = routines_before_python(self._program.fork).get(code)
        if routine is not None:
            return f"@{routine}"
        self._exits.add(code)
        return f"@exit{code}"

    def _choose(self) -> int | None:
        """The place of the next function, and whether it is to repeat the code of others."""
        for places, may_follow in ((self._next, True), (self._waiting, True), (self._last, False)):
            while places:
                pc = places.pop()
                if pc in self._done:
                    continue
                if places is self._waiting and pc in self._followed:
                    self._last.append(pc)
                    continue
                self.may_follow = may_follow
                return pc
        return None

    def _come_to(self, pc: int) -> None:
        (self._next if self.may_follow else self._last).append(pc)

    # The module

    def build(self) -> Compilation:
        """The whole text."""
        while self._operations < OPCODES_MAX and (pc := self._choose()) is not None:
            self._current = pc
            emitter = BlockEmitter(self._program, pc, self)
            self._done[pc] = emitter.function(f"at{pc}")
            self._operations += emitter.operations
        missing = self._referenced - self._done.keys()
        exported = [
            (index, pc)
            for points in (self._program.targets, self._program.entries)
            for pc, index in points.items()
            if pc in self._done
        ]
        text = "".join(
            (
                _INTRINSICS,
                *symbols(self._program.fork).values(),
                *(exit_function(code) for code in sorted(self._exits)),
                *self._done.values(),
                *(self._stub(pc) for pc in sorted(missing)),
                _exports(exported),
                '!0 = !{!"branch_weights", i32 10000, i32 1}\n',
            )
        )
        return Compilation(text, len(self._done), self._operations)

    def _stub(self, pc: int) -> str:
        """What stands for a function that found no room: go on where the entry table says."""
        index = self._program.targets.get(pc, INTERPRET)
        b = Builder()
        go_on(b, indexed_function(b, index, get_field(b, Field.FUNCTIONS, "ptr")))
        return code_function(f"at{pc}", b)


def _exports(exported: list[tuple[int, int]]) -> str:
    """The table the loader reads: first how many, then index and address of each."""
    pairs = "".join(f", {{i64, ptr}} {{i64 {index}, ptr @at{pc}}}" for index, pc in exported)
    kind = f"[{len(exported) + 1} x {{i64, ptr}}]"
    return f"@exports = constant {kind} [{{i64, ptr}} {{i64 {len(exported)}, ptr null}}{pairs}]\n"


def compile_ir(code: bytes, fork: Fork, hot: Collection[int] | None) -> Compilation:
    """The module of a contract: the JUMPDESTs in ``hot`` and the begin if 0 is among them; all without it.

    JUMPDESTs nobody pushes are left out then: they are data or never used.
    """
    program = SegmentedCode(code, fork)
    if hot is not None:
        return ModuleBuilder(program, hot, with_begin=0 in hot).build()
    return ModuleBuilder(program, program.pushed, with_begin=True).build()
