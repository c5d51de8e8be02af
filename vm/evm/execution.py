"""Executes one tree of messages as a list of frames, without recursion."""

from __future__ import annotations

from typing import Final, Protocol

from chain.forks import Fork
from chain.state import EMPTY_CODE_HASH
from chain.types import Address
from vm.code import Code
from vm.context import ExecutionContext
from vm.evm.faults import fault_words, words_of
from vm.evm.fork_runtime import ForkRuntime
from vm.evm.frame import Frame
from vm.evm.frame_pool import FramePool
from vm.evm.host import storage
from vm.evm.host.calls import run_precompile
from vm.evm.host.creates import deploy
from vm.evm.jit.entry_table import NO_ENTRIES
from vm.evm.layout import Exit, Field, StateBlock
from vm.evm.pricing import Pricing
from vm.evm.trace import Tracer
from vm.interruption import Interruption
from vm.limits import GAS_MAX
from vm.message import CREATES, CallKind, Halt, Message, Outcome

_GAS: Final = int(Field.GAS)
_SP: Final = int(Field.SP)
_STEPS: Final = int(Field.STEPS)
_TABLE: Final = int(Field.TABLE)
_JOURNALED: Final = int(Field.IS_JOURNALED)
_KNOWN: Final = int(Field.IS_KNOWN)
_DEPTH: Final = StateBlock.DEPTH // 8
_HOST: Final = int(Exit.HOST)
_GROW: Final = int(Exit.GROW)
_SLOT: Final = int(Exit.SLOT)
_TRANSIENT: Final = int(Exit.TRANSIENT)
_REPEATED: Final = (_GROW, _SLOT, _TRANSIENT)
_STOPPED: Final = int(Exit.STOPPED)
_STOPS: Final = (int(Exit.STEP), int(Exit.BREAK), _STOPPED)
_STEPS_AT_ONCE: Final = 4_096
"""Opcodes between two checks for an interruption, if no tracer receives each of them."""
_HALTS: Final[dict[int, Halt]] = {int(halt): halt for halt in Halt}


class StepMode(Protocol):
    """Decides where `Execution.step` stops besides its count; `vm.evm.watch` has two implementations."""

    table: int
    """Address of a dispatch table."""

    def arm(self, frame: Frame) -> None:
        """Native code is about to be entered for the frame."""

    def stops(self, execution: Execution, /) -> bool:
        """After an opcode Python carried out or a frame's end: whether to stop here."""


