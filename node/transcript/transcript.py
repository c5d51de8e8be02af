"""The transcript: follows the chain on a thread of its own and prints its transactions, failed calls and console.log.

Nothing waits for it. The writer and the readers leave what a receipt does not hold (revert data, calls of console.log)
in bounded memory; the thread reads published blocks, so what it prints is durable.
"""

from __future__ import annotations

import datetime
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import structlog

from chain.console_log import shown
from chain.errors import ZvmdError
from chain.lru import Lru
from chain.transactions import Transaction
from chain.types import Address, Hash32
from node.transcript.abis import Abis
from node.transcript.entries import Entry, Form, written
from storage.errors import StateUnavailable
from vm.console import ConsoleCalls
from vm.transaction import TransactionResult

if TYPE_CHECKING:
    from chain.receipts import Receipt
    from chain.state import StateReader
    from node.api.chain import ChainReader
    from node.api.types import CallFields, CallResult

log = structlog.get_logger(__name__)

NOTES_MAX_BYTES: Final = 16 * 2**20
"""Revert data and console calls of blocks that are not printed yet; the oldest are dropped."""
TASKS_MAX: Final = 1_000
"""Failed calls and refusals that wait to be printed; further ones are dropped and counted."""
GATHER_SECONDS: Final = 0.05
"""New blocks are printed after so long, with those that come meanwhile: a thread that woke for each of them would
compete with the answers of their transactions for the interpreter."""
LINES_AT_ONCE: Final = 64
"""Lines are put together, so that they are written by one call."""
STOP_SECONDS: Final = 2.0
"""What is left to print when the node stops may take so long."""
BEHIND_MAX: Final = 4_096
"""Blocks further behind the head than this are passed over."""
REVERT_MAX_BYTES: Final = 4_096
"""Revert data kept of one transaction."""


_ResultT = TypeVar("_ResultT", bound="CallResult | int")


class Note(NamedTuple):
    """What the receipt of a transaction does not say."""

    halt: str
    """Empty after a success or a revert."""
    output: bytes
    console: ConsoleCalls

    @property
    def size(self) -> int:
        """Bytes it takes, roughly."""
        return 200 + len(self.output) + sum(map(len, self.console.calls))


@dataclass(slots=True)
class _Look:
    """A task: print the blocks up to one."""

    print_blocks: Callable[[int], None]
    head: int

    def __call__(self) -> None:
        self.print_blocks(self.head)


