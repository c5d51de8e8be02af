"""Blocks and receipts by number: a tail in memory after the last checkpoint, the rest in the key-value store.

The writer thread adds; one thread at a time writes checkpoints; anyone reads. Readers look at the tail
first and at the store then: a block leaves the tail only after it is in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Generic, TypeVar

from chain import rlp
from chain.blocks import Block, Header, decode_block, decode_header, encode_block, encode_header, transactions_root
from chain.errors import InvalidRlp, InvalidTransaction
from chain.lru import Lru
from chain.receipts import Receipt, receipts_root
from chain.transactions import sender_of
from chain.types import Address, Hash32
from storage.blocks.receipts import decode_receipts, encode_receipts
from storage.errors import StateStoreCorrupt
from storage.io.cooperative import Pace, at_once
from storage.io.kv import KeyValueStore
from storage.state.keys import BODY, HEADER, META_BLOCK, NUMBER, RECEIPTS, block_key

HEADERS_CACHED = 2_048
TRANSACTIONS_CACHED = 8_192
"""In decoded blocks, each counted as one more; one takes about 1.5 KiB."""
RECEIPTS_CACHED = 8_192

Outcome = tuple[tuple[Receipt, ...], tuple[Address, ...]]
"""Receipts of a block and senders of its transactions; no senders if none were given."""

T = TypeVar("T")


class _Recent(Generic[T]):
    """Decoded things by block number, read where they are not in memory, limited by their weight together."""

    def __init__(self, limit: int, read: Callable[[int], T | None], weigh: Callable[[T], int]) -> None:
        self._read = read
        self._items: Lru[int, T] = Lru(limit, weigh)
        self._lock = Lock()
        self._rewinds = 0

    def get(self, number: int) -> T | None:
        """The thing, from memory or read now; None if there is none."""
        item = self._items.get(number)
        if item is not None:
            return item
        rewinds = self._rewinds
        item = self._read(number)
        if item is not None:
            with self._lock:
                if rewinds == self._rewinds:  # else what was read may be gone
                    self._items.put(number, item)
        return item

    @property
    def weight(self) -> int:
        """Total weight of the entries."""
        return self._items.weight

    def forget_after(self, number: int) -> None:
        """Forget everything above a block number."""
        with self._lock:
            self._rewinds += 1
            self._items.drop(lambda later, _: later > number)


class ChainData:
    """The chain's blocks. Numbers are contiguous from genesis (0) to `head`."""

    def __init__(self, kv: KeyValueStore) -> None:
        self._kv = kv
        self._tail: dict[int, tuple[Block, Outcome]] = {}
        self._tail_numbers: dict[Hash32, int] = {}
        self._stored = int.from_bytes(kv.get(META_BLOCK) or b"\xff" * 8, "big", signed=True)
        self._head = self._checkpointed = self._stored
        self._abandoned: set[Hash32] = set()  # stored blocks that a rewind took out of the chain
        self._headers = _Recent(HEADERS_CACHED, self._read_header, lambda _: 1)
        self._blocks = _Recent(TRANSACTIONS_CACHED, self._read_block, lambda block: 1 + len(block.transactions))
        self._outcomes = _Recent(RECEIPTS_CACHED, self._read_outcome, lambda outcome: 1 + len(outcome[0]))

    @property
    def head(self) -> int:
        """Number of the last block added; -1 before genesis."""
        return self._head

    @property
    def checkpointed(self) -> int:
        """Number of the last block in the store; -1 before the first checkpoint."""
        return self._checkpointed

    def cached(self) -> tuple[int, int, int]:
        """Headers, transactions and receipts in memory that are in the store too."""
        return self._headers.weight, self._blocks.weight, self._outcomes.weight

    def add(self, block: Block, receipts: Sequence[Receipt], senders: Sequence[Address] = ()) -> None:
        """Append the next block, in memory. Writer thread only.

        ``senders`` of the transactions are kept too if given: signatures need not be recovered again then,
        and impersonated senders have signed nothing.
        """
        number = block.header.number
        if number != self._head + 1:
            raise ValueError(f"block {number} does not follow block {self._head}")
        if len(receipts) != len(block.transactions):
            raise ValueError(f"{len(receipts)} receipts for {len(block.transactions)} transactions")
        if len(senders) not in (0, len(receipts)):
            raise ValueError(f"{len(senders)} senders for {len(block.transactions)} transactions")
        self._tail[number] = (block, (tuple(receipts), tuple(senders)))
        self._tail_numbers[block.hash] = number
        self._head = number

    def header(self, number: int) -> Header | None:
        """Header of a block; None if there is no such block. Raises `StateStoreCorrupt`."""
        entry = self._tail.get(number)
        return entry[0].header if entry is not None else self._headers.get(number)

    def block(self, number: int) -> Block | None:
        """A block; None if there is no such block. Raises `StateStoreCorrupt`."""
        entry = self._tail.get(number)
        return entry[0] if entry is not None else self._blocks.get(number)

    def receipts(self, number: int) -> tuple[Receipt, ...] | None:
        """Receipts of a block, in order; None if there is no such block. Raises `StateStoreCorrupt`."""
        outcome = self._outcome(number)
        return None if outcome is None else outcome[0]

    def senders(self, number: int) -> tuple[Address, ...] | None:
        """Senders of a block's transactions, in order; None if there is no such block.

        Recovered from the signatures if none were given. Raises `StateStoreCorrupt`.
        """
        outcome = self._outcome(number)
        if outcome is None or len(outcome[1]) == len(outcome[0]):
            return None if outcome is None else outcome[1]
        block = self.block(number)
        return None if block is None else tuple(sender_of(tx) for tx in block.transactions)

    def hash_of(self, number: int) -> Hash32 | None:
        """Hash of a block; None if there is no such block. Raises `StateStoreCorrupt`."""
        header = self.header(number)
        return None if header is None else header.hash

    def number_of(self, block_hash: Hash32) -> int | None:
        """Number of the block with this hash; None if it is not in the chain. Raises `StateStoreCorrupt`."""
        number = self._tail_numbers.get(block_hash)
        if number is not None:
            return number
        record = self._kv.get(NUMBER + block_hash)
        return None if record is None or block_hash in self._abandoned else int.from_bytes(record, "big")

    def rewind(self, number: int) -> None:
        """Make block ``number`` the head again; later blocks leave the chain. Writer thread only.

        No checkpoint may be under way. The store follows with the next checkpoint.
        """
        if not 0 <= number <= self._head:
            raise ValueError(f"block {number} is not between 0 and {self._head}")
        for later in range(number + 1, self._checkpointed + 1):
            block_hash = self.hash_of(later)
            assert block_hash is not None
            self._abandoned.add(block_hash)
        self._head = number
        self._checkpointed = min(self._checkpointed, number)
        for later in [key for key in self._tail if key > number]:
            block, _ = self._tail.pop(later)
            self._tail_numbers.pop(block.hash, None)
        for recent in (self._headers, self._blocks, self._outcomes):
            recent.forget_after(number)

    def checkpoint_batch(self, upto: int, pace: Pace = at_once) -> tuple[dict[bytes, bytes], list[bytes]]:
        """Puts and deletes that store the tail up to block ``upto``. Only for blocks durable in the log."""
        if not self._checkpointed <= upto <= self._head:
            raise ValueError(f"block {upto} is not between {self._checkpointed} and {self._head}")
        puts: dict[bytes, bytes] = {}
        for number in pace(range(self._checkpointed + 1, upto + 1)):
            block, outcome = self._tail[number]
            puts[block_key(HEADER, number)] = encode_header(block.header)
            puts[block_key(BODY, number)] = _encode_body(block)
            puts[block_key(RECEIPTS, number)] = encode_receipts(*outcome)
            puts[NUMBER + block.hash] = number.to_bytes(8, "big")
        if upto >= 0:
            puts[META_BLOCK] = upto.to_bytes(8, "big")
        deletes = [NUMBER + block_hash for block_hash in self._abandoned]
        for number in range(upto + 1, self._stored + 1):
            deletes += [block_key(kind, number) for kind in (HEADER, BODY, RECEIPTS)]
        return puts, deletes

    def checkpoint_done(self, upto: int, pace: Pace = at_once) -> None:
        """The batch is in the store: the tail up to ``upto`` may go."""
        self._abandoned.clear()
        first, self._checkpointed = self._checkpointed + 1, upto
        self._stored = upto
        for number in pace(range(first, upto + 1)):
            block, _ = self._tail.pop(number)
            self._tail_numbers.pop(block.hash, None)

    def _outcome(self, number: int) -> Outcome | None:
        entry = self._tail.get(number)
        return entry[1] if entry is not None else self._outcomes.get(number)

    def _read_header(self, number: int) -> Header | None:
        record = self._record(HEADER, number, "header")
        if record is None:
            return None
        try:
            header = decode_header(record)
        except InvalidRlp as error:
            raise StateStoreCorrupt(f"header of block {number}: {error}") from error
        if header.number != number:
            raise StateStoreCorrupt(f"the header stored for block {number} is that of block {header.number}")
        return header

    def _read_block(self, number: int) -> Block | None:
        header = self._headers.get(number)
        if header is None:
            return None
        record = self._record(BODY, number, "body")
        if record is None:
            return None
        try:
            parts = rlp.split_items(record)
            return decode_block(rlp.encode_list([encode_header(header), *parts]))
        except (InvalidRlp, InvalidTransaction) as error:
            raise StateStoreCorrupt(f"body of block {number}: {error}") from error

    def _read_outcome(self, number: int) -> Outcome | None:
        record = self._record(RECEIPTS, number, "receipts")
        return None if record is None else decode_receipts(record)

    def _record(self, kind: bytes, number: int, what: str) -> bytes | None:
        """A record of a block; None for a block the store does not reach."""
        if not 0 <= number <= self._checkpointed:
            return None
        record = self._kv.get(block_key(kind, number))
        if record is None:
            raise StateStoreCorrupt(f"the {what} of block {number} is missing from the store")
        return record


def wrong_blocks(chain: ChainData, head: int) -> Iterator[str]:
    """What is wrong with the blocks up to ``head``: parent hashes, transaction roots and receipt roots."""
    parent: Hash32 | None = None
    for number in range(head + 1):
        block, receipts = chain.block(number), chain.receipts(number)
        if block is None or receipts is None:
            yield f"block {number} is missing"
            parent = None
            continue
        header = block.header
        if parent is not None and header.parent_hash != parent:
            yield f"block {number} does not follow block {number - 1}"
        if transactions_root(block.transactions) != header.transactions_root:
            yield f"block {number}: its transactions have another root"
        if receipts_root(receipts) != header.receipts_root:
            yield f"block {number}: its receipts have another root"
        parent = header.hash


def _encode_body(block: Block) -> bytes:
    """RLP of a block's parts behind its header."""
    return rlp.encode_list(rlp.split_items(encode_block(block))[1:])
