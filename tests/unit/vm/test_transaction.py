"""Transactions: who is refused and why, what the others cost, and what calls nobody signed may do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chain import errors
from chain.crypto import address_of_secret, create_address, sign
from chain.environment import BlockEnvironment
from chain.forks import CODE_BYTES_MAX, Fork
from chain.hashing import keccak256
from chain.state import EMPTY_CODE_HASH, Account, StateDelta
from chain.transactions import Authorization, Transaction, sign_transaction
from chain.types import ZERO_HASH, Address, Hash32
from node.conformance.memory_state import MemoryState
from node.machine.assembly import build_machine
from vm.delegation import designator
from vm.errors import PrecompileUnavailable
from vm.evm.native_state.logs import NativeLogs
from vm.journal import Journal
from vm.machine import Machine
from vm.message import Halt
from vm.transaction import TransactionResult, apply_transaction, simulate_call

GWEI = 10**9
ETHER = 10**18
SECRET = bytes(31) + b"\x01"
OTHER_SECRET = bytes(31) + b"\x02"
SENDER = address_of_secret(SECRET)
AUTHORITY = address_of_secret(OTHER_SECRET)
COINBASE = Address(b"\xc0" * 20)
CONTRACT = Address(b"\xaa" * 20)
BASE_FEE = 7 * GWEI

ENVIRONMENT = BlockEnvironment(
    Fork.OSAKA,
    chain_id=1,
    number=1,
    timestamp=1_000,
    gas_limit=30_000_000,
    coinbase=COINBASE,
    base_fee=BASE_FEE,
)
TRANSFER = Transaction(2, 1, 0, 0, GWEI, 10 * GWEI, 100_000, CONTRACT, 5, b"")

REVERT = bytes.fromhex("5f5ffd")
SET_SLOT_0 = bytes.fromhex("60015f55")
CLEAR_SLOT_0 = bytes.fromhex("6000600055")
RETURN_BASE_FEE = bytes.fromhex("485f5260205ff3")


@pytest.fixture(scope="module")
def machine() -> Machine:
    return build_machine()


def state_with(code: bytes = b"", slots: dict[int, int] | None = None, **accounts: Account) -> MemoryState:
    state = MemoryState()
    state.accounts[SENDER] = Account(0, ETHER)
    if code:
        state.accounts[CONTRACT] = Account(1, 0, keccak256(code))
        state.codes[keccak256(code)] = code
    if slots:
        state.slots[CONTRACT] = slots
    return state


def run(
    machine: Any,
    tx: Transaction,
    state: MemoryState | None = None,
    environment: BlockEnvironment = ENVIRONMENT,
    secret: bytes = SECRET,
    **left: int,
) -> tuple[TransactionResult, Journal]:
    journal = Journal(state or state_with(), environment.fork)
    limits = {"block_gas_left": environment.gas_limit, "blob_gas_left": 9 * 131_072} | left
    signed = sign_transaction(tx, secret)
    sender = address_of_secret(secret)
    try:
        return apply_transaction(
            machine, environment, lambda _: ZERO_HASH, journal, signed, sender, **limits
        ), journal
    except Exception:
        assert journal.delta() == StateDelta(), "a refused transaction changed the journal"
        raise


def test_a_transfer_pays_base_fee_to_nobody_and_priority_fee_to_the_coinbase(machine: Machine) -> None:
    result, journal = run(machine, TRANSFER)
    assert result.outcome.halt is Halt.STOP
    assert (result.gas_used, result.effective_gas_price, result.contract_address) == (21_000, 8 * GWEI, None)
    assert journal.delta().accounts == {
        SENDER: Account(1, ETHER - 5 - 21_000 * 8 * GWEI),
        CONTRACT: Account(0, 5),
        COINBASE: Account(0, 21_000 * GWEI),
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"nonce": 1}, errors.NonceTooHigh),
        ({"nonce": 2**64 - 1}, errors.NonceOverflow),
        ({"value": ETHER}, errors.InsufficientFunds),
        ({"max_fee_per_gas": BASE_FEE - 1}, errors.FeeTooLow),
        ({"max_priority_fee_per_gas": 11 * GWEI}, errors.PriorityFeeAboveMaxFee),
        ({"gas_limit": 20_999}, errors.IntrinsicGasTooLow),
        ({"gas_limit": 2**24 + 1}, errors.GasLimitTooHigh),
        ({"gas_limit": 21_000, "data": b"\x01" * 10}, errors.IntrinsicGasTooLow),
        ({"to": None, "data": bytes(49_153), "gas_limit": 5_000_000}, errors.InitcodeTooLarge),
        ({"chain_id": 2}, errors.WrongChainId),
        ({"type": 3}, errors.InvalidBlobs),
        ({"type": 3, "blob_versioned_hashes": (Hash32(b"\x02" * 32),)}, errors.InvalidBlobs),
        ({"type": 3, "blob_versioned_hashes": (Hash32(b"\x01" * 32),)}, errors.BlobFeeTooLow),
        ({"type": 4}, errors.InvalidAuthorizationList),
    ],
)
def test_refusals_change_nothing(
    machine: Machine, changes: dict[str, Any], expected: type[Exception]
) -> None:
    with pytest.raises(expected):
        run(machine, replace(TRANSFER, **changes))


def test_refusals_by_state_and_block(machine: Machine) -> None:
    state = state_with()
    state.accounts[SENDER] = Account(1, ETHER)
    with pytest.raises(errors.NonceTooLow):
        run(machine, TRANSFER, state)
    with pytest.raises(errors.GasLimitTooHigh):
        run(machine, TRANSFER, block_gas_left=99_999)
    blob = replace(TRANSFER, type=3, blob_versioned_hashes=(Hash32(b"\x01" * 32),), max_fee_per_blob_gas=1)
    with pytest.raises(errors.InvalidBlobs):
        run(machine, blob, blob_gas_left=131_071)
    result, journal = run(machine, blob)
    assert result.blob_gas_used == 131_072
    assert journal.balance(SENDER) == ETHER - 5 - 21_000 * 8 * GWEI - 131_072
    with pytest.raises(errors.UnsupportedTransactionType):
        run(machine, blob, environment=replace(ENVIRONMENT, fork=Fork.SHANGHAI))


def test_senders_with_code_are_refused_unless_delegated(machine: Machine) -> None:
    for code, is_fine in ((b"\x00", False), (designator(CONTRACT), True)):
        state = state_with()
        state.accounts[SENDER] = Account(0, ETHER, keccak256(code))
        state.codes[keccak256(code)] = code
        if is_fine:
            run(machine, TRANSFER, state)
        else:
            with pytest.raises(errors.SenderNotEoa):
                run(machine, TRANSFER, state)


def test_a_creation_is_named_by_the_nonce_before_it(machine: Machine) -> None:
    deploy = replace(TRANSFER, to=None, value=0, data=bytes.fromhex("60005f5360015ff3"))
    result, journal = run(machine, deploy)
    address = create_address(SENDER, 0)
    assert result.contract_address == result.outcome.created == address
    assert journal.code(address) == b"\x00"
    failed, journal = run(machine, replace(deploy, data=REVERT))
    assert failed.contract_address == address
    assert failed.outcome.created is None
    assert journal.nonce(SENDER) == 1
    assert not journal.exists(address)


@pytest.mark.parametrize(("fork", "share"), [(Fork.BERLIN, 2), (Fork.LONDON, 5)])
def test_refunds_are_capped(machine: Machine, fork: Fork, share: int) -> None:
    """Clearing a slot refunds 15,000 (4,800 from London on), at most a half (a fifth) of the gas."""
    environment = replace(ENVIRONMENT, fork=fork, base_fee=0)
    legacy = replace(TRANSFER, type=0, value=0, gas_price=GWEI, max_fee_per_gas=GWEI)
    result, _ = run(machine, legacy, state_with(CLEAR_SLOT_0, {0: 1}), environment)
    spent = 21_000 + 6 + 5_000
    assert result.gas_refunded == min(15_000 if fork < Fork.LONDON else 4_800, spent // share)
    assert result.gas_used == spent - result.gas_refunded


def test_data_costs_at_least_the_floor(machine: Machine) -> None:
    result, _ = run(machine, replace(TRANSFER, data=b"\x01" * 1_000))
    assert result.gas_used == 21_000 + 40 * 1_000
    result, _ = run(
        machine, replace(TRANSFER, data=b"\x01" * 1_000), environment=replace(ENVIRONMENT, fork=Fork.CANCUN)
    )
    assert result.gas_used == 21_000 + 16 * 1_000


def test_an_access_list_warms(machine: Machine) -> None:
    code = bytes.fromhex("5f5450")
    cold, _ = run(machine, TRANSFER, state_with(code))
    warm, _ = run(machine, replace(TRANSFER, access_list=((CONTRACT, (0,)),)), state_with(code))
    assert warm.gas_used - cold.gas_used == 2_400 + 1_900 - 2_000


def authorization(nonce: int = 0, chain_id: int = 1, address: Address = CONTRACT) -> Authorization:
    unsigned = Authorization(chain_id, address, nonce, 0, 0, 0)
    return replace(
        unsigned,
        **dict(zip(("y_parity", "r", "s"), sign(unsigned.signing_hash(), OTHER_SECRET), strict=True)),
    )


def set_code(*authorizations: Authorization) -> Transaction:
    return replace(
        TRANSFER, type=4, to=AUTHORITY, value=0, gas_limit=300_000, authorization_list=authorizations
    )


def test_a_delegated_account_runs_the_code_of_another(machine: Machine) -> None:
    result, journal = run(machine, set_code(authorization()), state_with(SET_SLOT_0))
    assert result.outcome.success
    assert journal.code(AUTHORITY) == designator(CONTRACT)
    assert journal.nonce(AUTHORITY) == 1
    assert journal.storage(AUTHORITY, 0) == 1
    assert result.gas_refunded == 0
    state = state_with(SET_SLOT_0)
    state.accounts[AUTHORITY] = Account(0, 1)
    again, _ = run(machine, set_code(authorization()), state)
    assert again.gas_refunded == 12_500  # the account was there already


def test_a_delegation_outlives_the_failure_of_its_transaction(machine: Machine) -> None:
    result, journal = run(machine, set_code(authorization()), state_with(REVERT))
    assert result.outcome.halt is Halt.REVERT
    assert journal.code(AUTHORITY) == designator(CONTRACT)


def test_bad_authorizations_are_skipped(machine: Machine) -> None:
    good = authorization()
    bad = (
        authorization(nonce=1),
        authorization(chain_id=2),
        authorization(nonce=2**64 - 1),
        replace(good, s=2**255),
        replace(good, r=0),
    )
    _, journal = run(machine, set_code(*bad), state_with(SET_SLOT_0))
    assert journal.account(AUTHORITY).is_empty
    clearing = replace(authorization(), address=Address(bytes(20)))
    cleared = authorization(nonce=1, address=Address(bytes(20)))
    assert clearing.authority() != AUTHORITY
    _, journal = run(machine, set_code(good, cleared), state_with(SET_SLOT_0))
    assert journal.account(AUTHORITY) == Account(2, 0, EMPTY_CODE_HASH)


def test_an_unavailable_precompile_refuses_the_transaction() -> None:
    class Failing:
        code_bytes_max = CODE_BYTES_MAX

        def execute(self, message: Any, context: Any, tracer: Any) -> Any:
            context.journal.set_storage(CONTRACT, 1, 1)
            raise PrecompileUnavailable("bls12_g1add", 0x0B)

    with pytest.raises(PrecompileUnavailable, match="precompile 0x0b"):
        run(Failing(), TRANSFER)


def simulate(
    machine: Machine,
    state: MemoryState | None = None,
    *,
    sender: Address = SENDER,
    max_fee_per_gas: int = 0,
    to: Address | None = CONTRACT,
    gas_limit: int = 1_000_000,
    **fields: Any,
) -> TransactionResult:
    call = Transaction(2, None, 0, 0, 0, max_fee_per_gas, gas_limit, to, **{"value": 0, "data": b""} | fields)
    journal = Journal(state or state_with(), Fork.OSAKA)
    return simulate_call(machine, ENVIRONMENT, lambda _: ZERO_HASH, journal, call, sender)


def test_calls_without_fees_are_free(machine: Machine) -> None:
    """Not even the sender must exist, and the base fee looks like 0."""
    result = simulate(machine, state_with(RETURN_BASE_FEE), sender=AUTHORITY)
    assert (result.outcome.output, result.effective_gas_price) == (bytes(32), 0)
    assert result.gas_used < 22_000
    created = simulate(machine, to=None, data=bytes.fromhex("60005f5360015ff3"))
    assert created.contract_address == create_address(SENDER, 0)


def test_calls_with_fees_are_checked(machine: Machine) -> None:
    result = simulate(machine, state_with(RETURN_BASE_FEE), max_fee_per_gas=BASE_FEE)
    assert result.outcome.output == BASE_FEE.to_bytes(32, "big")
    with pytest.raises(errors.FeeTooLow):
        simulate(machine, max_fee_per_gas=1)
    with pytest.raises(errors.InsufficientFunds):
        simulate(machine, sender=AUTHORITY, max_fee_per_gas=BASE_FEE)
    with pytest.raises(errors.InsufficientFunds):
        simulate(machine, sender=AUTHORITY, value=1)
    with pytest.raises(errors.IntrinsicGasTooLow):
        simulate(machine, gas_limit=20_999)
    with pytest.raises(errors.InitcodeTooLarge):
        simulate(machine, to=None, data=bytes(49_153), gas_limit=10**7)
    warm = simulate(machine, state_with(bytes.fromhex("5f5450")), access_list=((CONTRACT, (0,)),))
    assert warm.gas_used == 21_000 + 2_400 + 1_900 + 2 + 100 + 2


def test_a_balance_stays_a_word(machine: Machine) -> None:
    state = state_with()
    state.accounts[COINBASE] = state.accounts[CONTRACT] = Account(0, 2**256 - 1)
    _, journal = run(machine, TRANSFER, state)
    assert (journal.balance(CONTRACT), journal.balance(COINBASE)) == (2**256 - 1, 2**256 - 1)


def test_a_call_that_offers_nothing_for_its_blobs_pays_nothing(machine: Machine) -> None:
    state = MemoryState()
    journal = Journal(state, Fork.OSAKA)
    blobs = (Hash32(b"\x01" * 32),)
    call = Transaction(3, None, 0, 0, 0, 0, 100_000, CONTRACT, 0, b"", blob_versioned_hashes=blobs)
    result = simulate_call(machine, ENVIRONMENT, lambda _: ZERO_HASH, journal, call, SENDER)
    assert (result.outcome.halt.is_success, journal.balance(SENDER)) == (True, 0)


def test_the_logs_of_a_call_are_read_only_if_somebody_looks(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading 15,000 logs that nobody wanted took two thirds of the time of a call."""
    read: list[int] = []
    logs = NativeLogs.logs
    monkeypatch.setattr(NativeLogs, "logs", lambda records: (read.append(1), logs(records))[1])
    result = simulate(machine, state_with(bytes.fromhex("600660055f5fa200")), gas_limit=100_000)
    assert result.outcome.halt.is_success
    assert not read
    assert [log.topics for log in result.logs()] == [(Hash32((5).to_bytes(32)), Hash32((6).to_bytes(32)))]
    assert read
