"""Rounds as VS Code, nvim-dap and vimspector do them, over ``zvmd dap``: what survives a reload, and what does not.

The orders of requests and their fields are those of VS Code's debugSession.ts, nvim-dap's session.lua and
vimspector's debug_session.py.
"""

from __future__ import annotations

import base64
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from debugger.assembly import assemble
from tests.clients.dap_editor import Editor, Json, served_port
from tests.conftest import Node
from tests.daemon import Daemon
from tests.rpc import Rpc

CALLEE = "0x00000000000000000000000000000000000000b2"
CALLER = "0x00000000000000000000000000000000000000b1"
INNER = "0x" + assemble("PUSH 1 PUSH 2 ADD PUSH 3 SSTORE STOP").hex()
OUTER = "0x" + assemble(f"PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH20 {CALLEE} GAS CALL PUSH 9 POP STOP").hex()
TWO_CODES: Json = {"to": CALLER, "state": {CALLER: {"code": OUTER}, CALLEE: {"code": INNER}}}
"""A contract that calls another one."""
INNER_NAME, OUTER_NAME = f"{CALLEE}.evm", f"{CALLER}.evm"

RUNTIME = bytes.fromhex("5f5f0100")  # PUSH0 PUSH0 ADD STOP
INIT = assemble(f"PUSH4 0x{RUNTIME.hex()} PUSH 0 MSTORE PUSH 4 PUSH 28 RETURN")
FACTORY = "0x" + assemble(
    f"PUSH{len(INIT)} 0x{INIT.hex()} PUSH 0 MSTORE PUSH {len(INIT)} PUSH {32 - len(INIT)} PUSH 0 CREATE "
    "PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH 0 DUP6 GAS CALL STOP"
).hex()
ENDLESS = "0x5b600056"
NVIM: Json = {
    "clientID": "neovim", "clientName": "neovim", "adapterID": "nvim-dap", "pathFormat": "path",
    "columnsStartAt1": True, "linesStartAt1": True, "supportsRunInTerminalRequest": True, "supportsVariableType": True,
    "supportsProgressReporting": True, "supportsStartDebuggingRequest": True, "locale": "en_US.UTF-8",
}  # fmt: skip
VIMSPECTOR: Json = {
    "adapterID": "zvmd", "clientID": "vimspector", "clientName": "vimspector", "linesStartAt1": True,
    "columnsStartAt1": True, "locale": "en_GB", "pathFormat": "path", "supportsVariableType": True,
    "supportsVariablePaging": False, "supportsRunInTerminalRequest": True, "supportsMemoryReferences": True,
    "supportsStartDebuggingRequest": True,
}  # fmt: skip
CODE_CLIENT: Json = {
    "clientID": "vscode", "clientName": "Visual Studio Code", "adapterID": "zvmd", "pathFormat": "path",
    "linesStartAt1": True, "columnsStartAt1": True, "supportsVariableType": True, "supportsVariablePaging": True,
    "supportsRunInTerminalRequest": True, "locale": "en", "supportsProgressReporting": True,
    "supportsInvalidatedEvent": True, "supportsMemoryEvent": True, "supportsArgsCanBeInterpretedByShell": True,
    "supportsMemoryReferences": True, "supportsStartDebuggingRequest": True, "supportsANSIStyling": True,
}  # fmt: skip


@pytest.fixture
def daemon(node: Node) -> Daemon:
    if node.daemon is None:
        pytest.skip("an outside node has no data directory")
    return node.daemon


@pytest.fixture(scope="module")
def adapter_port(node: Node) -> Iterator[int]:
    """An adapter that serves many editors. Those that are to die have one of their own."""
    if node.daemon is None:
        pytest.skip("an outside node has no data directory")
    with served_port(node.daemon.data_dir) as port:
        yield port


@pytest.fixture
def opened(daemon: Daemon, adapter_port: int) -> Iterator[Callable[..., Editor]]:
    """Starts editors, and sees to it that none is left."""
    editors: list[Editor] = []

    def start(client: Json = CODE_CLIENT, request: str = "launch", *, own: bool = False, **arguments: Any) -> Editor:
        editor = Editor(daemon.data_dir, port=0 if own else adapter_port)
        editors.append(editor)
        editor.ask("initialize", **client)
        if arguments:
            editor.ask(request, **arguments)
            editor.event("initialized")
        return editor

    yield start
    for editor in editors:
        editor.close()


