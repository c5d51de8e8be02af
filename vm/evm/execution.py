"""One message tree being executed: a list of frames, driven without recursion."""

from __future__ import annotations

from typing import Final

from chain.forks import Fork
from chain.state import EMPTY_CODE_HASH
from chain.types import Address
from vm.code import Code
from vm.evm.engine import Engine, Pool
from vm.evm.frame import Frame
from vm.evm.host import storage
from vm.evm.host.calls import run_precompile
from vm.evm.host.creates import deploy
from vm.evm.jit.maps import NO_MAPS
from vm.evm.layout import Exit, Field, Ledger
from vm.evm.watch import Mode
from vm.faults import fault_words, words_of
from vm.interruption import Interruption
from vm.journal_replay import held_bytes
from vm.limits import GAS_MAX
from vm.message import CREATES, CallKind, ExecutionContext, Halt, Message, Outcome
from vm.pricing import Pricing
from vm.trace import Tracer

_GAS: Final = int(Field.GAS)
_SP: Final = int(Field.SP)
_STEPS: Final = int(Field.STEPS)
_TABLE: Final = int(Field.TABLE)
_JOURNALED: Final = int(Field.IS_JOURNALED)
_KNOWN: Final = int(Field.IS_KNOWN)
_DEPTH: Final = Ledger.DEPTH // 8
_HOST: Final = int(Exit.HOST)
_GROW: Final = int(Exit.GROW)
_SLOT: Final = int(Exit.SLOT)
_TRANSIENT: Final = int(Exit.TRANSIENT)
_REPEATED: Final = (_GROW, _SLOT, _TRANSIENT)
_STOPPED: Final = int(Exit.STOPPED)
_STOPS: Final = (int(Exit.STEP), int(Exit.BREAK), _STOPPED)
_STEPS_AT_ONCE: Final = 4_096
"""Opcodes that run between two looks at the interruption, where a tracer does not hear each of them."""
_HALTS: Final[dict[int, Halt]] = {int(halt): halt for halt in Halt}


