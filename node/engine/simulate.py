"""Simulation: calls, gas estimates, state and block overrides. Nothing is logged or kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from chain.environment import BlockEnvironment
from chain.errors import InsufficientFunds, IntrinsicGasTooLow
from chain.gas_schedule import SCHEDULES
from chain.state import BlockHashes, OverlayState, StateReader
from chain.transactions import Transaction
from chain.types import ZERO_ADDRESS, Address
from chain.validity import gas_cap
from node.api.errors import ExecutionFailed, InvalidParams
from node.api.tracing import MakeTracer, TracedRun
from node.api.types import AccountOverride, BlockOverrides, CallFields, CallResult, Overrides
from node.engine.unsigned import to_call
from vm.console import ConsoleCalls
from vm.journal import Journal
from vm.machine import Machine
from vm.message import Halt
from vm.transaction import simulate_call, simulate_quickly

ESTIMATE_TOLERANCE_PERCENT = 1
"""How far an estimate may be above the smallest sufficient gas, as in geth (1.5 %)."""
BALANCE = "what the sender's balance pays for"
_HALT_NAMES: Final = {halt: halt.name.lower() for halt in Halt}
OUT_OF_GAS: Final = _HALT_NAMES[Halt.OUT_OF_GAS]


@dataclass(frozen=True, slots=True)
class Situation:
    """Where a simulation starts: the block's environment, the state after it, and the machine to run on."""

    machine: Machine
    environment: BlockEnvironment
    block_hash: BlockHashes
    state: StateReader
    gas_max: int
    """Gas of a call that names none, and the most that a call gets."""
    logs_before: int = 0
    """Number of logs of the earlier transactions in the same block."""
    is_quick: bool = False
    """Whether plain calls take `vm.transaction.simulate_quickly`."""
    free_environment: BlockEnvironment = field(init=False)
    """The environment with a base fee of 0, for calls without a fee; one object, because machines cache by identity."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "free_environment", replace(self.environment, base_fee=0))


def run_call(
    situation: Situation, fields: CallFields, overrides: Overrides | None, console: ConsoleCalls | None = None
) -> CallResult:
    """One call by the rules of ``eth_call``; ``console`` collects its console.log.

    Raises `InvalidTransaction` subclasses where geth refuses.
    """
    if situation.is_quick and overrides is None and fields.to is not None and _is_plain(fields):
        gas = min(fields.gas or situation.gas_max, situation.gas_max)
        done = simulate_quickly(
            situation.machine, situation.free_environment, situation.state, fields.sender or ZERO_ADDRESS,
            fields.to, fields.data, gas,
        )  # fmt: skip
        if done is not None:
            halt, output, gas_used = done
            return CallResult(halt.is_success, halt.is_revert, _HALT_NAMES[halt], output, gas_used)
    environment, journal, call = _prepare(situation, fields, overrides)
    sender = fields.sender or ZERO_ADDRESS
    result = simulate_call(situation.machine, environment, situation.block_hash, journal, call, sender, console=console)
    outcome, halt = result.outcome, result.outcome.halt
    return CallResult(
        success=halt.is_success,
        reverted=halt.is_revert,
        halt=_HALT_NAMES[Halt(halt)],
        output=outcome.code if fields.to is None and halt.is_success else outcome.output,
        gas_used=result.gas_used,
        created=result.contract_address,
    )


def _is_plain(fields: CallFields) -> bool:
    """Whether the call has nothing but a sender, a recipient, data and gas."""
    return not (
        fields.value
        or fields.gas_price
        or fields.max_fee_per_gas
        or fields.max_priority_fee_per_gas
        or fields.max_fee_per_blob_gas
        or fields.access_list
        or fields.blob_versioned_hashes
        or fields.authorization_list
    )


def _prepare(
    situation: Situation, fields: CallFields, overrides: Overrides | None
) -> tuple[BlockEnvironment, Journal, Transaction]:
    """Environment and journal with the overrides, and the call as an unsigned transaction."""
    environment = situation.environment if fields.gas_price or fields.max_fee_per_gas else situation.free_environment
    environment = _override_block(environment, overrides.block if overrides else None)
    journal = Journal(situation.state, environment.fork)
    accounts = overrides.accounts if overrides else {}
    for address, override in accounts.items():
        _override_precompile(journal, accounts, address, override)
        _override_account(journal, address, override)
    gas = min(fields.gas or situation.gas_max, situation.gas_max)
    return environment, journal, to_call(fields, journal.nonce(fields.sender or ZERO_ADDRESS), gas)


def trace_call(situation: Situation, fields: CallFields, overrides: Overrides | None, make: MakeTracer) -> Any:
    """`run_call` with a tracer; returns the tracer's result. Raises `InvalidTransaction` subclasses."""
    environment, journal, call = _prepare(situation, fields, overrides)
    sender = fields.sender or ZERO_ADDRESS
    before = OverlayState(situation.state, journal.delta())
    tracer = make(
        TracedRun(
            call,
            sender,
            environment,
            situation.state,
            before,
            journal,
            situation.machine.code_bytes_max,
            logs_before=situation.logs_before,
        )
    )
    result = simulate_call(situation.machine, environment, situation.block_hash, journal, call, sender, tracer)
    return tracer.result(result)


