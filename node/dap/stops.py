"""DAP requests that set breakpoints, and why the session stopped, in the protocol's words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from node.dap.debuggee import CODE_SHIFT, PC_MASK, Code, Debuggee, Refused
from node.dap.values import WORD_BYTES, frame_and_scope
from zvmd.errors import ZvmdClientError

Json = dict[str, Any]

REASONS = {"lines": "breakpoint", "instructions": "instruction breakpoint", "data": "data breakpoint"}
REASONS |= {"functions": "function breakpoint", "exceptions": "exception"}
"""Reason of a stop by the kind of request that set the breakpoint."""
_NUMBER = r"(0x[0-9a-fA-F]+|\d+)"
_SLOT = re.compile(rf"(storage|transient)\[{_NUMBER}\]")
_MEMORY = re.compile(rf"mem(?:ory)?\[{_NUMBER}:{_NUMBER}\]")


class DataId(NamedTuple):
    """What a data breakpoint is on."""

    kind: str
    """storage, transient or memory."""
    address: str
    slot: str
    """Or the first byte of memory."""
    length: str = "0"
    """Bytes of memory."""

    def points(self, access: str) -> list[Json]:
        """The node's breakpoints for read, write or readWrite."""
        wanted = ("write", "read") if access == "readWrite" else (access,)
        if self.kind == "memory":
            area = {"offset": self.slot, "length": self.length, "address": self.address}
            return [{"kind": f"memory_{way}", **area} for way in wanted]
        if self.kind == "storage":
            return [{"kind": f"slot_{way}", "slot": self.slot, "address": self.address} for way in wanted]
        names = {"write": "TSTORE", "read": "TLOAD"}
        return [
            {
                "kind": "expression",
                "expression": f"op == {names[way]} && stack[0] == {self.slot} && address == {self.address}",
            }
            for way in wanted
        ]


def _set(it: Debuggee, group: str, wanted: Iterable[list[Json] | str]) -> Json:
    """Replace a group's breakpoints; each is one or more of the node's, or a text why it cannot be."""
    for number in it.points.pop(group, []):
        it.call("breakpoint_remove", number)
    numbers = it.points[group] = []
    answers: list[Json] = []
    for points in wanted:
        if isinstance(points, str):
            answers.append({"verified": False, "message": points})
            continue
        added: list[int] = []
        try:
            for point in points:
                added.append(it.call("breakpoint_add", point)["id"])
                numbers.append(added[-1])
        except ZvmdClientError as error:
            answers.append({"verified": False, "message": error.message})
        else:
            answers.append({"id": added[0], "verified": True})
    return {"breakpoints": answers}


def _at(code: Code | None, pc: int, condition: str) -> list[Json]:
    if condition:
        where = f"pc == {pc}" + (f" && address == {code.address}" if code is not None else "")
        return [{"kind": "expression", "expression": f"{where} && ({condition})"}]
    return [{"kind": "pc", "pc": pc} | ({"address": code.address} if code is not None else {})]


def set_breakpoints(it: Debuggee, arguments: Json) -> Json:
    """On lines of a listing."""
    number = int(arguments["source"].get("sourceReference") or 0)
    wanted = arguments.get("breakpoints") or []
    if not 1 <= number <= len(it.codes):
        return {"breakpoints": [{"verified": False, "message": "no listing of this session"} for _ in wanted]}
    code = it.code_numbered(number)
    rows = [int(point["line"]) - 1 for point in wanted]
    points: list[list[Json] | str] = [
        _at(code, code.pcs[row], point.get("condition") or "") if 0 <= row < len(code.pcs) else "no such line"
        for row, point in zip(rows, wanted, strict=True)
    ]
    answer = _set(it, f"lines {number}", points)
    for row, point in zip(rows, answer["breakpoints"], strict=True):
        point |= {"line": row + 1, "source": code.source}
        if point["verified"]:
            point["instructionReference"] = code.reference(code.pcs[row])
    return answer


def set_instruction_breakpoints(it: Debuggee, arguments: Json) -> Json:
    """On addresses of the disassembly; a bare pc means the pc of any code."""
    points: list[list[Json] | str] = []
    references = []
    for point in arguments.get("breakpoints") or []:
        at = int(point["instructionReference"], 0) + int(point.get("offset") or 0)
        number = at >> CODE_SHIFT
        code = it.code_numbered(number) if number else None
        points.append(_at(code, at & PC_MASK, point.get("condition") or ""))
        references.append(hex(at))
    answer = _set(it, "instructions", points)
    for reference, point in zip(references, answer["breakpoints"], strict=True):
        point["instructionReference"] = reference
    return answer


