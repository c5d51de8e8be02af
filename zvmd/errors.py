"""Errors of the SDK: one class for each kind of failure that a node reports, all of them a `ZvmdError`.

A node names the kind of a failure with a stable slug such as ``tx.nonce_low``. The SDK raises the class of that slug,
so a program catches what it can deal with and lets the rest pass::

    try:
        client.send(recipient, value=10**18, key=secret)
    except zvmd.NonceTooLow:
        ...  # somebody else used the nonce: sign again
    except zvmd.InvalidTransaction as error:
        print(error.message, error.hint)  # any other reason to refuse a transaction

The classes form the tree that the node's own errors form: to catch `InvalidTransaction`, `SessionError` or
`StorageError` is to catch all that are below it. The slug is in ``error.code``. If this version of the SDK does not
know a slug, since the node is of a later version, it raises a plain `ZvmdError` with that ``code``.

Four failures are found on the client's side and have slugs that begin with ``client.``: `ConnectionFailed`,
`InvalidInput`, `NoAccount` and `SlowConsumer`; `NotFound` says that a transaction is not mined yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zvmd.printable import printable

__all__ = [
    "AbiRefused",
    "AccessListUnsettled",
    "BlobFeeTooLow",
    "BlobsMissing",
    "BlockTooLarge",
    "CallTimeout",
    "CallTooLarge",
    "CheatRefused",
    "CheatsDisabled",
    "CheckpointBroken",
    "ClientGone",
    "ConnectionFailed",
    "DataDirectoryDamaged",
    "DataDirectoryLocked",
    "DataDirectoryUnusable",
    "DataLossRefused",
    "EngineMissing",
    "EngineUnavailable",
    "EntryUnusable",
    "ExecutionFailed",
    "ExecutionFault",
    "ExportDamaged",
    "FeeTooLow",
    "FileGone",
    "FrameTooLarge",
    "GasLimitTooHigh",
    "GuardPagesUnavailable",
    "GuestRefused",
    "HelloAgain",
    "HelloMissing",
    "HelloTooLate",
    "HelloTooLong",
    "HttpConnectionsInUse",
    "HttpContentTypeRefused",
    "HttpHeadersRefused",
    "HttpMalformed",
    "HttpMethodRefused",
    "HttpPathRefused",
    "HttpRefused",
    "HttpRequestTooLate",
    "HttpRequestTooLong",
    "HttpTlsRequired",
    "HttpTokenNeeded",
    "HttpTokenRefused",
    "HttpWebSocketRefused",
    "IndexBehind",
    "IndexDamaged",
    "IndexLocked",
    "IndexUnavailable",
    "InitcodeTooLarge",
    "InsufficientFunds",
    "InternalError",
    "IntrinsicGasTooLow",
    "InvalidAuthorizationList",
    "InvalidBlobs",
    "InvalidBlock",
    "InvalidBlockExecution",
    "InvalidBody",
    "InvalidBreakpoint",
    "InvalidDepositLog",
    "InvalidEdit",
    "InvalidExpression",
    "InvalidGenesis",
    "InvalidHeader",
    "InvalidHex",
    "InvalidInput",
    "InvalidParams",
    "InvalidProgram",
    "InvalidRecord",
    "InvalidRequest",
    "InvalidRlp",
    "InvalidShare",
    "InvalidSignature",
    "InvalidTemplate",
    "InvalidTransaction",
    "InvalidUncles",
    "IpcUserRefused",
    "LimitExceeded",
    "MalformedFrame",
    "MalformedTransaction",
    "MethodNotFound",
    "MigrationRefused",
    "MissingScope",
    "NativeCodeUnavailable",
    "NoAccount",
    "NoPush",
    "NodeBusy",
    "NodeStopping",
    "NonceOverflow",
    "NonceTooHigh",
    "NonceTooLow",
    "NotASessionFile",
    "NotDriving",
    "NotFound",
    "NotPermitted",
    "NotThereYet",
    "NotWaiting",
    "OutOfReach",
    "OwnersOnly",
    "ParseError",
    "PeerFault",
    "PlaceNeeded",
    "PoolFull",
    "PrecompileUnavailable",
    "PriorityFeeAboveMaxFee",
    "PruneRefused",
    "RateExceeded",
    "ReadOnly",
    "RecordTooLarge",
    "RequestTooLarge",
    "Reverted",
    "SenderNotEoa",
    "SessionDiverged",
    "SessionError",
    "SessionFileDamaged",
    "SessionFileMalformed",
    "SessionFileRefused",
    "SessionFileTooLarge",
    "SessionFileTooNew",
    "SessionLimitReached",
    "SessionNotFound",
    "SessionSignatureWrong",
    "SessionStateMismatch",
    "ShareExpired",
    "SlowConsumer",
    "SlowReader",
    "SlowWatcher",
    "SnapshotInvalid",
    "SnapshotLost",
    "StateRootMismatch",
    "StateStoreCorrupt",
    "StateStoreRefused",
    "StateStoreWriteFailed",
    "StateUnavailable",
    "StepOutOfRange",
    "StorageError",
    "StorageFull",
    "StoragePanic",
    "StorageUnreadable",
    "StoreTooNew",
    "SystemCallFailed",
    "SystemContractMissing",
    "TokenRefused",
    "TooManyBytes",
    "TooManyConnections",
    "TooManyMalformed",
    "TooManyRequests",
    "TooManyStreams",
    "TooManySubscriptions",
    "TransactionDropped",
    "TransactionTooLarge",
    "TruncatedFrame",
    "UnderpricedReplacement",
    "UnknownAccount",
    "UnknownBlock",
    "UnknownFilter",
    "UnknownToken",
    "UnknownTransaction",
    "UnknownVersion",
    "UnsupportedTransactionType",
    "Untraceable",
    "WalClosed",
    "WalCorrupt",
    "WalForeign",
    "WalPruned",
    "WalShort",
    "WatchOnly",
    "WireError",
    "WorkerFailed",
    "WriterBusy",
    "WrongChainId",
    "WrongResult",
    "WrongStream",
    "WrongToken",
    "ZvmdError",
]

SERVER_ERROR = -32000
"""JSON-RPC's number for a failure without a number of its own."""


