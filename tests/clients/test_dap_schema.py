"""Every request of the Debug Adapter Protocol's schema, with every argument right and wrong: exactly one response each.

The schema itself says what the requests and their arguments are, and what our responses and events must look like
(`tests.clients.dap_editor.check`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.dap.adapter import AT_ONCE, REQUESTS
from node.dap.protocol import CAPABILITIES
from tests.clients.dap_editor import Editor, Json, protocol, served_port
from tests.clients.test_dap_rounds import TWO_CODES
from tests.conftest import Node
from tests.effort import tries

ENDING = ("disconnect",)
"""After which there is nothing to ask."""
REVERSE = ("runInTerminal", "startDebugging")
"""Requests that adapters send to editors."""
WRONG: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 2**31, 2**53, 10**30, "", "x", "\u202e\x00\u00e9\U0001d11e", "half a pair \ud800",
    "A" * 10_000, [], [None], [[]], {}, {"a": {}}, [{"line": -1}], ["failure", 5],
)  # fmt: skip
"""Values of every JSON type, at and beyond what is in range."""


def definition(name: str) -> Json:
    return dict(protocol()["definitions"][name])


def resolved(schema: Json) -> Json:
    return definition(schema["$ref"].rpartition("/")[2]) if "$ref" in schema else schema


def arguments_of(command: str) -> Json:
    """The schema of a request's arguments."""
    request = definition(command[0].upper() + command[1:] + "Request")
    found = resolved(request["allOf"][1]["properties"].get("arguments", {}))
    if "allOf" in found:
        parts = [resolved(part).get("properties", {}) for part in found["allOf"]]
        found = {"properties": {name: field for part in parts for name, field in part.items()}}
    return found


COMMANDS = sorted(
    schema["allOf"][1]["properties"]["command"]["enum"][0]
    for name, schema in protocol()["definitions"].items()
    if name.endswith("Request") and name != "Request"
)

SAMPLES: Json = {
    "threadId": 1, "frameId": 1, "variablesReference": 259, "expression": "calldata", "memoryReference": "memory:0",
    "source": {"name": "0x00000000000000000000000000000000000000b1.evm", "sourceReference": 1}, "sourceReference": 1,
    "line": 2, "name": "0x0000", "value": "0x1", "breakpoints": [], "filters": ["failure"], "targetId": 1 << 32,
    "instructionCount": 3, "count": 8, "data": "AAE=", "adapterID": "zvmd", "arguments": {},
}  # fmt: skip
"""An argument that has a meaning here, by its name."""


def valid(command: str) -> Json:
    """Arguments that are enough for a request."""
    schema = arguments_of(command)
    return {name: SAMPLES.get(name, sample(schema["properties"][name])) for name in schema.get("required", ())}


def sample(schema: Json) -> Any:
    """A value of a type."""
    found = resolved(schema)
    kind = found["type"][0] if isinstance(found.get("type"), list) else found.get("type")
    simple: Json = {"integer": 1, "number": 1, "boolean": False, "array": [], "object": {}}
    return found["enum"][0] if "enum" in found else simple.get(str(kind), "x")


