"""One message tree being executed: a list of frames, driven without recursion."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from chain.forks import Fork
from chain.state import EMPTY_CODE_HASH
from chain.types import Address
from vm.code import Code, CodeCache
from vm.errors import PrecompileError
from vm.evm import gas
from vm.evm.frame import Frame
from vm.evm.host import Handler
from vm.evm.jit.maps import NO_MAPS, Maps
from vm.evm.layout import Exit, Field
from vm.evm.native import Interpreter
from vm.evm.slots import SlotCache
from vm.evm.watch import Mode
from vm.limits import CODE_BYTES, FRAMES_KEPT, GAS_MAX
from vm.message import CallKind, ExecutionContext, Halt, Message, Outcome
from vm.precompiles import precompile, precompile_addresses
from vm.trace import Tracer

_GAS: Final = int(Field.GAS)
_SP: Final = int(Field.SP)
_STEPS: Final = int(Field.STEPS)
_TAG: Final = int(Field.STORAGE_TAG)
_HOST: Final = int(Exit.HOST)
_GROW: Final = int(Exit.GROW)
_STOPS: Final = (int(Exit.STEP), int(Exit.BREAK))
_HALTS: Final[dict[int, Halt]] = {int(halt): halt for halt in Halt}
_CREATES: Final = (CallKind.CREATE, CallKind.CREATE2)


class Tier(Protocol):
    """Knows what is compiled."""

    def maps_of(self, code: Code) -> Maps | None:
        """Maps of the code about to run, None to interpret it."""


class Engine(NamedTuple):
    """All that executing under one fork needs, made once."""

    fork: Fork
    interpreter: Interpreter
    handlers: list[Handler]
    codes: CodeCache
    precompiles: frozenset[Address]
    tier: Tier | None
    """What compiles; None to interpret everything."""

    @classmethod
    def of(
        cls, interpreter: Interpreter, handlers: list[Handler], codes: CodeCache, tier: Tier | None = None
    ) -> Engine:
        """The engine of the interpreter's fork."""
        fork = interpreter.fork
        return cls(fork, interpreter, handlers, codes, precompile_addresses(fork), tier)