class ZvmdError(Exception):
    """A failure that the node or the connection reports.

    ``code`` is the stable slug, such as ``tx.nonce_low``. ``rpc_code`` is the number in JSON-RPC error objects.
    ``hint`` says what can be done, and is empty if the node sent none. ``data`` is what came with the failure: the
    revert data of `Reverted` in bytes.
    """

    code: str = "zvmd.error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str = "",
        rpc_code: int = SERVER_ERROR,
        data: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = type(self).code if code is None else code
        self.hint = hint
        self.rpc_code = rpc_code
        self.data = data

    def __str__(self) -> str:
        return printable(f"{self.message} [{self.code}]" + (f" ({self.hint})" if self.hint else ""), lines=True)


# The client's side


class ConnectionFailed(ZvmdError):
    """There is no connection, or it ended: a request that was not answered may have been carried out all the same.

    ``code`` says more: ``client.connect``, ``client.unsent`` (nothing was sent), ``client.lost``, ``client.refused``,
    ``client.closed``, ``client.protocol``, ``client.certificate``, ``client.token``, ``client.url``, ``client.http``;
    or the reason that the node gave for ending the connection, as in `WrongToken`.
    """

    code = "client.connect"


class InvalidInput(ZvmdError):
    """A value, signature, address or key given to the SDK is not what it should be; nothing was sent."""

    code = "client.input"


class NoAccount(ZvmdError):
    """The node holds no keys, and no key was given to sign with."""

    code = "client.no_account"


class NotFound(ZvmdError):
    """The transaction was not mined within the time given; it may be later."""

    code = "client.not_mined"


class SlowConsumer(ZvmdError):
    """Events came faster than the program took them; the subscription can be resumed with the last cursor."""

    code = "client.slow"


# Transactions and blocks


class InvalidHex(ZvmdError):
    """Text that should be hex is not, or has the wrong length."""

    code = "input.hex"


