"""Which methods a caller may call: all of them, or those that are open to everybody (`node.rpc.registry.Access`).

Who gets which is decided where requests arrive (`node.gateway.guard`; QUIC takes no connection without the token). It
is enforced where a request is decoded, `Dispatcher.decode`: for single calls, batches and subscriptions alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.rpc.errors import NotPermitted
from node.rpc.registry import Access, access_of


@dataclass(frozen=True, slots=True)
class Rights:
    """What one caller may call."""

    everything: bool

    def allow(self, method: str) -> bool:
        """Whether a method of that name may be called."""
        return self.everything or access_of(method) is Access.STANDARD

    def check(self, method: str) -> None:
        """Raises `NotPermitted`."""
        if not self.allow(method):
            raise NotPermitted(f"{method[:100]} may not be called from here without the node's token")


EVERYTHING = Rights(everything=True)
STANDARD = Rights(everything=False)
