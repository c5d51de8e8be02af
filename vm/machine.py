"""The machine: executes messages under any fork. One per process is enough; any thread may use it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, NamedTuple

from chain.backoff import Attempts
from chain.brief import before_long_work
from chain.crypto import create_address
from chain.environment import BlockEnvironment
from chain.forks import CANCUN, PARIS, Fork
from chain.state import EMPTY_CODE_HASH, StateReader
from chain.types import Address, Hash32
from vm.code import CodeCache
from vm.context import ExecutionContext
from vm.errors import EngineUnavailable
from vm.evm.execution import Execution
from vm.evm.fork_runtime import ForkRuntime, Tier
from vm.evm.frame_pool import FramePool
from vm.evm.host import handlers
from vm.evm.jit.eager import EagerTier
from vm.evm.jit.metrics import Metrics
from vm.evm.jit.objects import EAGER_LEVEL, LEVEL
from vm.evm.jit.ports import BackgroundCompiler, CompilerStatus, Dump
from vm.evm.jit.store import ObjectStore
from vm.evm.jit.tier import BackgroundTier
from vm.evm.memory_port import Allocate
from vm.evm.native import Interpreter, load_interpreter
from vm.evm.quick import QuickExecution, QuickOutcome, QuickRun
from vm.evm.trace import Tracer
from vm.interruption import current
from vm.ir.loader import LibraryCompiler, ObjectCache
from vm.limits import GAS_MAX
from vm.message import CallKind, Halt, Message, Outcome
from vm.precompiles import precompiles_by_address

_WORD_REST: Final = bytes(12)
"""What fills an address up to a word."""
_CALL: Final = CallKind.CALL
_STOP: Final = Halt.STOP
QUICK_LEFT_OUT: Final = 4
QUICK_LEFT_OUT_MAX: Final = 256
"""Calls of a contract that are executed in full at once, after one that could not be done quickly."""

ENGINES: Final = ("interpreter", "jit", "auto")


class Parts(NamedTuple):
    """What a machine is made of; `node.machine.assembly` puts it together."""

    engine: str
    """One of `ENGINES`."""
    cache: ObjectCache | None
    """Keeps machine code between processes."""
    libraries: LibraryCompiler | None
    """Compiles interpreters and libraries; None to load LLVM into this process."""
    compiler: BackgroundCompiler | None
    """For the engine ``auto``; closed with the machine."""
    compiler_digest: bytes
    """Objects in the cache that the JIT of another digest compiled are not used."""
    level: int | None
    """LLVM's level of code generation for the JIT, None for the engine's own."""
    dump: Dump | None
    """Is given what the JIT compiles."""
    allocate: Allocate
    code_bytes_max: int
    """Longest code of a contract on the chain; creation code may be twice as long."""
    short_road: bool = True
    """Whether messages that call nobody are executed without what only others need (`vm.evm.quick`)."""
    library_cache: ObjectCache | None = None
    """Keeps interpreters and libraries, which depend on no chain; None for ``cache``."""


class _Pools(threading.local):
    """One pool a thread."""

    def __init__(self, allocate: Allocate) -> None:
        self.pool = FramePool(allocate)


class Machine:
    """Loads each fork's interpreter when first needed and keeps analysed code for all.

    Owns the code cache, the JIT's tiers and each thread's frames; journals belong to who calls.
    """

    def __init__(self, parts: Parts) -> None:
        """Raises `EngineUnavailable`."""
        if parts.engine not in ENGINES or (parts.engine == "auto" and parts.compiler is None):
            raise EngineUnavailable(f"no engine {parts.engine!r}")
        self._parts = parts
        self.engine_name = parts.engine
        self.code_bytes_max = parts.code_bytes_max
        """Longest code of a contract on the chain; creation code may be twice as long."""
        self.metrics = Metrics()
        """What the JIT has done."""
        self._tiers: list[Tier] = []
        self._runtimes: dict[Fork, ForkRuntime] = {}
        self._codes: CodeCache | None = None
        self._lock = threading.Lock()
        self._pools = _Pools(parts.allocate)
        self._block_words: tuple[BlockEnvironment | None, bytes] = (None, b"")
        self._free_words: tuple[BlockEnvironment | None, bytes] = (None, b"")
        self._quick = Attempts(QUICK_LEFT_OUT, QUICK_LEFT_OUT_MAX)
        """Contracts, by code hash, that do more than `call_quickly` can."""
        self._quick_executions = Attempts(QUICK_LEFT_OUT, QUICK_LEFT_OUT_MAX)
        """The same for `execute`, where a revert needs no more."""

    def execute(self, message: Message, context: ExecutionContext, tracer: Tracer | None = None) -> Outcome:
        """Run the message and everything it calls to the end.

        Changes stay in the context's journal if it succeeded and are undone if not. For a top-level creation
        the sender's nonce must have been raised; ``message.to`` is filled in unless it is set. Raises the reason if
        the thread's `vm.interruption.Interruption` is stopped; the journal is then of no more use.
        """
        if tracer is None and message.kind is _CALL and self._parts.short_road:
            outcome = self._execute_quickly(message, context)
            if outcome is not None:
                return outcome
        execution = self._begin(message, context, tracer, self._pools.pool)
        interruption = execution.interruption = current()
        if interruption is not None:
            interruption.enter(execution)
        try:
            return execution.run()
        finally:
            if interruption is not None:
                interruption.leave(execution)
            execution.close()

    def _execute_quickly(self, message: Message, context: ExecutionContext) -> Outcome | None:
        """The outcome of a call that calls nobody; None, nothing having changed, if it has to be executed in full."""
        journal, target, value = context.journal, message.code_address, message.value
        if target in journal.precompiles or (value and journal.balance(message.caller) < value):
            return None
        code_hash = journal.code_hash(target)
        if code_hash == EMPTY_CODE_HASH:
            journal.transfer(message.caller, message.to, value)
            return Outcome(_STOP, min(message.gas, GAS_MAX))
        runtime = self.runtime(context.environment.fork)
        code = runtime.codes.get(code_hash)
        if code is None or code.delegate is not None or not self._quick_executions.is_due(code_hash):
            return None
        message.cap_gas(GAS_MAX)
        quick = QuickExecution(runtime, self._pools.pool, journal)
        outcome = quick.execute(message, code, self._words_for(context), context.blob_hashes, current())
        if outcome is None:
            self._quick_executions.failed(code_hash)
        return outcome

    def call_quickly(
        self, environment: BlockEnvironment, state: StateReader, sender: Address, to: Address, data: bytes, gas: int
    ) -> QuickOutcome | None:
        """The outcome of a call that ended without calling anybody; None if it has to be executed in full.

        It pays nothing and has no value; ``gas`` is what it may use itself. Nothing is changed. Raises the reason if
        the thread's `vm.interruption.Interruption` is stopped.
        """
        fork = environment.fork
        account = state.account(to)
        if account is None or account.code_hash == EMPTY_CODE_HASH or to in precompiles_by_address(fork):
            return None
        runtime = self.runtime(fork)
        code = runtime.codes.get(account.code_hash)
        if code is None or code.delegate is not None or not self._quick.is_due(account.code_hash):
            return None
        message = Message(CallKind.CALL, sender, to, to, 0, data, min(gas, GAS_MAX))
        words = b"".join((sender[::-1], _WORD_REST, self._free_words_of(environment)))
        outcome = QuickRun(runtime, self._pools.pool).run(message, code, words, state, current())
        if outcome is None:
            self._quick.failed(account.code_hash)
        return outcome

    def begin(self, message: Message, context: ExecutionContext, tracer: Tracer | None = None) -> Execution:
        """Stop before the first opcode: `step` or `run` what you get, in one thread at a time."""
        return self._begin(message, context, tracer, FramePool(self._parts.allocate))

    def _begin(
        self, message: Message, context: ExecutionContext, tracer: Tracer | None, pool: FramePool
    ) -> Execution:
        if message.kind is CallKind.CREATE and not message.to:
            nonce = context.journal.nonce(message.caller) - 1
            message.create_at(create_address(message.caller, nonce))
        execution = Execution(self.runtime(context.environment.fork), context, self._words_for(context), pool, tracer)
        execution.begin(message)
        return execution

    def runtime(self, fork: Fork) -> ForkRuntime:
        """What runs a fork, built when first asked for. Raises `NativeCodeUnavailable`."""
        runtime = self._runtimes.get(fork)
        if runtime is None:
            before_long_work()
            with self._lock:
                cache = self._parts.library_cache or self._parts.cache
                interpreter = load_interpreter(fork, cache, self._parts.libraries)
                if self._codes is None:
                    self._codes = CodeCache(interpreter.map_jumps)
                runtime = self._runtimes[fork] = ForkRuntime(
                    fork, interpreter, handlers(fork), self._codes, self._tier(interpreter), self.code_bytes_max
                )
        return runtime

    def _tier(self, interpreter: Interpreter) -> Tier | None:
        parts = self._parts
        if parts.engine == "interpreter":
            return None
        store = ObjectStore(parts.cache, parts.compiler_digest, self.metrics)
        tier: Tier
        if parts.compiler is None:
            level = EAGER_LEVEL if parts.level is None else parts.level
            tier = EagerTier(interpreter, store, self.metrics, level, parts.dump)
        else:
            level = LEVEL if parts.level is None else parts.level
            tier = BackgroundTier(interpreter, store, parts.compiler, self.metrics, level, parts.dump)
        self._tiers.append(tier)
        return tier

    def foresee(self, fork: Fork, codes: Mapping[Hash32, bytes]) -> None:
        """Contracts with these codes, by hash, were created: prepare to run them fast. Any thread, without waiting."""
        tier = self.runtime(fork).tier if codes else None
        if tier is not None:
            for code_hash, code in codes.items():
                tier.foresee(code_hash, code)

    def tidy(self) -> None:
        """Forget analysed code of which no tier knows more than that: for quiet moments. Any thread."""
        if self._codes is not None:
            self._codes.forget(lambda code: all(tier.is_cold(code) for tier in tuple(self._tiers)))

    def close(self) -> None:
        """Stop compiling in the background. What is loaded keeps working."""
        if self._parts.compiler is not None:
            self._parts.compiler.close()

    @property
    def compiler(self) -> CompilerStatus:
        """What compiling in the background has done, and in which process."""
        compiler = self._parts.compiler
        return CompilerStatus() if compiler is None else compiler.status()

    def status(self) -> dict[str, Any]:
        """For ``zvmd_status``: the engine, and what the JIT has done."""
        compiler = self.compiler
        self.metrics.look(
            sum(tier.deoptimised() for tier in self._tiers), sum(tier.interpreted() for tier in self._tiers)
        )
        counted = asdict(self.metrics)
        return {
            "engine": self.engine_name,
            "machineCodeBytes": counted.pop("machine_code_bytes"),
            **counted,
            "waiting": compiler.waiting,
            "workersKilled": compiler.killed,
            "compilerFaults": compiler.faults,
            "lastCompilerFault": compiler.last_fault,
            "compilerProcess": compiler.process_id,
        }

    def _words_for(self, context: ExecutionContext) -> bytes:
        """The environment words from ORIGIN on."""
        return b"".join(
            (
                context.origin[::-1],
                _WORD_REST,
                context.gas_price.to_bytes(32, "little"),
                self._words_of(context.environment),
                context.blob_base_fee.to_bytes(32, "little"),
            )
        )

    def _free_words_of(self, environment: BlockEnvironment) -> bytes:
        """The environment words from GASPRICE to BLOBBASEFEE of a call that pays nothing, for the last block."""
        known, words = self._free_words
        if known is not environment:
            price = environment.blob_price if environment.fork >= CANCUN else 0
            words = b"".join((bytes(32), self._words_of(environment), price.to_bytes(32, "little")))
            self._free_words = (environment, words)
        return words

    def _words_of(self, environment: BlockEnvironment) -> bytes:
        """The environment words from COINBASE to BASEFEE, little-endian, remembered for the last block."""
        known, words = self._block_words
        if known is not environment:
            randomness = (
                environment.prevrandao[::-1]
                if environment.fork >= PARIS
                else environment.difficulty.to_bytes(32, "little")
            )
            numbers = (environment.gas_limit, environment.chain_id, environment.base_fee)
            words = b"".join(
                (
                    environment.coinbase[::-1],
                    bytes(12),
                    environment.timestamp.to_bytes(32, "little"),
                    environment.number.to_bytes(32, "little"),
                    randomness,
                    *(n.to_bytes(32, "little") for n in numbers),
                )
            )
            self._block_words = (environment, words)
        return words
