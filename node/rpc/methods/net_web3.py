"""``net_``, ``web3_`` and ``rpc_``: the methods that tools call first."""

from __future__ import annotations

from chain.hashing import keccak256
from node.rpc.context import Context
from node.rpc.format import Json, data
from node.rpc.registry import Access, method, method_names


@method("net_version", inline=True)
def net_version(context: Context) -> str:
    """Chain id in decimal."""
    return str(context.backend.config.chain_id)


@method("net_listening", inline=True)
def net_listening(_context: Context) -> bool:
    """Always true: there is no peer-to-peer network, but tools use this to check that the node is ready."""
    return True


@method("net_peerCount", inline=True)
def net_peer_count(_context: Context) -> str:
    """0: there is no peer-to-peer network."""
    return "0x0"


@method("web3_clientVersion", inline=True)
def client_version(context: Context) -> str:
    """Name and version of the node; a setting, because tools judge a node by it."""
    return context.backend.web3_version


@method("hardhat_metadata", "anvil_metadata")
def metadata(context: Context) -> Json:
    """Identity of a development chain: ``instanceId`` is kept over restarts and changes with a reset.

    Hardhat Ignition discards its deployments on another instance.
    """
    backend = context.backend
    head, genesis = backend.head(), backend.header(0)
    assert genesis is not None, "there is a genesis"
    owner = context.sign(b"instance")[:32] if context.sign is not None else b""
    instance = keccak256(owner + genesis.hash + backend.resets().to_bytes(8, "big"))
    return {
        "clientVersion": backend.web3_version,
        "chainId": backend.config.chain_id,
        "instanceId": data(instance),
        "latestBlockNumber": head.number,
        "latestBlockHash": data(head.hash),
    }


@method("web3_sha3", inline=True)
def sha3(_context: Context, message: bytes) -> str:
    """Keccak-256."""
    return data(keccak256(message))


@method("rpc_modules", inline=True, access=Access.STANDARD)
def rpc_modules(context: Context) -> dict[str, str]:
    """Namespaces with methods that the caller may call, and their versions."""
    return {name.split("_", 1)[0]: "1.0" for name in method_names() if context.rights.allow(name)}


@method("rpc_methods", inline=True, access=Access.STANDARD)
def rpc_methods(context: Context) -> dict[str, list[str]]:
    """Every method that the caller may call."""
    return {"methods": [name for name in method_names() if context.rights.allow(name)]}
