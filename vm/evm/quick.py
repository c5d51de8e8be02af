"""A message that calls one contract, which calls nobody: without an execution around its frame.

Most calls read a few slots and return or revert, most transactions write some as well. They need a frame, native code,
and slots from the state or the journal; the rest of an execution is bookkeeping for what they do not do. Whatever else
such a message turns out to want, it is given up, nothing having changed, and an `vm.evm.execution.Execution` runs it
from the beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from chain.forks import BERLIN
from chain.state import StateReader
from chain.types import Hash32
from vm.code import Code
from vm.evm.fork_runtime import ForkRuntime
from vm.evm.frame import Frame
from vm.evm.frame_pool import FramePool
from vm.evm.jit.entry_table import NO_ENTRIES
from vm.evm.layout import Exit, Field, StateBlock
from vm.evm.native_state.state import LOADS_BEFORE_ASKING
from vm.interruption import Interruption
from vm.journal import Journal
from vm.message import Halt, Message, Outcome

T = TypeVar("T")

_GAS: Final = int(Field.GAS)
_SP: Final = int(Field.SP)
_TAG: Final = int(Field.STORAGE_TAG)
_JOURNALED: Final = int(Field.IS_JOURNALED)
_DEPTH: Final = StateBlock.DEPTH // 8
_REFUND: Final = StateBlock.REFUND // 8
_HOST: Final = int(Exit.HOST)
_GROW: Final = int(Exit.GROW)
_SLOT: Final = int(Exit.SLOT)
_TRANSIENT: Final = int(Exit.TRANSIENT)
_LACKS_SLOT: Final = (_SLOT, _TRANSIENT)
_RETURN: Final = int(Halt.RETURN)
_STOP: Final = int(Halt.STOP)
_REVERT: Final = int(Halt.REVERT)
_HALTS: Final[dict[int, Halt]] = {int(halt): halt for halt in Halt}


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
        return self._stopped_by(interruption, self._run, message, code, environment, state)

    def _stopped_by(self, stop: Interruption | None, attempt: Callable[..., T | None], *given: Any) -> T | None:
        """The attempt's outcome. Raises the reason if it is stopped."""
        if stop is None:
            return attempt(*given)
        stop.enter(self)
        try:
            outcome = attempt(*given)
            if outcome is None:
                stop.check()
            return outcome
        finally:
            stop.leave(self)

    def _run(self, message: Message, code: Code, environment: bytes, state: StateReader) -> QuickOutcome | None:
        native = self._pool.native_state
        native.begin(())
        frame = self._frame(message, code, environment)
        try:
            words, enter, loads = frame.words, self._runtime.interpreter.resume, 0
            has_access_lists = self._runtime.fork >= BERLIN
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
                elif ended != _GROW or not self._pool.grow(frame):
                    break
            if ended == _RETURN:
                return QuickOutcome(Halt.RETURN, frame.result(), words[_GAS], native.header[_REFUND])
            if ended == _REVERT:
                return QuickOutcome(Halt.REVERT, frame.result(), words[_GAS], 0)
            if ended == _STOP:
                return QuickOutcome(Halt.STOP, b"", words[_GAS], native.header[_REFUND])
            halt = _HALTS.get(ended)
            return None if halt is None or not halt.is_exceptional else QuickOutcome(halt, b"", 0, 0)
        finally:
            self._clear(frame)

    def _frame(self, message: Message, code: Code, environment: bytes) -> Frame:
        """The outermost frame at the beginning of the message, and the native state ready for it."""
        tables, native, tier = self._tables, self._pool.native_state, self._runtime.tier
        entries = None if tier is None else tier.entry_table_of(code)
        native.forget_balance()
        frame = self._pool.frame_at(0)
        frame.entry_table = entries
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
        native.header[_DEPTH] = 1
        return frame

    def _clear(self, frame: Frame) -> None:
        self._tables.restore()
        self._pool.native_state.discard()
        frame.finish()
        self._pool.tidy()


class QuickExecution(QuickRun):
    """Runs such messages of a transaction, whose changes go to its journal; an `vm.interruption.Interruptible`."""

    __slots__ = ("_journal",)

    def __init__(self, runtime: ForkRuntime, pool: FramePool, journal: Journal) -> None:
        super().__init__(runtime, pool)
        self._journal = journal

    def held_bytes(self) -> int:
        """See `vm.interruption.Interruptible`."""
        return super().held_bytes() + self._journal.held_bytes()

    def execute(
        self, message: Message, code: Code, environment: bytes, hashes: tuple[Hash32, ...], stop: Interruption | None
    ) -> Outcome | None:
        """The outcome if the message ended by itself; None, the journal as it was, to execute it in full.

        The caller can pay the value. ``hashes`` of the transaction's blobs; ``environment`` as for frames. Raises the
        reason if it is stopped; the journal is then of no more use.
        """
        return self._stopped_by(stop, self._execute, message, code, environment, hashes)

    def _execute(
        self, message: Message, code: Code, environment: bytes, hashes: tuple[Hash32, ...]
    ) -> Outcome | None:
        journal, native = self._journal, self._pool.native_state
        checkpoint = journal.checkpoint()
        journal.transfer(message.caller, message.to, message.value)
        native.begin(hashes)
        frame = self._frame(message, code, environment)
        try:
            ended = self._enter(frame, journal.checkpoint() != checkpoint)
            halt = _HALTS.get(ended)
            if halt is None or not halt.is_success:
                journal.revert(checkpoint)
            else:
                native.flush_to_journal(journal, [])
            if halt is None:
                return None
            output = frame.result() if ended in (_RETURN, _REVERT) else b""
            return Outcome(halt, 0 if halt.is_exceptional else frame.words[_GAS], output)
        finally:
            self._clear(frame)

    def _enter(self, frame: Frame, is_journaled: bool) -> int:
        """Run until something else is wanted than a slot or memory; why it left."""
        words, enter = frame.words, self._runtime.interpreter.resume
        native, journal = self._pool.native_state, self._journal
        address, has_access_lists = frame.message.to, self._runtime.fork >= BERLIN
        while True:
            words[_JOURNALED] = is_journaled
            ended = enter(frame.address)
            if ended in _LACKS_SLOT:
                if native.is_full:
                    return _HOST
                at, tag = words[_SP] - 32, words[_TAG]
                key = bytes(frame.view[at : at + 32])
                slot = int.from_bytes(key, "little")
                if ended == _TRANSIENT:
                    raw = journal.transient(address, slot).to_bytes(32, "little")
                    native.bring_in(frame, tag + 1, key, raw, raw, cold=False)
                    continue
                value, original, is_cold = journal.slot_state(address, slot)
                raw = value.to_bytes(32, "little")
                before = raw if original == value else original.to_bytes(32, "little")
                native.bring_in(frame, tag, key, raw, before, is_cold and has_access_lists)
                if has_access_lists:
                    native.count_load(frame, tag, journal)
            elif ended != _GROW:
                return ended
            elif not self._pool.grow(frame):
                return int(Halt.OUT_OF_GAS)
