"""Errors of the stores, and the exit code with which the daemon ends when one of them reaches the top.

    ZvmdError
    ├── RecordTooLarge             wal.record_size      nothing was written: ask for less
    └── StorageError               storage.error
        ├── StoragePanic           storage.panic        exit 70: a sync or write failed
        │   └── FileGone           storage.gone         exit 70: a file in use was removed, replaced or made read-only
        ├── StorageFull            storage.full         not fatal: wait for space
        ├── StorageUnreadable      storage.unreadable   exit 65: the disk refuses to read
        ├── DataDirectoryLocked    storage.locked       exit 75: another process has it
        │   └── IndexLocked        index.locked         exit 75: another program holds the SQL index
        ├── DataDirectoryUnusable  storage.unusable     exit 78: it cannot be made or written, or is not empty
        ├── DataDirectoryDamaged   storage.directory    exit 65: FORMAT or genesis.json is missing or damaged
        │   └── EntryUnusable      storage.entry        exit 65: a FIFO, a device, a directory in place of a file
        ├── StoreTooNew            store.too_new        exit 67: written by a later version
        ├── WalCorrupt             wal.corrupt          exit 65: damage before the durable end
        │   ├── WalShort           wal.short            exit 65: acknowledged records are gone
        │   └── WalForeign         wal.foreign          exit 65: a segment of another chain or place
        ├── WalPruned              wal.pruned           exit 65: a record before the log's beginning is needed
        ├── PruneRefused           wal.prune            nothing proves that the log is not needed
        ├── WalClosed              wal.closed
        ├── InvalidRecord          wal.record           exit 65: a record's payload does not decode
        ├── StateRootMismatch      state.root_mismatch  exit 66: replay reached another state root
        ├── MigrationRefused       store.migration      the state store keeps its engine
        ├── EngineMissing          store.engine         exit 78: the package of the state store's engine is not there
        ├── StateStoreRefused      store.refused        exit 65: it does not open, and nobody else has it
        ├── StateStoreCorrupt      store.corrupt        exit 65: a checksum or hash is wrong
        ├── StateStoreWriteFailed  store.write          exit 70: end the process, recover at start
        ├── StateUnavailable       state.unavailable    the state of that block is not kept
        ├── CheckpointBroken       checkpoint.broken    exit 65: checkpoints missing or unlinked
        ├── ExportDamaged          export.damaged       exit 65: a state export is not what was written
        ├── SnapshotLost           session.snapshot     a session's file is gone; all others are unharmed
        ├── DataLossRefused        wal.data_loss        exit 65: --accept-data-loss names another LSN
        └── IndexDamaged           index.damaged        delete the index and build it again

Exit codes 65, 66, 67 and 75 stand in the unit's ``RestartPreventExitStatus``: restarting would not help.
"""

from __future__ import annotations

from chain.errors import (
    EXIT_CONFIG,
    EXIT_CORRUPT,
    EXIT_FULL,
    EXIT_LOCKED,
    EXIT_PANIC,
    EXIT_ROOT_MISMATCH,
    EXIT_TOO_NEW,
    ZvmdError,
)


class StorageError(ZvmdError):
    """Base of all errors of the data directory."""

    code = "storage.error"
    hint = "see the node's log; `zvmd wal verify` and `zvmd verify` look at the data directory"


class StoragePanic(StorageError):
    """A sync or a write failed: the content of the disk is unknown, so nothing more may be acknowledged.

    Never retried: Linux marks the pages of a failed sync clean, so a second sync would lie.
    """

    code = "storage.panic"
    exit_code = EXIT_PANIC
    hint = "the process ends and recovers at its next start; check the disk and the kernel log"


class FileGone(StoragePanic):
    """A file or directory that the node uses was moved or removed: its data can no longer be guaranteed."""

    code = "storage.gone"
    hint = "nobody may touch a data directory while its node runs: put back what is missing, or restore a backup"


class StorageFull(StorageError):
    """No space or quota left. Pending records stay pending; nothing was acknowledged."""

    code = "storage.full"
    rpc_code = -32005
    exit_code = EXIT_FULL
    hint = "free space on the data directory's disk; the node goes on by itself"


class StorageUnreadable(StorageError):
    """The disk reports a read error. Skipping the unreadable data would rewrite history."""

    code = "storage.unreadable"
    exit_code = EXIT_CORRUPT
    hint = "check the disk and the kernel log, then restore the data directory from a backup"


class DataDirectoryLocked(StorageError):
    """Another process uses the data directory, or a file in it. Nothing was changed."""

    code = "storage.locked"
    exit_code = EXIT_LOCKED
    hint = "stop the other zvmd, or the other program, first; or use another --data-dir"


class IndexLocked(DataDirectoryLocked):
    """Another program holds a lock on the SQL index. A running node waits; its lookups search the blocks meanwhile."""

    code = "index.locked"
    hint = "end that program's transaction; the node goes on by itself"


class DataDirectoryUnusable(StorageError):
    """A directory cannot be made, is not empty where it should be, or this user may not write in it."""

    code = "storage.unusable"
    exit_code = EXIT_CONFIG
    hint = "give a directory that is there or can be made, that this user may write, and for a copy an empty one"


class DataDirectoryDamaged(StorageError):
    """FORMAT or genesis.json is damaged, or missing beside existing data."""

    code = "storage.directory"
    exit_code = EXIT_CORRUPT
    hint = "put that file back from a backup, or give an empty --data-dir"


class EntryUnusable(DataDirectoryDamaged):
    """Something in the data directory is neither file nor directory, or the wrong one of the two."""

    code = "storage.entry"
    hint = "move it away; index.sqlite, cache/ and state/ are made again, anything else put back from a backup"


