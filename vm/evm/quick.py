"""A message that calls one contract, which calls nobody: without journal, execution and settlement around it.

Most calls read a few slots and return or revert. They need a frame, native code, and slots from the state; the rest of
an execution is bookkeeping for what they do not do. Whatever else such a call turns out to want, it is given up,
nothing having changed, and an `vm.evm.execution.Execution` runs it from the beginning.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from chain.forks import Fork
from chain.state import StateReader
from vm.code import Code
from vm.evm.fork_runtime import ForkRuntime
from vm.evm.frame_pool import FramePool
from vm.evm.jit.entry_table import NO_ENTRIES
from vm.evm.layout import Exit, Field, StateBlock
from vm.evm.native_state.state import LOADS_BEFORE_ASKING
from vm.interruption import Interruption
from vm.message import Halt, Message

_GAS: Final = int(Field.GAS)
_SP: Final = int(Field.SP)
_TAG: Final = int(Field.STORAGE_TAG)
_JOURNALED: Final = int(Field.IS_JOURNALED)
_DEPTH: Final = StateBlock.DEPTH // 8
_REFUND: Final = StateBlock.REFUND // 8
_GROW: Final = int(Exit.GROW)
_SLOT: Final = int(Exit.SLOT)
_STOPPED: Final = int(Exit.STOPPED)
_RETURN: Final = int(Halt.RETURN)
_STOP: Final = int(Halt.STOP)
_REVERT: Final = int(Halt.REVERT)
_FAILURES: Final = {int(halt): halt for halt in Halt if halt.is_exceptional}


class QuickOutcome(NamedTuple):
    """The end of a message."""

    halt: Halt
    output: bytes
    gas_left: int
    refund: int
    """The refund counter; 0 for a message that failed, because nothing of it stays."""


class QuickRun:
    """Runs such messages on one thread's pool; an `vm.interruption.Interruptible`."""

    __slots__ = ("_pool", "_runtime", "_tables")

    def __init__(self, runtime: ForkRuntime, pool: FramePool) -> None:
        self._runtime = runtime
        self._pool = pool
        self._tables = pool.tables_of(runtime.interpreter)

    def halt(self) -> None:
        """See `vm.interruption.Interruptible`."""
        self._tables.halt()

    def held_bytes(self) -> int:
        """See `vm.interruption.Interruptible`."""
        return self._pool.memory_bytes

    def run(
        self, message: Message, code: Code, environment: bytes, state: StateReader, interruption: Interruption | None
    ) -> QuickOutcome | None:
        """The outcome if the message ended by itself, None to run it in full. ``environment`` as for frames.

        Raises the reason if it is stopped.
        """
        if interruption is None:
            return self._run(message, code, environment, state)
        interruption.enter(self)
        try:
            outcome = self._run(message, code, environment, state)
            if outcome is None:
                interruption.check()
            return outcome
        finally:
            interruption.leave(self)

    def _run(self, message: Message, code: Code, environment: bytes, state: StateReader) -> QuickOutcome | None:
        pool, tables, native = self._pool, self._tables, self._pool.native_state
        tier = self._runtime.tier
        entries = None if tier is None else tier.entry_table_of(code)
        native.begin(())
        native.forget_balance()
        frame = pool.frame_at(0)
        frame.entry_table = entries
        try:
            frame.start(
                message,
                code,
                message.data,
                tables.plain if entries is None else tables.jit,
                tables.plain,
                0,
                environment,
                native.registers(message.to),
                NO_ENTRIES if entries is None else entries.addresses,
            )
            words, enter, loads = frame.words, self._runtime.interpreter.resume, 0
            has_access_lists = self._runtime.fork >= Fork.BERLIN
            native.header[_DEPTH] = 1
            while True:
                words[_JOURNALED] = 0
                ended = enter(frame.address)
                if ended == _SLOT and loads < LOADS_BEFORE_ASKING:
                    loads += 1
                    at = words[_SP] - 32
                    key = bytes(frame.view[at : at + 32])
                    slot = int.from_bytes(key, "little")
                    value = state.storage(message.to, slot).to_bytes(32, "little")
                    native.bring_in(frame, words[_TAG], key, value, value, has_access_lists)
                elif ended != _GROW or not pool.grow(frame):
                    break
            if ended == _RETURN:
                return QuickOutcome(Halt.RETURN, frame.result(), words[_GAS], native.header[_REFUND])
            if ended == _REVERT:
                return QuickOutcome(Halt.REVERT, frame.result(), words[_GAS], 0)
            if ended in _FAILURES:
                return QuickOutcome(_FAILURES[ended], b"", 0, 0)
            return QuickOutcome(Halt.STOP, b"", words[_GAS], native.header[_REFUND]) if ended == _STOP else None
        finally:
            tables.restore()
            native.discard()
            frame.finish()
            pool.tidy()
