"""Development calls as the writer executes them: time, fees, state, pool, snapshots and rewinds.

Each function gets the chain, the wall clock and its arguments, makes the log records, and returns the answer: a number,
a string, a boolean or None. `CHEATS` is the list; the names are the node's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chain.production import ROLLED_BACK, RULES, TIMESTAMP_MAX, ChainSettings, Rule
from chain.types import UINT256_MAX, Address, Hash32
from node.api.errors import CheatRefused, OutOfReach
from node.engine.logged_chain import LoggedChain
from node.engine.pool import PooledTransaction
from storage.amendments import Snapshot, SnapshotRevert
from storage.blocks.fates import dropped

Answer = int | str | bool | None
IMPERSONATED_MAX = 1_000


# Time


def increase_time(chain: LoggedChain, now: int, seconds: int) -> Answer:
    """Move the chain's clock; returns its total lead over the wall clock, seconds."""
    offset = _lead(chain, now) + seconds
    check_time(now + offset)
    chain.set("time_offset_seconds", offset)
    return offset


def set_time(chain: LoggedChain, now: int, timestamp: int) -> Answer:
    """Set the chain's clock; returns by how many seconds it was moved forwards, 0 for backwards."""
    check_time(timestamp)
    moved = timestamp - now - _lead(chain, now)
    chain.set("time_offset_seconds", timestamp - now)
    return max(moved, 0)


def _lead(chain: LoggedChain, now: int) -> int:
    """Seconds the chain's clock is ahead of the wall clock, negative behind.

    Timestamps strictly rise, so many blocks within a second run ahead of the clock. The newest block counts then: a
    step forwards is one for the next block too. Hardhat adds each forced second to its offset.
    """
    return max(chain.applied.settings.time_offset_seconds, chain.applied.tip.timestamp - now)


def set_next_timestamp(chain: LoggedChain, _now: int, timestamp: int) -> Answer:
    """Set the timestamp of the next block; the clock continues from there."""
    check_time(timestamp)
    if timestamp <= chain.applied.tip.timestamp:
        raise CheatRefused(f"timestamp {timestamp} is not after the newest block's, {chain.applied.tip.timestamp}")
    chain.set("next_timestamp", timestamp)
    return None


def set_interval(chain: LoggedChain, _now: int, seconds: int | None) -> Answer:
    """Set the seconds between blocks, None to follow the clock; returns whether an interval was set before."""
    before = chain.applied.settings.timestamp_interval
    if seconds is not None:
        check_time(seconds)
    chain.set("timestamp_interval", seconds)
    return before is not None


def check_time(seconds: int) -> None:
    """Raises `CheatRefused` for seconds that no block may have."""
    if not 0 <= seconds <= TIMESTAMP_MAX:
        raise CheatRefused(f"{seconds} is not a block's time")


# Fees, fee recipient, randomness, limits


def setting(name: str) -> Callable[[LoggedChain, int, Any], Answer]:
    """A function that changes a setting of the chain, within the bounds of its rule (`chain.production.RULES`).

    Blocks of forks before the rule's do not have it: it is refused there, as in anvil and Hardhat.
    """
    rule = RULES.get(name, Rule())

    def change(chain: LoggedChain, now: int, value: Any) -> Answer:
        fork = chain.next_block(now).fork
        if fork < rule.since:
            raise CheatRefused(f"{name} begins with {rule.since.name.title()}; the next block is {fork.name.title()}")
        if isinstance(value, int) and not rule.least <= value <= rule.most:
            raise CheatRefused(f"{name} {value} is not from {rule.least} to {rule.most}")
        chain.set(name, value)
        return True

    return change


def impersonate(chain: LoggedChain, _now: int, address: Address, enabled: bool) -> Answer:
    """Start or stop impersonating an account; returns whether that changed anything."""
    accounts = [known for known in chain.applied.settings.impersonated if known != address]
    if enabled and len(accounts) >= IMPERSONATED_MAX:
        raise CheatRefused(f"{IMPERSONATED_MAX} accounts are impersonated already")
    changed = enabled != (address in chain.applied.settings.impersonated)
    if changed:
        chain.set("impersonated", [*accounts, address] if enabled else accounts)
    return changed


# The state


def amend(chain: LoggedChain, _now: int, *amendments: list[Any]) -> Answer:
    """Set nonce, balance, code and slots of accounts (`storage.amendments.Amendment`).

    What waits with a nonce below the new one is dropped: no block could take it, and a restart would not bring it back.
    """
    chain.amend(amendments)
    nonces = {address: nonce for address, nonce, *_ in amendments if nonce is not None}
    if nonces:
        stale = [entry for address, nonce in nonces.items() for entry in chain.pool.below(address, nonce)]
        _drop(chain, stale, "a development call raised the account's nonce")
    return None


