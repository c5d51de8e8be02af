"""DAP requests that change values; the session continues on a new branch."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from node.dap import arguments as ask
from node.dap.arguments import Refused
from node.dap.debuggee import Debuggee, Row
from node.dap.values import WORD_BYTES, frame_and_scope, memory_place, state_of

Json = dict[str, Any]

EDIT_BYTES_MAX = 1 << 20
"""As `debugger.limits.EDIT_BYTES`."""
_NUMBER = r"0[xX][0-9a-fA-F]{1,64}|[0-9]{1,78}"
_PLAIN = re.compile(_NUMBER)
_PLACE = re.compile(rf"(stack|storage|transient|mem|calldata)\s*\[\s*({_NUMBER})\s*(?::\s*({_NUMBER})\s*)?\]")
_HEX = re.compile(r"0[xX](?:[0-9a-fA-F]{2})*")


def set_variable(it: Debuggee, arguments: ask.SetVariable) -> Json:
    """Edit a word of the stack, memory, calldata or a slot, gas or the pc."""
    where = frame_and_scope(arguments.variables_reference)
    name = arguments.name.strip()
    frame = _running(it, where.frame)
    if where.scope in ("memory", "calldata"):
        start = 0 if name == "selector" else _number(name)
        size = state_of(it, frame)["pages"][where.scope]["total"]
        length = 4 if name == "selector" else min(WORD_BYTES, max(0, size - start))
        return {"value": _put_bytes(it, frame, where.scope, start, length, arguments.value)}
    kind = {"stack": "stack", "storage": "storage", "transientStorage": "transient"}.get(where.scope)
    if kind is not None:
        return {"value": _put_word(it, frame, kind, _number(name.strip("[]")), arguments.value)}
    if where.scope == "position" and name in ("gasLeft", "pc"):
        return {"value": _put_register(it, name, arguments.value)}
    raise Refused(f"{name[:100]} cannot be edited")


def set_expression(it: Debuggee, arguments: ask.SetExpression) -> Json:
    """Edit ``stack[0]``, ``mem[0:32]``, ``storage[5]``, ``transient[5]``, ``calldata[4]``, ``gas`` and the like."""
    text = arguments.expression.strip()
    frame = _running(it, None if arguments.frame_id is None else arguments.frame_id - 1)
    if text in ("gas", "pc"):
        return {"value": _put_register(it, text, arguments.value)}
    if text == "calldata":
        it.call("edit", {"kind": "calldata", "data": arguments.value.strip()})
        return {"value": arguments.value.strip()}
    found = _PLACE.fullmatch(text)
    if found is None or (found[1] == "mem" and found[3] is None) or (found[3] and found[1] not in ("mem", "calldata")):
        can = "stack[0], mem[0:32], storage[5], transient[5], calldata[4], calldata, gas and pc"
        raise Refused(f"{text[:100]} cannot be set; settable are {can}")
    start = _number(found[2])
    if found[1] in ("mem", "calldata"):
        length = WORD_BYTES if found[3] is None else _number(found[3]) - start
        scope = "memory" if found[1] == "mem" else "calldata"
        return {"value": _put_bytes(it, frame, scope, start, length, arguments.value)}
    return {"value": _put_word(it, frame, found[1], start, arguments.value)}


def write_memory(it: Debuggee, arguments: ask.WriteMemory) -> Json:
    """Edit memory or calldata of the running frame."""
    where = memory_place(it, arguments.memory_reference)
    frame = _running(it, where.frame)
    try:
        data = base64.b64decode(arguments.data, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("data is not base64") from None
    if arguments.offset < 0:
        raise Refused("the offset is before the first byte")
    if where.scope == "calldata" and arguments.allow_partial:
        data = data[: max(0, state_of(it, frame)["pages"]["calldata"]["total"] - arguments.offset)]
    if data:
        _splice(it, frame, where.scope, arguments.offset, data)
    return {"bytesWritten": len(data)}


def _running(it: Debuggee, frame: int | None) -> int:
    """Check that the frame (None: the running one) is the running one. Raises `Refused`."""
    state = it.state(None)
    if state["halt"] is not None:
        raise Refused("the run has ended: step back first")
    last = state["pages"]["callFrames"]["total"] - 1
    if frame not in (None, last):
        raise Refused("only the running frame can be edited")
    return int(last)


def _number(text: str) -> int:
    if not _PLAIN.fullmatch(text):
        raise Refused(f"not a number: {text[:100]!r}")
    return int(text, 16 if text[:2] in ("0x", "0X") else 10)


def _value(it: Debuggee, text: str) -> int:
    """A number, or the value of an expression."""
    text = text.strip()
    if _PLAIN.fullmatch(text):
        return _number(text)
    found = it.call("evaluate", text)
    if not isinstance(found, str):
        raise Refused(f"{text[:100]} is not a number here")
    return int(found, 16)


def _put_word(it: Debuggee, frame: int, kind: str, index: int, text: str) -> str:
    value, edit = _value(it, text), {"kind": kind, "index": hex(index)}
    if kind in ("storage", "transient"):
        edit["address"] = state_of(it, frame, callFrames=(frame, 1))["callFrames"][0]["address"]
    it.call("edit", edit | {"value": hex(value)})
    return hex(value)


def _put_register(it: Debuggee, name: str, text: str) -> str:
    value = _value(it, text)
    it.call("edit", {"kind": "pc" if name == "pc" else "gas", "value": hex(value)})
    return str(value)


def _put_bytes(it: Debuggee, frame: int, scope: str, start: int, length: int, text: str) -> str:
    """A number as so many bytes, or hex digits that spell exactly so many bytes."""
    if not 0 < length <= EDIT_BYTES_MAX:
        raise Refused("the range is outside of it")
    text = text.strip()
    if _HEX.fullmatch(text) and len(text) == 2 + 2 * length:
        data = bytes.fromhex(text[2:])
    else:
        value = _value(it, text)
        if value >> 8 * length:
            raise Refused(f"{text[:100]} does not fit into {length} bytes")
        data = value.to_bytes(length, "big")
    _splice(it, frame, scope, start, data)
    return "0x" + data.hex()


def _splice(it: Debuggee, frame: int, scope: str, start: int, data: bytes) -> None:
    if scope == "memory":
        it.call("edit", {"kind": "memory", "index": hex(start), "data": "0x" + data.hex()})
        return
    if scope != "calldata":
        raise Refused("return data cannot be edited")
    whole = bytes.fromhex(state_of(it, frame, calldata=(0, EDIT_BYTES_MAX))["calldata"][2:])
    if start + len(data) > len(whole):
        raise Refused(f"calldata has {len(whole)} bytes")
    it.call("edit", {"kind": "calldata", "data": "0x" + (whole[:start] + data + whole[start + len(data) :]).hex()})


HANDLERS: dict[str, Row] = {
    "setVariable": (ask.SetVariable, set_variable),
    "setExpression": (ask.SetExpression, set_expression),
    "writeMemory": (ask.WriteMemory, write_memory),
}
