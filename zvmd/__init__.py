"""The SDK: what other programs import to talk to a zvmd node."""

from __future__ import annotations

from zvmd.client import Client, Deployed, connect
from zvmd.errors import ConnectionFailed, NotFound, Reverted, ZvmdClientError
from zvmd.sync import SyncClient

Node = SyncClient
"""The short name: ``with zvmd.Node() as node``."""

__all__ = [
    "Client",
    "ConnectionFailed",
    "Deployed",
    "Node",
    "NotFound",
    "Reverted",
    "SyncClient",
    "ZvmdClientError",
    "connect",
]