class Execution:
    """Runs one top-level message; a `vm.evm.host.protocol.OpcodeHost` for the opcodes that Python carries out.

    Owns the list of frames; borrows the journal of its context, and frames and native state of its pool until `close`.
    Used by one thread.
    """

    __slots__ = (
        *("_has_flushed", "is_native", "_pool", "_table", "_tables", "code_bytes_max", "codes", "context"),
        *("environment", "fork", "frames", "has_access_lists", "interruption", "journal", "last_halt"),
        *("native_state", "outcome", "precompiles", "runtime", "steps", "tracer"),
    )

    def __init__(
        self,
        runtime: ForkRuntime,
        context: ExecutionContext,
        environment: bytes,
        pool: FramePool,
        tracer: Tracer | None = None,
    ) -> None:
        self.runtime = runtime
        self.fork = runtime.fork
        self.codes = runtime.codes
        self.code_bytes_max = runtime.code_bytes_max
        self.context = context
        self.journal = context.journal
        self.environment = environment
        self.precompiles = context.journal.precompiles
        self.has_access_lists = runtime.fork >= Fork.BERLIN
        self.frames: list[Frame] = []
        """The frames, the outermost first; the last one is running."""
        self.outcome: Outcome | None = None
        """Set when the outermost message has ended."""
        self.steps = 0
        """Number of opcodes that `step` has run in all frames, including failed ones."""
        self.last_halt = Halt.STOP
        """Result of the message that ended last, until `take_halt` takes it."""
        self.tracer = tracer
        self._pool = pool
        self.is_native = False
        """See `OpcodeHost`."""
        self.native_state = pool.native_state
        """The native state."""
        pool.native_state.begin(context.blob_hashes)
        self._has_flushed = False
        """Whether the journal has anything from the state block, whose slots a failing frame then leaves wrong."""
        self._tables = pool.tables_of(runtime.interpreter)
        self._table = self._tables.plain
        self.interruption: Interruption | None = None
        """Stops `run` from another thread, through `halt` and `held_bytes`."""

    def halt(self) -> None:
        self._tables.halt()

    def held_bytes(self) -> int:
        return self._pool.memory_bytes + self.journal.held_bytes()

    def begin(self, message: Message) -> None:
        """Begin the top-level message; it may end at once. Then `run` or `step`."""
        message.cap_gas(GAS_MAX)
        if message.value and message.transfers_value and self.journal.balance(message.caller) < message.value:
            if self.tracer is not None:
                self.tracer.enter(message)
            why = Halt.INSUFFICIENT_BALANCE
            self._end(message, Outcome(why, message.gas, fault=words_of(why)))
        elif message.kind in CREATES:
            self.begin_create(message)
        else:
            self.begin_call(message)

    def begin_call(self, message: Message) -> None:
        """Move the value and start a frame, or end the message if a precompile or no code is called."""
        journal = self.journal
        if self.tracer is not None:
            self.flush_to_journal()
            self.tracer.enter(message)
        checkpoint = journal.checkpoint()
        if message.kind is CallKind.CALL:
            journal.transfer(message.caller, message.to, message.value)
        elif message.kind is CallKind.STATICCALL:
            journal.touch(message.to)
        if message.code_address in self.precompiles:
            outcome = run_precompile(self.fork, self.precompiles[message.code_address], message)
            if outcome.success:
                journal.commit(checkpoint)
            else:
                journal.revert(checkpoint)
            self._end(message, outcome)
            return
        code = self.code_of(message.code_address)
        if code is not None and code.delegate is not None and self.fork >= Fork.PRAGUE:
            code = self.code_of(code.delegate)
        if code is None:
            journal.commit(checkpoint)
            self._end(message, Outcome(Halt.STOP, message.gas))
            return
        self._push(message, code, message.data, checkpoint)

    def begin_create(self, message: Message) -> None:
        """Claim the address in ``message.to`` and start the init code. The creator's nonce is raised."""
        journal, address = self.journal, message.to
        self.flush_to_journal()
        if self.has_access_lists:
            journal.warm_account(address)
        if self.tracer is not None:
            self.tracer.enter(message)
        account = journal.account(address)
        if account.nonce or account.code_hash != EMPTY_CODE_HASH or journal.has_storage(address):
            self._end(message, Outcome(Halt.CREATE_COLLISION, 0, fault=words_of(Halt.CREATE_COLLISION)))
            return
        self.native_state.forget(address)
        checkpoint = journal.checkpoint()
        journal.create_account(address)
        if self.fork >= Fork.SPURIOUS_DRAGON:
            journal.set_nonce(address, 1)
        journal.transfer(message.caller, address, message.value)
        self._push(message, self.codes.analyse(message.data), b"", checkpoint)

    def code_of(self, address: Address) -> Code | None:
        """The account's own code, None if it has none."""
        code_hash = self.journal.code_hash(address)
        if code_hash == EMPTY_CODE_HASH:
            return None
        return self.codes.get(code_hash) or self.codes.add(code_hash, self.journal.code(address))

    def _push(self, message: Message, code: Code, data: bytes, checkpoint: int) -> None:
        tier = self.runtime.tier
        self.native_state.forget_balance()
        frame = self._pool.frame_at(len(self.frames))
        caller = 0
        if self.is_native and self.frames and message.kind not in CREATES:
            parent = self.frames[-1]
            caller = parent.address
            parent.words[_JOURNALED] = checkpoint != parent.checkpoint
        entries = frame.entry_table = None if tier is None else tier.entry_table_of(code)
        frame.start(
            message,
            code,
            data,
            self._table if entries is None else self._table_of(frame),
            self._tables.plain,
            0,
            self.environment,
            self.native_state.registers(message.to),
            NO_ENTRIES if entries is None else entries.addresses,
            caller,
        )
        frame.checkpoint = checkpoint
        self.frames.append(frame)
        if self.is_native:
            self._consider_as_callee(frame)

    def _consider_as_callee(self, frame: Frame) -> None:
        """Let native code call the account whose code the frame runs, if such calls are plain from now on."""
        message = frame.message
        address = message.code_address
        if (
            self.native_state.callees.is_worthwhile(address)
            and message.kind not in CREATES
            and (frame.entry_table is not None or self.runtime.tier is None)  # else the tier is still counting calls
            and (not self.has_access_lists or self.journal.is_warm_account(address))
            and self.code_of(address) is frame.code
        ):
            self.native_state.let_call(frame)

    def run(self) -> Outcome:
        """Run to the end at full speed (step by step if a tracer hears steps). Raises the reason if it is stopped."""
        interruption = self.interruption
        if self.tracer is not None:
            while self.outcome is None:
                if interruption is not None:
                    interruption.check()
                if self.tracer.hears_steps:
                    self.tracer.step(self.frames[-1])
                self.step(1 if self.tracer.hears_steps else _STEPS_AT_ONCE)
            return self.outcome
        self._use_table(self._tables.plain)
        self.forget_slots()
        self.is_native = True
        frames, enter, handlers = self.frames, self.runtime.interpreter.resume, self.runtime.handlers
        header, journal = self.native_state.header, self.journal
        while self.outcome is None:
            if interruption is not None:
                interruption.check()
            frame = frames[-1]
            depth = header[_DEPTH] = len(frames)
            frame.words[_JOURNALED] = journal.checkpoint() != frame.checkpoint
            code = enter(frame.address)
            if header[_DEPTH] != depth or not frame.words[_KNOWN]:
                self.native_state.meet_frames(frames, self._pool.frames, journal)
                frame = frames[-1]
            if code >= _HOST:
                halt = handlers[code - _HOST](self, frame)
                if halt is not None:
                    self._finish(frame, halt)
            elif code in _REPEATED:
                if not self._prepare(frame, code):
                    self._finish(frame, Halt.OUT_OF_GAS)
            elif code != _STOPPED:
                self._finish(frame, _HALTS[code])
        return self.outcome

    def step(self, count: int, mode: StepMode | None = None) -> Outcome | None:
        """Run ``count`` opcodes, entering calls, or until ``mode`` stops; the outcome if it ended, else None.

        Whoever changes the journal between two calls also calls `forget_slots`.
        """
        self._use_table(self.runtime.interpreter.step_table if mode is None else mode.table)
        enter, handlers = self.runtime.interpreter.enter, self.runtime.handlers
        left, end = count, self.steps + count
        while self.outcome is None:
            frame = self.frames[-1]
            frame.words[_STEPS] = left
            if mode is not None:
                mode.arm(frame)
            code = enter(frame.address)
            left = frame.words[_STEPS]
            self.steps = end - left
            if code in _REPEATED:
                code = self._repeat(frame, code)
                if code == Exit.STEP:
                    continue
            if code in _STOPS:
                self.flush_to_journal()
                break
            if code >= _HOST:
                halt = handlers[code - _HOST](self, frame)
                if halt is not None:
                    self._finish(frame, halt, code - _HOST)
            else:
                self._finish(frame, _HALTS[code])
            if mode is not None and self.outcome is None and mode.stops(self):
                self.flush_to_journal()
                break
        return self.outcome

    def _repeat(self, frame: Frame, code: int) -> int:
        """Prepare what an opcode lacked and run only that opcode again; it has already been counted and traced."""
        table = frame.words[_TABLE]
        frame.words[_TABLE] = self.runtime.interpreter.step_table
        while code in _REPEATED:
            if not self._prepare(frame, code):
                code = Halt.OUT_OF_GAS
                break
            frame.words[_STEPS] = 1
            code = self.runtime.interpreter.enter(frame.address)
        frame.words[_TABLE] = table
        return code

    def _prepare(self, frame: Frame, code: int) -> bool:
        """After an exit before an opcode: supply what it lacks. False if that is impossible."""
        if code == _GROW:
            return self._pool.grow(frame)
        if code == _SLOT:
            storage.bring_slot(self, frame)
        else:
            storage.bring_transient(self, frame)
        return True

    def forget_slots(self) -> None:
        """Read all storage from the journal again: it has been changed from outside."""
        self.native_state.clear(self.frames)

    def flush_to_journal(self) -> None:
        """Move the changes of native code into the journal, and report logs to the tracer."""
        known = len(self.journal.logs) if self.tracer is not None else 0
        if self.native_state.flush_to_journal(self.journal, self.frames):
            self._has_flushed = True
            if self.tracer is not None:
                for position, log in enumerate(self.journal.logs[known:], known):
                    self.tracer.log(log, position)

    def report_refused(self, message: Message, halt: Halt) -> None:
        """Report to the tracer a call that fails before it begins; the caller keeps the gas."""
        assert self.tracer is not None
        self.flush_to_journal()
        self.tracer.enter(message)
        self.tracer.leave(message, Outcome(halt, message.gas, fault=words_of(halt)))

    def push_frame(self, message: Message, code: Code, data: bytes, checkpoint: int) -> Frame:
        """Put a frame at its beginning on top, as `vm.evm.snapshot` does before it fills it."""
        self._push(message, code, data, checkpoint)
        return self.frames[-1]

    def take_halt(self) -> Halt:
        """How the message that ended last has ended; STOP if none has since this was last called."""
        halt, self.last_halt = self.last_halt, Halt.STOP
        return halt

    def rewind(self, steps: int, outcome: Outcome | None, last_halt: Halt) -> None:
        """Go back to an earlier position: its journal is to be restored next, then its frames pushed."""
        self.drop_frames()
        self._has_flushed = True  # what the frames did before is in the journal
        self.steps, self.outcome, self.last_halt = steps, outcome, last_halt

    def drop_frames(self) -> None:
        """Drop all frames and warm slots, as before the beginning."""
        self.native_state.discard()
        self._has_flushed = False
        while self.frames:
            self.frames.pop().finish()

    def close(self) -> None:
        """Return all frames to the pool, also those of an unfinished execution."""
        self._tables.restore()
        self.drop_frames()
        self._pool.tidy()

    def _use_table(self, table: int) -> None:
        if table != self._table:
            self._table = table
            for frame in self.frames:
                frame.words[Field.TABLE] = self._table_of(frame)

    def _table_of(self, frame: Frame) -> int:
        """The current mode's table: plain running enters compiled code where the frame has an entry table."""
        tables = self._tables
        return tables.jit if frame.entry_table is not None and self._table == tables.plain else self._table

    # Ending

    def _finish(self, frame: Frame, halt: Halt, host_opcode: int | None = None) -> None:
        """End the running frame: keep or undo its changes. ``host_opcode`` ended it, if Python carried that out."""
        message, journal = frame.message, self.journal
        left = frame.words[_GAS]
        output = frame.result() if halt in (Halt.RETURN, Halt.REVERT) else b""
        outcome = Outcome(halt, left, output)
        if self.tracer is not None:
            self.flush_to_journal()
            if not halt.is_success:
                pricing = Pricing(self.fork, journal, self.code_bytes_max)
                outcome.fault = fault_words(pricing, frame, halt, host_opcode)
        if message.kind in CREATES and halt.is_success:
            outcome = deploy(self, message, outcome)
        self.frames.pop()
        if outcome.halt.is_success:
            journal.commit(frame.checkpoint)
        else:
            self.revert(frame)
            if outcome.halt.is_exceptional:
                outcome.gas_left, outcome.output = 0, b""
        if not self.frames:
            self.flush_to_journal()
        frame.finish()
        self._end(message, outcome)

    def revert(self, frame: Frame) -> None:
        """Undo all changes since the beginning of the frame, which is no longer on the list."""
        if self.native_state.is_ahead(frame):
            self.runtime.interpreter.undo(frame.address)
        if self.journal.checkpoint() != frame.checkpoint:
            self.journal.revert(frame.checkpoint)
            self.native_state.callees.clear()  # some may be cold again
            if self._has_flushed:
                self.flush_to_journal()
                self.native_state.clear(self.frames)

    def _end(self, message: Message, outcome: Outcome) -> None:
        """Report the message's result to the tracer, and to the calling frame or the caller of the execution."""
        is_success, output, is_create = outcome.halt.is_success, outcome.output, message.kind in CREATES
        self.last_halt = outcome.halt
        self.native_state.forget_balance()
        if self.tracer is not None:
            self.tracer.leave(message, outcome)
        if not self.frames:
            self.outcome = outcome
            return
        caller = self.frames[-1]
        words, view = caller.words, caller.view
        words[_GAS] += outcome.gas_left
        at = words[_SP] - 32
        if output:
            caller.set_returndata(output)
        if is_create:
            if outcome.created is not None:
                view[at : at + 20] = outcome.created[::-1]
            return
        if is_success:
            view[at] = 1
        size = min(len(output), words[Field.OUTPUT_LENGTH])
        if size:
            start = words[Field.OUTPUT_OFFSET]
            caller.memory[start : start + size] = output[:size]
