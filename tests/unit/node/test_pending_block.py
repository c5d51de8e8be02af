"""The pending block is the block that is sealed next: same header, transactions, receipts and state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.blocks import Header
from chain.crypto import create_address
from chain.state import EMPTY_ACCOUNT
from chain.transactions import Transaction, encode_transaction, sign_transaction
from chain.types import Address
from node.api.pending_block import PendingBlock
from node.engine.pool import PooledTransaction
from node.engine.requests import Cheat, Control, Mine, Submit, WriterRequest
from tests.durability.nodes import GWEI, LocalNode
from tests.effort import tries
from vm.interruption import Interruption, run_interruptible

COUNTER = bytes.fromhex("61001a80600c6000396000f36000546001018060005560005260003560206000a160206000f3")
"""Creates a contract that adds one to slot 0, logs it and returns it."""
CLEARS = bytes.fromhex("600160005560008055600060015560026001556000600155600a60025500")
"""Creation code that writes and clears slots, and leaves no code."""
DESTROYS = bytes.fromhex("6001600055" + "33ff")
"""Creation code that ends by destroying itself: its storage and account are gone in the same transaction."""
REVERTS = bytes.fromhex("60006000fd")
READS_BLOCK = bytes.fromhex("4260005543600155416002554860035544600455" + "60014303406005554560065500")
"""Creation code that stores time, number, fee recipient, base fee, prevrandao, parent hash and gas limit."""
CODES = (COUNTER, CLEARS, DESTROYS, REVERTS, READS_BLOCK)


class Local:
    """A node that seals on demand."""

    def __init__(self, data_dir: Path) -> None:
        self.local = LocalNode(data_dir)
        self.node = self.local.opened.node(self.local.committer, self.local.publications, 10**7)
        self.ask(lambda done: Control(done, "automine", False))

    def ask(self, make: Callable[[Callable[[object], None]], WriterRequest]) -> Any:
        self.local.clock.seconds -= 1  # `LocalNode.ask` moves it: the pending block is to stay
        return self.local.ask(make)[0]

    def cheat(self, name: str, *arguments: object) -> Any:
        answer = self.ask(lambda done: Cheat(done, name, arguments))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def candidate(self, sender: int, ahead: int, tip: int, **fields: Any) -> PooledTransaction:
        address = self.local.accounts[sender]
        nonce = (self.local.applied.newest_state().account(address) or EMPTY_ACCOUNT).nonce
        unsigned = Transaction(
            type=2,
            chain_id=self.local.opened.config.chain_id,
            nonce=nonce + ahead,
            gas_price=0,
            max_fee_per_gas=fields.get("cap", 100 * GWEI),
            max_priority_fee_per_gas=tip,
            gas_limit=fields.get("gas", 200_000),
            to=fields.get("to"),
            value=fields.get("value", 0),
            data=fields.get("data", b""),
        )
        signed = sign_transaction(unsigned, self.local.secrets[sender])
        return PooledTransaction(signed, address, encode_transaction(signed))

    def submit(self, candidate: PooledTransaction) -> Any:
        return self.ask(lambda done: Submit(done, candidate))

    def mine(self) -> Header:
        assert isinstance(self.ask(Mine), int)
        return self.node.head()

    def check_next(self) -> PendingBlock:
        """Seal a block: it has to be what the pending block was."""
        pending = self.node.pending()
        header = self.mine()
        block = self.node.block(header.number)
        assert block is not None
        assert pending.transactions == block.transactions
        assert list(pending.senders) == list(self.node.senders(header.number) or ())
        assert list(pending.receipts) == list(self.node.receipts(header.number) or ())
        assert pending.header == header
        assert pending.block == block
        return pending


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """One node for all examples: the chain grows from each to the next."""
    local = Local(tmp_path_factory.mktemp("pending") / "data")
    yield local
    local.local.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Local]:
    local = Local(tmp_path / "data")
    yield local
    local.local.close()


SEND = st.fixed_dictionaries(
    {
        "sender": st.integers(0, 2),
        "ahead": st.integers(0, 3),
        "tip": st.sampled_from((0, 1, GWEI, 5 * GWEI)),
        "cap": st.sampled_from((5 * GWEI, 100 * GWEI)),
        "gas": st.sampled_from((90_000, 200_000, 15_000_000)),
        "value": st.sampled_from((0, 5, 4_000 * 10**18)),
        "what": st.integers(0, len(CODES) + 1),
    }
)
SET = st.sampled_from(
    (
        ("set_coinbase", b"\x77" * 20),
        ("set_next_base_fee", 3 * GWEI),
        ("set_prevrandao", b"\x99" * 32),
        ("increase_time", 1_000),
        ("set_interval", 7),
        ("set_interval", None),
        ("set_gas_limit", 1_000_000),
        ("set_gas_limit", 30_000_000),
        ("amend", [b"\x61" * 20, 1, 9, b"\x00", [[0, 5], [1, 6]]]),
    )
)


@settings(
    max_examples=tries(25, 1_000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.one_of(SEND, SET), max_size=12))
def test_is_the_block_sealed_next(shared: Local, steps: list[Any]) -> None:
    """Over pools with gaps, replacements, poor senders, failing and too large transactions, and settings."""
    for step in steps:
        if isinstance(step, tuple):
            shared.cheat(*step)
            continue
        fields = dict(step)
        what = fields.pop("what")
        if what < len(CODES):
            fields |= {"data": CODES[what], "value": 0}
        else:
            fields["to"] = create_address(shared.local.accounts[0], 0) if what == len(CODES) else Address(b"\x61" * 20)
        shared.submit(shared.candidate(**fields))
    shared.check_next()
    shared.check_next()  # what did not fit, and without the settings of one block


def test_state_and_proofs_are_those_of_the_sealed_block(own: Local) -> None:
    own.submit(own.candidate(0, 0, GWEI, data=COUNTER))
    counter = create_address(own.local.accounts[0], 0)
    own.check_next()
    own.local.checkpoint()
    own.submit(own.candidate(1, 0, GWEI, to=counter))
    own.submit(own.candidate(0, 0, GWEI, to=counter))
    own.submit(own.candidate(0, 1, GWEI, data=READS_BLOCK))
    reader = create_address(own.local.accounts[0], 2)
    accounts = [*own.local.accounts, counter, reader, Address(b"\x99" * 20), own.node.head().coinbase]
    before = own.node.pending()
    proofs = [before.prove(address, range(8)) for address in accounts]
    assert before.state.storage(counter, 0) == 2
    assert before.prove(counter, ()).state_root == before.header.state_root
    pending = own.check_next()
    assert pending.header == before.header
    view = own.node.view(pending.number)
    for address, proof in zip(accounts, proofs, strict=True):
        assert proof == own.node.prove(pending.number, address, range(8))
        assert before.state.account(address) == view.account(address)


def test_is_kept_until_something_changes(own: Local) -> None:
    first = own.node.pending()
    assert own.node.pending() is first
    own.submit(own.candidate(0, 0, GWEI, to=Address(b"\x61" * 20), value=5))
    second = own.node.pending()
    assert [len(first.transactions), len(second.transactions)] == [0, 1]
    own.cheat("increase_time", 50)
    third = own.node.pending()
    assert third.environment.timestamp == second.environment.timestamp + 50
    own.local.clock.seconds += 1
    assert own.node.pending().environment.timestamp == third.environment.timestamp + 1
    own.cheat("drop_all")
    assert own.node.pending().transactions == ()
    number = own.mine().number
    assert own.node.pending().number == number + 1


def test_a_block_on_its_way_to_the_disk_is_still_pending(own: Local) -> None:
    """Readers see neither a gap between pool and chain, nor a block that a crash could lose."""
    candidate = own.candidate(0, 0, GWEI, to=Address(b"\x61" * 20), value=5)
    own.submit(candidate)
    before, digest = own.node.pending(), candidate.transaction.hash
    group = own.local.committer.step([Mine(lambda _: None)])
    assert own.local.store.applied.tip.number == before.number
    assert own.node.head().number == before.number - 1
    during = own.node.pending()
    assert (during.number, during.transactions) == (before.number, before.transactions)
    waiting = own.node.pending_transaction(digest)
    assert waiting is not None
    assert waiting.transaction == candidate.transaction
    assert own.node.pending_nonce(candidate.sender) == 1
    assert own.node.fate(digest).status == "waiting"
    following = own.candidate(0, 0, GWEI, to=Address(b"\x61" * 20))
    next_group = own.local.committer.step([Submit(lambda _: None, following)])
    assert own.node.pending_nonce(candidate.sender) == 2  # one goes into a block, one waits
    own.local.committer.commit(group)
    assert own.node.pending_nonce(candidate.sender) == 2
    assert own.node.fate(digest).status == "mined"
    own.local.committer.commit(next_group)
    own.cheat("drop_all")
    assert own.node.pending_nonce(candidate.sender) == 1
    assert own.node.pending_transaction(digest) is None
    after = own.node.pending()
    assert (after.number, after.transactions) == (before.number + 1, ())


def test_is_bounded_by_the_block_and_leaves_the_pool_alone(own: Local) -> None:
    own.cheat("set_gas_limit", 100_000)
    for nonce in range(12):
        own.submit(own.candidate(0, nonce, GWEI, gas=21_000, to=Address(b"\x61" * 20)))
    version = own.local.pool.version
    assert len(own.node.pending().transactions) == 4
    assert len(own.local.pool) == 12
    assert own.local.pool.version == version


def test_follows_the_way_back(own: Local) -> None:
    own.submit(own.candidate(0, 0, GWEI, to=Address(b"\x61" * 20), value=5))
    snapshot = own.cheat("snapshot")
    first = own.node.pending()
    own.mine()
    assert own.node.pending().transactions == ()
    assert own.cheat("revert", snapshot)
    assert own.node.pending().transactions == first.transactions
    own.cheat("drop_all")
    assert own.node.pending().transactions == ()
    own.mine()
    own.mine()
    own.cheat("roll_back", 1)
    assert own.check_next().transactions == ()


class Stopped(Exception):
    """The request's time is up."""


def test_a_stopped_request_builds_nothing_wrong(own: Local) -> None:
    own.submit(own.candidate(0, 0, GWEI, to=Address(b"\x61" * 20), value=5))
    interruption = Interruption()
    interruption.stop(Stopped())
    with pytest.raises(Stopped):
        run_interruptible(interruption, own.node.pending)
    assert len(own.node.pending().transactions) == 1
    own.check_next()
