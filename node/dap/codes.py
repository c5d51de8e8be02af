"""The codes that have run while an editor debugs, and how the editor's sources refer to them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Any

from debugger.frontend import ListingLine

Json = dict[str, Any]

CODE_SHIFT = 32
"""An address has the number of a code, from 1, above the pc in its lower bits, so pcs of two contracts differ."""
PC_MASK = (1 << CODE_SHIFT) - 1
ROWS_OUTSIDE_MAX = 1 << 30
"""Bytes around a code whose addresses still belong to it; those before it are the upper half below its number."""


@dataclass(frozen=True)
class CodeSelector:
    """Which codes an editor's source refers to; fields it does not give are None."""

    address: str | None = None
    hash: str | None = None
    """Prefix of the code's hash, for an account that ran several codes."""
    is_init: bool | None = None
    number: int | None = None
    """Number, in this debugging session, of a code that has not run yet."""

    @property
    def is_known_to_the_node(self) -> bool:
        """Whether the node can identify the code when it runs; it does not know numbers and prefixes of hashes."""
        return self.number is None and self.hash is None

    @property
    def name(self) -> str:
        """The name of the listing, as far as it is known."""
        init, part = ".init" if self.is_init else "", f".{self.hash[2:]}" if self.hash else ""
        return f"{self.address}{init}{part}.evm" if self.number is None else f"source {self.number}"

    def means(self, code: KnownCode) -> bool:
        """Whether it refers to this code."""
        return (
            self.address in (None, code.address)
            and code.hash.startswith(self.hash or "")
            and self.is_init in (None, code.is_init)
            and self.number in (None, code.number)
        )


@dataclass(frozen=True)
class KnownCode:
    """A code that has run: an account's init code or its runtime code."""

    number: int
    hash: str
    address: str
    is_init: bool
    name: str
    bytes: bytes
    lines: tuple[ListingLine, ...]
    pcs: tuple[int, ...]

    def reference(self, pc: int) -> str:
        """The address of an instruction as editors get it."""
        return hex((self.number << CODE_SHIFT) + pc)

    def row_of(self, pc: int) -> int:
        """Row of the instruction that a byte belongs to, from 0; outside the code a byte is a row."""
        if pc < 0:
            return pc
        return bisect_right(self.pcs, pc) - 1 if pc < len(self.bytes) else len(self.pcs) + pc - len(self.bytes)

    def begins_at(self, pc: int) -> bool:
        """Whether an instruction begins there."""
        at = bisect_left(self.pcs, pc)
        return at < len(self.pcs) and self.pcs[at] == pc

    @property
    def key(self) -> tuple[str, str, bool]:
        """Identifies the code."""
        return self.address, self.hash, self.is_init

    @property
    def source(self) -> Json:
        """The listing as a DAP source."""
        origin = "init code" if self.is_init else "bytecode"
        return {"name": self.name, "sourceReference": self.number, "origin": origin}
