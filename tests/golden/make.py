"""Makes a golden data directory of the format this checkout writes: ``python -m tests.golden.make NAME``.

Once for each format that lands; the file is never made again, only opened, by every later version.
"""

from __future__ import annotations

import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from chain.types import Address
from node.engine.pipeline import Control, Mine
from node.engine.requests import Cheat
from storage import layout
from tests.durability.nodes import LocalNode

HERE = Path(__file__).parent
STRANGER = Address(b"\x77" * 20)
LEFT_OUT = {layout.CACHE, layout.LOCK, layout.BALLAST}


def facts_of(node: LocalNode) -> dict[str, object]:
    """What every later version must find in it."""
    head = node.store.head.number
    state = node.store.state.view(head)
    accounts = [state.account(address) for address in node.accounts]
    return {
        "blocks": [node.store.block_hash(number).hex() for number in range(head + 1)],
        "root": node.store.head.state_root.hex(),
        "nonces": [account.nonce if account else 0 for account in accounts],
        "balances": [account.balance if account else 0 for account in accounts],
        "pool": [entry.raw.hex() for entry in node.ledger.pool.entries()],
        "gas_limit": node.ledger.controls.gas_limit,
        "amended": [state.storage(STRANGER, slot) for slot in range(3)],
        "snapshots": sorted(node.store.snapshots),
    }


def change_history(node: LocalNode) -> None:
    """Development calls: states between blocks, snapshots, blocks that are gone; before a checkpoint and after it."""

    def cheat(name: str, *arguments: object) -> None:
        (answer,) = node.ask(lambda done: Cheat(done, name, arguments))
        if isinstance(answer, Exception):
            raise answer

    def slot(number: int, value: int) -> None:
        cheat("amend", [STRANGER, None, None, b"\x60\x01", [[number, value]]])

    slot(0, 7)
    cheat("snapshot")
    node.grow(3)
    slot(1, 8)
    node.checkpoint()
    cheat("revert", 0)
    slot(2, 9)
    cheat("snapshot")
    node.checkpoint()
    slot(1, 1)
    node.grow(1)
    cheat("snapshot")
    cheat("increase_time", 1000)
    slot(2, 2)


def main(name: str) -> None:
    """Live a little of everything, and pack what is left on the disk after a kill."""
    place = Path(tempfile.mkdtemp())
    node = LocalNode(place / "data", segment_size_bytes=65_536)
    node.grow(40)
    node.checkpoint()
    node.store.index_new_blocks()
    node.ask(lambda done: Control(done, "gas_limit", 29_000_000))
    node.ask(lambda done: Mine(done, 3, 12))
    node.opened.export(1)
    node.checkpoint()
    node.grow(8)
    node.store.index_new_blocks()
    node.send(node.transfer(0, Address(b"\x42" * 20), nonce=10_000))
    change_history(node)
    node.grow(2)
    facts = facts_of(node)
    node.close()
    (place / "data" / "facts.json").write_text(json.dumps(facts, indent=1))
    with tarfile.open(HERE / f"{name}.tar.xz", "w:xz") as archive:
        for path in sorted((place / "data").rglob("*")):
            relative = path.relative_to(place / "data")
            if path.is_file() and not LEFT_OUT & set(relative.parts):
                archive.add(path, str(relative))
    shutil.rmtree(place)


if __name__ == "__main__":
    main(sys.argv[1])