def exists(rpc: Rpc, session: int) -> bool:
    return session in {line["id"] for line in rpc.call("zvmd_session_list")}


def gone(rpc: Rpc, session: int) -> bool:
    """Whether the session goes in the time a killed adapter's caretaker may take."""
    for _ in range(600):
        if not exists(rpc, session):
            return True
        time.sleep(0.05)
    return False


def where(editor: Editor) -> tuple[str, int]:
    """Name of the source and line of the top frame."""
    frame = editor.ask("stackTrace", threadId=1, levels=1)["stackFrames"][0]
    return frame["source"]["name"], frame["line"]


# Frames


def test_evaluate_reads_the_frame_that_is_named(opened: Callable[..., Editor]) -> None:
    editor = opened(**TWO_CODES, stopOnEntry=True)
    editor.ask("setFunctionBreakpoints", breakpoints=[{"name": "SSTORE"}])
    editor.move("configurationDone")
    editor.move("continue", threadId=1)
    inner, outer = editor.ask("stackTrace", threadId=1)["stackFrames"]
    for context in ("watch", "hover", "repl", "variables", "clipboard", "something new"):
        for frame, address in ((inner, CALLEE), (outer, CALLER)):
            value = editor.ask("evaluate", expression="address", frameId=frame["id"], context=context)["result"]
            assert value.split()[0] == hex(int(address, 16))
    assert editor.ask("evaluate", expression="address")["result"].startswith("0xb2")
    assert editor.ask("evaluate", expression="depth", frameId=outer["id"], context="clipboard")["result"] == "0x1"
    assert editor.ask("evaluate", expression="op == PUSH1", frameId=outer["id"], context="clipboard")["result"] == "0x1"
    assert "no frame 3" in editor.refusal("evaluate", expression="address", frameId=3)
    assert "no frame 0" in editor.refusal("evaluate", expression="address", frameId=0)
    stacks = [editor.variables("stack", frame=frame["id"]) for frame in (inner, outer)]
    assert stacks[0] == {"[0]": "0x3", "[1]": "0x3"}
    assert editor.ask("setExpression", expression="stack[1]", value="7 * 6", frameId=inner["id"])["value"] == "0x2a"
    assert "running frame" in editor.refusal("setExpression", expression="stack[0]", value="1", frameId=outer["id"])
    info = editor.ask("dataBreakpointInfo", name="storage[3]", frameId=outer["id"])
    assert CALLER in info["description"]


# Breakpoints belong to a code


def test_a_breakpoint_in_init_code_does_not_stop_the_code_it_returns(opened: Callable[..., Editor]) -> None:
    editor = opened(code=FACTORY)
    editor.ask("setFunctionBreakpoints", breakpoints=[{"name": "CREATE"}])
    editor.move("configurationDone")
    editor.move("continue", threadId=1)
    editor.move("stepIn", threadId=1)
    frame = editor.ask("stackTrace", threadId=1)["stackFrames"][0]
    assert frame["source"]["name"].endswith(".init.evm")
    editor.ask("setFunctionBreakpoints", breakpoints=[])
    [point] = editor.ask("setBreakpoints", source=frame["source"], breakpoints=[{"line": 3}])["breakpoints"]
    assert point["verified"]
    assert editor.move("continue", threadId=1)["hitBreakpointIds"] == [point["id"]]
    stop = editor.move("continue", threadId=1)
    assert stop["description"] == "halted: stop"
    names = {source["name"] for source in editor.ask("loadedSources")["sources"]}
    address = frame["source"]["name"].removesuffix(".init.evm")
    assert f"{address}.init.evm" in names


def test_code_that_returns_itself_is_two_sources(opened: Callable[..., Editor]) -> None:
    """The same bytes as init code and as what the account runs: one stop each, at the breakpoint of each."""
    quine = assemble("CODESIZE PUSH 0 PUSH 0 CODECOPY CODESIZE PUSH 0 RETURN")
    factory = assemble(
        f"PUSH{len(quine)} 0x{quine.hex()} PUSH 0 MSTORE PUSH {len(quine)} PUSH {32 - len(quine)} PUSH 0 CREATE "
        "PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH 0 DUP6 GAS CALL STOP"
    )
    editor = opened(code="0x" + factory.hex())
    editor.move("configurationDone")
    editor.ask("setFunctionBreakpoints", breakpoints=[{"name": "RETURN"}])
    editor.move("continue", threadId=1)
    init = editor.ask("stackTrace", threadId=1)["stackFrames"][0]["source"]
    editor.move("continue", threadId=1)
    later = editor.ask("stackTrace", threadId=1)["stackFrames"][0]["source"]
    assert init["name"] == later["name"].replace(".evm", ".init.evm")
    editor.ask("setFunctionBreakpoints", breakpoints=[])
    for source in (init, later):
        editor.move("restart")
        for other in (init, later):
            editor.ask("setBreakpoints", source=other, breakpoints=[{"line": 2}] if other == source else [])
        assert editor.move("continue", threadId=1)["reason"] == "breakpoint"
        assert where(editor) == (source["name"], 2)
        assert editor.move("continue", threadId=1)["description"] == "halted: stop"


