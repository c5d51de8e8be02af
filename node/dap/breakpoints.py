"""DAP requests that set breakpoints, translated into breakpoints of the node."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from node.dap import arguments as ask
from node.dap.arguments import Refused
from node.dap.codes import CodeSelector
from node.dap.debuggee import Debuggee, Row
from node.dap.points import Asked, is_hit_condition
from node.dap.values import WORD_BYTES, frame_and_scope

Json = dict[str, Any]

REASONS = {"lines": "breakpoint", "instructions": "instruction breakpoint", "data": "data breakpoint"}
REASONS |= {"functions": "function breakpoint", "exceptions": "exception"}
"""Reason of a stop by the kind of request that set the breakpoint."""
BREAKPOINTS_MAX = 1_000
"""Most breakpoints in one request; a session takes fewer."""
_NUMBER = r"(0[xX][0-9a-fA-F]{1,64}|[0-9]{1,78})"
_SLOT = re.compile(rf"(storage|transient)\[\s*{_NUMBER}\s*\]")
_MEMORY = re.compile(rf"mem(?:ory)?\[\s*{_NUMBER}\s*:\s*{_NUMBER}\s*\]")
_PLAIN = re.compile(_NUMBER)


class DataId(NamedTuple):
    """The slot or memory area of a data breakpoint."""

    kind: str
    """storage, transient or memory."""
    address: str
    slot: str
    """The slot, or the first byte of memory."""
    length: str = "0"
    """Bytes of memory."""

    def points(self, access: str, condition: str) -> list[Json]:
        """The node's breakpoints for read, write or readWrite."""
        wanted = ("write", "read") if access == "readWrite" else (access,)
        if self.kind == "memory":
            area = {"offset": self.slot, "length": self.length, "address": self.address}
            return [{"kind": f"memory_{way}", **area} for way in wanted]
        if self.kind == "storage":
            return [{"kind": f"slot_{way}", "slot": self.slot, "address": self.address} for way in wanted]
        names = {"write": "TSTORE", "read": "TLOAD"}
        where = f"stack[0] == {self.slot}" + (f" && ({condition})" if condition else "")
        return [
            {"kind": "opcode", "opcode": names[way], "address": self.address, "condition": where} for way in wanted
        ]


def _asked(wanted: ask.BreakpointCondition, **more: Any) -> Asked:
    refused = more.pop("refused", "")
    if not is_hit_condition(wanted.hit_condition):
        refused = refused or "a hit condition is a number, optionally after ==, >, >=, <, <= or %"
    return Asked(condition=wanted.condition.strip(), hits=wanted.hit_condition, refused=refused, **more)


def _fixed(*points: Json) -> tuple[tuple[tuple[str, object], ...], ...]:
    return tuple(tuple(point.items()) for point in points)


def _set(it: Debuggee, group: str, wanted: list[Asked]) -> Json:
    if len(wanted) > BREAKPOINTS_MAX:
        raise Refused(f"{len(wanted)} breakpoints in one request; the limit is {BREAKPOINTS_MAX}")
    return {"breakpoints": it.points.replace(it, group, wanted)}


def set_breakpoints(it: Debuggee, arguments: ask.SetBreakpoints) -> Json:
    """Set breakpoints on lines of a listing, also of a code that has not run yet."""
    wanted = arguments.breakpoints
    if wanted is None:
        wanted = [ask.SourceBreakpoint(line=line) for line in arguments.lines]
    place, refused = None, ""
    try:
        place = it.place_of(arguments.source)
    except Refused as error:
        group, refused = f"lines {arguments.source.name} {arguments.source.path}", str(error)
    else:
        code = it.code_meant(place)
        group = f"lines {place.name if code is None else code.name}"
        it.points.rename(f"lines {place.name}", group)
    points = [
        _asked(point, place=place, line=it.row_in(point.line) + 1, log=point.log_message, refused=refused)
        for point in wanted
    ]
    return _set(it, group, points)


def set_instruction_breakpoints(it: Debuggee, arguments: ask.SetInstructionBreakpoints) -> Json:
    """Set breakpoints on addresses of the disassembly; a plain pc means that pc in any code."""
    wanted = []
    for point in arguments.breakpoints:
        try:
            number, pc = it.at_address(point.instruction_reference, point.offset)
            if pc < 0 or number < 0:
                raise Refused("the address is before the code")
        except Refused as error:
            wanted.append(_asked(point, refused=str(error)))
            continue
        if number:
            wanted.append(_asked(point, place=CodeSelector(number=number), pc=pc))
        else:
            wanted.append(_asked(point, pc=pc, fixed=_fixed({"kind": "pc", "pc": pc})))
    return _set(it, "instructions", wanted)


def set_function_breakpoints(it: Debuggee, arguments: ask.SetFunctionBreakpoints) -> Json:
    """Set breakpoints on functions: an opcode's name, or an address whose calls stop."""
    wanted = []
    for point in arguments.breakpoints:
        name = point.name.strip()
        is_address = name[:2] in ("0x", "0X")
        target: Json = {"kind": "call", "target": name} if is_address else {"kind": "opcode", "opcode": name}
        wanted.append(_asked(point, fixed=_fixed(target)))
    return _set(it, "functions", wanted)


