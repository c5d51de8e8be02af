"""The node's two unix sockets: JSON-RPC as geth frames it, and the frames of ``zvmd/1``. Where they lie, start and end.

They lie in the data directory, where only its owner comes; its lock decides that a socket found there is a dead node's.
``ipc.path`` puts them elsewhere.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import structlog

from node.auth.errors import SocketPathTooLong, SocketUnavailable
from node.auth.unix_sockets import SocketFile, check_path, open_socket
from node.doors.doors import Doors
from node.gateway.ipc import IpcListener, serve_ipc
from node.gateway.limits import HttpLimits
from node.ops.errors import InvalidSetting
from node.rpc.service import RpcService
from node.settings import Settings
from node.wire.limits import WireLimits
from node.wire.socket_peer import SocketListener, serve_socket
from storage.directory import layout

log = structlog.get_logger(__name__)

FRAMES_SUFFIX = ".sock"
"""The socket for frames lies beside the one for JSON, under the same name with this ending."""


class SocketPaths(NamedTuple):
    """Where both sockets lie."""

    ipc: Path
    frames: Path


class Sockets:
    """The running listeners; without any if there are no sockets."""

    def __init__(
        self, ipc: IpcListener | None = None, frames: SocketListener | None = None, data_dir: Path = Path()
    ) -> None:
        self._ipc = ipc
        self._frames = frames
        self._data_dir = data_dir
        self._is_closing = False

    def urls(self) -> Mapping[str, str]:
        """By what name clients find them in `endpoints.json`: ``ipc`` is a path, as clients of geth want it."""
        ipc = {} if self._ipc is None else {"ipc": str(self._ipc.file.path)}
        return ipc if self._frames is None else ipc | {"socket": f"unix://{self._frames.file.path}"}

    @property
    def is_full(self) -> bool:
        """Whether the socket for frames has as many connections as it accepts."""
        frames = self._frames
        return frames is not None and frames.connections >= frames.limits.connections_max

    def are_there(self) -> bool:
        """Whether clients find the files. Raises `SocketUnavailable` for a path at which something else lies."""
        return all(listener.file.is_there() for listener in (self._ipc, self._frames) if listener is not None)

    async def renew(self) -> None:
        """Make files again that were removed. Raises `SocketUnavailable`, also where something else lies now."""
        for listener in (self._ipc, self._frames):
            if listener is None or self._is_closing or listener.file.is_there():
                continue
            with ExitStack() as opened:
                await listener.listen(_opened(listener.file.path, self._data_dir, opened))
                opened.pop_all()
            log.warning("the file of a unix socket was removed, and is made again", path=str(listener.file.path))

    def close(self) -> None:
        """Take no more frames."""
        self._is_closing = True
        if self._frames is not None:
            self._frames.close()

    async def finish(self) -> None:
        """Accept no more JSON, and finish the current requests."""
        if self._ipc is not None:
            await self._ipc.close()


def socket_paths(settings: Settings) -> SocketPaths | None:
    """Where the sockets lie; None if there are none. Raises `InvalidSetting`, `SocketPathTooLong`."""
    given = settings.ipc.path
    if not settings.ipc.enabled:
        return None
    if not given:
        paths = SocketPaths(settings.data_dir / layout.IPC, settings.data_dir / layout.SOCKET)
        try:
            check_path(paths.frames)
        except SocketPathTooLong:
            return None
        return paths
    ipc = Path(given).expanduser().absolute()
    if ipc.suffix == FRAMES_SUFFIX or not ipc.name:
        raise InvalidSetting(f"ipc.path = {given!r} does not name the JSON socket, as does /run/zvmd/zvmd.ipc")
    paths = SocketPaths(ipc, ipc.with_suffix(FRAMES_SUFFIX))
    for path in paths:
        check_path(path)
    return paths


def sockets_there(paths: SocketPaths | None) -> dict[str, str]:
    """Those of the paths at which there is a socket now, by name."""
    return {name: str(path) for name, path in paths._asdict().items() if path.is_socket()} if paths else {}


def check_sockets(settings: Settings) -> None:
    """Refuse paths at which there can be no socket, before anything is made: `InvalidSetting`, `SocketPathTooLong`."""
    paths = socket_paths(settings)
    if paths is None or not settings.ipc.path:
        return
    folder = paths.ipc.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidSetting(f"ipc.path: {folder} is not a directory in which sockets can be made")
    for path in paths:
        if os.path.lexists(path) and not stat.S_ISSOCK(path.lstat().st_mode):
            raise InvalidSetting(f"ipc.path: {path} is there and is not a socket")


async def start_sockets(
    settings: Settings, service: RpcService, doors: Doors, http: HttpLimits, wire: WireLimits
) -> Sockets:
    """Bind both, then listen. In the data directory, what keeps them from it is only warned of.

    Raises `InvalidSetting`, `SocketPathTooLong`, `SocketUnavailable`.
    """
    paths = socket_paths(settings)
    if paths is None:
        if settings.ipc.enabled:
            log.warning("no unix sockets: the path of the data directory is too long", hint=SocketPathTooLong.hint)
        return Sockets()
    with ExitStack() as opened:
        try:
            files = [_opened(path, settings.data_dir, opened) for path in paths]
        except SocketUnavailable as error:
            if settings.ipc.path:
                raise
            log.warning("no unix sockets", reason=str(error), hint=error.hint)
            return Sockets()
        most = settings.limits.ipc_connections
        ipc = await serve_ipc(service, files[0], doors, replace(http, connections_max=most))
        limits = replace(wire, connections_max=most, connections_per_address_max=most)
        frames = await serve_socket(service, files[1], limits, doors)
        opened.pop_all()
    return Sockets(ipc, frames, settings.data_dir)


def _opened(path: Path, data_dir: Path, opened: ExitStack) -> SocketFile:
    file = open_socket(path, owned=path.parent.samefile(data_dir))
    opened.callback(file.remove)
    opened.callback(file.bound.close)
    return file
