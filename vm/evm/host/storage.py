"""SLOAD, SSTORE, TLOAD, TSTORE and their gas by fork."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chain.forks import Fork
from vm.evm import gas
from vm.evm.layout import Field
from vm.message import Halt

if TYPE_CHECKING:
    from vm.evm.execution import Execution
    from vm.evm.frame import Frame
    from vm.evm.host import Handler

GAS: Final = int(Field.GAS)
SP: Final = int(Field.SP)
ENTRY: Final = int(Field.STORAGE_ENTRY)
TAG: Final = int(Field.STORAGE_TAG)


def _remember(run: Execution, frame: Frame, slot: bytes, value: bytes, original: int) -> None:
    """Let native code serve the slot from now on."""
    entry = frame.words[ENTRY]
    if run.slots.is_dirty(entry):
        run.slots.write_back(run.journal, frame.message.to)
    run.slots.fill(entry, frame.words[TAG], slot, value, original.to_bytes(32, "little"))


def sload(run: Execution, frame: Frame) -> Halt | None:
    """SLOAD; the table has charged the warm price."""
    at = frame.words[SP] - 32
    raw = bytes(frame.view[at : at + 32])
    slot = int.from_bytes(raw, "little")
    address, journal = frame.message.to, run.journal
    if run.has_access_lists and journal.warm_slot(address, slot):
        left = frame.words[GAS] - gas.COLD_SLOT_EXTRA
        if left < 0:
            return Halt.OUT_OF_GAS
        frame.words[GAS] = left
    value = journal.storage(address, slot).to_bytes(32, "little")
    frame.view[at : at + 32] = value
    _remember(run, frame, raw, value, journal.original_storage(address, slot))
    return None


def tload(run: Execution, frame: Frame) -> Halt | None:
    """TLOAD."""
    at = frame.words[SP] - 32
    slot = int.from_bytes(frame.view[at : at + 32], "little")
    frame.view[at : at + 32] = run.journal.transient(frame.message.to, slot).to_bytes(32, "little")
    return None


def tstore(run: Execution, frame: Frame) -> Halt | None:
    """TSTORE."""
    sp, view = frame.words[SP], frame.view
    slot = int.from_bytes(view[sp + 32 : sp + 64], "little")
    run.journal.set_transient(frame.message.to, slot, int.from_bytes(view[sp : sp + 32], "little"))
    return None


def _sstore_gross(run: Execution, frame: Frame) -> Halt | None:
    """SSTORE before net metering (and in Petersburg): only the old and the new value count."""
    sp, view, journal, address = frame.words[SP], frame.view, run.journal, frame.message.to
    slot = int.from_bytes(view[sp + 32 : sp + 64], "little")
    value = int.from_bytes(view[sp : sp + 32], "little")
    current = journal.storage(address, slot)
    left = frame.words[GAS] - (gas.SSTORE_SET if value and not current else gas.SSTORE_RESET)
    if left < 0:
        return Halt.OUT_OF_GAS
    frame.words[GAS] = left
    if current and not value:
        journal.add_refund(gas.SSTORE_CLEAR_REFUND)
    journal.set_storage(address, slot, value)
    _remember(run, frame, bytes(view[sp + 32 : sp + 64]), bytes(view[sp : sp + 32]), 0)
    return None


def _sstore_net(metering: gas.NetMetering, fork: Fork) -> Handler:
    """SSTORE with net metering: EIP-1283, 2200 (a sentry), 2929 (cold slots), 3529 (smaller refunds)."""
    has_sentry, has_cold = fork >= Fork.ISTANBUL, fork >= Fork.BERLIN
    no_change, reset, clear_refund = metering.no_change, metering.reset, metering.clear_refund

    def sstore(run: Execution, frame: Frame) -> Halt | None:
        words, view, journal, address = frame.words, frame.view, run.journal, frame.message.to
        sp, left = words[SP], words[GAS]
        if has_sentry and left <= gas.SSTORE_SENTRY:
            return Halt.OUT_OF_GAS
        slot = int.from_bytes(view[sp + 32 : sp + 64], "little")
        value = int.from_bytes(view[sp : sp + 32], "little")
        if has_cold and journal.warm_slot(address, slot):
            left -= gas.COLD_SLOT
        current = journal.storage(address, slot)
        original = journal.original_storage(address, slot)
        refund = 0
        if value == current:
            left -= no_change
        else:
            if original == current:
                left -= reset if original else gas.SSTORE_SET
                if original and not value:
                    refund = clear_refund
            else:
                left -= no_change
                if original:
                    refund = clear_refund * ((value == 0) - (current == 0))
                if original == value:
                    refund += (reset if original else gas.SSTORE_SET) - no_change
        if left < 0:
            return Halt.OUT_OF_GAS
        words[GAS] = left
        if refund:
            journal.add_refund(refund)
        if value != current:
            journal.set_storage(address, slot, value)
        _remember(run, frame, bytes(view[sp + 32 : sp + 64]), bytes(view[sp : sp + 32]), original)
        return None

    return sstore


def handlers(fork: Fork) -> dict[str, Handler]:
    """The handlers of a fork by opcode name."""
    metering = gas.net_metering(fork)
    sstore = _sstore_gross if metering is None else _sstore_net(metering, fork)
    return {"SLOAD": sload, "SSTORE": sstore, "TLOAD": tload, "TSTORE": tstore}
