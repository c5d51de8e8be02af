"""The unix sockets of a daemon: where they lie, what a kill leaves of them, and what keeps a node from making them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import zvmd
from storage.backup import write_backup
from tests.commands import run_command
from tests.crash.forked_daemon import ForkedDaemon, Zygote
from tests.daemon import Daemon, DaemonFailed

NAMES = ("zvmd.ipc", "zvmd.sock")
MANY = 300
CALL = b'{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}'


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    zygote = Zygote(tmp_path_factory.mktemp("zygote") / "log")
    yield zygote
    zygote.close()


@pytest.fixture
def daemon(zygote: Zygote, tmp_path: Path) -> Iterator[ForkedDaemon]:
    daemon = ForkedDaemon(zygote, tmp_path / "data")
    yield daemon
    daemon.close()


async def asked(path: Path) -> Any:
    """The newest block's number, of the JSON socket."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(CALL)
    answer = json.loads(await reader.readline())["result"]
    writer.close()
    return answer


async def over_frames(path: Path) -> Any:
    async with zvmd.connect(f"unix://{path}", timeout=60.0) as client:
        return await client.rpc("eth_blockNumber")


def both_answer(folder: Path, number: str) -> None:
    for name in NAMES:
        there = (folder / name).lstat()
        assert stat.S_ISSOCK(there.st_mode)
        assert stat.S_IMODE(there.st_mode) == 0o600
    assert asyncio.run(asked(folder / NAMES[0])) == number
    assert asyncio.run(over_frames(folder / NAMES[1])) == number


def test_a_kill_leaves_what_the_next_start_replaces_and_a_stop_leaves_nothing(
    daemon: ForkedDaemon, tmp_path: Path
) -> None:
    data = daemon.data_dir
    daemon.start()
    urls = json.loads((data / "endpoints.json").read_text())
    assert (urls["ipc"], urls["socket"]) == (str(data / NAMES[0]), f"unix://{data / NAMES[1]}")
    assert any(str(data / NAMES[0]) in line for line in daemon.printed)
    status = daemon.rpc().call("zvmd_status")["sockets"]
    assert status == {"ipc": str(data / NAMES[0]), "frames": str(data / NAMES[1])}
    daemon.rpc().call("evm_mine")
    both_answer(data, "0x1")
    daemon.kill()
    assert all((data / name).is_socket() for name in NAMES)

    write_backup(data, tmp_path / "backup")
    assert not {path.name for path in (tmp_path / "backup").rglob("*")} & set(NAMES)
    with pytest.raises(zvmd.ConnectionFailed, match="refused"):
        asyncio.run(over_frames(data / NAMES[1]))

    daemon.start()
    both_answer(data, "0x1")
    assert daemon.stop() == 0, daemon.log()
    assert not any(os.path.lexists(data / name) for name in NAMES)


def test_many_clients_at_once(daemon: ForkedDaemon) -> None:
    """More than a shell's limit of open files and HTTP's of connections would let in."""

    async def work(data: Path) -> None:
        lines = [await asyncio.open_unix_connection(data / NAMES[0]) for _ in range(MANY)]
        clients = [await zvmd.connect(f"unix://{data / NAMES[1]}", timeout=60.0) for _ in range(MANY)]
        for _, writer in lines:
            writer.write(CALL + CALL)
        heard = [await reader.readline() for reader, _ in lines for _ in range(2)]
        assert {json.loads(line)["result"] for line in heard} == {"0x0"}
        assert set(await asyncio.gather(*(client.rpc("eth_blockNumber") for client in clients))) == {"0x0"}
        for _, writer in lines:
            writer.close()
        await asyncio.gather(*(client.close() for client in clients))

    daemon.start()
    asyncio.run(work(daemon.data_dir))
    assert daemon.stop() == 0, daemon.log()


def test_clients_use_the_socket_and_quic_where_nobody_listens_on_it(daemon: ForkedDaemon) -> None:
    async def kind() -> str:
        async with zvmd.connect(data_dir=daemon.data_dir, timeout=60.0) as client:
            assert await client.rpc("eth_chainId") == "0x7a69"
            return type(client._connection).__name__

    daemon.start()
    assert asyncio.run(kind()) == "SocketConnection"
    os.mkfifo(daemon.data_dir / "pipe")
    (daemon.data_dir / "pipe").rename(daemon.data_dir / NAMES[1])
    assert asyncio.run(kind()) == "WireConnection"
    (daemon.data_dir / NAMES[1]).unlink()
    assert daemon.stop() == 0, daemon.log()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_removed_files_are_made_again_and_nothing_that_was_put_there_is_touched(daemon: ForkedDaemon) -> None:
    """Connections stay meanwhile. The socket of another program is told of in the status, as long as it lies there."""

    def problem() -> str | None:
        jobs = daemon.rpc().call("zvmd_status")["jobs"]
        (found,) = (job["lastError"] for job in jobs if job["name"] == "sockets")
        return None if found is None else str(found)

    async def removed() -> None:
        async with zvmd.connect(f"unix://{frames}", timeout=60.0) as client:
            reader, writer = await asyncio.open_unix_connection(ipc)
            ipc.unlink()
            frames.unlink()
            await asyncio.to_thread(until, lambda: ipc.is_socket() and frames.is_socket())
            writer.write(CALL)
            assert json.loads(await reader.readline())["result"] == "0x0"
            assert await client.rpc("eth_blockNumber") == "0x0"
            writer.close()

    daemon.start()
    ipc, frames = (daemon.data_dir / name for name in NAMES)
    for _ in range(2):
        asyncio.run(removed())
        both_answer(daemon.data_dir, "0x0")
    assert problem() is None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(os.fspath(daemon.data_dir / "other"))
        other.listen()
        (daemon.data_dir / "other").rename(ipc)
        until(lambda: problem() is not None)
        assert f"{ipc} is not this node's socket any more" in str(problem())
        shown = run_command("status", "--data-dir", str(daemon.data_dir)).stdout
        assert "sockets: every 2 s" in shown
        ipc.unlink()
    until(lambda: problem() is None)
    both_answer(daemon.data_dir, "0x0")
    assert daemon.stop() == 0, daemon.log()
    assert not any(os.path.lexists(daemon.data_dir / name) for name in NAMES)


