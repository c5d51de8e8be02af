"""Errors of the engine: what a running node refuses and why.

ZvmdError
├── WriterBusy             node.busy
├── NodeStopping           node.stopping
├── ReadOnly               node.read_only
├── PoolFull               pool.full
├── UnknownAccount         node.account_unknown
├── CheatsDisabled         cheat.disabled
├── CheatRefused           cheat.refused
├── OutOfReach             cheat.out_of_reach
├── Reverted               cheat.reverted
├── AbiRefused             abi.refused
├── GenesisMismatch        node.genesis_mismatch    exit 78
├── PortUnavailable        node.port                exit 69
├── ListenerEnded          node.listener
├── Unreachable            node.unreachable         exit 69
└── InvalidTransaction
    └── ExecutionFault     node.execution_fault
"""

from __future__ import annotations

from chain.errors import EXIT_CONFIG, EXIT_UNAVAILABLE, InvalidTransaction, ZvmdError


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
    """Calls that change the chain as no transaction could are for development chains."""

    code = "cheat.disabled"
    rpc_code = -32601
    hint = "start the node with --dev, or set node.cheats = true"


class CheatRefused(ZvmdError):
    """A development call asks for what cannot be."""

    code = "cheat.refused"
    rpc_code = -32602
    hint = "see the message"


class OutOfReach(ZvmdError):
    """The state that a revert asks for has expired."""

    code = "cheat.out_of_reach"
    rpc_code = -32000
    hint = "raise storage.retention_blocks (0 keeps all states), or take snapshots later"


class Reverted(ZvmdError):
    """The transaction waited, and a development call took it out of the pool."""

    code = "cheat.reverted"
    rpc_code = -32003
    hint = "send the same bytes again"


class AbiRefused(ZvmdError):
    """An ABI that cannot be read or kept."""

    code = "abi.refused"
    rpc_code = -32602
    hint = "give the list under \"abi\" of the compiler's JSON"


class GenesisMismatch(ZvmdError):
    """The data directory belongs to a chain with other parameters."""

    code = "node.genesis_mismatch"
    hint = "use another --data-dir, or start without the conflicting option"
    exit_code = EXIT_CONFIG


class PortUnavailable(ZvmdError):
    """A port the node should listen on is taken or forbidden."""

    code = "node.port"
    hint = "choose another with --http-port or --quic-port (0: any), or stop what listens there"
    exit_code = EXIT_UNAVAILABLE


class ListenerEnded(ZvmdError):
    """A listener ended though nobody stopped the node, which ends with it."""

    code = "node.listener"
    rpc_code = -32000
    hint = "start the node again; please report this with the log"


class Unreachable(ZvmdError):
    """The node listens, but could not be reached from this machine when it tried before READY."""

    code = "node.unreachable"
    hint = "look at what filters local traffic (firewall, IPAddressDeny=), the loopback interface and [limits]"
    exit_code = EXIT_UNAVAILABLE


class ExecutionFault(InvalidTransaction):
    """A bug in zvmd met while executing; the transaction was refused and nothing was changed."""

    code = "node.execution_fault"
    rpc_code = -32603
    hint = "please report this with the log line of the same time"
