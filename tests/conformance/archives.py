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


def unhex(text: str) -> bytes:
    """Bytes of hex text with or without 0x."""
    return bytes.fromhex(text.removeprefix("0x"))