def set_exception_breakpoints(it: Debuggee, arguments: ask.SetExceptionBreakpoints) -> Json:
    """Set breakpoints on failing operations; one answer per filter, then per filter with options."""
    wanted = []
    for name, condition in (*((name, "") for name in arguments.filters), *_options(arguments)):
        refused = "" if name == "failure" else f"no filter {name[:100]}"
        if condition:
            refused = refused or "a filter takes no condition"
        wanted.append(Asked(fixed=_fixed({"kind": "revert"}), refused=refused))
    return _set(it, "exceptions", wanted)


def _options(arguments: ask.SetExceptionBreakpoints) -> list[tuple[str, str]]:
    return [(option.filter_id, option.condition) for option in arguments.filter_options]


def data_breakpoint_info(it: Debuggee, arguments: ask.DataBreakpointInfo) -> Json:
    """For a slot in a storage scope or bytes in a memory scope, ``storage[5]`` or ``mem[0:32]`` of a frame's account,
    or with ``asAddress`` for bytes of its memory.
    """
    frame, scope = None if arguments.frame_id is None else arguments.frame_id - 1, ""
    if arguments.variables_reference:
        frame, scope = frame_and_scope(arguments.variables_reference)
    name = arguments.name.strip()
    place = _bytes_of(arguments, name) if arguments.as_address else _place(arguments, name, scope)
    if place is None:
        return {"dataId": None, "description": "only memory and slots of storage can be watched: mem[0:32], storage[5]"}
    frames = it.frames()
    if not frames:
        return {"dataId": None, "description": "the run has ended: step back first"}
    if frame is not None and not 0 <= frame < len(frames):
        raise Refused(f"no frame {frame + 1}")
    address = frames[-1 if frame is None else frame]["address"]
    kind, slot, length = place
    what = f"{length} bytes of memory at {slot}" if kind == "memory" else f"{kind} slot {slot}"
    return {
        "dataId": ":".join(DataId(kind, address, slot, length)),
        "description": f"{what} of {address}",
        "accessTypes": ["write", "read", "readWrite"],
        "canPersist": True,
    }


def _bytes_of(arguments: ask.DataBreakpointInfo, name: str) -> tuple[str, str, str] | None:
    """Offset and length of an area of memory."""
    if not _PLAIN.fullmatch(name):
        return None
    length = WORD_BYTES if arguments.bytes is None else arguments.bytes
    return ("memory", hex(_number(name)), str(length)) if length else None


def _number(text: str) -> int:
    return int(text, 16 if text[:2] in ("0x", "0X") else 10)


def _place(arguments: ask.DataBreakpointInfo, name: str, scope: str) -> tuple[str, str, str] | None:
    """Kind, slot or first byte, and length, of a name in a scope (none: any scope)."""
    if found := _SLOT.fullmatch(name):
        return found[1], hex(_number(found[2])), "0"
    if found := _MEMORY.fullmatch(name):
        start, stop = _number(found[1]), _number(found[2])
        return ("memory", hex(start), str(stop - start)) if start < stop else None
    if scope == "memory":
        return _bytes_of(arguments, name)
    kind = {"storage": "storage", "transientStorage": "transient"}.get(scope)
    return None if kind is None or not _PLAIN.fullmatch(name) else (kind, hex(_number(name)), "0")


def set_data_breakpoints(it: Debuggee, arguments: ask.SetDataBreakpoints) -> Json:
    """Set breakpoints on slots and memory."""
    wanted = []
    for point in arguments.breakpoints:
        parts = point.data_id.split(":")
        if len(parts) != 4 or parts[0] not in ("storage", "transient", "memory"):
            wanted.append(_asked(point, refused="neither a slot nor memory"))
            continue
        found = DataId(*parts)
        asked = _asked(point, fixed=_fixed(*found.points(point.access_type, point.condition.strip())))
        wanted.append(asked if found.kind != "transient" else _without_condition(asked))
    return _set(it, "data", wanted)


def _without_condition(asked: Asked) -> Asked:
    """Drop the condition, which the node's breakpoints already contain."""
    return Asked(fixed=asked.fixed, hits=asked.hits, refused=asked.refused)


HANDLERS: dict[str, Row] = {
    "setBreakpoints": (ask.SetBreakpoints, set_breakpoints),
    "setInstructionBreakpoints": (ask.SetInstructionBreakpoints, set_instruction_breakpoints),
    "setFunctionBreakpoints": (ask.SetFunctionBreakpoints, set_function_breakpoints),
    "setExceptionBreakpoints": (ask.SetExceptionBreakpoints, set_exception_breakpoints),
    "setDataBreakpoints": (ask.SetDataBreakpoints, set_data_breakpoints),
}
"""Requests allowed before launch and while the program runs."""
INFO: dict[str, Row] = {"dataBreakpointInfo": (ask.DataBreakpointInfo, data_breakpoint_info)}
