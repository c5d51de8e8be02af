"""Executes a transaction, from validation to the payment of fees (Yellow Paper 6)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from chain.console_log import CONSOLE
from chain.crypto import create_address
from chain.environment import BlockEnvironment
from chain.fees import blob_gas_of, floor_data_gas, floor_gas, intrinsic_call_gas, intrinsic_gas
from chain.forks import BERLIN, CANCUN, PRAGUE, SHANGHAI, Fork
from chain.gas_schedule import SCHEDULES
from chain.receipts import Log, LogParts, read_logs
from chain.state import EMPTY_CODE_HASH, BlockHashes, StateReader
from chain.transactions import (
    BLOB,
    SET_CODE,
    Authorization,
    Transaction,
    effective_gas_price,
)
from chain.types import UINT64_MAX, Address
from chain.validity import check_gas_covers, check_initcode, check_static, check_type
from vm.console import ConsoleCalls
from vm.context import ExecutionContext
from vm.delegation import delegation_target, designator
from vm.eligibility import (
    check_blob_fee_cap,
    check_blob_room,
    check_fee_cap,
    check_funds,
    check_gas_room,
    check_nonce_is_next,
    check_sender_code,
)
from vm.evm.execution import Execution
from vm.evm.trace import Tracer
from vm.journal import Journal
from vm.machine import Machine
from vm.message import CallKind, Halt, Message, Outcome

_CALL: Final = CallKind.CALL
_CREATE: Final = CallKind.CREATE


@dataclass(slots=True)
class TransactionResult:
    """The result and cost of a transaction."""

    outcome: Outcome
    gas_used: int
    """Gas paid for: after refunds, and at least the floor of EIP-7623."""
    effective_gas_price: int
    """Wei per gas."""
    recorded_logs: LogParts
    """The logs, in the form in which they were recorded: most calls have theirs thrown away unread."""
    contract_address: Address | None
    """Address of a creation, also of a failed one, as receipts name it."""
    blob_gas_used: int
    gas_refunded: int = 0
    """Gas refunded at the end; an estimate must allow for it (EIP-3529)."""

    def logs(self) -> tuple[Log, ...]:
        """The transaction's logs, read from their records each time."""
        return tuple(read_logs(self.recorded_logs))


def apply_transaction(
    machine: Machine,
    environment: BlockEnvironment,
    block_hash: BlockHashes,
    journal: Journal,
    tx: Transaction,
    sender: Address,
    *,
    block_gas_left: int,
    blob_gas_left: int,
    tracer: Tracer | None = None,
    console: ConsoleCalls | None = None,
    is_checked: bool = False,
) -> TransactionResult:
    """Check the transaction, run it and pay for it. ``console`` collects its calls of console.log.

    ``is_checked``: `chain.validity.check_static` has accepted it under the block's rules.
    Raises an `InvalidTransaction` subclass, or `PrecompileUnavailable`, with the journal as it was.
    """
    if not is_checked:
        _check_alone(machine, environment, tx)
    check_gas_room(tx, block_gas_left)
    _check_sender(journal, tx, sender, environment.fork)
    _check_fees(environment, tx, blob_gas_left)
    check_funds(tx, sender, journal.balance(sender))
    return _run(machine, environment, block_hash, journal, tx, sender, tracer, console)


def simulate_call(
    machine: Machine,
    environment: BlockEnvironment,
    block_hash: BlockHashes,
    journal: Journal,
    tx: Transaction,
    sender: Address,
    tracer: Tracer | None = None,
    console: ConsoleCalls | None = None,
) -> TransactionResult:
    """Run an unsigned transaction as if its sender had signed it: geth's rules for eth_call.

    No check of nonce, signature or sender's code; funds for gas only if a fee is given, for the value always.
    The effects stay in the journal, so give it one to throw away. Raises an `InvalidTransaction` subclass.
    """
    check_type(tx, environment.fork)
    check_initcode(tx, environment.fork, machine.code_bytes_max)
    if tx.max_fee_per_gas == 0:
        # Free calls see a base fee of 0, or they would pay less than the block demands.
        environment = replace(environment, base_fee=0) if environment.base_fee else environment
    else:
        _check_fees(environment, tx, environment.blob_schedule.max * blob_gas_of(tx))
    check_gas_covers(tx, environment.fork)
    check_funds(tx, sender, journal.balance(sender))
    return _run(machine, environment, block_hash, journal, tx, sender, tracer, console)


