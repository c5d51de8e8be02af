"""The block test runner: its command line, and that it fails what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chain.blocks import Block, encode_block
from chain.errors import InvalidHeader, InvalidUncles, NonceTooLow
from chain.forks import BPO_BLOBS, Fork
from node.cli.blocktest import blocktest
from node.conformance.memory_state import MemoryState
from node.conformance.networks import config_of
from node.conformance.refusals import explains
from tests.unit.vm.test_importing import add, mint, transfer, tree_of


def alloc(state: MemoryState) -> dict[str, Any]:
    return {
        "0x" + address.hex(): {
            "nonce": hex(account.nonce),
            "balance": hex(account.balance),
            "code": "0x" + state.code(account.code_hash).hex(),
            "storage": {hex(slot): hex(value) for slot, value in state.slots.get(address, {}).items()},
        }
        for address, account in state.accounts.items()
    }


def entry(block: Block, **more: Any) -> dict[str, Any]:
    header = {} if more else {"blockHeader": {"hash": "0x" + block.hash.hex()}}
    return {"rlp": "0x" + encode_block(block).hex(), **header, **more}


@pytest.fixture
def case() -> dict[str, Any]:
    """Two blocks to accept and between them one with a wrong gas limit, on Osaka."""
    tree = tree_of(Fork.OSAKA)
    genesis, pre = tree.head.block, tree.head.state
    first = mint(tree, genesis, [transfer(0)])
    wrong = replace(first, header=replace(first.header, gas_limit=1))
    add(tree, first)
    second = add(tree, mint(tree, first))
    return {
        "network": "Osaka",
        "genesisRLP": "0x" + encode_block(genesis).hex(),
        "genesisBlockHeader": {"hash": "0x" + genesis.hash.hex()},
        "pre": alloc(pre),
        "blocks": [
            entry(first),
            entry(wrong, expectException="BlockException.INVALID_GASLIMIT"),
            entry(second),
        ],
        "lastblockhash": "0x" + second.hash.hex(),
        "postState": alloc(tree.head.state),
    }


def run(path: Path, document: Any, *options: str) -> tuple[Result, list[dict[str, Any]], str]:
    """The result, the JSON lines and the last line."""
    path.write_text(json.dumps(document))
    result = CliRunner().invoke(blocktest, [str(path), *options])
    lines = result.stdout.splitlines()
    return result, [json.loads(line) for line in lines if line.startswith("{")], lines[-1] if lines else ""


def test_passing_cases(case: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "right.json"
    result, rows, last = run(path, {"two": case}, "--json")
    assert (result.exit_code, last) == (0, "1 passed, 0 failed")
    assert rows[0]["name"].endswith("right.json::two[Osaka]")
    assert (rows[0]["fork"], rows[0]["pass"]) == ("Osaka", True)
    assert rows[0]["got"] == rows[0]["want"] == case["lastblockhash"]
    assert run(path, {"two": case}, "--fork", "osaka", "--jobs", "2")[2] == "1 passed, 0 failed"
    assert run(path, {"two": case}, "--fork", "Prague")[2] == "0 passed, 0 failed"
    assert run(path, {"two": case}, "--match", "t.o")[2] == "1 passed, 0 failed"


def test_what_is_wrong_fails(case: dict[str, Any], tmp_path: Path) -> None:
    first, wrong, second = case["blocks"]
    other_state = {
        **case["postState"],
        "0x" + "77" * 20: {"nonce": "0x0", "balance": "0x1", "code": "0x", "storage": {}},
    }
    cases = {
        "another block is the head": {**case, "blocks": [first]},
        "block 0 accepted, but expected": {**case, "blocks": [{**first, "expectException": "X"}, second]},
        "block 1 refused: block.header: gas_limit": {**case, "blocks": [first, {"rlp": wrong["rlp"]}]},
        "expected InvalidNumber": {**case, "blocks": [{**wrong, "expectException": "InvalidNumber"}]},
        "block 0 has another hash": {**case, "blocks": [{**first, "blockHeader": {"hash": "0x00"}}]},
        "the state of the head differs": {**case, "postState": other_state},
        "the state root of the head differs": {**case, "postStateHash": "0x" + "00" * 32},
        "the state root of the genesis differs": {**case, "pre": other_state},
        "the hash of the genesis differs": {**case, "genesisBlockHeader": {"hash": "0x00"}},
        "network Amsterdam is not known": {**case, "network": "Amsterdam"},
        "block 0 refused: input.rlp": {**case, "blocks": [{"rlp": first["rlp"] + "00"}]},
        "not hex": {**case, "blocks": [{"rlp": "0xzz"}]},
    }
    result, rows, last = run(tmp_path / "wrong.json", cases, "--json")
    assert (result.exit_code, last) == (1, f"0 passed, {len(cases)} failed")
    for reason, row in zip(cases, rows, strict=True):
        assert reason in row["error"], row
    assert "FAIL" in run(tmp_path / "wrong.json", cases)[0].stdout


def test_unusable_input_is_an_error(tmp_path: Path) -> None:
    for document in ([], {"a": {"env": {}}}):
        result = run(tmp_path / "bad.json", document)[0]
        assert (result.exit_code, "hint:" in result.stderr) == (2, True)
    assert run(tmp_path / "bad.json", {}, "--engine", "guess")[0].exit_code == 2


def test_reasons_are_told_apart() -> None:
    assert explains("InvalidNumber", InvalidHeader("number", ""))
    assert not explains("InvalidNumber", InvalidHeader("timestamp", ""))
    assert explains("ExtraDataTooBig|TransactionException.NONCE_MISMATCH_TOO_LOW", NonceTooLow(""))
    assert explains("a name nobody knows", NonceTooLow(""))
    assert explains("InvalidTimestampOlderParent", InvalidUncles("an uncle's timestamp"))
    assert not explains("TR_NonceTooHigh", InvalidUncles(""))


def test_networks() -> None:
    config = config_of("CancunToPragueAtTime15k", {"chainid": "0x7"})
    assert config.chain_id == 7
    assert [config.fork_at(1, time) for time in (14_999, 15_000)] == [Fork.CANCUN, Fork.PRAGUE]
    assert [config.blobs_at(time).max for time in (14_999, 15_000)] == [6, 9]
    config = config_of("BPO1ToBPO2AtTime15k", {})
    assert [config.blobs_at(time) for time in (0, 15_000)] == list(BPO_BLOBS[:2])
    assert config.fork_at(1, 15_000) is Fork.OSAKA
    assert config_of("OsakaToBPO1AtTime15k", {}).blobs_at(15_000).max == 15
    london = config_of("BerlinToLondonAt5", {})
    assert [london.fork_at(number, 0) for number in (4, 5)] == [Fork.BERLIN, Fork.LONDON]
    assert config_of("ShanghaiToCancunAtTime15k", {}).blobs_at(0).max == 6
    dao = config_of("HomesteadToDaoAt5", {})
    assert (dao.dao_fork, dao.dao_support, dao.fork_at(5, 0)) == (5, True, Fork.HOMESTEAD)
    glacier = config_of("ArrowGlacier", {})
    assert (glacier.fork_at(1, 0), glacier.bomb_delay_at(1)) == (Fork.LONDON, 10_700_000)


def test_the_merge_comes_at_a_total_difficulty(tmp_path: Path) -> None:
    tree = tree_of(Fork.LONDON)
    genesis, pre = tree.head.block, tree.head.state
    last = add(tree, mint(tree, genesis))
    late = mint(tree, last, [transfer(0)])
    tree.config = config_of("Paris", {})
    early, first = mint(tree, genesis), mint(tree, last, [transfer(0)])
    blocks = [entry(early, expectException="X"), entry(last), entry(late, expectException="X"), entry(first)]
    document = {
        "network": f"ArrowGlacierToParisAtDiff{genesis.header.difficulty + 1:X}",
        "genesisRLP": "0x" + encode_block(genesis).hex(),
        "genesisBlockHeader": {"hash": "0x" + genesis.hash.hex()},
        "pre": alloc(pre),
        "blocks": blocks,
        "lastblockhash": "0x" + first.hash.hex(),
    }
    assert run(tmp_path / "merge.json", {"one": document})[2] == "1 passed, 0 failed"
