"""Errors of the running node that are not about one layer below it.

    ZvmdError
    ├── NodeBusy               node.busy
    ├── NodeStopping           node.stopping
    ├── ReadOnly               node.read_only
    ├── UnknownBlock           node.block_unknown
    ├── PoolFull               pool.full
    ├── ExecutionReverted      call.reverted
    ├── ExecutionFailed        call.failed
    ├── UnknownAccount         node.account_unknown
    ├── GenesisMismatch        node.genesis_mismatch
    └── InternalFault          node.internal
"""

from __future__ import annotations

from typing import ClassVar

from chain.errors import ZvmdError


class NodeBusy(ZvmdError):
    """More transactions wait for the writer than the limit allows."""

    code = "node.busy"
    rpc_code = -32005
    hint = "wait for answers before sending more, then send the same bytes again"


class NodeStopping(ZvmdError):
    """The node is shutting down; the transaction was not taken."""

    code = "node.stopping"
    rpc_code = -32005
    hint = "send the same bytes again when the node is back"


class ReadOnly(ZvmdError):
    """The disk is full: reads are answered, changes are refused until there is room."""

    code = "node.read_only"
    rpc_code = -32005
    hint = "free disk space on the data directory's volume; the node resumes by itself"


class UnknownBlock(ZvmdError):
    """No block with this number, hash or tag."""

    code = "node.block_unknown"
    rpc_code = -32001
    hint = "ask eth_blockNumber for the newest block"


class PoolFull(ZvmdError):
    """The pending pool, or this sender's part of it, is at its limit."""

    code = "pool.full"
    rpc_code = -32003
    hint = "seal blocks (evm_mine) or send the missing nonces first"


class ExecutionReverted(ZvmdError):
    """The call ended in REVERT; ``output`` is the revert data."""

    code = "call.reverted"
    rpc_code = 3
    hint = "decode the revert data with the contract's ABI"

    def __init__(self, message: str, output: bytes) -> None:
        super().__init__(message)
        self.output = output


class ExecutionFailed(ZvmdError):
    """The call ended in an exceptional halt (out of gas, invalid opcode and so on)."""

    code = "call.failed"
    rpc_code = -32015
    hint = "raise the gas, or trace the call"


class UnknownAccount(ZvmdError):
    """The node holds no key for this account."""

    code = "node.account_unknown"
    rpc_code = -32000
    hint = "sign the transaction yourself and send it with eth_sendRawTransaction"


class GenesisMismatch(ZvmdError):
    """The data directory belongs to a chain with other parameters."""

    code = "node.genesis_mismatch"
    hint = "use another --data-dir, or start without the conflicting option"
    exit_code: ClassVar[int] = 78


class InternalFault(ZvmdError):
    """A bug in zvmd; nothing was changed by the request."""

    code = "node.internal"
    rpc_code = -32603
    hint = "please report this with the log line of the same time"
