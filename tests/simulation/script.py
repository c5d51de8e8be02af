"""What a workload is written in: transactions with what they shall do, and a life to send them to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chain.crypto import create_address
from chain.transactions import Transaction, encode_transaction, sign_transaction
from chain.types import Address
from storage.directory.stamp import CURRENT, Stamp, Version, write_stamp
from tests.simulation.disks import Disk, older_index
from tests.simulation.life import ACCOUNTS, GENESIS, SECRETS, Life, tracked
from tests.simulation.money import Money, Sent, Slot
from tests.simulation.record import Record

GWEI = 10**9
ETHER = 10**18
OLD_STAMP = Stamp({store: Version(version.major, 0) for store, version in CURRENT.items()}, "0.0.1", "0.0.1")
"""Of a version that wrote the first minor format of everything."""


@dataclass
class Script:
    """A life and the nonces its accounts use next."""

    life: Life
    nonces: list[int] = field(default_factory=lambda: [0] * len(ACCOUNTS))

    def send(
        self,
        sender: int,
        to: Address | None,
        value: int = 0,
        data: bytes = b"",
        *,
        gas: int = 1_000_000,
        kind: int = 2,
        nonce: int | None = None,
        cap: int = 20 * GWEI,
        tip: int = GWEI,
        **effects: Any,
    ) -> Sent:
        """A signed transaction; without a nonce it takes the sender's next."""
        if nonce is None:
            nonce = self.nonces[sender]
            self.nonces[sender] += 1
        unsigned = Transaction(
            type=kind,
            chain_id=GENESIS.config.chain_id,
            nonce=nonce,
            gas_price=cap if kind < 2 else 0,
            max_fee_per_gas=cap,
            max_priority_fee_per_gas=cap if kind < 2 else tip,
            gas_limit=gas,
            to=to,
            value=value,
            data=data,
        )
        signed = sign_transaction(unsigned, SECRETS[sender])
        tip = unsigned.max_priority_fee_per_gas
        return Sent(signed.hash, encode_transaction(signed), ACCOUNTS[sender], nonce, tip, cap, **effects)

    def transfer(self, sender: int, to: int, value: int, **fields: Any) -> Sent:
        """Ether from account to account."""
        moves = ((ACCOUNTS[sender], ACCOUNTS[to], value),)
        return self.send(
            sender, ACCOUNTS[to], value, gas=fields.pop("gas", 21_000), plain=True, moves=moves, **fields
        )

    def create(self, sender: int, initcode: bytes, value: int = 0, **fields: Any) -> Sent:
        """A new contract."""
        address = create_address(ACCOUNTS[sender], self.nonces[sender])
        effects = {"created": ((address, 1),), "moves": ((ACCOUNTS[sender], address, value),), **fields}
        return self.send(sender, None, value, initcode, gas=2_000_000, **effects)

    # Shorthand for the life

    def turn(self, *sent: Sent, wait_mined: bool = False, commit: bool = True) -> None:
        """One turn of the writer with these transactions."""
        self.life.turn(*(self.life.submit(one, wait_mined=wait_mined) for one in sent), commit=commit)

    def control(self, name: str, value: object) -> None:
        """One turn with a changed setting."""
        self.life.turn(self.life.control(name, value))

    def keep(self, session: int, content: bytes | None, *, commit: bool = True) -> None:
        """One turn with a session's record."""
        self.life.turn(self.life.keep(session, content), commit=commit)

    def compress(self) -> None:
        """Compress a sealed segment of the log, if there is one."""
        self.life.store.wal.pack_one()

    def prune(self) -> None:
        """Stop, prune the log and start again; with two segments more before, so that there is something to prune."""
        for content in (b"p", b"q"):
            self.keep(9, content * 7_000)
        self.life = self.life.prune()

    def migrate(self) -> None:
        """The next start finds the stores as an older version has left them, and brings them up to date."""
        self.life.commit()
        write_stamp(self.life.disk.fs, OLD_STAMP)
        self.life.disk.index[:] = [older_index(self.life.disk.index[-1])]
        self.kill()

    def stop(self) -> None:
        """Stop and start again."""
        self.life = self.life.stop()

    def kill(self) -> None:
        """Kill and start again."""
        self.life = self.life.kill()


@dataclass(frozen=True)
class Workload:
    """A script, the settings of the stores it runs over, and what the model watches."""

    run: Callable[[Script], None]
    accounts: tuple[Address, ...] = ()
    slots: tuple[Slot, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """Of the stores."""
        return {"segment_size_bytes": 12288, **self.options}

    def record(self) -> Record:
        """An empty record."""
        money = Money({address: entry.balance for address, entry in GENESIS.alloc.items()})
        return Record(tracked(*self.accounts), list(self.slots), money=money)

    def start(self, disk: Disk, record: Record) -> Script:
        """The first life on a machine."""
        life = Life(disk, record, self.settings)
        life.serve()
        record.publish(life.store)
        return Script(life)