class Transcript:
    """Prints while it is enabled. Any thread may call `watch`, `hear`, `telling_refusal`, `wake` and `switch`."""

    def __init__(
        self,
        put: Callable[[str], None],
        form: Form,
        abis: Abis,
        now: Callable[[], float],
        *,
        enabled: bool,
        switchable: bool = False,
    ) -> None:
        """``put`` takes whole lines and may not block; ``now`` is the time for JSON lines, seconds since 1970."""
        self.switchable = switchable
        """Whether callers may switch it."""
        self._put = put
        self._form: Form = form
        self.abis = abis
        self._now = now
        self.enabled = enabled
        self._chain: ChainReader | None = None
        self._notes: Lru[Hash32, Note] = Lru(NOTES_MAX_BYTES, lambda note: note.size)
        self._tasks: deque[Callable[[], None]] = deque()
        self._dropped = 0
        """Tasks that found no room."""
        self._changed = threading.Condition(threading.Lock())
        self._stopping = False
        self._following = 0
        self._rewinds_seen = 0
        self._thread: threading.Thread | None = None

    # Input from other threads

    def listener(self) -> Callable[[Transaction, TransactionResult, ConsoleCalls], None] | None:
        """What a new block tells of its transactions; None while nothing is printed."""
        return self.hear if self.enabled else None

    def watch(
        self,
        method: str,
        run: Callable[[ConsoleCalls | None], _ResultT],
        fields: CallFields,
        state: StateReader,
    ) -> _ResultT:
        """Run a call, and print it under the name of its RPC method if it fails or uses console.log."""
        if not self.enabled:
            return run(None)
        console = ConsoleCalls()
        try:
            result = run(console)
        except ZvmdError as error:
            self._queue(partial(self._call_entry, method, fields, state, error, ConsoleCalls()))
            raise
        # a successful estimate prints nothing: the transaction that follows it does
        if not isinstance(result, int) and (not result.success or console.calls):
            self._queue(partial(self._call_entry, method, fields, state, result, console))
        return result

    def hear(self, transaction: Transaction, result: TransactionResult, console: ConsoleCalls) -> None:
        """How a transaction of a block ended. Writer thread."""
        outcome = result.outcome
        if outcome.success and not console.calls:
            return
        halt = "" if outcome.success or outcome.halt.is_revert else outcome.halt.name.lower().replace("_", " ")
        note = Note(halt, outcome.output[:REVERT_MAX_BYTES] if not outcome.success else b"", console)
        self._notes.put(transaction.hash, note)

    @contextmanager
    def telling_refusal(self, transaction_hash: Hash32 | None, sender: Address) -> Iterator[None]:
        """Print that the transaction was not taken, if that is what happens. None: it got no nonce and no hash."""
        try:
            yield
        except ZvmdError as error:
            reason = str(error)
            self._queue(
                lambda: {
                    "event": "refused",
                    "hash": _hex(transaction_hash) if transaction_hash is not None else None,
                    "from": _hex(sender),
                    "reason": reason,
                }
            )
            raise

    def wake(self) -> None:
        """There may be a new block."""
        if self.enabled and self._chain is not None:
            self._look(self._chain.head().number)

    def switch(self, enabled: bool) -> None:
        """Print or not, from the next block on."""
        chain = self._chain
        if chain is None or enabled == self.enabled:
            return
        self.enabled = enabled
        head = chain.head().number
        if not enabled:
            self._look(head)
            return
        with self._changed:
            self._tasks.append(partial(self._skip, head, chain.rewinds().count))
            self._changed.notify()

    def _look(self, head: int) -> None:
        """Have the blocks up to one printed: with the last task, if that is to print blocks too."""
        with self._changed:
            last = self._tasks[-1] if self._tasks else None
            if isinstance(last, _Look):
                last.head = head
            else:
                self._tasks.append(_Look(self._print_blocks, head))
                self._changed.notify()

    # Its life

    def start(self, chain: ChainReader) -> None:
        """Begin after the head of now."""
        self._chain = chain
        self._skip(chain.head().number, chain.rewinds().count)
        if self.enabled:
            self._tasks.append(self.abis.look)
        self._thread = threading.Thread(target=self._run, name="transcript", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Print what there is, and end."""
        self.wake()
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._tasks or self._stopping):
                    self._changed.wait()
                if self._tasks and isinstance(self._tasks[0], _Look):
                    self._changed.wait_for(lambda: self._stopping, GATHER_SECONDS)
                if not self._tasks:
                    return
                task = self._tasks.popleft()
                dropped, self._dropped = self._dropped, 0
            if dropped:
                log.warning("failed calls were not printed", count=dropped)
            try:
                task()
            except Exception:  # of a task that cannot be done the log tells; the next ones are
                log.exception("a part of the transcript cannot be printed")

    def _queue(self, entry: Callable[[], Entry]) -> None:
        """Have an entry printed, if there is room."""
        if not self.enabled:
            return
        with self._changed:
            if len(self._tasks) >= TASKS_MAX:
                self._dropped += 1
                return
            self._tasks.append(lambda: self._print(entry()))
            self._changed.notify()

    # Its thread

    def _skip(self, head: int, rewinds: int) -> None:
        """Go on behind a block."""
        self._following, self._rewinds_seen = head + 1, rewinds

    def _print_blocks(self, head: int) -> None:
        """The blocks since the last look, up to one."""
        chain = self._chain
        assert chain is not None
        self._rewinds_seen, lowest = chain.rewinds().since(self._rewinds_seen)
        if lowest is not None:
            self._print({"event": "rewound", "block": lowest})
            self._following = min(self._following, lowest + 1)
        head = min(head, chain.head().number)  # it may be shorter now; a later rewind is handled next time
        if head - self._following > BEHIND_MAX:
            log.warning("blocks were not printed", first=self._following, last=head - BEHIND_MAX - 1)
            self._following = head - BEHIND_MAX
        lines: list[str] = []
        try:
            while self._following <= head:
                self._following += 1
                lines.extend(map(self._written, self._block_entries(self._following - 1)))
                if len(lines) >= LINES_AT_ONCE:
                    self._put("".join(lines))
                    lines.clear()
        finally:
            if lines:
                self._put("".join(lines))

    def _block_entries(self, number: int) -> Iterator[Entry]:
        chain = self._chain
        assert chain is not None
        header = chain.header(number)
        if header is None or not header.gas_used:  # taken back again, or empty
            return
        block, receipts, senders = chain.block(number), chain.receipts(number), chain.senders(number)
        transactions = block.transactions if block is not None else ()
        for transaction, receipt, sender in zip(transactions, receipts or (), senders or (), strict=False):
            note = self._notes.pop(transaction.hash)
            yield self._transaction_entry(number, transaction, receipt, sender, note)

    def _print(self, entry: Entry) -> None:
        self._put(self._written(entry))

    def _written(self, entry: Entry) -> str:
        if self._form == "json":
            now = datetime.datetime.fromtimestamp(self._now(), datetime.UTC)
            entry = {"timestamp": now.isoformat(timespec="milliseconds"), **entry}
        return written(entry, self._form)

    def _transaction_entry(
        self, number: int, transaction: Transaction, receipt: Receipt, sender: Address, note: Note | None
    ) -> Entry:
        created = receipt.contract_address
        code_hash = self._code_hash(number, created or transaction.to)
        ok = receipt.status != 0
        if transaction.to is None:
            call = f"create {self.abis.name(code_hash) if code_hash else ''}".rstrip()
        else:
            call = self.abis.call(transaction.data, code_hash) or "transfer"
        reason = ""
        if not ok and note is not None:
            reason = note.halt or self.abis.revert(note.output, code_hash)
        return {
            "event": "transaction",
            "block": number,
            "hash": _hex(transaction.hash),
            "from": _hex(sender),
            "to": None if transaction.to is None else _hex(transaction.to),
            "contract": None if created is None else _hex(created),
            "call": call,
            "value": hex(transaction.value),
            "gasUsed": receipt.gas_used,
            "status": "ok" if ok else "failed",
            "reason": reason,
            **_console(note.console if note is not None else ConsoleCalls()),
        }

    def _code_hash(self, number: int, address: Address | None) -> bytes | None:
        assert self._chain is not None
        try:
            return _code_hash(self._chain.view(number), address)
        except StateUnavailable:  # expired, or taken back: names are found by selector then
            return None

    def _call_entry(
        self, method: str, fields: CallFields, state: StateReader, result: CallResult | ZvmdError, console: ConsoleCalls
    ) -> Entry:
        code_hash = _code_hash(state, fields.to)
        if isinstance(result, ZvmdError):
            reason = str(result)
        elif result.success:
            reason = ""
        elif result.reverted:
            reason = self.abis.revert(result.output[:REVERT_MAX_BYTES], code_hash)
        else:
            reason = result.halt.replace("_", " ")
        return {
            "event": "call",
            "method": method,
            "from": _hex(fields.sender or bytes(20)),
            "to": None if fields.to is None else _hex(fields.to),
            "call": "create" if fields.to is None else self.abis.call(fields.data, code_hash) or "no data",
            "status": "failed" if reason else "ok",
            "reason": reason,
            **_console(console),
        }


def _code_hash(state: StateReader, address: Address | None) -> bytes | None:
    account = None if address is None else state.account(address)
    return None if account is None else account.code_hash


def _console(console: ConsoleCalls) -> Entry:
    return {"console": [shown(data) for data in console.calls], "consoleDropped": console.dropped}


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def silent() -> Transcript:
    """A transcript that prints nothing."""
    return Transcript(lambda _: None, "text", Abis(), lambda: 0.0, enabled=False)
