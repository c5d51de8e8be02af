"""TrieTests of ethereum/tests: roots after any order of insertions and deletions."""

from __future__ import annotations

from typing import Any

import pytest

from chain.trie import secure_trie_root, trie_root
from tests.conformance.archives import cases

CASES = [
    (path.rsplit("/")[-1], name, case)
    for path, name, case in cases("ethtests-v14.1-small", "TrieTests/")
    if "root" in case
]


def as_bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:]) if text.startswith("0x") else text.encode()


@pytest.mark.parametrize(
    ("path", "case"),
    [(path, case) for path, _, case in CASES],
    ids=[f"{path}:{name}" for path, name, _ in CASES],
)
def test_root(path: str, case: dict[str, Any]) -> None:
    steps = case["in"].items() if isinstance(case["in"], dict) else case["in"]
    mapping: dict[bytes, bytes] = {}
    for key, value in steps:
        if value is None:
            mapping.pop(as_bytes(key), None)
        else:
            mapping[as_bytes(key)] = as_bytes(value)
    root = secure_trie_root if "secure" in path.lower() else trie_root
    assert root(mapping).hex() == case["root"].removeprefix("0x")


def test_there_are_vectors() -> None:
    assert len(CASES) >= 10
