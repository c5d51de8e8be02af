"""What `Doors` counts: wrong tokens, connections and requests of each token, and who is there when one ends."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from node.doors.doors import Doors, Stay
from node.doors.errors import TokenRefused
from node.doors.failures import Failures
from node.doors.limits import DoorLimits
from node.doors.rule import WRONG_TOKEN
from node.doors.token_book import TokenBook, TokenWish, make_token
from node.doors.token_desk import TokenDesk
from node.doors.visitor import Verdict, Visitor, Way
from node.ops.audit import AuditLog, read_audit
from node.rpc.caller import Caller
from node.rpc.methods import load_methods
from node.rpc.registry import Scope
from node.rpc.request_rate import RequestRate
from node.rpc.rights import EVERYTHING, Rights

NOW = 1_800_000_000.0


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


class Place:
    """Doors over a directory, with clocks of the test."""

    def __init__(self, directory: Path, audit: AuditLog | None = None, **limits: Any) -> None:
        self.clock, self.wall = Clock(100.0), Clock(NOW)
        self.book = TokenBook.read(directory)
        self.doors = Doors(
            limits=DoorLimits(**limits), clock=self.clock, tokens=self.book, wall=self.wall, audit=audit
        )

    def token(self, name: str = "ci", **wish: Any) -> str:
        return self.book.create(name, (Scope.READ,), TokenWish(**wish), self.wall())[1]

    def came(self, token: str, address: str = "192.0.2.1", way: Way = Way.QUIC) -> Verdict:
        return self.doors.judge(Visitor(hosts=("10.0.0.1",), address=address, way=way, tokens=(token,)))


def test_wrong_tokens_are_slowed_down_by_network_and_second() -> None:
    failures = Failures(DoorLimits(failures_per_s=5, failure_delay_s=1.0))
    for address in ("192.0.2.1", "192.0.2.200", "::1", "2001:db8::1", "2001:db8::ffff", None):
        failures.failed(address, 10.0)
    delays = [failures.failed("192.0.2.7", 10.0) for _ in range(5)]
    assert delays == [0.0, 0.0, 0.0, 1.0, 1.0]
    assert failures.failed("192.0.3.7", 10.0) == 0.0
    assert failures.failed("192.0.2.7", 11.1) == 0.0, "the count begins anew"
    assert failures.count == 13


def test_not_more_refusals_wait_than_fit() -> None:
    failures = Failures(DoorLimits(failures_per_s=0, failure_delay_s=1.0, delayed_max=3))
    assert [failures.failed("192.0.2.1", 10.0) for _ in range(5)] == [1.0, 1.0, 1.0, 0.0, 0.0]
    assert failures.failed("192.0.2.1", 11.0) == 1.0


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.1", "2001:db8::1"])
def test_a_right_token_never_waits_for_wrong_ones(address: str, tmp_path: Path) -> None:
    place = Place(tmp_path)
    right = place.token()
    for _ in range(100):
        assert place.came("wrong", address).refusal is not None
    verdict = place.came(right, address)
    assert (verdict.refusal, verdict.delay_s, verdict.caller.name) == (None, 0.0, "ci")
    assert verdict.caller.address == address
    assert place.came("wrong", address).delay_s > 0


def test_a_mistyped_token_is_told_so(tmp_path: Path) -> None:
    place = Place(tmp_path)
    typo, other = place.came(make_token(bytes(32))[:-2] + "aa"), place.came(make_token(bytes(32)))
    assert ["mistyped" in str(verdict.refusal) for verdict in (typo, other)] == [True, False]


def test_wrong_tokens_are_told_in_the_audit_log_but_not_without_end(tmp_path: Path) -> None:
    audit = AuditLog(tmp_path)
    place = Place(tmp_path, audit, failures_told_at_once=3)
    for _ in range(1_000):
        place.came("wrong")
    place.clock.at += 60.0
    place.came("wrong")
    audit.close()
    records = read_audit(tmp_path, 100)
    assert [record["event"] for record in records] == ["token refused"] * 4
    assert records[-1]["untold"] == 997
    assert records[0]["address"] == "192.0.2.1"


def test_what_a_token_gives(tmp_path: Path) -> None:
    load_methods()
    place = Place(tmp_path)
    caller = place.came(place.token()).caller
    assert caller.rights.allow("eth_call")
    assert not caller.rights.allow("eth_sendRawTransaction")
    assert not caller.rights.allow("anvil_mine")
    assert not caller.rights.allow("no_such")
    assert place.came(place.token("other")).caller.token_id != caller.token_id


def test_connections_of_a_token_are_limited(tmp_path: Path) -> None:
    async def run() -> None:
        place = Place(tmp_path)
        caller = place.came(place.token(connections=2)).caller
        stays = [place.doors.stay(lambda: None) for _ in range(3)]
        assert [stay.use(caller) is None for stay in stays] == [True, True, False]
        assert stays[0].use(caller) is None, "the same connection"
        stays[1].over()
        stays[1].over()
        assert stays[2].use(caller) is None
        assert place.doors.connected(caller.token_id or "") == 2
        for stay in stays:
            stay.over()
        assert place.doors.status()["connections"] == 0
        place.doors.close()

    asyncio.run(run())


def test_a_revoked_token_ends_its_connections_and_no_others(tmp_path: Path) -> None:
    async def run() -> None:
        place, ended = Place(tmp_path), []
        first, second = place.came(place.token("first")).caller, place.came(place.token("second")).caller
        for name, caller in (("a", first), ("b", first), ("c", second)):
            stay = place.doors.stay(partial(ended.append, name))
            assert stay.use(caller) is None
        await TokenDesk(place.doors, place.wall).revoke("first")
        assert sorted(ended) == ["a", "b"]
        late = place.doors.stay(lambda: None)
        assert late.use(first) == WRONG_TOKEN, "its request was read before, and is made after"
        assert late.use(second) is None

    asyncio.run(run())


def test_an_expired_token_ends_its_connections(tmp_path: Path) -> None:
    async def run() -> None:
        place, ended = Place(tmp_path), asyncio.Event()
        caller = place.came(place.token(expires_in=3_000)).caller
        stay: Stay = place.doors.stay(ended.set)
        assert stay.use(caller) is None
        (entry,) = place.book.entries
        place.doors._look(entry)
        assert not ended.is_set(), "the clock was set back"
        place.wall.at += 3_000
        timer = place.doors._ends[entry.id]
        timer.cancel()
        place.doors._look(entry)
        assert ended.is_set()
        assert place.doors.stay(lambda: None).use(caller) == WRONG_TOKEN

    asyncio.run(run())


def test_the_end_of_a_token_comes_by_itself(tmp_path: Path) -> None:
    async def run() -> None:
        place, ended = Place(tmp_path), asyncio.Event()
        caller = place.came(place.token(expires_in=1)).caller
        assert place.doors.stay(ended.set).use(caller) is None
        place.wall.at += 1
        await asyncio.wait_for(ended.wait(), 60)

    asyncio.run(run())


def test_nobody_gives_a_scope_that_he_does_not_have(tmp_path: Path) -> None:
    async def run() -> None:
        place = Place(tmp_path)
        desk = TokenDesk(place.doors, place.wall)
        admin = Caller("admin", Rights(Scope.ADMIN, Scope.READ), "id")
        assert (await desk.create(admin, "a", ["read", "admin"], None))["scopes"] == ["read", "admin"]
        for scopes in (["send"], ["read", "debug"]):
            with pytest.raises(TokenRefused, match="does not have itself"):
                await desk.create(admin, "b", scopes, None)
        owner = Caller("owner", EVERYTHING)
        made = await desk.create(owner, "b", ["send"], {"requestsPerSecond": 3})
        assert place.came(made["token"]).caller.rate is not None
        assert [entry["name"] for entry in desk.entries()] == ["a", "b"]
        assert "token" not in desk.entries()[0]

    asyncio.run(run())


def test_a_change_of_tokens_is_finished_when_nobody_waits_for_it(tmp_path: Path) -> None:
    async def run() -> None:
        place, ended = Place(tmp_path), asyncio.Event()
        caller = place.came(place.token()).caller
        assert place.doors.stay(ended.set).use(caller) is None
        asked = asyncio.create_task(TokenDesk(place.doors, place.wall).revoke("ci"))
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait_for(ended.wait(), 60)
        assert TokenBook.read(tmp_path).entries == ()

    asyncio.run(run())


def test_requests_a_second() -> None:
    clock = Clock(5.0)
    rate = RequestRate(10, clock)
    assert [rate.take(1) for _ in range(11)][-2:] == [0.0, 0.1]
    clock.at += 0.1
    assert rate.take(1_000) == 0.0, "a batch of any size can be made"
    assert rate.take(1) == pytest.approx(100.0)
    clock.at += 99.9
    assert rate.take(1) == pytest.approx(0.1)
    clock.at += 0.2
    assert rate.take(1) == 0.0
    clock.at += 1e6
    assert sum(not rate.take(1) for _ in range(100)) == 10, "what was not used is not kept"


def test_who_guesses_for_an_hour_leaves_the_audit_log_to_others(tmp_path: Path) -> None:
    """Five records a second replaced both of its files within fifteen hours."""
    audit = AuditLog(tmp_path)
    place = Place(tmp_path, audit)
    for _ in range(3_600):
        place.clock.at += 1.0
        place.came("wrong")
    audit.close()
    assert 60 <= len(read_audit(tmp_path, 10_000)) <= 65
