"""Errors that the node's engine raises and its protocols answer with.

ZvmdError
├── WriterBusy             node.busy              -32005
├── NodeStopping           node.stopping          -32005
├── ReadOnly               node.read_only         -32005
├── PoolFull               pool.full              -32003
├── UnknownAccount         node.account_unknown   -32000
├── CheatsDisabled         cheat.disabled         -32601
├── CheatRefused           cheat.refused          -32602
├── OutOfReach             cheat.out_of_reach     -32000
├── TransactionDropped     cheat.reverted         -32003
├── AbiRefused             abi.refused            -32602
├── InvalidParams          rpc.params             -32602
├── UnknownBlock           rpc.unknown_block      -32000
├── LimitExceeded          rpc.limit              -32005
├── ExecutionReverted      evm.revert                  3
├── ExecutionFailed        evm.halt               -32015
└── InvalidTransaction
    └── ExecutionFault     node.execution_fault   -32603
"""

from __future__ import annotations

from chain.errors import InvalidTransaction, ZvmdError
from chain.reverts import decode_revert

REASON_CHARACTERS = 4096
"""Characters of a revert's reason in an error message; the data has all of it."""


class WriterBusy(ZvmdError):
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


class PoolFull(ZvmdError):
    """The pending pool, or this sender's part of it, is at its limit."""

    code = "pool.full"
    rpc_code = -32003
    hint = "seal blocks (evm_mine) or send the missing nonces first"


class UnknownAccount(ZvmdError):
    """The node holds no key for this account."""

    code = "node.account_unknown"
    rpc_code = -32000
    hint = "sign the transaction yourself and send it with eth_sendRawTransaction"


class CheatsDisabled(ZvmdError):
    """A development call on a chain that does not allow them."""

    code = "cheat.disabled"
    rpc_code = -32601
    hint = "start the node with --dev, or set node.cheats = true"


class CheatRefused(ZvmdError):
    """A development call asks for something impossible."""

    code = "cheat.refused"
    rpc_code = -32602
    hint = "see the message"


class OutOfReach(ZvmdError):
    """The state that a revert needs has expired."""

    code = "cheat.out_of_reach"
    rpc_code = -32000
    hint = "raise storage.retention_blocks (0 keeps all states), or take snapshots later"


class TransactionDropped(ZvmdError):
    """The transaction was waiting, and a development call removed it from the pool."""

    code = "cheat.reverted"
    rpc_code = -32003
    hint = "send the same bytes again"


class AbiRefused(ZvmdError):
    """An ABI that cannot be read or kept."""

    code = "abi.refused"
    rpc_code = -32602
    hint = "give the list under \"abi\" of the compiler's JSON"


class ExecutionFault(InvalidTransaction):
    """A bug in zvmd was hit while executing; the transaction was refused and nothing was changed."""

    code = "node.execution_fault"
    rpc_code = -32603
    hint = "please report this with the log line of the same time"


class InvalidParams(ZvmdError):
    """A parameter is missing, superfluous or of the wrong form."""

    code = "rpc.params"
    rpc_code = -32602
    hint = "quantities are 0x-hex without leading zeros, data is 0x-hex in pairs of digits"


class UnknownBlock(ZvmdError):
    """The state of a block that does not exist was requested."""

    code = "rpc.unknown_block"
    hint = "eth_blockNumber returns the newest block"


class LimitExceeded(ZvmdError):
    """An answer would exceed a limit."""

    code = "rpc.limit"
    rpc_code = -32005
    hint = "request a smaller range or page through it"


class ExecutionReverted(ZvmdError):
    """The call ended in REVERT; ``output`` is the revert data."""

    code = "evm.revert"
    rpc_code = 3
    hint = "decode data with the contract's ABI: Error(string), Panic(uint256) or a custom error"

    def __init__(self, output: bytes) -> None:
        reason = revert_reason(output)
        super().__init__("execution reverted" + (f": {reason}" if reason else ""))
        self.output = output


class ExecutionFailed(ZvmdError):
    """The call ended in an exceptional halt (out of gas, invalid opcode, ...)."""

    code = "evm.halt"
    rpc_code = -32015
    hint = "raise the gas limit, or check the code and calldata"


def revert_reason(output: bytes) -> str:
    """The reason in revert data, up to `REASON_CHARACTERS`; empty for custom errors and raw data."""
    revert = decode_revert(output)
    return "" if revert is None else revert.reason[:REASON_CHARACTERS]
