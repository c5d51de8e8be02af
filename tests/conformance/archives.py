"""Reads the shared fixture archives: tar files of JSON, streamed, nothing unpacked to disk."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from typing import Any

from chain.forks import Fork
from tests.paths import FIXTURES

FORK_OF_NETWORK = {
    "Frontier": Fork.FRONTIER,
    "Homestead": Fork.HOMESTEAD,
    "EIP150": Fork.TANGERINE_WHISTLE,
    "EIP158": Fork.SPURIOUS_DRAGON,
    "Byzantium": Fork.BYZANTIUM,
    "Constantinople": Fork.CONSTANTINOPLE,
    "ConstantinopleFix": Fork.PETERSBURG,
    "Istanbul": Fork.ISTANBUL,
    "Berlin": Fork.BERLIN,
    "London": Fork.LONDON,
    "Paris": Fork.PARIS,
    "Shanghai": Fork.SHANGHAI,
    "Cancun": Fork.CANCUN,
    "Prague": Fork.PRAGUE,
    "Osaka": Fork.OSAKA,
    "BPO1": Fork.OSAKA,
    "BPO2": Fork.OSAKA,
    "BPO3": Fork.OSAKA,
    "BPO4": Fork.OSAKA,
}
"""Names the vectors give to forks."""


def files(archive: str, match: str = "") -> Iterator[tuple[str, bytes]]:
    """Path and bytes of each file in ``<archive>.tar.xz`` whose path contains ``match``."""
    with tarfile.open(FIXTURES / f"{archive}.tar.xz", "r|xz") as tar:
        for member in tar:
            if member.isfile() and match in member.name:
                stream = tar.extractfile(member)
                assert stream is not None
                yield member.name, stream.read()


def cases(archive: str, match: str = "") -> Iterator[tuple[str, str, Any]]:
    """Path, case name and case of each JSON file whose path contains ``match``."""
    for path, data in files(archive, match):
        if path.endswith(".json"):
            for name, case in json.loads(data).items():
                yield path, name, case


PRECOMPILES = {
    "add_G1": 0x0B,
    "mul_G1": 0x0C,
    "msm_G1": 0x0C,
    "add_G2": 0x0D,
    "mul_G2": 0x0E,
    "msm_G2": 0x0E,
    "pairing_check": 0x0F,
    "map_fp_to_G1": 0x10,
    "map_fp2_to_G2": 0x11,
    "test-vectors": 0x100,
}
"""Address of a precompile by the name of its vectors' file, in EIP-2537 and EIP-7951."""
P256 = 0x100
"""Whose vectors still carry RIP-7212's price, 3,450."""


def precompile_cases() -> list[tuple[str, int, dict[str, Any]]]:
    """Name, address and vector of each; none without the archive."""
    archive = "eips-precompile-vectors"
    if not (FIXTURES / f"{archive}.tar.xz").exists():
        return []
    found = []
    for path, data in files(archive):
        stem = path.rsplit("/", 1)[1].removesuffix(".json").removesuffix("_bls").removeprefix("fail-")
        found += [(f"{stem}-{case['Name']}", PRECOMPILES[stem], case) for case in json.loads(data)]
    return found


def unhex(text: str) -> bytes:
    """Bytes of hex text with or without 0x."""
    return bytes.fromhex(text.removeprefix("0x"))
