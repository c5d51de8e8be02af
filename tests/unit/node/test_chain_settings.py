"""Settings of the chain: changed by one function, live and in replay; their rules name settings that exist."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chain.forks import Fork
from chain.genesis import dev_genesis
from chain.production import ONE_BLOCK, ROLLED_BACK, RULES, ChainSettings, next_environment, next_timestamp
from chain.types import Address
from node.engine.cheats import CHEATS
from storage.applied import AppliedChain
from storage.checkpoint import ReplayStart
from storage.errors import InvalidRecord
from tests.simulation.simkv import SimKv

GENESIS = dev_genesis(31337, [], timestamp=1_000)
HEAD = GENESIS.header()


def applied(settings: ChainSettings | None = None) -> AppliedChain:
    return AppliedChain(SimKv(), GENESIS, settings or ChainSettings())


def test_rules_are_of_settings() -> None:
    assert set(RULES) <= set(ChainSettings.__struct_fields__)
    assert set(ONE_BLOCK) <= set(ROLLED_BACK), "a snapshot knows what the next block would have consumed"


def test_a_change_replaces_the_value_and_keeps_the_others() -> None:
    chain = applied(ChainSettings(gas_limit=5_000_000))
    before = chain.settings
    chain.change_settings({"automine": False})
    assert (chain.settings.automine, chain.settings.gas_limit) == (False, 5_000_000)
    assert before.automine, "those who hold a value do not see it change"


def test_what_no_record_changed_follows_the_start_of_the_node() -> None:
    """A checkpoint keeps the changed settings only: ``--block-time`` of the next start counts for the rest."""
    chain = applied(ChainSettings(automine=False))
    chain.change_settings({"coinbase": bytes(19) + b"\1"})
    chain.freeze(1, None)
    assert chain.frozen is not None
    assert chain.frozen.start.values == {"coinbase": bytes(19) + b"\1"}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(chain.frozen.start), type=ReplayStart) == chain.frozen.start


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(InvalidRecord, match="colour"):
        applied().change_settings({"colour": 1})


@pytest.mark.parametrize(
    ("settings", "timestamp"),
    [
        ({}, 2_000),
        ({"time_offset_seconds": 50}, 2_050),
        ({"next_timestamp": 3_000, "time_offset_seconds": 50}, 3_000),
        ({"timestamp_interval": 7}, 1_007),
        ({"time_offset_seconds": -5_000}, 1_001),
    ],
)
def test_the_time_of_the_next_block(settings: dict[str, Any], timestamp: int) -> None:
    assert next_timestamp(HEAD, ChainSettings(**settings), 2_000) == timestamp


def test_the_next_block_is_what_the_settings_say() -> None:
    wanted = ChainSettings(
        coinbase=b"\7" * 20, gas_limit=1_000_000, next_base_fee=9, next_prevrandao=b"\3" * 32, next_timestamp=4_000
    )
    environment = next_environment(GENESIS.config, HEAD, wanted, 2_000)
    assert environment.fork >= Fork.PARIS
    assert (environment.number, environment.timestamp, environment.coinbase) == (1, 4_000, Address(b"\7" * 20))
    assert (environment.gas_limit, environment.base_fee, environment.prevrandao) == (1_000_000, 9, b"\3" * 32)


def test_development_calls_that_set_something_exist() -> None:
    assert {"set_coinbase", "set_gas_limit", "set_next_base_fee", "set_prevrandao", "impersonate_all"} <= set(CHEATS)
