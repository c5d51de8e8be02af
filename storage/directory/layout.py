"""Names in the data directory.

<data-dir>/
  FORMAT        versions of the stores: this file
  genesis.json  the genesis the chain began with, in geth's format
  LOCK          held for life by the process that uses the directory, beside other locks (exclusion.py)
  wal/          the log: history itself (docs/formats/wal.md)
  state/        LevelDB or RocksDB, as FORMAT says: state, blocks, receipts
  index.sqlite  lookups; deleted and built again when in doubt
  sessions/     large debug sessions, one file each; the others are in the log and in state/
  exports/      state exports, from which a damaged state/ is restored
  cache/        compiled code; may be deleted at any time
  quarantine/   damaged pieces that recovery took away
  suspect       there if the state store was seen damaged: the next start does not trust it
  panic         there if a sync or write failed: the next start does not trust what the system has cached
  ballast       space kept back, so that a full disk still lets a checkpoint finish
  zvmd.ipc      the node's unix sockets while it runs: JSON-RPC,
  zvmd.sock     and zvmd/1
  tls/          the certificate of the QUIC listener; the node's, not a store's
  verifying/    a state store made of an export to prove it; removed by who made it, or by the next
  migrating-*/  a state store of another engine, being made; replaced/ the one whose place it took (swap.py)
"""

from __future__ import annotations

from storage.directory import exclusion
from storage.io import diskspace

FORMAT = "FORMAT"
GENESIS = "genesis.json"
LOCK = exclusion.LOCK
WAL = "wal"
STATE = "state"
INDEX = "index.sqlite"
SESSIONS = "sessions"
CACHE = "cache"
EXPORTS = "exports"
SUSPECT = "suspect"
PANIC = "panic"
QUARANTINE = "quarantine"
BALLAST = diskspace.BALLAST
VERIFYING = "verifying"
TLS = "tls"
IPC = "zvmd.ipc"
SOCKET = "zvmd.sock"
REPLACED = "replaced"

DATA = (WAL, STATE, INDEX, SESSIONS)
"""Entries that cannot exist before the stamp does."""


def staged(engine: str) -> str:
    """Where a state store of this engine is made that is to take the place of the directory's own."""
    return f"migrating-{engine}"
