"""Errors of the stores.

    ZvmdError
    ├── StateStoreRefused        store.refused       exit 65: LevelDB does not open
    ├── StateStoreCorrupt        store.corrupt       exit 65: something read fails its checksum or hash
    ├── StateStoreWriteFailed    store.write         exit 70: end the process, recover at start
    ├── StateUnavailable         state.unavailable   the state of that block is not kept
    ├── CheckpointBroken         checkpoint.broken   exit 65: checkpoints are missing, unlinked or do not fit the state
    ├── StoreTooNew              store.too_new       exit 67: written by a later version
    └── IndexDamaged             index.damaged       delete the index and build it again
"""

from __future__ import annotations

from typing import ClassVar

from chain.errors import ZvmdError


class StateStoreRefused(ZvmdError):
    """LevelDB does not open: damaged files, or another process holds them."""

    code = "store.refused"
    exit_code: ClassVar[int] = 65
    hint = "the directory is moved to quarantine and the state rebuilt from the log; never repair it in place"


class StateStoreCorrupt(ZvmdError):
    """Bytes read from the state store fail their checksum, their hash, or their format."""

    code = "store.corrupt"
    exit_code: ClassVar[int] = 65
    hint = "the state store is moved to quarantine and rebuilt from the log"


class StateStoreWriteFailed(ZvmdError):
    """A batch could not be written; what is on disk is unknown until the store is opened again."""

    code = "store.write"
    exit_code: ClassVar[int] = 70
    hint = "the process ends and recovers at its next start; check the disk"


class StateUnavailable(ZvmdError):
    """The state of that block is not kept, or the block does not exist."""

    code = "state.unavailable"
    rpc_code = -32000
    hint = "ask for a later block, or keep more history: [storage] retention"


class CheckpointBroken(ZvmdError):
    """The checkpoint chain has a gap or a wrong link, or the state below does not belong to it."""

    code = "checkpoint.broken"
    exit_code: ClassVar[int] = 65
    hint = "the state store is moved to quarantine and rebuilt from the log"


class StoreTooNew(ZvmdError):
    """A store was written by a later version of the program."""

    code = "store.too_new"
    exit_code: ClassVar[int] = 67
    hint = "start the version that wrote this data directory, or a later one"


class IndexDamaged(ZvmdError):
    """The SQL index is not a database any more, or misses its tables."""

    code = "index.damaged"
    hint = "the index is deleted and built again from the chain; lookups are incomplete meanwhile"