class Tried:
    """An adapter at a stop, which is recreated when a request has ended the last one."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.editor = self._begin()

    def _begin(self) -> Editor:
        editor = Editor(None, port=self._port)
        editor.begin(**TWO_CODES, calldata="0xa9059cbb" + "00" * 64)
        return editor

    def ask(self, command: str, arguments: object) -> Json:
        """The response to a request; afterwards the adapter still answers."""
        response = self.editor.answer(command, arguments)
        assert response["command"] == command
        assert response["success"] or response["message"], response
        self.settle()
        return response

    def settle(self) -> None:
        """No move is under way, and there was no response but those that were waited for."""
        assert self.editor.ask("threads")["threads"] or self.editor.ask("threads")["threads"] == []
        assert not self.editor._responses

    def renew(self) -> None:
        """A new conversation."""
        self.editor.close()
        self.editor = self._begin()


@pytest.fixture(scope="module")
def tried(node: Node) -> Iterator[Tried]:
    if node.daemon is None:
        pytest.skip("an outside node has no data directory")
    with served_port(node.daemon.data_dir) as port:
        tried = Tried(port)
        yield tried
        tried.editor.close()


def test_the_schema_names_every_request_that_is_answered() -> None:
    assert len(COMMANDS) > 40
    assert set(REQUESTS) | set(AT_ONCE) <= set(COMMANDS)


CAPABILITY_OF = {
    "configurationDone": "supportsConfigurationDoneRequest", "stepBack": "supportsStepBack",
    "reverseContinue": "supportsStepBack", "restart": "supportsRestartRequest", "restartFrame": "supportsRestartFrame",
    "gotoTargets": "supportsGotoTargetsRequest", "goto": "supportsGotoTargetsRequest",
    "setFunctionBreakpoints": "supportsFunctionBreakpoints",
    "setInstructionBreakpoints": "supportsInstructionBreakpoints",
    "setDataBreakpoints": "supportsDataBreakpoints", "dataBreakpointInfo": "supportsDataBreakpoints",
    "exceptionInfo": "supportsExceptionInfoRequest", "disassemble": "supportsDisassembleRequest",
    "readMemory": "supportsReadMemoryRequest", "writeMemory": "supportsWriteMemoryRequest",
    "setVariable": "supportsSetVariable", "setExpression": "supportsSetExpression",
    "loadedSources": "supportsLoadedSourcesRequest", "cancel": "supportsCancelRequest",
    "completions": "supportsCompletionsRequest", "modules": "supportsModulesRequest",
    "terminate": "supportsTerminateRequest", "terminateThreads": "supportsTerminateThreadsRequest",
    "stepInTargets": "supportsStepInTargetsRequest", "breakpointLocations": "supportsBreakpointLocationsRequest",
}  # fmt: skip
"""Requests that an editor sends only if a capability was announced."""


def test_capabilities_are_those_of_the_schema_and_of_the_table() -> None:
    known = definition("Capabilities")["properties"]
    assert set(CAPABILITIES) <= set(known)
    assert set(CAPABILITY_OF.values()) <= set(known)
    answered = set(REQUESTS) | set(AT_ONCE)
    for command, capability in CAPABILITY_OF.items():
        assert bool(CAPABILITIES.get(capability)) == (command in answered), command


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in (*ENDING, *REVERSE)])
def test_every_request_with_every_argument_right_and_wrong(tried: Tried, command: str) -> None:
    schema, base = arguments_of(command), valid(command)
    right = tried.ask(command, base)
    answered = command in REQUESTS or command in AT_ONCE
    assert answered or "not supported" in right["message"]
    whole: tuple[Any, ...] = (None, {}, [], "x", 5, True, {"unknown": {"deep": [1]}}, base | {"unknown": None})
    for arguments in whole:
        response = tried.ask(command, arguments)
        if not isinstance(arguments, dict | None):
            assert not response["success"]
    for name in schema.get("properties", {}):
        required = name in schema.get("required", ())
        without = {key: value for key, value in base.items() if key != name}
        if required and name != "threadId" and answered and command not in ("launch", "attach", "initialize"):
            assert not tried.ask(command, without)["success"], name
            assert not tried.ask(command, base | {name: None})["success"], name
        for value in WRONG:
            tried.ask(command, base | {name: value})
    if command in ("restart", "goto", "writeMemory", "setExpression", "setVariable"):
        tried.renew()


def test_disconnect_with_wrong_arguments_leaves_the_adapter_there(tried: Tried) -> None:
    for value in ("yes", 1, [], {}):
        assert not tried.ask("disconnect", {"terminateDebuggee": value})["success"]
    tried.renew()


def value_of(schema: Json, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of a schema, and some that are not."""
    found = resolved(schema)
    wrong = st.sampled_from(WRONG)
    if "enum" in found:
        return st.sampled_from(found["enum"]) | wrong
    kinds = found.get("type", "object")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind == "object":
        if depth > 2:
            return wrong
        fields = {name: value_of(field, depth + 1) for name, field in found.get("properties", {}).items()}
        return st.fixed_dictionaries({}, optional=fields) | wrong
    if kind == "array":
        return st.lists(value_of(found.get("items", {}), depth + 1), max_size=3) | wrong
    plain: dict[str, st.SearchStrategy[Any]] = {
        "integer": st.integers(-3, 300) | st.integers(),
        "number": st.floats(allow_nan=False, allow_infinity=False),
        "boolean": st.booleans(),
        "string": st.sampled_from(["", "stack[0]", "calldata[0:4]", "0x100000003", "memory:0", "storage[1]", "failure"])
        | st.text(max_size=20),
    }
    return plain.get(str(kind), wrong) | wrong


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, Any]:
    command = draw(st.sampled_from([name for name in COMMANDS if name not in ENDING]))
    base = valid(command) if draw(st.booleans()) else {}
    extra = draw(value_of(arguments_of(command)))
    return command, base | extra if isinstance(extra, dict) else extra


@given(asked=st.lists(requests(), min_size=1, max_size=6))
@settings(max_examples=tries(25, 2_000))
def test_random_requests_have_one_response_each(tried: Tried, asked: list[tuple[str, Any]]) -> None:
    for command, arguments in asked:
        tried.ask(command, arguments)
