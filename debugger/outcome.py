"""How a run ended, as data for the API: the reason, the output, and the decoded revert."""

from __future__ import annotations

import msgspec

from chain.reverts import decode_revert
from debugger.hex import hex_of
from vm.message import Halt, Outcome


class HaltState(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The end of a run, or of one message."""

    reason: str
    """Name of `vm.message.Halt` in lower case: stop, return, selfdestruct, revert, out_of_gas ..."""
    success: bool
    gas_left: int
    output: str = "0x"
    """Return or revert data."""
    message: str | None = None
    """The decoded revert reason."""
    created: str | None = None
    gas_used: int | None = None
    """Gas that a transaction pays for, including refunds and intrinsic gas."""


def halt_name(halt: Halt) -> str:
    """The name the API uses."""
    return halt.name.lower()


def halt_state(outcome: Outcome, gas_used: int | None = None) -> HaltState:
    """The outcome as plain data."""
    revert = decode_revert(outcome.output) if outcome.halt is Halt.REVERT else None
    return HaltState(
        halt_name(outcome.halt),
        outcome.success,
        outcome.gas_left,
        hex_of(outcome.output),
        None if revert is None else revert.shown,
        None if outcome.created is None else hex_of(outcome.created),
        gas_used,
    )