def test_a_condition_holds_in_code_that_a_proxy_runs(opened: Callable[..., Editor]) -> None:
    """A delegate call runs the code of one account on another: the breakpoint belongs to the code."""
    proxy = "0x" + assemble(f"PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH20 {CALLEE} GAS DELEGATECALL STOP").hex()
    editor = opened(to=CALLER, state={CALLER: {"code": proxy}, CALLEE: {"code": INNER}})
    line = {"line": 3, "condition": f"stack[0] == 2 && address == {CALLER}"}
    editor.ask("setBreakpoints", source={"name": INNER_NAME}, breakpoints=[line])
    editor.move("configurationDone")
    assert editor.move("continue", threadId=1)["reason"] == "breakpoint"
    assert where(editor) == (INNER_NAME, 3)


# What an editor keeps of the last debugging


@pytest.mark.parametrize(
    "source",
    [
        {"name": INNER_NAME, "path": INNER_NAME, "sourceReference": 1},
        {"name": INNER_NAME, "path": f"/home/somebody/{INNER_NAME}"},
        {"path": f"/tmp/{INNER_NAME}"},
        {"path": f"debug:{INNER_NAME}"},
        {"path": f"dap-src://7/{INNER_NAME.upper().replace('0X', '0x').replace('EVM', 'evm')}"},
    ],
)
def test_lines_of_the_last_session_wait_for_their_code(opened: Callable[..., Editor], source: Json) -> None:
    editor = opened(NVIM, **TWO_CODES)
    lines = [{"line": 5}, {"line": 99}]
    first, second = editor.ask("setBreakpoints", source=source, breakpoints=lines)["breakpoints"]
    assert (first["verified"], second["verified"]) == (False, False)
    assert "pending" in first["message"]
    editor.move("configurationDone")
    editor.ask("continue", threadId=1)
    events = [editor.event("breakpoint")["breakpoint"] for _ in range(2)]
    changed = {point["id"]: point for point in events}
    assert changed[first["id"]]["verified"]
    assert changed[first["id"]]["source"]["name"] == INNER_NAME
    assert (changed[second["id"]]["verified"], changed[second["id"]]["reason"]) == (False, "failed")
    stop = editor.event("stopped")
    assert (stop["reason"], stop["hitBreakpointIds"]) == ("breakpoint", [first["id"]])
    assert where(editor) == (INNER_NAME, 5)
    again, _ = editor.ask("setBreakpoints", source=source, breakpoints=lines)["breakpoints"]
    assert (again["verified"], again["id"]) == (True, first["id"])
    known = {key: value for key, value in source.items() if key != "sourceReference"}
    [by_name] = editor.ask("setBreakpoints", source=known, breakpoints=[{"line": 1}])["breakpoints"]
    assert by_name["verified"]
    assert editor.move("continue", threadId=1)["description"] == "halted: stop"  # line 5 went with the second request


def test_addresses_of_the_last_session_have_one_answer_each(opened: Callable[..., Editor]) -> None:
    editor = opened(**TWO_CODES)
    asked = (("0x100000005", 0), ("0x3", 0), ("nope", 0), ("0x900000000", 2), ("0x100000000", -4))
    points = [{"instructionReference": reference, "offset": offset} for reference, offset in asked]
    answers = editor.ask("setInstructionBreakpoints", breakpoints=points)["breakpoints"]
    assert len(answers) == 5
    assert [answer["verified"] for answer in answers] == [False, True, False, False, False]
    assert len({answer["id"] for answer in answers}) == 5
    editor.ask("configurationDone")
    assert editor.event("breakpoint")["breakpoint"]["id"] == answers[0]["id"]


