"""The program of a session: bytecode, a call of a deployed contract, or a transaction, with block and state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from chain.crypto import create_address
from chain.environment import BlockEnvironment
from chain.errors import ZvmdError
from chain.forks import CANCUN_BLOBS, PRAGUE_BLOBS, BlobSchedule, Fork
from chain.state import BlockHashes, StateReader
from chain.transactions import Transaction, decode_transaction, sender_of
from chain.types import UINT64_MAX, ZERO_ADDRESS, Address, Hash32
from debugger.errors import InvalidProgram
from debugger.hex import Number, address_of, data_of, number_of, storable
from debugger.limits import CALLDATA_BYTES, CODE_BYTES, PROGRAM_GAS, STATE_ENTRIES
from vm.context import ExecutionContext
from vm.evm.execution import Execution
from vm.evm.trace import Tracer
from vm.journal import Journal
from vm.machine import Machine
from vm.message import CallKind, Message
from vm.transaction import begin_transaction

DEFAULT_TARGET = Address(bytes(18) + b"\xc0\xde")
"""Default address of bytecode."""


class AccountSetup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Changes to one account before the run; a field that is not given stays."""

    balance: Number | None = None
    nonce: int | None = None
    code: str | None = None
    storage: dict[str, Number] = {}


class BlockSetup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """The block the program runs in."""

    number: int = 1
    timestamp: int = 1
    gas_limit: int = 30_000_000
    coinbase: str = "0x" + "00" * 20
    base_fee: Number = 0
    prevrandao: str = "0x" + "00" * 32
    difficulty: Number = 0
    chain_id: int = 31_337
    excess_blob_gas: int = 0
    blob_schedule: tuple[int, int, int] | None = None
    """Target, maximum and fee update fraction; the fork's if not given."""


