"""The words of the wire: every message of protocol ``zvmd/1`` and how messages become frames.

A frame is a 4-byte big-endian length and that many bytes of MessagePack: an array whose first item is the
message's tag. Daemon and SDK share this file, so there is one definition. Amounts above 64 bits travel as
big-endian bytes. The client speaks first, on stream 0, with `Hello`; other streams may be used once `Welcome`
has arrived.

>>> frame = encode_frame(Hello(PROTOCOL_VERSION, b"secret", "doctest"))
>>> FrameBuffer(1024).feed(frame) == [frame[4:]]
True
>>> decode_request(frame[4:]).client
'doctest'
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

ALPN = "zvmd/1"
PROTOCOL_VERSION = 1
LENGTH_BYTES = 4
REQUEST_FRAME_MAX_BYTES = 2 * 1024 * 1024
ANSWER_FRAME_MAX_BYTES = 32 * 1024 * 1024

Natural = Annotated[int, msgspec.Meta(ge=0)]
"""An unsigned integer of at most 64 bits."""
BlockName = Natural | str | None
"""Number, tag or 0x-hash, or None for the newest."""
Cursor = tuple[Natural, Natural]
"""(block number, log index): the position of the last event seen."""


class Frame(msgspec.Struct, array_like=True, tag=True, gc=False):
    """Any message."""


# -- client to daemon ------------------------------------------------------------------------------


class Hello(Frame, tag=0):
    """First message of a connection."""

    version: int
    token: bytes
    client: str = ""


class CallMethod(Frame, tag=1):
    """Any JSON-RPC method by its name; answered by `Result`."""

    id: Natural
    method: str
    params: Any = msgspec.field(default_factory=list)


class CallContract(Frame, tag=2):
    """``eth_call`` with raw bytes; answered by `CallOutcome`."""

    id: Natural
    to: bytes | None
    data: bytes = b""
    sender: bytes | None = None
    value: bytes = b""
    gas: Natural | None = None
    block: BlockName = None


class SendTransaction(Frame, tag=3):
    """A signed transaction; answered by `Sent`."""

    id: Natural
    raw: bytes
    mined: bool = False
    """Wait until it is in a block, not only durable."""


class GetReceipt(Frame, tag=4):
    """Answered by `ReceiptFound`; waits up to ``wait_ms`` for the transaction to be mined."""

    id: Natural
    hash: bytes
    wait_ms: Natural = 0


class GetLogs(Frame, tag=5):
    """Answered by `LogsFound`, at most ``limit`` logs and a cursor to go on from."""

    id: Natural
    from_block: BlockName = 0
    to_block: BlockName = None
    addresses: list[bytes] = msgspec.field(default_factory=list)
    topics: list[list[bytes]] = msgspec.field(default_factory=list)
    after: Cursor | None = None
    limit: Natural = 10_000


class DeployContract(Frame, tag=6):
    """Creation from an account the node holds the key of; answered by `Sent` with the contract's address."""

    id: Natural
    code: bytes
    sender: bytes
    value: bytes = b""
    gas: Natural | None = None


class Subscribe(Frame, tag=7):
    """Start an event stream; answered by `Subscribed`, then `Event` messages. ``kind`` is ``heads``, ``logs``,
    ``transactions`` or ``session``.
    """

    id: Natural
    kind: str
    addresses: list[bytes] = msgspec.field(default_factory=list)
    topics: list[list[bytes]] = msgspec.field(default_factory=list)
    cursor: Cursor | None = None
    """Resume behind this position; None starts with the next block."""
    session: Natural | str | None = None
    """For kind ``session``: number or share token; the cursor is then [cursor of the last event, 0]."""


class Unsubscribe(Frame, tag=8):
    """End an event stream; answered by `Result` (whether it existed)."""

    id: Natural
    subscription: Natural


class OneCall(msgspec.Struct, array_like=True, gc=False):
    """One of the calls of `CallMany`; fields as in `CallContract`."""

    to: bytes | None
    data: bytes = b""
    sender: bytes | None = None
    value: bytes = b""
    gas: Natural | None = None


class CallMany(Frame, tag=9):
    """Calls that all see the same block; answered by `CallsDone`. At most `Welcome.calls_max` of them."""

    id: Natural
    calls: list[OneCall]
    block: BlockName = None


# -- daemon to client ------------------------------------------------------------------------------


class Welcome(Frame, tag=64):
    """Answer to `Hello`."""

    version: int
    chain_id: int
    server: str
    request_frame_max_bytes: int
    in_flight_max: int
    calls_max: int = 0
    """Most calls of a `CallMany`; 0: the node is older than that message."""


class Result(Frame, tag=65):
    """Result of `CallMethod`, in JSON-RPC's own forms."""

    id: int
    value: Any = None


class Failure(Frame, tag=66):
    """Any request may fail; id 0 means the connection or a frame that could not be read."""

    id: int
    code: str
    rpc_code: int
    message: str
    hint: str = ""
    data: Any = None
    """Raw revert data for code ``evm.revert``."""


class CallOutcome(Frame, tag=67):
    """A call that succeeded."""

    id: int
    output: bytes
    gas_used: int


class CallDone(msgspec.Struct, array_like=True, tag=0, gc=False):
    """A call of `CallMany` that succeeded."""

    output: bytes
    gas_used: int


class CallFailed(msgspec.Struct, array_like=True, tag=1, gc=False):
    """A call of `CallMany` that failed; fields as in `Failure`."""

    code: str
    rpc_code: int
    message: str
    hint: str = ""
    data: Any = None


class CallsDone(Frame, tag=77):
    """What became of each call of a `CallMany`, in its order."""

    id: int
    block_number: int
    """The block that all the calls saw."""
    outcomes: list[CallDone | CallFailed]