def test_breakpoints_may_come_before_the_launch(opened: Callable[..., Editor]) -> None:
    editor = opened(VIMSPECTOR)
    source = {"name": OUTER_NAME, "path": f"/somewhere/{OUTER_NAME}"}
    lines = [{"line": 1}]
    [point] = editor.ask("setBreakpoints", source=source, breakpoints=lines, sourceModified=False)["breakpoints"]
    assert not point["verified"]
    assert not editor.ask("setFunctionBreakpoints", breakpoints=[{"name": "SSTORE"}])["breakpoints"][0]["verified"]
    editor.ask("launch", **TWO_CODES, stopOnEntry=False)
    editor.event("initialized")
    assert editor.event("breakpoint")["breakpoint"]["verified"]
    editor.ask("configurationDone")
    assert editor.event("breakpoint")["breakpoint"]["id"] == point["id"]
    assert editor.event("stopped")["hitBreakpointIds"] == [point["id"]]  # the first instruction, not behind it
    assert editor.move("continue", threadId=1)["reason"] == "function breakpoint"


def test_reload_of_the_editor(opened: Callable[..., Editor], daemon: Daemon) -> None:
    """What the editor set leaves with it, however it leaves; what others set stays; it may set the same again."""
    rpc = daemon.rpc()
    number = rpc.call("zvmd_session_create", TWO_CODES)["id"]
    others = rpc.call("zvmd_session_breakpoint_add", number, {"kind": "opcode", "opcode": "POP"})["id"]
    ways: tuple[Callable[[Editor], None], ...] = (
        Editor.leave, Editor.vanish, lambda editor: editor.leave(terminateDebuggee=False)
    )  # fmt: skip
    for leave in ways:
        editor = opened(request="attach", session=number, own=leave is Editor.vanish)
        lines = [{"line": 2}, {"line": 3, "condition": "stacksize == 2"}]
        editor.ask("setBreakpoints", source={"name": INNER_NAME}, breakpoints=lines)
        editor.ask("setFunctionBreakpoints", breakpoints=[{"name": "SSTORE"}])
        editor.ask("setExceptionBreakpoints", filters=["failure"])
        editor.ask("setInstructionBreakpoints", breakpoints=[{"instructionReference": "0x2"}])
        slot = editor.ask("dataBreakpointInfo", name="storage[3]")["dataId"]
        editor.ask("setDataBreakpoints", breakpoints=[{"dataId": slot, "accessType": "readWrite"}])
        editor.move("configurationDone")
        assert len(rpc.call("zvmd_session_breakpoint_list", number)) == 8
        leave(editor)
        assert [point["id"] for point in rpc.call("zvmd_session_breakpoint_list", number)] == [others]
    rpc.call("zvmd_session_breakpoint_remove", number, others)
    editor = opened(request="attach", session=number)
    for kind in ("Function", "Instruction", "Data"):
        editor.ask(f"set{kind}Breakpoints", breakpoints=[])
    editor.ask("setExceptionBreakpoints", filters=[])
    editor.move("configurationDone")
    assert editor.move("continue", threadId=1)["description"] == "halted: stop"
    editor.leave()
    assert exists(rpc, number)


def test_two_editors_at_one_session(opened: Callable[..., Editor], daemon: Daemon) -> None:
    rpc = daemon.rpc()
    number = rpc.call("zvmd_session_create", TWO_CODES)["id"]
    one, two = (opened(client, "attach", session=number) for client in (CODE_CLIENT, NVIM))
    one.ask("setFunctionBreakpoints", breakpoints=[{"name": "ADD"}])
    two.ask("setFunctionBreakpoints", breakpoints=[{"name": "SSTORE"}])
    one.move("configurationDone")
    two.move("configurationDone")
    assert one.move("continue", threadId=1)["reason"] == "function breakpoint"
    stop = one.move("continue", threadId=1)
    assert (stop["reason"], stop["hitBreakpointIds"]) == ("breakpoint", [])
    assert "somebody else" in stop["description"]
    one.leave()
    [left] = rpc.call("zvmd_session_breakpoint_list", number)
    assert left["opcode"] == "SSTORE"
    assert two.move("reverseContinue", threadId=1)["reason"] == "step"
    assert two.move("continue", threadId=1)["reason"] == "function breakpoint"
    two.leave()
    assert rpc.call("zvmd_session_breakpoint_list", number) == []


# How it ends


