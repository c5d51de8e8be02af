"""Debug sessions over kill -9: each comes back as it was acknowledged, byte for byte, and goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.daemon import Daemon
from tests.rpc import Rpc, RpcFailed

SESSIONS = 20
LOOP = "0x5f5b60010180600052600156"
WRITES = "0x5f5b600101808055600156"
"""Counts up and stores each number under itself."""


def make(rpc: Rpc, contract: str, transaction: str, number: int) -> int:
    """One of five kinds of sessions, moved about."""
    program: dict[str, object] = [
        {"code": LOOP, "gas": "0xfffffff"},
        {"code": WRITES, "gas": 10_000_000, "fork": "cancun"},
        {"to": contract, "gas": 1_000_000, "block": "latest"},
        {"transaction": transaction},
        {"code": WRITES, "gas": 5_000_000, "block": "0x0"},
    ][number % 5]
    session = int(rpc.call("zvmd_session_create", {**program, "name": f"session {number}", "tags": ["kill"]})["id"])
    rpc.call("zvmd_session_step", session, 7 + number)
    rpc.call("zvmd_session_step_back", session, 2)
    point = rpc.call("zvmd_session_breakpoint_add", session, {"kind": "opcode", "opcode": "SSTORE", "name": "store"})
    if number % 2:
        rpc.call("zvmd_session_seek", session, 0)
        assert rpc.call("zvmd_session_run", session, 100_000)["halt"] is None
        rpc.call("zvmd_session_edit", session, {"kind": "stack", "index": 0, "value": hex(2**255 + number)})
        rpc.call("zvmd_session_step", session, 3)
    if number % 3 == 0:
        rpc.call("zvmd_session_breakpoint_remove", session, point["id"])
    rpc.call("zvmd_session_rename", session, f"renamed {number}")
    return session


def look(rpc: Rpc, session: int) -> Any:
    return [rpc.call(f"zvmd_session_{what}", session) for what in ("state", "breakpoint_list", "branches")]


def deployed(rpc: Rpc) -> tuple[str, str]:
    """A contract of `WRITES`' kind, and a mined transaction that calls it, second in its block."""
    account = rpc.call("eth_accounts")[0]
    runtime = "5f355f555f545f5260205ff3"
    code = f"0x6{len(runtime) // 2 - 1:x}{runtime}5f52600c6014f3"
    receipt = rpc.call("eth_getTransactionReceipt", rpc.call("eth_sendTransaction", {"from": account, "data": code}))
    assert rpc.call("eth_getCode", receipt["contractAddress"], "latest") == "0x" + runtime
    rpc.call("evm_setAutomine", False)
    hashes = [
        rpc.call(
            "eth_sendTransaction",
            {"from": account, "to": receipt["contractAddress"], "data": f"0x{n:064x}", "gas": hex(100_000)},
        )
        for n in (5, 6)
    ]
    rpc.call("evm_mine")
    rpc.call("evm_setAutomine", True)
    return receipt["contractAddress"], hashes[1]


def test_twenty_sessions_come_back(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")
    try:
        daemon.start()
        rpc = daemon.rpc()
        contract, transaction = deployed(rpc)
        sessions = [make(rpc, contract, transaction, number) for number in range(SESSIONS)]
        closed = sessions.pop()
        rpc.call("zvmd_session_close", closed)
        before = [look(rpc, session) for session in sessions]
        listed = rpc.call("zvmd_session_list")
        daemon.kill()

        daemon.start()
        rpc = daemon.rpc()
        assert rpc.call("zvmd_session_list") == listed
        assert [look(rpc, session) for session in sessions] == before
        with pytest.raises(RpcFailed, match="no session"):
            rpc.call("zvmd_session_state", closed)
        moved = [rpc.call("zvmd_session_step", session, 5)["step"] for session in sessions]
        assert all(step >= state[0]["step"] for step, state in zip(moved, before, strict=True))
        after = [look(rpc, session) for session in sessions]
        assert daemon.stop() == 0, daemon.log()  # this writes a checkpoint

        daemon.start()
        rpc = daemon.rpc()
        rpc.call("zvmd_session_step", sessions[0])
        rpc.call("zvmd_session_step_back", sessions[0])
        daemon.kill()
        daemon.start()
        rpc = daemon.rpc()
        assert [look(rpc, session) for session in sessions] == after
        assert rpc.call("zvmd_session_create", {"code": "0x"})["id"] > closed
    finally:
        daemon.close()


def test_a_past_transaction_runs_as_it_did(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")
    try:
        daemon.start()
        rpc = daemon.rpc()
        contract, transaction = deployed(rpc)
        receipt = rpc.call("eth_getTransactionReceipt", transaction)
        assert receipt["transactionIndex"] == "0x1"
        session = rpc.call("zvmd_session_create", {"transaction": transaction})["id"]
        end = rpc.call("zvmd_session_run", session)
        assert end["halt"]["gasUsed"] == int(receipt["gasUsed"], 16)
        rpc.call("zvmd_session_seek", session, 2)
        rpc.call("zvmd_session_run", session)
        assert rpc.call("zvmd_session_state", session)["storage"] == {"0x0": "0x6"}
        number = int(receipt["blockNumber"], 16)
        at = {n: rpc.call("zvmd_session_create", {"to": contract, "block": n})["id"] for n in (number - 1, number)}
        for found in at.values():
            rpc.call("zvmd_session_breakpoint_add", found, {"kind": "opcode", "opcode": "SSTORE"})
            rpc.call("zvmd_session_run", found)
        tree = rpc.call("zvmd_session_call_tree", session)
        assert len(tree["nodes"]) == 1
        assert rpc.call("zvmd_session_trace", session)["hasEnded"]
        same = rpc.call("zvmd_session_compare", at[number], at[number - 1])
        assert same["isEqual"] is False or same["hasEnded"]
    finally:
        daemon.close()
