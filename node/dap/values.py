"""DAP requests about values: scopes, variables in pages, expressions, memory."""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

from node.dap import arguments as ask
from node.dap.arguments import Refused, number_in
from node.dap.debuggee import Debuggee, Row
from zvmd.session_view import selector_bytes

Json = dict[str, Any]

SCOPES = ("position", "stack", "memory", "storage", "transientStorage", "returnData", "logs", "calldata")
ORDER = ("position", "stack", "calldata", "memory", "storage", "transientStorage", "returnData", "logs")
"""Names of the scopes as editors show them."""
NAMES = {"transientStorage": "transient storage", "returnData": "return data"}
BYTES = ("memory", "returnData", "calldata")
"""Scopes that are bytes, shown as words."""
SCOPE_SHIFT = 8
"""A variables reference has the scope's number, from 1, in its lower bits below the frame's id; logs follow them."""
LOG_BASE = 1 << 24
WORD_BYTES = 32
PAGE = 1_000
VARIABLES_MAX = 10_000
"""Variables in one response; one more says how many were left out."""
MEMORY_BYTES_MAX = 1 << 20
SHOWN_BYTES = 64
"""Bytes of calldata or memory shown in a line; its memory reference gives the rest."""
_FIELDS = ("step", "pc", "opcode", "gasLeft", "depth", "halt", "codeSize")


class Where(NamedTuple):
    """A scope of a frame."""

    frame: int
    """From 0."""
    scope: str


def frame_and_scope(reference: int) -> Where:
    """The frame, from 0, and the scope of a reference."""
    number = reference & ((1 << SCOPE_SHIFT) - 1)
    if not 1 <= number <= len(SCOPES) or not 1 <= reference >> SCOPE_SHIFT < LOG_BASE >> SCOPE_SHIFT:
        raise Refused(f"no variables {reference}")
    return Where((reference >> SCOPE_SHIFT) - 1, SCOPES[number - 1])


def reference_of(frame: int, scope: str) -> int:
    """The reference of a scope of a frame, from 0."""
    return (frame + 1 << SCOPE_SHIFT) + SCOPES.index(scope) + 1


def state_of(it: Debuggee, frame: int, **windows: tuple[int, int]) -> Json:
    """The state at a frame, from 0; at the end of the run only the last frame exists. Raises `Refused`."""
    state = it.state(None, **windows)
    count = max(1, state["pages"]["callFrames"]["total"])
    if not 0 <= frame < count:
        raise Refused(f"no frame {frame + 1}: there are {count}")
    return state if frame == count - 1 else it.state(frame, **windows)


def scopes(it: Debuggee, arguments: ask.FrameArguments) -> Json:
    """All scopes of a frame, with their sizes."""
    frame = arguments.frame_id - 1
    pages = state_of(it, frame)["pages"]
    shown = []
    for scope in ORDER:
        entry: Json = {"name": NAMES.get(scope, scope), "variablesReference": reference_of(frame, scope)}
        named, indexed = _counts(scope, 0 if scope == "position" else pages[scope]["total"])
        entry |= {"expensive": False, "namedVariables": named, "indexedVariables": indexed}
        shown.append(entry)
    return {"scopes": shown}


