"""Which methods a caller may call: all of them, or those of the standard namespaces.

Who gets which is decided where requests arrive (`node.gateway.guard`; QUIC takes no connection without the token). It
is enforced where a request is decoded, `Dispatcher.decode`: for single calls, batches and subscriptions alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.rpc.errors import NotPermitted

STANDARD_PREFIXES = ("eth_", "net_", "web3_", "anvil_", "hardhat_", "evm_", "txpool_", "debug_trace", "trace_")
"""What other development nodes answer to every web page. A method that is added under another prefix is not in here."""
STANDARD_METHODS = ("rpc_methods", "rpc_modules")
"""They list what the caller may call."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What one caller may call."""

    everything: bool

    def allow(self, method: str) -> bool:
        """Whether a method of that name may be called."""
        return self.everything or method.startswith(STANDARD_PREFIXES) or method in STANDARD_METHODS

    def check(self, method: str) -> None:
        """Raises `NotPermitted`."""
        if not self.allow(method):
            raise NotPermitted(f"{method[:100]} may not be called from here without the node's token")


EVERYTHING = Rights(everything=True)
STANDARD = Rights(everything=False)
