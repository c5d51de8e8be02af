"""What may be wrong with the bytes between an editor and ``zvmd dap``: whatever it is, the adapter answers on."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from node.dap.protocol import MESSAGE_BYTES_MAX, Malformed, messages
from tests.clients.dap_editor import Editor, framed, served_port
from tests.conftest import Node


@pytest.fixture(scope="module")
def port(node: Node) -> Iterator[int]:
    if node.daemon is None:
        pytest.skip("an outside node has no data directory")
    with served_port(node.daemon.data_dir) as port:
        yield port


@pytest.fixture
def editor(port: int) -> Iterator[Editor]:
    editor = Editor(None, port=port)
    yield editor
    editor.close()


def request(seq: object, command: object = "threads", **more: object) -> dict[str, Any]:
    return {"seq": seq, "type": "request", "command": command, **more}


BODY = json.dumps(request(7)).encode()
GARBAGE: tuple[bytes, ...] = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"Content-Length: -5\r\n\r\n",
    b"Content-Length: many\r\n\r\n",
    b"Content-Length: \r\n\r\n",
    b"Content-Length: 99999999999999999999\r\n\r\n",
    b"Content-Type: application/json\r\n\r\n",
    b"\r\n\r\n\n\n",
    b"Content-Length: 0\r\n\r\n",
    b"Content-Length: 4\r\n\r\nnull",
    b"Content-Length: 7\r\n\r\n[1,2,3]",
    b"Content-Length: 3\r\n\r\n{]}",
    b"Content-Length: 3\r\n\r\nNaN",
    b"Content-Length: 2\r\n\r\n\xff\xfe",
    b"Content-Length: 2000\r\n\r\n" + b"[" * 1000 + b"]" * 1000,
    b"Content-Length: 200000\r\n\r\n" + b"[" * 200_000,
    b"Content-Length: 5000\r\n\r\n" + b"9" * 5000,
    b"x" * 10_000,
    b"x" * 4_090 + b"\r\n",
    b'{"seq":1,"type":"request","command":"threads"}\r\n',
    bytes(range(256)) * 20 + b"\r\n",
)


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_reading_goes_on_behind_garbage(garbage: bytes) -> None:
    whole = b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    found = list(messages(io.BufferedReader(io.BytesIO(garbage + whole + whole))))  # type: ignore[arg-type]
    assert [message for message in found if not isinstance(message, Malformed)] == [request(7)] * 2
    # what stands in front of a good header is passed over; a header or a body that is wrong is told of
    told = [message for message in found if isinstance(message, Malformed)]
    assert len(told) == (1 if garbage.startswith((b"Content", b"GET")) else 0)


@pytest.mark.parametrize("size", range(1, 40))
def test_a_header_is_found_wherever_a_long_line_is_cut(size: int) -> None:
    whole = b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    found = messages(io.BufferedReader(io.BytesIO(b"x" * (4_096 - size) + whole)))  # type: ignore[arg-type]
    assert request(7) in list(found)


def test_headers_as_they_may_be_written() -> None:
    more = b"Content-Type: x; charset=utf-8\r\nCONTENT-LENGTH: %d \r\n\r\n"
    for header in (b"content-length:%d\r\n\r\n", more, b"Content-Length: %d\n\n"):
        found = messages(io.BufferedReader(io.BytesIO(header % len(BODY) + BODY)))  # type: ignore[arg-type]
        assert list(found) == [request(7)]


def test_messages_cut_and_joined_as_streams_do(editor: Editor) -> None:
    text = "é𝄞‮" * 50
    both = framed(request(1)) + framed(request(2, "evaluate", arguments={"expression": text}))
    editor.write(both + framed(request(50))[:9])
    editor.write(framed(request(50))[9:])
    for byte in framed(request(9)):
        editor.write(bytes([byte]))
    raw = json.dumps(request(11, "cancel", arguments={"progressId": text}), ensure_ascii=False).encode()
    editor.write(b"Content-Length: %d\r\n\r\n" % len(raw) + raw)
    assert [editor.response(seq)["success"] for seq in (1, 2, 50, 9, 11)] == [True, False, True, True, True]


def test_what_is_no_request(editor: Editor) -> None:
    editor.write(framed({"seq": 1, "type": "response", "request_seq": 5, "command": "runInTerminal", "success": True}))
    editor.write(framed({"seq": 2, "type": "event", "event": "nothing"}))
    wrong: list[dict[str, Any]] = [{"seq": 3, "command": "threads"}, {"seq": 4, "type": "demand"}, request(5, None)]
    wrong += [request(6, 7), request(7, [])]
    wrong += [request(8, "é" * 1000), request(9, "threads", arguments=[1]), request(10, "")]
    for message in wrong:
        editor.write(framed(message))
    for message in wrong:
        assert not editor.response(message["seq"])["success"]
    for seq in (None, "1", 1.5, True, -1):
        editor.write(framed(request(seq)))
    answered = [editor.response(0) for _ in range(4)] + [editor.response(-1)]
    assert all(response["success"] for response in answered)


def test_a_message_that_is_too_large_is_refused(editor: Editor) -> None:
    large = framed(request(3, "evaluate", arguments={"expression": "1" * MESSAGE_BYTES_MAX}))
    editor.write(large + framed(request(4)))
    assert "the limit is" in editor.response(3)["message"]
    assert editor.response(4)["success"]
    fitting = framed(request(5, "evaluate", arguments={"expression": "1" * 1_000_000}))
    editor.write(fitting)
    assert not editor.response(5)["success"]


def test_before_initialize_and_behind_disconnect(editor: Editor) -> None:
    for command in ("stackTrace", "next", "continue", "configurationDone", "scopes", "source", "pause", "goto"):
        arguments = {"threadId": 1, "frameId": 1, "sourceReference": 1, "targetId": 1}
        assert "there is no session yet" in editor.answer(command, arguments)["message"]
    assert editor.ask("threads") == {"threads": []}
    assert editor.ask("setFunctionBreakpoints", breakpoints=[])
    last = framed(request(100, "disconnect")) + framed(request(101)) + framed(request(102, "next"))
    editor.write(last)
    assert editor.response(100)["success"]
    assert [editor.response(seq)["message"] for seq in (101, 102)] == ["the editor has disconnected"] * 2
    editor.wait()
