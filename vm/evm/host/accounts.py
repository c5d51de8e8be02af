"""Opcodes that look at other accounts, at block hashes and at blob hashes, and SELFDESTRUCT."""

from __future__ import annotations

from typing import Final

from chain.forks import Fork
from chain.gas_schedule import SCHEDULES
from chain.types import Address
from vm.evm.frame import Frame
from vm.evm.host.protocol import OpcodeHost
from vm.evm.layout import Field
from vm.message import Halt

GAS: Final = int(Field.GAS)
SP: Final = int(Field.SP)


def charge_cold_account(run: OpcodeHost, frame: Frame, address: Address, price: int) -> bool:
    """Warm the account; charge ``price`` if it was cold (EIP-2929). False if there is too little gas."""
    if run.has_access_lists and address not in run.precompiles and run.journal.warm_account(address):
        left = frame.words[GAS] - price
        if left < 0:
            return False
        frame.words[GAS] = left
    return True


def balance(run: OpcodeHost, frame: Frame) -> Halt | None:
    """BALANCE."""
    at = frame.words[SP] - 32
    address = Address(bytes(frame.view[at : at + 20])[::-1])
    if not charge_cold_account(run, frame, address, SCHEDULES[run.fork].cold_account_extra):
        return Halt.OUT_OF_GAS
    frame.view[at : at + 32] = run.journal.balance(address).to_bytes(32, "little")
    return None


def selfbalance(run: OpcodeHost, frame: Frame) -> Halt | None:
    """SELFBALANCE, when native code does not know it: it changes only where messages begin and end."""
    at = frame.words[SP] - 32
    frame.view[at : at + 32] = word = run.journal.balance(frame.message.to).to_bytes(32, "little")
    run.native_state.know_balance(frame, word)
    return None


def extcodesize(run: OpcodeHost, frame: Frame) -> Halt | None:
    """EXTCODESIZE: of a delegated account the designator's (EIP-7702)."""
    at = frame.words[SP] - 32
    address = Address(bytes(frame.view[at : at + 20])[::-1])
    if not charge_cold_account(run, frame, address, SCHEDULES[run.fork].cold_account_extra):
        return Halt.OUT_OF_GAS
    known = run.codes.get(run.journal.code_hash(address))
    size = len(run.journal.code(address)) if known is None else known.length
    frame.view[at : at + 32] = size.to_bytes(32, "little")
    return None


def extcodehash(run: OpcodeHost, frame: Frame) -> Halt | None:
    """EXTCODEHASH: 0 for accounts that are empty or do not exist (EIP-1052)."""
    at = frame.words[SP] - 32
    address = Address(bytes(frame.view[at : at + 20])[::-1])
    if not charge_cold_account(run, frame, address, SCHEDULES[run.fork].cold_account_extra):
        return Halt.OUT_OF_GAS
    account = run.journal.account(address)
    frame.view[at : at + 32] = bytes(32) if account.is_empty else account.code_hash[::-1]
    return None


def extcodecopy(run: OpcodeHost, frame: Frame) -> Halt | None:
    """EXTCODECOPY."""
    sp, view = frame.words[SP], frame.view
    address = Address(bytes(view[sp + 96 : sp + 116])[::-1])
    if not charge_cold_account(run, frame, address, SCHEDULES[run.fork].cold_account_extra):
        return Halt.OUT_OF_GAS
    size = int.from_bytes(view[sp : sp + 8], "little")
    if size:
        to = int.from_bytes(view[sp + 64 : sp + 72], "little")
        start = int.from_bytes(view[sp + 32 : sp + 64], "little")
        frame.memory[to : to + size] = run.journal.code(address)[start : start + size].ljust(size, b"\0")
    return None


def blockhash(run: OpcodeHost, frame: Frame) -> Halt | None:
    """BLOCKHASH of one of the 256 blocks before this one, the first time."""
    at = frame.words[SP] - 32
    number = int.from_bytes(frame.view[at : at + 32], "little")
    frame.view[at : at + 32] = word = run.context.block_hash(number)[::-1]
    run.native_state.know_hash(number, word)
    return None


def selfdestruct(run: OpcodeHost, frame: Frame) -> Halt | None:
    """SELFDESTRUCT: from Cancun on only an account created in this transaction is deleted (EIP-6780)."""
    sp, journal, fork = frame.words[SP], run.journal, run.fork
    gas = SCHEDULES[fork]
    address = frame.message.to
    heir = Address(bytes(frame.view[sp : sp + 20])[::-1])
    if not charge_cold_account(run, frame, heir, gas.cold_account):
        return Halt.OUT_OF_GAS
    amount = journal.balance(address)
    if gas.selfdestruct_new_account and journal.would_be_new(heir, amount):
        left = frame.words[GAS] - gas.selfdestruct_new_account
        if left < 0:
            return Halt.OUT_OF_GAS
        frame.words[GAS] = left
    if run.tracer is not None:
        run.flush_to_journal()
        run.tracer.selfdestruct(address, heir, amount)
    deletes = fork < Fork.CANCUN or journal.was_created(address)
    if heir != address:
        journal.transfer(address, heir, amount)
    elif deletes:
        journal.add_balance(address, -amount)  # its heir is gone too: the ether is burnt
    if deletes and journal.self_destruct(address) and gas.selfdestruct_refund:
        journal.add_refund(gas.selfdestruct_refund)
    return Halt.SELFDESTRUCT


HANDLERS: Final = {
    "BALANCE": balance,
    "SELFBALANCE": selfbalance,
    "EXTCODESIZE": extcodesize,
    "EXTCODEHASH": extcodehash,
    "EXTCODECOPY": extcodecopy,
    "BLOCKHASH": blockhash,
    "SELFDESTRUCT": selfdestruct,
}
