"""Socket files: for their owner from the first moment, never in place of one that is listened on, gone at the end."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from node.auth.errors import SocketPathTooLong, SocketUnavailable
from node.auth.unix_sockets import PATH_BYTES_MAX, SocketFile, is_gone, open_socket, user_of


@pytest.fixture
def loose() -> Iterator[None]:
    """A umask that keeps nobody out."""
    before = os.umask(0)
    yield
    os.umask(before)


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(os.fspath(path))
    return client


def dead(path: Path) -> None:
    """A socket as a killed process leaves it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(os.fspath(path))


@pytest.mark.usefixtures("loose")
def test_the_mode_is_there_before_the_socket_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Watched(socket.socket):
        def bind(self, address: str) -> None:  # type: ignore[override]
            super().bind(address)
            seen.append(stat.S_IMODE(os.stat(address).st_mode))  # noqa: PTH116

    monkeypatch.setattr("node.auth.unix_sockets.socket.socket", Watched)
    file = open_socket(tmp_path / "s", owned=True)
    with closing(file.bound):
        assert seen == [0o600]
        assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    file.remove()
    assert not file.path.exists()


@pytest.mark.parametrize("owned", [True, False])
def test_what_a_killed_node_left_is_replaced(tmp_path: Path, owned: bool) -> None:
    path = tmp_path / "s"
    dead(path)
    file = open_socket(path, owned=owned)
    with closing(file.bound), connected(path) as client:
        accepted, _ = file.bound.accept()
        with accepted:
            assert user_of(accepted) == os.geteuid()
            assert not is_gone(accepted)
            client.shutdown(socket.SHUT_WR)
            assert not is_gone(accepted)
            client.close()
            assert is_gone(accepted)
    file.remove()


@pytest.mark.parametrize("backlog", [0, 16])
def test_what_another_node_listens_on_stays(tmp_path: Path, backlog: int) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(os.fspath(path))
        other.listen(backlog)
        waiting = [connected(path)] if not backlog else []  # its backlog is full: whoever connects would wait
        with pytest.raises(SocketUnavailable, match="another process"):
            open_socket(path, owned=False)
        with connected(path) if backlog else waiting[0]:
            assert other.accept()


IN_THE_WAY: dict[str, Callable[[Path], object]] = {
    "a file": lambda path: path.write_text("kept"),
    "a folder": lambda path: path.mkdir(),
    "a FIFO": os.mkfifo,
    "a link to a file": lambda path: path.symlink_to(path.with_name("kept")),
    "a link to nowhere": lambda path: path.symlink_to(path.with_name("nowhere")),
    "a link to a socket": lambda path: path.symlink_to(path.with_name("other")),
}


@pytest.mark.parametrize("kind", IN_THE_WAY)
@pytest.mark.parametrize("owned", [True, False])
def test_anything_else_at_the_path_stays_and_is_named(tmp_path: Path, kind: str, owned: bool) -> None:
    (tmp_path / "kept").write_text("kept")
    dead(tmp_path / "other")
    path = tmp_path / "s"
    IN_THE_WAY[kind](path)
    before = path.lstat()
    with pytest.raises(SocketUnavailable, match="is not a socket"):
        open_socket(path, owned=owned)
    assert path.lstat() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["kept", "other", "s"]
    assert (tmp_path / "kept").read_text() == "kept"


def test_a_path_of_the_largest_size_and_one_more(tmp_path: Path) -> None:
    base = tmp_path / "d"
    base.mkdir()
    name = "s" * (PATH_BYTES_MAX - len(os.fsencode(base)) - 1)
    file = open_socket(base / name, owned=True)
    with closing(file.bound), connected(file.path):
        file.remove()
    with pytest.raises(SocketPathTooLong, match="108 bytes"):
        open_socket(base / f"{name}s", owned=True)
    with pytest.raises(SocketPathTooLong):
        open_socket(base / ("\u00e9" * (len(name) // 2 + 1)), owned=True)
    assert list(base.iterdir()) == []


def test_a_folder_that_is_missing_or_not_ours(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "s", Path("/proc/self/s")):
        with pytest.raises(SocketUnavailable):
            open_socket(path, owned=False)


def test_the_file_of_a_successor_is_not_removed(tmp_path: Path) -> None:
    first = open_socket(tmp_path / "s", owned=True)
    second = open_socket(tmp_path / "s", owned=True)
    with closing(first.bound), closing(second.bound):
        first.remove()
        with connected(second.path):
            pass
        second.remove()
        assert not second.path.exists()
        second.remove()


def test_two_nodes_that_start_at_once_never_take_each_others(tmp_path: Path) -> None:
    """While one looks at what lies there, another one does not."""
    path = tmp_path / "s"
    dead(path)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(SocketUnavailable):
            open_socket(path, owned=False)
    finally:
        os.close(folder)
    file: SocketFile = open_socket(path, owned=False)
    file.bound.close()
    file.remove()