def test_a_path_of_ones_own_and_a_second_node_there(zygote: Zygote, tmp_path: Path) -> None:
    folder = Path("/dev/shm") / f"zvmd-{os.getpid()}"
    folder.mkdir()
    given = {"ZVMD_IPC__PATH": str(folder / "zvmd.ipc")}
    first = ForkedDaemon(zygote, tmp_path / "first", environment=given)
    second = Daemon(tmp_path / "second", environment=given)
    try:
        first.start()
        both_answer(folder, "0x0")
        assert not (tmp_path / "first" / NAMES[0]).exists()
        with pytest.raises(DaemonFailed, match="status 69"):
            second.start()
        assert "error[auth.socket]" in second.log()
        assert "another process" in second.log()
        both_answer(folder, "0x0")
        first.kill()
        second.start()
        both_answer(folder, "0x0")
        assert second.stop() == 0, second.log()
        assert list(folder.iterdir()) == []
    finally:
        first.close()
        second.close()
        shutil.rmtree(folder)


def test_a_path_that_is_too_long(zygote: Zygote, tmp_path: Path) -> None:
    """In the data directory there are no sockets then; a path that was asked for is refused before anything is made."""
    long = tmp_path / ("d" * 100) / "data"
    long.parent.mkdir()
    daemon = ForkedDaemon(zygote, long)
    try:
        daemon.start()
        assert not any((long / name).exists() for name in NAMES)
        assert "no unix sockets" in daemon.log()
        assert set(json.loads((long / "endpoints.json").read_text())) == {"http", "quic"}
        assert daemon.rpc().call("zvmd_status")["sockets"] == {}
        assert daemon.stop() == 0, daemon.log()
        shutil.rmtree(long)
        daemon._environment["ZVMD_IPC__PATH"] = str(long.parent / "zvmd.ipc")
        with pytest.raises(DaemonFailed, match="status 78"):
            daemon.start()
        assert "error[auth.socket_path]" in daemon.log()
        assert not long.exists()
    finally:
        daemon.close()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["link", "file", "FIFO"])
def test_what_was_planted_in_the_data_directory_is_named_and_left(
    daemon: ForkedDaemon, tmp_path: Path, name: str, kind: str
) -> None:
    daemon.start()
    assert daemon.stop() == 0, daemon.log()
    path, target = daemon.data_dir / name, tmp_path / "target"
    target.write_text("kept")
    {"link": lambda: path.symlink_to(target), "file": path.touch, "FIFO": lambda: os.mkfifo(path)}[kind]()
    with pytest.raises(DaemonFailed, match="status 65"):
        daemon.start()
    assert "error[storage.entry]" in daemon.log()
    assert name in daemon.log()
    assert target.read_text() == "kept"
    assert os.path.lexists(path)


def test_no_sockets_at_all(zygote: Zygote, tmp_path: Path) -> None:
    daemon = ForkedDaemon(zygote, tmp_path / "data", environment={"ZVMD_IPC__ENABLED": "false"})
    try:
        daemon.start()
        assert not any((tmp_path / "data" / name).exists() for name in NAMES)
        assert daemon.stop() == 0, daemon.log()
    finally:
        daemon.close()


def test_a_token_that_is_given_although_none_is_needed_decides_and_can_be_taken_back(daemon: ForkedDaemon) -> None:
    async def work(secret: str) -> None:
        async with zvmd.connect(f"unix://{daemon.data_dir / NAMES[1]}", token=secret, timeout=60.0) as client:
            assert await client.rpc("eth_chainId") == "0x7a69"
            with pytest.raises(zvmd.errors.MissingScope):
                await client.rpc("evm_mine")
            await asyncio.to_thread(daemon.rpc().call, "zvmd_tokenRevoke", "reader")
            with pytest.raises(zvmd.ConnectionFailed):
                await asyncio.gather(*(client.receipt(bytes(32), wait=60.0) for _ in range(2)))

    daemon.start()
    made = daemon.rpc().call("zvmd_tokenCreate", "reader", ["read"], {})
    asyncio.run(work(made["token"]))
    assert daemon.stop() == 0, daemon.log()
