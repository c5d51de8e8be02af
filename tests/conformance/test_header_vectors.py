"""Blocks of the block tests: wire form, hashes, roots, and the fees that follow from the parent."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from chain.blocks import (
    Header,
    decode_block,
    decode_header,
    encode_block,
    transactions_root,
    withdrawals_root,
)
from chain.fees import next_base_fee, next_excess_blob_gas
from chain.forks import BlobSchedule, Fork
from chain.genesis import Genesis
from chain.types import Address
from tests.conformance.archives import FORK_OF_NETWORK, cases, unhex

TRANSITION = re.compile(r"(\w+)To(\w+)AtTime(\d+)k")


def network_at(network: str, timestamp: int) -> str:
    match = TRANSITION.fullmatch(network)
    if not match:
        return network
    return match[2] if timestamp >= int(match[3]) * 1000 else match[1]


def check_fees(case: dict[str, Any], header: Header, parent: Header) -> None:
    network = network_at(case["network"], header.timestamp)
    fork = FORK_OF_NETWORK[network]
    if parent.base_fee is not None:
        assert header.base_fee == next_base_fee(parent.gas_limit, parent.gas_used, parent.base_fee)
    if fork >= Fork.CANCUN:
        entry = case["config"]["blobSchedule"][network]
        names = ("target", "max", "baseFeeUpdateFraction")
        schedule = BlobSchedule(*[int(entry[name], 16) for name in names])
        excess = next_excess_blob_gas(
            parent.excess_blob_gas or 0, parent.blob_gas_used or 0, parent.base_fee or 0, schedule, fork
        )
        assert header.excess_blob_gas == excess


def check_case(case: dict[str, Any]) -> int:
    """Blocks checked of one case: the valid ones up to the first that is to be refused."""
    genesis = decode_block(unhex(case["genesisRLP"]))
    assert encode_block(genesis) == unhex(case["genesisRLP"])
    assert genesis.hash == unhex(case["genesisBlockHeader"]["hash"])
    headers = {genesis.hash: genesis.header}
    for index, entry in enumerate(case["blocks"]):
        if "expectException" in entry:
            return index
        raw = unhex(entry["rlp"])
        block = decode_block(raw)
        assert encode_block(block) == raw
        assert block.hash == unhex(entry["blockHeader"]["hash"])
        assert block.header.transactions_root == transactions_root(block.transactions)
        if block.withdrawals is not None:
            assert block.header.withdrawals_root == withdrawals_root(block.withdrawals)
        check_fees(case, block.header, headers[block.header.parent_hash])
        headers[block.hash] = block.header
    return len(case["blocks"])


def genesis_state_root(pre: dict[str, Any]) -> bytes:
    return Genesis.from_json({"config": {"chainId": 1}, "alloc": pre}).header().state_root


@pytest.mark.parametrize(
    "network", ["Osaka", "Prague", "Cancun", "Shanghai", "London", "Byzantium", "transition"]
)
def test_blocks(network: str) -> None:
    checked = 0
    for path, name, case in cases(f"eest-v5.4.0-blockchain-{network}"):
        try:
            checked += check_case(case)
            assert genesis_state_root(case["pre"]) == unhex(case["genesisBlockHeader"]["stateRoot"])
        except Exception as error:
            raise AssertionError(f"{path} {name}: {error!r}") from error
    assert checked


def test_header_json_agrees() -> None:
    """The fields the vectors spell out are where `decode_header` puts them."""
    _, _, case = next(cases("eest-v5.4.0-blockchain-Prague"))
    entry = case["blocks"][0]
    header = decode_block(unhex(entry["rlp"])).header
    fields = entry["blockHeader"]
    assert header.coinbase == Address(unhex(fields["coinbase"])), json.dumps(fields)
    assert header.prevrandao == unhex(fields["mixHash"])
    assert header.gas_used == int(fields["gasUsed"], 16)
    assert header.excess_blob_gas == int(fields["excessBlobGas"], 16)
    assert header.parent_beacon_root == unhex(fields["parentBeaconBlockRoot"])
    assert header.requests_hash == unhex(fields["requestsHash"])
    with pytest.raises(Exception, match="fields"):
        decode_header(b"\xc0")
