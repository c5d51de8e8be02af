"""How block tests name networks: a fork from genesis on, ``AToBAtTime15k``, ``AToBAt5`` or ``AToParisAtDiffC0000``."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final, NamedTuple

from chain.forks import ChainConfig, Fork
from node.conformance.state_case import FORK_NAMES, blob_schedule_of

_TRANSITION: Final = re.compile(r"(\w{1,40}?)To(\w{1,40}?)At(Time)?(\d+)(k?)")
_MERGE: Final = re.compile(r"(\w{1,40}?)To(?:Paris|Merge)AtDiff([0-9a-fA-F]+)")
_DAO: Final = re.compile(r"HomesteadToDaoAt(\d+)")
_GLACIERS: Final = {
    "MuirGlacier": (Fork.ISTANBUL, 9_000_000),
    "ArrowGlacier": (Fork.LONDON, 10_700_000),
    "GrayGlacier": (Fork.LONDON, 11_400_000),
}
"""Forks that only delay the difficulty bomb: the previous fork, and the delay in blocks."""


class Merge(NamedTuple):
    """The point at which a network leaves proof of work."""

    total_difficulty: int
    """Total difficulty of a block from which on children follow ``config``."""
    config: ChainConfig


def merge_of(network: str, config: dict[str, Any]) -> Merge | None:
    """The merge of a network that begins with proof of work, None for others."""
    found = _MERGE.fullmatch(network)
    return Merge(int(found[2], 16), config_of("Paris", config)) if found else None


def config_of(network: str, config: dict[str, Any]) -> ChainConfig:
    """The rules of a network; ``config`` is the case's own, for chain id and blobs. Raises `KeyError`.

    >>> config_of("BerlinToLondonAt5", {}).fork_at(5, 0).name
    'LONDON'
    """
    if found := _MERGE.fullmatch(network):
        network = found[1]
    if network in _GLACIERS:
        fork, delay = _GLACIERS[network]
        before = next(name for name, known in FORK_NAMES.items() if known == fork)
        return replace(config_of(before, config), bomb_delays=((0, delay),))
    if found := _DAO.fullmatch(network):
        return replace(config_of("Homestead", config), dao_fork=int(found[1]), dao_support=True)
    chain_id = int(config.get("chainid", "0x1"), 16)
    found = _TRANSITION.fullmatch(network)
    steps: list[tuple[int, str]] = [(0, network)]
    is_time = True
    if found:
        point = int(found[4]) * (1_000 if found[5] else 1)
        steps = [(0, found[1]), (point, found[2])]
        is_time = found[3] is not None
    block_forks = [(0, fork) for fork in Fork if fork <= min(FORK_NAMES[steps[0][1]], Fork.PARIS)]
    time_forks = [(0, fork) for fork in Fork if Fork.PARIS < fork <= FORK_NAMES[steps[0][1]]]
    for point, name in steps[1:]:
        (time_forks if is_time else block_forks).append((point, FORK_NAMES[name]))
    blob_forks = [
        (point, blob_schedule_of(config, name)) for point, name in steps if FORK_NAMES[name] >= Fork.CANCUN
    ]
    return ChainConfig(chain_id, tuple(block_forks), tuple(time_forks), tuple(blob_forks))
