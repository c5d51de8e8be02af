"""Debugging rounds as an editor does them, over ``zvmd dap``; Microsoft's own client library drives one of them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from debugger.assembly import assemble
from tests.clients.dap_editor import Editor
from tests.conftest import Node
from tests.daemon import clean_environment
from tests.paths import REPO

CODE = "0x6001600201600052600560005500"
SCRIPT = Path(__file__).with_name("debugging_round.mjs")
CALLEE = "0x00000000000000000000000000000000000000dd"
CALLER = "0x" + assemble(f"PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH20 {CALLEE} GAS CALL PUSH 1 SLOAD STOP").hex()
WRITER = "0x" + assemble("PUSH 7 PUSH 3 SSTORE PUSH 9 PUSH 4 TSTORE STOP").hex()
ENDLESS = "0x5b600056"


@pytest.fixture
def editor(node: Node) -> Iterator[Editor]:
    if node.daemon is None:
        pytest.skip("an outside node has no data directory")
    editor = Editor(node.daemon.data_dir)
    yield editor
    editor.close()


@pytest.mark.full
def test_a_debugging_round_there_and_back(editor: Editor) -> None:
    editor.begin(code=CODE)
    [frame] = editor.ask("stackTrace", threadId=1)["stackFrames"]
    first = int(frame["instructionPointerReference"], 16)
    points = [{"instructionReference": hex(first), "offset": 7}, {"instructionReference": "0xa"}]
    answer = editor.ask("setInstructionBreakpoints", breakpoints=points)["breakpoints"]
    assert [point["verified"] for point in answer] == [True, True]
    stop = editor.move("continue", threadId=1)
    assert (stop["reason"], stop["hitBreakpointIds"]) == ("instruction breakpoint", [answer[0]["id"]])
    assert editor.variables("stack") == {"[0]": "0x0", "[1]": "0x3"}
    assert editor.variables("stack", start=1, count=1) == {"[1]": "0x3"}
    assert editor.move("stepIn", threadId=1)["reason"] == "step"
    memory = editor.ask("readMemory", memoryReference="memory", count=40)
    assert int.from_bytes(base64.b64decode(memory["data"]), "big") == 3
    assert memory["unreadableBytes"] == 8
    assert editor.variables("memory") == {"0x0000": f"0x{3:064x}"}
    editor.move("stepBack", threadId=1)
    assert editor.variables("position")["pc"] == "7"
    assert editor.move("continue", threadId=1)["reason"] == "instruction breakpoint"
    assert editor.variables("position")["pc"] == "10"
    editor.move("reverseContinue", threadId=1)
    assert editor.variables("position")["pc"] == "7"
    editor.ask("setInstructionBreakpoints", breakpoints=[])
    editor.move("reverseContinue", threadId=1)
    assert editor.variables("position")["step"] == "0"
    editor.move("next", threadId=1)
    assert editor.move("stepOut", threadId=1)["description"] == "halted: stop"
    assert editor.variables("storage") == {"0x0": "0x5"}
    assert editor.move("restart")["reason"] == "entry"
    assert editor.variables("position")["step"] == "0"
    editor.leave(terminateDebuggee=True)


@pytest.mark.full
def test_disassembly_has_as_many_lines_as_are_wanted(editor: Editor) -> None:
    editor.begin(code=CODE)
    [frame] = editor.ask("stackTrace", threadId=1)["stackFrames"]
    here = frame["instructionPointerReference"]
    lines = editor.ask("disassemble", memoryReference=here, instructionOffset=-2, instructionCount=14)["instructions"]
    texts = [line["instruction"] for line in lines]
    assert texts[2:5] == ["PUSH1 0x01", "PUSH1 0x02", "ADD"]
    assert lines[2]["address"] == here
    assert [line.get("presentationHint") for line in lines] == ["invalid"] * 2 + [None] * 9 + ["invalid"] * 3
    assert len({line["address"] for line in lines}) == 14
    source = editor.ask("source", sourceReference=frame["source"]["sourceReference"])["content"].splitlines()
    assert source[frame["line"] - 1] == "0000  PUSH1 0x01"
    assert len(source) == 9
    editor.leave()


def test_breakpoints_on_data_lines_opcodes_and_failures(editor: Editor) -> None:
    editor.begin(code=CALLER, state={CALLEE: {"code": WRITER}})
    opcodes = [{"name": "CALL"}, {"name": "NOPE"}, {"name": CALLEE}]
    answer = editor.ask("setFunctionBreakpoints", breakpoints=opcodes)["breakpoints"]
    assert [point["verified"] for point in answer] == [True, False, True]
    assert editor.move("continue", threadId=1)["reason"] == "function breakpoint"
    editor.move("stepIn", threadId=1)
    inner, outer = editor.ask("stackTrace", threadId=1)["stackFrames"]
    assert inner["source"] != outer["source"]
    slot = editor.ask("dataBreakpointInfo", name="storage[3]")
    flash = editor.ask("dataBreakpointInfo", name="transient[0x4]")
    assert CALLEE in slot["description"]
    data = [{"dataId": slot["dataId"], "accessType": "readWrite"}, {"dataId": flash["dataId"]}]
    assert all(p["verified"] for p in editor.ask("setDataBreakpoints", breakpoints=data)["breakpoints"])
    for opcode in ("SSTORE", "TSTORE"):
        assert editor.move("continue", threadId=1)["reason"] == "data breakpoint"
        assert editor.variables("position")["opcode"] == opcode
    editor.move("stepIn", threadId=1)
    assert editor.variables("transient storage") == {"0x4": "0x9"}
    reference = next(
        scope["variablesReference"]
        for scope in editor.ask("scopes", frameId=inner["id"])["scopes"]
        if scope["name"] == "storage"
    )
    assert editor.ask("dataBreakpointInfo", variablesReference=reference, name="0x3")["dataId"] == slot["dataId"]
    assert editor.ask("dataBreakpointInfo", name="stack[0]")["dataId"] is None
    line = {"line": 9, "condition": "stacksize == 1"}
    [point] = editor.ask("setBreakpoints", source=outer["source"], breakpoints=[line])["breakpoints"]
    assert point["verified"]
    assert editor.move("continue", threadId=1)["reason"] == "breakpoint"
    assert editor.ask("stackTrace", threadId=1)["stackFrames"][0]["line"] == 9
    editor.ask("setDataBreakpoints", breakpoints=[])
    editor.ask("setFunctionBreakpoints", breakpoints=[])
    editor.move("stepBack", threadId=1)
    assert editor.variables("position")["opcode"] == "CALL"  # over the whole call
    assert len(editor.ask("stackTrace", threadId=1)["stackFrames"]) == 1
    editor.leave(terminateDebuggee=True)


def test_breakpoints_on_memory(editor: Editor) -> None:
    editor.begin(code="0x600160205260096000526020515000")  # MSTORE at 32, MSTORE at 0, MLOAD of 32
    word = editor.ask("dataBreakpointInfo", name="mem[32:64]")
    part = editor.ask("dataBreakpointInfo", name="0x1f", asAddress=True, bytes=1)
    assert word["description"].startswith("32 bytes of memory at 0x20 of 0x")
    data = [{"dataId": word["dataId"], "accessType": "readWrite"}, {"dataId": part["dataId"], "accessType": "write"}]
    assert all(p["verified"] for p in editor.ask("setDataBreakpoints", breakpoints=data)["breakpoints"])
    seen = []
    while (stop := editor.move("continue", threadId=1))["reason"] == "data breakpoint":
        seen.append((int(editor.variables("position")["pc"]), editor.variables("position")["opcode"]))
    assert seen == [(4, "MSTORE"), (9, "MSTORE"), (12, "MLOAD")]
    assert stop["description"] == "halted: stop"
    assert editor.move("reverseContinue", threadId=1)["reason"] == "data breakpoint"
    assert editor.variables("position")["pc"] == "12"
    scopes = editor.ask("scopes", frameId=1)["scopes"]
    reference = next(scope["variablesReference"] for scope in scopes if scope["name"] == "memory")
    assert editor.ask("dataBreakpointInfo", variablesReference=reference, name="0x0020")["dataId"] == word["dataId"]
    assert editor.ask("dataBreakpointInfo", name="mem[5:5]")["dataId"] is None
    [none] = editor.ask("setDataBreakpoints", breakpoints=[{"dataId": "memory:0x0:0x0:0"}])["breakpoints"]
    assert not none["verified"]
    editor.leave(terminateDebuggee=True)


@pytest.mark.full
def test_failures_and_what_they_say(editor: Editor) -> None:
    editor.begin(template="panic")
    editor.ask("setExceptionBreakpoints", filters=["failure"])
    assert "did not stop" in editor.refusal("exceptionInfo", threadId=1)
    assert editor.move("continue", threadId=1)["reason"] == "exception"
    assert editor.ask("exceptionInfo", threadId=1)["exceptionId"] == "failure"
    stop = editor.move("continue", threadId=1)
    assert stop["reason"] == "exception"
    told = editor.ask("exceptionInfo", threadId=1)
    assert (told["exceptionId"], told["description"]) == ("revert", "Panic(0x11): arithmetic underflow or overflow")
    assert editor.ask("stackTrace", threadId=1)["stackFrames"][0]["name"] == "ended: revert"
    assert "not supported" in editor.refusal("completions", text="", column=1)
    assert "no variables" in editor.refusal("variables", variablesReference=1)
    assert "expression" in editor.refusal("evaluate", expression="stack[")
    editor.leave(terminateDebuggee=True)


@pytest.mark.full
def test_editing_jumping_and_returning_to_the_start_of_a_call(editor: Editor) -> None:
    editor.begin(template="calls")
    for _ in range(3):
        editor.move("next", threadId=1)
    editor.ask("setFunctionBreakpoints", breakpoints=[{"name": "CALLDATALOAD"}])
    editor.move("continue", threadId=1)
    frame = editor.ask("stackTrace", threadId=1)["stackFrames"][0]
    [stack] = [s for s in editor.ask("scopes", frameId=frame["id"])["scopes"] if s["name"] == "stack"]
    editor.ask("setVariable", variablesReference=stack["variablesReference"], name="[0]", value="0x20")
    assert editor.ask("evaluate", expression="stack[0] + 1", context="watch")["result"] == "0x21 (33)"
    assert editor.variables("stack") == {"[0]": "0x20"}
    [target] = editor.ask("gotoTargets", source=frame["source"], line=5)["targets"]
    assert editor.move("goto", threadId=1, targetId=target["id"])["reason"] == "goto"
    assert editor.ask("stackTrace", threadId=1)["stackFrames"][0]["line"] == 5
    editor.ask("writeMemory", memoryReference="memory", offset=31, data=base64.b64encode(b"\x07").decode())
    assert editor.variables("memory") == {"0x0000": f"0x{7:064x}"}
    assert editor.move("restartFrame", frameId=frame["id"])["reason"] == "restart"
    assert editor.ask("stackTrace", threadId=1)["stackFrames"][0]["line"] == 1
    editor.leave(terminateDebuggee=True)


def test_a_run_is_paused_and_the_session_stays(editor: Editor, node: Node) -> None:
    editor.begin(code=ENDLESS, gas="0x1000000000", keep=True)
    number = editor.ask("threads")["threads"][0]["name"].split()[1]
    running = editor.send("continue", threadId=1)
    assert editor.response(running)["success"]
    while not editor.events:
        editor.response(editor.send("pause", threadId=1))
    assert editor.event("stopped")["reason"] == "pause"
    editor.send("continue", threadId=1)
    editor.leave(terminateDebuggee=True)  # while it runs
    assert node.rpc().call("zvmd_session_state", int(number))["step"] > 0


@pytest.mark.full
def test_attaching_with_a_share_token_that_may_only_watch(editor: Editor, node: Node) -> None:
    rpc = node.rpc()
    number = rpc.call("zvmd_session_create", {"code": CODE})["id"]
    token = rpc.call("zvmd_session_share", number, "watch")["token"]
    assert "no session" in editor.refusal("attach", session=10**9)
    editor.ask("attach", session=token)
    assert editor.move("configurationDone")["reason"] == "entry"
    assert token not in str(editor.ask("threads"))
    assert len(editor.variables("position")) == 7
    editor.ask("next", threadId=1)
    assert "watch" in editor.event("stopped")["description"]
    editor.leave(terminateDebuggee=True)
    assert rpc.call("zvmd_session_state", number)["step"] == 0


def test_microsofts_client_library_drives_a_round(node: Node, node_modules: Path) -> None:
    """`@vscode/debugadapter-testsupport`, the library VS Code's adapters are tested with, over a port."""
    if node.daemon is None:
        pytest.skip("an outside node has no data directory")
    if not (node_modules / "@vscode" / "debugadapter-testsupport").is_dir():
        pytest.skip("no debug adapter client here: `make test` installs it where npm is there")
    adapter = subprocess.Popen(
        [sys.executable, "-m", "node.cli.main", "dap", "--port", "0", "--data-dir", str(node.daemon.data_dir)],
        stdout=subprocess.PIPE, text=True, cwd=REPO, env=clean_environment(),
    )  # fmt: skip
    try:
        assert adapter.stdout is not None
        ready = adapter.stdout.readline()
        assert ready.startswith("READY dap=127.0.0.1:")
        port = ready.strip().rpartition(":")[2]
        command = ["node", str(SCRIPT), str(node_modules), port]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout) == {
            "capabilities": True,
            "stops": [
                ["entry", "PUSH1 0x00"],
                ["data breakpoint", "SSTORE"],
                ["data breakpoint", "SSTORE"],
                ["step", "PUSH1 0x00"],
                ["pause", "RETURN"],
            ],
            "slot": "0x2bc",
            "frames": 1,
            "disassembled": 5,
        }
    finally:
        adapter.kill()
        adapter.wait()