class InvalidRlp(ZvmdError):
    """Bytes are not canonical RLP, or not of the expected shape."""

    code = "input.rlp"


class InvalidGenesis(ZvmdError):
    """A genesis description cannot be used."""

    code = "input.genesis"


class InvalidBlock(ZvmdError):
    """A block that no chain may contain on top of its parent."""

    code = "block.invalid"


class BlockTooLarge(InvalidBlock):
    """The encoded block is above the limit of EIP-7934."""

    code = "block.size"


class InvalidHeader(InvalidBlock):
    """A header field does not follow from the parent and the chain's rules."""

    code = "block.header"


class InvalidBody(InvalidBlock):
    """Transactions, withdrawals or uncles are not those whose roots the header names."""

    code = "block.body"


class InvalidUncles(InvalidBlock):
    """An uncle is too many, too old, known already or wrong itself."""

    code = "block.uncles"


class WrongResult(InvalidBlock):
    """Executing the block gives another value than its header says."""

    code = "block.result"


class InvalidTransaction(ZvmdError):
    """The node refused the transaction: no block may contain it at this point. A class for each reason is below."""

    code = "tx.invalid"


class MalformedTransaction(InvalidTransaction):
    """The bytes are not a transaction of a known type."""

    code = "tx.malformed"


class UnsupportedTransactionType(InvalidTransaction):
    """The transaction type does not exist at this fork."""

    code = "tx.type_unsupported"


class InvalidSignature(InvalidTransaction):
    """The signature is out of range, malleable (high s) or recovers no key."""

    code = "tx.signature"


class WrongChainId(InvalidTransaction):
    """The transaction was signed for another chain."""

    code = "tx.chain_id"


class NonceTooLow(InvalidTransaction):
    """The sender has already used this nonce."""

    code = "tx.nonce_low"


class NonceTooHigh(InvalidTransaction):
    """The nonce leaves a gap after the sender's next nonce."""

    code = "tx.nonce_high"


class NonceOverflow(InvalidTransaction):
    """The sender's nonce is at its maximum, 2**64 - 1 (EIP-2681)."""

    code = "tx.nonce_max"


class InsufficientFunds(InvalidTransaction):
    """The sender cannot pay gas limit x fee cap + value."""

    code = "tx.funds"


class GasLimitTooHigh(InvalidTransaction):
    """The gas limit exceeds the block's or the transaction cap (EIP-7825)."""

    code = "tx.gas_limit_high"


class IntrinsicGasTooLow(InvalidTransaction):
    """The gas limit is below the intrinsic gas (Yellow Paper 6.2) or the floor of EIP-7623."""

    code = "tx.gas_intrinsic"


class FeeTooLow(InvalidTransaction):
    """The fee cap is below the block's base fee."""

    code = "tx.fee_low"


class PriorityFeeAboveMaxFee(InvalidTransaction):
    """maxPriorityFeePerGas is above maxFeePerGas (EIP-1559)."""

    code = "tx.fee_order"


class BlobFeeTooLow(InvalidTransaction):
    """maxFeePerBlobGas is below the blob base fee (EIP-4844)."""

    code = "tx.blob_fee_low"


class InvalidBlobs(InvalidTransaction):
    """A blob transaction has no blobs, too many, a wrong version byte, or no recipient (EIP-4844)."""

    code = "tx.blobs"


class BlobsMissing(InvalidTransaction):
    """A blob transaction was sent without its blobs (EIP-4844)."""

    code = "tx.blobs_missing"


class InvalidAuthorizationList(InvalidTransaction):
    """A set-code transaction has an empty or malformed authorization list, or no recipient (EIP-7702)."""

    code = "tx.authorizations"


class SenderNotEoa(InvalidTransaction):
    """The sender has code and is not a delegated account (EIP-3607)."""

    code = "tx.sender_code"


class InitcodeTooLarge(InvalidTransaction):
    """Creation code exceeds 49,152 bytes (EIP-3860)."""

    code = "tx.initcode_size"


class TransactionTooLarge(InvalidTransaction):
    """The transaction is larger than a record of the node's log."""

    code = "tx.size"


