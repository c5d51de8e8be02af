"""The SDK: what other programs import to use a zvmd node.

`connect` gives a `Client` for programs with an event loop, `Node` the same for all others::

    with zvmd.Node() as node:
        counter = node.deploy(bytecode)
        (count,) = node.call(counter.address, "number()(uint256)")

A debug session of the node is a `Session` or `AsyncSession`. What goes wrong is raised as a `ZvmdError`, of a class
of its own for each reason that a node gives: `zvmd.errors` lists them, and all are names of this package.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from zvmd import errors as _errors
from zvmd.errors import *  # noqa: F403 - its __all__ is the list of error classes

if TYPE_CHECKING:
    from zvmd.async_session import AsyncSession
    from zvmd.client import Client, ContractCall, Deployed, connect
    from zvmd.session import Session
    from zvmd.session_view import SessionView
    from zvmd.shelf import Templates, find_sessions, pin_session
    from zvmd.sync import SyncClient
    from zvmd.sync import SyncClient as Node

_HOMES = {
    "AsyncSession": "zvmd.async_session",
    "Client": "zvmd.client",
    "ContractCall": "zvmd.client",
    "Deployed": "zvmd.client",
    "Node": "zvmd.sync",
    "Session": "zvmd.session",
    "SessionView": "zvmd.session_view",
    "SyncClient": "zvmd.sync",
    "Templates": "zvmd.shelf",
    "connect": "zvmd.client",
    "find_sessions": "zvmd.shelf",
    "pin_session": "zvmd.shelf",
}
"""Where each name lives; loaded when it is first used, so that ``zvmd --help`` does not load QUIC."""

_RENAMED = {"ZvmdClientError": "ZvmdError"}
"""Names of earlier versions, which still work and warn."""

__all__ = [
    "AsyncSession",
    "Client",
    "ContractCall",
    "Deployed",
    "Node",
    "Session",
    "SessionView",
    "SyncClient",
    "Templates",
    "connect",
    "find_sessions",
    "pin_session",
    *_errors.__all__,
]


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        warnings.warn(f"zvmd.{name} is now zvmd.{_RENAMED[name]}", DeprecationWarning, stacklevel=2)
        return globals()[_RENAMED[name]]
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'zvmd' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
