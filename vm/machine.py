"""The machine: executes messages under any fork. One per process is enough; any thread may use it."""

from __future__ import annotations

import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from chain.crypto import create_address
from chain.environment import BlockEnvironment
from chain.forks import CODE_BYTES_MAX, Fork
from vm.code import CodeCache
from vm.errors import EngineUnavailable
from vm.evm.engine import Engine, Pool, Tier
from vm.evm.execution import Execution
from vm.evm.host import handlers
from vm.evm.jit.dump import Dump
from vm.evm.jit.eager import EagerTier
from vm.evm.jit.metrics import Metrics
from vm.evm.jit.objects import EAGER_LEVEL, LEVEL
from vm.evm.jit.store import ObjectStore
from vm.evm.jit.tier import BackgroundTier
from vm.evm.jit.workshop import Workshop
from vm.evm.native import Interpreter, ObjectCache, load_interpreter
from vm.interruption import current
from vm.message import CallKind, ExecutionContext, Message, Outcome
from vm.trace import Tracer

ENGINES: Final = ("interpreter", "jit", "auto")

__all__ = ["Machine", "ObjectCache"]


class _Pools(threading.local):
    """One pool a thread."""

    def __init__(self) -> None:
        self.pool = Pool()


class Machine:
    """Loads each fork's interpreter when first needed and keeps analysed code for all."""

    def __init__(
        self,
        cache: ObjectCache | None = None,
        engine: str = "interpreter",
        *,
        level: int | None = None,
        dump: Path | None = None,
        code_bytes_max: int = CODE_BYTES_MAX,
    ) -> None:
        """``cache`` keeps machine code between processes; ``engine`` is one of `ENGINES`.

        ``level`` is LLVM's level of code generation for the JIT, ``dump`` a directory for what it makes.
        Raises `EngineUnavailable`.
        """
        if engine not in ENGINES:
            raise EngineUnavailable(f"no engine {engine!r}")
        self.engine_name = engine
        self.code_bytes_max = code_bytes_max
        """Longest code of a contract on the chain; creation code may be twice as long."""
        self._level = level
        self._dump = Dump(dump) if dump is not None else None
        self.metrics = Metrics()
        """What the JIT has done."""
        self._workshop = Workshop() if engine == "auto" else None
        self._tiers: list[EagerTier | BackgroundTier] = []
        self._cache = cache
        self._engines: dict[Fork, Engine] = {}
        self._codes: CodeCache | None = None
        self._lock = threading.Lock()
        self._pools = _Pools()
        self._block_words: tuple[BlockEnvironment | None, bytes] = (None, b"")

    def execute(self, message: Message, context: ExecutionContext, tracer: Tracer | None = None) -> Outcome:
        """Run the message and everything it calls to the end.

        Changes stay in the context's journal if it succeeded and are undone if not. For a top-level creation
        the sender's nonce must have been raised; ``message.to`` is filled in unless it is set. Raises the reason if
        the thread's `vm.interruption.Interruption` is stopped; the journal is then of no more use.
        """
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

    def begin(self, message: Message, context: ExecutionContext, tracer: Tracer | None = None) -> Execution:
        """Stop before the first opcode: `step` or `run` what you get, in one thread at a time."""
        return self._begin(message, context, tracer, Pool())

    def _begin(
        self, message: Message, context: ExecutionContext, tracer: Tracer | None, pool: Pool
    ) -> Execution:
        environment = context.environment
        if message.kind is CallKind.CREATE and not message.to:
            nonce = context.journal.nonce(message.caller) - 1
            message.to = message.code_address = create_address(message.caller, nonce)
        words = b"".join(
            (
                context.origin[::-1],
                bytes(12),
                context.gas_price.to_bytes(32, "little"),
                self._words_of(environment),
                context.blob_base_fee.to_bytes(32, "little"),
            )
        )
        execution = Execution(self.engine(environment.fork), context, words, pool, tracer)
        execution.begin(message)
        return execution

    def engine(self, fork: Fork) -> Engine:
        """The engine of a fork, built when first asked for. Raises `NativeCodeUnavailable`."""
        engine = self._engines.get(fork)
        if engine is None:
            with self._lock:
                interpreter = load_interpreter(fork, self._cache)
                if self._codes is None:
                    self._codes = CodeCache(interpreter.map_jumps)
                tier = self._tier(interpreter)
                engine = self._engines[fork] = Engine.of(
                    interpreter, handlers(fork), self._codes, tier, self.code_bytes_max
                )
        return engine

    def _tier(self, interpreter: Interpreter) -> Tier | None:
        if self.engine_name == "interpreter":
            return None
        store = ObjectStore(self._cache, self.metrics)
        if self._workshop is None:
            level = EAGER_LEVEL if self._level is None else self._level
            tier: EagerTier | BackgroundTier = EagerTier(interpreter, store, self.metrics, level, self._dump)
        else:
            level = LEVEL if self._level is None else self._level
            tier = BackgroundTier(interpreter, store, self._workshop, self.metrics, level, self._dump)
        self._tiers.append(tier)
        return tier

    def close(self) -> None:
        """Stop compiling in the background. What is loaded keeps working."""
        if self._workshop is not None:
            self._workshop.close()

    @property
    def compiling_process(self) -> int | None:
        """Process id of what compiles in the background, if it runs."""
        return self._workshop.process_id if self._workshop is not None else None

    @property
    def compiler_restarts(self) -> int:
        """How often the compiler's thread or process had to be replaced."""
        return self._workshop.killed + self._workshop.faults if self._workshop is not None else 0

    def status(self) -> dict[str, Any]:
        """For ``zvmd_status``: the engine, and what the JIT has done."""
        workshop = self._workshop
        self.metrics.deoptimised = sum(tier.deoptimised() for tier in self._tiers)
        self.metrics.interpreted = sum(tier.interpreted() for tier in self._tiers)
        counted = asdict(self.metrics)
        return {
            "engine": self.engine_name,
            "machineCodeBytes": counted.pop("machine_code_bytes"),
            **counted,
            "waiting": workshop.waiting if workshop is not None else 0,
            "workersKilled": workshop.killed if workshop is not None else 0,
            "compilerFaults": workshop.faults if workshop is not None else 0,
            "lastCompilerFault": workshop.last_fault if workshop is not None else "",
        }

    def _words_of(self, environment: BlockEnvironment) -> bytes:
        """The environment words from COINBASE to BASEFEE, little-endian, remembered for the last block."""
        known, words = self._block_words
        if known is not environment:
            randomness = (
                environment.prevrandao[::-1]
                if environment.fork >= Fork.PARIS
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