def simulate_quickly(
    machine: Machine,
    environment: BlockEnvironment,
    state: StateReader,
    sender: Address,
    to: Address,
    data: bytes,
    gas_limit: int,
) -> tuple[Halt, bytes, int] | None:
    """Halt, output and gas used of `simulate_call` for a transaction that has a recipient, data, and nothing else.

    None if it calls somebody, or needs more than a frame and slots; nothing has happened then. The environment's base
    fee is 0.
    """
    fork = environment.fork
    intrinsic, floor = intrinsic_call_gas(data, fork), floor_data_gas(data, fork)
    if gas_limit < max(intrinsic, floor):
        return None
    outcome = machine.call_quickly(environment, state, sender, to, data, gas_limit - intrinsic)
    if outcome is None:
        return None
    return outcome.halt, outcome.output, _gas_of(fork, gas_limit, outcome.gas_left, outcome.refund, floor)[0]


def _check_alone(machine: Machine, environment: BlockEnvironment, tx: Transaction) -> None:
    """Check what needs no state. Raises an `InvalidTransaction` subclass."""
    check_static(
        tx,
        environment.fork,
        environment.chain_id,
        gas_capped=environment.gas_capped,
        code_bytes_max=machine.code_bytes_max,
    )


def _check_sender(journal: Journal, tx: Transaction, sender: Address, fork: Fork) -> None:
    account = journal.account(sender)
    check_nonce_is_next(tx, account)
    check_sender_code(tx, sender, account, lambda: journal.code(sender), fork)


def _check_fees(environment: BlockEnvironment, tx: Transaction, blob_gas_left: int) -> None:
    check_fee_cap(tx, environment.base_fee)
    if tx.type == BLOB:
        check_blob_room(tx, blob_gas_left)
        check_blob_fee_cap(tx, environment.blob_price)


def _run(
    machine: Machine,
    environment: BlockEnvironment,
    block_hash: BlockHashes,
    journal: Journal,
    tx: Transaction,
    sender: Address,
    tracer: Tracer | None,
    console: ConsoleCalls | None,
) -> TransactionResult:
    """Buy gas, execute, settle. Whatever is raised, the journal is as it was."""
    journal.begin_transaction()
    try:
        message, context = _prepare(environment, block_hash, journal, tx, sender)
        context.console = console
        if console is not None and message.to == CONSOLE:
            console.add(message.data)
        outcome = machine.execute(message, context, tracer)
        return _settle(journal, tx, context, outcome, message.to if tx.to is None else None)
    except BaseException:
        journal.abandon_transaction()
        raise


def begin_transaction(
    machine: Machine,
    environment: BlockEnvironment,
    block_hash: BlockHashes,
    journal: Journal,
    tx: Transaction,
    sender: Address,
    tracer: Tracer | None = None,
) -> Execution:
    """Check the transaction and stop before its first opcode; nothing is settled at the execution's end.

    Raises an `InvalidTransaction` subclass with the journal as it was.
    """
    _check_alone(machine, environment, tx)
    _check_sender(journal, tx, sender, environment.fork)
    _check_fees(environment, tx, environment.blob_schedule.max * blob_gas_of(tx))
    check_funds(tx, sender, journal.balance(sender))
    journal.begin_transaction()
    try:
        message, context = _prepare(environment, block_hash, journal, tx, sender)
        return machine.begin(message, context, tracer)
    except BaseException:
        journal.abandon_transaction()
        raise


