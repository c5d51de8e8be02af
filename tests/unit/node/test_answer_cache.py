"""The cache of answers is never seen: whatever happens to the chain, a call answers as if it had been run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.errors import ZvmdError
from chain.types import Address
from node.api.errors import CheatRefused
from node.api.pending_block import BlockAt
from node.api.types import AccountOverride, BlockOverrides, CallFields, CallResult, Overrides
from node.engine.answer_cache import ENTRIES_MAX, AnswerCache
from node.engine.node import Node
from node.engine.requests import Cheat, Mine, Submit
from tests.bytecode import code
from tests.durability.nodes import LocalNode
from tests.effort import tries
from vm.console import ConsoleCalls

READER = Address(b"\xbb" * 20)
OTHER = Address(b"\xdd" * 20)
READS = code(
    *(0, "SLOAD", 0, "MSTORE", "TIMESTAMP", 32, "MSTORE", "NUMBER", 64, "MSTORE", "CALLER BALANCE", 96, "MSTORE"),
    *("GASPRICE", 128, "MSTORE", "GAS", 160, "MSTORE", "CALLVALUE", 192, "MSTORE", 0, "CALLDATALOAD", 224, "MSTORE"),
    *("BASEFEE", 256, "MSTORE", 1, "NUMBER SUB BLOCKHASH", 288, "MSTORE", "COINBASE", 320, "MSTORE"),
    *(352, 0, "RETURN"),
)
"""Returns what a call may depend on: slot, time, number, balance, price, gas, value, data, base fee, hash, coinbase."""


class Pair:
    """One chain, asked through a node with the cache and one without."""

    def __init__(self, data_dir: Path) -> None:
        self.local = LocalNode(data_dir)
        opened, committer, publications = self.local.opened, self.local.committer, self.local.publications
        self.cached: Node = opened.node(committer, publications, 10**7, answer_cache_bytes=1 << 20)
        self.plain: Node = opened.node(committer, publications, 10**7)
        self.put_contracts()
        self.snapshots: list[int] = []

    def put_contracts(self) -> None:
        """The two that are called."""
        contracts = ((READER, READS), (OTHER, code(0, 0, "REVERT")))
        self.cheat("amend", *[[address, None, None, text, []] for address, text in contracts])

    def cheat(self, name: str, *arguments: object) -> Any:
        answer = self.local.ask(lambda done: Cheat(done, name, arguments))[0]
        if isinstance(answer, CheatRefused):
            return None
        assert not isinstance(answer, Exception), answer
        return answer

    def check(self, fields: CallFields, block: int | str, overrides: Overrides | None) -> None:
        """Twice, so that the second comes from the cache."""
        at: BlockAt = self.cached.head().number if isinstance(block, str) else block
        if block == "pending":
            at = self.cached.pending()
        answers = [answer_of(node, fields, at, overrides) for node in (self.plain, self.cached, self.cached)]
        assert answers[0] == answers[1] == answers[2]


def answer_of(node: Node, fields: CallFields, at: BlockAt, overrides: Overrides | None) -> CallResult | str:
    try:
        return node.call(fields, at, overrides)
    except ZvmdError as error:
        return f"{type(error).__name__}: {error}"


@pytest.fixture(name="pair", scope="module")
def _pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = Pair(tmp_path_factory.mktemp("answers") / "data")
    yield pair
    pair.local.close()


SMALL = st.integers(0, 3)
CALLS = st.builds(
    CallFields,
    sender=st.sampled_from([None, Address(b"\x01" * 20), Address(b"\x02" * 20)]),
    to=st.sampled_from([READER, READER, OTHER, None]),
    data=st.sampled_from([b"", b"\x01", b"\x02" * 40]),
    value=st.sampled_from([0, 0, 1]),
    gas=st.sampled_from([None, 100_000, 100_001, 5]),
    gas_price=st.sampled_from([None, None, 0, 10**10]),
    nonce=st.sampled_from([None, 0, 1]),
    access_list=st.sampled_from([None, (), ((READER, (0,)),)]),
)
OVERRIDES = st.sampled_from(
    [
        None,
        None,
        Overrides(accounts={READER: AccountOverride(state_diff={0: 77})}),
        Overrides(block=BlockOverrides(timestamp=1, number=9)),
    ]
)
ASK = st.tuples(st.just("ask"), CALLS, st.sampled_from(["latest", "latest", "pending", 0, 1, 2]), OVERRIDES)
STEPS = st.one_of(
    ASK,
    ASK,
    st.tuples(st.just("storage"), SMALL),
    st.tuples(st.just("balance"), SMALL),
    st.tuples(st.just("coinbase"), SMALL),
    st.tuples(st.just("time"), st.integers(1, 1_000)),
    st.tuples(st.sampled_from(["send", "mine", "snapshot", "revert", "roll_back", "reset"])),
)


def take(pair: Pair, step: tuple[Any, ...]) -> None:
    match step:
        case ("ask", fields, block, overrides):
            pair.check(fields, block, overrides)
        case ("storage", value):
            pair.cheat("amend", [READER, None, None, None, [[0, value]]])
        case ("balance", wei):
            pair.cheat("amend", [Address(b"\x01" * 20), None, wei, None, []])
        case ("coinbase", number):
            pair.cheat("set_coinbase", Address(bytes([number + 1]) * 20))
        case ("time", seconds):
            pair.cheat("increase_time", seconds)
        case ("send",):
            pair.local.ask(lambda done: Submit(done, pair.local.transfer(0, OTHER)))
        case ("mine",):
            pair.local.ask(Mine)
        case ("snapshot",):
            pair.snapshots.append(pair.cheat("snapshot"))
        case ("revert",) if pair.snapshots:
            pair.cheat("revert", pair.snapshots.pop())
        case ("roll_back",):
            pair.cheat("roll_back", 1)
        case ("reset",):
            pair.cheat("reset")
            pair.put_contracts()


@given(st.lists(STEPS, max_size=16), CALLS)
@settings(
    max_examples=tries(8, 1_000),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_answers_are_those_of_a_node_without_it(pair: Pair, steps: list[tuple[Any, ...]], call: CallFields) -> None:
    for step in steps:
        take(pair, step)
        pair.check(call, "latest", None)


def test_the_second_answer_comes_from_the_cache(pair: Pair) -> None:
    call = CallFields(to=READER, data=b"once")
    pair.check(call, "latest", None)
    hits = pair.cached.answers.hits
    pair.check(call, "latest", None)
    assert pair.cached.answers.hits == hits + 2
    pair.local.ask(Mine)
    pair.check(call, "latest", None)
    assert pair.cached.answers.hits == hits + 3, "a new block is another state"
    assert pair.plain.answers.status()["answers"] == 0


RESULT = CallResult(True, False, "stop", b"x" * 100, 21_000)
STATE = (1, 1, 0)


def test_it_is_bounded_by_bytes_and_by_entries() -> None:
    cache = AnswerCache(100_000)
    for number in range(1_000):
        cache.answer(STATE, CallFields(data=number.to_bytes(32)), lambda _: RESULT, None)
    used, most = cache.bound()
    assert most / 2 < used <= most == 100_000
    large = replace(CallFields(), data=bytes(13_000))
    cache.answer(STATE, large, lambda _: RESULT, None)
    before = cache.hits
    cache.answer(STATE, large, lambda _: RESULT, None)
    assert cache.hits == before, "an answer that takes more than an eighth is not kept"
    many = AnswerCache(1 << 40)
    for number in range(ENTRIES_MAX + 10):
        many.answer(STATE, CallFields(value=number), lambda _: RESULT, None)
    assert many.status()["answers"] == ENTRIES_MAX


def test_what_is_said_to_the_console_is_said_each_time() -> None:
    cache = AnswerCache(1 << 20)

    def run(console: ConsoleCalls | None) -> CallResult:
        if console is not None:
            console.add(b"hello")
        return RESULT

    for _ in range(2):  # the second time the answer is known, but not that it is silent
        said = ConsoleCalls()
        cache.answer(STATE, CallFields(), run, said)
        assert said.calls == [b"hello"]
    assert cache.answer(STATE, CallFields(), run, None) == RESULT
    assert cache.hits == 1


def test_a_refused_call_is_refused_each_time() -> None:
    cache, refusals = AnswerCache(1 << 20), []

    def run(_: ConsoleCalls | None) -> CallResult:
        refusals.append(1)
        raise ZvmdError("no")

    for _ in range(2):
        with pytest.raises(ZvmdError):
            cache.answer(STATE, CallFields(), run, None)
    assert len(refusals) == 2


def test_no_state_is_named_before_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a rewind the name was of the old position and the new count: what the chain grows to later."""
    local = LocalNode(tmp_path / "data")
    store = local.store
    (snapshot,) = local.ask(lambda done: Cheat(done, "snapshot", ()))
    local.grow(2)
    during = []
    add = store.rewinds.add
    monkeypatch.setattr(store.rewinds, "add", lambda block: (add(block), during.append(store.published)))
    local.ask(lambda done: Cheat(done, "revert", (snapshot,)))
    later = [store.published]
    for _ in range(4):
        local.grow(1)
        later.append(store.published)
    assert during
    assert not set(during) & set(later)
    local.close()
