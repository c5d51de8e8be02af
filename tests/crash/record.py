"""What the clients were told: the harness's own memory, outside the node, that the node is later held to."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

FULL = "node.read_only"
"""What a node with a full disk answers to changes."""


class Kind(Enum):
    """What a transaction does."""

    ETHER = "ether"
    TOKEN = "token"


@dataclass(slots=True)
class Sent:
    """A transaction the harness signed and put on the wire."""

    hash: str
    sender: str
    nonce: int
    kind: Kind
    to: str
    amount: int
    """Wei, or units of the token."""
    raw: str = ""
    """The signed bytes in hex, for sending again."""
    acknowledged: bool = False
    receipt: dict[str, Any] | None = None
    """The receipt a client was given; later answers must equal it."""


@dataclass(frozen=True, slots=True)
class Observation:
    """An answer about a settled block, which must stay the same for ever."""

    method: str
    params: tuple[object, ...]
    answer: Any


@dataclass(slots=True)
class Record:
    """Everything sent and everything seen. Threads write to it while the node is killed under them."""

    sent: dict[str, Sent] = field(default_factory=dict)
    observations: list[Observation] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """Answers no client should have been given: errors for valid transactions, and the like."""
    may_be_full: bool = False
    """The node's disk is made full: it may refuse changes, and say why."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put_on_wire(self, sent: Sent) -> None:
        """About to be sent: from here on the node may have it."""
        with self._lock:
            assert sent.hash not in self.sent
            self.sent[sent.hash] = sent

    def acknowledge(self, sent: Sent, answered_hash: str) -> None:
        """The node answered with the transaction's hash: it may never forget it."""
        sent.acknowledged = True
        if answered_hash != sent.hash:
            self.complain(f"sent {sent.hash}, the answer says {answered_hash}")

    def observe(self, method: str, params: tuple[object, ...], answer: Any) -> None:
        """The node gave this answer about a settled block."""
        with self._lock:
            self.observations.append(Observation(method, params, answer))

    def failed(self, who: str, error: Exception) -> None:
        """A client ends with this error; a refusal for want of room is none of ours to complain about if so said."""
        code = getattr(error, "code", None), (getattr(error, "data", None) or {}).get("code")
        if not (self.may_be_full and FULL in code):
            self.complain(f"{who}: {error!r}")

    def complain(self, text: str) -> None:
        """Something was wrong already before the kill."""
        with self._lock:
            self.complaints.append(text)
