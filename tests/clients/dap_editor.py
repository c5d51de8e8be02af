"""An editor's end of the Debug Adapter Protocol, which checks every message both ways against the official schema."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

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
    if message.get("request_seq", 1) < 1:  # as the request's own number was, which no valid response can answer
        return message
    kind = message["type"].title() if message.get("success", True) else "ErrorResponse"
    validator(kind if kind == "ErrorResponse" else name[0].upper() + name[1:] + kind).validate(message)
    return message


def framed(message: object) -> bytes:
    """A message as it goes over a stream."""
    body = json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


class Editor:
    """Starts ``zvmd dap`` and talks to it, or connects to one that serves a port."""

    def __init__(self, data_dir: Path | None, *options: str, port: int = 0) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        if port:
            self._socket = socket.create_connection(("127.0.0.1", port))
            self._in: IO[bytes] = self._socket.makefile("rb")
            self._out: IO[bytes] = self._socket.makefile("wb")
        else:
            command = [sys.executable, "-m", "node.cli.main", "dap", "--data-dir", str(data_dir), *options]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPO, env=clean_environment()
            )
            assert self._process.stdout is not None
            assert self._process.stdin is not None
            self._in, self._out = self._process.stdout, self._process.stdin
        self._numbers = itertools.count(1)
        self._sequence = 0
        self.events: list[Json] = []
        """Not yet waited for."""
        self._responses: dict[int, Json] = {}

    def send(self, command: str, **arguments: Any) -> int:
        """Send a request; its number."""
        request: Json = {"seq": next(self._numbers), "type": "request", "command": command, "arguments": arguments}
        return self.send_raw(check(request))

    def send_raw(self, request: Json) -> int:
        """Send a request that need not be one; its number."""
        self.write(framed(request))
        return int(request["seq"])

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._out.write(data)
        self._out.flush()

    def answer(self, command: str, arguments: object) -> Json:
        """The response to a request whose arguments may be anything."""
        return self.response(
            self.send_raw({"seq": next(self._numbers), "type": "request", "command": command, "arguments": arguments})
        )

    def _receive(self) -> None:
        stream, header = self._in, self._in.readline()
        assert header, "the adapter has ended"
        length = int(header.split(b":")[1])
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
        self.wait()

    @property
    def session(self) -> int:
        """Number of the session that is debugged."""
        return int(self.ask("threads")["threads"][0]["name"].split()[1])

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The adapter, if it is this editor's own."""
        assert self._process is not None
        return self._process

    def wait(self) -> None:
        """Until the adapter has ended, or its end of the connection."""
        if self._process is not None:
            assert self._process.wait(30) == 0
        else:
            assert self._in.read() == b""

    def vanish(self) -> None:
        """The editor dies: its ends of the streams close; the adapter notices and ends."""
        self._out.close()
        self._in.close()
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.wait(30)

    def close(self) -> None:
        """Make sure that nothing is left."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.vanish()


@contextmanager
def served_port(data_dir: Path) -> Iterator[int]:
    """The port of a ``zvmd dap`` that serves one."""
    command = [sys.executable, "-m", "node.cli.main", "dap", "--port", "0", "--data-dir", str(data_dir)]
    adapter = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPO, env=clean_environment())
    try:
        assert adapter.stdout is not None
        ready = adapter.stdout.readline()
        assert ready.startswith("READY dap=127.0.0.1:")
        yield int(ready.strip().rpartition(":")[2])
    finally:
        adapter.kill()
        adapter.wait()