def add_balance(chain: LoggedChain, now: int, addresses: list[Address], wei: int) -> Answer:
    """Raise balances, at most to 2**256 - 1; returns the last one."""
    state, balance = chain.applied.newest_state(), 0
    amendments: list[list[Any]] = []
    for address in addresses:
        account = state.account(address)
        balance = min((account.balance if account else 0) + wei, UINT256_MAX)
        amendments.append([address, None, balance, None, []])
    amend(chain, now, *amendments)
    return str(balance)


# The pool


def drop(chain: LoggedChain, _now: int, transaction_hash: Hash32) -> Answer:
    """Drop a waiting transaction; returns whether it was there."""
    entry = chain.pool.get(transaction_hash)
    if entry is not None:
        _drop(chain, [entry], "dropped by its hash (anvil_dropTransaction)")
    return entry is not None


def drop_sender(chain: LoggedChain, _now: int, sender: Address) -> Answer:
    """Drop all waiting transactions of an account; returns their number."""
    waiting = [entry for entry in chain.pool.entries() if entry.sender == sender]
    return _drop(chain, waiting, "dropped with all of its sender's (anvil_removePoolTransactions)")


def drop_all(chain: LoggedChain, _now: int) -> Answer:
    """Drop all waiting transactions; returns their number."""
    return _drop(chain, chain.pool.entries(), "dropped with all that waited (anvil_dropAllTransactions)")


def _drop(chain: LoggedChain, entries: list[PooledTransaction], reason: str) -> int:
    chain.drop([(entry, dropped(reason)) for entry in entries])
    return len(entries)


# Snapshots and rewinds. Nothing else may be under way: see `node.engine.requests.ALONE`.


def snapshot(chain: LoggedChain, now: int) -> Answer:
    """Save chain, state, pool and time; returns the snapshot's id."""
    settings = chain.applied.settings
    return chain.snapshot({name: getattr(settings, name) for name in ROLLED_BACK}, now)


def revert(chain: LoggedChain, now: int, number: int) -> Answer:
    """Restore a snapshot, which is deleted together with all later ones; returns whether it existed."""
    if number not in chain.applied.snapshots:
        return False
    kept = Snapshot(*chain.applied.snapshots[number])
    # The clock continues from its time in the snapshot.
    offset = kept.settings["time_offset_seconds"] + kept.at - now
    settings = {**kept.settings, "time_offset_seconds": offset}
    _go_back(chain, SnapshotRevert(kept.block, kept.position, kept.pool, settings, number))
    return True


def roll_back(chain: LoggedChain, _now: int, depth: int) -> Answer:
    """Remove the newest blocks from the chain; their transactions are dropped. Returns the head's number."""
    target = chain.applied.tip.number - depth
    if target < 0:
        raise CheatRefused(f"{depth} blocks cannot be taken from a chain of {chain.applied.tip.number}")
    position = chain.applied.state.positions.of(target)
    pool = [entry.lsn for entry in chain.pool.entries() if entry.lsn is not None]
    _go_back(chain, SnapshotRevert(target, position, pool, {}, _later_snapshots(chain, position)))
    return target


def reset(chain: LoggedChain, _now: int) -> Answer:
    """Reset to the genesis, with an empty pool and the clock and fees of a new chain."""
    chain.set("resets", chain.applied.settings.resets + 1)
    genesis = chain.applied.chain.header(0)
    assert genesis is not None
    fresh = ChainSettings(gas_limit=genesis.gas_limit)
    _go_back(chain, SnapshotRevert(0, 0, [], {name: getattr(fresh, name) for name in ROLLED_BACK}, 0))
    return True


def _later_snapshots(chain: LoggedChain, position: int) -> int:
    """The first snapshot that was taken after the state at a position."""
    later = [kept[0] for kept in chain.applied.snapshots.values() if Snapshot(*kept).position > position]
    return min(later, default=chain.applied.next_snapshot)


def _go_back(chain: LoggedChain, back: SnapshotRevert) -> None:
    state = chain.applied.state
    if not state.keeps(back.position):
        raise OutOfReach(f"block {back.block} is out of reach: states are kept from block {state.oldest} on")
    chain.log_revert(back)


CHEATS: dict[str, Callable[..., Answer]] = {
    "increase_time": increase_time,
    "set_time": set_time,
    "set_next_timestamp": set_next_timestamp,
    "set_interval": set_interval,
    "set_coinbase": setting("coinbase"),
    "set_gas_limit": setting("gas_limit"),
    "set_next_base_fee": setting("next_base_fee"),
    "set_prevrandao": setting("next_prevrandao"),
    "impersonate": impersonate,
    "impersonate_all": setting("impersonate_all"),
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


def perform(chain: LoggedChain, now: int, name: str, arguments: tuple[Any, ...]) -> Answer:
    """Execute one development call; returns its answer. Raises `CheatRefused`, `OutOfReach`."""
    return CHEATS[name](chain, now, *arguments)

