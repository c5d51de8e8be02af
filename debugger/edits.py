"""Edits of the state at a position: plain data, validated and applied, so that a replay can apply them again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import msgspec

from chain.gas_schedule import SCHEDULES
from chain.types import Address
from debugger.errors import InvalidEdit, InvalidProgram
from debugger.hex import Number, address_of, data_of, number_of, storable
from debugger.limits import EDIT_BYTES, PROGRAM_GAS
from vm.code import address_of as memory_address
from vm.evm.execution import Execution
from vm.evm.layout import STACK_END, STACK_OFFSET, Field
from vm.evm.opcodes import opcodes
from vm.limits import STACK_ITEMS
from vm.message import CREATES


class Edit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A change of the running frame or of state at a step.

    stack: word ``index`` from the top becomes ``value`` · push: ``value`` on top · pop: the top goes ·
    memory: ``data`` at ``index`` · storage, transient: slot ``index`` of ``address`` (the running account)
    becomes ``value`` · calldata: becomes ``data`` · gas, pc: become ``value`` · balance: of ``address``.
    """

    kind: str
    step: int = 0
    """Set by the session."""
    index: Number | None = None
    value: Number | None = None
    data: str | None = None
    address: str | None = None

    def at(self, step: int) -> Edit:
        """A copy for a step, with large numbers as hex text."""
        index, value = (None if n is None else storable(n) for n in (self.index, self.value))
        return msgspec.structs.replace(self, step=step, index=index, value=value)


def _need(given: Number | None, field: str, largest: int = 2**256 - 1) -> int:
    if given is None:
        raise InvalidEdit(f"{field} is missing")
    return number_of(given, field, largest)


def _stack(execution: Execution, edit: Edit) -> None:
    frame = execution.frames[-1]
    index, value = _need(edit.index, "index", STACK_ITEMS), _need(edit.value, "value")
    at = frame.words[Field.SP] - 32 * (index + 1)
    if at < STACK_OFFSET:
        raise InvalidEdit(f"the stack has {frame.depth} words")
    frame.view[at : at + 32] = value.to_bytes(32, "little")


def _push(execution: Execution, edit: Edit) -> None:
    frame = execution.frames[-1]
    value, at = _need(edit.value, "value"), frame.words[Field.SP]
    if at == STACK_END:
        raise InvalidEdit("the stack is full")
    frame.view[at : at + 32] = value.to_bytes(32, "little")
    frame.words[Field.SP] = at + 32


def _pop(execution: Execution, _: Edit) -> None:
    frame = execution.frames[-1]
    if not frame.depth:
        raise InvalidEdit("the stack is empty")
    frame.words[Field.SP] -= 32


def _memory(execution: Execution, edit: Edit) -> None:
    frame = execution.frames[-1]
    start, data = _need(edit.index, "index", EDIT_BYTES), _data(edit)
    stop = start + len(data)
    if stop > frame.words[Field.MEMORY_SIZE] and data:
        if stop > EDIT_BYTES:
            raise InvalidEdit(f"memory beyond {EDIT_BYTES} bytes")
        words = (stop + 31) // 32
        frame.words[Field.RESULT_OFFSET] = 32 * words
        if not frame.grow():
            raise InvalidEdit("there is not enough memory for so large an area")
        frame.words[Field.MEMORY_SIZE] = 32 * words
        frame.words[Field.MEMORY_COST] = SCHEDULES[execution.fork].memory(words)
    frame.memory[start:stop] = data


def _storage(execution: Execution, edit: Edit) -> None:
    execution.journal.set_storage(
        _account(execution, edit), _need(edit.index, "index"), _need(edit.value, "value")
    )


def _transient(execution: Execution, edit: Edit) -> None:
    execution.journal.set_transient(
        _account(execution, edit), _need(edit.index, "index"), _need(edit.value, "value")
    )


def _balance(execution: Execution, edit: Edit) -> None:
    execution.journal.set_balance(_account(execution, edit), _need(edit.value, "value"))


def _calldata(execution: Execution, edit: Edit) -> None:
    frame = execution.frames[-1]
    if frame.message.kind in CREATES:
        raise InvalidEdit("init code has no calldata")
    data = _data(edit)
    frame.message = replace(frame.message, data=data)
    frame.words[Field.CALLDATA] = memory_address(data)
    frame.words[Field.CALLDATA_LENGTH] = len(data)


def _gas(execution: Execution, edit: Edit) -> None:
    frame = execution.frames[-1]
    frame.words[Field.GAS] = _need(edit.value, "value", PROGRAM_GAS)


def _pc(execution: Execution, edit: Edit) -> None:
    frame = execution.frames[-1]
    wanted, table, pc = _need(edit.value, "value", 1 << 32), opcodes(execution.fork), 0
    while pc < wanted and pc < frame.code.length:
        row = table.get(frame.code.padded[pc])
        pc += 1 + (row.immediate if row else 0)
    if pc != wanted or wanted > frame.code.length:
        raise InvalidEdit(f"no instruction begins at pc {wanted}")
    frame.words[Field.PC] = wanted


def _account(execution: Execution, edit: Edit) -> Address:
    return execution.frames[-1].message.to if edit.address is None else address_of(edit.address, "address")


def _data(edit: Edit) -> bytes:
    if edit.data is None:
        raise InvalidEdit("data is missing")
    return data_of(edit.data, "data", EDIT_BYTES)


_APPLY: Final[dict[str, Callable[[Execution, Edit], None]]] = {
    "stack": _stack,
    "push": _push,
    "pop": _pop,
    "memory": _memory,
    "storage": _storage,
    "transient": _transient,
    "balance": _balance,
    "calldata": _calldata,
    "gas": _gas,
    "pc": _pc,
}


def apply_edit(execution: Execution, edit: Edit) -> None:
    """Change the execution, which is at the edit's step. Raises `InvalidEdit` with nothing changed."""
    apply = _APPLY.get(edit.kind)
    if apply is None:
        raise InvalidEdit(f"no kind {edit.kind!r}"[:60] + f"; there are {', '.join(_APPLY)}")
    if not execution.frames:
        raise InvalidEdit("the run has ended: step back first")
    try:
        apply(execution, edit)
    except InvalidProgram as error:
        raise InvalidEdit(str(error)) from None
    execution.forget_slots()
