"""Makes a golden data directory of the format this checkout writes: ``python -m tests.golden.make NAME [ENGINE]``.

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
from debugger.moves import step
from debugger.program import Program
from debugger.session import Session
from debugger.slices import finish
from node.engine.requests import Cheat, Control, KeepSession, KeepTemplate, Mine
from node.pruning import prune_data_directory
from node.sessions.base_state import BaseStates, Origin
from node.sessions.record import bring_back, content_of, label_of, place_of
from storage.directory import layout
from storage.sessions.files import SessionFiles
from storage.sessions.records import Kept, SnapshotFile
from tests.durability.nodes import LocalNode

HERE = Path(__file__).parent
STRANGER = Address(b"\x77" * 20)
LEFT_OUT = {layout.CACHE, layout.LOCK, layout.BALLAST}


def facts_of(node: LocalNode) -> dict[str, object]:
    """What every later version must find in it."""
    head = node.store.head.number
    state = node.store.state.view(head)
    accounts = [state.account(address) for address in node.accounts]
    facts: dict[str, object] = {
        "blocks": [node.store.applied.block_hash(number).hex() for number in range(head + 1)],
        "root": node.store.head.state_root.hex(),
        "nonces": [account.nonce if account else 0 for account in accounts],
        "balances": [account.balance if account else 0 for account in accounts],
        "pool": [entry.raw.hex() for entry in node.pool.entries()],
        "gas_limit": node.applied.settings.gas_limit,
        "amended": [state.storage(STRANGER, slot) for slot in range(3)],
        "snapshots": sorted(node.store.applied.snapshots),
    }
    sessions = [session_facts(node, number) for number in node.store.sessions]
    return facts if not sessions else {**facts, "sessions": sessions, "templates": list(node.store.templates)}


def session_facts(node: LocalNode, number: int) -> list[object]:
    """A session brought back: its name, and the state it stands at."""
    kept = node.store.sessions.get(number)
    assert kept is not None
    content = kept.content
    if isinstance(content, SnapshotFile):
        content = SessionFiles(node.opened.fs).read(number, content)
    work = bring_back(content, kept.place, BaseStates(None, node.opened.machine))  # type: ignore[arg-type]
    while True:
        try:
            next(work)
        except StopIteration as end:
            session = end.value[0]
            break
    return [number, session.name, list(session.tags), session.step_index, session.digest().hex(), kept.label.created]


def keep_sessions(node: LocalNode) -> None:
    """One in the log that has moved, one in a file, one closed, and a template."""
    files = SessionFiles(node.opened.fs)
    for number, name in ((1, "moved"), (2, "in a file"), (3, "closed")):
        program = Program(code="0x5f5b60010180600052600156", gas=100_000)
        session = Session(program, node.opened.machine, name=name, tags=("golden",))
        finish(step(session, 5 * number))
        content: bytes | SnapshotFile = content_of(session, Origin())
        if number == 2:
            assert isinstance(content, bytes)
            content = files.write(number, content)
        kept = Kept(label_of(session, 1_700_000_000), place_of(session, 1_700_000_001), content)
        node.ask(lambda done, number=number, kept=kept: KeepSession(done, number, kept))  # type: ignore[misc]
        finish(step(session, 40))
        place = place_of(session, 1_700_000_002)
        node.ask(lambda done, number=number, place=place: KeepSession(done, number, place))  # type: ignore[misc]
        session.close()
    node.ask(lambda done: KeepSession(done, 3, None), lambda done: KeepTemplate(done, "mine", b"content"))


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


def main(name: str, engine: str = "leveldb") -> None:
    """Live a little of everything, and pack what is left on the disk after a kill."""
    place = Path(tempfile.mkdtemp())
    node = LocalNode(place / "data", segment_size_bytes=65_536, block_deltas="on", engine=engine)
    node.grow(90)
    node.checkpoint()
    node.store.index_new_blocks()
    node.ask(lambda done: Control(done, "gas_limit", 29_000_000))
    node.ask(lambda done: Mine(done, 3, 12))
    node.opened.export(1)
    node.checkpoint()
    keep_sessions(node)
    node.grow(8)
    node.store.index_new_blocks()
    node.send(node.transfer(0, Address(b"\x42" * 20), nonce=10_000))
    change_history(node)
    node.grow(2)
    facts = facts_of(node)
    assert node.store.wal.pack_one()
    node.close()
    assert prune_data_directory(place / "data").paths
    (place / "data" / "facts.json").write_text(json.dumps(facts, indent=1))
    with tarfile.open(HERE / f"{name}.tar.xz", "w:xz") as archive:
        for path in sorted((place / "data").rglob("*")):
            relative = path.relative_to(place / "data")
            if path.is_file() and not LEFT_OUT & set(relative.parts):
                archive.add(path, str(relative))
    shutil.rmtree(place)


if __name__ == "__main__":
    main(*sys.argv[1:])
