"""Calls and reverts in words, whatever strangers send; ABIs read from disk, whatever is there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from chain.hashing import keccak256
from node.api.errors import AbiRefused
from node.transcript import artifacts
from node.transcript.abis import SHOWN_CHARACTERS, Abis, contract_of
from node.transcript.artifacts import KEPT_DIRECTORY, KEPT_MAX, LOOK_AGAIN_SECONDS, Artifacts

A = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
CODE_HASH = b"\x07" * 32
ABI: list[dict[str, Any]] = [
    {"type": "constructor", "inputs": []},
    {"type": "function", "name": "setNumber", "inputs": [{"type": "uint256"}], "outputs": []},
    {
        "type": "function",
        "name": "place",
        "inputs": [{"type": "tuple[]", "components": [{"type": "address"}, {"type": "string"}]}],
    },
    {"type": "function", "name": "deep", "inputs": [{"type": "uint256[][][]"}]},
    {"type": "error", "name": "TooBig", "inputs": [{"type": "uint256"}, {"type": "uint256"}]},
]


def encoded(signature: str, *values: object) -> bytes:
    types = signature[signature.index("(") + 1 : -1]
    kinds = [types] if types.startswith("(") or not types else types.split(",")
    return keccak256(signature.encode())[:4] + (encode(kinds, values) if values else b"")


@pytest.fixture
def abis() -> Abis:
    known = Abis()
    known.add(contract_of("Counter", ABI), CODE_HASH)
    return known


@pytest.mark.parametrize(
    ("data", "code_hash", "shown"),
    [
        (b"", CODE_HASH, ""),
        (b"\x01\x02", CODE_HASH, "0x0102"),
        (encoded("setNumber(uint256)", 5), CODE_HASH, "Counter.setNumber(5)"),
        (encoded("setNumber(uint256)", 5), None, "setNumber(5)"),
        (encoded("setNumber(uint256)"), CODE_HASH, "Counter.setNumber(uint256) and 0 bytes"),
        (encoded("place((address,string)[])", [(A, "x\x1b[2J")]), CODE_HASH, f"Counter.place((({A}, x\\x1b[2J)))"),
        (encoded("transfer(address,uint256)", A, 7), CODE_HASH, f"Counter.transfer({A}, 7)"),
        (encoded("owner()"), None, "owner()"),
        (b"\xde\xad\xbe\xef" + bytes(64), CODE_HASH, "Counter.0xdeadbeef and 64 bytes"),
        (b"\xde\xad\xbe\xef", None, "0xdeadbeef"),
    ],
)
def test_calls(abis: Abis, data: bytes, code_hash: bytes | None, shown: str) -> None:
    assert abis.call(data, code_hash) == shown


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", "reverted without a reason"),
        (encoded("Error(string)", "a too big"), "a too big"),
        (encoded("Error(string)", ""), 'Error("")'),
        (encoded("Error(string)", "\x1b]0;t\x07\n"), "\\x1b]0;t\\x07\\n"),
        (encoded("Panic(uint256)", 0x11), "Panic(0x11): arithmetic underflow or overflow"),
        (encoded("Panic(uint256)", 0x99), "Panic(0x99): unknown panic code: 0x99"),
        (encoded("TooBig(uint256,uint256)", 500, 100), "TooBig(500, 100)"),
        (encoded("OwnableUnauthorizedAccount(address)", A), f"OwnableUnauthorizedAccount({A})"),
        (encoded("Unheard(uint256)", 1), "custom error 0x" + encoded("Unheard(uint256)", 1).hex()),
        (b"\x01\x02\x03", "0x010203"),
        (b"\x08\xc3\x79\xa0" + b"\xff" * 32, "custom error 0x08c379a0" + "ff" * 32),
    ],
)
def test_reverts(abis: Abis, data: bytes, shown: str) -> None:
    assert abis.revert(data, CODE_HASH) == shown


def test_arrays_in_arrays_are_not_unfolded(abis: Abis) -> None:
    """Each level may repeat the same 32 bytes: four of them make a million numbers of 4 KiB."""
    data = encoded("deep(uint256[][][])", [[[1]]])
    assert abis.call(data) == f"deep(uint256[][][]) and {len(data) - 4} bytes"


@given(st.sampled_from([*(ABI[at]["name"] for at in (1, 2)), "TooBig"]), st.binary(max_size=300))
def test_whatever_is_sent_is_one_short_line(name: str, rest: bytes) -> None:
    known = Abis()
    known.add(contract_of("Counter", ABI), CODE_HASH)
    selectors = {"setNumber": "setNumber(uint256)", "place": "place((address,string)[])"}
    selector = keccak256(selectors.get(name, "TooBig(uint256,uint256)").encode())[:4]
    for shown in (known.call(selector + rest, CODE_HASH), known.revert(selector + rest, CODE_HASH)):
        assert shown.isprintable()
        assert len(shown) <= SHOWN_CHARACTERS + len("Counter....")


@pytest.mark.parametrize("abi", [None, {}, "x", [5], [{"name": "f", "inputs": [{}]}], [{"name": "f", "inputs": 7}]])
def test_what_is_no_abi_is_refused(abi: object) -> None:
    with pytest.raises(ValueError):
        contract_of("X", abi)


def test_folders_are_read_when_something_unknown_is_met(tmp_path: Path) -> None:
    now = [0.0]
    looking = Artifacts(tmp_path / "data", (str(tmp_path / "out"),), clock=lambda: now[0])
    abis = Abis(looking.look)
    data = encoded("setNumber(uint256)", 5)
    unknown = encoded("TooBig(uint256,uint256)", 1, 2)
    assert abis.revert(unknown).startswith("custom error")

    folder = tmp_path / "out" / "Counter.sol"
    folder.mkdir(parents=True)
    code = "0x600060005500"
    artifact = {"abi": ABI, "deployedBytecode": {"object": code}}
    (folder / "Counter.json").write_text(json.dumps(artifact))
    (folder / "Broken.json").write_text("{")
    (folder / "Nothing.json").write_text("[]")
    (folder / "Deep.json").write_text("[" * 100_000)
    (folder / "Counter.dbg.json").write_text("{}")
    (tmp_path / "out" / "loop").symlink_to(tmp_path / "out")
    (folder / "Endless.json").symlink_to("/dev/zero")
    os.mkfifo(folder / "Pipe.json")
    assert abis.revert(unknown).startswith("custom error"), "it was read a moment ago"
    now[0] += LOOK_AGAIN_SECONDS
    assert abis.revert(unknown) == "TooBig(1, 2)"
    assert abis.call(data, keccak256(bytes.fromhex(code[2:]))) == "Counter.setNumber(5)"


@pytest.mark.parametrize(
    "artifact",
    [
        {"deployedBytecode": "0x60__$aaaa$__00"},
        {"deployedBytecode": "0x"},
        {"deployedBytecode": {"object": "0x6000", "immutableReferences": {"1": []}}},
        {"deployedBytecode": "0x6000", "immutableReferences": {"1": []}},
        {},
    ],
)
def test_code_that_changes_at_deployment_is_known_by_selector_only(tmp_path: Path, artifact: dict[str, Any]) -> None:
    (tmp_path / "Counter.json").write_text(json.dumps({"abi": ABI, **artifact}))
    abis = Abis(Artifacts(None, (str(tmp_path),)).look)
    assert abis.call(encoded("setNumber(uint256)", 5), keccak256(bytes.fromhex("6000"))) == "setNumber(5)"


def test_what_was_deployed_is_known_after_a_restart_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "KEPT_MAX", 3)
    keeping, abis = Artifacts(tmp_path, ()), Abis()
    for number in range(5):
        keeping.keep(abis, "Counter", ABI, bytes([number]) * 32)
    assert len(list((tmp_path / KEPT_DIRECTORY).iterdir())) == 3 < KEPT_MAX
    again = Abis(Artifacts(tmp_path, ()).look)
    again.look()
    assert again.call(encoded("setNumber(uint256)", 5), b"\x04" * 32) == "Counter.setNumber(5)"


@pytest.mark.parametrize("abi", ["x", [5], [{"type": "function", "name": "f" * 2**20, "inputs": []}]])
def test_what_cannot_be_kept_is_refused(tmp_path: Path, abi: object) -> None:
    with pytest.raises(AbiRefused):
        Artifacts(tmp_path, ()).keep(Abis(), "X", abi, CODE_HASH)
    assert not list(tmp_path.glob(f"{KEPT_DIRECTORY}/*"))
