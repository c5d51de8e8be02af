"""The state of all kept blocks: one writer applies blocks and freezes layers, anyone reads views.

The writer thread calls `apply` and `freeze`. One other thread may then write the frozen layer down
(`checkpoint_batch`, the store's `write`, `checkpoint_done`) while blocks go on. Readers take views at any
time. An exception out of `apply` leaves the newest layer half changed: the process has to end then and
recover.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from chain.hashing import EMPTY_ROOT, keccak256
from chain.state import StateDelta
from chain.types import Hash32
from storage.errors import StateStoreCorrupt, StateUnavailable
from storage.io.cooperative import Pace, at_once
from storage.io.kv import KeyValueSnapshot, KeyValueStore
from storage.state.apply import BlockApplication, DecodedBranches
from storage.state.batch import expire, layer_batch, oldest_after
from storage.state.changes import flatten, rewound_layer
from storage.state.keys import ACCOUNT_NODE, META_OLDEST, META_STATE, StoredAccount
from storage.state.overlay import Layer
from storage.state.positions import Positions, stored_positions
from storage.state.reader import Epoch, StateView, code_cache


def stored_head(snapshot: KeyValueSnapshot) -> tuple[int, Hash32]:
    """Position and state root of the last checkpoint; -1 and the empty root if there is none.

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
        raise StateStoreCorrupt(f"the root node of state {number} is missing or is another one")
    return number, root


@dataclass(slots=True)
class _Frozen:
    """Layers on their way to disk."""

    number: int
    """The block."""
    positions: Positions
    oldest: int
    """First readable position once they are there."""
    layers: tuple[Layer, ...]
    flat: Layer | None = None
    """The layers as one, made by the checkpoint's thread."""


