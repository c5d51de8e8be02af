"""Development calls as the writer does them: time, fees, the state itself, the pool, snapshots and the way back.

Each function gets the ledger, the wall clock and its arguments, logs what it does before it is answered, and returns
the answer: a number, a text, a boolean or None. `CHEATS` is the list; names are the node's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chain.forks import Fork
from chain.header_rules import MAX_GAS_LIMIT, MIN_GAS_LIMIT
from chain.types import UINT64_MAX, UINT256_MAX, Address, Hash32
from node.api.errors import CheatRefused, OutOfReach
from node.engine.ledger import Ledger
from node.engine.pool import PoolEntry
from node.engine.producer import ROLLED_BACK, TIMESTAMP_MAX, Controls
from storage.amendments import Revert, Snapshot
from storage.blocks.fates import dropped

Answer = int | str | bool | None
IMPERSONATED_MAX = 1_000


# Time


def increase_time(ledger: Ledger, now: int, seconds: int) -> Answer:
    """Move the chain's clock; returns its total lead over the wall clock, seconds."""
    offset = _lead(ledger, now) + seconds
    check_time(now + offset)
    ledger.control("time_offset_seconds", offset)
    return offset


def set_time(ledger: Ledger, now: int, timestamp: int) -> Answer:
    """Set the chain's clock; returns by how many seconds it was moved forwards, 0 for backwards."""
    check_time(timestamp)
    moved = timestamp - now - _lead(ledger, now)
    ledger.control("time_offset_seconds", timestamp - now)
    return max(moved, 0)


def _lead(ledger: Ledger, now: int) -> int:
    """Seconds the chain's clock is ahead of the wall clock, negative behind.

    Timestamps strictly rise, so many blocks within a second run ahead of the clock. The newest block counts then: a
    step forwards is one for the next block too. Hardhat adds each forced second to its offset.
    """
    return max(ledger.controls.time_offset_seconds, ledger.tip.timestamp - now)


def set_next_timestamp(ledger: Ledger, _now: int, timestamp: int) -> Answer:
    """Timestamp of the next block; the clock goes on from there."""
    check_time(timestamp)
    if timestamp <= ledger.tip.timestamp:
        raise CheatRefused(f"timestamp {timestamp} is not after the newest block's, {ledger.tip.timestamp}")
    ledger.control("next_timestamp", timestamp)
    return None


def set_interval(ledger: Ledger, _now: int, seconds: int | None) -> Answer:
    """Seconds between the timestamps of blocks, None for the clock's; whether there was an interval before."""
    before = ledger.controls.timestamp_interval
    if seconds is not None:
        check_time(seconds)
    ledger.control("timestamp_interval", seconds)
    return before is not None


def check_time(seconds: int) -> None:
    """Raises `CheatRefused` for seconds that no block may have."""
    if not 0 <= seconds <= TIMESTAMP_MAX:
        raise CheatRefused(f"{seconds} is not a block's time")


# Fees, fee recipient, randomness, limits


def set_control(
    name: str, least: int = 0, most: int = UINT64_MAX, since: Fork = Fork.FRONTIER
) -> Callable[[Ledger, int, Any], Answer]:
    """A function that sets a control of this name: a number from ``least`` to ``most``, or another value.

    Blocks of forks before ``since`` do not have it: it is refused there, as in anvil and Hardhat.
    """

    def change(ledger: Ledger, now: int, value: Any) -> Answer:
        fork = ledger.next_block(now).fork
        if fork < since:
            raise CheatRefused(f"{name} begins with {since.name.title()}; the next block is {fork.name.title()}")
        if isinstance(value, int) and not least <= value <= most:
            raise CheatRefused(f"{name} {value} is not from {least} to {most}")
        ledger.control(name, value)
        return True

    return change


def impersonate(ledger: Ledger, _now: int, address: Address, enabled: bool) -> Answer:
    """Let an account send transactions that nobody signed, or no longer; whether that changed anything."""
    accounts = [known for known in ledger.controls.impersonated if known != address]
    if enabled and len(accounts) >= IMPERSONATED_MAX:
        raise CheatRefused(f"{IMPERSONATED_MAX} accounts are impersonated already")
    changed = enabled != (address in ledger.controls.impersonated)
    if changed:
        ledger.control("impersonated", [*accounts, address] if enabled else accounts)
    return changed


# The state


def amend(ledger: Ledger, _now: int, *amendments: list[Any]) -> Answer:
    """Set nonce, balance, code and slots of accounts (`storage.amendments.Amendment`).

    What waits with a nonce below the new one is dropped: no block could take it, and a restart would not bring it back.
    """
    ledger.cheat("amend", list(amendments))
    nonces = {address: nonce for address, nonce, *_ in amendments if nonce is not None}
    if nonces:
        stale = [entry for address, nonce in nonces.items() for entry in ledger.pool.below(address, nonce)]
        _drop(ledger, stale, "a development call raised the account's nonce")
    return None


def add_balance(ledger: Ledger, now: int, addresses: list[Address], wei: int) -> Answer:
    """Raise balances, at most to 2**256 - 1; the last one then."""
    state, balance = ledger.state(), 0
    amendments: list[list[Any]] = []
    for address in addresses:
        account = state.account(address)
        balance = min((account.balance if account else 0) + wei, UINT256_MAX)
        amendments.append([address, None, balance, None, []])
    amend(ledger, now, *amendments)
    return str(balance)