def set_function_breakpoints(it: Debuggee, arguments: Json) -> Json:
    """A function is an opcode's name, or an address: where it is called."""
    points: list[list[Json] | str] = []
    for wanted in arguments.get("breakpoints") or []:
        name, condition = str(wanted["name"]).strip(), wanted.get("condition") or ""
        if name.startswith("0x"):
            points.append([{"kind": "call", "target": name}] if not condition else "a call takes no condition")
        elif condition:
            points.append([{"kind": "expression", "expression": f"op == {name.upper()} && ({condition})"}])
        else:
            points.append([{"kind": "opcode", "opcode": name}])
    return _set(it, "functions", points)


def set_exception_breakpoints(it: Debuggee, arguments: Json) -> Json:
    """Before what makes a message fail."""
    wanted = set(arguments.get("filters") or []) | {o["filterId"] for o in arguments.get("filterOptions") or []}
    if wanted - {"failure"}:
        raise Refused(f"no filter {', '.join(sorted(wanted - {'failure'}))}")
    return _set(it, "exceptions", [[{"kind": "revert"}] for _ in wanted])


def data_breakpoint_info(it: Debuggee, arguments: Json) -> Json:
    """For a slot in a storage scope or bytes in a memory scope, ``storage[5]`` or ``mem[0:32]`` of the running account,
    or with ``asAddress`` for bytes of its memory.
    """
    reference = int(arguments.get("variablesReference") or 0)
    frame, scope = frame_and_scope(reference) if reference else (None, "")
    name = str(arguments["name"]).strip()
    place = _bytes_of(arguments, name) if arguments.get("asAddress") else _place(arguments, name, scope)
    if place is None:
        return {"dataId": None, "description": "only memory and slots of storage can be watched: mem[0:32], storage[5]"}
    frames = it.state(None, callFrames=(0, 2_000))["callFrames"]
    if not frames:
        return {"dataId": None, "description": "the run has ended: step back first"}
    address = frames[-1 if frame is None else min(frame, len(frames) - 1)]["address"]
    kind, slot, length = place
    what = f"{length} bytes of memory at {slot}" if kind == "memory" else f"{kind} slot {slot}"
    return {
        "dataId": ":".join(DataId(kind, address, slot, length)),
        "description": f"{what} of {address}",
        "accessTypes": ["write", "read", "readWrite"],
        "canPersist": True,
    }


def _bytes_of(arguments: Json, name: str) -> tuple[str, str, str]:
    """An address in the memory, and how many bytes."""
    return "memory", hex(int(name, 0)), str(int(arguments.get("bytes") or WORD_BYTES))


def _place(arguments: Json, name: str, scope: str) -> tuple[str, str, str] | None:
    """Kind, slot or first byte, and length, of what a name in a scope (none: anywhere) means."""
    if found := _SLOT.fullmatch(name):
        return found[1], hex(int(found[2], 0)), "0"
    if found := _MEMORY.fullmatch(name):
        start, stop = int(found[1], 0), int(found[2], 0)
        return ("memory", hex(start), str(stop - start)) if start < stop else None
    if scope == "memory":
        return _bytes_of(arguments, name)
    kind = {"storage": "storage", "transientStorage": "transient"}.get(scope)
    return None if kind is None else (kind, name, "0")


def set_data_breakpoints(it: Debuggee, arguments: Json) -> Json:
    """On slots and memory."""
    points: list[list[Json] | str] = []
    for wanted in arguments.get("breakpoints") or []:
        parts = str(wanted["dataId"]).split(":")
        if len(parts) != 4 or parts[0] not in ("storage", "transient", "memory"):
            points.append("no slot and no memory")
        else:
            points.append(DataId(*parts).points(wanted.get("accessType") or "write"))
    return _set(it, "data", points)


def reason_of(it: Debuggee, hit: list[int]) -> str:
    """Why it stopped, in the protocol's words."""
    for group, numbers in it.points.items():
        if set(numbers) & set(hit):
            return REASONS[group.partition(" ")[0]]
    return "breakpoint"


HANDLERS = {
    "setBreakpoints": set_breakpoints,
    "setInstructionBreakpoints": set_instruction_breakpoints,
    "setFunctionBreakpoints": set_function_breakpoints,
    "setExceptionBreakpoints": set_exception_breakpoints,
    "dataBreakpointInfo": data_breakpoint_info,
    "setDataBreakpoints": set_data_breakpoints,
}
