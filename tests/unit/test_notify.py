"""sd_notify against a real datagram socket, in the file system and in the abstract namespace."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from node.ops.notify import STATUS_LIMIT_CHARS, Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A listening service manager and what NOTIFY_SOCKET would say."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@zvmd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name[1:] if name.startswith("@") else name)
        listener.settimeout(60)
        yield listener, name


def test_each_message_is_one_datagram(manager: tuple[socket.socket, str]) -> None:
    listener, name = manager
    environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier.from_environment(environ)
    assert notifier.watchdog_seconds == 30.0
    notifier.ready("head 7,\nchain 31337" + "x" * 1_000)
    notifier.watchdog()
    notifier.stopping()
    received = [listener.recv(4_096).decode() for _ in range(3)]
    assert received == [
        "READY=1\nSTATUS=" + ("head 7, chain 31337" + "x" * 1_000)[:STATUS_LIMIT_CHARS],
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_without_a_manager_nothing_happens() -> None:
    notifier = Notifier.from_environment({})
    notifier.ready("alone")
    notifier.watchdog()
    notifier.stopping()


@pytest.mark.parametrize(
    "environ",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}],
)
def test_a_watchdog_meant_for_nobody_or_another_process_is_not_fed(environ: dict[str, str]) -> None:
    assert Notifier.from_environment(environ, pid=2).watchdog_seconds is None


@pytest.mark.parametrize("name", ["gone", "x" * 300])
def test_the_node_survives_a_manager_that_is_gone(tmp_path: Path, name: str) -> None:
    """READY=1 that could not be delivered ended the node right after it had said READY."""
    with capture_logs() as logs:
        notifier = Notifier(str(tmp_path / name), watchdog_seconds=30.0)
        notifier.ready("hello")
        notifier.watchdog()
        notifier.stopping()
    assert [entry["message"].partition("\n")[0] for entry in logs] == ["READY=1", "WATCHDOG=1", "STOPPING=1"]