class UnderpricedReplacement(InvalidTransaction):
    """Another transaction with this sender and nonce waits, and the new one does not pay 10 % more."""

    code = "tx.replacement"


# Execution


class PrecompileUnavailable(ZvmdError):
    """A precompiled contract's native library is not installed: the transaction cannot be executed."""

    code = "vm.precompile_unavailable"


class EngineUnavailable(ZvmdError):
    """The execution engine asked for does not exist in this build."""

    code = "vm.engine"


class NativeCodeUnavailable(ZvmdError):
    """The interpreter could not be built for this computer."""

    code = "vm.native"


class GuardPagesUnavailable(ZvmdError):
    """The operating system refused to protect pages around a frame."""

    code = "vm.guard_pages"


class SnapshotInvalid(ZvmdError):
    """Bytes are not a frame snapshot of this version."""

    code = "vm.snapshot"


class InvalidBlockExecution(InvalidBlock):
    """A block that no chain may contain, although each of its transactions could be executed."""

    code = "vm.block"


class SystemCallFailed(InvalidBlockExecution):
    """A system contract reverted or ran out of gas."""

    code = "vm.block.system_call"


class SystemContractMissing(InvalidBlockExecution):
    """A request contract of EIP-7002 or EIP-7251 has no code."""

    code = "vm.block.system_contract"


class InvalidDepositLog(InvalidBlockExecution):
    """The deposit contract emitted an event of another layout (EIP-6110)."""

    code = "vm.block.deposit"


# The node


class WriterBusy(ZvmdError):
    """More transactions wait for the writer than the limit allows."""

    code = "node.busy"


class NodeStopping(ZvmdError):
    """The node is shutting down; the transaction was not taken."""

    code = "node.stopping"


class ReadOnly(ZvmdError):
    """The disk is full: reads are answered, changes are refused until there is room."""

    code = "node.read_only"


class PoolFull(ZvmdError):
    """The pending pool, or this sender's part of it, is at its limit."""

    code = "pool.full"


class UnknownAccount(ZvmdError):
    """The node holds no key for this account."""

    code = "node.account_unknown"


class CheatsDisabled(ZvmdError):
    """A development call was sent to a node that does not allow them."""

    code = "cheat.disabled"


class CheatRefused(ZvmdError):
    """A development call asks for something that is not possible."""

    code = "cheat.refused"


class OutOfReach(ZvmdError):
    """The state that a revert asks for has expired."""

    code = "cheat.out_of_reach"


class TransactionDropped(ZvmdError):
    """The transaction waited, and a development call took it out of the pool."""

    code = "cheat.reverted"


class AbiRefused(ZvmdError):
    """An ABI that cannot be read or kept."""

    code = "abi.refused"


class ExecutionFault(InvalidTransaction):
    """A bug in zvmd met while executing; the transaction was refused and nothing was changed."""

    code = "node.execution_fault"


class InvalidParams(ZvmdError):
    """A parameter is missing, superfluous or of the wrong form."""

    code = "rpc.params"


class UnknownBlock(ZvmdError):
    """The block does not exist."""

    code = "rpc.unknown_block"


class LimitExceeded(ZvmdError):
    """An answer would exceed a limit."""

    code = "rpc.limit"


class Reverted(ZvmdError):
    """A call, a gas estimate or a creation ended in REVERT; ``data`` is the revert data in bytes."""

    code = "evm.revert"


class ExecutionFailed(ZvmdError):
    """The call ended in an exceptional halt (out of gas, invalid opcode, ...)."""

    code = "evm.halt"


# JSON-RPC


class ParseError(ZvmdError):
    """The body is not strict JSON: syntax, UTF-8, duplicate keys, NaN, lone surrogates."""

    code = "rpc.parse"


class InvalidRequest(ZvmdError):
    """Valid JSON, but not a JSON-RPC 2.0 request."""

    code = "rpc.request"


class RequestTooLarge(InvalidRequest):
    """A body, batch, nesting or number above its limit."""

    code = "rpc.too_large"


