"""Methods of other nodes that this node does not have, and what to use instead."""

from __future__ import annotations

_FORKING = "a node cannot fork another chain; begin one with its genesis: zvmd start --genesis FILE"
_MINING = "blocks are not mined; evm_mine seals one"
_PEERS = "there are no peers; zvmd_status shows the state of the node"
_STATE_FILES = "the chain is on disk at all times: zvmd backup DIR copies it; evm_snapshot keeps a state to return to"
_SUBSCRIBING = "subscriptions need a connection that stays: WebSocket on /ws, the unix socket zvmd.ipc, or zvmd events"
_UNLOCKING = "dev accounts need no unlocking; others send with eth_sendRawTransaction"

INSTEAD: dict[str, str] = {
    "anvil_dumpState": _STATE_FILES,
    "anvil_loadState": _STATE_FILES,
    "anvil_reorg": "anvil_rollback takes blocks back; then send other transactions",
    "anvil_setChainId": "the chain id is part of the genesis: zvmd start --chain-id",
    "anvil_setMinGasPrice": "set the base fee with anvil_setNextBlockBaseFeePerGas",
    "anvil_setRpcUrl": _FORKING,
    "debug_storageRangeAt": "trace with prestateTracer, or ask eth_getStorageAt",
    "eth_compileSolidity": "compile before, and deploy with zvmd deploy",
    "eth_getCompilers": "compile before, and deploy with zvmd deploy",
    "eth_getWork": _MINING,
    "eth_hashrate": _MINING,
    "eth_submitHashrate": _MINING,
    "eth_submitWork": _MINING,
    "eth_subscribe": _SUBSCRIBING,
    "eth_unsubscribe": _SUBSCRIBING,
    "hardhat_addCompilationResult": "debug sessions step through opcodes: zvmd session",
    "hardhat_setMinGasPrice": "set the base fee with hardhat_setNextBlockBaseFeePerGas",
}
_PREFIXES = {"admin_": _PEERS, "personal_": _UNLOCKING, "miner_": _MINING}


def instead_of(method: str) -> str:
    """What to use in place of a method of geth, anvil or Hardhat; empty if there is no advice."""
    return INSTEAD.get(method) or next((text for prefix, text in _PREFIXES.items() if method.startswith(prefix)), "")
