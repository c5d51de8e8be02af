"""Executes mined transactions again, or simulated calls, with a tracer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from chain.blocks import Block
from chain.environment import BlockEnvironment
from chain.state import BlockHashes, OverlayState, StateReader
from chain.types import Address
from node.api.errors import InvalidParams
from node.api.tracing import MakeTracer, TracedRun, TraceOrigin
from node.engine.simulate import Situation
from vm.block import BlockExecution
from vm.machine import Machine


def trace_block(
    machine: Machine,
    environment: BlockEnvironment,
    block: Block,
    senders: Sequence[Address],
    parent: StateReader,
    block_hash: BlockHashes,
    make: MakeTracer,
    index: int | None = None,
) -> Iterator[Any]:
    """Results of tracers, one made for each transaction of a block; with ``index`` for that one only."""
    execution = BlockExecution(machine, environment, parent, block_hash)
    execution.begin()
    logs = 0
    for place, (transaction, sender) in enumerate(zip(block.transactions, senders, strict=True)):
        if index is not None and place != index:
            logs += len(execution.add(transaction, sender).logs)
            continue
        journal = execution.journal
        before = OverlayState(parent, journal.delta())
        where = TraceOrigin(block.header.hash, block.header.number, transaction.hash, place)
        limit = machine.code_bytes_max
        run = TracedRun(transaction, sender, environment, parent, before, journal, limit, where, logs)
        tracer = make(run)
        ended = execution.run(transaction, sender, tracer)
        logs += len(ended.logs())
        yield tracer.result(ended)
        if place == index:
            break


def situation_before(
    machine: Machine,
    environment: BlockEnvironment,
    block: Block,
    senders: Sequence[Address],
    parent: StateReader,
    block_hash: BlockHashes,
    index: int,
    gas_max: int,
) -> Situation:
    """The situation before transaction ``index`` of a block. Raises `InvalidParams` if there is no such transaction."""
    count = len(block.transactions)
    if index and index >= count:
        raise InvalidParams(f"txIndex {index}: block {block.header.number} has {count} transactions")
    execution = BlockExecution(machine, environment, parent, block_hash)
    execution.begin()
    before = zip(block.transactions[:index], senders[:index], strict=True)
    logs = sum(len(execution.add(transaction, sender).logs) for transaction, sender in before)
    state = OverlayState(parent, execution.journal.delta())
    return Situation(machine, environment, block_hash, state, gas_max, logs)
