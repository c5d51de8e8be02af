"""Many calls in one frame: each its own outcome, on one block, within the limits of a batch."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zvmd
from node.rpc.caller import Caller
from node.rpc.errors import MissingScope, RateExceeded
from node.rpc.registry import Scope
from node.rpc.request_rate import RequestRate
from node.rpc.rights import EVERYTHING, Rights
from node.wire.errors import GuestRefused
from node.wire.rights import admit
from tests.unit.rpc.memory_backend import CRASHING, REVERTING
from tests.unit.wire import test_socket_peer as socket_peer
from tests.unit.wire.listening import Server, frame, hello, puppet, run
from tests.unit.wire.test_server import heard_frames
from zvmd import frames
from zvmd.client import frames_of
from zvmd.frames import CallDone, CallFailed, CallMany, CallsDone, OneCall, decode_answer, decode_request, encode_frame

TO = b"\x01" * 20
GOLDEN = {
    "one call with data only": (
        CallMany(7, [OneCall(TO, b"\x70\xa0")]), f"00000024 940907 91 95 c414{TO.hex()} c40270a0 c0 c400 c0 c0",
    ),
    "all fields": (
        CallMany(1, [OneCall(None, b"", TO, b"\x05", 21_000)], 16),
        f"00000025 940901 91 95 c0 c400 c414{TO.hex()} c40105 cd5208 10",
    ),
    "both kinds of outcomes": (
        CallsDone(7, 3, [CallDone(b"\x2a", 21_000), CallFailed("evm.revert", 3, "no", "", b"\x08")]),
        "00000022 944d07 03 92 93 00 c4012a cd5208 96 01 aa65766d2e726576657274 03 a26e6f a0 c40108",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", GOLDEN)
def test_frames_are_these_bytes(what: str) -> None:
    message, expected = GOLDEN[what]
    assert encode_frame(message).hex() == expected.replace(" ", "")
    body = bytes.fromhex(expected)[4:]
    assert (decode_request if isinstance(message, CallMany) else decode_answer)(body) == message


def test_fields_with_defaults_may_be_left_out() -> None:
    assert decode_request(bytes.fromhex(f"930901 91 91 c414{TO.hex()}")) == CallMany(1, [OneCall(TO)])


def test_outcomes_encoded_one_by_one_are_the_same_frame() -> None:
    outcomes = [CallDone(b"x" * 300, 1), CallFailed("rpc.internal", -32603, "a bug")]
    whole = encode_frame(CallsDone(9, 2**40, outcomes))
    assert frames.encode_calls_done(9, 2**40, [frames.encode_outcome(outcome) for outcome in outcomes]) == whole


def test_messages_have_as_many_calls_as_the_node_takes() -> None:
    calls = [OneCall(TO, bytes(size)) for size in (0, 0, 0, 900, 900, 0, 5_000, 0)]
    parts = list(frames_of(calls, 2, 1_500))
    assert parts == [(0, 2), (2, 4), (4, 6), (6, 7), (7, 8)]
    assert list(frames_of([], 2, 1_500)) == []


def test_each_call_has_its_own_outcome(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        client = await server.client()
        calls = [OneCall(TO, b"\x05"), OneCall(REVERTING), OneCall(CRASHING), OneCall(b"\x01"), OneCall(TO, b"\x06")]
        five, reverted, crashed, wrong, six = await client.call_many_raw(calls)
        assert (five, six) == (bytes(31) + b"\x05", bytes(31) + b"\x06")
        assert isinstance(reverted, zvmd.Reverted)
        assert "no way" in reverted.message
        assert isinstance(reverted.data, bytes)
        assert isinstance(crashed, zvmd.InternalError)
        assert isinstance(wrong, zvmd.InvalidParams)
        good = zvmd.ContractCall(TO, "f()(bytes4)")
        undecodable = zvmd.ContractCall(TO, "f()(uint256,uint256)")
        typed = await client.call_many([good, zvmd.ContractCall(REVERTING, "f()()"), undecodable])
        assert isinstance(typed[1], zvmd.Reverted)
        assert isinstance(typed[2], zvmd.ZvmdError)
        assert await client.call_many([]) == []

    run(tmp_path, library, work)


def test_what_concerns_all_calls_fails_all(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        client = await server.client()
        with pytest.raises(zvmd.UnknownBlock):
            await client.call_many_raw([OneCall(TO)] * 3, block=10**6)
        with pytest.raises(zvmd.InvalidParams):
            await client.call_many_raw([OneCall(TO)], block="soon")
        assert await client.rpc("eth_chainId") == "0x7a69"

    run(tmp_path, library, work)


def test_more_calls_than_a_message_takes_go_in_several(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        client = await server.client()
        calls = [OneCall(TO, number.to_bytes(4, "big")) for number in range(2_345)]
        assert await client.call_many_raw(calls) == [call.data.rjust(32, b"\0") for call in calls]

    run(tmp_path, library, work)


def test_a_frame_with_too_many_or_no_calls_is_refused(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        client = await puppet(server)
        client.say(0, hello(server) + frame(9, 5, [[TO]] * 1_001) + frame(9, 6, []) + frame(9, 7, [[TO]]))
        answers = {answer[1]: answer for answer in (await heard_frames(client, 4))[1:]}
        assert (answers[5][0], answers[5][2]) == (66, "rpc.too_large")
        assert (answers[6][0], answers[6][2]) == (66, "rpc.params")
        assert answers[7][:3] == [77, 7, 0]
        client.vanish()

    run(tmp_path, library, work)


def test_answers_count_together_against_the_limit(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        server.service.context.limits = replace(server.service.context.limits, answer_size_max_bytes=200_000)
        client = await server.client()
        large = OneCall(TO, os.urandom(60_000))
        assert await client.call_many_raw([large] * 3) == [large.data] * 3
        with pytest.raises(zvmd.LimitExceeded, match="200000"):
            await client.call_many_raw([large] * 4)

    run(tmp_path, library, work)


def test_an_answer_of_many_megabytes_arrives(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        client = await server.client()
        calls = [OneCall(TO, os.urandom(50_000)) for _ in range(30)]
        assert await client.call_many_raw(calls) == [call.data for call in calls]

    run(tmp_path, library, work)


def test_a_node_without_it_is_told_from_the_welcome(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        client = await server.client()
        client._connection.welcome.calls_max = 0  # as decoded from a Welcome that does not have the field
        with pytest.raises(zvmd.MethodNotFound, match="older"):
            await client.call_many_raw([OneCall(TO)])
        assert await client.call_raw(TO, b"\x01") == bytes(31) + b"\x01"

    run(tmp_path, library, work)


def test_a_welcome_of_an_older_node_has_no_calls() -> None:
    older = encode_frame(frames.Welcome(1, 31337, "zvmd", 2**21, 8_192))[4:]
    assert older[0] == 0x97
    answer = decode_answer(b"\x96" + older[1:-1])
    assert isinstance(answer, frames.Welcome)
    assert answer.calls_max == 0


def test_a_client_that_leaves_ends_its_calls(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        other = await server.client()
        leaving = await server.client()
        asked = [asyncio.ensure_future(leaving.call_many_raw([OneCall(TO, bytes(1_000))] * 1_000)) for _ in range(4)]
        await asyncio.sleep(0)
        await leaving.close()
        assert all(isinstance(error, zvmd.ZvmdError) for error in await asyncio.gather(*asked, return_exceptions=True))
        assert await other.call_many_raw([OneCall(TO)] * 10) == [bytes(32)] * 10

    run(tmp_path, library, work)


def test_it_needs_the_scope_read_and_counts_each_call_against_the_rate() -> None:
    many = CallMany(1, [OneCall(TO)] * 30)
    with pytest.raises(MissingScope):
        admit(many, Caller("sender", Rights(Scope.SEND)))
    with pytest.raises(GuestRefused):
        admit(many, Caller("guest", Rights(), share="zvs-1"))
    now = 0.0
    limited = Caller("limited", EVERYTHING, rate=RequestRate(10, lambda: now))
    admit(many, limited)
    with pytest.raises(RateExceeded):
        admit(CallMany(2, [OneCall(TO)]), limited)
    now = 1.9  # 20 too many at 10 a second: one is left again after 2.1 s
    with pytest.raises(RateExceeded):
        admit(CallMany(3, [OneCall(TO)]), limited)
    now = 4.1
    admit(CallMany(4, [OneCall(TO)]), limited)


def test_it_goes_over_a_unix_socket(tmp_path: Path) -> None:
    async def work(server: socket_peer.Server) -> None:
        client = await server.client()
        calls = [OneCall(TO, number.to_bytes(2, "big")) for number in range(1_500)]
        assert await client.call_many_raw(calls) == [call.data.rjust(32, b"\0") for call in calls]
        await client.close()

    socket_peer.tried(tmp_path, work)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=7),
    max_leaves=30,
)
SOMEBODY = st.none() | st.binary(max_size=21)
AMOUNT, GAS = st.binary(max_size=34), st.none() | st.integers(0, 2**64 - 1)
CALLS = st.builds(OneCall, SOMEBODY, st.binary(max_size=80), SOMEBODY, AMOUNT, GAS)
BLOCKS = st.none() | st.integers(0, 2) | st.sampled_from(["latest", "earliest", "pending", "0x1", "soon", ""])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.lists(CALLS, max_size=5), BLOCKS), max_size=4), st.lists(VALUES, max_size=4))
def test_any_calls_are_answered_and_anything_else_costs_itself(
    requests: list[tuple[list[OneCall], int | str | None]], others: list[object]
) -> None:
    expected = {2**60 + number: len(calls) for number, (calls, _) in enumerate(requests)}
    sent = [encode_frame(CallMany(number, *request)) for number, request in zip(expected, requests, strict=True)]
    malformed = [frame(9, *([other] if not isinstance(other, list) else other)) for other in others]

    async def work(server: socket_peer.Server) -> None:
        peer = await server.peer(socket_peer.HELLO, *malformed, *sent, socket_peer.CHAIN_ID)
        missing = {*expected, 7}
        while missing:
            answer = await peer.answer()
            if isinstance(answer, CallsDone) and answer.id in expected:
                assert len(answer.outcomes) == expected[answer.id]
            missing.discard(getattr(answer, "id", 0))
        peer.writer.close()

    with tempfile.TemporaryDirectory() as folder:
        socket_peer.tried(Path(folder), work)


@given(st.binary(max_size=120))
def test_arbitrary_bodies_with_its_tag_decode_or_raise_one_error(rest: bytes) -> None:
    for head in (b"\x93\x09\x01", b"\x94\x09\x01", b"\x93\x09\x01\x91", b"\x94\x4d\x01\x02\x91"):
        for decode in (decode_request, decode_answer):
            with suppress(msgspec.DecodeError):
                decode(head + rest)
