"""A debugging round as an editor does it, over `zvmd dap`."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import Node
from tests.daemon import clean_environment
from tests.paths import REPO

CODE = "0x6001600201600052600560005500"


def test_a_debugging_round(node: Node) -> None:
    if node.daemon is None:
        pytest.skip("an outside node has no data directory")
    process = subprocess.Popen(
        [sys.executable, "-m", "node.cli.main", "dap", "--data-dir", str(node.daemon.data_dir)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPO, env=clean_environment(),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    numbers = itertools.count(1)

    def receive() -> Any:
        length = int(process.stdout.readline().split(b":")[1])  # type: ignore[union-attr]
        process.stdout.readline()  # type: ignore[union-attr]
        return json.loads(process.stdout.read(length))  # type: ignore[union-attr]

    def ask(command: str, events: int = 0, **arguments: Any) -> Any:
        request = {"seq": next(numbers), "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(request).encode()
        process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        answer = receive()
        assert answer["success"], answer
        return answer["body"], [receive() for _ in range(events)]

    def variables(reference: int) -> dict[str, str]:
        return {v["name"]: v["value"] for v in ask("variables", variablesReference=reference)[0]["variables"]}

    assert ask("initialize", 1)[0]["supportsStepBack"]
    ask("launch", code=CODE)
    ask("setInstructionBreakpoints", breakpoints=[{"instructionReference": "0x7"}])
    ask("configurationDone", 1)
    assert ask("continue", 1)[1][0]["body"]["reason"] == "breakpoint"
    assert variables(1) == {"0": "0x0", "1": "0x3"}
    ask("stepIn", 1)
    memory = ask("readMemory", memoryReference="memory", count=32)[0]["data"]
    assert int.from_bytes(base64.b64decode(memory), "big") == 3
    ask("stepBack", 1)
    assert variables(4)["pc"] == "7"
    assert len(ask("stackTrace")[0]["stackFrames"]) == 1
    lines = ask("disassemble", memoryReference="0x0", instructionCount=3)[0]["instructions"]
    assert [line["instruction"] for line in lines] == ["PUSH1 0x01", "PUSH1 0x02", "ADD"]
    ask("reverseContinue", 1)
    assert variables(4)["step"] == "0"
    ask("next", 1)
    ask("stepOut", 1)
    ask("disconnect", 1, terminateDebuggee=True)
    assert process.wait(20) == 0
