"""A daemon started once with a setting: READY and at work, or ended with a documented status and nothing half made."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import zvmd
from tests.crash.forked_daemon import ForkedDaemon, ForkedProcess, Zygote
from tests.daemon import Daemon, DaemonFailed
from tests.rpc import Rpc

STATUSES = frozenset((65, 66, 67, 69, 70, 73, 75, 78))
"""Those of docs/operations.md with which a start may end."""
REFUSED = 78


class Plain(ForkedDaemon):
    """A daemon of the zygote with its own settings only: what the command line says would outrank them."""

    def __init__(self, zygote: Zygote, data_dir: Path, environment: Mapping[str, str]) -> None:
        super().__init__(zygote, data_dir)
        given = {"ZVMD_NODE__DEV": "true", "ZVMD_HTTP__PORT": "0", "ZVMD_QUIC__PORT": "0", "ZVMD_LOG__LEVEL": "warning"}
        self._environment |= given | {"ZVMD_NODE__DATA_DIR": str(data_dir)} | environment
        self.unprivileged = True

    def _spawn(self, arguments: list[str], log: IO[str]) -> ForkedProcess:
        return super()._spawn(["start"], log)


def refusal(daemon: Daemon, failed: DaemonFailed) -> int:
    """The status with which a start ended, if it told why as it must."""
    said = daemon.log()
    status = next((status for status in STATUSES if f"ended with status {status} before READY" in str(failed)), 0)
    assert status, failed
    assert "error[" in said, said
    assert "\nhint: " in said, said
    assert "Traceback" not in said, said
    return status


def works(daemon: Daemon, data_dir: Path) -> None:
    """A block is mined, and both transports tell of it."""
    url = daemon.ready_line.split()[1]
    rpc = Rpc(url, authority=data_dir / "tls" / "authority.pem")
    rpc.call("evm_mine")
    number = rpc.call("eth_blockNumber")
    assert int(number, 16) >= 1
    assert int(asyncio.run(over_quic(data_dir)), 16) >= int(number, 16)
    rpc.close()


async def over_quic(data_dir: Path) -> Any:
    """The newest block's number as the SDK finds it, with the files of the directory."""
    async with zvmd.connect(data_dir=data_dir) as client:
        return await client.rpc("eth_blockNumber")


def started_with(zygote: Zygote, data_dir: Path, environment: Mapping[str, str]) -> int:
    """0 if the node was READY and worked, else the status it ended with. Raises AssertionError for anything else."""
    daemon = Plain(zygote, data_dir, environment)
    daemon.log_file.unlink(missing_ok=True)
    try:
        try:
            daemon.start()
        except DaemonFailed as failed:
            status = refusal(daemon, failed)
            if status == REFUSED:
                assert not data_dir.exists(), f"half made: {sorted(path.name for path in data_dir.iterdir())}"
            return status
        works(daemon, data_dir)
        assert daemon.stop() == 0, daemon.log()
        return 0
    finally:
        daemon.close()