class Pool:
    """What executions of one thread use one after the other: idle frames, and a table of warm slots."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.slots = SlotCache()


class Execution:
    """Runs one top-level message. Used by one thread; `close` gives the frames back."""

    __slots__ = (
        "_pool",
        "_table",
        "context",
        "engine",
        "environment",
        "fork",
        "frames",
        "has_access_lists",
        "journal",
        "last_halt",
        "outcome",
        "precompiles",
        "slots",
        "steps",
        "tracer",
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
        self.precompiles = engine.precompiles
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
        self._pool = pool.frames
        self.slots = pool.slots
        """Warm slots native code knows."""
        pool.slots.forget()
        self._table = engine.interpreter.plain_table

    # Beginning

    def begin(self, message: Message) -> None:
        """Begin the top-level message; it may end at once. Then `run` or `step`."""
        message.gas = min(message.gas, GAS_MAX)
        if message.value and message.transfers_value and self.journal.balance(message.caller) < message.value:
            self._end(message, Halt.INSUFFICIENT_BALANCE, message.gas, b"")
        elif message.kind in _CREATES:
            self.begin_create(message)
        else:
            self.begin_call(message)

    def begin_call(self, message: Message) -> None:
        """Move the value and start a frame, or end the message if a precompile or no code is called."""
        journal = self.journal
        self._write_back()
        checkpoint = journal.checkpoint()
        if self.tracer is not None:
            self.tracer.enter(message)
        if message.kind is CallKind.CALL:
            journal.transfer(message.caller, message.to, message.value)
        elif message.kind is CallKind.STATICCALL:
            journal.touch(message.to)
        if message.code_address in self.precompiles:
            halt, left, output = self._run_precompile(message)
            if halt is Halt.STOP:
                journal.commit(checkpoint)
            else:
                journal.revert(checkpoint)
            self._end(message, halt, left, output)
            return
        code = self.code_of(message.code_address)
        if code is not None and code.delegate is not None and self.fork >= Fork.PRAGUE:
            code = self.code_of(code.delegate)
        if code is None:
            journal.commit(checkpoint)
            self._end(message, Halt.STOP, message.gas, b"")
            return
        self._push(message, code, message.data, checkpoint)

    def begin_create(self, message: Message) -> None:
        """Claim the address in ``message.to`` and start the init code. The creator's nonce is raised."""
        journal, address = self.journal, message.to
        self._write_back()
        self.slots.forget(address)
        if self.has_access_lists:
            journal.warm_account(address)
        if self.tracer is not None:
            self.tracer.enter(message)
        account = journal.account(address)
        if account.nonce or account.code_hash != EMPTY_CODE_HASH or journal.has_storage(address):
            self._end(message, Halt.CREATE_COLLISION, 0, b"")
            return
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
        frame = self._pool.pop() if self._pool else Frame()
        maps = engine.tier.maps_of(code) if engine.tier is not None else None
        frame.maps = maps
        frame.start(
            message,
            code,
            data,
            self._table if maps is None else self._table_of(frame),
            engine.interpreter.plain_table,
            0,
            self.environment,
            self.slots.address,
            self.slots.tag(message.to),
            NO_MAPS if maps is None else maps.addresses,
        )
        frame.checkpoint = checkpoint
        self.frames.append(frame)

    def _run_precompile(self, message: Message) -> tuple[Halt, int, bytes]:
        contract = precompile(self.fork, message.code_address)
        assert contract is not None
        left = message.gas - contract.gas(message.data)
        if left < 0:
            return Halt.OUT_OF_GAS, 0, b""
        try:
            return Halt.STOP, left, contract.run(message.data)
        except PrecompileError:
            return Halt.PRECOMPILE_FAILURE, 0, b""

    # Running

    def run(self) -> Outcome:
        """Run to the end at full speed (step by step if there is a tracer)."""
        if self.tracer is not None:
            while self.outcome is None:
                self.tracer.step(self.frames[-1])
                self.step(1)
            return self.outcome
        self._use_table(self.engine.interpreter.plain_table)
        self.forget_slots()
        frames, enter, handlers = self.frames, self.engine.interpreter.resume, self.engine.handlers
        while self.outcome is None:
            frame = frames[-1]
            code = enter(frame.address)
            if code >= _HOST:
                halt = handlers[code - _HOST](self, frame)
                if halt is not None:
                    self._finish(frame, halt)
            else:
                self._leave(frame, code)
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
            if code == _GROW and frame.grow():
                left += 1  # the opcode will be counted again
                continue
            self.steps = end - left
            if code in _STOPS:
                self._write_back()
                break
            if code >= _HOST:
                halt = handlers[code - _HOST](self, frame)
                if halt is not None:
                    self._finish(frame, halt)
            else:
                self._finish(frame, Halt.OUT_OF_GAS if code == _GROW else _HALTS[code])
            if mode is not None and self.outcome is None and mode.stops(self):
                self._write_back()
                break
        return self.outcome

    def forget_slots(self) -> None:
        """Read all storage from the journal again: it may have been changed from outside."""
        self.slots.forget()
        if self.frames:
            self.frames[-1].words[_TAG] = self.slots.tag(self.frames[-1].message.to)

    def push_frame(self, message: Message, code: Code, data: bytes, checkpoint: int) -> Frame:
        """Put a frame at its beginning on top, as `vm.evm.snapshot` does before it fills it."""
        self._push(message, code, data, checkpoint)
        return self.frames[-1]

    def drop_frames(self) -> None:
        """Forget all frames and warm slots, as if nothing had begun."""
        self.slots.discard()
        while self.frames:
            self._release(self.frames.pop())

    def close(self) -> None:
        """Give all frames back, also those of an execution that has not ended."""
        self.drop_frames()

    def _use_table(self, table: int) -> None:
        if table != self._table:
            self._table = table
            for frame in self.frames:
                frame.words[Field.TABLE] = self._table_of(frame)

    def _table_of(self, frame: Frame) -> int:
        """The current mode's table: plain running enters compiled code where the frame has maps."""
        interpreter = self.engine.interpreter
        if frame.maps is not None and self._table == interpreter.plain_table:
            return interpreter.jit_table
        return self._table

    def _write_back(self) -> None:
        """Bring what the running frame stored natively into the journal."""
        if self.slots.header[0]:
            self.slots.write_back(self.journal, self.frames[-1].message.to)

    # Ending

    def _leave(self, frame: Frame, code: int) -> None:
        """Act on an exit that is no host operation."""
        if code != Exit.GROW:
            self._finish(frame, _HALTS[code])
        elif not frame.grow():
            self._finish(frame, Halt.OUT_OF_GAS)

    def _release(self, frame: Frame) -> None:
        frame.finish()
        if len(self._pool) < FRAMES_KEPT:
            self._pool.append(frame)

    def _finish(self, frame: Frame, halt: Halt) -> None:
        """End the running frame: keep or undo its changes and tell the caller."""
        message, journal = frame.message, self.journal
        left = frame.words[_GAS]
        output = frame.result() if halt in (Halt.RETURN, Halt.REVERT) else b""
        if halt < 16 and message.kind in _CREATES:
            halt, left = self._deploy(message, halt, left, output)
            output = b""
        if halt < 16:
            self._write_back()
            journal.commit(frame.checkpoint)
        else:
            self.slots.discard()
            journal.revert(frame.checkpoint)
            if halt >= 32:
                left, output = 0, b""
        self.frames.pop()
        self._release(frame)
        self._end(message, halt, left, output)

    def _deploy(self, message: Message, halt: Halt, left: int, code: bytes) -> tuple[Halt, int]:
        """Check and pay for the code a creation returned, and install it."""
        fork = self.fork
        if len(code) > CODE_BYTES and fork >= Fork.SPURIOUS_DRAGON:
            return Halt.CODE_TOO_LARGE, 0
        if code[:1] == b"\xef" and fork >= Fork.LONDON:
            return Halt.CODE_STARTS_WITH_EF, 0
        deposit = gas.CODE_DEPOSIT_BYTE * len(code)
        if deposit > left:
            # Frontier left the contract without code; from Homestead on the creation fails (EIP-2).
            return (halt, left) if fork < Fork.HOMESTEAD else (Halt.OUT_OF_GAS, 0)
        self.journal.set_code(message.to, code)
        return halt, left - deposit

    def _end(self, message: Message, halt: Halt, left: int, output: bytes) -> None:
        """Tell the calling frame, or the caller of the whole execution, how the message ended."""
        self.last_halt = halt
        is_create = message.kind in _CREATES
        created = message.to if is_create and halt < 16 else None
        if self.tracer is not None:
            self.tracer.leave(message, Outcome(halt, left, output, created))
        if not self.frames:
            self.outcome = Outcome(halt, left, output, created)
            return
        caller = self.frames[-1]
        words, view = caller.words, caller.view
        words[_GAS] += left
        words[_TAG] = self.slots.tag(caller.message.to)  # new after a failure
        at = words[_SP] - 32
        if output:
            caller.set_returndata(output)
        if is_create:
            if created is not None:
                view[at : at + 20] = created[::-1]
            return
        if halt < 16:
            view[at] = 1
        size = min(len(output), caller.output_length)
        if size:
            start = caller.output_offset
            caller.memory[start : start + size] = output[:size]
