"""CALL, CALLCODE, DELEGATECALL, STATICCALL: what they cost and the messages they become."""

from __future__ import annotations

from typing import Final

from chain.brief import before_long_work
from chain.console_log import CONSOLE
from chain.forks import Fork
from chain.gas_schedule import SCHEDULES, GasSchedule
from chain.types import Address
from vm.errors import PrecompileError
from vm.evm.faults import OUT_OF_GAS
from vm.evm.frame import Frame
from vm.evm.host.accounts import charge_cold_account
from vm.evm.host.protocol import Handler, OpcodeHost
from vm.evm.layout import Field
from vm.limits import BRIEF_PRECOMPILE_GAS, CALL_DEPTH
from vm.message import CallKind, Halt, Message, Outcome
from vm.precompiles import precompile

GAS: Final = int(Field.GAS)
SP: Final = int(Field.SP)
OUTPUT_OFFSET: Final = int(Field.OUTPUT_OFFSET)
OUTPUT_LENGTH: Final = int(Field.OUTPUT_LENGTH)

_NOTHING: Final = b""


def _delegation_gas(run: OpcodeHost, gas: GasSchedule, target: Address) -> int:
    """Gas to reach the code a delegated account points to, which is warm from then on (EIP-7702)."""
    if run.fork < Fork.PRAGUE:
        return 0
    code = run.code_of(target)
    if code is None or code.delegate is None:
        return 0
    is_cold = code.delegate not in run.precompiles and run.journal.warm_account(code.delegate)
    return gas.delegation(is_cold=is_cold)


def _call(kind: CallKind) -> Handler:
    has_value = kind in (CallKind.CALL, CallKind.CALLCODE)
    top = 160 if has_value else 128

    def call(run: OpcodeHost, frame: Frame) -> Halt | None:
        words, view, mine, gas = frame.words, frame.view, frame.message, SCHEDULES[run.fork]
        sp = words[SP]
        target = Address(bytes(view[sp + top - 32 : sp + top - 12])[::-1])
        if not charge_cold_account(run, frame, target, gas.cold_account_extra):
            return Halt.OUT_OF_GAS
        value = int.from_bytes(view[sp + 96 : sp + 128], "little") if has_value else 0
        is_new = kind is CallKind.CALL and run.journal.would_be_new(target, value)
        left = words[GAS] - _delegation_gas(run, gas, target) - gas.call(has_value=value > 0, is_new=is_new)
        if left < 0:
            return Halt.OUT_OF_GAS
        granted = int.from_bytes(view[sp + top : sp + top + 32], "little")
        if gas.call_withheld_divisor:
            granted = min(granted, gas.grantable(left))
        elif granted > left:
            return Halt.OUT_OF_GAS
        left -= granted
        if value:
            granted += gas.call_stipend
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
    price = contract.gas(message.data)
    left = message.gas - price
    if left < 0:
        return Outcome(Halt.OUT_OF_GAS, 0, fault=OUT_OF_GAS)
    if price > BRIEF_PRECOMPILE_GAS:
        before_long_work()
    try:
        return Outcome(Halt.STOP, left, contract.run(message.data))
    except PrecompileError as error:
        return Outcome(Halt.PRECOMPILE_FAILURE, 0, fault=str(error))


HANDLERS: Final[dict[str, Handler]] = {
    kind.name: _call(kind)
    for kind in (CallKind.CALL, CallKind.CALLCODE, CallKind.DELEGATECALL, CallKind.STATICCALL)
}
