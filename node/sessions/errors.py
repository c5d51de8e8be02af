"""Errors of sharing sessions, and of importing them.

SessionError
├── InvalidShare     session.token
├── ShareExpired     session.token_expired
├── WatchOnly        session.watch_only
├── NotDriving       session.driver
├── OwnersOnly       session.owner
├── SlowWatcher      session.slow_watcher
├── NoPush           session.no_push
└── WorkerFailed     session_file.worker
"""

from __future__ import annotations

from debugger.errors import SessionError, SessionFileRefused


class InvalidShare(SessionError):
    """The token belongs to no share of a session: it was never created, or was revoked."""

    code = "session.token"
    rpc_code = -32001
    hint = "ask the session's owner for a new one (zvmd session share)"


class ShareExpired(SessionError):
    """The token has expired."""

    code = "session.token_expired"
    rpc_code = -32001
    hint = "ask the session's owner for a new one (zvmd session share)"


class WatchOnly(SessionError):
    """A token with the role watch cannot move or change the session."""

    code = "session.watch_only"
    rpc_code = -32001
    hint = "ask the session's owner for a token of the role drive, or for a copy (zvmd session export)"


class NotDriving(SessionError):
    """Somebody else is in control of the session: one drives at a time."""

    code = "session.driver"
    rpc_code = -32000
    hint = "wait until it is released, or take over: zvmd_session_drive with takeOver true (zvmd session drive)"


class OwnersOnly(SessionError):
    """Only the owner, who has the node's own token, may do this, by the session's number."""

    code = "session.owner"
    rpc_code = -32001
    hint = "share tokens only read, move and change the one session they were created for"


class SlowWatcher(SessionError):
    """A watcher is so far behind that events it has not received are no longer kept."""

    code = "session.slow_watcher"
    rpc_code = -32005
    hint = "watch again with the last cursor: the current position comes first, then every event"


class NoPush(SessionError):
    """Events cannot be pushed over plain HTTP."""

    code = "session.no_push"
    rpc_code = -32601
    hint = "watch over QUIC (zvmd session watch) or call zvmd_session_watch on the WebSocket /ws"


class WorkerFailed(SessionFileRefused):
    """The import process ended without an answer, and not because of a limit."""

    code = "session_file.worker"
    rpc_code = -32000
    hint = "this is a bug in zvmd or the machine is out of memory; please report it with the file"