class StoreTooNew(StorageError):
    """A store was written by a later version of the program."""

    code = "store.too_new"
    exit_code = EXIT_TOO_NEW
    hint = "start the version that wrote this data directory, or a later one; its file FORMAT names the version"


class WalCorrupt(StorageError):
    """The log is damaged at a place that was durable once. Starting would forget acknowledged records."""

    code = "wal.corrupt"
    exit_code = EXIT_CORRUPT
    hint = "look with `zvmd wal verify` and `zvmd wal inspect`, then restore it from a backup"

    def __init__(self, message: str, *, path: str = "", offset: int = 0, lsn: int = 0, witness: int = 0) -> None:
        super().__init__(message)
        self.path = path
        """The file, inside the data directory."""
        self.offset = offset
        """Where in the file the damage begins, in bytes."""
        self.lsn = lsn
        """The first record that cannot be read; 0 if not known."""
        self.witness = witness
        """The highest record known to have been durable; 0 if not known."""


class WalShort(WalCorrupt):
    """The log ends before a record that some witness knows to have been durable."""

    code = "wal.short"


class WalForeign(WalCorrupt):
    """A segment or record is intact but belongs to another chain, another log or another place in it."""

    code = "wal.foreign"
    hint = "look with `zvmd wal inspect`; put back the segment files that belong to this data directory"


class WalPruned(StorageError):
    """A record is asked for, or needed, that `zvmd wal prune` has removed."""

    code = "wal.pruned"
    exit_code = EXIT_CORRUPT
    hint = "name a later LSN, or use a backup from before the log was pruned; `zvmd wal inspect` shows where it begins"


class PruneRefused(StorageError):
    """The log was not pruned, because nothing proves that its oldest records are not needed. Nothing was changed."""

    code = "wal.prune"
    hint = "start the node once and stop it, then `zvmd wal prune --export`; `zvmd wal verify` looks at the log"


class WalClosed(StorageError):
    """The log was closed, or has failed before."""

    code = "wal.closed"
    hint = "the node is stopping; send again when it is back"


class RecordTooLarge(ZvmdError):
    """A payload exceeds what one record of the log may hold. Nothing was written, and nothing is wrong with the log."""

    code = "wal.record_size"
    rpc_code = -32602
    hint = "make the request smaller; the most is 8 MiB, or less with a smaller storage.segment_size_bytes"


class InvalidRecord(StorageError):
    """A record has a valid checksum but an invalid payload for its type."""

    code = "wal.record"
    exit_code = EXIT_CORRUPT
    hint = "look with `zvmd wal inspect`; this is a bug or a forged log, please report it"


class StateRootMismatch(StorageError):
    """Replay of a sealed block reached another state root than its seal holds."""

    code = "state.root_mismatch"
    exit_code = EXIT_ROOT_MISMATCH
    hint = "start the version that wrote the block (see its VM fingerprint) and report this"


class MigrationRefused(StorageError):
    """The state store was not moved to another engine. Nothing was changed."""

    code = "store.migration"
    hint = "start the node once and stop it; `zvmd verify` looks at the data directory"


class EngineMissing(StorageError):
    """The package that brings the state store's engine is not installed. Nothing was changed."""

    code = "store.engine"
    exit_code = EXIT_CONFIG
    hint = "install plyvel for leveldb, rocksdict for rocksdb; `zvmd migrate-store` changes a directory's engine"


class StateStoreRefused(StorageError):
    """The state store does not open: its files are damaged."""

    code = "store.refused"
    exit_code = EXIT_CORRUPT
    hint = "the directory is moved to quarantine and the state rebuilt from the log; never repair it in place"


class StateStoreCorrupt(StorageError):
    """Bytes read from the state store fail their checksum, their hash, or their format."""

    code = "store.corrupt"
    exit_code = EXIT_CORRUPT
    hint = "the state store is moved to quarantine and rebuilt from the log"


class StateStoreWriteFailed(StorageError):
    """A batch could not be written; what is on disk is unknown until the store is opened again."""

    code = "store.write"
    exit_code = EXIT_PANIC
    hint = "the process ends and recovers at its next start; check the disk"


class StateUnavailable(StorageError):
    """The state of that block is not kept, or the block does not exist."""

    code = "state.unavailable"
    hint = "ask for a later block, or keep more history: [storage] retention_blocks (0 keeps all)"


class CheckpointBroken(StorageError):
    """The checkpoint chain has a gap or a wrong link, or the state below does not belong to it."""

    code = "checkpoint.broken"
    exit_code = EXIT_CORRUPT
    hint = "the state store is moved to quarantine and rebuilt from the log"


class ExportDamaged(StorageError):
    """A state export or a backup fails its digest, or belongs to another chain."""

    code = "export.damaged"
    exit_code = EXIT_CORRUPT
    hint = "use an older export or backup, or let the state be rebuilt from the log"


class SnapshotLost(StorageError):
    """The file that holds a large debug session is missing or damaged. Other sessions are unharmed."""

    code = "session.snapshot"
    hint = "put the file back from a backup, or close the session"


class DataLossRefused(StorageError):
    """``--accept-data-loss`` must name the exact LSN at which the damaged log would be cut."""

    code = "wal.data_loss"
    exit_code = EXIT_CORRUPT
    hint = "start without the option first: the refusal names the LSN, if anything is lost at all"


class IndexDamaged(StorageError):
    """The SQL index is not a database any more, or misses its tables."""

    code = "index.damaged"
    hint = "the index is deleted and built again from the chain; lookups are incomplete meanwhile"
