"""The context passed to every handler: the node, the limits, the filters, and how block names resolve."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from node.api.backend import Backend
from node.api.errors import UnknownBlock
from node.api.pending_block import BlockAt
from node.ops.audit import AuditLog
from node.rpc.caller import NODE, Caller
from node.rpc.errors import MethodNotFound
from node.rpc.filters import FilterStore
from node.rpc.limits import RpcLimits
from node.rpc.params import BlockRef, block_ref
from node.rpc.rights import Rights
from node.sessions.service import SessionService
from node.transcript.artifacts import Artifacts
from node.transcript.transcript import Transcript
from storage.errors import StateStoreCorrupt


class TokenKeeper(Protocol):
    """Makes, lists and revokes tokens (`node.doors.token_desk`)."""

    async def create(self, caller: Caller, name: str, scopes: list[Any], options: Any) -> dict[str, Any]: ...

    def entries(self) -> list[dict[str, Any]]: ...

    async def revoke(self, name_or_id: str) -> dict[str, Any]: ...


@dataclass(slots=True)
class Context:
    """Shared by all requests of a node; only ``caller`` differs."""

    backend: Backend
    limits: RpcLimits = field(default_factory=RpcLimits)
    clock: Callable[[], float] = time.monotonic
    sessions: SessionService | None = None
    damaged: Callable[[StateStoreCorrupt], None] = lambda _: None
    """Called with damage that a request found in the state store, before the request is answered. Any thread."""
    read: Callable[[Callable[[], Any]], Awaitable[Any]] = asyncio.to_thread
    """Runs a read on a reader thread, as part of the current request."""
    sign: Callable[[bytes], bytes] | None = None
    """Returns the node's public key and its signature of a message."""
    transcript: Transcript | None = None
    """The transcript: what the node prints about its chain."""
    artifacts: Artifacts | None = None
    """ABIs on disk."""
    status_parts: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    """What ``zvmd_status`` shows beside the node's own status, by name."""
    tokens: TokenKeeper | None = None
    """Makes and revokes tokens."""
    audit: AuditLog | None = None
    audits_development: bool = False
    """Whether development calls are recorded in it: not on a chain that is there for them."""
    caller: Caller = NODE
    """Whose request it is."""
    impersonating: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while an account is impersonated for one transaction only."""
    filters: FilterStore = field(init=False)

    def __post_init__(self) -> None:
        self.filters = FilterStore(self.limits.filters_max, self.limits.filter_idle_max_s)

    @property
    def rights(self) -> Rights:
        """What the caller may call."""
        return self.caller.rights

    def of(self, caller: Caller) -> Context:
        """The same context for a caller."""
        if caller is self.caller:
            return self
        seen = copy.copy(self)
        seen.caller = caller
        return seen

    def need_sessions(self) -> SessionService:
        """The debug sessions. Raises `MethodNotFound` where there are none."""
        if self.sessions is None:
            raise MethodNotFound("this node has no debug sessions")
        return self.sessions

    def need_transcript(self) -> Transcript:
        """The transcript. Raises `MethodNotFound` where the node has none."""
        if self.transcript is None:
            raise MethodNotFound("this node prints no transcript")
        return self.transcript

    def need_tokens(self) -> TokenKeeper:
        """What makes and revokes tokens. Raises `MethodNotFound` where there is none."""
        if self.tokens is None:
            raise MethodNotFound("this node has no tokens")
        return self.tokens

    def need_signer(self) -> Callable[[bytes], bytes]:
        """The node's signing. Raises `MethodNotFound` where there is none."""
        if self.sign is None:
            raise MethodNotFound("this node has no key to sign with")
        return self.sign

    def find_block(self, ref: BlockRef) -> BlockAt | None:
        """The block meant, or None if there is none.

        Every block is durable before it is shown, so ``safe`` and ``finalized`` are the head. ``pending`` is built
        here: ask once for all that an answer takes from it.
        """
        return self.backend.pending() if ref.tag == "pending" else self.find_sealed(ref)

    def find_sealed(self, ref: BlockRef) -> int | None:
        """Number of the block meant, or None if there is none; of the newest for ``pending``."""
        head = self.backend.head().number
        if ref.number is not None:
            return ref.number if ref.number <= head else None
        if ref.hash is not None:
            return self.backend.number_of(ref.hash)
        return 0 if ref.tag == "earliest" else head

    def need_block(self, ref: BlockRef) -> BlockAt:
        """Like `find_block`; raises `UnknownBlock`."""
        return self.backend.pending() if ref.tag == "pending" else self.need_sealed(ref)

    def block_named(self, name: object) -> BlockAt:
        """The block of a number, tag or hash in JSON. Raises `InvalidParams`, `UnknownBlock`."""
        return self.need_block(block_ref(name))

    def need_sealed(self, ref: BlockRef) -> int:
        """Like `find_sealed`; raises `UnknownBlock`."""
        number = self.find_sealed(ref)
        if number is None:
            name = f"number {ref.number}" if ref.number is not None else f"hash 0x{(ref.hash or b'').hex()}"
            raise UnknownBlock(f"header not found: no block with {name}; the newest is {self.backend.head().number}")
        return number