@pytest.mark.parametrize(
    ("request_name", "arguments", "stays"),
    [
        ("launch", {}, False),
        ("launch", {"terminateDebuggee": True}, False),
        ("launch", {"restart": True}, False),
        ("launch", {"terminateDebuggee": False}, True),
        ("attach", {}, True),
        ("attach", {"terminateDebuggee": True}, False),
    ],
)
def test_disconnecting(
    opened: Callable[..., Editor], daemon: Daemon, request_name: str, arguments: Json, stays: bool
) -> None:
    rpc = daemon.rpc()
    program = {"session": rpc.call("zvmd_session_create", TWO_CODES)["id"]} if request_name == "attach" else TWO_CODES
    editor = opened(request=request_name, **program)
    session = editor.session
    editor.move("configurationDone")
    editor.ask("disconnect", **arguments)
    assert exists(rpc, session) is stays
    editor.event("terminated")
    editor.wait()


@pytest.mark.parametrize("how", ["stdin", "killed", "killed in a run"])
def test_a_launched_session_ends_with_its_editor(opened: Callable[..., Editor], daemon: Daemon, how: str) -> None:
    rpc = daemon.rpc()
    editor = opened(code=ENDLESS, gas="0x1000000000", own=True)
    kept = opened(code=ENDLESS, keep=True, own=True)
    session, other = editor.session, kept.session
    editor.move("configurationDone")
    if how == "stdin":
        editor.vanish()
        assert not exists(rpc, session)
    else:
        if how == "killed in a run":
            editor.ask("continue", threadId=1)
        os.kill(editor.process.pid, signal.SIGKILL)
        assert gone(rpc, session)
    kept.vanish()
    assert exists(rpc, other)


def test_breakpoints_leave_an_attached_session_when_the_adapter_is_killed(
    opened: Callable[..., Editor], daemon: Daemon
) -> None:
    rpc = daemon.rpc()
    number = rpc.call("zvmd_session_create", TWO_CODES)["id"]
    editor = opened(request="attach", session=number, own=True)
    editor.ask("setFunctionBreakpoints", breakpoints=[{"name": "SSTORE"}, {"name": "ADD"}])
    assert len(rpc.call("zvmd_session_breakpoint_list", number)) == 2
    os.kill(editor.process.pid, signal.SIGKILL)
    for _ in range(600):
        if not rpc.call("zvmd_session_breakpoint_list", number):
            break
        time.sleep(0.05)
    assert rpc.call("zvmd_session_breakpoint_list", number) == []
    assert exists(rpc, number)


# The node goes away and comes back


@pytest.mark.parametrize("over", ["quic", pytest.param("http", marks=pytest.mark.full)])
def test_a_restarted_node_is_found_again(tmp_path_factory: pytest.TempPathFactory, over: str) -> None:
    node = Daemon(tmp_path_factory.mktemp("restarted") / "data")
    node.start()
    editor = Editor(node.data_dir, *(("--http",) if over == "http" else ()))
    try:
        editor.begin(**TWO_CODES)
        source = {"name": INNER_NAME}
        editor.ask("setBreakpoints", source=source, breakpoints=[{"line": 5}])
        editor.move("next", threadId=1)
        node.kill()
        assert "[client." in editor.refusal("stackTrace", threadId=1)
        assert "away" in editor.event("output")["output"]
        assert "[client." in editor.refusal("scopes", frameId=1)
        node.start()
        while "back" not in editor.event("output")["output"]:
            pass
        assert editor.variables("position")["step"] == "1"
        assert editor.move("continue", threadId=1)["reason"] == "breakpoint"
        node.kill()
        editor.ask("next", threadId=1)  # the answer to a move is that it began; how it ended comes as a stop
        node.start()
        editor.event("stopped")
        assert editor.ask("stackTrace", threadId=1)["totalFrames"] == 2
        editor.leave()
    finally:
        editor.close()
        node.close()


@pytest.mark.full
def test_what_is_left_when_both_die_goes_when_the_node_is_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    node = Daemon(tmp_path_factory.mktemp("both") / "data")
    node.start()
    editor = Editor(node.data_dir)
    try:
        editor.begin(**TWO_CODES)
        session = editor.session
        node.kill()
        os.kill(editor.process.pid, signal.SIGKILL)
        node.start()
        assert gone(node.rpc(), session)
    finally:
        editor.close()
        node.close()


# While it runs


