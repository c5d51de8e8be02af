"""DAP requests about values: scopes, variables in pages, expressions, memory; and changing them (a what-if branch)."""

from __future__ import annotations

import base64
from typing import Any

from node.dap.debuggee import Debuggee, Refused

Json = dict[str, Any]

SCOPES = ("position", "stack", "memory", "storage", "transientStorage", "returnData", "logs")
NAMES = {"transientStorage": "transient storage", "returnData": "return data"}
SCOPE_SHIFT = 8
"""A variables reference is the frame's id and, in the lower bits, the scope's number from 1; logs have theirs above."""
LOG_BASE = 1 << 24
WORD_BYTES = 32
PAGE = 1_000
MEMORY_BYTES_MAX = 1 << 20
_FIELDS = ("step", "pc", "opcode", "gasLeft", "depth", "halt", "codeSize")


def frame_and_scope(reference: int) -> tuple[int, str]:
    """Frame from 0 and scope of a reference."""
    number = reference & ((1 << SCOPE_SHIFT) - 1)
    if not 1 <= number <= len(SCOPES) or reference >> SCOPE_SHIFT < 1:
        raise Refused(f"no variables {reference}")
    return (reference >> SCOPE_SHIFT) - 1, SCOPES[number - 1]


def scopes(it: Debuggee, arguments: Json) -> Json:
    """All scopes of a frame, with their sizes."""
    frame = int(arguments["frameId"])
    pages = it.state(_living(it, frame - 1))["pages"]
    shown = []
    for number, scope in enumerate(SCOPES, 1):
        entry: Json = {"name": NAMES.get(scope, scope), "variablesReference": (frame << SCOPE_SHIFT) + number}
        entry["expensive"] = False
        if scope != "position":
            total = pages[scope]["total"]
            in_words = scope in ("memory", "returnData")
            entry["indexedVariables"] = -(-total // WORD_BYTES) if in_words else total
        shown.append(entry)
    return {"scopes": shown}


def _living(it: Debuggee, frame: int) -> int | None:
    """The frame to ask for; at the end of the run there is none but the last."""
    return frame if it.state(None)["halt"] is None else None


def variables(it: Debuggee, arguments: Json) -> Json:
    """A scope's variables, as many as are wanted."""
    reference = int(arguments["variablesReference"])
    if reference >= LOG_BASE:
        return {"variables": _log(it, reference - LOG_BASE)}
    frame, scope = frame_and_scope(reference)
    living = _living(it, frame)
    if scope == "position":
        state = it.state(living)
        return {"variables": [_variable(name, _plain(state[name])) for name in _FIELDS]}
    total = next(s for s in scopes(it, {"frameId": frame + 1})["scopes"] if s["variablesReference"] == reference)
    start = int(arguments.get("start") or 0)
    count = int(arguments.get("count") or 0) or total["indexedVariables"]
    stop = min(start + count, total["indexedVariables"])
    shown: list[Json] = []
    while start < stop:
        page = min(PAGE, stop - start)
        shown += _page(it, living, scope, start, page)
        start += page
    return {"variables": shown}


def _page(it: Debuggee, frame: int | None, scope: str, start: int, count: int) -> list[Json]:
    if scope == "stack":
        total = it.state(frame)["pages"]["stack"]["total"]
        words = it.state(frame, stack=(max(0, total - start - count), min(count, total - start)))["stack"][::-1]
        return [_variable(f"[{start + at}]", word) for at, word in enumerate(words)]
    if scope in ("memory", "returnData"):
        digits = it.state(frame, **{scope: (start * WORD_BYTES, count * WORD_BYTES)})[scope][2:]
        reference = f"{scope}:{'' if frame is None else frame}"
        size = 2 * WORD_BYTES
        return [
            _variable(f"{(start + at) * WORD_BYTES:#06x}", "0x" + digits[at * size : (at + 1) * size])
            | {"memoryReference": reference}
            for at in range(-(-len(digits) // size))
        ]
    found = it.state(frame, **{scope: (start, count)})[scope]
    if scope == "logs":
        return [
            _variable(f"[{start + at}]", log["address"]) | {"variablesReference": LOG_BASE + start + at}
            for at, log in enumerate(found)
        ]
    return [_variable(slot, value) for slot, value in found.items()]


def _log(it: Debuggee, number: int) -> list[Json]:
    found = it.state(None, logs=(number, 1))["logs"]
    if not found:
        raise Refused(f"no log {number}")
    topics = [_variable(f"topic {at}", topic) for at, topic in enumerate(found[0]["topics"])]
    return [_variable("address", found[0]["address"]), *topics, _variable("data", found[0]["data"])]


def _variable(name: str, value: str) -> Json:
    return {"name": name, "value": value, "variablesReference": 0}


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(str(value[name]) for name in ("reason", "message") if value.get(name))
    return "" if value is None else str(value)


def set_variable(it: Debuggee, arguments: Json) -> Json:
    """Edit a word of the stack, memory or a slot: the session goes on on a branch of its own."""
    frame, scope = frame_and_scope(int(arguments["variablesReference"]))
    name, value = str(arguments["name"]), str(arguments["value"]).strip()
    frames = it.state(None, callFrames=(0, 2_000))["callFrames"]
    if frame != len(frames) - 1:
        raise Refused("only the running frame can be edited")
    edits: dict[str, Json] = {
        "stack": {"kind": "stack", "index": name.strip("[]"), "value": value},
        "storage": {"kind": "storage", "index": name, "value": value, "address": frames[frame]["address"]},
        "transientStorage": {"kind": "transient", "index": name, "value": value, "address": frames[frame]["address"]},
        "memory": {"kind": "memory", "index": name, "data": value},
    }
    position = {"gasLeft": {"kind": "gas", "value": value}, "pc": {"kind": "pc", "value": value}}
    edit = position.get(name) if scope == "position" else edits.get(scope)
    if edit is None:
        raise Refused(f"{name} cannot be edited")
    it.call("edit", edit)
    return {"value": value}


def evaluate(it: Debuggee, arguments: Json) -> Json:
    """Value of an expression of the breakpoint language, in the running frame."""
    text = str(arguments["expression"])
    value = it.call("evaluate", text)
    if value is None:
        raise Refused(f"{text} has no value here")
    return {"result": f"{value} ({int(value, 16)})", "variablesReference": 0}


def _place(reference: str) -> tuple[str, int | None]:
    scope, _, frame = reference.partition(":")
    if scope not in ("memory", "returnData") or not (frame == "" or frame.isdecimal()):
        raise Refused(f"no memory {reference!r}")
    return scope, int(frame) if frame else None


def read_memory(it: Debuggee, arguments: Json) -> Json:
    """Bytes; what lies outside is unreadable."""
    scope, frame = _place(str(arguments["memoryReference"]))
    offset, count = int(arguments.get("offset") or 0), min(int(arguments["count"]), MEMORY_BYTES_MAX)
    skipped = max(0, -offset)
    shown = it.state(frame, **{scope: (max(0, offset), max(0, count - skipped))})[scope]
    content = bytes.fromhex(shown[2:])
    body: Json = {"address": hex(max(0, offset)), "unreadableBytes": count - len(content)}
    return body | ({"data": base64.b64encode(content).decode()} if content else {})


def write_memory(it: Debuggee, arguments: Json) -> Json:
    """Edit memory of the running frame."""
    scope, frame = _place(str(arguments["memoryReference"]))
    depth = it.state(None)["depth"]
    if scope != "memory" or frame not in (None, depth - 1):
        raise Refused("only memory of the running frame can be edited")
    data = base64.b64decode(arguments["data"])
    it.call("edit", {"kind": "memory", "index": int(arguments.get("offset") or 0), "data": "0x" + data.hex()})
    return {"bytesWritten": len(data)}


HANDLERS = {
    "scopes": scopes,
    "variables": variables,
    "setVariable": set_variable,
    "evaluate": evaluate,
    "readMemory": read_memory,
    "writeMemory": write_memory,
}