def estimate_gas(
    situation: Situation, fields: CallFields, overrides: Overrides | None, console: ConsoleCalls | None = None
) -> int | CallResult:
    """Smallest sufficient gas limit within `ESTIMATE_TOLERANCE_PERCENT`, or the failed result when none suffices.

    Never more than a transaction may have. Raises `InsufficientFunds` if the sender can pay for less than any call
    takes, at the price given; `ExecutionFailed`, which names the limit, if the most that is allowed does not suffice.

    ``console`` collects the console.log of the first attempt, which has the most gas.
    """
    bounds = _gas_bounds(situation, fields, overrides)
    name = min(bounds, key=bounds.__getitem__)
    high, affordable = bounds[name], bounds[BALANCE]

    def run(gas: int, console: ConsoleCalls | None = None) -> CallResult | None:
        try:
            return run_call(situation, _with_gas(fields, gas), overrides, console)
        except IntrinsicGasTooLow:
            return None

    best = run(high, console)
    if best is None and high == affordable:
        raise InsufficientFunds(f"the sender's balance pays for {affordable} gas")
    if best is None or best.halt == OUT_OF_GAS:
        raise ExecutionFailed(f"gas required exceeds allowance ({high}), which is {name}")
    if not best.success:
        return best
    low = best.gas_used - 1
    # Most transactions need their gas plus what a refund or the 63/64 rule holds back (EIP-150).
    prices = SCHEDULES[situation.environment.fork]
    withheld = prices.call_withheld_divisor
    guess = best.gas_used + prices.call_stipend
    guess += guess // (withheld - 1) if withheld else 0
    while low + 1 < high and (high - low) * 100 > high * ESTIMATE_TOLERANCE_PERCENT:
        middle = guess if low < guess < high else (low + high) // 2
        guess = 0
        result = run(middle)
        if result is not None and result.success:
            high = middle
        else:
            low = middle
    exact = run(low + 1)
    return low + 1 if exact is not None and exact.success else high


def _gas_bounds(situation: Situation, fields: CallFields, overrides: Overrides | None) -> dict[str, int]:
    """The limits on a transaction's gas, by the names that users know."""
    environment = situation.environment
    bounds = {
        "the gas of the request": fields.gas,
        "the gas cap of a transaction (EIP-7825)": gas_cap(environment.fork, gas_capped=environment.gas_capped),
        "the block's gas limit": environment.gas_limit,
        "the limit of a call (limits.call_gas)": situation.gas_max,
        BALANCE: _affordable_gas(situation, fields, overrides),
    }
    return {name: gas for name, gas in bounds.items() if gas is not None and (gas or name == BALANCE)}


def _affordable_gas(situation: Situation, fields: CallFields, overrides: Overrides | None) -> int:
    """Gas that the sender's balance pays for besides the value, as in geth; unlimited if no price is given."""
    price = fields.max_fee_per_gas or fields.gas_price
    if not price:
        return situation.gas_max
    _, journal, call = _prepare(situation, fields, overrides)
    return max(journal.balance(fields.sender or ZERO_ADDRESS) - call.value, 0) // price


def _with_gas(fields: CallFields, gas: int) -> CallFields:
    return replace(fields, gas=gas)


def _override_precompile(
    journal: Journal, accounts: Mapping[Address, AccountOverride], address: Address, override: AccountOverride
) -> None:
    """Remove or move a precompiled contract whose account is overridden, by the rules of geth's override.go."""
    moved_to = override.move_precompile_to
    if address in journal.precompiles:
        if moved_to is not None and moved_to in accounts:
            raise InvalidParams(f"account 0x{moved_to.hex()} is already overridden")
        journal.replace_precompile(address, moved_to)
    elif moved_to is not None:
        raise InvalidParams(f"account 0x{address.hex()} is not a precompile")


def _override_account(journal: Journal, address: Address, override: AccountOverride) -> None:
    if override.state is not None:
        journal.create_account(address)
    if override.balance is not None:
        journal.set_balance(address, override.balance)
    if override.nonce is not None:
        journal.set_nonce(address, override.nonce)
    if override.code is not None:
        journal.set_code(address, override.code)
    for slot, value in {**(override.state or {}), **override.state_diff}.items():
        journal.set_storage(address, slot, value)


def _override_block(environment: BlockEnvironment, overrides: BlockOverrides | None) -> BlockEnvironment:
    if overrides is None:
        return environment
    fields = (
        "number", "difficulty", "timestamp", "gas_limit", "coinbase", "prevrandao", "base_fee", "blob_base_fee",
    )  # fmt: skip
    changes = {name: value for name in fields if (value := getattr(overrides, name)) is not None}
    return replace(environment, **changes)
