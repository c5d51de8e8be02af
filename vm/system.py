"""System operations at the beginning and the end of a block: system calls, withdrawals, requests.

EIP-2935, EIP-4788, EIP-4895, EIP-6110, EIP-7002, EIP-7251, EIP-7685.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Final

from chain.environment import BlockEnvironment
from chain.forks import CANCUN, PRAGUE, Fork
from chain.hashing import keccak256
from chain.receipts import Log
from chain.state import EMPTY_CODE_HASH, BlockHashes
from chain.system_contracts import (
    BEACON_ROOTS_ADDRESS,
    CONSOLIDATION_REQUESTS_ADDRESS,
    HISTORY_STORAGE_ADDRESS,
    SYSTEM_ADDRESS,
    SYSTEM_CONTRACTS,
    WITHDRAWAL_REQUESTS_ADDRESS,
)
from chain.types import Address
from vm.context import ExecutionContext
from vm.delegation import delegation_target
from vm.errors import InvalidDepositLog, SystemCallFailed, SystemContractMissing
from vm.journal import Journal
from vm.machine import Machine
from vm.message import CallKind, Message

SYSTEM_CALL_GAS = 30_000_000

CANONICAL_CODES = {address: keccak256(code) for _, address, code in SYSTEM_CONTRACTS}
"""Hashes of the codes that the EIPs give: what a call by the system does to those is known without running them."""
BEACON_ROOTS_LENGTH = 8191
"""HISTORY_BUFFER_LENGTH of EIP-4788."""
HISTORY_LENGTH = 8191
"""HISTORY_SERVE_WINDOW of EIP-2935."""

Stores = tuple[tuple[int, int], ...]
"""Slots and values."""

WEI_PER_GWEI = 10**9

DEPOSIT_REQUEST, WITHDRAWAL_REQUEST, CONSOLIDATION_REQUEST = b"\0", b"\1", b"\2"

_DEPOSIT_EVENT = bytes.fromhex("649bbc62d0e31342afea4e5cd82d4049e7e1ee912fc0889aa790803be39038c5")

_DEPOSIT_EVENT_BYTES = 576

_DEPOSIT_FIELDS = ((160, 48), (256, 32), (320, 8), (384, 96), (512, 8))
"""Where the ABI encoding puts the length of each field, and what it must be: public key, withdrawal
credentials, amount, signature, index."""


def system_call(
    machine: Machine,
    environment: BlockEnvironment,
    block_hash: BlockHashes,
    journal: Journal,
    address: Address,
    data: bytes,
) -> bytes | None:
    """Output of a call by the system address; None if there is no code there. Pays nothing.

    Raises `SystemCallFailed`, the changes undone.
    """
    if journal.code_hash(address) == EMPTY_CODE_HASH:
        return None
    journal.begin_transaction()
    try:
        context = ExecutionContext(environment, block_hash, journal, SYSTEM_ADDRESS, 0)
        message = Message(CallKind.CALL, SYSTEM_ADDRESS, address, address, 0, data, SYSTEM_CALL_GAS)
        journal.warm_account(SYSTEM_ADDRESS)
        journal.warm_account(address)
        if delegation_target(journal.code(address)) is not None:  # by a genesis, or a development call
            raise SystemCallFailed(f"0x{address.hex()} is delegated, and no system contract")
        outcome = machine.execute(message, context)
    except BaseException:
        journal.abandon_transaction()
        raise
    journal.end_transaction()
    if not outcome.success:
        raise SystemCallFailed(f"0x{address.hex()} ended with {outcome.halt.name}")
    output: bytes = outcome.output
    return output


def begin_block(
    machine: Machine, environment: BlockEnvironment, block_hash: BlockHashes, journal: Journal
) -> None:
    """Store the parent's beacon root and hash; failing and missing contracts are passed over."""
    for first_fork, address, data_of, stored in _AT_THE_BEGINNING:
        if environment.fork < first_fork:
            continue
        if journal.code_hash(address) == CANONICAL_CODES[address]:
            for slot, value in stored(environment):
                journal.set_storage(address, slot, value)
            continue
        with contextlib.suppress(SystemCallFailed):
            journal.end_transaction()  # what has been stored
            system_call(machine, environment, block_hash, journal, address, data_of(environment))
    journal.end_transaction()


