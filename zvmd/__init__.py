"""The SDK: what other programs import to talk to a zvmd node."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zvmd.async_session import AsyncSession
    from zvmd.client import Client, Deployed, connect
    from zvmd.errors import ConnectionFailed, NotFound, Reverted, ZvmdClientError
    from zvmd.session import Session
    from zvmd.session_view import SessionView
    from zvmd.shelf import Templates, find_sessions, pin_session
    from zvmd.sync import SyncClient
    from zvmd.sync import SyncClient as Node

_HOMES = {
    "AsyncSession": "zvmd.async_session",
    "Client": "zvmd.client",
    "ConnectionFailed": "zvmd.errors",
    "Deployed": "zvmd.client",
    "Node": "zvmd.sync",
    "NotFound": "zvmd.errors",
    "Reverted": "zvmd.errors",
    "Session": "zvmd.session",
    "SessionView": "zvmd.session_view",
    "SyncClient": "zvmd.sync",
    "Templates": "zvmd.shelf",
    "ZvmdClientError": "zvmd.errors",
    "connect": "zvmd.client",
    "find_sessions": "zvmd.shelf",
    "pin_session": "zvmd.shelf",
}
"""Where each name lives; loaded when it is first used, so that ``zvmd --help`` does not load QUIC."""

__all__ = [
    "AsyncSession",
    "Client",
    "ConnectionFailed",
    "Deployed",
    "Node",
    "NotFound",
    "Reverted",
    "Session",
    "SessionView",
    "SyncClient",
    "Templates",
    "ZvmdClientError",
    "connect",
    "find_sessions",
    "pin_session",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'zvmd' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
