"""Any order of sends, replacements, sealing, reverts and crashes: every answered hash is mined, waits or has a fate."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.state import EMPTY_ACCOUNT
from chain.types import Address, Hash32
from node.engine.drafts import Draft
from node.engine.pool import PooledTransaction
from node.engine.requests import Cheat, Control, Submit
from tests.durability.nodes import LocalNode
from tests.effort import tries
from tests.fates import REPLACES, SENDERS, SENDS, act, check_successive, others
from tests.signed import signed_transfer

STRANGER = Address(b"\x42" * 20)
OTHERS = others(
    "automine", "manual", "mine", "snapshot", "revert", "roll_back", "drop", "poor", "rich", "kill", "save"
)  # fmt: skip
STEPS = st.lists(st.one_of(SENDS, SENDS, REPLACES, OTHERS, OTHERS), min_size=1, max_size=14)


class Life:
    """A node and every hash that it answered."""

    def __init__(self, data_dir: Path) -> None:
        self.node = LocalNode(data_dir)
        self.answered: list[Hash32] = []
        self.snapshots: list[int] = []
        self.wei = 0

    def signed(self, sender: int, nonce: int, gwei: int) -> PooledTransaction:
        self.wei += 1  # every transaction has a hash of its own
        return signed_transfer(self.node.secrets[sender], STRANGER, nonce, gwei=gwei, wei=self.wei)

    def put(self, *offered: PooledTransaction | Draft) -> None:
        """Together, as one turn of the writer gets them."""
        bodies = [None, None, *[object()] * len(offered)]  # two alone, the others as one batch
        makes = [
            lambda done, one=one, body=body: Submit(done, one, body=body)
            for one, body in zip(offered, bodies, strict=False)
        ]
        self.answered += [answer for answer in self.node.ask(*makes) if isinstance(answer, bytes)]  # type: ignore[misc]

    def send(self, sends: list[tuple[int, int]]) -> None:
        """Nobody names a nonce: each sender's are successive, but for those that waited behind a gap."""
        given: dict[object, list[int]] = {}

        def draft(sender: int, gwei: int) -> Draft:
            def sign(nonce: int) -> PooledTransaction:
                given.setdefault(self.node.accounts[sender], []).append(nonce)
                return self.signed(sender, nonce, gwei)

            return Draft(self.node.accounts[sender], sign)

        before = len(self.answered)
        waited = {(entry.sender, entry.transaction.nonce) for entry in self.node.pool.entries()}
        self.put(*(draft(*one) for one in sends))
        if len(self.answered) - before == len(sends):
            assert all(nonces == sorted(nonces) for nonces in given.values())
            check_successive(given, waited)

    def replace(self, which: tuple[int, int, int]) -> None:
        sender, ahead, gwei = which
        account = self.node.applied.newest_state().account(self.node.accounts[sender]) or EMPTY_ACCOUNT
        self.put(self.signed(sender, account.nonce + ahead, gwei))

    def cheat(self, name: str, *arguments: Any) -> Any:
        (answer,) = self.node.ask(lambda done: Cheat(done, name, arguments))
        return answer

    def other(self, name: str, number: int) -> None:
        node = self.node
        sender = node.accounts[number % SENDERS]
        if name in ("automine", "manual"):
            node.ask(lambda done: Control(done, "automine", name == "automine"))
        elif name == "mine":
            node.mine()
        elif name == "snapshot":
            self.snapshots.append(self.cheat("snapshot"))
        elif name == "revert" and self.snapshots:
            self.cheat("revert", self.snapshots.pop(-1 - number % len(self.snapshots)))
        elif name == "roll_back":
            self.cheat("roll_back", min(number, node.applied.tip.number))
        elif name == "drop" and self.answered:
            self.cheat("drop", self.answered[-1 - number % len(self.answered)])
        elif name in ("poor", "rich"):
            self.cheat("amend", [sender, None, 10**15 * number if name == "poor" else 10**22, None, []])
        elif name == "kill":
            node.close()
            self.node = LocalNode(node.data_dir)
        elif name == "save":
            node.checkpoint()

    def check(self) -> None:
        node = self.node
        for known in self.answered:
            places = (node.store.transaction_place(known), node.pool.get(known), node.store.fates.get(known))
            assert any(place is not None for place in places), f"0x{known.hex()} is lost"


@given(STEPS)
@settings(max_examples=tries(8, 1_000), deadline=None, derandomize=True)
def test_in_any_order(steps: list[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        life = Life(Path(folder) / "data")
        try:
            for name, argument in [*steps, ("kill", 0)]:
                act(life, name, argument)
                life.check()
        finally:
            life.node.close()