def _stored_beacon_root(environment: BlockEnvironment) -> Stores:
    """What EIP-4788's contract stores when the system calls it: the timestamp, and the root as far behind it again."""
    index = environment.timestamp % BEACON_ROOTS_LENGTH
    root = int.from_bytes(environment.parent_beacon_root, "big")
    return (index, environment.timestamp), (index + BEACON_ROOTS_LENGTH, root)


def _stored_parent_hash(environment: BlockEnvironment) -> Stores:
    """What EIP-2935's contract stores when the system calls it."""
    return (((environment.number - 1) % HISTORY_LENGTH, int.from_bytes(environment.parent_hash, "big")),)


_BeginningCall = tuple[Fork, Address, Callable[[BlockEnvironment], bytes], Callable[[BlockEnvironment], Stores]]
_AT_THE_BEGINNING: Final[tuple[_BeginningCall, ...]] = (
    (CANCUN, BEACON_ROOTS_ADDRESS, lambda environment: environment.parent_beacon_root, _stored_beacon_root),
    (PRAGUE, HISTORY_STORAGE_ADDRESS, lambda environment: environment.parent_hash, _stored_parent_hash),
)
"""First fork, contract, data of the call, and what it stores."""


def _nothing_is_queued(journal: Journal, address: Address) -> bool:
    """A call of this contract of EIP-7002 or EIP-7251 changes nothing and returns nothing: its excess, count, head and
    tail (slots 0 to 3) are zero, and its code is the one of the EIP."""
    if journal.code_hash(address) != CANONICAL_CODES[address]:
        return False
    return not journal.has_storage(address) or not any(journal.storage(address, slot) for slot in range(4))


def pay_out(journal: Journal, amounts: Iterable[tuple[Address, int]]) -> None:
    """Credit wei, or debit if negative: withdrawals, rewards before the merge, the DAO fork."""
    journal.begin_transaction()
    for address, wei in amounts:
        journal.add_balance(address, wei)
    journal.end_transaction()


def collect_requests(
    machine: Machine,
    environment: BlockEnvironment,
    block_hash: BlockHashes,
    journal: Journal,
    logs: Iterable[Log],
    *,
    contracts_required: bool,
    deposit_contract: Address,
) -> list[bytes]:
    """The block's requests, each with its type byte first, empty ones left out (EIP-7685).

    ``deposit_contract``: whose logs are deposits, which differs from chain to chain.

    Raises `InvalidDepositLog`, `SystemCallFailed` and, if ``contracts_required``, `SystemContractMissing`.
    """
    requests = [
        DEPOSIT_REQUEST + b"".join(_deposit(log) for log in logs if _is_deposit(log, deposit_contract))
    ]
    for kind, address in (
        (WITHDRAWAL_REQUEST, WITHDRAWAL_REQUESTS_ADDRESS),
        (CONSOLIDATION_REQUEST, CONSOLIDATION_REQUESTS_ADDRESS),
    ):
        if _nothing_is_queued(journal, address):
            continue
        output = system_call(machine, environment, block_hash, journal, address, b"")
        if output is None and contracts_required:
            raise SystemContractMissing(f"no code at 0x{address.hex()}")
        requests.append(kind + (output or b""))
    return [request for request in requests if len(request) > 1]


def _is_deposit(log: Log, contract: Address) -> bool:
    return log.address == contract and log.topics[:1] == (_DEPOSIT_EVENT,)


def _deposit(log: Log) -> bytes:
    """The 192 bytes of a deposit request in a deposit event."""
    if len(log.data) != _DEPOSIT_EVENT_BYTES:
        raise InvalidDepositLog(f"{len(log.data)} bytes instead of {_DEPOSIT_EVENT_BYTES}")
    parts = []
    for index, (offset, size) in enumerate(_DEPOSIT_FIELDS):
        head = int.from_bytes(log.data[32 * index : 32 * index + 32], "big")
        length = int.from_bytes(log.data[offset : offset + 32], "big")
        if head != offset or length != size:
            raise InvalidDepositLog(f"field {index} at {head}, {length} bytes; expected at {offset}, {size}")
        parts.append(log.data[offset + 32 : offset + 32 + size])
    return b"".join(parts)
