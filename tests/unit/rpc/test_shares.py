"""Whose turn it is among the readers: of a token, of another machine, or of one connection of this machine."""

from __future__ import annotations

import time

import pytest

from node.rpc.caller import GUEST, LOCAL, Caller
from node.rpc.limits import RpcLimits
from node.rpc.readers import LONG, _Queued
from node.rpc.work import FORGOTTEN_S, ConnectedClient, ReaderShare, Shares, Work
from tests.unit.rpc.test_readers import with_readers


def at(address: str | None, token: str | None = None) -> Caller:
    return GUEST._replace(address=address, token_id=token)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (at("10.0.0.1"), at("10.0.0.1"), True),
        (at("10.0.0.1"), at("10.0.0.2"), False),
        (at("::ffff:10.0.0.1"), at("10.0.0.1"), True),
        (at("2001:db8::1"), at("2001:db8::2"), True),
        (at("2001:db8::1"), at("2001:db8:0:1::1"), False),
        (at("fe80::1%eth0"), at("fe80::1%eth0"), True),
        (at("10.0.0.1", "a"), at("10.0.0.2", "a"), True),
        (at("10.0.0.1", "a"), at("10.0.0.1", "b"), False),
        (at("127.0.0.1", "a"), at("10.0.0.1", "a"), True),
        (at("127.0.0.1"), at("127.0.0.1"), False),
        (at("::1"), at("::1"), False),
        (at("::ffff:127.0.0.1"), at("::ffff:127.0.0.1"), False),
        (at(None), at(None), False),
        (LOCAL, LOCAL, False),
    ],
)
def test_connections_of_one_caller_share_their_turns(one: Caller, other: Caller, is_same: bool) -> None:
    shares = Shares()
    clients = ConnectedClient(), ConnectedClient()
    for client, caller in zip(clients, (one, other), strict=True):
        client.is_of(caller, shares)
    assert (clients[0].share is clients[1].share) == is_same


def test_a_share_lasts_as_long_as_somebody_has_it() -> None:
    shares, client = Shares(), ConnectedClient()
    client.is_of(at("10.0.0.1"), shares)
    work = Work(RpcLimits(), client)
    client.is_of(at("10.0.0.2"), shares)
    assert work.share is not client.share, "what was asked before stays in the queue that it is in"
    assert len(shares._shares) == 2
    del work, client
    assert not shares._shares


def test_a_connection_leaves_a_share_with_the_caller_it_is_of() -> None:
    """A request without a token, on a connection of this machine that sent one before, does not take its turns."""
    shares, client, other = Shares(), ConnectedClient(), ConnectedClient()
    own = client.share
    other.is_of(at("127.0.0.1", "a"), shares)
    for caller, wanted in ((at("127.0.0.1", "a"), other.share), (at("127.0.0.1"), own), (LOCAL, own)):
        client.is_of(caller, shares)
        assert client.share is wanted


def test_what_was_used_long_ago_counts_for_less() -> None:
    share = ReaderShare()
    share.use(8.0, 100.0)
    assert share.used(100.0 + FORGOTTEN_S) == pytest.approx(4.0)
    share.use(1.0, 100.0 + FORGOTTEN_S)
    assert share.used(100.0 + 2 * FORGOTTEN_S) == pytest.approx(2.5)


def test_a_long_job_passes_those_of_a_client_who_had_many() -> None:
    async def test(readers: object) -> None:
        greedy, modest = ConnectedClient(), ConnectedClient()
        now = time.monotonic()
        greedy.share.use(10.0, now)
        jobs = []
        for number, client in enumerate([greedy] * 10 + [modest]):
            job = _Queued(number, lambda: None, lambda _: None, Work(RpcLimits(), client))
            job.lane, job.begun = LONG, now + number
            readers._line_up(job, job.begun)  # type: ignore[attr-defined]
            jobs.append(job)
        assert min(readers._lanes[LONG]) is jobs[-1]  # type: ignore[attr-defined]
        readers._lanes[LONG].clear()  # type: ignore[attr-defined]

    with_readers(test)
