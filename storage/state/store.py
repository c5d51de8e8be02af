"""The state of all kept blocks: one writer applies blocks and freezes layers, anyone reads views.

The writer thread calls `apply` and `freeze`. One other thread may then write the frozen layer down
(`checkpoint_batch`, the store's `write`, `checkpoint_done`) while blocks go on. Readers take views at any
time. An exception out of `apply` leaves the newest layer half changed: the process has to end then and
recover.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from chain.hashing import EMPTY_ROOT, keccak256
from chain.state import StateDelta
from chain.types import Hash32
from storage.errors import StateStoreCorrupt, StateUnavailable
from storage.kv import KeyValueSnapshot, KeyValueStore
from storage.pace import Pace, at_once
from storage.state.apply import BlockApplication, DecodedBranches
from storage.state.batch import expire, layer_batch, oldest_after
from storage.state.changes import flatten, rewound_layer
from storage.state.keys import ACCOUNT_NODE, META_OLDEST, META_STATE, StoredAccount
from storage.state.overlay import Layer
from storage.state.reader import CodeCache, Epoch, StateView


def stored_head(snapshot: KeyValueSnapshot) -> tuple[int, Hash32]:
    """Block and state root of the last checkpoint; -1 and the empty root if there is none.

    Raises `StateStoreCorrupt`.
    """
    record = snapshot.get(META_STATE)
    if record is None:
        return -1, EMPTY_ROOT
    if len(record) != 40:
        raise StateStoreCorrupt(f"record of the stored state has {len(record)} bytes")
    number, root = int.from_bytes(record[:8], "big"), Hash32(record[8:])
    node = snapshot.get(ACCOUNT_NODE)
    if (node is None) != (root == EMPTY_ROOT) or (node is not None and keccak256(node) != root):
        raise StateStoreCorrupt(f"the root node of block {number} is missing or is another one")
    return number, root


@dataclass(slots=True)
class _Frozen:
    """Layers on their way to disk."""

    number: int
    oldest: int
    """First readable block once they are there."""
    layers: tuple[Layer, ...]
    flat: Layer | None = None
    """The layers as one, made by the checkpoint's thread."""