class MethodNotFound(ZvmdError):
    """There is no method of this name."""

    code = "rpc.method"


class NotPermitted(ZvmdError):
    """The method is there, but not for this caller: a page of another origin, or another machine, without the token.

    The code is that of a method that does not exist, as geth answers for a namespace that is not served.
    """

    code = "rpc.not_permitted"


class MissingScope(NotPermitted):
    """The token is valid, but has not the scope that the method needs."""

    code = "rpc.scope"


class InternalError(ZvmdError):
    """A bug in zvmd; the node's log has the traceback."""

    code = "rpc.internal"


class Untraceable(ZvmdError):
    """A trace of the genesis, which no block before it leads to."""

    code = "rpc.untraceable"


class UnknownTransaction(ZvmdError):
    """No block has this transaction."""

    code = "rpc.unknown_tx"


class UnknownFilter(ZvmdError):
    """No filter has this id, or it was not polled for five minutes."""

    code = "rpc.unknown_filter"


class AccessListUnsettled(LimitExceeded):
    """What the code uses changes with what is warm, and no list that fits into a transaction warms all of it."""

    code = "rpc.access_list"


class NodeBusy(ZvmdError):
    """The queue of reads is full."""

    code = "rpc.busy"


class RateExceeded(NodeBusy):
    """More requests a second than the token allows."""

    code = "limit.rate"


class CallTimeout(ZvmdError):
    """The work for one request, or for all calls of a batch, took longer than allowed (geth: ``--rpc.evmtimeout``)."""

    code = "rpc.timeout"


class CallTooLarge(ZvmdError):
    """The work for one request took more memory than allowed."""

    code = "rpc.memory"


class ClientGone(ZvmdError):
    """The connection ended before the answer was ready."""

    code = "rpc.gone"


class NotWaiting(ZvmdError):
    """The transaction is safe in the log, but was not mined in the time given."""

    code = "rpc.wait_timeout"


class NotThereYet(ZvmdError):
    """Reads do not see that log record yet, and did not within the time a read waits."""

    code = "rpc.min_lsn"


# HTTP and WebSocket


class HttpRefused(ZvmdError):
    """The node does not answer this host name or origin over HTTP; the classes below are other reasons."""

    code = "http.refused"


class HttpConnectionsInUse(HttpRefused):
    """All connections that the node serves at once are in use."""

    code = "http.connections"


class HttpContentTypeRefused(HttpRefused):
    """The body is not declared as JSON."""

    code = "http.content_type"


class HttpHeadersRefused(HttpRefused):
    """A header is missing or was sent twice."""

    code = "http.headers"


class HttpMalformed(HttpRefused):
    """The request is not HTTP/1.1, or could be read in two ways."""

    code = "http.malformed"


class HttpMethodRefused(HttpRefused):
    """Requests are sent with POST."""

    code = "http.method"


class HttpPathRefused(HttpRefused):
    """Nothing is served at this path."""

    code = "http.path"


class HttpRequestTooLate(HttpRefused):
    """The request did not arrive completely in time."""

    code = "http.timeout"


class HttpRequestTooLong(HttpRefused):
    """The request line or the headers are too long."""

    code = "http.too_large"


class HttpTokenRefused(HttpRefused):
    """The token of a request is not one of the node's."""

    code = "http.token"


class HttpTokenNeeded(HttpTokenRefused):
    """This node answers only with a token."""

    code = "http.token_needed"


class HttpTlsRequired(HttpRefused):
    """The port speaks TLS, and the request came without it."""

    code = "http.tls"


class HttpWebSocketRefused(HttpRefused):
    """A WebSocket is served here, and the request was no handshake for one."""

    code = "http.websocket"


class IpcUserRefused(ConnectionFailed):
    """A unix socket is for the user that the node runs as, and for root."""

    code = "ipc.user"


class TokenRefused(ZvmdError):
    """A token that cannot be made as asked for."""

    code = "auth.token_refused"


class UnknownToken(ZvmdError):
    """No token has this name or id."""

    code = "auth.unknown_token"


# The QUIC protocol


