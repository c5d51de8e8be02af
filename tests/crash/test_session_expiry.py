"""Unused sessions go, by the job of a real daemon, for good; pinned ones stay. Sessions alone bring checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import run_command
from tests.daemon import Daemon
from tests.rpc import RpcFailed

S = "zvmd_session_"
POLICY = {
    "ZVMD_SESSIONS__KEEP_DAYS": str(1 / 86_400),
    "ZVMD_SESSIONS__EXPIRY_SECONDS": "0.2",
    "ZVMD_STORAGE__CHECKPOINT_SECONDS": "0.3",
    "ZVMD_SESSIONS__FILE_BYTES": "4096",
}


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_unused_sessions_go_and_stay_gone(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data", environment=POLICY)
    try:
        daemon.start()
        rpc = daemon.rpc()
        pinned, loose, large = (
            rpc.call(S + "create", {"code": code})["id"] for code in ("0x6001", "0x6002", "0x" + "5b" * 5_000)
        )
        rpc.call(S + "pin", pinned)
        wait_until(lambda: [line["id"] for line in rpc.call(S + "list")] == [pinned])
        with pytest.raises(RpcFailed, match="no session"):
            rpc.call(S + "state", loose)
        status = rpc.call("zvmd_status")["sessions"]
        assert (status["sessions"], status["pinned"], status["removed"]) == (1, 1, 2)
        assert len(list((daemon.data_dir / "sessions" / str(large)).iterdir())) == 1, "its file stays for a day"
        shown = run_command("status", "-v", "--data-dir", str(daemon.data_dir)).stdout
        assert "sessions    1 kept (1 pinned)" in shown
        assert "job         sessions: every 0.2 s" in shown

        # No block was made, yet a checkpoint holds the sessions: the log behind it is not replayed again.
        def is_written() -> bool:
            log = rpc.call("zvmd_status")["log"]
            return bool(log["checkpointLsn"] == log["lastLsn"])

        wait_until(is_written)
        daemon.kill()
        daemon.start()
        rpc = daemon.rpc()
        assert [line["id"] for line in rpc.call(S + "list")] == [pinned]
        assert rpc.call(S + "state", pinned)["opcode"] == "PUSH1"
        assert rpc.call(S + "create", {"code": "0x"})["id"] > large
    finally:
        daemon.close()
