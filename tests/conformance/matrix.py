"""Which archives of vectors there are, how many cases each holds, and what is not run: nothing, so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from node.conformance.blocktest import run_block_tests
from node.conformance.running import CaseResult
from node.conformance.statetest import run_state_tests

STATE: dict[str, int] = {
    "eest-v5.4.0-state-Frontier": 44,
    "eest-v5.4.0-state-Homestead": 45,
    "eest-v5.4.0-state-Byzantium": 79,
    "eest-v5.4.0-state-ConstantinopleFix": 81,
    "eest-v5.4.0-state-Istanbul": 131,
    "eest-v5.4.0-state-Berlin": 227,
    "eest-v5.4.0-state-London": 231,
    "eest-v5.4.0-state-Paris": 248,
    "eest-v5.4.0-state-Shanghai": 309,
    "eest-v5.4.0-state-Cancun": 3_048,
    "eest-v5.4.0-state-Prague": 3_345,
    "eest-v5.4.0-state-Osaka": 3_661,
    "ethtests-v14.1-GeneralStateTests": 6_593,
    "legacytests-Cancun-GeneralStateTests": 30_954,
    "legacytests-Constantinople-GeneralStateTests": 6_674,
    "legacytests-VMTests": 229,
}
"""Subtests by archive: none may be lost."""

BLOCKS: dict[str, int] = {
    "eest-v5.4.0-blockchain-Frontier": 33,
    "eest-v5.4.0-blockchain-Homestead": 34,
    "eest-v5.4.0-blockchain-Byzantium": 50,
    "eest-v5.4.0-blockchain-ConstantinopleFix": 52,
    "eest-v5.4.0-blockchain-Istanbul": 71,
    "eest-v5.4.0-blockchain-Berlin": 97,
    "eest-v5.4.0-blockchain-London": 101,
    "eest-v5.4.0-blockchain-Paris": 121,
    "eest-v5.4.0-blockchain-Shanghai": 182,
    "eest-v5.4.0-blockchain-Cancun": 342,
    "eest-v5.4.0-blockchain-Prague": 531,
    "eest-v5.4.0-blockchain-Osaka": 715,
    "eest-v5.4.0-blockchain-transition": 19,
    "ethtests-v14.1-BlockchainTests": 197,
    "legacytests-Cancun-BlockchainTests": 918,
}
"""Cases by archive."""

SKIPPED: dict[str, str] = {}
"""Name of a case -> why it is not run. Other clients skip create collisions and slow loops; here all run."""

ENGINES = ("interpreter", "jit")


class Suite(NamedTuple):
    """One archive."""

    archive: str
    count: int
    run: Callable[..., Iterator[CaseResult]]


SUITES = {
    archive: Suite(archive, count, run)
    for counts, run in ((STATE, run_state_tests), (BLOCKS, run_block_tests))
    for archive, count in counts.items()
}
