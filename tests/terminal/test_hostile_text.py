"""Whatever a chain, a file or a name says, a terminal shows it and obeys none of it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
import unicodedata
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import zvmd
from node.cli.main import COMMANDS
from tests.conftest import Node
from tests.contracts import dev_account
from tests.daemon import clean_environment
from tests.paths import REPO
from zvmd.printable import printable

HOSTILE = "\x1b]0;PWNED\x07\x1b[2J\x1b[35;47m\x9b1A\x9d0;x\x9c\u202e\u2066\u200b\u2028\ufeff\x7f\b\r[red]x[/red]\n\tend"
OURS = re.compile(r"\x1b\[[0-9;]*m")
"""The colours of tables and panels."""
SHOWN = "PWNED"
PLAIN = "plain äöü \N{SNOWMAN} \N{GRINNING FACE} \u6f22\u5b57\u3000\u00a0"
REPEAT = """
import json, sys
from node.cli.main import main
for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    sys.stdout.write("$ " + json.dumps(arguments) + "\\n")
    sys.stdout.flush()
    try:
        main()
    except SystemExit as end:
        sys.stdout.flush()
"""


def on_a_terminal(commands: list[list[str]], cwd: Path) -> dict[str, str]:
    """What a terminal receives from commands run one after the other, by command."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", REPEAT, json.dumps(commands)],
        cwd=cwd,
        env=clean_environment() | {"PYTHONPATH": str(REPO), "TERM": "xterm-256color", "COLUMNS": "400"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    received = b""
    try:
        while piece := os.read(ours, 65_536):
            received += piece
    except OSError:  # the other side is closed
        pass
    finally:
        os.close(ours)
        process.wait(60)
    text = received.decode("utf-8").replace("\r\n", "\n")  # the terminal driver's
    parts = re.split(r"^\$ (\[.*\])\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def steering(text: str) -> list[str]:
    """The characters left in the text that are not ours to send."""
    assert "\x1b[35;47m" not in text, "a colour of the stranger's"
    rest = OURS.sub("", text)
    return [c for c in rest if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


def code_ending(operation: str, output: bytes) -> bytes:
    """Code that ends with these bytes: f3 returns them, fd reverts with them."""
    return bytes.fromhex(f"600d380380600d6000396000{operation}") + output


def text_of(text: bytes) -> bytes:
    """ABI encoding of a string."""
    return (32).to_bytes(32, "big") + len(text).to_bytes(32, "big") + text + bytes(-len(text) % 32)


REASON = bytes.fromhex("08c379a0") + text_of(HOSTILE.encode() + b"\xff\xc3")
SAYING = code_ending("f3", text_of(HOSTILE.encode()))
REVERTING = code_ending("fd", REASON)
TEMPLATE = f"""
name = "hostile"
title = {json.dumps(HOSTILE)}
explanation = {json.dumps(HOSTILE)}
tags = [{json.dumps(HOSTILE)}]
assembly = "STOP"
[expected]
halt = "stop"
"""


@pytest.fixture
def client(node: Node) -> zvmd.Node:
    if node.daemon is None:
        pytest.skip("an outside node has no data directory")
    return zvmd.Node(f"quic://127.0.0.1:{node.daemon.quic_port}", data_dir=node.daemon.data_dir)


def deployed(client: zvmd.Node, runtime: bytes) -> str:
    sender = dev_account(8).address
    fields = {"from": sender, "data": "0x" + code_ending("f3", runtime).hex()}
    digest = client.rpc("eth_sendTransaction", fields)
    return str(client.rpc("eth_getTransactionReceipt", digest)["contractAddress"])


def session_of(client: zvmd.Node) -> str:
    """A session that ended with a hostile revert, with hostile names."""
    number = client.rpc("zvmd_session_create", {"code": "0x" + REVERTING.hex()})["id"]
    client.rpc("zvmd_session_rename", number, HOSTILE, [HOSTILE])
    client.rpc("zvmd_session_breakpoint_add", number, {"kind": "pc", "pc": 3, "name": HOSTILE})
    client.rpc("zvmd_session_seek", number, 4)
    client.rpc("zvmd_session_run", number)
    return str(number)


def test_no_command_lets_a_stranger_steer_the_terminal(client: zvmd.Node, node: Node, tmp_path: Path) -> None:
    assert node.daemon is not None
    saying, reverting, session = deployed(client, SAYING), deployed(client, REVERTING), session_of(client)
    files = {"template.toml": TEMPLATE, "vectors.json": json.dumps({HOSTILE: {"env": HOSTILE}})}
    files |= {"zvmd.toml": f"data_dir = {json.dumps(HOSTILE)}\n", "wrong.toml": f"{json.dumps(HOSTILE)} = 1\n"}
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    named = printable(HOSTILE).replace("/", "_")
    odd = HOSTILE.replace("/", "_")
    (tmp_path / odd).mkdir()
    (tmp_path / odd / "FORMAT").write_text(HOSTILE)
    (tmp_path / (odd + ".json")).write_text("[]")
    assert SHOWN in named
    link = ["--data-dir", str(node.daemon.data_dir)]
    http = [*link, "--http"]
    sender = ["--from", dev_account(8).address]
    commands = [
        ["call", *link, saying, "f()(string)"],
        ["call", *http, saying, "f()(string)"],
        ["call", *link, reverting, "f()"],
        ["call", *http, reverting, "f()"],
        ["send", *link, *sender, reverting, "f()"],
        ["deploy", *link, *sender, "0x" + REVERTING.hex()],
        ["rpc", *link, HOSTILE],
        ["rpc", *link, "zvmd_session_list"],
        ["rpc", *http, "eth_call", json.dumps({"to": reverting}), "latest"],
        ["session", "list", *link],
        ["session", "list", "--json", *link],
        ["session", "state", session, *link],
        ["session", "calls", session, *link],
        ["session", "run", session, *link],
        ["session", "watch", session, "--count", "1", *link],
        ["session", "break", session, *link],
        ["session", "trace", session, *link],
        ["session", "branches", session, *link],
        ["session", "code", session, *link],
        ["session", "timeline", session, *link],
        ["session", "shares", session, *link],
        ["session", "evaluate", session, "pc", *link],
        ["session", "evaluate", session, HOSTILE, *link],
        ["session", "rename", session, "--name", HOSTILE * 20, *link],
        ["session", "template", "save", "template.toml", *link],
        ["session", "template", "list", *link],
        ["session", "template", "show", "hostile", *link],
        ["session", "template", "show", HOSTILE, *link],
        ["session", "template", "remove", "hostile", *link],
        ["session", "import", odd + ".json", *link],
        ["statetest", "vectors.json"],
        ["statetest", "--json", "vectors.json"],
        ["blocktest", "vectors.json"],
        ["trace", "vectors.json"],
        ["config", "show", "--config", "zvmd.toml"],
        ["config", "show", "--config", "wrong.toml"],
        ["wal", "inspect", "--data-dir", odd],
        ["wal", "verify", "--data-dir", odd],
        ["verify", "--data-dir", odd],
        ["migrate-store", "--data-dir", odd],
        ["migrate-store", "--json", "--data-dir", odd],
        ["start", "--data-dir", odd],
        ["backup", odd, *link],
        ["restore", odd, odd + "2"],
        ["logs", *link],
        ["events", "heads", "--resume", "0:0", "--count", "1", *link],
        ["console", HOSTILE, *link],
        ["fate", HOSTILE, *link],
        ["certificate", "client", HOSTILE, *link],
        ["certificate", "client", "alice", "--out", odd, "--data-dir", odd],
        ["certificate", "client", "bob", "--out", odd, *link],
        ["token", "create", HOSTILE, "--scope", "read", *link],
        ["token", "list", *link],
        ["token", "revoke", HOSTILE, *link],
        ["audit", *link],
        [HOSTILE],
        ["status", "--" + HOSTILE],
        ["status", "--url", HOSTILE],
    ]
    received = on_a_terminal(commands, tmp_path)
    assert len(received) == len(commands)
    found = {command: set(map(ascii, steering(text))) for command, text in received.items()}
    assert not {command: left for command, left in found.items() if left}
    showing = [command for command, text in received.items() if SHOWN in text]
    assert len(showing) >= 24, showing
    assert {command[0] for command in commands} >= set(COMMANDS) - {"systemd", "dap"}, "our own files; a protocol"
    rendered = received[json.dumps(["session", "template", "show", "hostile", *link])]
    assert "[red]x[/red]" in rendered, "text is not markup"


def test_json_is_complete(client: zvmd.Node, node: Node, tmp_path: Path) -> None:
    assert node.daemon is not None
    session = session_of(client)
    command = ["session", "list", "--json", "--data-dir", str(node.daemon.data_dir)]
    (text,) = on_a_terminal([command], tmp_path).values()
    (line,) = [line for line in json.loads(text) if str(line["id"]) == session]
    assert line["name"] == HOSTILE
    assert line["tags"] == [HOSTILE]


def test_the_sdk_tells_all_and_its_errors_can_be_printed(client: zvmd.Node) -> None:
    reverting = deployed(client, REVERTING)
    with pytest.raises(zvmd.Reverted) as caught:
        client.call_raw(reverting, b"")
    assert HOSTILE[:40] in caught.value.message
    assert not steering(str(caught.value))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (PLAIN, PLAIN),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x9b\x7f\x00", "\\x9b\\x7f\\x00"),
        ("\u202e\u200f\u2069\U000e0041", "\\u202e\\u200f\\u2069\\U000e0041"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_is_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_stay_lines() -> None:
    assert printable("a\nb\tc\r\n", lines=True) == "a\nb\tc\\r\n"


def test_every_character_that_steers_is_spelled_out() -> None:
    everything = [chr(number) for number in (*range(0x21000), *range(0xE0000, 0xE0200))]
    assert not steering(printable("".join(everything)))


def test_the_debugger_shows_and_does_not_obey(client: zvmd.Node, node: Node) -> None:
    assert node.daemon is not None
    session = session_of(client)
    ours, theirs = pty.openpty()
    environment = {**clean_environment(), "TERM": "xterm-256color", "COLUMNS": "200", "LINES": "60"}
    process = subprocess.Popen(
        [sys.executable, "-m", "node.cli.main", "session", "debug", session, "--data-dir", str(node.daemon.data_dir)],
        cwd=REPO,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    received = b""
    try:
        while SHOWN.encode() not in received:
            received += os.read(ours, 65_536)
        os.write(ours, b"q")
        while b"stays as it is" not in received:
            received += os.read(ours, 65_536)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    text = received.decode("utf-8")
    assert not [piece for piece in ("\x1b]0;", "\x1b[35;47m", *"\x9b\x9d\u202e\u2066\u200b\ufeff") if piece in text]


class Stranger(BaseHTTPRequestHandler):
    """Answers everything with what the server was given."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        answer = json.dumps(self.server.answer).encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    "answer",
    [
        {"error": {"code": -32000, "message": HOSTILE, "data": {"code": HOSTILE, "hint": HOSTILE}}},
        {"error": {"code": 3, "message": HOSTILE, "data": HOSTILE}},
        {"result": HOSTILE + "\ud800"},
        {"result": [{"id": HOSTILE}]},
        HOSTILE,
    ],
    ids=["error", "revert", "text", "list", "no JSON-RPC"],
)
def test_no_node_steers_the_terminal_either(answer: object, tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    server.answer = answer  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    link = ["--url", f"http://127.0.0.1:{server.server_port}"]
    to = "0x" + "11" * 20
    commands = [["status", *link], ["call", *link, to, "f()(string)"], ["rpc", *link, "x"], ["logs", *link]]
    commands += [["session", name, *rest, *link] for name, *rest in (["list"], ["state", "1"], ["template", "list"])]
    try:
        received = on_a_terminal(commands, tmp_path)
    finally:
        server.shutdown()
        server.server_close()
    assert len(received) == len(commands)
    assert not any(map(steering, received.values()))
    if isinstance(answer, str) or "error" in answer:  # type: ignore[operator]
        assert not [text for text in received.values() if not text.startswith("error[")]
