"""`Client`: deploy, call, send, receipts, logs and event streams, over a unix socket or QUIC.

A client is a connection; `connect` makes one from what a node on this machine writes down about itself, or from
``url``, ``token`` and ``certificate``::

    async with zvmd.connect() as client:
        token = await client.deploy(bytecode, types=("string", "uint256"), values=["Coin", 10**6], key=secret)
        (balance,) = await client.call(token.address, "balanceOf(address)(uint256)", [holder])
        async for event in client.events("logs", addresses=[token.address], cursor=last_seen):
            last_seen = event.cursor

Requests are answered by id, so many may wait at once. Receipts, logs, heads and pending transactions are the binary
messages of `zvmd.frames`; what comes as JSON are the results of `zvmd.results`. Whatever fails is an error of
`zvmd.errors`. `zvmd.SyncClient` has the same methods for programs without an event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from zvmd.abi import AddressLike, Signature, address_bytes, encode_values, parse_signature
from zvmd.endpoint import Endpoint, find_endpoint
from zvmd.errors import MethodNotFound, NoAccount, NotFound, Reverted, UnknownBlock, ZvmdError, error_from
from zvmd.exchange import Event, EventQueue, Exchange, shut
from zvmd.frames import (
    BlockName,
    CallContract,
    CallDone,
    CallFailed,
    CallMany,
    CallMethod,
    CallOutcome,
    CallsDone,
    Cursor,
    DeployContract,
    GetLogs,
    GetReceipt,
    HeadEvent,
    LogBody,
    LogEvent,
    LogsFound,
    OneCall,
    ReceiptBody,
    ReceiptFound,
    Result,
    SendTransaction,
    Sent,
    SessionEvent,
    TransactionBody,
    TransactionEvent,
)
from zvmd.opening import open_endpoint
from zvmd.results import Block, Fate, SessionChange, Status, result_of
from zvmd.signing import complete_and_sign

MINED_WITHIN_S = 60.0
CALL_BYTES = 100
"""More than a call of `CallMany` takes besides its data."""
HASH_DIGITS = 66
"""Characters of a hash in 0x-hex."""


@dataclass(frozen=True, slots=True)
class ContractCall:
    """One call for `Client.call_many`; fields as in `Client.call`."""

    to: AddressLike
    signature: str
    values: Sequence[Any] = ()
    sender: AddressLike | None = None
    value: int = 0
    gas: int | None = None


@dataclass(frozen=True, slots=True)
class Deployed:
    """A contract that was created."""

    address: bytes
    """20 bytes."""
    hash: bytes
    """Hash of the transaction."""
    block_number: int
    """The block that has it."""


class Client:
    """A connection to a node. Use `connect`; not thread safe."""

    def __init__(self, connection: Exchange) -> None:
        self._connection = connection

    @property
    def chain_id(self) -> int:
        """Chain id of the node."""
        return self._connection.welcome.chain_id

    @property
    def server(self) -> str:
        """Name and version of the node."""
        return self._connection.welcome.server

    async def close(self) -> None:
        """End the connection."""
        await shut(self._connection)

    async def rpc(self, method: str, *params: Any) -> Any:
        """Result of any JSON-RPC method, as JSON has it; the method ``rpc_methods`` lists all. Raises `ZvmdError`."""
        connection = self._connection
        request_id = connection.next_id()
        message = CallMethod(request_id, method, list(params))
        return (await connection.request(message, request_id, Result)).value

    async def status(self) -> Status:
        """How the node is doing: its head, the positions of its log, the pool, whether it seals blocks by itself."""
        return result_of(Status, await self.rpc("zvmd_status"))

    async def block(self, name: int | str = "latest") -> Block:
        """A block by its number, tag or 0x-hash. Raises `UnknownBlock` if the node does not have it."""
        is_hash = isinstance(name, str) and len(name) == HASH_DIGITS
        method = "eth_getBlockByHash" if is_hash else "eth_getBlockByNumber"
        found = await self.rpc(method, hex(name) if isinstance(name, int) else name, False)
        if found is None:
            raise UnknownBlock(f"there is no block {name}", hint="ask for the block latest")
        return result_of(Block, found)

    async def fate(self, transaction_hash: bytes | str) -> Fate:
        """What became of a transaction, also of one that was dropped or replaced."""
        known = hex_of(transaction_hash) if isinstance(transaction_hash, bytes) else transaction_hash
        return result_of(Fate, await self.rpc("zvmd_transactionFate", known))

    async def call_raw(
        self,
        to: AddressLike,
        data: bytes,
        *,
        sender: AddressLike | None = None,
        value: int = 0,
        gas: int | None = None,
        block: BlockName = None,
    ) -> bytes:
        """Output of a call that changes nothing, at a block (None: the newest); ``value`` in wei. Raises `Reverted`."""
        connection = self._connection
        request_id = connection.next_id()
        caller = None if sender is None else address_bytes(sender)
        amount = amount_bytes(value)
        message = CallContract(request_id, address_bytes(to), data, caller, amount, gas, block)
        return (await connection.request(message, request_id, CallOutcome)).output

    async def call(
        self,
        to: AddressLike,
        signature: str,
        values: Sequence[Any] = (),
        *,
        sender: AddressLike | None = None,
        value: int = 0,
        gas: int | None = None,
        block: BlockName = None,
    ) -> tuple[Any, ...]:
        """Decoded return values of ``signature`` such as ``balanceOf(address)(uint256)``.

        Raises `Reverted`, and `InvalidInput` for values that do not fit the signature. See also `call_raw`.
        """
        parsed = parse_signature(signature)
        data = parsed.encode(list(values))
        return parsed.decode(await self.call_raw(to, data, sender=sender, value=value, gas=gas, block=block))

    async def call_many(
        self, calls: Sequence[ContractCall], *, block: BlockName = None
    ) -> list[tuple[Any, ...] | ZvmdError]:
        """Decoded return values of each call, or the error that it alone had, in order; all see the same block.

        ``block`` as in `call`; None is the newest when the first of them runs. Raises what concerns all of them, such
        as `UnknownBlock`, `MethodNotFound` from a node that is too old, and `InvalidInput`.
        """
        parsed = [parse_signature(call.signature) for call in calls]
        raw = [
            OneCall(
                address_bytes(call.to),
                signature.encode(list(call.values)),
                None if call.sender is None else address_bytes(call.sender),
                amount_bytes(call.value),
                call.gas,
            )
            for call, signature in zip(calls, parsed, strict=True)
        ]
        outputs = await self.call_many_raw(raw, block=block)
        return [
            output if isinstance(output, ZvmdError) else decoded(signature, output)
            for output, signature in zip(outputs, parsed, strict=True)
        ]

    async def call_many_raw(self, calls: Sequence[OneCall], *, block: BlockName = None) -> list[bytes | ZvmdError]:
        """Output of each of the calls, as `call_many` without signatures.

        They go in as few messages as the node allows; those behind the first name the block that the first one saw.
        """
        connection = self._connection
        most = connection.welcome.calls_max
        if not most:
            raise MethodNotFound("the node is older than CallMany", hint="update it, or make the calls one by one")
        bytes_max = connection.welcome.request_frame_max_bytes // 2
        parts = [list(calls[first:end]) for first, end in frames_of(calls, most, bytes_max)]
        if not parts:
            return []
        answers = [await self._call_frame(parts[0], block)]
        seen = block if block == "pending" else answers[0].block_number
        answers += await asyncio.gather(*(self._call_frame(part, seen) for part in parts[1:]))
        return [output_of(outcome) for answer in answers for outcome in answer.outcomes]

    async def _call_frame(self, calls: list[OneCall], block: BlockName) -> CallsDone:
        request_id = self._connection.next_id()
        return await self._connection.request(CallMany(request_id, calls, block), request_id, CallsDone)

    async def send_raw(self, raw: bytes, *, mined: bool = False) -> Sent:
        """Send a signed transaction; returns when it is durable, or with ``mined`` when it is in a block.

        Raises `InvalidTransaction`, such as `NonceTooLow` or `InsufficientFunds`, if the node refuses it.
        """
        connection = self._connection
        request_id = connection.next_id()
        return await connection.request(SendTransaction(request_id, raw, mined), request_id, Sent)

    async def send(
        self,
        to: AddressLike | None,
        data: bytes = b"",
        *,
        value: int = 0,
        key: bytes | str | None = None,
        sender: AddressLike | None = None,
        gas: int | None = None,
        mined: bool = True,
    ) -> Sent:
        """Send a transaction signed here with ``key``, or by the node for its dev account ``sender``; ``value`` in wei.

        Nonce, fees and, without ``gas``, the gas limit are asked from the node. Raises `InvalidTransaction` as
        `send_raw` does, `Reverted` if the gas cannot be estimated since it reverts, and `NoAccount`.
        """
        target = None if to is None else address_bytes(to)
        if key is not None:
            raw = await complete_and_sign(self, key, target, data, value, gas)
            return await self.send_raw(raw, mined=mined)
        caller = await self._dev_account(sender)
        fields: dict[str, Any] = {"from": hex_of(caller), "data": hex_of(data), "value": hex(value)}
        if target is not None:
            fields["to"] = hex_of(target)
        if gas is not None:
            fields["gas"] = hex(gas)
        digest = bytes.fromhex((await self.rpc("eth_sendTransaction", fields))[2:])
        receipt = await self.receipt(digest, wait=MINED_WITHIN_S if mined else 0.0)
        return Sent(0, digest, 0, receipt.block_number if receipt else None)

    async def deploy(
        self,
        code: bytes,
        *,
        types: Sequence[str] = (),
        values: Sequence[Any] = (),
        value: int = 0,
        key: bytes | str | None = None,
        sender: AddressLike | None = None,
        gas: int | None = None,
    ) -> Deployed:
        """Create a contract with constructor arguments; returns when it is in a block. Raises `Reverted`."""
        initcode = code + encode_values(tuple(types), list(values))
        if key is not None:
            raw = await complete_and_sign(self, key, None, initcode, value, gas)
            sent = await self.send_raw(raw, mined=True)
        else:
            caller = await self._dev_account(sender)
            connection = self._connection
            request_id = connection.next_id()
            message = DeployContract(request_id, initcode, caller, amount_bytes(value), gas)
            sent = await connection.request(message, request_id, Sent)
        receipt = await self.need_receipt(sent.hash)
        if receipt.status == 0 or receipt.contract is None:
            hint = "replay it with eth_call at the block before to see the reason"
            raise Reverted(
                f"the creation in {hex_of(sent.hash)} failed", hint=hint, rpc_code=3
            )
        return Deployed(receipt.contract, sent.hash, receipt.block_number)

    async def receipt(self, transaction_hash: bytes, *, wait: float = 0.0) -> ReceiptBody | None:
        """The receipt, None if the transaction is not mined within ``wait`` seconds."""
        connection = self._connection
        request_id = connection.next_id()
        message = GetReceipt(request_id, transaction_hash, int(wait * 1000))
        return (await connection.request(message, request_id, ReceiptFound)).receipt

    async def need_receipt(self, transaction_hash: bytes, *, wait: float = MINED_WITHIN_S) -> ReceiptBody:
        """Like `receipt`; raises `NotFound`."""
        found = await self.receipt(transaction_hash, wait=wait)
        if found is None:
            hint = "it may be mined later; ask again"
            raise NotFound(f"{hex_of(transaction_hash)} is not mined", hint=hint)
        return found

    async def console_log(self, transaction_hash: bytes) -> list[str]:
        """The lines that a mined transaction printed with console.log; the node runs it again."""
        return list(await self.rpc("zvmd_consoleLog", hex_of(transaction_hash)))

    async def logs(
        self,
        *,
        from_block: BlockName = 0,
        to_block: BlockName = None,
        addresses: Sequence[AddressLike] = (),
        topics: Sequence[Sequence[bytes]] = (),
        limit: int | None = None,
    ) -> list[LogBody]:
        """Logs of a range of blocks, as many pages as it takes, at most ``limit``."""
        found: list[LogBody] = []
        cursor: Cursor | None = None
        connection = self._connection
        while limit is None or len(found) < limit:
            request_id = connection.next_id()
            page = 10_000 if limit is None else min(limit - len(found), 10_000)
            message = GetLogs(
                request_id,
                from_block if cursor is None else cursor[0],
                to_block,
                [address_bytes(item) for item in addresses],
                [list(choices) for choices in topics],
                cursor,
                page,
            )
            answer = await connection.request(message, request_id, LogsFound)
            found += answer.logs
            cursor = answer.cursor
            if cursor is None:
                break
        return found

    async def events(
        self,
        kind: str = "logs",
        *,
        addresses: Sequence[AddressLike] = (),
        topics: Sequence[Sequence[bytes]] = (),
        cursor: Cursor | None = None,
    ) -> AsyncIterator[Event]:
        """New heads or logs, without end; ``kind`` is ``heads`` or ``logs``.

        The ``cursor`` of the last event seen resumes behind it, also over a new connection. Raises `SlowConsumer` when
        events are not taken as fast as they come, and `ConnectionFailed`.
        """
        connection = self._connection
        wanted = [address_bytes(item) for item in addresses]
        queue = await connection.subscribe(kind, wanted, [list(choices) for choices in topics], cursor)
        stream = connection.events(queue)
        try:
            async for event in stream:
                assert isinstance(event, HeadEvent | LogEvent), "of another subscription"
                yield event
        finally:
            connection.unsubscribe(queue)

    async def pending_transactions(self) -> AsyncIterator[TransactionBody]:
        """Transactions as they come into the pool from now on, each durable and before the block it goes into is shown.

        ``async for transaction in await client.pending_transactions()``. What is missed while the connection is away is
        not repeated.
        """
        return self._transactions(await self._connection.subscribe("transactions", [], [], None))

    async def _transactions(self, queue: EventQueue) -> AsyncIterator[TransactionBody]:
        try:
            async for event in self._connection.events(queue):
                assert isinstance(event, TransactionEvent), "of another subscription"
                yield event.transaction
        finally:
            self._connection.unsubscribe(queue)

    async def watch(self, session: int | str, cursor: int | None = None) -> AsyncIterator[SessionChange]:
        """What is done to a debug session from now on, live: its number or a share token names it.

        ``async for change in await client.watch(token)``. The ``cursor`` of the last change seen resumes behind it. The
        stream raises `InvalidShare` or `ShareExpired` when the access ends, `SessionNotFound` when the session was
        closed, and `SlowWatcher` when more was missed than the node keeps.
        """
        resume = None if cursor is None else (cursor, 0)
        queue = await self._connection.subscribe("session", [], [], resume, session)
        return self._session_events(queue)

    async def _session_events(self, queue: EventQueue) -> AsyncIterator[SessionChange]:
        try:
            async for event in self._connection.events(queue):
                assert isinstance(event, SessionEvent)
                yield result_of(SessionChange, event.event)
        finally:
            self._connection.unsubscribe(queue)

    async def _dev_account(self, sender: AddressLike | None) -> bytes:
        if sender is not None:
            return address_bytes(sender)
        accounts = await self.rpc("eth_accounts")
        if not accounts:
            hint = "give key=..., or start the node with --dev"
            raise NoAccount("the node holds no keys", hint=hint)
        return address_bytes(accounts[0])


class Connecting:
    """What `connect` returns: await it, or use it with ``async with``."""

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._client: Client | None = None

    async def _open(self) -> Client:
        self._client = Client(await open_endpoint(self._endpoint, "zvmd-python", self._timeout_s))
        return self._client

    def __await__(self) -> Generator[Any, None, Client]:
        return self._open().__await__()

    async def __aenter__(self) -> Client:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.close()
            await asyncio.sleep(0)


def connect(
    url: str | None = None,
    *,
    token: str | None = None,
    certificate: str | Path | None = None,
    data_dir: str | Path | None = None,
    timeout: float = 10.0,
) -> Connecting:
    """Connect to a node; see `zvmd.endpoint` for what is found by itself. Raises `ConnectionFailed`."""
    return Connecting(find_endpoint(url, token, certificate, data_dir), timeout)


def decoded(signature: Signature, output: bytes) -> tuple[Any, ...] | ZvmdError:
    """The values of an output, or why it has none of that signature."""
    try:
        return signature.decode(output)
    except ZvmdError as error:
        return error


def output_of(outcome: CallDone | CallFailed) -> bytes | ZvmdError:
    """A call's output or error."""
    if isinstance(outcome, CallDone):
        return outcome.output
    return error_from(outcome.code, outcome.rpc_code, outcome.message, outcome.hint, outcome.data)


def frames_of(calls: Sequence[OneCall], calls_max: int, bytes_max: int) -> Iterator[tuple[int, int]]:
    """Which calls go into which message: the first, and the one behind the last."""
    first = size = 0
    for number, call in enumerate(calls):
        takes = len(call.data) + CALL_BYTES
        if number > first and (number - first == calls_max or size + takes > bytes_max):
            yield first, number
            first, size = number, 0
        size += takes
    if first < len(calls):
        yield first, len(calls)


def amount_bytes(value: int) -> bytes:
    """An amount for the wire."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def hex_of(data: bytes) -> str:
    """0x-hex."""
    return "0x" + data.hex()
