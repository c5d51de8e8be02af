"""What a start reads may be missing, damaged, of another kind or from another clock; see `tests.durability.starts`."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chain.errors import TransactionTooLarge
from chain.genesis import Genesis, dev_genesis
from chain.transactions import encode_transaction, sign_transaction
from chain.types import Address
from node.daemon.opening import check_size
from node.engine.pool import PooledTransaction
from node.engine.requests import KeepTemplate
from node.ops.errors import InvalidSetting
from storage.errors import RecordTooLarge
from tests.crash.forked_daemon import ForkedDaemon, Zygote
from tests.durability import starts
from tests.durability.hurts import starts_over_damage
from tests.durability.nodes import LocalNode
from tests.durability.results import Budget, Line
from tests.durability.started import REFUSED, started_with
from tests.setting_edges import Edge, edges, variable

ALWAYS = {
    "authority-pem-missing": [("data/tls/authority.pem", name) for name in ("missing", "empty", "garbage")],
    "certificate-from-a-wrong-clock": [("data/tls", f"of a clock {days} days off") for days in (30, -4_000)],
}
"""Cases reported from outside."""


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    made = Zygote(tmp_path_factory.mktemp("zygote") / "log")
    yield made
    made.close()


@pytest.fixture(scope="module")
def sound(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> starts.Sound:
    return starts.make(zygote, tmp_path_factory.mktemp("starts") / "sound")


@pytest.mark.parametrize("case", ALWAYS)
def test_reported_cases(zygote: Zygote, sound: starts.Sound, tmp_path: Path, case: str) -> None:
    for damage in ALWAYS[case]:
        assert starts.hurt(zygote, sound, tmp_path / "hurt", [damage], random.Random(1)) == "READY"


@pytest.mark.parametrize("path", ["data", "data/wal", "data/state", "data/sessions", "data/sessions/2", "data/exports"])
def test_a_directory_that_takes_no_new_file_is_refused(
    zygote: Zygote, sound: starts.Sound, tmp_path: Path, path: str
) -> None:
    """The node said READY, and ended with 70 at the next segment, session or export."""
    assert starts.hurt(zygote, sound, tmp_path / "hurt", [(path, "read-only")], random.Random(1)) == "status 78"


def test_some_damages(zygote: Zygote, sound: starts.Sound, tmp_path: Path) -> None:
    """Other ones with each kind of file: the campaign line ``starts`` does them all."""
    chance = random.Random(7)
    for damages in [[case] for case in chance.sample(starts.cases(sound), 8)] + [starts.some(sound, chance)]:
        starts.hurt(zygote, sound, tmp_path / "hurt", damages, chance)


@pytest.mark.full
@pytest.mark.timeout(7200)
def test_every_damage(tmp_path: Path) -> None:
    starts_over_damage(Line("starts", 1), Budget(3_000, time.monotonic() + 7000), tmp_path)


def test_segment_size_not_a_multiple(zygote: Zygote, tmp_path: Path) -> None:
    size = {"ZVMD_STORAGE__SEGMENT_SIZE_BYTES": "1000000"}
    assert started_with(zygote, tmp_path / "data", size) == REFUSED


FEW = {
    "storage.segment_size_bytes": ("65536",), "node.accounts": ("0",), "limits.http_connections": ("1",),
    "limits.quic_connections": ("1",), "limits.body_bytes": ("1024",), "limits.json_depth": ("8",),
    "storage.export_seconds": ("5e-324",), "node.block_time_seconds": ("5e-324",), "http.host": ("::1", "127.9.9.9"),
    "quic.host": ("::", "::1", "224.0.0.1"), "node.data_dir": ("/dev/null", "", "x" * 300),
    "node.genesis": ("/dev/zero",), "http.tls": ("files", "auto"), "http.hosts": ("a b",), "http.origins": ("a b",),
}  # fmt: skip
"""Values that once passed the check and did not start, or not rightly."""


def started(zygote: Zygote, place: Path, edge: Edge) -> None:
    place.mkdir()
    room = {"ZVMD_STORAGE__SEGMENT_SIZE_BYTES": str(2**20)}  # for the genesis of the most accounts
    status = started_with(zygote, place / "data", room | {variable(edge.name): edge.text})
    needs_more = edge[:2] == ("http.tls", "files")
    allowed = (0, REFUSED, 69) if edge.name.endswith(".host") else (0,) if edge.limit else (0, REFUSED)
    allowed = (REFUSED,) if needs_more else allowed
    assert status in allowed, (edge, status)


@pytest.mark.parametrize("name", FEW)
def test_a_setting_at_its_limit_starts_or_is_refused(zygote: Zygote, tmp_path: Path, name: str) -> None:
    for number, text in enumerate(FEW[name]):
        started(zygote, tmp_path / str(number), Edge(name, text, limit=False))


def test_what_the_smallest_log_files_cannot_hold_is_refused(tmp_path: Path) -> None:
    """With segments of 64 KiB, a transaction or a template of 100 kB ended the node with 70."""
    with pytest.raises(InvalidSetting, match=r"node\.accounts"):
        check_size(genesis_of(1_000), 65_536)
    node = LocalNode(tmp_path / "data", segment_size_bytes=65_536)
    large = transaction(node, bytes(100_000))
    with pytest.raises(TransactionTooLarge, match="oversized data"):
        node.send(large)
    (answer,) = node.ask(lambda done: KeepTemplate(done, "large", bytes(100_000)))
    assert isinstance(answer, RecordTooLarge)
    node.send(transaction(node, bytes(50_000)))
    node.grow(1)
    assert node.store.head.number == 2
    node.close()


def genesis_of(accounts: int) -> Genesis:
    return dev_genesis(1, [Address(number.to_bytes(20, "big")) for number in range(accounts)])


def transaction(node: LocalNode, data: bytes) -> PooledTransaction:
    small = node.transfer(0, Address(bytes(20))).transaction
    signed = sign_transaction(replace(small, data=data, gas_limit=10_000_000), node.secrets[0])
    return PooledTransaction(signed, node.accounts[0], encode_transaction(signed))


def test_clients_may_take_every_connection_first(zygote: Zygote, tmp_path: Path) -> None:
    """After a restart under load the node must not end because others were faster."""
    daemon = ForkedDaemon(zygote, tmp_path / "data")
    daemon._environment["ZVMD_LIMITS__HTTP_CONNECTIONS"] = "1"
    stop = threading.Event()

    def crowd() -> None:
        held: list[socket.socket] = []
        while not stop.wait(0.001):
            try:
                held.append(socket.create_connection(("127.0.0.1", daemon.http_port), timeout=1))
            except OSError:
                continue
            if len(held) > 5:
                stop.wait(60)

    thread = threading.Thread(target=crowd)
    thread.start()
    try:
        daemon.start()
    finally:
        stop.set()
        thread.join()
        daemon.close()


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_every_setting_starts_or_is_refused(zygote: Zygote, tmp_path: Path) -> None:
    for number, edge in enumerate(edges()):
        started(zygote, tmp_path / str(number), edge)
