"""One data directory, one daemon: the second refuses, says what to do, and harms nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon import Daemon, DaemonFailed

EXIT_IN_USE = 75


def test_the_second_daemon_refuses_with_75_and_a_remedy(tmp_path: Path) -> None:
    first, second = Daemon(tmp_path / "data"), Daemon(tmp_path / "data")
    second.log_file = tmp_path / "second.log"
    try:
        first.start()
        with pytest.raises(DaemonFailed, match=f"status {EXIT_IN_USE}"):
            second.start()
        complaint, remedy = second.log().splitlines()[-2:]
        assert complaint.startswith("error[storage.locked]: ")
        assert f"{tmp_path / 'data'} is in use by process {first.pid}" in complaint
        assert "--data-dir" in remedy
        assert first.rpc().call("eth_chainId") == hex(31_337)
        first.kill()
        assert second.start().startswith("READY")
        assert second.stop() == 0
    finally:
        first.close()
        second.close()
