"""Importing a block somebody else made: every rule of its fork, then execution, then each value of its header."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chain.blocks import Block, Header
from chain.body_rules import check_body, check_uncles
from chain.dao import DRAINED_ACCOUNTS, REFUND_CONTRACT
from chain.environment import BlockEnvironment, Withdrawal
from chain.errors import WrongResult
from chain.forks import ChainConfig, Fork
from chain.header_rules import check_header
from chain.state import BlockHashes, StateDelta, StateReader
from chain.transactions import recover_sender
from chain.types import ZERO_HASH, Hash32
from vm.block import BlockExecution, BlockResult, build_header
from vm.journal import Journal
from vm.machine import Machine
from vm.rewards import rewards_of
from vm.system import pay_out

_EXECUTED_FIELDS = ("gas_used", "blob_gas_used", "bloom", "receipts_root", "requests_hash", "state_root")
"""What a header says about the block's execution."""


def environment_of(
    header: Header, config: ChainConfig, withdrawals: tuple[Withdrawal, ...] = ()
) -> BlockEnvironment:
    """The inputs of a block's execution, as its header (and withdrawals) give them."""
    return BlockEnvironment(
        fork=config.fork_at(header.number, header.timestamp),
        chain_id=config.chain_id,
        number=header.number,
        timestamp=header.timestamp,
        gas_limit=header.gas_limit,
        coinbase=header.coinbase,
        parent_hash=header.parent_hash,
        base_fee=header.base_fee or 0,
        prevrandao=header.prevrandao,
        difficulty=header.difficulty,
        excess_blob_gas=header.excess_blob_gas or 0,
        blob_schedule=config.blobs_at(header.timestamp),
        parent_beacon_root=header.parent_beacon_root or ZERO_HASH,
        withdrawals=withdrawals,
        extra_data=header.extra_data,
        nonce=header.nonce,
        gas_capped=config.gas_capped,
    )


def import_block(
    machine: Machine,
    config: ChainConfig,
    block: Block,
    ancestors: Sequence[Block],
    state: StateReader,
    block_hash: BlockHashes,
    root_of: Callable[[StateDelta], Hash32],
) -> BlockResult:
    """Check and execute a block; its effects are in the result.

    ``ancestors``: the parent first, then back to `chain.body_rules.UNCLE_GENERATIONS`. ``state`` is the parent's,
    ``root_of`` its root after changes. Raises `InvalidBlock` or `InvalidTransaction`.
    """
    header = block.header
    check_header(header, ancestors[0].header, config)
    check_body(block)
    check_uncles(block, ancestors, config)
    environment = environment_of(block.header, config, block.withdrawals or ())
    execution = BlockExecution(
        machine,
        environment,
        state,
        block_hash,
        contracts_required=True,
        deposit_contract=config.deposit_contract,
        root_of=root_of,
    )
    if config.dao_support and header.number == config.dao_fork:
        _move_dao(execution.journal)
    execution.begin()
    for tx in block.transactions:
        execution.add(tx, recover_sender(tx, allow_high_s=environment.fork < Fork.HOMESTEAD))
    result = execution.finish(rewards_of(header, block.uncles, environment.fork))
    _compare(
        build_header(environment, result, root_of(result.delta), block.transactions, block.uncles), header
    )
    return result


def _move_dao(journal: Journal) -> None:
    """The irregular state change of the DAO fork, before anything else of the block (EIP-779)."""
    amounts = [(address, journal.balance(address)) for address in DRAINED_ACCOUNTS]
    pay_out(journal, [(address, -wei) for address, wei in amounts if wei])
    pay_out(journal, [(REFUND_CONTRACT, sum(wei for _, wei in amounts))])


def _compare(built: Header, header: Header) -> None:
    for field in _EXECUTED_FIELDS:
        got, claimed = getattr(built, field), getattr(header, field)
        if got != claimed:
            texts = [
                f"0x{value.hex()}" if isinstance(value, bytes) else str(value) for value in (claimed, got)
            ]
            raise WrongResult(field, f"the header says {texts[0]}, execution gives {texts[1]}")
    assert built.hash == header.hash, "all other fields have been checked"
