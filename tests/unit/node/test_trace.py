"""``zvmd trace``: a piece of code, or the state tests of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from node.cli.trace import trace
from tests.unit.node.test_statetest import case
from tests.unit.vm.programs import code


def run(*arguments: str) -> tuple[Result, list[dict[str, Any]]]:
    result = CliRunner().invoke(trace, list(arguments))
    return result, [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def test_code() -> None:
    program = code(0, "CALLDATALOAD", "CALLVALUE", "ADD", 0, "MSTORE", 32, 0, "RETURN")
    result, lines = run(program.hex(), "--calldata", "0x" + "00" * 31 + "05", "--value", "3", "--memory")
    assert result.exit_code == 0
    assert [line["opName"] for line in lines[:4]] == ["PUSH1", "CALLDATALOAD", "CALLVALUE", "ADD"]
    assert lines[3]["stack"] == ["0x5", "0x3"]
    assert lines[-2]["memory"] == "0x" + "00" * 31 + "08"
    summary = lines[-1]
    assert (summary["output"], summary["pass"], summary["fork"]) == ("00" * 31 + "08", True, "Osaka")
    assert summary["gasUsed"] == hex(10_000_000 - int(lines[-2]["gas"], 16))
    assert len(bytes.fromhex(summary["stateRoot"][2:])) == 32


def test_failures_are_in_the_lines() -> None:
    _, lines = run("0x" + code(1, "POP POP").hex(), "--gas", "100", "--fork", "Frontier")
    assert lines[-2]["error"] == "StackUnderflowError"
    assert (lines[-1]["pass"], lines[-1]["gasUsed"], lines[-1]["fork"]) == (False, "0x64", "Frontier")
    _, lines = run(code(2**255, "MLOAD").hex())
    assert "gasCost" not in lines[1]  # beyond 64 bits
    assert lines[1]["error"] == "OutOfGasError"
    _, lines = run(code(0, 0, "REVERT").hex())
    assert lines[2]["error"] == "Revert"
    _, lines = run("0c")
    assert (lines[0]["opName"], lines[0]["error"]) == ("InvalidOpcode", "InvalidOpcode")
    assert run("0x6")[0].exit_code == 2
    assert run("--calldata", "zz", "00")[0].exit_code == 2


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    document = {"stores": case()}
    document["stores"]["transaction"]["nonce"] = "0x0"
    path.write_text(json.dumps(document))
    result, lines = run(str(path), "--match", "Prague")
    assert result.exit_code == 1  # its roots are not right, which a trace says too
    assert "state root differs" in result.stderr
    assert [line["opName"] for line in lines[:-1]] == ["PUSH1", "PUSH0", "SSTORE", "STOP"]
    assert lines[-1]["fork"] == "Prague"
    document["stores"]["transaction"]["nonce"] = "0x5"
    path.write_text(json.dumps(document))
    _, lines = run(str(path), "--fork", "Cancun")
    assert len(lines) == 1
    assert lines[0]["error"].startswith("tx.nonce_high")
    assert lines[0]["pass"] is False


def test_dump(tmp_path: Path) -> None:
    _, lines = run("600160020100", "--jit-dump", str(tmp_path / "dump"))
    assert [line["opName"] for line in lines[:-1]] == ["PUSH1", "PUSH1", "ADD", "STOP"]
    blocks, ir, assembly = sorted((tmp_path / "dump").iterdir())
    assert "segment at 0: gas 9" in blocks.read_text()
    assert "define internal" in ir.read_text()
    assert ".text" in assembly.read_text()