class StateStore:
    """Flat values, trie and change sets over a key-value store.

    ``retention`` is the number of blocks before the last checkpoint whose states stay readable; None keeps
    all. Epochs, layers and change sets count positions (`storage.state.positions`), callers mostly blocks.
    """

    def __init__(self, kv: KeyValueStore, retention: int | None = None) -> None:
        self._kv = kv
        self._retention = retention
        snapshot = kv.snapshot()
        floor, root = stored_head(snapshot)
        oldest = int.from_bytes(snapshot.get(META_OLDEST) or b"", "big")
        self._epoch = Epoch(snapshot, floor, oldest, (Layer(floor, root),), code_cache())
        self.positions = self._stored_positions = stored_positions(snapshot)
        """Where the blocks' states are; replaced, never changed."""
        self.position = floor
        """Of the newest state; -1 before genesis."""
        self.has_changes = False
        """Since the last `freeze`."""
        self._checkpointed = self.head
        self._branches = DecodedBranches()
        self._frozen: _Frozen | None = None

    @contextmanager
    def nothing_expires(self) -> Iterator[None]:
        """Keep every state meanwhile: a replayed revert needs what was kept when it was asked for."""
        retention, self._retention = self._retention, None
        try:
            yield
        finally:
            self._retention = retention

    @property
    def head(self) -> int:
        """Last applied block; -1 before genesis."""
        return self.positions.block_of(self.position)

    @property
    def head_root(self) -> Hash32:
        """State root after the last applied block."""
        return self._epoch.layers[-1].root

    @property
    def checkpointed(self) -> int:
        """Last block of the chain that is in the last checkpoint on disk; -1 before the first."""
        return self._checkpointed

    @property
    def oldest(self) -> int:
        """First block whose state can be read."""
        return self.positions.block_of(self._epoch.oldest)

    def keeps(self, position: int) -> bool:
        """Whether the state at a position has not expired and will not with the checkpoint under way. Writer thread."""
        frozen = self._frozen
        return position >= max(self._epoch.oldest if frozen is None else frozen.oldest, 0)

    def cached(self) -> tuple[int, int, int]:
        """Accounts, slots and bytes of code in memory that are in the store too."""
        epoch = self._epoch
        return len(epoch.accounts), len(epoch.slots), epoch.codes.weight

    @property
    def overlay_bytes(self) -> int:
        """Estimate of the memory that changes since the last checkpoint take."""
        return sum(layer.estimate_bytes() for layer in self._epoch.layers)

    def apply(self, number: int, delta: StateDelta) -> Hash32:
        """Apply the changes of the next block, in memory; returns the new state root. Writer thread only.

        Genesis is block 0, applied to the empty store. Raises `StateStoreCorrupt`.
        """
        if number != self.head + 1:
            raise ValueError(f"block {number} does not follow block {self.head}")
        return self._apply(delta)

    def amend(self, delta: StateDelta) -> Hash32:
        """Change the state that the next block starts from; returns its root. As `apply`, after genesis."""
        positions = self.positions.amended(self.head)
        root = self._apply(delta)
        self.positions = positions
        return root

    def _apply(self, delta: StateDelta) -> Hash32:
        epoch, position = self._epoch, self.position
        application = BlockApplication(epoch, StateView(epoch, position), position + 1, self._branches)
        root = application.apply(delta)
        self.position = position + 1
        self.has_changes = True
        return root

    def view(self, number: int) -> StateView:
        """The state that follows block ``number``, amendments included; any thread. Raises `StateUnavailable`."""
        return self.view_at(self.positions.of(number))

    def view_at(self, position: int) -> StateView:
        """The state at a position; any thread. Raises `StateUnavailable`."""
        head = self.position  # before the epoch: an epoch taken later holds every state up to this one
        epoch, block_of = self._epoch, self.positions.block_of
        if not max(epoch.oldest, 0) <= position <= head:
            range_kept = f"between {block_of(epoch.oldest)} and {block_of(head)}"
            raise StateUnavailable(f"block {block_of(position)} is not {range_kept}")
        return StateView(epoch, position)

    def freeze(self) -> int:
        """Close the newest layer for a checkpoint at the head; returns the head. Writer thread only.

        Raises RuntimeError while an earlier frozen layer is not written yet.
        """
        if self._frozen is not None:
            raise RuntimeError(f"the checkpoint at block {self._frozen.number} is not done yet")
        epoch, head = self._epoch, self.head
        kept = None if self._retention is None else self.position - self.positions.of(head - self._retention)
        oldest = oldest_after(epoch.oldest, self.position, kept)
        self._frozen = _Frozen(head, self.positions, oldest, epoch.layers)
        layers = (*epoch.layers, Layer(self.position, self.head_root))
        self._epoch = replace(epoch, layers=layers)
        self.has_changes = False
        return head

    def rewind(self, position: int) -> Hash32:
        """Make the state at a position the newest again, in memory; returns its root. Writer thread only.

        Views taken before stay as they are. Raises RuntimeError while a frozen layer is not written yet,
        `StateUnavailable`, `StateStoreCorrupt`.
        """
        if self._frozen is not None:
            raise RuntimeError(f"the checkpoint at block {self._frozen.number} is not done yet")
        epoch = self._epoch
        self.view_at(position)  # raises unless the state is kept
        if position == self.position:
            return self.head_root
        layer = rewound_layer(epoch, self.position, position, self._branches)
        self.position, self.positions = position, self.positions.cut(position)
        self._epoch = replace(epoch, layers=(*epoch.layers, layer))
        self._checkpointed = min(self._checkpointed, self.head)
        self.has_changes = True
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
        batch = layer_batch(flat, frozen.positions.of(upto), frozen.oldest, pace)
        expire(batch, epoch.snapshot, epoch.oldest + 1, min(frozen.oldest, epoch.floor), pace)
        # What is stored of states that a rewind took out of the chain; new ones may have the same positions.
        expire(batch, epoch.snapshot, flat.floor + 1, epoch.floor, pace)
        puts, deletes = frozen.positions.changes(self._stored_positions)
        return batch.puts | puts, batch.deletes + deletes

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
        floor = frozen.positions.of(number)
        self._epoch = Epoch(self._kv.snapshot(), floor, frozen.oldest, layers, epoch.codes, accounts, slots)
        self._stored_positions, self._checkpointed = frozen.positions, number
        self._frozen = None
        held: list[object] = list(frozen.flat.accounts.values())
        for changed in pace(frozen.flat.slots.values()):
            held += changed.values()
        return held