# The pool


def drop(ledger: Ledger, _now: int, transaction_hash: Hash32) -> Answer:
    """Forget a waiting transaction; whether it waited."""
    entry = ledger.pool.get(transaction_hash)
    if entry is not None:
        _drop(ledger, [entry], "dropped by its hash (anvil_dropTransaction)")
    return entry is not None


def drop_sender(ledger: Ledger, _now: int, sender: Address) -> Answer:
    """Forget what an account has waiting; how many."""
    waiting = [entry for entry in ledger.pool.entries() if entry.sender == sender]
    return _drop(ledger, waiting, "dropped with all of its sender's (anvil_removePoolTransactions)")


def drop_all(ledger: Ledger, _now: int) -> Answer:
    """Forget everything that waits; how many."""
    return _drop(ledger, ledger.pool.entries(), "dropped with all that waited (anvil_dropAllTransactions)")


def _drop(ledger: Ledger, entries: list[PoolEntry], reason: str) -> int:
    ledger.drop([(entry, dropped(reason)) for entry in entries])
    return len(entries)


# Snapshots and the way back. Nothing else may be under way: see `ALONE`.


def snapshot(ledger: Ledger, now: int) -> Answer:
    """Remember chain, state, pool and time; the snapshot's id."""
    store = ledger.store
    pool = [entry.lsn for entry in ledger.pool.entries()]
    settings = {name: getattr(ledger.controls, name) for name in ROLLED_BACK}
    taken = Snapshot(store.next_snapshot, ledger.tip.number, ledger.position, pool, settings, now)  # type: ignore[arg-type]
    ledger.cheat("snapshot", list(taken))
    return taken.id


def revert(ledger: Ledger, now: int, number: int) -> Answer:
    """Bring everything back to a snapshot, which is used up with all later ones; whether there was one."""
    if number not in ledger.store.snapshots:
        return False
    kept = Snapshot(*ledger.store.snapshots[number])
    # The clock goes on from where it stood then.
    offset = kept.settings["time_offset_seconds"] + kept.at - now
    settings = {**kept.settings, "time_offset_seconds": offset}
    _go_back(ledger, Revert(kept.block, kept.position, kept.pool, settings, number))
    return True


def roll_back(ledger: Ledger, _now: int, depth: int) -> Answer:
    """Take the newest blocks out of the chain; their transactions are gone. The number of the head."""
    target = ledger.tip.number - depth
    if target < 0:
        raise CheatRefused(f"{depth} blocks cannot be taken from a chain of {ledger.tip.number}")
    position = ledger.store.state.positions.of(target)
    pool = [entry.lsn for entry in ledger.pool.entries()]
    _go_back(ledger, Revert(target, position, pool, {}, _later_snapshots(ledger, position)))  # type: ignore[arg-type]
    return target


def reset(ledger: Ledger, _now: int) -> Answer:
    """Back to genesis, with an empty pool and the clock and the fees of a new chain."""
    ledger.control("resets", ledger.controls.resets + 1)
    fresh = Controls(gas_limit=ledger.store.chain.header(0).gas_limit)  # type: ignore[union-attr]
    _go_back(ledger, Revert(0, 0, [], {name: getattr(fresh, name) for name in ROLLED_BACK}, 0))
    return True


def _later_snapshots(ledger: Ledger, position: int) -> int:
    """The first snapshot that was taken after the state at a position."""
    later = [kept[0] for kept in ledger.store.snapshots.values() if Snapshot(*kept).position > position]
    return min(later, default=ledger.store.next_snapshot)


def _go_back(ledger: Ledger, back: Revert) -> None:
    state = ledger.store.state
    if not state.keeps(back.position):
        raise OutOfReach(f"block {back.block} cannot be gone back to: states are kept from block {state.oldest} on")
    ledger.cheat("revert", list(back))


CHEATS: dict[str, Callable[..., Answer]] = {
    "increase_time": increase_time,
    "set_time": set_time,
    "set_next_timestamp": set_next_timestamp,
    "set_interval": set_interval,
    "set_coinbase": set_control("coinbase"),
    "set_gas_limit": set_control("gas_limit", MIN_GAS_LIMIT, MAX_GAS_LIMIT),
    "set_next_base_fee": set_control("next_base_fee", since=Fork.LONDON),
    "set_prevrandao": set_control("next_prevrandao", since=Fork.PARIS),
    "impersonate": impersonate,
    "impersonate_all": set_control("impersonate_all"),
    "amend": amend,
    "add_balance": add_balance,
    "drop": drop,
    "drop_sender": drop_sender,
    "drop_all": drop_all,
    "snapshot": snapshot,
    "revert": revert,
    "roll_back": roll_back,
    "reset": reset,
}
ALONE = frozenset(("snapshot", "revert", "roll_back", "reset"))
"""What waits until everything before it is durable and shown, and before which nothing new begins."""


def perform(ledger: Ledger, now: int, name: str, arguments: tuple[Any, ...]) -> Answer:
    """Do one development call; its answer. Raises `CheatRefused`, `OutOfReach`."""
    return CHEATS[name](ledger, now, *arguments)

