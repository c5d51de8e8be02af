"""Errors of the JSON-RPC protocol, and the error object that every error becomes.

ZvmdError
├── ParseError             rpc.parse              -32700
├── InvalidRequest         rpc.request            -32600
│   └── RequestTooLarge    rpc.too_large          -32600
├── MethodNotFound         rpc.method             -32601
├── NotPermitted           rpc.not_permitted      -32601
│   └── MissingScope       rpc.scope              -32601
├── IpcUserRefused         ipc.user               -32001
├── InternalError          rpc.internal           -32603
├── Untraceable            rpc.untraceable        -32000
├── UnknownTransaction     rpc.unknown_tx         -32000
├── UnknownFilter          rpc.unknown_filter     -32000
├── LimitExceeded
│   └── AccessListUnsettled rpc.access_list       -32005
├── NodeBusy               rpc.busy               -32005
│   └── RateExceeded       limit.rate             -32005
├── CallTimeout            rpc.timeout            -32000
├── CallTooLarge           rpc.memory             -32005
├── ClientGone             rpc.gone               -32000
├── NotWaiting             rpc.wait_timeout       -32004
└── NotThereYet            rpc.min_lsn            -32004
"""

from __future__ import annotations

from typing import Any

from chain.errors import ZvmdError
from node.api.errors import ExecutionReverted, LimitExceeded


class ParseError(ZvmdError):
    """The body is not strict JSON: syntax, UTF-8, duplicate keys, NaN, lone surrogates."""

    code = "rpc.parse"
    rpc_code = -32700
    hint = "send one JSON value in UTF-8 without duplicate keys, NaN or lone surrogates"


class InvalidRequest(ZvmdError):
    """Valid JSON, but not a JSON-RPC 2.0 request."""

    code = "rpc.request"
    rpc_code = -32600
    hint = 'send {"jsonrpc": "2.0", "id": ..., "method": "...", "params": [...]}'


class RequestTooLarge(InvalidRequest):
    """A body, batch, nesting or number above its limit."""

    code = "rpc.too_large"
    hint = "send smaller requests; [limits] body_bytes, batch_calls and json_depth say how large they may be"


class MethodNotFound(ZvmdError):
    """No such method."""

    code = "rpc.method"
    rpc_code = -32601
    hint = "rpc_methods lists every method"


class NotPermitted(ZvmdError):
    """The method exists, but not for this caller: a page of another origin, or another machine, without the token.

    The code is that of a method that does not exist, as geth answers for a namespace that is not served.
    """

    code = "rpc.not_permitted"
    rpc_code = -32601
    hint = (
        "send the header Authorization: Bearer TOKEN with the content of the file token in the node's data directory, "
        "or call from the node's machine at http://127.0.0.1, not from a page of another origin"
    )


class MissingScope(NotPermitted):
    """The caller's token is valid, but has not the scope that the method needs."""

    code = "rpc.scope"
    hint = "use a token that has this scope"


class IpcUserRefused(ZvmdError):
    """A unix socket is for the user that the node runs as, and for root."""

    code = "ipc.user"
    rpc_code = -32001
    hint = "connect as that user, or over HTTP or QUIC with a token"


class InternalError(ZvmdError):
    """A bug in zvmd; the log has the traceback."""

    code = "rpc.internal"
    rpc_code = -32603
    hint = "this is a bug in zvmd; please report it with the node's log"


class Untraceable(ZvmdError):
    """A trace of the genesis block, which has no pre-state."""

    code = "rpc.untraceable"
    hint = "the first block with transactions is 1"


class UnknownTransaction(ZvmdError):
    """No block contains this transaction."""

    code = "rpc.unknown_tx"
    hint = "it may still be in the pool: call eth_getTransactionByHash"


class UnknownFilter(ZvmdError):
    """No filter has this id, or it was not polled for five minutes."""

    code = "rpc.unknown_filter"
    hint = "create the filter again and poll it more often"


class AccessListUnsettled(LimitExceeded):
    """The accounts and slots that the code uses change with what is warm, and no list that fits warms all of them."""

    code = "rpc.access_list"
    hint = "send the transaction without an access list, or with one of your own"


class NodeBusy(ZvmdError):
    """The node has too much to do, of all clients or of this one."""

    code = "rpc.busy"
    rpc_code = -32005
    hint = "wait for answers before sending more"

    def __init__(self, message: str, retry_after_s: float = 1.0, answer: bytes = b"") -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        """When to ask again."""
        self.answer = answer
        """The answer to the body of JSON-RPC that was refused, with the ids of its requests; empty if unread."""


class RateExceeded(NodeBusy):
    """More requests a second than the caller's token allows."""

    code = "limit.rate"
    hint = "send fewer requests a second, or many in one batch and then none for a while"


class CallTimeout(ZvmdError):
    """The work for one request, or for all calls of a batch, took longer than allowed (geth: ``--rpc.evmtimeout``)."""

    code = "rpc.timeout"
    hint = "request less work, or raise [limits] call_seconds"


class CallTooLarge(ZvmdError):
    """The work for one request took more memory than allowed."""

    code = "rpc.memory"
    rpc_code = -32005
    hint = "use less gas, or raise [limits] call_memory_bytes"


class ClientGone(ZvmdError):
    """The connection ended before the answer was ready; only a log shows this error."""

    code = "rpc.gone"
    hint = "keep the connection open until the answer arrives"


class NotWaiting(ZvmdError):
    """The transaction is safe in the log, but was not mined in the time given."""

    code = "rpc.wait_timeout"
    rpc_code = -32004
    hint = "it is durable and will be mined; poll eth_getTransactionReceipt"


class NotThereYet(ZvmdError):
    """The log record with this LSN did not become visible within the time a read waits."""

    code = "rpc.min_lsn"
    rpc_code = -32004
    hint = "ask again, or check that the LSN came from this chain"


def error_object(error: ZvmdError, *, only_revert_data: bool = False) -> dict[str, Any]:
    """The JSON-RPC error object of an error.

    ``data`` is the revert data of `ExecutionReverted`, as all Ethereum libraries expect. Of any other error it is the
    slug and the hint, or missing with ``only_revert_data``.
    """
    shown: dict[str, Any] = {"code": error.rpc_code, "message": str(error) or type(error).__name__}
    if isinstance(error, ExecutionReverted):
        return shown | {"data": "0x" + error.output.hex()}
    return shown if only_revert_data else shown | {"data": {"code": error.code, "hint": error.hint}}
