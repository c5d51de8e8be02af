"""Errors of the protocols, and the JSON-RPC error object every error becomes.

ZvmdError
└── RpcError
    ├── ParseError             rpc.parse              -32700
    ├── InvalidRequest         rpc.request            -32600
    │   └── RequestTooLarge    rpc.too_large          -32600
    ├── MethodNotFound         rpc.method             -32601
    ├── NotPermitted           rpc.not_permitted      -32601
    ├── InvalidParams          rpc.params             -32602
    ├── InternalError          rpc.internal           -32603
    ├── UnknownBlock           rpc.unknown_block      -32000
    ├── Untraceable            rpc.untraceable        -32000
    ├── UnknownTransaction     rpc.unknown_tx         -32000
    ├── UnknownFilter          rpc.unknown_filter     -32000
    ├── LimitExceeded          rpc.limit              -32005
    │   └── AccessListUnsettled rpc.access_list       -32005
    ├── NodeBusy               rpc.busy               -32005
    ├── CallTimeout            rpc.timeout            -32000
    ├── CallTooLarge           rpc.memory             -32005
    ├── ClientGone             rpc.gone               -32000
    ├── NotWaiting             rpc.wait_timeout       -32004
    ├── NotThereYet            rpc.min_lsn            -32004
    ├── ExecutionReverted      evm.revert                  3
    └── ExecutionFailed        evm.halt               -32015
"""

from __future__ import annotations

from typing import Any

from chain.errors import ZvmdError
from chain.reverts import decode_revert

REASON_CHARACTERS = 4096
"""Of what a revert says in the message of an error; all of it is in the data."""


class RpcError(ZvmdError):
    """A request that cannot be answered with a result."""

    code = "rpc.error"
    hint = "see the message"

    def data(self) -> Any:
        """Content of the error object's ``data``."""
        return {"code": self.code, "hint": self.hint}


class ParseError(RpcError):
    """The body is not strict JSON: syntax, UTF-8, duplicate keys, NaN, lone surrogates."""

    code = "rpc.parse"
    rpc_code = -32700
    hint = "send one JSON value in UTF-8 without duplicate keys, NaN or lone surrogates"


class InvalidRequest(RpcError):
    """Valid JSON, but no JSON-RPC 2.0 request."""

    code = "rpc.request"
    rpc_code = -32600
    hint = 'send {"jsonrpc": "2.0", "id": ..., "method": "...", "params": [...]}'


class RequestTooLarge(InvalidRequest):
    """A body, batch, nesting or number above its limit."""

    code = "rpc.too_large"
    hint = "send smaller requests; [limits] body_bytes, batch_calls and json_depth say how large they may be"


class MethodNotFound(RpcError):
    """No such method."""

    code = "rpc.method"
    rpc_code = -32601
    hint = "rpc_methods lists every method"


class NotPermitted(RpcError):
    """The method is there, but not for this caller: a page of another origin, or another machine, without the token.

    The code is that of a method that does not exist, as geth answers for a namespace that is not served.
    """

    code = "rpc.not_permitted"
    rpc_code = -32601
    hint = (
        "send the header Authorization: Bearer TOKEN with the content of the file token in the node's data directory, "
        "or call from the node's machine at http://127.0.0.1, not from a page of another origin"
    )


class InvalidParams(RpcError):
    """A parameter is missing, superfluous or of the wrong form."""

    code = "rpc.params"
    rpc_code = -32602
    hint = "quantities are 0x-hex without leading zeros, data is 0x-hex in pairs of digits"


class InternalError(RpcError):
    """A bug of ours; the log has the traceback."""

    code = "rpc.internal"
    rpc_code = -32603
    hint = "this is a bug in zvmd; please report it with the node's log"


class UnknownBlock(RpcError):
    """State was asked of a block that does not exist."""

    code = "rpc.unknown_block"
    hint = "ask eth_blockNumber for the newest block"


class Untraceable(RpcError):
    """A trace of the genesis, which no block before it leads to."""

    code = "rpc.untraceable"
    hint = "the first block with transactions is 1"


class UnknownTransaction(RpcError):
    """No block has this transaction."""

    code = "rpc.unknown_tx"
    hint = "it may still wait in the pool: ask eth_getTransactionByHash"


class UnknownFilter(RpcError):
    """No filter has this id, or it was not polled for five minutes."""

    code = "rpc.unknown_filter"
    hint = "create the filter again and poll it more often"


class LimitExceeded(RpcError):
    """An answer would exceed a limit."""

    code = "rpc.limit"
    rpc_code = -32005
    hint = "ask for a smaller range or page through it"


class AccessListUnsettled(LimitExceeded):
    """What the code uses changes with what is warm, and no list that fits into a transaction warms all of it."""

    code = "rpc.access_list"
    hint = "send the transaction without an access list, or with one of your own"


class NodeBusy(RpcError):
    """The queue of reads is full."""

    code = "rpc.busy"
    rpc_code = -32005
    hint = "wait for answers before sending more"


class CallTimeout(RpcError):
    """The work for one request, or for all calls of a batch, took longer than allowed (geth: ``--rpc.evmtimeout``)."""

    code = "rpc.timeout"
    hint = "give it less to do, or raise [limits] call_seconds"


class CallTooLarge(RpcError):
    """The work for one request took more memory than allowed."""

    code = "rpc.memory"
    rpc_code = -32005
    hint = "give it less gas, or raise [limits] call_memory_bytes"


class ClientGone(RpcError):
    """The connection ended before the answer was ready; nobody reads this, but a log may."""

    code = "rpc.gone"
    hint = "keep the connection open until the answer has come"


class NotWaiting(RpcError):
    """The transaction is safe in the log, but was not mined in the time given."""

    code = "rpc.wait_timeout"
    rpc_code = -32004
    hint = "it is durable and will be mined; poll eth_getTransactionReceipt"


class NotThereYet(RpcError):
    """Reads do not see that log record yet, and did not within the time a read waits."""

    code = "rpc.min_lsn"
    rpc_code = -32004
    hint = "ask again, or check that the LSN came from this chain"


class ExecutionReverted(RpcError):
    """The call ended in REVERT; ``data`` is the revert data, as all Ethereum libraries expect."""

    code = "evm.revert"
    rpc_code = 3
    hint = "decode data with the contract's ABI: Error(string), Panic(uint256) or a custom error"

    def __init__(self, output: bytes) -> None:
        reason = revert_reason(output)
        super().__init__("execution reverted" + (f": {reason}" if reason else ""))
        self.output = output

    def data(self) -> Any:
        return "0x" + self.output.hex()


class ExecutionFailed(RpcError):
    """The call ended in an exceptional halt (out of gas, invalid opcode, ...)."""

    code = "evm.halt"
    rpc_code = -32015
    hint = "raise the gas limit, or check the code and calldata"


def revert_reason(output: bytes) -> str:
    """What revert data says in plain words, `REASON_CHARACTERS` of it; empty for custom errors and raw data."""
    revert = decode_revert(output)
    return "" if revert is None else revert.reason[:REASON_CHARACTERS]


def error_object(error: ZvmdError, *, only_revert_data: bool = False) -> dict[str, Any]:
    """The JSON-RPC error object of an error. ``data`` is revert data, else its slug and hint unless unwanted."""
    data = error.data() if isinstance(error, RpcError) else {"code": error.code, "hint": error.hint}
    shown = {"code": error.rpc_code, "message": str(error) or type(error).__name__}
    return shown if only_revert_data and not isinstance(error, ExecutionReverted) else shown | {"data": data}
