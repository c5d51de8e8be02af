"""DAP requests about code: frames, listings as sources, disassembly, jumps."""

from __future__ import annotations

from typing import Any

from node.dap import arguments as ask
from node.dap.arguments import Refused
from node.dap.codes import CODE_SHIFT, PC_MASK, ROWS_OUTSIDE_MAX, KnownCode
from node.dap.debuggee import Debuggee, Row

Json = dict[str, Any]
INSTRUCTIONS_MAX = 10_000
THREAD = 1


def check_thread(thread: int) -> None:
    """Raises `Refused` unless it is the id of the only thread."""
    if thread != THREAD:
        raise Refused(f"no thread {thread}: a session has thread {THREAD}")


def stack_trace(it: Debuggee, arguments: ask.StackTrace) -> Json:
    """Call frames, the running one first; at the end of the run, the final state of the outermost one."""
    check_thread(arguments.thread_id)
    frames = list(enumerate(it.frames()))[::-1]
    if not frames:
        state = it.state(None)
        ended = _frame(it, 0, f"ended: {state['halt']['reason']}", it.code_at_the_end(), state["pc"])
        return {"stackFrames": [] if arguments.start_frame else [ended], "totalFrames": 1}
    chosen = frames[arguments.start_frame :][: arguments.levels or len(frames)]
    shown = [
        _frame(it, at, f"{frame['kind']} {frame['address']} {frame['opcode']}", it.code_of(at, frame), frame["pc"])
        for at, frame in chosen
    ]
    return {"stackFrames": shown, "totalFrames": len(frames)}


def _frame(it: Debuggee, at: int, name: str, code: KnownCode, pc: int) -> Json:
    return {
        "id": at + 1,
        "name": name,
        "line": it.line_out(max(0, code.row_of(pc))),
        "column": it.column_base,
        "source": code.source,
        "instructionPointerReference": code.reference(pc),
        "canRestart": True,
    }


def source(it: Debuggee, arguments: ask.SourceText) -> Json:
    """The listing of a code, one instruction per line."""
    wanted = arguments.source or ask.Source()
    number = wanted.source_reference or arguments.source_reference
    code = it.code_meant(it.place_of(wanted)) if not number else it.code_numbered(number)
    if code is None:
        raise Refused(f"{wanted.name or wanted.path} has not run yet")
    return {"content": "".join(f"{line.pc:04x}  {line.text}\n" for line in code.lines), "mimeType": "text/plain"}


def loaded_sources(it: Debuggee, _: ask.Arguments) -> Json:
    """Listings of the codes that have run so far."""
    it.frames()
    return {"sources": [code.source for code in it.codes]}


def disassemble(it: Debuggee, arguments: ask.Disassemble) -> Json:
    """Exactly as many instructions as requested; those outside the code are invalid and one byte long."""
    if arguments.instruction_count > INSTRUCTIONS_MAX:
        raise Refused(f"at most {INSTRUCTIONS_MAX} instructions at once")
    number, pc = it.at_address(arguments.memory_reference, arguments.offset)
    code = it.code_numbered(number) if number else running_code(it)
    first = code.row_of(pc) + arguments.instruction_offset
    last = first + arguments.instruction_count
    if first < -ROWS_OUTSIDE_MAX or last > ROWS_OUTSIDE_MAX:
        raise Refused("too far from the code")
    return {"instructions": [_instruction(it, code, row) for row in range(first, last)]}


def _instruction(it: Debuggee, code: KnownCode, row: int) -> Json:
    if not 0 <= row < len(code.lines):
        pc = row if row < 0 else len(code.bytes) + row - len(code.lines)
        return {"address": code.reference(pc), "instruction": "(outside the code)", "presentationHint": "invalid"}
    line = code.lines[row]
    content = code.bytes[line.pc : line.pc + 1 + len(line.data)]
    shown: Json = {"address": code.reference(line.pc), "instruction": line.text, "line": it.line_out(row)}
    shown |= {"instructionBytes": content.hex(" "), "location": code.source}
    return shown | ({"symbol": code.name} if row == 0 else {})


def running_code(it: Debuggee) -> KnownCode:
    """The code of the running frame, or at the end the code that ran last."""
    frames = it.frames()
    return it.code_of(len(frames) - 1, frames[-1]) if frames else it.code_at_the_end()


def goto_targets(it: Debuggee, arguments: ask.GotoTargets) -> Json:
    """The instruction of a line of the running code."""
    code, row = it.code_meant(it.place_of(arguments.source)), it.row_in(arguments.line)
    if code is None or code != running_code(it) or not 0 <= row < len(code.lines):
        return {"targets": []}
    line = code.lines[row]
    target: Json = {"id": (code.number << CODE_SHIFT) + line.pc, "label": line.text, "line": arguments.line}
    return {"targets": [target | {"instructionPointerReference": code.reference(line.pc)}]}


def target_pc(it: Debuggee, target: int) -> int:
    """The pc of a target from `goto_targets`. Raises `Refused` if other code runs by now."""
    if target >> CODE_SHIFT != running_code(it).number:
        raise Refused(f"target {target} is not in the running code: ask for targets again")
    return target & PC_MASK


def first_step_of_frame(it: Debuggee, frame: int) -> int:
    """Where the frame of this depth (from 1) began."""
    state = it.state(None)
    here = state["step"]
    if state["halt"] is not None and frame == 1:
        return 0
    for node in reversed(it.call("call_tree")["nodes"]):
        is_open = node["firstStep"] <= here and (node["endStep"] is None or here < node["endStep"])
        if node["depth"] == frame and is_open:
            return int(node["firstStep"])
    raise Refused(f"the start of frame {frame} is not known")


HANDLERS: dict[str, Row] = {
    "stackTrace": (ask.StackTrace, stack_trace),
    "loadedSources": (ask.Arguments, loaded_sources),
    "disassemble": (ask.Disassemble, disassemble),
    "gotoTargets": (ask.GotoTargets, goto_targets),
}