class StateStore:
    """Flat values, trie and change sets over a key-value store.

    ``retention`` is the number of blocks before the last checkpoint whose states stay readable; None keeps
    all.
    """

    def __init__(self, kv: KeyValueStore, retention: int | None = None) -> None:
        self._kv = kv
        self._retention = retention
        snapshot = kv.snapshot()
        floor, root = stored_head(snapshot)
        oldest = int.from_bytes(snapshot.get(META_OLDEST) or b"", "big")
        self._epoch = Epoch(snapshot, floor, oldest, (Layer(floor, root),), CodeCache())
        self._head = floor
        self._branches = DecodedBranches()
        self._frozen: _Frozen | None = None

    @property
    def head(self) -> int:
        """Last applied block; -1 before genesis."""
        return self._head

    @property
    def head_root(self) -> Hash32:
        """State root after the last applied block."""
        return self._epoch.layers[-1].root

    @property
    def checkpointed(self) -> int:
        """Block of the last checkpoint on disk; -1 before the first."""
        return self._epoch.floor

    @property
    def oldest(self) -> int:
        """First block whose state can be read."""
        return self._epoch.oldest

    def cached(self) -> tuple[int, int, int]:
        """Accounts, slots and bytes of code in memory that are in the store too."""
        epoch = self._epoch
        return len(epoch.accounts), len(epoch.slots), epoch.codes.size_in_bytes

    @property
    def overlay_bytes(self) -> int:
        """Estimate of the memory that changes since the last checkpoint take."""
        return sum(layer.estimate_bytes() for layer in self._epoch.layers)

    def apply(self, number: int, delta: StateDelta) -> Hash32:
        """Apply the changes of the next block, in memory; returns the new state root. Writer thread only.

        Genesis is block 0, applied to the empty store. Raises `StateStoreCorrupt`.
        """
        if number != self._head + 1:
            raise ValueError(f"block {number} does not follow block {self._head}")
        epoch = self._epoch
        root = BlockApplication(epoch, StateView(epoch, self._head), number, self._branches).apply(delta)
        self._head = number
        return root

    def view(self, number: int) -> StateView:
        """The state after block ``number``; any thread. Raises `StateUnavailable`."""
        head = self._head  # before the epoch: an epoch taken later holds every block up to this head
        epoch = self._epoch
        if not max(epoch.oldest, 0) <= number <= head:
            raise StateUnavailable(f"block {number} is not between {epoch.oldest} and {head}")
        return StateView(epoch, number)

    def freeze(self) -> int:
        """Close the newest layer for a checkpoint at the head; returns the head. Writer thread only.

        Raises RuntimeError while an earlier frozen layer is not written yet.
        """
        if self._frozen is not None:
            raise RuntimeError(f"the checkpoint at block {self._frozen.number} is not done yet")
        epoch = self._epoch
        oldest = oldest_after(epoch.oldest, self._head, self._retention)
        self._frozen = _Frozen(self._head, oldest, epoch.layers)
        layers = (*epoch.layers, Layer(self._head, self.head_root))
        self._epoch = replace(epoch, layers=layers)
        return self._head

    def rewind(self, number: int) -> Hash32:
        """Make block ``number`` the head again, in memory; returns its state root. Writer thread only.

        Views taken before stay as they are. Raises RuntimeError while a frozen layer is not written yet,
        `StateUnavailable`, `StateStoreCorrupt`.
        """
        if self._frozen is not None:
            raise RuntimeError(f"the checkpoint at block {self._frozen.number} is not done yet")
        epoch = self._epoch
        self.view(number)  # raises unless the block is kept
        if number == self._head:
            return self.head_root
        layer = rewound_layer(epoch, self._head, number, self._branches)
        self._head = number
        self._epoch = replace(epoch, layers=(*epoch.layers, layer))
        return layer.root

    @property
    def frozen(self) -> int | None:
        """Block of the frozen layer that waits to be written, if any."""
        return None if self._frozen is None else self._frozen.number

    def checkpoint_batch(self, upto: int, pace: Pace = at_once) -> tuple[dict[bytes, bytes], list[bytes]]:
        """Puts and deletes that bring the store to the frozen block ``upto``; freezes the head if none is.

        Only for blocks which are durable in the log.
        """
        if self._frozen is None:
            self.freeze()
        frozen = self._frozen
        assert frozen is not None
        if frozen.number != upto:
            raise ValueError(f"block {frozen.number} is frozen, not block {upto}")
        epoch = self._epoch
        frozen.flat = flat = flatten(frozen.layers)
        batch = layer_batch(flat, upto, frozen.oldest, pace)
        expire(batch, epoch.snapshot, epoch.oldest + 1, min(frozen.oldest, epoch.floor), pace)
        # What is stored of blocks that a rewind took out of the chain; new blocks may have the same numbers.
        expire(batch, epoch.snapshot, flat.floor + 1, epoch.floor, pace)
        return batch.puts, batch.deletes

    def checkpoint_done(self, number: int, pace: Pace = at_once) -> None:
        """The batch is on disk: new views use it, and the frozen layer goes when its last view does."""
        left = self._move_floor(number, pace)
        for _ in pace(range(len(left))):  # freed at once, a layer would take milliseconds in which no other thread runs
            left.pop()

    def _move_floor(self, number: int, pace: Pace) -> list[object]:
        """Make the checkpoint the floor of new views; returns what the frozen layer held."""
        frozen = self._frozen
        if frozen is None or frozen.number != number or frozen.flat is None:
            raise ValueError(f"no checkpoint at block {number} is being written")
        epoch = self._epoch
        accounts, slots = epoch.accounts.copy(), epoch.slots.copy()
        for address, account_versions in pace(frozen.flat.accounts.items()):
            accounts.put(address, StoredAccount(*account_versions[-1][1:]))
        for address, changed in frozen.flat.slots.items():
            for slot, slot_versions in pace(changed.items()):
                slots.put((address, slot), slot_versions[-1][1])
        for code_hash, code in frozen.flat.codes.items():
            epoch.codes.put(code_hash, code)
        layers = epoch.layers[len(frozen.layers) :]
        self._epoch = Epoch(self._kv.snapshot(), number, frozen.oldest, layers, epoch.codes, accounts, slots)
        self._frozen = None
        held: list[object] = list(frozen.flat.accounts.values())
        for changed in pace(frozen.flat.slots.values()):
            held += changed.values()
        return held
