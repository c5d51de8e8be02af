"""BasicTests of ethereum/tests: difficulty, paths in the trie, keys and signatures."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from chain.blocks import EMPTY_UNCLES_HASH
from chain.crypto import address_of_secret, recover, sign
from chain.difficulty import next_difficulty
from chain.forks import ChainConfig, Fork
from chain.genesis import Genesis
from chain.hashing import keccak256
from chain.transactions import decode_transaction, encode_transaction, recover_sender, sign_transaction
from chain.trie import decode_path, encode_path
from tests.conformance.archives import files

BASIC: dict[str, Any] = {
    path.rsplit("/")[-1].removesuffix(".json"): json.loads(data)
    for path, data in files("ethtests-v14.1-small", "BasicTests/")
}
FORKS: dict[str, tuple[tuple[int, Fork], ...]] = {
    "difficulty": ((0, Fork.FRONTIER),),
    "difficultyCustomHomestead": ((0, Fork.HOMESTEAD),),
    "difficultyCustomMainNetwork": ((1_150_000, Fork.HOMESTEAD), (4_370_000, Fork.BYZANTIUM)),
    "difficultyMainNetwork": ((1_150_000, Fork.HOMESTEAD), (4_370_000, Fork.BYZANTIUM)),
    "difficultyRopsten": ((0, Fork.HOMESTEAD), (1_700_000, Fork.BYZANTIUM), (4_230_000, Fork.CONSTANTINOPLE)),
}
"""File of difficulties -> where its network's forks begin."""
ANY_PARENT = Genesis(ChainConfig(1)).header()


@pytest.mark.parametrize("name", FORKS)
def test_difficulty(name: str) -> None:
    config = ChainConfig(1, block_forks=FORKS[name])
    assert BASIC[name]
    for label, case in BASIC[name].items():
        parent = replace(
            ANY_PARENT,
            difficulty=int(case["parentDifficulty"], 0),
            timestamp=int(case["parentTimestamp"], 0),
            uncles_hash=bytes.fromhex(case.get("parentUncles", EMPTY_UNCLES_HASH.hex()).removeprefix("0x")),
        )
        number, timestamp = int(case["currentBlockNumber"], 0), int(case["currentTimestamp"], 0)
        assert next_difficulty(config, number, timestamp, parent) == int(case["currentDifficulty"], 0), label


@pytest.mark.parametrize("case", BASIC["hexencodetest"].values(), ids=list(BASIC["hexencodetest"]))
def test_paths(case: dict[str, Any]) -> None:
    path = "".join(f"{nibble:x}" for nibble in case["seq"])
    assert encode_path(path, case["term"]).hex() == case["out"]
    assert decode_path(bytes.fromhex(case["out"])) == (path, case["term"])


@pytest.mark.parametrize("case", BASIC["keyaddrtest"], ids=lambda case: case["seed"])
def test_keys(case: dict[str, Any]) -> None:
    """`sig_of_emptystring`, of 2014, is left out: it recovers to the address for no hash of nothing in use since."""
    secret, digest = bytes.fromhex(case["key"]), keccak256(b"")
    assert secret == keccak256(case["seed"].encode())
    assert address_of_secret(secret).hex() == case["addr"]
    assert recover(digest, *sign(digest, secret)).hex() == case["addr"]


@pytest.mark.parametrize("case", BASIC["txtest"], ids=("transfer", "creation"))
def test_transactions(case: dict[str, Any]) -> None:
    secret = bytes.fromhex(case["key"])
    tx = decode_transaction(bytes.fromhex(case["signed"]))
    assert (tx.nonce, tx.gas_limit, tx.value) == (case["nonce"], case["startgas"], case["value"])
    assert (tx.data.hex(), (tx.to or b"").hex()) == (case["data"], case["to"])
    assert recover_sender(tx, allow_high_s=True) == address_of_secret(secret)
    assert recover_sender(sign_transaction(tx, secret)) == address_of_secret(secret)
    assert encode_transaction(tx).hex() == case["signed"]
