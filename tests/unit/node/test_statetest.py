"""The state test runner: its command line, and that it fails what is wrong."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chain.crypto import address_of_secret
from node.cli.statetest import statetest
from vm.errors import PrecompileUnavailable

SECRET = bytes(31) + b"\x01"
TO = "0x" + "aa" * 20


def case(code: str = "60015f55") -> dict[str, Any]:
    """A call of some code; by default it stores 1 in slot 0."""
    sender = "0x" + address_of_secret(SECRET).hex()
    expected = {
        "indexes": {"data": 0, "gas": 0, "value": 0},
        "hash": "0x" + "00" * 32,
        "logs": "0x" + "00" * 32,
    }
    return {
        "env": {
            "currentCoinbase": "0x" + "c0" * 20,
            "currentGasLimit": "0x989680",
            "currentNumber": "0x1",
            "currentTimestamp": "0x3e8",
            "currentDifficulty": "0x0",
            "currentBaseFee": "0x7",
        },
        "pre": {
            sender: {"nonce": "0x0", "balance": "0xde0b6b3a7640000", "code": "0x", "storage": {}},
            TO: {"nonce": "0x1", "balance": "0x0", "code": "0x" + code, "storage": {}},
        },
        "transaction": {
            "nonce": "0x0",
            "gasPrice": "0xa",
            "gasLimit": ["0x186a0"],
            "to": TO,
            "value": ["0x0"],
            "data": ["0x"],
            "secretKey": "0x" + SECRET.hex(),
            "sender": sender,
        },
        "post": {"Cancun": [dict(expected)], "Prague": [dict(expected)]},
    }


def run(path: Path, *options: str) -> tuple[Result, list[dict[str, Any]], str]:
    """The result, the JSON lines and the last line."""
    result = CliRunner().invoke(
        statetest, [str(path), *options], env={"XDG_CACHE_HOME": str(path.parent / "cache")}
    )
    lines = result.stdout.splitlines()
    return result, [json.loads(line) for line in lines if line.startswith("{")], lines[-1] if lines else ""


@pytest.fixture
def right(tmp_path: Path) -> Path:
    """A file that passes: its roots are those the runner computed, its logs hash that of no logs."""
    path = tmp_path / "right.json"
    document = {"stores": case()}
    path.write_text(json.dumps(document))
    _, rows, _ = run(path, "--json")
    for row in rows:
        expected = document["stores"]["post"][row["fork"]][0]
        expected["hash"] = row["got"]
        expected["logs"] = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"
    path.write_text(json.dumps(document))
    return path


def test_passing_cases(right: Path) -> None:
    result, rows, last = run(right, "--json")
    assert (result.exit_code, last) == (0, "2 passed, 0 failed")
    assert [row["pass"] for row in rows] == [True, True]
    assert rows[0]["name"].endswith("right.json::stores[Cancun-d0-g0-v0]")
    assert rows[0]["got"] == rows[0]["want"]
    assert run(right, "--fork", "Prague")[2] == "1 passed, 0 failed"
    assert run(right, "--match", "Canc.n")[2] == "1 passed, 0 failed"
    assert run(right, "--jobs", "2")[2] == "2 passed, 0 failed"


def test_wrong_roots_logs_and_expectations_fail(right: Path) -> None:
    document = json.loads(right.read_text())
    cancun, prague = (document["stores"]["post"][fork][0] for fork in ("Cancun", "Prague"))
    cancun["hash"] = "0x" + "11" * 32
    prague["logs"] = "0x" + "11" * 32
    document["stores"]["post"]["Amsterdam"] = [prague]
    right.write_text(json.dumps(document))
    result, rows, last = run(right, "--json")
    assert (result.exit_code, last) == (1, "0 passed, 3 failed")
    assert [row["error"] for row in rows] == [
        "state root differs",
        "logs differ",
        "fork Amsterdam is not known",
    ]
    cancun["expectException"] = "TransactionException.NONCE_MISMATCH_TOO_LOW"
    right.write_text(json.dumps(document))
    assert "accepted, but expected" in run(right, "--json", "--fork", "Cancun")[1][0]["error"]
    document["stores"]["transaction"]["nonce"] = "0x5"
    right.write_text(json.dumps(document))
    rows = run(right, "--json")[1]
    assert rows[0]["error"] == "state root differs"
    assert rows[1]["error"].startswith("refused: tx.nonce_high")


def test_unavailable_precompiles_are_named(right: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"calls": case("5f5f5f5f5f600b61fffff1")}
    right.write_text(json.dumps(document))

    def missing(module: str, name: str, address: int) -> Any:
        raise PrecompileUnavailable(name, address)

    monkeypatch.setattr("vm.precompiles.bls12_381.native", missing)
    errors = {row["fork"]: row["error"] for row in run(right, "--json")[1]}
    assert errors["Prague"] == "precompile 0x0b (bls12_g1add) unavailable"
    assert errors["Cancun"] == "state root differs"


def test_archives_and_folders(right: Path, tmp_path: Path) -> None:
    archive = tmp_path / "folder" / "cases.tar.xz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:xz") as tar:
        tar.add(right, "some/right.json")
    assert run(archive)[2] == run(archive.parent)[2] == "2 passed, 0 failed"


def test_unusable_input_is_an_error(right: Path, tmp_path: Path) -> None:
    missing = run(tmp_path / "missing.json")[0]
    assert (missing.exit_code, "no such file" in missing.stderr, "hint:" in missing.stderr) == (2, True, True)
    assert run(right, "--engine", "guess")[0].exit_code == 2
    assert run(right, "--match", "(")[0].exit_code == 2
    assert run(right, "--fork", "Amsterdam")[0].exit_code == 2
    assert run(right, "--match", "no such case")[2] == "0 passed, 0 failed"
    (tmp_path / "bad.tar.xz").write_bytes(b"\xfd7zXZ\0 and no more")
    assert run(tmp_path / "bad.tar.xz")[0].exit_code == 2
    for text in ("{", "[]", '{"a": {"blocks": []}}'):
        (tmp_path / "bad.json").write_text(text)
        assert run(tmp_path / "bad.json")[0].exit_code == 2


def test_both_engines_pass(right: Path) -> None:
    interpreted, compiled = (run(right, "--engine", engine) for engine in ("interpreter", "jit"))
    assert compiled[0].exit_code == 0
    assert compiled[2] == interpreted[2]


def test_traces_are_eip_3155(right: Path) -> None:
    result = run(right, "--trace", "--fork", "Cancun")[0]
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    gas = 100_000 - 21_000
    assert [(line["pc"], line["opName"], line["gasCost"]) for line in lines[:-1]] == [
        (0, "PUSH1", "0x3"),
        (2, "PUSH0", "0x2"),
        (3, "SSTORE", hex(22_100)),
        (4, "STOP", "0x0"),
    ]
    assert (lines[0]["gas"], lines[0]["depth"], lines[2]["stack"]) == (hex(gas), 1, ["0x1", "0x0"])
    assert (lines[-1]["pass"], lines[-1]["gasUsed"]) == (True, hex(22_105))


def test_compiled_cases_are_counted_and_kept_for_the_next_run(right: Path, tmp_path: Path) -> None:
    options = ("--engine", "jit", "--cache", str(tmp_path / "cache"))
    lines = run(right, *options)[0].stdout.splitlines()
    assert lines[0].startswith(
        "jit: 2 contracts compiled, 0 from the cache, 2 blocks; 2 frames began in compiled code, "
        "0 blocks were interpreted, "
    )
    assert lines[1:] == ["2 passed, 0 failed"]
    for jobs in ("1", "2"):
        result, _, last = run(right, *options, "--jobs", jobs)
        assert "jit: 0 contracts compiled, 2 from the cache" in result.stdout
        assert last == "2 passed, 0 failed"


def test_dump(right: Path, tmp_path: Path) -> None:
    cache, dump = tmp_path / "cache", tmp_path / "dump"
    for _ in range(2):  # what the cache has is dumped too
        assert run(right, "--cache", str(cache), "--jit-dump", str(dump))[2] == "2 passed, 0 failed"
        kinds = sorted(path.name.split("-", 1)[1] for path in dump.iterdir())
        assert kinds == [f"{fork}-whole0.{kind}" for fork in ("cancun", "prague") for kind in ("blocks.txt", "ll", "s")]
        for path in dump.iterdir():
            assert path.read_text()
            path.unlink()
