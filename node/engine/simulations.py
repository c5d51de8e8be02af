"""Calls, estimates and traces on the published chain. Nothing here is logged or kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from chain.blocks import Block
from chain.environment import BlockEnvironment
from chain.state import StateReader
from chain.types import Address
from node.api.errors import UnknownBlock
from node.api.pending_block import BlockAt
from node.api.tracing import MakeTracer
from node.api.types import CallFields, CallResult, Overrides
from node.engine.answer_cache import AnswerCache
from node.engine.published_chain import PublishedChain
from node.engine.simulate import Situation, estimate_gas, run_call, trace_call
from node.engine.tracing import situation_before, trace_block
from node.transcript.transcript import Transcript
from vm.console import ConsoleCalls
from vm.importing import environment_of
from vm.machine import Machine


class Simulations:
    """Implements `node.api.simulation.Simulator`. Any thread."""

    def __init__(
        self,
        chain: PublishedChain,
        machine: Machine,
        gas_max: int,
        transcript: Transcript,
        answers: AnswerCache,
        *,
        short_road: bool,
    ) -> None:
        """``gas_max``: what a call may use at least, whatever the block's gas limit. ``short_road`` as in `Node`."""
        self._chain = chain
        self._machine = machine
        self._gas_max = gas_max
        self._short_road = short_road
        self._transcript = transcript
        self._answers = answers
        self._last_situations: dict[type, tuple[object, Situation]] = {}
        """The newest situation of a published block, and that of a pending one."""

    def call(self, fields: CallFields, at: BlockAt, overrides: Overrides | None = None) -> CallResult:
        """Simulate by the rules of ``eth_call``."""
        if overrides is None and isinstance(at, int):
            name, situation = self._published_situation(at)
            run = partial(run_call, situation, fields, None)
            if not self._transcript.enabled:
                return self._answers.answer(name, fields, run, None) if self._answers.bytes_max else run()
            call: Callable[[ConsoleCalls | None], CallResult] = partial(self._answers.answer, name, fields, run)
        else:
            situation = self._situation(at)
            call = partial(run_call, situation, fields, overrides)
        return self._transcript.watch("eth_call", call, fields, situation.state)

    def estimate_gas(self, fields: CallFields, at: BlockAt, overrides: Overrides | None = None) -> int | CallResult:
        """Smallest sufficient gas limit, or the failed result when none helps."""
        situation = self._situation(at)
        estimate = partial(estimate_gas, situation, fields, overrides)
        return self._transcript.watch("eth_estimateGas", estimate, fields, situation.state)

    def trace_call(
        self,
        fields: CallFields,
        at: BlockAt,
        overrides: Overrides | None,
        make: MakeTracer,
        index: int | None = None,
    ) -> Any:
        """Result of a tracer on a simulated call after a block, or before its transaction ``index``."""
        if index is None:
            situation = self._situation(at)
        else:
            situation = situation_before(*self._run_again(at), self._chain.block_hash, index, self._gas_max)
        return trace_call(situation, fields, overrides, make)

    def trace_block(self, at: BlockAt, make: MakeTracer, index: int | None = None) -> Iterator[Any]:
        """Results of tracers on a block's transactions, each executed when its result is taken; one with ``index``."""
        block = self._chain.block(at) if isinstance(at, int) else at.block
        if block is not None and not block.transactions:
            return iter(())
        return trace_block(*self._run_again(at), self._chain.block_hash, make, index)

    def _run_again(self, at: BlockAt) -> tuple[Machine, BlockEnvironment, Block, Sequence[Address], StateReader]:
        """What executing a block again needs: machine, environment, block, senders and pre-state."""
        if not isinstance(at, int):
            return self._machine, at.environment, at.block, at.senders, at.before
        block, senders = self._chain.block(at), self._chain.senders(at)
        if block is None or senders is None or not at:
            raise UnknownBlock(f"there is no block {at} to run again")
        environment = environment_of(block.header, self._chain.config, block.withdrawals or ())
        return self._machine, environment, block, senders, self._chain.view(at - 1)

    def _published_situation(self, number: int) -> tuple[tuple[int, int, int], Situation]:
        """The situation after a published block, and the name of its state."""
        name = (number, *self._chain.published)
        return name, self._known_situation(number, name)

    def _situation(self, at: BlockAt) -> Situation:
        return self._published_situation(at)[1] if isinstance(at, int) else self._known_situation(at, at)

    def _known_situation(self, at: BlockAt, name: object) -> Situation:
        known = self._last_situations.get(type(at))
        if known is not None and known[0] == name:
            return known[1]
        environment = self._environment(at)
        situation = Situation(
            machine=self._machine,
            environment=environment,
            block_hash=self._chain.block_hash,
            state=self._chain.view(at),
            gas_max=max(self._gas_max, environment.gas_limit),
            is_quick=self._short_road,
        )
        self._last_situations[type(at)] = name, situation
        return situation

    def _environment(self, at: BlockAt) -> BlockEnvironment:
        if not isinstance(at, int):
            return at.environment
        header = self._chain.header(at)
        if header is None:
            raise UnknownBlock(f"there is no block {at}")
        return environment_of(header, self._chain.config)