def _prepare(
    environment: BlockEnvironment, block_hash: BlockHashes, journal: Journal, tx: Transaction, sender: Address
) -> tuple[Message, ExecutionContext]:
    """Buy gas, raise the nonce, warm and delegate: all that comes before the execution."""
    fork, to = environment.fork, tx.to
    price = effective_gas_price(tx, environment.base_fee)
    blob_price = environment.blob_price if fork >= CANCUN else 0
    bought = tx.gas_limit * price
    if tx.type == BLOB:
        # A simulated call may offer nothing for its blobs, as it may offer nothing for gas.
        bought += blob_gas_of(tx) * min(blob_price, tx.max_fee_per_blob_gas)
    message = _message_of(tx, sender, tx.gas_limit - intrinsic_gas(tx, fork))
    # The nonce goes up before execution; a creation's address comes from the nonce before that.
    journal.begin_sending(sender, tx.nonce + 1, bought)
    if fork >= BERLIN:
        _warm(journal, environment, tx, sender, message.to)
    if tx.type == SET_CODE:
        _delegate(journal, environment.chain_id, tx.authorization_list)
    if fork >= PRAGUE and to is not None and journal.code_hash(to) != EMPTY_CODE_HASH:
        target = delegation_target(journal.code(to))
        if target is not None:
            journal.warm_account(target)
    hashes = tx.blob_versioned_hashes
    return message, ExecutionContext(environment, block_hash, journal, sender, price, hashes, blob_price)


def _message_of(tx: Transaction, sender: Address, gas: int) -> Message:
    if tx.to is None:
        address = create_address(sender, tx.nonce)
        return Message(_CREATE, sender, address, address, tx.value, tx.data, gas)
    return Message(_CALL, sender, tx.to, tx.to, tx.value, tx.data, gas)


def _warm(
    journal: Journal, environment: BlockEnvironment, tx: Transaction, sender: Address, to: Address
) -> None:
    """What is warm from the start (EIP-2929, EIP-2930, EIP-3651), besides the precompiles."""
    if environment.fork >= SHANGHAI:
        journal.warm_at_start((sender, to, environment.coinbase))
    else:
        journal.warm_at_start((sender, to))
    for address, slots in tx.access_list:
        journal.warm_account(address)
        for slot in slots:
            journal.warm_slot(address, slot)


def _delegate(journal: Journal, chain_id: int, authorizations: tuple[Authorization, ...]) -> None:
    """Apply each authorization that holds, skip the others; they outlive a failing execution (EIP-7702)."""
    for authorization in authorizations:
        if authorization.chain_id not in (0, chain_id) or authorization.nonce >= UINT64_MAX:
            continue
        authority = authorization.authority()
        if authority is None:
            continue
        journal.warm_account(authority)
        account = journal.account(authority)
        if account.code_hash != EMPTY_CODE_HASH and delegation_target(journal.code(authority)) is None:
            continue
        if account.nonce != authorization.nonce:
            continue
        if not account.is_empty:
            journal.add_refund(SCHEDULES[journal.fork].authorization_refund)
        clears = not any(authorization.address)
        journal.set_code(authority, b"" if clears else designator(authorization.address))
        journal.set_nonce(authority, account.nonce + 1)


def gas_of(fork: Fork, tx: Transaction, gas_left: int, refund: int) -> tuple[int, int]:
    """Gas paid for and gas given back, from what the execution left and the refund counter."""
    return _gas_of(fork, tx.gas_limit, gas_left, refund, floor_gas(tx, fork))


def _gas_of(fork: Fork, gas_limit: int, gas_left: int, refund: int, floor: int) -> tuple[int, int]:
    spent = gas_limit - gas_left
    refund = min(refund, spent // SCHEDULES[fork].refund_quotient)
    return max(spent - refund, floor), refund


def _settle(
    journal: Journal,
    tx: Transaction,
    context: ExecutionContext,
    outcome: Outcome,
    contract_address: Address | None,
) -> TransactionResult:
    """Refund, floor, payment of the coinbase, end of the transaction."""
    environment, price = context.environment, context.gas_price
    gas_used, refund = gas_of(environment.fork, tx, outcome.gas_left, journal.refund)
    unused = tx.gas_limit - gas_used
    if unused and price:
        journal.add_balance(context.origin, unused * price)
    journal.add_balance(environment.coinbase, gas_used * (price - environment.base_fee))
    logs = journal.recorded_logs()
    journal.end_transaction()
    blob_gas = blob_gas_of(tx) if tx.type == BLOB else 0
    return TransactionResult(outcome, gas_used, price, logs, contract_address, blob_gas, gas_refunded=refund)
