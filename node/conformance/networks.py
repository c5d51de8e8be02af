"""How block tests name networks, as chain configs: a fork from genesis on, or ``AToBAtTime15k``."""

from __future__ import annotations

import re
from typing import Any, Final

from chain.forks import ChainConfig, Fork
from node.conformance.state_case import FORK_NAMES, blob_schedule_of

_TRANSITION: Final = re.compile(r"(\w+?)To(\w+?)At(Time)?(\d+)(k?)")


def config_of(network: str, config: dict[str, Any]) -> ChainConfig:
    """The rules of a network; ``config`` is the case's own, for chain id and blobs. Raises `KeyError`.

    >>> config_of("BerlinToLondonAt5", {}).fork_at(5, 0).name
    'LONDON'
    """
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