def test_requests_during_a_run(opened: Callable[..., Editor]) -> None:
    """Breakpoints interrupt a run and it goes on; what needs a stop is refused, in the protocol's word."""
    counter = "0x" + assemble("PUSH 0 again: PUSH 1 ADD DUP1 PUSH 0 MSTORE PUSH @again JUMP").hex()
    editor = opened(code=counter, gas="0x1000000000")
    frame = editor.move("configurationDone") and editor.ask("stackTrace", threadId=1)["stackFrames"][0]
    editor.move("stepIn", threadId=1)
    editor.ask("continue", threadId=1)
    assert editor.ask("threads")["threads"][0]["id"] == 1
    assert editor.refusal("stackTrace", threadId=1) == "notStopped"
    assert editor.refusal("next", threadId=1) == "notStopped"
    assert "PUSH1 0x01" in editor.ask("source", sourceReference=frame["source"]["sourceReference"])["content"]
    [point] = editor.ask("setBreakpoints", source=frame["source"], breakpoints=[{"line": 3}])["breakpoints"]
    assert point["verified"]
    stop = editor.event("stopped")
    assert stop["hitBreakpointIds"] == [point["id"]]
    editor.ask("setBreakpoints", source=frame["source"], breakpoints=[])
    editor.ask("continue", threadId=1)
    waiting = editor.send("variables", variablesReference=257)
    cancelled = editor.send("stackTrace", threadId=1)
    editor.ask("cancel", requestId=cancelled)
    assert editor.response(cancelled)["message"] == "cancelled"
    assert not editor.response(waiting)["success"]
    editor.ask("pause", threadId=1)
    assert editor.event("stopped")["reason"] == "pause"
    editor.ask("continue", threadId=1)
    assert editor.move("restart")["reason"] == "pause"  # the run ends first
    assert editor.event("stopped")["reason"] == "entry"
    editor.ask("continue", threadId=1)
    editor.leave()


def test_log_points_and_counted_breakpoints(opened: Callable[..., Editor]) -> None:
    loop = "0x" + assemble("PUSH 6 again: PUSH 1 SWAP1 SUB DUP1 PUSH @again JUMPI STOP").hex()
    editor = opened(code=loop)
    editor.move("configurationDone")
    source = editor.ask("stackTrace", threadId=1)["stackFrames"][0]["source"]
    log = {"line": 6, "logMessage": "top {stack[0]} {nothing} {stack[9]}", "condition": "stack[0] != 3"}
    editor.ask("setBreakpoints", source=source, breakpoints=[log])
    editor.ask("continue", threadId=1)
    lines = [editor.event("output") for _ in range(5)]
    assert [line["output"].split()[1] for line in lines] == ["0x5", "0x4", "0x2", "0x1", "0x0"]
    assert "unknown name 'nothing'" in lines[0]["output"]
    assert (lines[0]["line"], lines[0]["source"]["name"]) == (6, source["name"])
    assert editor.event("stopped")["description"] == "halted: stop"
    for hits, seen in (("3", [3]), (">= 5", [1, 0]), ("%3", [3, 0]), (">4", [1, 0]), ("<2", [5]), ("=6", [0])):
        editor.move("restart")
        editor.ask("setBreakpoints", source=source, breakpoints=[{"line": 6, "hitCondition": hits}])
        stops = []
        while (stop := editor.move("continue", threadId=1))["reason"] == "breakpoint":
            stops.append(int(editor.variables("stack")["[0]"], 16))
        assert (stops, stop["description"]) == (seen, "halted: stop")
    often = [{"line": 6, "hitCondition": "often"}]
    assert not editor.ask("setBreakpoints", source=source, breakpoints=often)["breakpoints"][0]["verified"]


def test_a_step_over_a_call_passes_log_points_in_it(opened: Callable[..., Editor]) -> None:
    editor = opened(**TWO_CODES)
    editor.ask("setBreakpoints", source={"name": INNER_NAME}, breakpoints=[{"line": 4, "logMessage": "here"}])
    editor.ask("setFunctionBreakpoints", breakpoints=[{"name": "CALL"}])
    editor.move("configurationDone")
    editor.move("continue", threadId=1)
    for request in ("next", "stepBack"):
        editor.events.clear()
        assert editor.move(request, threadId=1)["reason"] == ("step" if request == "next" else "function breakpoint")
        assert editor.ask("stackTrace", threadId=1)["totalFrames"] == 1


# Disassembly