class WireError(ZvmdError):
    """The client broke a rule of the QUIC protocol. Those that are also `ConnectionFailed` end the connection."""

    code = "wire.error"


class TooManyConnections(WireError, ConnectionFailed):
    """The token has as many open connections as it may have."""

    code = "limit.connections"


class MalformedFrame(WireError):
    """A frame's body is not a message that a client may send."""

    code = "wire.malformed"


class FrameTooLarge(WireError):
    """A frame announces more bytes than allowed."""

    code = "wire.frame_size"


class TruncatedFrame(WireError):
    """A stream ended inside a frame."""

    code = "wire.truncated"


class TooManyRequests(WireError):
    """More unanswered requests than allowed."""

    code = "wire.in_flight"


class TooManyStreams(WireError):
    """More open streams than allowed."""

    code = "wire.streams"


class TooManySubscriptions(WireError):
    """More event streams than allowed on a connection."""

    code = "wire.subscriptions"


class TooManyBytes(WireError, ConnectionFailed):
    """Unfinished frames and unanswered requests hold more bytes than a connection may."""

    code = "wire.bytes"


class TooManyMalformed(WireError, ConnectionFailed):
    """Too many unreadable frames."""

    code = "wire.malformed_often"


class HelloMissing(WireError, ConnectionFailed):
    """Something else than Hello came first, or not on stream 0."""

    code = "wire.hello_missing"


class HelloTooLate(WireError, ConnectionFailed):
    """No Hello within two seconds."""

    code = "wire.hello_late"


class HelloAgain(WireError):
    """Hello was sent a second time."""

    code = "wire.hello_again"


class UnknownVersion(WireError, ConnectionFailed):
    """The client speaks another version of the protocol."""

    code = "wire.version"


class WrongToken(WireError, ConnectionFailed):
    """The token is not the node's."""

    code = "wire.token"


class HelloTooLong(WireError, ConnectionFailed):
    """More datagrams came before Hello than a handshake and a Hello need."""

    code = "wire.hello_datagrams"


class PlaceNeeded(WireError, ConnectionFailed):
    """All places for connections were taken, and this one had not said Hello."""

    code = "wire.place"


class GuestRefused(WireError):
    """A client with a share token asked for something else than its session."""

    code = "wire.guest"


class SlowReader(WireError, ConnectionFailed):
    """The client does not acknowledge what it is sent."""

    code = "wire.slow_reader"


class WrongStream(WireError, ConnectionFailed):
    """Clients use bidirectional streams only."""

    code = "wire.stream_kind"


class PeerFault(WireError, ConnectionFailed):
    """A bug in zvmd met while reading from this peer; the node's log has the traceback."""

    code = "wire.fault"


# Debug sessions


class SessionError(ZvmdError):
    """A session cannot do what was asked; it stays as it was."""

    code = "session.error"


class InvalidProgram(SessionError):
    """The description of what to run is incomplete, contradictory or out of range."""

    code = "session.program"


class InvalidBreakpoint(SessionError):
    """A breakpoint lacks what its kind needs, or names something that does not exist."""

    code = "session.breakpoint"


class InvalidExpression(SessionError):
    """The text is not an expression of the breakpoint language."""

    code = "session.expression"


class InvalidEdit(SessionError):
    """A what-if edit does not fit the position: no such stack word, pc inside push data, out of range."""

    code = "session.edit"


class StepOutOfRange(SessionError):
    """The step lies before the start or beyond the end of the run."""

    code = "session.step"


class SessionNotFound(SessionError):
    """There is no session, branch, breakpoint or template with this id."""

    code = "session.not_found"


class SessionLimitReached(SessionError):
    """The node keeps as many sessions, breakpoints or branches as its limits allow."""

    code = "session.limit"


class SessionDiverged(SessionError):
    """A stored session replays to another state than the one that was stored."""

    code = "session.diverged"


class InvalidTemplate(SessionError):
    """A template file cannot be read."""

    code = "session.template"


class SessionFileRefused(SessionError):
    """A session file cannot be imported; nothing was changed."""

    code = "session_file.refused"