class Program(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Exactly one of ``code``, ``to`` and ``transaction`` says what runs. All text is hex."""

    code: str | None = None
    """Bytecode, run at ``address`` (or as init code if ``create``), without a transaction's fixed costs."""
    to: str | None = None
    """A contract of the base state to call, without a transaction's fixed costs."""
    transaction: str | None = None
    """A signed transaction; caller, value, calldata and gas are its own."""
    address: str | None = None
    create: bool = False
    fork: str = "osaka"
    caller: str = "0x" + "00" * 20
    value: Number = 0
    calldata: str = "0x"
    gas: int = 30_000_000
    block: BlockSetup = BlockSetup()
    state: dict[str, AccountSetup] = {}
    """Accounts set up before the run, by address."""

    def storable(self) -> Program:
        """The same program with large numbers as hex text."""
        state = {
            address: replace(
                setup,
                balance=None if setup.balance is None else storable(setup.balance),
                storage={slot: storable(value) for slot, value in setup.storage.items()},
            )
            for address, setup in self.state.items()
        }
        block = replace(
            self.block, base_fee=storable(self.block.base_fee), difficulty=storable(self.block.difficulty)
        )
        return replace(self, value=storable(self.value), block=block, state=state)

    def launch(self) -> ReadyProgram:
        """The program checked and parsed. Raises `InvalidProgram` and errors of the transaction."""
        if sum(given is not None for given in (self.code, self.to, self.transaction)) != 1:
            raise InvalidProgram("give exactly one of code, to and transaction")
        environment = _environment(self.block, fork_of(self.fork))
        tx = None if self.transaction is None else _transaction(self.transaction)
        code = None if self.code is None else data_of(self.code, "code", CODE_BYTES)
        if self.create and code is None:
            raise InvalidProgram("create needs code")
        caller = address_of(self.caller, "caller")
        target = self.to or self.address
        return ReadyProgram(
            environment,
            tx,
            sender_of(tx) if tx is not None else caller,
            code,
            self.create,
            DEFAULT_TARGET if target is None else address_of(target, "to"),
            number_of(self.value, "value"),
            data_of(self.calldata, "calldata", CALLDATA_BYTES),
            number_of(self.gas, "gas", PROGRAM_GAS),
            _accounts(self.state),
        )


def fork_of(name: str) -> Fork:
    """The fork by its name, as in ``shanghai``. Raises `InvalidProgram`."""
    try:
        return Fork[name.strip().upper().replace(" ", "_").replace("-", "_")]
    except KeyError:
        known = ", ".join(fork.name.lower() for fork in Fork)
        raise InvalidProgram(f"no fork {name!r}"[:60] + f"; there are {known}") from None


def _transaction(text: str) -> Transaction:
    tx = decode_transaction(data_of(text, "transaction", CALLDATA_BYTES))
    number_of(tx.gas_limit, "gas limit", PROGRAM_GAS)
    return tx


def _environment(block: BlockSetup, fork: Fork) -> BlockEnvironment:
    schedule = PRAGUE_BLOBS if fork >= Fork.PRAGUE else CANCUN_BLOBS
    if block.blob_schedule is not None:
        if min(block.blob_schedule) < 1 or max(block.blob_schedule) > UINT64_MAX:
            raise InvalidProgram("block.blobSchedule: out of range")
        schedule = BlobSchedule(*block.blob_schedule)
    return BlockEnvironment(
        fork=fork,
        chain_id=number_of(block.chain_id, "block.chainId", UINT64_MAX),
        number=number_of(block.number, "block.number", UINT64_MAX),
        timestamp=number_of(block.timestamp, "block.timestamp", UINT64_MAX),
        gas_limit=number_of(block.gas_limit, "block.gasLimit", UINT64_MAX),
        coinbase=address_of(block.coinbase, "block.coinbase"),
        base_fee=number_of(block.base_fee, "block.baseFee"),
        prevrandao=Hash32(data_of(block.prevrandao, "block.prevrandao", 32, 32)),
        difficulty=number_of(block.difficulty, "block.difficulty"),
        excess_blob_gas=number_of(block.excess_blob_gas, "block.excessBlobGas", 2**40),
        blob_schedule=schedule,
        gas_capped=False,  # the chain that a session's transaction comes from may have no cap
    )


def block_setup(environment: BlockEnvironment) -> BlockSetup:
    """The setup that reproduces this environment, for sessions of past transactions."""
    blobs = environment.blob_schedule
    return BlockSetup(
        environment.number,
        environment.timestamp,
        environment.gas_limit,
        "0x" + environment.coinbase.hex(),
        hex(environment.base_fee),
        "0x" + environment.prevrandao.hex(),
        hex(environment.difficulty),
        environment.chain_id,
        environment.excess_blob_gas,
        (blobs.target, blobs.max, blobs.base_fee_update_fraction),
    )


@dataclass(frozen=True, slots=True)
class _Account:
    balance: int | None
    nonce: int | None
    code: bytes | None
    slots: dict[int, int]


def _accounts(state: Mapping[str, AccountSetup]) -> dict[Address, _Account]:
    if sum(1 + len(setup.storage) for setup in state.values()) > STATE_ENTRIES:
        raise InvalidProgram(f"state: more than {STATE_ENTRIES} entries")
    accounts = {
        address_of(text, "state"): _Account(
            None if setup.balance is None else number_of(setup.balance, "balance"),
            None if setup.nonce is None else number_of(setup.nonce, "nonce", UINT64_MAX),
            None if setup.code is None else data_of(setup.code, "state code", CODE_BYTES),
            {number_of(k, "slot"): number_of(v, "slot value") for k, v in setup.storage.items()},
        )
        for text, setup in state.items()
    }
    if len(accounts) != len(state):
        raise InvalidProgram("state: an address is given twice")
    return accounts


@dataclass(frozen=True, slots=True)
class ReadyProgram:
    """A validated program, which can be started any number of times."""

    environment: BlockEnvironment
    transaction: Transaction | None
    caller: Address
    code: bytes | None
    create: bool
    target: Address
    value: int
    calldata: bytes
    gas: int
    accounts: dict[Address, _Account]

    def begin(
        self, machine: Machine, state: StateReader, block_hash: BlockHashes, tracer: Tracer | None = None
    ) -> Execution:
        """A new execution before its first opcode, over a journal of its own.

        Raises an `InvalidTransaction` subclass if the base state does not allow the transaction.
        """
        journal = Journal(state, self.environment.fork)
        self._set_up(journal)
        if self.transaction is not None:
            return begin_transaction(
                machine, self.environment, block_hash, journal, self.transaction, self.caller, tracer
            )
        journal.begin_transaction()
        message = self._message(journal)
        if self.environment.fork >= Fork.BERLIN:
            journal.warm_account(self.caller)
            journal.warm_account(message.to)
        if self.environment.fork >= Fork.SHANGHAI:
            journal.warm_account(self.environment.coinbase)
        return machine.begin(
            message, ExecutionContext(self.environment, block_hash, journal, self.caller, 0), tracer
        )

    def _set_up(self, journal: Journal) -> None:
        """Set up the accounts; the caller of a bytecode or call session gets the value it sends if it has less."""
        for address, setup in self.accounts.items():
            if setup.code is not None:
                journal.set_code(address, setup.code)
            if setup.balance is not None:
                journal.set_balance(address, setup.balance)
            if setup.nonce is not None:
                journal.set_nonce(address, setup.nonce)
            for slot, value in setup.slots.items():
                journal.set_storage(address, slot, value)
        if self.code is not None and not self.create:
            journal.set_code(self.target, self.code)
        if self.transaction is None and journal.balance(self.caller) < self.value:
            journal.set_balance(self.caller, self.value)

    def _message(self, journal: Journal) -> Message:
        if not self.create:
            return Message(
                CallKind.CALL, self.caller, self.target, self.target, self.value, self.calldata, self.gas
            )
        assert self.code is not None
        nonce = journal.nonce(self.caller)
        address = create_address(self.caller, nonce)
        journal.set_nonce(self.caller, min(nonce + 1, UINT64_MAX))
        init_code = self.code + self.calldata
        return Message(CallKind.CREATE, self.caller, address, address, self.value, init_code, self.gas)


def parse_program(document: object) -> Program:
    """The program of parsed JSON. Raises `InvalidProgram`."""
    try:
        program = msgspec.convert(document, Program)
        program.launch()
    except msgspec.ValidationError as error:
        raise InvalidProgram(str(error)[:300]) from None
    except InvalidProgram:
        raise
    except ZvmdError as error:
        raise InvalidProgram(f"transaction: {error}") from error
    return program


assert len(DEFAULT_TARGET) == len(ZERO_ADDRESS)
