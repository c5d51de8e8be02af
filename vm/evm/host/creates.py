"""CREATE and CREATE2: checks, the new address, and the message that runs the init code."""

from __future__ import annotations

from typing import Final

from chain.crypto import create2_address, create_address
from chain.forks import Fork
from chain.gas_schedule import SCHEDULES
from vm.evm.faults import CODE_STORE_OUT_OF_GAS, words_of
from vm.evm.frame import Frame
from vm.evm.host.protocol import Handler, OpcodeHost
from vm.evm.layout import Field
from vm.limits import CALL_DEPTH, NONCE_MAX
from vm.message import CREATES, CallKind, Halt, Message, Outcome

GAS: Final = int(Field.GAS)
SP: Final = int(Field.SP)


def _create(kind: CallKind) -> Handler:
    is_salted = kind is CallKind.CREATE2
    low = 0 if is_salted else -32

    def create(run: OpcodeHost, frame: Frame) -> Halt | None:
        words, view, mine, journal = frame.words, frame.view, frame.message, run.journal
        sp = words[SP]
        size = int.from_bytes(view[sp + low : sp + low + 8], "little")
        if size > 2 * run.code_bytes_max and run.fork >= Fork.SHANGHAI:
            return Halt.OUT_OF_GAS
        start = int.from_bytes(view[sp + low + 32 : sp + low + 40], "little") if size else 0
        value = int.from_bytes(view[sp + low + 64 : sp + low + 96], "little")
        salt = int.from_bytes(view[sp - 32 : sp], "little") if is_salted else None
        view[sp - 32 : sp] = bytes(32)
        frame.set_returndata(b"")
        nonce = journal.nonce(mine.to)
        why = _refusal(mine.depth, nonce, journal.balance(mine.to), value)
        if why is not None and run.tracer is None:
            return None
        initcode = bytes(frame.memory[start : start + size])
        left = words[GAS]
        granted = SCHEDULES[run.fork].grantable(left)
        address = create_address(mine.to, nonce) if salt is None else create2_address(mine.to, salt, initcode)
        message = Message(kind, mine.to, address, address, value, initcode, granted, mine.depth + 1, salt=salt)
        if why is not None:
            run.report_refused(message, why)
            return None
        words[GAS] = left - granted
        journal.set_nonce(mine.to, nonce + 1)
        run.begin_create(message)
        return None

    return create


def _refusal(depth: int, nonce: int, balance: int, value: int) -> Halt | None:
    """Why a creation does not begin, None if it does; the creator keeps its gas and nonce."""
    if depth >= CALL_DEPTH:
        return Halt.CALL_TOO_DEEP
    if balance < value:
        return Halt.INSUFFICIENT_BALANCE
    return Halt.NONCE_OVERFLOW if nonce >= NONCE_MAX else None


def deploy(run: OpcodeHost, message: Message, returned: Outcome) -> Outcome:
    """Check and pay for the code a creation returned, and install it."""
    fork, code = run.fork, returned.output
    if code[:1] == b"\xef" and fork >= Fork.LONDON:
        return _undeployed(Halt.CODE_STARTS_WITH_EF)
    deposit = SCHEDULES[fork].code_deposit_byte * len(code)
    if deposit > returned.gas_left:
        # Frontier left the contract without code; from Homestead on the creation fails (EIP-2).
        if fork < Fork.HOMESTEAD:
            return Outcome(returned.halt, returned.gas_left, created=message.to, code=code)
        return Outcome(Halt.OUT_OF_GAS, 0, fault=CODE_STORE_OUT_OF_GAS)
    if len(code) > run.code_bytes_max and fork >= Fork.SPURIOUS_DRAGON:
        return _undeployed(Halt.CODE_TOO_LARGE)
    run.journal.set_code(message.to, code)
    return Outcome(returned.halt, returned.gas_left - deposit, created=message.to, code=code)


def _undeployed(halt: Halt) -> Outcome:
    return Outcome(halt, 0, fault=words_of(halt))


HANDLERS: Final[dict[str, Handler]] = {
    kind.name: _create(kind) for kind in CREATES
}