def test_rows_before_a_code_belong_to_it(opened: Callable[..., Editor]) -> None:
    editor = opened(**TWO_CODES)
    editor.ask("setFunctionBreakpoints", breakpoints=[{"name": "SSTORE"}])
    editor.move("configurationDone")
    editor.move("continue", threadId=1)
    frames = editor.ask("stackTrace", threadId=1)["stackFrames"]
    for frame, first in zip(frames, ("PUSH1 0x01", "PUSH1 0x00"), strict=True):
        start = int(frame["instructionPointerReference"], 16) >> 32 << 32
        for reference, offset, skip in ((start, -8, 0), (start, 0, -8), (start - 8, 0, 0), (start + 3, -3, -8)):
            asked = {"memoryReference": hex(reference), "offset": offset, "instructionOffset": skip}
            rows = editor.ask("disassemble", **asked, instructionCount=12)["instructions"]
            assert [row.get("presentationHint") for row in rows] == ["invalid"] * 8 + [None] * 4
            assert rows[8]["instruction"] == first
            assert len({row["address"] for row in rows}) == 12
            again = editor.ask("disassemble", memoryReference=rows[0]["address"], instructionCount=12)["instructions"]
            assert again == rows
        far = editor.ask("disassemble", memoryReference=hex(start), instructionOffset=500, instructionCount=3)
        assert {row["presentationHint"] for row in far["instructions"]} == {"invalid"}
        there = far["instructions"][0]["address"]
        back = editor.ask("disassemble", memoryReference=there, instructionOffset=-500, instructionCount=1)
        assert back["instructions"][0]["instruction"] == first
    assert editor.ask("disassemble", memoryReference=hex(start), instructionCount=0)["instructions"] == []
    for wrong in ("", "0x", "-1", "nope", "0x900000000", "0b1", "1_0", "٣", "0x" + "f" * 17):
        assert editor.refusal("disassemble", memoryReference=wrong, instructionCount=1)
    assert editor.refusal("disassemble", memoryReference=hex(start), instructionCount=10_001)
    assert editor.refusal("disassemble", memoryReference=hex(start), instructionOffset=1 << 52, instructionCount=1)
    data = editor.ask("readMemory", memoryReference=hex(start), count=5)
    assert data["data"]
    assert editor.ask("readMemory", memoryReference="memory:0", offset=-4, count=9)["unreadableBytes"] == 4


def test_lines_are_counted_as_the_editor_counts(opened: Callable[..., Editor]) -> None:
    editor = opened({**NVIM, "linesStartAt1": False, "columnsStartAt1": False, "pathFormat": "uri"}, **TWO_CODES)
    source = {"path": f"file:///tmp/{INNER_NAME.replace('0x', '%30x')}"}
    [point] = editor.ask("setBreakpoints", source=source, breakpoints=[{"line": 4}])["breakpoints"]
    assert point["line"] == 4
    editor.move("configurationDone")
    assert editor.ask("stackTrace", threadId=1)["stackFrames"][0]["line"] == 0
    assert editor.move("continue", threadId=1)["reason"] == "breakpoint"
    frame = editor.ask("stackTrace", threadId=1)["stackFrames"][0]
    assert (frame["line"], frame["column"]) == (4, 0)
    rows = editor.ask("disassemble", memoryReference=frame["instructionPointerReference"], instructionCount=1)
    assert rows["instructions"][0]["line"] == 4
    [target] = editor.ask("gotoTargets", source=frame["source"], line=0)["targets"]
    assert editor.move("goto", threadId=1, targetId=target["id"])["reason"] == "goto"
    assert editor.ask("stackTrace", threadId=1)["stackFrames"][0]["line"] == 0


def test_restart_with_other_arguments_debugs_another_program(opened: Callable[..., Editor], daemon: Daemon) -> None:
    editor = opened(**TWO_CODES)
    editor.ask("setFunctionBreakpoints", breakpoints=[{"name": "SSTORE"}])
    editor.move("configurationDone")
    first = editor.session
    # not checked against the schema, of which a launch's and an attach's arguments both are
    restarted: Json = {"arguments": {**TWO_CODES, "name": "again", "type": "zvmd"}}
    assert editor.answer("restart", restarted)["success"]
    assert editor.event("stopped")["reason"] == "entry"
    assert editor.session == first
    for program in (TWO_CODES, {"code": "0x600160005500"}):
        assert editor.answer("restart", {"arguments": {**program, "stopOnEntry": False}})["success"]
        assert editor.event("stopped")["reason"] == "function breakpoint"
    assert editor.session != first
    assert not exists(daemon.rpc(), first)
    assert not editor.answer("restart", {"arguments": {"code": "0xzz"}})["success"]
    assert editor.variables("position")["opcode"] == "SSTORE"
    editor.leave()


