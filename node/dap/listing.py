"""DAP requests about code: frames, listings as sources, disassembly, jumps."""

from __future__ import annotations

from typing import Any

from node.dap.debuggee import CODE_SHIFT, PC_MASK, Code, Debuggee, Refused

Json = dict[str, Any]
INSTRUCTIONS_MAX = 10_000
FRAMES_MAX = 1_100


def stack_trace(it: Debuggee, arguments: Json) -> Json:
    """Call frames, the running one first; at the end of the run the outermost as it was."""
    state = it.state(None, callFrames=(0, FRAMES_MAX))
    frames = list(enumerate(state["callFrames"]))[::-1]
    if not frames:
        code = it.code_at(None)
        return {"stackFrames": [_frame(0, f"ended: {state['halt']['reason']}", code, state["pc"])], "totalFrames": 1}
    first = int(arguments.get("startFrame") or 0)
    chosen = frames[first : first + (int(arguments.get("levels") or 0) or len(frames))]
    shown = [
        _frame(at, f"{frame['kind']} {frame['address']} {frame['opcode']}", it.code_at(at), frame["pc"])
        for at, frame in chosen
    ]
    return {"stackFrames": shown, "totalFrames": len(frames)}


def _frame(at: int, name: str, code: Code, pc: int) -> Json:
    return {
        "id": at + 1,
        "name": name,
        "line": code.line_of(pc),
        "column": 1,
        "source": code.source,
        "instructionPointerReference": code.reference(pc),
        "canRestart": True,
    }


def source(it: Debuggee, arguments: Json) -> Json:
    """The listing, an instruction a line."""
    wanted = (arguments.get("source") or {}).get("sourceReference") or arguments["sourceReference"]
    code = it.code_numbered(int(wanted))
    return {"content": "".join(f"{line.pc:04x}  {line.text}\n" for line in code.lines), "mimeType": "text/plain"}


def disassemble(it: Debuggee, arguments: Json) -> Json:
    """Exactly as many instructions as are wanted; those outside the code are invalid ones."""
    at = int(arguments["memoryReference"], 0) + int(arguments.get("offset") or 0)
    number = at >> CODE_SHIFT
    code = it.code_numbered(number) if number else it.code_at(None)
    first = code.line_of(at & PC_MASK) - 1 + int(arguments.get("instructionOffset") or 0)
    count = min(int(arguments["instructionCount"]), INSTRUCTIONS_MAX)
    return {"instructions": [_instruction(code, row) for row in range(first, first + count)]}


def _instruction(code: Code, row: int) -> Json:
    if not 0 <= row < len(code.lines):
        end = code.pcs[-1] + 1 + len(code.lines[-1].data) if code.lines else 0
        pc = row if row < 0 else end + row - len(code.lines)
        return {"address": code.reference(pc), "instruction": "(outside the code)", "presentationHint": "invalid"}
    line = code.lines[row]
    shown: Json = {"address": code.reference(line.pc), "instruction": line.text, "line": row + 1}
    return shown | {"location": code.source} | ({"symbol": code.address} if row == 0 else {})


def goto_targets(it: Debuggee, arguments: Json) -> Json:
    """The instruction of a line of the running code."""
    code = it.code_numbered(int(arguments["source"].get("sourceReference") or 0))
    row = int(arguments["line"]) - 1
    if code != it.code_at(None) or not 0 <= row < len(code.lines):
        return {"targets": []}
    line = code.lines[row]
    reference = code.reference(line.pc)
    target = {"id": line.pc, "label": line.text, "line": row + 1, "instructionPointerReference": reference}
    return {"targets": [target]}


def first_step_of_frame(it: Debuggee, frame: int) -> int:
    """Where the frame of this depth (from 1) began."""
    state = it.state(None)
    here = state["step"]
    if state["halt"] is not None:
        return 0
    for node in reversed(it.call("call_tree")["nodes"]):
        is_open = node["firstStep"] <= here and (node["endStep"] is None or here < node["endStep"])
        if node["depth"] == frame and is_open:
            return int(node["firstStep"])
    raise Refused(f"the start of frame {frame} is not known")


HANDLERS = {
    "stackTrace": stack_trace,
    "source": source,
    "disassemble": disassemble,
    "gotoTargets": goto_targets,
}
