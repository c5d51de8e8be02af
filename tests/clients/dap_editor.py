"""An editor's end of the Debug Adapter Protocol, which checks every message both ways against the official schema."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from tests.daemon import clean_environment
from tests.paths import REPO

Json = dict[str, Any]


@cache
def protocol() -> Json:
    """The protocol's own JSON schema; see protocol/README.md."""
    schema: Json = json.loads((Path(__file__).parent / "protocol" / "debugAdapterProtocol.json").read_text())
    return schema


@cache
def validator(definition: str) -> jsonschema.Draft4Validator:
    """Checks messages of one kind."""
    assert definition in protocol()["definitions"], definition
    return jsonschema.Draft4Validator({**protocol(), "$ref": f"#/definitions/{definition}"})


def check(message: Json) -> Json:
    """The message, which conforms to the protocol."""
    name = message.get("command") or message.get("event", "")
    kind = message["type"].title() if message.get("success", True) else "ErrorResponse"
    validator(kind if kind == "ErrorResponse" else name[0].upper() + name[1:] + kind).validate(message)
    return message


class Editor:
    """Starts ``zvmd dap`` and talks to it."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        command = [sys.executable, "-m", "node.cli.main", "dap", "--data-dir", str(data_dir), *options]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPO, env=clean_environment()
        )
        self._numbers = itertools.count(1)
        self._sequence = 0
        self.events: list[Json] = []
        """Not yet waited for."""
        self._responses: dict[int, Json] = {}

    def send(self, command: str, **arguments: Any) -> int:
        """Send a request; its number."""
        request = {"seq": next(self._numbers), "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(check(request)).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()
        return int(request["seq"])  # type: ignore[call-overload]

    def _receive(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        length = int(stream.readline().split(b":")[1])
        assert stream.readline() == b"\r\n"
        message = check(json.loads(stream.read(length)))
        self._sequence += 1
        assert message["seq"] == self._sequence
        if message["type"] == "event":
            self.events.append(message)
        else:
            self._responses[message["request_seq"]] = message

    def response(self, number: int) -> Json:
        """The response to a request, whatever comes before it."""
        while number not in self._responses:
            self._receive()
        return self._responses.pop(number)

    def ask(self, command: str, **arguments: Any) -> Any:
        """The body of a request's successful response."""
        answer = self.response(self.send(command, **arguments))
        assert answer["success"], answer
        return answer["body"]

    def refusal(self, command: str, **arguments: Any) -> str:
        """The message of a request's failure."""
        answer = self.response(self.send(command, **arguments))
        assert not answer["success"], answer
        return str(answer["message"])

    def event(self, name: str) -> Json:
        """The body of the next event of a name; those before it are dropped."""
        while True:
            while self.events:
                event = self.events.pop(0)
                if event["event"] == name:
                    return dict(event.get("body") or {})
            self._receive()

    def move(self, command: str, **arguments: Any) -> Json:
        """A request that ends in a stop: the stop."""
        self.ask(command, **arguments)
        return self.event("stopped")

    def begin(self, **launch: Any) -> None:
        """Everything up to the stop at the entry."""
        assert self.ask("initialize", adapterID="zvmd", linesStartAt1=True)["supportsStepBack"]
        self.ask("launch", **launch)
        self.event("initialized")
        assert self.move("configurationDone")["reason"] == "entry"

    def variables(self, scope: str, frame: int = -1, **page: int) -> dict[str, str]:
        """Variables of a scope of a frame (default: the running one)."""
        frame_id = self.ask("stackTrace", threadId=1)["stackFrames"][0]["id"] if frame < 0 else frame
        found = {entry["name"]: entry for entry in self.ask("scopes", frameId=frame_id)["scopes"]}
        shown = self.ask("variables", variablesReference=found[scope]["variablesReference"], **page)["variables"]
        return {variable["name"]: variable["value"] for variable in shown}

    def leave(self, **arguments: Any) -> None:
        """Disconnect; the adapter ends well."""
        self.ask("disconnect", **arguments)
        self.event("terminated")
        assert self.process.wait(30) == 0

    def close(self) -> None:
        """Make sure that nothing is left."""
        self.process.kill()
        self.process.wait()