def test_a_run_without_debugging(opened: Callable[..., Editor]) -> None:
    for program, status in ((TWO_CODES, 0), ({"template": "panic"}, 1)):
        editor = opened(noDebug=True, **program)
        editor.ask("setFunctionBreakpoints", breakpoints=[{"name": "SSTORE"}])
        editor.ask("configurationDone")
        assert "halted" in editor.event("output")["output"]
        assert editor.event("exited")["exitCode"] == status
        editor.event("terminated")


# Calldata


def test_calldata_as_scope_expression_and_memory(opened: Callable[..., Editor]) -> None:
    words = [f"{at:064x}" for at in range(3)]
    editor = opened(**TWO_CODES, calldata="0xa9059cbb" + "".join(words))
    editor.ask("setFunctionBreakpoints", breakpoints=[{"name": "SSTORE"}])
    editor.move("configurationDone")
    [scope] = [found for found in editor.ask("scopes", frameId=1)["scopes"] if found["name"] == "calldata"]
    assert (scope["namedVariables"], scope["indexedVariables"]) == (1, 3)
    expected = {"selector": "0xa9059cbb"} | {f"{4 + 32 * at:#06x}": "0x" + word for at, word in enumerate(words)}
    assert editor.variables("calldata") == expected
    assert list(editor.variables("calldata", filter="named")) == ["selector"]
    assert list(editor.variables("calldata", filter="indexed", start=1, count=1)) == ["0x0024"]
    assert list(editor.variables("calldata", start=0, count=2)) == ["selector", "0x0004"]
    assert editor.variables("calldata", filter="indexed", start=3) == {}
    assert editor.variables("stack", filter="named") == {}
    assert editor.ask("evaluate", expression="calldata[0:4]", context="clipboard")["result"] == "0xa9059cbb"
    assert editor.ask("evaluate", expression="calldata[36]", context="hover")["result"] == "0x1 (1)"
    whole = editor.ask("evaluate", expression="calldata", context="watch", frameId=1)
    assert whole["result"].endswith("… (100 bytes)")
    assert (whole["variablesReference"], whole["indexedVariables"]) == (scope["variablesReference"], 3)
    data = base64.b64decode(editor.ask("readMemory", memoryReference=whole["memoryReference"], count=200)["data"])
    assert data.hex() == "a9059cbb" + "".join(words)
    copied = editor.ask("evaluate", expression="calldata", context="clipboard", frameId=1)["result"]
    assert copied == "0xa9059cbb" + "".join(words)
    reference = scope["variablesReference"]
    assert editor.ask("setVariable", variablesReference=reference, name="0x0024", value="7")["value"] == f"0x{7:064x}"
    assert editor.ask("setExpression", expression="calldata[0:4]", value="0x11")["value"] == "0x00000011"
    assert editor.variables("calldata") == expected | {"selector": "0x00000011", "0x0024": f"0x{7:064x}"}
    assert editor.move("continue", threadId=1)["reason"] == "function breakpoint"
    assert editor.variables("calldata") == {}
    assert editor.ask("evaluate", expression="calldatasize", frameId=1)["result"] == "0x64 (100)"
    empty = {"variablesReference": reference + 256, "name": "0x0000", "value": "1"}
    assert "the range is outside of it" in editor.refusal("setVariable", **empty)


def test_more_variables_than_are_shown_at_once(opened: Callable[..., Editor]) -> None:
    editor = opened(code="0x00", calldata="0x" + "ab" * 32 * 10_005)
    editor.move("configurationDone")
    [scope] = [found for found in editor.ask("scopes", frameId=1)["scopes"] if found["name"] == "calldata"]
    assert (scope["namedVariables"], scope["indexedVariables"]) == (0, 10_005)
    *shown, rest = editor.ask("variables", variablesReference=scope["variablesReference"])["variables"]
    assert len(shown) == 10_000
    assert rest["value"].startswith("5 more")
    last = editor.ask("variables", variablesReference=scope["variablesReference"], start=10_000, count=100)["variables"]
    assert len(last) == 5
