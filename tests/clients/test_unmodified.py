"""Hardhat 3, forge and viem, as their users run them, against a node of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients import unmodified
from tests.daemon import Daemon


@pytest.mark.parametrize("client", unmodified.CLIENTS)
def test_everything_the_client_does_works(client: str, tmp_path: Path) -> None:
    if not unmodified.is_installed():
        pytest.skip("no npm here: `make test` installs the clients where it is")
    daemon = Daemon(tmp_path / "node")
    try:
        daemon.start()
        done = list(unmodified.CLIENTS[client](daemon.http_url, tmp_path))
        assert daemon.stop() == 0, daemon.log()
    finally:
        daemon.close()
    assert len(done) > 1
    assert not [entry for entry in done if entry.error]