class Sent(Frame, tag=68):
    """A transaction that cannot be lost any more."""

    id: int
    hash: bytes
    lsn: int
    block_number: int | None = None
    contract: bytes | None = None


class LogBody(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A log and its place in the chain: addresses of 20 bytes, topics and hashes of 32."""

    address: bytes
    topics: list[bytes]
    data: bytes
    block_number: int
    block_hash: bytes
    block_timestamp: int
    transaction_hash: bytes
    transaction_index: int
    log_index: int


class ReceiptBody(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a transaction did. Hashes have 32 bytes, addresses 20; prices are big-endian bytes."""

    hash: bytes
    status: int | None
    block_number: int
    block_hash: bytes
    index: int
    sender: bytes
    to: bytes | None
    contract: bytes | None
    gas_used: int
    cumulative_gas_used: int
    effective_gas_price: bytes
    type: int
    """EIP-2718: 0 legacy, 1 access list, 2 dynamic fee, 3 blobs, 4 set code."""
    logs: list[LogBody]

    @property
    def effective_gas_price_wei(self) -> int:
        """What a unit of gas cost."""
        return int.from_bytes(self.effective_gas_price, "big")


class HeadBody(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A new block."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    gas_used: int
    gas_limit: int
    base_fee: bytes
    state_root: bytes
    transactions: int
    """How many."""

    @property
    def base_fee_wei(self) -> int:
        """Price of a unit of gas without a tip (EIP-1559)."""
        return int.from_bytes(self.base_fee, "big")


class ReceiptFound(Frame, tag=69):
    """None if the transaction is not mined."""

    id: int
    receipt: ReceiptBody | None


class LogsFound(Frame, tag=70):
    """``cursor`` is set when there are more."""

    id: int
    logs: list[LogBody]
    cursor: Cursor | None = None


class Subscribed(Frame, tag=71):
    """The stream's number; its events follow on the same QUIC stream."""

    id: int
    subscription: int


class HeadEvent(Frame, tag=72):
    """A block, with the cursor to resume behind it."""

    subscription: int
    cursor: Cursor
    head: HeadBody


class LogEvent(Frame, tag=73):
    """A log, with the cursor to resume behind it."""

    subscription: int
    cursor: Cursor
    log: LogBody


class TransactionBody(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A transaction that waits for a block."""

    hash: bytes
    sender: bytes
    nonce: int
    to: bytes | None
    value: bytes
    gas: int
    raw: bytes
    """As it was signed: network form, without blobs."""

    @property
    def value_wei(self) -> int:
        """What it transfers."""
        return int.from_bytes(self.value, "big")


class TransactionEvent(Frame, tag=76):
    """A transaction that came into the pool. There is no cursor: what was missed is not repeated."""

    subscription: int
    transaction: TransactionBody


class SubscriptionEnded(Frame, tag=74):
    """No more events: the reason as in `Failure`."""

    subscription: int
    code: str
    message: str


class SessionEvent(Frame, tag=75):
    """A change of a debug session, in JSON-RPC's own forms, with the cursor to resume behind it."""

    subscription: int
    cursor: Cursor
    event: dict[str, Any]


Request = (
    Hello
    | CallMethod
    | CallContract
    | SendTransaction
    | GetReceipt
    | GetLogs
    | DeployContract
    | Subscribe
    | Unsubscribe
    | CallMany
)
Answer = (
    Welcome
    | Result
    | Failure
    | CallOutcome
    | Sent
    | ReceiptFound
    | LogsFound
    | Subscribed
    | HeadEvent
    | LogEvent
    | SubscriptionEnded
    | SessionEvent
    | TransactionEvent
    | CallsDone
)



def _plain(value: object) -> object:
    """Bytes and numbers of other classes, as libraries that sign and the SDK's own results have them."""
    for kind in (bytes, int):
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def encode_frame(message: Frame) -> bytes:
    """Length and body of a message."""
    body = _encoder.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def encode_outcome(outcome: CallDone | CallFailed) -> bytes:
    """An outcome for `encode_calls_done`."""
    return _encoder.encode(outcome)


def encode_calls_done(request_id: int, block_number: int, outcomes: Sequence[bytes]) -> bytes:
    """The frame of a `CallsDone` whose outcomes are encoded already."""
    fields = (CallsDone.__struct_config__.tag, request_id, block_number, [msgspec.Raw(part) for part in outcomes])
    body = _encoder.encode(fields)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def decode_request(body: bytes) -> Request:
    """A message to the daemon. Raises `msgspec.DecodeError` (`ValidationError` for a wrong shape)."""
    return _requests.decode(body)


def decode_answer(body: bytes) -> Answer:
    """A message to the client. Raises `msgspec.DecodeError`."""
    return _answers.decode(body)


class FrameBuffer:
    """Cuts a byte stream into frames."""

    def __init__(self, frame_max_bytes: int) -> None:
        self._frame_max_bytes = frame_max_bytes
        self._buffer = bytearray()
        self.oversized_bytes = 0
        """Length of a frame above the limit, once one was announced: the stream cannot be read on."""

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Bodies of the frames completed by ``data``; nothing any more once a frame was oversized."""
        buffer = self._buffer
        buffer += data
        frames, start, end = [], 0, len(buffer)
        while end - start >= LENGTH_BYTES and not self.oversized_bytes:
            body = start + LENGTH_BYTES
            length = int.from_bytes(buffer[start:body], "big")
            if length > self._frame_max_bytes:
                self.oversized_bytes = length
                break
            if end - body < length:
                break
            frames.append(bytes(buffer[body : body + length]))
            start = body + length
        del buffer[: end if self.oversized_bytes else start]
        return frames
