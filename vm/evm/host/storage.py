"""Brings slots that native code did not find into the native state, after which the opcode runs again."""

from __future__ import annotations

from typing import Final

from vm.evm.frame import Frame
from vm.evm.host.protocol import OpcodeHost
from vm.evm.layout import Field

SP: Final = int(Field.SP)
TAG: Final = int(Field.STORAGE_TAG)


def _key(run: OpcodeHost, frame: Frame) -> bytes | None:
    """The slot, little-endian; None if there was no room for another and the opcode must look again."""
    if run.native_state.is_full:
        run.flush_to_journal()
        run.forget_slots()
        return None
    at = frame.words[SP] - 32
    return bytes(frame.view[at : at + 32])


def bring_slot(run: OpcodeHost, frame: Frame) -> None:
    """For SLOAD and SSTORE."""
    key = _key(run, frame)
    if key is None:
        return
    journal, address, tag = run.journal, frame.message.to, frame.words[TAG]
    slot = int.from_bytes(key, "little")
    value, original, is_cold = journal.slot_state(address, slot)
    raw = value.to_bytes(32, "little")
    raw_original = raw if original == value else original.to_bytes(32, "little")
    run.native_state.bring_in(frame, tag, key, raw, raw_original, is_cold and run.has_access_lists)
    if run.has_access_lists and run.is_native:  # else the known slots would depend on where steps ended
        run.native_state.count_load(frame, tag, journal)


def bring_transient(run: OpcodeHost, frame: Frame) -> None:
    """For TLOAD and TSTORE."""
    key = _key(run, frame)
    if key is None:
        return
    value = run.journal.transient(frame.message.to, int.from_bytes(key, "little")).to_bytes(32, "little")
    run.native_state.bring_in(frame, frame.words[TAG] + 1, key, value, value, cold=False)
