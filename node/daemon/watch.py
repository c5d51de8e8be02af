"""Which files of the data directory a running node watches: those of the stores, and those that clients read."""

from __future__ import annotations

from node.auth import certificate, signing, tokens
from node.daemon.https import SERVED_FILE
from node.daemon.opening import OpenedChain
from storage.directory.layout import TLS
from storage.io.kv.store import DiskStore
from storage.presence import Presence
from zvmd.endpoint import ENDPOINTS_FILE

KEPT = (
    tokens.TOKEN_FILE,
    *(f"{TLS}/{name}" for name in (*certificate.FILES, certificate.CLIENT_FILE, SERVED_FILE)),
    signing.KEY_FILE,
    ENDPOINTS_FILE,
)
"""Small files whose content stays in memory, so that they can be written again."""


def presence_of(opened: OpenedChain) -> Presence:
    """The watcher of an opened chain's files."""
    store = opened.store
    assert isinstance(store.kv, DiskStore)
    return Presence(opened.fs, opened.lock, store.wal, store.kv, store.follower, store.sessions, KEPT)
