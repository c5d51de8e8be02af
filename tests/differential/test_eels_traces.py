"""Traces equal those of the execution specification, line by line."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.archives import cases
from tests.differential.eels import differences, eels_program, trace_with_eels, trace_with_zvmd
from tests.paths import FIXTURES
from tests.unit.node.test_statetest import TO, case
from tests.unit.vm.programs import code

ARCHIVES = (
    "eest-v5.4.0-state-Cancun",
    "eest-v5.4.0-state-Prague",
    "eest-v5.4.0-state-Osaka",
    "ethtests-v14.1-GeneralStateTests",
)
FORKS = {"Cancun", "Prague", "Osaka"}
CHUNK = 20
"""Cases compared in one go: EELS takes up to half a second for each."""
EVERY_COMMIT_CHUNK = 3
CHUNKS = 5

SENTRY = "0x" + "5e" * 20
"""Reverts with a word of output."""


def chunk_of(archive: str, number: int, size: int) -> dict[str, Any]:
    """Some subtests of an archive as cases of their own; the same ones every time."""
    if not (FIXTURES / f"{archive}.tar.xz").exists():
        pytest.skip(f"no fixtures at {FIXTURES}")
    found = [
        (f"{path}::{name}[{fork}-{index}]", document | {"post": {fork: [expected]}})
        for path, name, document in cases(archive)
        for fork, expectations in document["post"].items()
        if fork in FORKS
        for index, expected in enumerate(expectations)
    ]
    chosen = random.Random(archive).sample(found, CHUNK * CHUNKS)
    return dict(chosen[number * CHUNK : number * CHUNK + size])


def compare(document: dict[str, Any], path: Path) -> int:
    """Lines that are equal."""
    path.write_text(json.dumps(document))
    theirs, ours = trace_with_eels(path), trace_with_zvmd(path)
    assert len(theirs) == len(ours)
    names = [
        f"{name}[{fork}-{index}]"
        for name, entry in document.items()
        for fork, expectations in entry["post"].items()
        for index in range(len(expectations))
    ]
    different = {
        name: found
        for name, their, our in zip(names, theirs, ours, strict=True)
        if (found := [*differences(their, our)])
    }
    assert not different, f"{len(different)} of {len(names)}: {[(k, v[0]) for k, v in different.items()][:3]}"
    return sum(map(len, ours))


@pytest.mark.full
@pytest.mark.parametrize("number", range(CHUNKS))
@pytest.mark.parametrize("archive", ARCHIVES)
def test_state_tests(archive: str, number: int, tmp_path: Path) -> None:
    eels_program()
    assert compare(chunk_of(archive, number, CHUNK), tmp_path / "cases.json") > CHUNK


PROGRAMS: dict[str, tuple[str | int | bytes, ...]] = {
    "storage": (1, 0, "SSTORE", 0, 0, "SSTORE", 0, 5, "SSTORE", 7, 5, "SSTORE", 5, "SLOAD", 9, "SLOAD"),
    "memory": (1, 2_000, "MSTORE", 700, 0, "KECCAK256", 64, 0, 4_000, "CALLDATACOPY", 900, 8, 16, "MCOPY"),
    "logs": (7, 8, 9, 40, 3, "LOG3", 32, 5_000, "LOG0", 2**40, 2**200, "EXP"),
    "calls": (
        *(32, 0, 0, 0, 0, int(SENTRY, 16), 20_000, "CALL", "RETURNDATASIZE", 0, 0, "RETURNDATACOPY"),
        *(0, 0, 0, 0, 9, int(SENTRY, 16), 1_000, "CALLCODE", 0, 0, 0, 64, 0xD00D, 5_000, "DELEGATECALL"),
        *(0, 0, 0, 0, 1, 0xABCD, 0, "CALL", 0, 0, 32, 0, 4, "GAS STATICCALL", 0xABCE, "SELFDESTRUCT"),
    ),
    "creations": (
        *(0x6005600C60003960056000F3600035FF, 0, "MSTORE", 17, 15, 0, "CREATE", "EXTCODESIZE"),
        *(1, 17, 15, 0, "CREATE2", "EXTCODEHASH", 0, 50_000, 0, 0, "CREATE2"),
    ),
    "bounds": (1, 0, 0, "RETURNDATACOPY"),
    "jumps": (4, "JUMP", "INVALID JUMPDEST", 1, 1, "JUMPI"),
    "underflow": (1, "DUP2"),
    "overflow": ("JUMPDEST", 1, 0, "JUMP"),
    "unknown": (1, b"\x0c"),
    "size": (2**255, 2**255, "KECCAK256"),
    "static": (0, 0, 0, 0, int(TO, 16), "GAS STATICCALL", 1, 1, "SSTORE"),
}


def programs(gas_limits: list[int]) -> dict[str, Any]:
    """Each program with each gas limit, under Osaka."""
    document = {}
    for name, parts in PROGRAMS.items():
        entry = case(code(*parts).hex())
        entry["pre"][SENTRY] = {
            "nonce": "0x1",
            "balance": "0x0",
            "code": "0x" + code(42, 0, "MSTORE", 32, 0, "REVERT").hex(),
            "storage": {},
        }
        entry["pre"][TO] |= {"balance": "0x2", "storage": {"0x5": "0x9"}}
        entry["env"] |= {"currentRandom": "0x" + "01" * 32, "currentExcessBlobGas": "0x0"}
        entry["transaction"]["gasLimit"] = [hex(limit) for limit in gas_limits]
        expected = entry["post"]["Prague"][0]
        entry["post"] = {
            "Osaka": [
                expected | {"indexes": {"data": 0, "gas": index, "value": 0}}
                for index in range(len(gas_limits))
            ]
        }
        document[name] = entry
    return document


def test_some_state_tests_and_programs_that_fail(tmp_path: Path) -> None:
    """All in one run of EELS, whose start takes longer than a few cases."""
    eels_program()
    some = programs([23_000, 200_000])
    for archive in ARCHIVES:
        some |= chunk_of(archive, 0, EVERY_COMMIT_CHUNK)
    assert len(some) == len(PROGRAMS) + len(ARCHIVES) * EVERY_COMMIT_CHUNK
    assert compare(some, tmp_path / "cases.json") > 200


@pytest.mark.full
@pytest.mark.parametrize("start", [21_000, 26_000, 40_000, 80_000])
def test_programs_out_of_gas_anywhere(start: int, tmp_path: Path) -> None:
    assert compare(programs(list(range(start, start + 3_000, 193))), tmp_path / "cases.json") > 1_000
