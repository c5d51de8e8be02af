"""A child process that outlives the adapter and cleans up in the node when the adapter dies.

An editor may be killed, and its adapter with it, at any moment. Sessions it launched must be closed then, and its
breakpoints removed. The child learns from lines on a pipe what to do, and does it when the pipe closes. While the
adapter lives, it sleeps.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from node.dap.line import RpcLink
from zvmd.errors import ConnectionFailed, SessionNotFound, ZvmdError

Json = dict[str, Any]

PATIENCE_S = 600.0
"""How long to wait for a node that does not answer."""
WAIT_FIRST_S, WAIT_MAX_S = 0.1, 5.0


class Caretaker:
    """The adapter's end of the pipe. Any thread."""

    def __init__(self, connect: Callable[[], RpcLink]) -> None:
        """Forks: call it before there are threads."""
        reading, self._pipe = os.pipe()
        self._lock = threading.Lock()
        self.child = os.fork()
        if not self.child:
            status = 1
            try:
                os.close(self._pipe)
                _live(reading, connect)
                status = 0
            finally:
                os._exit(status)
        os.close(reading)

    def note(self, editor: int, session: int | str | None, closes: bool, breakpoints: list[int]) -> None:
        """Set what to do for an editor if the adapter dies now; without a session, nothing."""
        line = json.dumps([editor, session, closes, breakpoints]).encode() + b"\n"
        with self._lock:
            view = memoryview(line)
            while view:
                view = view[os.write(self._pipe, view) :]

    def dismiss(self) -> None:
        """The adapter exits normally. The child exits too, once it has nothing left to do."""
        os.close(self._pipe)


def _live(pipe: int, connect: Callable[[], RpcLink]) -> None:
    os.setsid()  # a signal to the editor's process group must not end it
    for name in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # the editor waits for its ends of these to close
        os.dup2(nothing, stream)
    duties: dict[int, tuple[int | str, bool, list[int]]] = {}
    with os.fdopen(pipe, "rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                editor, session, closes, breakpoints = json.loads(line)
                duties.pop(editor, None)
                if session is not None:
                    duties[editor] = session, closes, breakpoints
    for session, closes, breakpoints in duties.values():
        _persist(connect, session, closes, breakpoints)


def _persist(connect: Callable[[], RpcLink], session: int | str, closes: bool, breakpoints: list[int]) -> None:
    deadline, wait = time.monotonic() + PATIENCE_S, WAIT_FIRST_S
    while time.monotonic() < deadline:
        try:
            link = connect()
            try:
                clean_up(link.rpc, session, closes, breakpoints)
            finally:
                link.close()
        except ConnectionFailed:
            time.sleep(wait)
            wait = min(2 * wait, WAIT_MAX_S)
        else:
            return


def clean_up(ask: Callable[..., Any], session: int | str, closes: bool, breakpoints: list[int]) -> str:
    """Close a session, or remove an editor's breakpoints from it; the reason if that cannot be.

    Raises `ConnectionFailed`.
    """
    refusal = ""
    if closes or breakpoints:
        # an abandoned run would keep the session busy
        refusal = _try(ask, "pause", session)
    if closes and not (refusal := _try(ask, "close", session)):
        return ""
    for number in breakpoints:
        refusal = _try(ask, "breakpoint_remove", session, number) or refusal
    return refusal


def _try(ask: Callable[..., Any], name: str, *params: Any) -> str:
    try:
        ask(f"zvmd_session_{name}", *params)
    except SessionNotFound:
        return ""
    except ConnectionFailed:
        raise
    except ZvmdError as error:
        return error.message
    return ""
