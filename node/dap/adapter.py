"""Answers of the Debug Adapter Protocol: a request in, its response and events out; the session lives in the node."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from chain.errors import ZvmdError
from chain.forks import Fork
from vm.evm.opcodes import opcodes
from zvmd.errors import ZvmdClientError

Json = dict[str, Any]
Ask = Callable[..., Any]
"""Calls a method of the node: name, parameters."""

THREAD = 1
SCOPES = ("stack", "storage", "transientStorage", "position")
"""Variables references, from 1."""
INSTRUCTIONS_MAX = 10_000
CAPABILITIES = {
    "supportsConfigurationDoneRequest": True,
    "supportsStepBack": True,
    "supportsInstructionBreakpoints": True,
    "supportsDisassembleRequest": True,
    "supportsReadMemoryRequest": True,
    "supportsSteppingGranularity": True,
}
MOVES = {
    "next": "step_over",
    "stepIn": "step",
    "stepOut": "step_out",
    "stepBack": "step_back",
    "continue": "run",
    "reverseContinue": "reverse_run",
}


class Adapter:
    """One editor's session."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._session = 0
        self._is_own = False
        self._breakpoints: list[int] = []
        self._code = ""
        self._sequence = 0
        self.is_over = False

    def handle(self, request: Json) -> list[Json]:
        """The response and the events that follow it."""
        command, arguments = str(request.get("command", "")), request.get("arguments") or {}
        response: Json = {"type": "response", "request_seq": request.get("seq", 0), "command": command}
        events: list[Json] = []
        try:
            if command in MOVES:
                body, events = {}, self._move(MOVES[command])
            else:
                handler = getattr(self, f"_on_{command}", None)
                if handler is None:
                    raise LookupError(f"{command} is not supported")
                body, events = handler(arguments)
            response |= {"success": True, "body": body}
        except (ZvmdError, ZvmdClientError, LookupError, ValueError, TypeError) as error:
            response |= {"success": False, "message": str(error) or type(error).__name__}
        messages = [response, *({"type": "event", **event} for event in events)]
        for message in messages:
            self._sequence += 1
            message["seq"] = self._sequence
        return messages

    def _call(self, name: str, *params: Any) -> Any:
        return self._ask(f"zvmd_session_{name}", self._session, *params)

    def _move(self, name: str) -> list[Json]:
        answer = self._call(name)
        if answer["halt"] is not None and name in ("step", "step_over", "step_out", "run"):
            text = f"halted: {answer['halt']['reason']}\n"
            return [{"event": "output", "body": {"output": text}}, _stopped("pause", text.strip())]
        return [_stopped("breakpoint" if answer.get("reason") == "breakpoint" else "step")]

    # Requests

    def _on_initialize(self, _: Json) -> tuple[Json, list[Json]]:
        return CAPABILITIES, [{"event": "initialized"}]

    def _on_launch(self, arguments: Json) -> tuple[Json, list[Json]]:
        if "session" in arguments:
            self._session = int(arguments["session"])
        else:
            fields = {name: value for name, value in arguments.items() if name in PROGRAM}
            self._session = int(self._ask("zvmd_session_create", fields)["id"])
            self._is_own = True
        self._code = str(arguments.get("code", ""))
        return {}, []

    def _on_configurationDone(self, _: Json) -> tuple[Json, list[Json]]:
        return {}, [_stopped("entry")]

    def _on_threads(self, _: Json) -> tuple[Json, list[Json]]:
        return {"threads": [{"id": THREAD, "name": f"session {self._session}"}]}, []

    def _on_setInstructionBreakpoints(self, arguments: Json) -> tuple[Json, list[Json]]:
        for number in self._breakpoints:
            self._call("breakpoint_remove", number)
        self._breakpoints = []
        for point in arguments.get("breakpoints", []):
            pc = int(point["instructionReference"], 0) + int(point.get("offset", 0))
            self._breakpoints.append(self._call("breakpoint_add", {"kind": "pc", "pc": pc})["id"])
        return {"breakpoints": [{"id": number, "verified": True} for number in self._breakpoints]}, []

    def _on_stackTrace(self, _: Json) -> tuple[Json, list[Json]]:
        state = self._call("state")
        frames = [
            {
                "id": frame["depth"],
                "name": f"{frame['opcode']} at pc {frame['pc']} of {frame['codeAddress']}",
                "line": 0,
                "column": 0,
                "instructionPointerReference": hex(frame["pc"]),
            }
            for frame in reversed(state["callFrames"])
        ]
        return {"stackFrames": frames, "totalFrames": len(frames)}, []

    def _on_scopes(self, _: Json) -> tuple[Json, list[Json]]:
        scopes = [{"name": name, "variablesReference": at, "expensive": False} for at, name in enumerate(SCOPES, 1)]
        return {"scopes": scopes}, []

    def _on_variables(self, arguments: Json) -> tuple[Json, list[Json]]:
        state, scope = self._call("state"), SCOPES[int(arguments["variablesReference"]) - 1]
        if scope == "stack":
            pairs = [(str(at), word) for at, word in enumerate(reversed(state["stack"]))]
        elif scope == "position":
            pairs = [(name, str(state[name])) for name in ("step", "pc", "opcode", "gasLeft", "depth", "halt")]
        else:
            pairs = list(state[scope].items())
        return {"variables": [{"name": n, "value": v, "variablesReference": 0} for n, v in pairs]}, []

    def _on_readMemory(self, arguments: Json) -> tuple[Json, list[Json]]:
        offset, count = int(arguments.get("offset", 0)), int(arguments["count"])
        memory = self._call("state", {"memory": {"offset": offset, "limit": count}})["memory"]
        content = bytes.fromhex(memory[2:])
        body = {"address": hex(offset), "data": base64.b64encode(content).decode()}
        return body | {"unreadableBytes": count - len(content)}, []

    def _on_disassemble(self, arguments: Json) -> tuple[Json, list[Json]]:
        code = self._running_code()
        lines = list(_instructions(code))
        start = int(arguments["memoryReference"], 0) + int(arguments.get("offset", 0))
        first = next((at for at, (pc, _) in enumerate(lines) if pc >= start), len(lines))
        first = max(0, first + int(arguments.get("instructionOffset", 0)))
        count = min(int(arguments["instructionCount"]), INSTRUCTIONS_MAX)
        shown = [{"address": hex(pc), "instruction": text} for pc, text in lines[first : first + count]]
        return {"instructions": shown}, []

    def _running_code(self) -> bytes:
        frames = self._call("state")["callFrames"]
        if self._code and len(frames) <= 1:
            return bytes.fromhex(self._code.removeprefix("0x"))
        return bytes.fromhex(self._ask("eth_getCode", frames[-1]["codeAddress"], "latest")[2:]) if frames else b""

    def _on_disconnect(self, arguments: Json) -> tuple[Json, list[Json]]:
        if self._is_own and arguments.get("terminateDebuggee", False):
            self._call("close")
        self.is_over = True
        return {}, [{"event": "terminated"}]


PROGRAM = frozenset(
    ("code", "to", "transaction", "fork", "caller", "value", "calldata", "gas", "block", "state", "create", "address")
)


def _stopped(reason: str, text: str = "") -> Json:
    body: Json = {"reason": reason, "threadId": THREAD, "allThreadsStopped": True}
    return {"event": "stopped", "body": body | ({"text": text} if text else {})}


def _instructions(code: bytes) -> list[tuple[int, str]]:
    table, pc, lines = opcodes(max(Fork)), 0, []
    while pc < len(code):
        row = table.get(code[pc])
        size = row.immediate if row is not None else 0
        immediate = code[pc + 1 : pc + 1 + size]
        name = f"UNKNOWN_{code[pc]:02x}" if row is None else row.name
        lines.append((pc, f"{name} 0x{immediate.hex()}" if immediate else name))
        pc += 1 + size
    return lines