class NotASessionFile(SessionFileRefused):
    """The bytes do not begin as a session file does."""

    code = "session_file.format"


class SessionFileTooNew(SessionFileRefused):
    """The file has a format of a later version."""

    code = "session_file.version"


class SessionFileTooLarge(SessionFileRefused):
    """The file, what it inflates to, or a part of it exceeds a limit."""

    code = "session_file.size"


class SessionFileDamaged(SessionFileRefused):
    """The file is cut short, has bytes too many, or its content has another digest."""

    code = "session_file.damaged"


class SessionFileMalformed(SessionFileRefused):
    """A section is unknown, missing, doubled, or not of its schema."""

    code = "session_file.malformed"


class SessionStateMismatch(SessionFileRefused):
    """State or code in the file does not have the root or hash the file claims."""

    code = "session_file.state"


class SessionSignatureWrong(SessionFileRefused):
    """The file is signed, but not by the key it names."""

    code = "session_file.signature"


# Shared sessions


class InvalidShare(SessionError):
    """The token belongs to no share of a session: it was never given, or it was revoked."""

    code = "session.token"


class ShareExpired(SessionError):
    """The share token's time is over."""

    code = "session.token_expired"


class WatchOnly(SessionError):
    """A token to watch with cannot move or change the session."""

    code = "session.watch_only"


class NotDriving(SessionError):
    """Somebody else drives the session: one drives at a time."""

    code = "session.driver"


class OwnersOnly(SessionError):
    """Only the owner, who has the node's own token, may do this, by the session's number."""

    code = "session.owner"


class SlowWatcher(SessionError):
    """A watcher is so far behind that events it has not seen are no longer kept."""

    code = "session.slow_watcher"


class NoPush(SessionError):
    """Events cannot be pushed over plain HTTP: use QUIC or the WebSocket."""

    code = "session.no_push"


class WorkerFailed(SessionFileRefused):
    """The process that looks at a file ended without an answer, but not for a limit."""

    code = "session_file.worker"


# The node's data directory


class StorageError(ZvmdError):
    """The node has trouble with its data directory."""

    code = "storage.error"


class StoragePanic(StorageError):
    """A sync or a write failed: what is on disk is unknown, so nothing more may be acknowledged.

    Never retried: Linux marks the pages of a failed sync clean, so a second sync would lie.
    """

    code = "storage.panic"


class FileGone(StoragePanic):
    """A file or directory that the node uses is not where it was: nothing more may be promised about it."""

    code = "storage.gone"


class StorageFull(StorageError):
    """No space or quota left. What was pending stays pending; nothing was acknowledged."""

    code = "storage.full"


class StorageUnreadable(StorageError):
    """The disk reports an error on reading. Skipping what it holds would rewrite history."""

    code = "storage.unreadable"


class DataDirectoryLocked(StorageError):
    """Another process uses the data directory, or a file in it. Nothing was changed."""

    code = "storage.locked"


class IndexLocked(DataDirectoryLocked):
    """Another program holds a lock on the SQL index. A running node waits; its lookups search the blocks meanwhile."""

    code = "index.locked"


class DataDirectoryUnusable(StorageError):
    """A directory cannot be made, is not empty where it should be, or this user may not write in it."""

    code = "storage.unusable"


class DataDirectoryDamaged(StorageError):
    """FORMAT or genesis.json is damaged, or missing beside existing data."""

    code = "storage.directory"


class EntryUnusable(DataDirectoryDamaged):
    """Something in the data directory is neither file nor directory, or the wrong one of the two."""

    code = "storage.entry"


class StoreTooNew(StorageError):
    """A store was written by a later version of the program."""

    code = "store.too_new"


class WalCorrupt(StorageError):
    """The log is damaged at a place that was durable once. Starting would forget acknowledged records."""

    code = "wal.corrupt"


class WalShort(WalCorrupt):
    """The log ends before a record that some witness knows to have been durable."""

    code = "wal.short"


class WalForeign(WalCorrupt):
    """A segment or record is intact but belongs to another chain, another log or another place in it."""

    code = "wal.foreign"


