"""The node's unix sockets: bound for their owner only, in place of what a killed node left, and who has connected.

A socket file of mode 0600 keeps other users out where it lies. Its mode is that of the socket's own inode (`unix_bind`
of Linux), so it is set before there is a file. Who has connected is asked of the kernel all the same (``SO_PEERCRED``,
unix(7)): a file may be moved, linked or opened to others after it was made.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from node.auth.errors import SocketPathTooLong, SocketUnavailable

PATH_BYTES_MAX = 107
"""``sun_path`` has 108 bytes, with the zero that ends it (unix(7)). Clients cannot name a longer path either."""
BACKLOG = 1024
"""Connections that the kernel completes before the node accepts them."""
MODE = 0o600
_CREDENTIALS = struct.Struct("3i")
"""``struct ucred``: process, user and group."""


class SocketFile(NamedTuple):
    """A bound socket and the file by which clients find it."""

    bound: socket.socket
    path: Path
    identity: tuple[int, int]
    """Device and inode of the file."""

    def is_there(self) -> bool:
        """Whether clients find it; False if nothing lies there. Raises `SocketUnavailable` if something else does."""
        try:
            if _identity(self.path) == self.identity:
                return True
        except FileNotFoundError:
            return False
        except OSError as error:
            raise SocketUnavailable(f"{self.path}: {error.strerror}") from None
        raise SocketUnavailable(f"{self.path} is not this node's socket any more: something else was put there")

    def remove(self) -> None:
        """Remove the file, unless another one has taken its place."""
        with suppress(OSError):
            if _identity(self.path) == self.identity:
                self.path.unlink()


def check_path(path: Path) -> None:
    """Raises `SocketPathTooLong`."""
    size = len(os.fsencode(path))
    if size > PATH_BYTES_MAX:
        raise SocketPathTooLong(f"{path} has {size} bytes; the path of a unix socket has at most {PATH_BYTES_MAX}")


def open_socket(path: Path, *, owned: bool) -> SocketFile:
    """Bind and listen; only the owner may connect, from the first moment.

    ``owned``: no other node can use this folder, so that whatever socket lies at the path is a dead one. Elsewhere it
    is tried first, and one that is listened on stays. Raises `SocketPathTooLong`, `SocketUnavailable`.
    """
    check_path(path)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(opened.fileno(), MODE)
        with _alone_in(path.parent, owned):
            _clear(path, owned)
            opened.bind(os.fspath(path))
            identity = _identity(path)
            opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        raise SocketUnavailable(f"cannot listen on {path}: {error.strerror or error}") from error
    except BaseException:
        opened.close()
        raise
    return SocketFile(opened, path, identity)


def user_of(connected: socket.socket) -> int:
    """The user whose process connected, as it was then."""
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(credentials)[1]
    return user


def is_gone(connected: socket.socket) -> bool:
    """Whether the peer takes nothing more either: it has closed, not only finished sending."""
    poll = select.poll()
    poll.register(connected.fileno(), 0)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))


def _clear(path: Path, owned: bool) -> None:
    """Remove the socket that a killed node left. Raises `SocketUnavailable` for anything else."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(there.st_mode):
        raise SocketUnavailable(f"{path} is there and is not a socket")
    if not owned and _is_listened_on(path):
        raise SocketUnavailable(f"{path} is listened on by another process")
    path.unlink()


def _is_listened_on(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a listener whose backlog is full would let it wait
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:
            return True
    return True


@contextmanager
def _alone_in(folder: Path, owned: bool) -> Iterator[None]:
    """While another node may look at the sockets of this folder too, one after the other does."""
    if owned:
        yield
        return
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(opened)


def _identity(path: Path) -> tuple[int, int]:
    there = path.lstat()
    return there.st_dev, there.st_ino
