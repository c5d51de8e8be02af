"""The methods, one namespace (or slice of one) per file; importing a file registers its methods."""

from __future__ import annotations

import importlib

NAMESPACES = (
    "eth_state",
    "eth_blocks",
    "eth_send",
    "eth_logs",
    "eth_fees",
    "net_web3",
    "txpool",
    "evm",
    "debug",
    "cheats",
    "zvmd",
    "transcript",
    "sessions",
)


def load_methods() -> None:
    """Register every method."""
    for name in NAMESPACES:
        importlib.import_module(f"node.rpc.methods.{name}")