class Execution:
    """Runs one top-level message. Used by one thread; `close` gives the frames back."""

    __slots__ = (
        *("_is_native", "_is_settled", "_pool", "_table", "_tables", "context", "engine", "environment", "fork"),
        *("frames", "has_access_lists", "interruption", "journal", "last_halt", "ledger", "outcome", "precompiles"),
        *("steps", "tracer"),
    )

    def __init__(
        self,
        engine: Engine,
        context: ExecutionContext,
        environment: bytes,
        pool: Pool,
        tracer: Tracer | None = None,
    ) -> None:
        self.engine = engine
        self.fork = engine.fork
        self.context = context
        self.journal = context.journal
        self.environment = environment
        self.precompiles = context.journal.precompiles
        self.has_access_lists = engine.fork >= Fork.BERLIN
        self.frames: list[Frame] = []
        """Outermost first; the last one is running."""
        self.outcome: Outcome | None = None
        """Set when the outermost message has ended."""
        self.steps = 0
        """Opcodes that `step` has run in all frames; one that failed counts."""
        self.last_halt = Halt.STOP
        """How the message that ended last has ended."""
        self.tracer = tracer
        self._pool = pool
        self._is_native = False
        """Whether calls may be carried out by native code: nobody counts steps or listens."""
        self.ledger = pool.ledger
        """State that native code keeps."""
        pool.ledger.begin(context.blob_hashes)
        self._is_settled = False
        """Whether the journal has anything from the ledger, whose slots a failing frame then leaves wrong."""
        self._tables = pool.tables_of(engine.interpreter)
        self._table = self._tables.plain
        self.interruption: Interruption | None = None
        """What may stop `run` from another thread, through `halt` and `held_bytes`."""

    def halt(self) -> None:
        self._tables.halt()

    def held_bytes(self) -> int:
        return self._pool.memory_bytes + held_bytes(self.journal)

    def begin(self, message: Message) -> None:
        """Begin the top-level message; it may end at once. Then `run` or `step`."""
        message.gas = min(message.gas, GAS_MAX)
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
            self.settle()
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
        self.settle()
        if self.has_access_lists:
            journal.warm_account(address)
        if self.tracer is not None:
            self.tracer.enter(message)
        account = journal.account(address)
        if account.nonce or account.code_hash != EMPTY_CODE_HASH or journal.has_storage(address):
            self._end(message, Outcome(Halt.CREATE_COLLISION, 0, fault=words_of(Halt.CREATE_COLLISION)))
            return
        self.ledger.forget(address)
        checkpoint = journal.checkpoint()
        journal.create_account(address)
        if self.fork >= Fork.SPURIOUS_DRAGON:
            journal.set_nonce(address, 1)
        journal.transfer(message.caller, address, message.value)
        self._push(message, self.engine.codes.analyse(message.data), b"", checkpoint)

    def code_of(self, address: Address) -> Code | None:
        """The account's own code, None if it has none."""
        code_hash = self.journal.code_hash(address)
        if code_hash == EMPTY_CODE_HASH:
            return None
        codes = self.engine.codes
        return codes.get(code_hash) or codes.add(code_hash, self.journal.code(address))

    def _push(self, message: Message, code: Code, data: bytes, checkpoint: int) -> None:
        engine = self.engine
        self.ledger.forget_balance()
        frame = self._pool.frame_at(len(self.frames))
        caller = 0
        if self._is_native and self.frames and message.kind not in CREATES:
            parent = self.frames[-1]
            caller = parent.address
            parent.words[_JOURNALED] = checkpoint != parent.checkpoint
        maps = engine.tier.maps_of(code) if engine.tier is not None else None
        frame.maps = maps
        frame.start(
            message,
            code,
            data,
            self._table if maps is None else self._table_of(frame),
            self._tables.plain,
            0,
            self.environment,
            self.ledger.registers(message.to),
            NO_MAPS if maps is None else maps.addresses,
            caller,
        )
        frame.checkpoint = checkpoint
        self.frames.append(frame)
        if self._is_native:
            self.ledger.callees.consider(self, frame)

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
        self._is_native = True
        frames, enter, handlers = self.frames, self.engine.interpreter.resume, self.engine.handlers
        header, journal = self.ledger.header, self.journal
        while self.outcome is None:
            if interruption is not None:
                interruption.check()
            frame = frames[-1]
            depth = header[_DEPTH] = len(frames)
            frame.words[_JOURNALED] = journal.checkpoint() != frame.checkpoint
            code = enter(frame.address)
            if header[_DEPTH] != depth or not frame.words[_KNOWN]:
                self.ledger.callees.meet(frames, self._pool.frames, journal)
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

    def step(self, count: int, mode: Mode | None = None) -> Outcome | None:
        """Run ``count`` opcodes, entering calls, or until ``mode`` stops; the outcome if it ended, else None."""
        self._use_table(self.engine.interpreter.step_table if mode is None else mode.table)
        enter, handlers = self.engine.interpreter.enter, self.engine.handlers
        left, end = count, self.steps + count
        self.forget_slots()
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
                self.settle()
                break
            if code >= _HOST:
                halt = handlers[code - _HOST](self, frame)
                if halt is not None:
                    self._finish(frame, halt, code - _HOST)
            else:
                self._finish(frame, _HALTS[code])
            if mode is not None and self.outcome is None and mode.stops(self):
                self.settle()
                break
        return self.outcome

    def _repeat(self, frame: Frame, code: int) -> int:
        """Prepare what an opcode lacked and run it, and only it, again: it has been counted and seen already."""
        table = frame.words[_TABLE]
        frame.words[_TABLE] = self.engine.interpreter.step_table
        while code in _REPEATED:
            if not self._prepare(frame, code):
                code = Halt.OUT_OF_GAS
                break
            frame.words[_STEPS] = 1
            code = self.engine.interpreter.enter(frame.address)
        frame.words[_TABLE] = table
        return code

    def _prepare(self, frame: Frame, code: int) -> bool:
        """After an exit before an opcode: give it what it lacks. False if it cannot have that."""
        if code == _GROW:
            self._pool.has_grown = True
            return frame.grow()
        if code == _SLOT:
            storage.bring_slot(self, frame)
        else:
            storage.bring_transient(self, frame)
        return True

    def forget_slots(self) -> None:
        """Read all storage from the journal again: it may have been changed from outside."""
        self.ledger.clear(self.frames)

    def settle(self) -> None:
        """Bring what native code has changed into the journal, and tell the tracer of logs."""
        known = len(self.journal.logs) if self.tracer is not None else 0
        if self.ledger.settle(self.journal, self.frames):
            self._is_settled = True
            if self.tracer is not None:
                for position, log in enumerate(self.journal.logs[known:], known):
                    self.tracer.log(log, position)

    def tell_refused(self, message: Message, halt: Halt) -> None:
        """Tell the tracer of a call that fails before it begins; the caller keeps the gas."""
        assert self.tracer is not None
        self.settle()
        self.tracer.enter(message)
        self.tracer.leave(message, Outcome(halt, message.gas, fault=words_of(halt)))

    def push_frame(self, message: Message, code: Code, data: bytes, checkpoint: int) -> Frame:
        """Put a frame at its beginning on top, as `vm.evm.snapshot` does before it fills it."""
        self._push(message, code, data, checkpoint)
        return self.frames[-1]

    def drop_frames(self) -> None:
        """Forget all frames and warm slots, as if nothing had begun."""
        self.ledger.discard()
        self._is_settled = False
        while self.frames:
            self.frames.pop().finish()

    def close(self) -> None:
        """Give all frames back, also those of an execution that has not ended."""
        self._tables.restore()
        self.drop_frames()
        self._pool.tidy()

    def _use_table(self, table: int) -> None:
        if table != self._table:
            self._table = table
            for frame in self.frames:
                frame.words[Field.TABLE] = self._table_of(frame)

    def _table_of(self, frame: Frame) -> int:
        """The current mode's table: plain running enters compiled code where the frame has maps."""
        tables = self._tables
        return tables.jit if frame.maps is not None and self._table == tables.plain else self._table

    # Ending

    def _finish(self, frame: Frame, halt: Halt, host_opcode: int | None = None) -> None:
        """End the running frame: keep or undo its changes. ``host_opcode`` ended it, if Python carried that out."""
        message, journal = frame.message, self.journal
        left = frame.words[_GAS]
        output = frame.result() if halt in (Halt.RETURN, Halt.REVERT) else b""
        outcome = Outcome(halt, left, output)
        if self.tracer is not None:
            self.settle()
            if halt >= 16:
                outcome.fault = fault_words(
                    Pricing(self.fork, journal, self.engine.code_bytes_max), frame, halt, host_opcode
                )
        if halt < 16 and message.kind in CREATES:
            outcome = deploy(self, message, outcome)
            halt = outcome.halt
        self.frames.pop()
        if halt < 16:
            journal.commit(frame.checkpoint)
        else:
            self._undo(frame)
            if halt >= 32:
                outcome.gas_left, outcome.output = 0, b""
        if not self.frames:
            self.settle()
        frame.finish()
        self._end(message, outcome)

    def _undo(self, frame: Frame) -> None:
        """Take back all that happened since the frame, which is no longer on the list, began."""
        if self.ledger.is_ahead(frame):
            self.engine.interpreter.undo(frame.address)
        if self.journal.checkpoint() != frame.checkpoint:
            self.journal.revert(frame.checkpoint)
            self.ledger.callees.clear()  # some may be cold again
            if self._is_settled:
                self.settle()
                self.ledger.clear(self.frames)

    def _end(self, message: Message, outcome: Outcome) -> None:
        """Tell the tracer, and the calling frame or the caller of the whole execution, how the message ended."""
        halt, output, is_create = outcome.halt, outcome.output, message.kind in CREATES
        if is_create and halt < 16:
            outcome.created = message.to
        self.last_halt = halt
        self.ledger.forget_balance()
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
        if halt < 16:
            view[at] = 1
        size = min(len(output), words[Field.OUTPUT_LENGTH])
        if size:
            start = words[Field.OUTPUT_OFFSET]
            caller.memory[start : start + size] = output[:size]