def _counts(scope: str, total: int) -> tuple[int, int]:
    """Named and indexed variables: calldata begins with a selector, the words follow."""
    if scope == "position":
        return len(_FIELDS), 0
    selector = selector_bytes(total) if scope == "calldata" else 0
    return min(1, selector), -(-(total - selector) // WORD_BYTES) if scope in BYTES else total


def variables(it: Debuggee, arguments: ask.Variables) -> Json:
    """A page of a scope's variables."""
    if arguments.variables_reference >= LOG_BASE:
        found = _log(it, arguments.variables_reference - LOG_BASE)
        return {"variables": [] if arguments.filter == "indexed" else _chosen(found, arguments)}
    where = frame_and_scope(arguments.variables_reference)
    state = state_of(it, where.frame)
    if where.scope == "position":
        found = [_variable(name, _plain(state[name])) for name in _FIELDS]
        return {"variables": [] if arguments.filter == "indexed" else _chosen(found, arguments)}
    total = state["pages"][where.scope]["total"]
    named, indexed = _counts(where.scope, total)
    first = named if arguments.filter == "indexed" else 0
    end = named if arguments.filter == "named" else named + indexed
    start = first + arguments.start
    stop = min(end, start + arguments.count) if arguments.count else end
    last = min(stop, start + VARIABLES_MAX)
    shown = _selector(it, where) if named and start < named <= last else []
    at = max(start, named) - named
    while at < last - named:
        count = min(PAGE, last - named - at)
        shown += _page(it, where, total, at, count)
        at += count
    if stop > last:
        shown.append(_variable("…", f"{stop - last} more: at most {VARIABLES_MAX} are shown at once"))
    return {"variables": shown}


def _chosen(found: list[Json], arguments: ask.Variables) -> list[Json]:
    return found[arguments.start :][: arguments.count or len(found)]


def _selector(it: Debuggee, where: Where) -> list[Json]:
    digits = state_of(it, where.frame, calldata=(0, 4))["calldata"]
    return [_variable("selector", digits) | {"memoryReference": f"calldata:{where.frame}"}]


def _page(it: Debuggee, where: Where, total: int, start: int, count: int) -> list[Json]:
    scope = where.scope
    if scope == "stack":
        window = max(0, total - start - count), min(count, total - start)
        words = state_of(it, where.frame, stack=window)["stack"][::-1]
        return [_variable(f"[{start + at}]", word) for at, word in enumerate(words)]
    if scope in BYTES:
        first = start * WORD_BYTES + (selector_bytes(total) if scope == "calldata" else 0)
        digits = state_of(it, where.frame, **{scope: (first, count * WORD_BYTES)})[scope][2:]
        size = 2 * WORD_BYTES
        return [
            _variable(f"{first + at * WORD_BYTES:#06x}", "0x" + digits[at * size : (at + 1) * size])
            | {"memoryReference": f"{scope}:{where.frame}"}
            for at in range(-(-len(digits) // size))
        ]
    found = state_of(it, where.frame, **{scope: (start, count)})[scope]
    if scope == "logs":
        return [
            _variable(f"[{start + at}]", log["address"]) | {"variablesReference": LOG_BASE + start + at}
            for at, log in enumerate(found)
        ]
    return [_variable(slot, value) for slot, value in found.items()]


def _log(it: Debuggee, number: int) -> list[Json]:
    logs = it.state(None)["pages"]["logs"]["total"]
    if number >= logs:
        raise Refused(f"no log {number}")
    found = it.state(None, logs=(number, 1))["logs"]
    topics = [_variable(f"topic {at}", topic) for at, topic in enumerate(found[0]["topics"])]
    return [_variable("address", found[0]["address"]), *topics, _variable("data", found[0]["data"])]


def _variable(name: str, value: str) -> Json:
    return {"name": name, "value": value, "variablesReference": 0}


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(str(value[name]) for name in ("reason", "message") if value.get(name))
    return "" if value is None else str(value)


def evaluate(it: Debuggee, arguments: ask.Evaluate) -> Json:
    """Value of a breakpoint expression in the given frame or the running one."""
    text, frame = arguments.expression.strip(), None if arguments.frame_id is None else arguments.frame_id - 1
    state = it.state(None) if frame is None else state_of(it, frame)
    value = it.call("evaluate", text, None if state["halt"] is not None else frame)
    if value is None:
        ended = ": the run has ended, step back first" if state["halt"] is not None else ""
        raise Refused(f"{text} has no value here{ended}")
    if isinstance(value, dict):
        return _bytes_value(it, arguments, value["bytes"], frame)
    plain = value if arguments.context == "clipboard" else f"{value} ({int(value, 16)})"
    return {"result": plain, "variablesReference": 0}


def _bytes_value(it: Debuggee, arguments: ask.Evaluate, value: str, frame: int | None) -> Json:
    size, cut = len(value) // 2 - 1, 2 + 2 * SHOWN_BYTES
    is_whole = arguments.context in ("clipboard", "repl") or len(value) <= cut
    answer: Json = {"result": value if is_whole else f"{value[:cut]}… ({size} bytes)", "variablesReference": 0}
    scope = {"calldata": "calldata", "mem": "memory"}.get(arguments.expression.strip())
    if scope is None:
        return answer
    at = it.state(None)["depth"] - 1 if frame is None else frame
    named, indexed = _counts(scope, size)
    return answer | {
        "variablesReference": reference_of(at, scope) if size else 0,
        "namedVariables": named,
        "indexedVariables": indexed,
        "memoryReference": f"{scope}:{at}",
    }


def memory_place(it: Debuggee, reference: str) -> Where:
    """Resolve a memory reference such as ``memory:0``; without a frame, in the running one. Raises `Refused`."""
    scope, _, frame = reference.partition(":")
    if scope not in BYTES:
        raise Refused(f"no memory {reference[:100]!r}: memory, returnData, calldata, or an address of code")
    if not frame:
        return Where(max(0, it.state(None)["depth"] - 1), scope)
    return Where(number_in(frame, "the frame"), scope)


def read_memory(it: Debuggee, arguments: ask.ReadMemory) -> Json:
    """Bytes from the offset on; those outside of the memory are unreadable."""
    count, at = min(arguments.count, MEMORY_BYTES_MAX), arguments.offset
    if arguments.memory_reference[:1].isdigit():
        number, at = it.at_address(arguments.memory_reference, arguments.offset)
        code = it.code_numbered(number)
        content, address = code.bytes[max(0, at) :][:count], code.reference(at)
    else:
        where = memory_place(it, arguments.memory_reference)
        total = state_of(it, where.frame)["pages"][where.scope]["total"]
        window = (min(max(0, at), total), count)
        content = bytes.fromhex(state_of(it, where.frame, **{where.scope: window})[where.scope][2:])
        address = hex(at) if at >= 0 else str(at)
    if at < 0:
        return {"address": address, "unreadableBytes": min(count, -at)}
    body: Json = {"address": address}
    if len(content) < count:
        body["unreadableBytes"] = count - len(content)
    return body | ({"data": base64.b64encode(content).decode()} if content else {})


HANDLERS: dict[str, Row] = {
    "scopes": (ask.FrameArguments, scopes),
    "variables": (ask.Variables, variables),
    "evaluate": (ask.Evaluate, evaluate),
    "readMemory": (ask.ReadMemory, read_memory),
}
