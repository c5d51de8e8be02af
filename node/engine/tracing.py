"""Runs with somebody listening: mined transactions again, and calls that never were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from chain.blocks import Block
from chain.environment import BlockEnvironment
from chain.state import BlockHashes, StateReader
from chain.types import Address
from debugger.base_state import OverlayState
from node.tracers.registry import MakeTracer
from node.tracers.run import TracedRun
from vm.block import BlockExecution
from vm.interruption import spend
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
) -> list[Any]:
    """What a tracer made for each transaction of a block says; with ``index`` for that one only."""
    execution = BlockExecution(machine, environment, parent, block_hash)
    execution.begin()
    answers = []
    for place, (transaction, sender) in enumerate(zip(block.transactions, senders, strict=True)):
        if index is not None and place != index:
            execution.add(transaction, sender)
            continue
        journal = execution.journal
        run = TracedRun(
            transaction, sender, environment, parent, OverlayState(parent, journal.delta()), journal
        )
        tracer = make(run)
        ended = execution.run(transaction, sender, tracer)
        answers.append(tracer.result(ended))
        spend(len(msgspec.json.encode(answers[-1])))
        if place == index:
            break
    return answers