class WalPruned(StorageError):
    """A record is asked for, or needed, that `zvmd wal prune` has removed."""

    code = "wal.pruned"


class PruneRefused(StorageError):
    """The log is not pruned, since nothing proves that what would go is not needed. Nothing was changed."""

    code = "wal.prune"


class WalClosed(StorageError):
    """The log was closed, or has failed before."""

    code = "wal.closed"


class RecordTooLarge(ZvmdError):
    """A payload exceeds what one record of the log may hold. Nothing was written, and nothing is wrong with the log."""

    code = "wal.record_size"


class IndexBehind(ZvmdError):
    """A transaction is not in the indexed part of the chain, and the rest is too long to search. Ask again later."""

    code = "index.behind"


class InvalidRecord(StorageError):
    """A record's checksum is right but its payload is not what its type says."""

    code = "wal.record"


class StateRootMismatch(StorageError):
    """Replay of a sealed block reached another state root than its seal holds."""

    code = "state.root_mismatch"


class MigrationRefused(StorageError):
    """The state store was not moved to another engine. Nothing was changed."""

    code = "store.migration"


class EngineMissing(StorageError):
    """The package that brings the state store's engine is not installed. Nothing was changed."""

    code = "store.engine"


class StateStoreRefused(StorageError):
    """The state store does not open: its files are damaged."""

    code = "store.refused"


class StateStoreCorrupt(StorageError):
    """Bytes read from the state store fail their checksum, their hash, or their format."""

    code = "store.corrupt"


class StateStoreWriteFailed(StorageError):
    """A batch could not be written; what is on disk is unknown until the store is opened again."""

    code = "store.write"


class StateUnavailable(StorageError):
    """The state of that block is not kept, or the block does not exist."""

    code = "state.unavailable"


class CheckpointBroken(StorageError):
    """The checkpoint chain has a gap or a wrong link, or the state below does not belong to it."""

    code = "checkpoint.broken"


class ExportDamaged(StorageError):
    """A state export or a backup fails its digest, or belongs to another chain."""

    code = "export.damaged"


class SnapshotLost(StorageError):
    """The file that holds a large debug session is missing or damaged. Other sessions are unharmed."""

    code = "session.snapshot"


class DataLossRefused(StorageError):
    """``--accept-data-loss`` does not name the LSN at which the damaged log would be cut."""

    code = "wal.data_loss"


class IndexDamaged(StorageError):
    """The SQL index is not a database any more, or misses its tables."""

    code = "index.damaged"


class IndexUnavailable(StorageError):
    """The process that writes the index exited, hung, or could not be started. It is restarted a little later."""

    code = "index.unavailable"


# From what nodes send to exceptions


def _tree(kind: type[ZvmdError]) -> Iterator[type[ZvmdError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _tree(below)


BY_CODE = {kind.code: kind for kind in _tree(ZvmdError)}
"""The class of each slug."""


def error_from(code: str, rpc_code: int, message: str, hint: str, data: Any) -> ZvmdError:
    """The exception of a failure: of the class of its slug, or a plain `ZvmdError` if the slug is unknown."""
    kind = BY_CODE.get(code, ZvmdError)
    if kind is Reverted and ": " in message:  # the reason: nothing is left to decode
        hint = ""
    return kind(message, code=code, hint=hint, rpc_code=rpc_code, data=data)


def typed_error(error: dict[str, Any]) -> ZvmdError:
    """The exception of a JSON-RPC error object. ``data`` of `Reverted` is bytes, else as it was sent."""
    data = error.get("data")
    if error.get("code") == 3:
        try:
            raw = bytes.fromhex(data[2:]) if isinstance(data, str) else b""
        except ValueError:
            raw = b""
        hint = "decode data with the contract's ABI"
        return error_from(Reverted.code, 3, str(error.get("message", "")), hint, raw)
    details = data if isinstance(data, dict) else {}
    code, hint = details.get("code", "rpc.error"), details.get("hint", "")
    return error_from(code, error.get("code", SERVER_ERROR), error.get("message", ""), hint, data)
