"""CALL, CALLCODE, DELEGATECALL, STATICCALL: what they cost and the messages they become."""

from __future__ import annotations

from typing import Final

from chain.console_log import CONSOLE
from chain.forks import Fork
from chain.types import Address
from vm.errors import PrecompileError
from vm.evm import gas
from vm.evm.frame import Frame
from vm.evm.host.accounts import charge_cold_account
from vm.evm.host.protocol import Handler, OpcodeHost
from vm.evm.layout import Field
from vm.faults import OUT_OF_GAS
from vm.limits import CALL_DEPTH
from vm.message import CallKind, Halt, Message, Outcome
from vm.precompiles import precompile

GAS: Final = int(Field.GAS)
SP: Final = int(Field.SP)
OUTPUT_OFFSET: Final = int(Field.OUTPUT_OFFSET)
OUTPUT_LENGTH: Final = int(Field.OUTPUT_LENGTH)

_NOTHING: Final = b""


def _delegation_gas(run: OpcodeHost, target: Address) -> int:
    """Gas to reach the code a delegated account points to, which is warm from then on (EIP-7702)."""
    if run.fork < Fork.PRAGUE:
        return 0
    code = run.code_of(target)
    if code is None or code.delegate is None:
        return 0
    is_cold = code.delegate not in run.precompiles and run.journal.warm_account(code.delegate)
    return gas.COLD_ACCOUNT if is_cold else gas.WARM_ACCESS


def _value_gas(run: OpcodeHost, kind: CallKind, target: Address, value: int) -> int:
    """Gas for moving value and for bringing an account into being."""
    cost = gas.CALL_VALUE if value else 0
    if kind is CallKind.CALL:
        if run.fork >= Fork.SPURIOUS_DRAGON:
            if value and run.journal.account(target).is_empty:
                cost += gas.NEW_ACCOUNT
        elif not run.journal.exists(target):
            cost += gas.NEW_ACCOUNT
    return cost


def _call(kind: CallKind) -> Handler:
    has_value = kind in (CallKind.CALL, CallKind.CALLCODE)
    top = 160 if has_value else 128

    def call(run: OpcodeHost, frame: Frame) -> Halt | None:
        words, view, mine = frame.words, frame.view, frame.message
        sp = words[SP]
        target = Address(bytes(view[sp + top - 32 : sp + top - 12])[::-1])
        if not charge_cold_account(run, frame, target, gas.COLD_ACCOUNT_EXTRA):
            return Halt.OUT_OF_GAS
        value = int.from_bytes(view[sp + 96 : sp + 128], "little") if has_value else 0
        left = words[GAS] - _delegation_gas(run, target) - _value_gas(run, kind, target, value)
        if left < 0:
            return Halt.OUT_OF_GAS
        granted = int.from_bytes(view[sp + top : sp + top + 32], "little")
        if run.fork >= Fork.TANGERINE_WHISTLE:
            granted = min(granted, left - left // 64)
        elif granted > left:
            return Halt.OUT_OF_GAS
        left -= granted
        if value:
            granted += gas.CALL_STIPEND
        words[GAS] = left
        frame.set_returndata(_NOTHING)
        size = int.from_bytes(view[sp + 32 : sp + 40], "little")
        start = int.from_bytes(view[sp + 64 : sp + 72], "little") if size else 0
        wanted = words[OUTPUT_LENGTH] = int.from_bytes(view[sp - 32 : sp - 24], "little")
        words[OUTPUT_OFFSET] = int.from_bytes(view[sp : sp + 8], "little") if wanted else 0
        view[sp - 32 : sp] = bytes(32)
        is_deep = mine.depth >= CALL_DEPTH
        if is_deep or (value and run.journal.balance(mine.to) < value):
            words[GAS] = left + granted
            if run.tracer is not None:
                data = bytes(frame.memory[start : start + size])
                why = Halt.CALL_TOO_DEEP if is_deep else Halt.INSUFFICIENT_BALANCE
                run.report_refused(mine.child(kind, target, value, data, granted), why)
            return None
        message = mine.child(kind, target, value, bytes(frame.memory[start : start + size]), granted)
        if run.context.console is not None and message.to == CONSOLE:
            run.context.console.add(message.data)
        run.begin_call(message)
        return None

    return call


def run_precompile(fork: Fork, address: Address, message: Message) -> Outcome:
    """Run the precompiled contract of this address, which a message calls."""
    contract = precompile(fork, address)
    assert contract is not None
    left = message.gas - contract.gas(message.data)
    if left < 0:
        return Outcome(Halt.OUT_OF_GAS, 0, fault=OUT_OF_GAS)
    try:
        return Outcome(Halt.STOP, left, contract.run(message.data))
    except PrecompileError as error:
        return Outcome(Halt.PRECOMPILE_FAILURE, 0, fault=str(error))


HANDLERS: Final[dict[str, Handler]] = {
    kind.name: _call(kind)
    for kind in (CallKind.CALL, CallKind.CALLCODE, CallKind.DELEGATECALL, CallKind.STATICCALL)
}
