"""Messages of the Debug Adapter Protocol on byte streams, and this adapter's capabilities."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

Json = dict[str, Any]

MESSAGE_BYTES_MAX = 16 << 20
HEADER_BYTES_MAX = 4_096
"""Longest line of a header; of a longer one only the end is used."""

CAPABILITIES: Json = {
    "supportsConfigurationDoneRequest": True,
    "supportsStepBack": True,
    "supportsSteppingGranularity": True,
    "supportsRestartRequest": True,
    "supportsRestartFrame": True,
    "supportsGotoTargetsRequest": True,
    "supportTerminateDebuggee": True,
    "supportsConditionalBreakpoints": True,
    "supportsHitConditionalBreakpoints": True,
    "supportsLogPoints": True,
    "supportsInstructionBreakpoints": True,
    "supportsFunctionBreakpoints": True,
    "supportsDataBreakpoints": True,
    "supportsDataBreakpointBytes": True,
    "supportsExceptionInfoRequest": True,
    "exceptionBreakpointFilters": [
        {"filter": "failure", "label": "Reverts and faults", "description": "Before an operation that fails a message"}
    ],
    "supportsDisassembleRequest": True,
    "supportsReadMemoryRequest": True,
    "supportsWriteMemoryRequest": True,
    "supportsSetVariable": True,
    "supportsSetExpression": True,
    "supportsEvaluateForHovers": True,
    "supportsClipboardContext": True,
    "supportsLoadedSourcesRequest": True,
    "supportsCancelRequest": True,
}


class Malformed(NamedTuple):
    """Bytes that are not a message."""

    reason: str
    seq: int | None = None
    """Sequence number of the request that it probably was."""


_LENGTH = re.compile(rb"content-length:[ \t]*(\d{1,12})[ \t]*\r?\n$", re.IGNORECASE)
_SEQ = re.compile(rb'"seq"\s*:\s*(\d{1,15})\b')
_BEFORE_HEADER_BYTES = 64
"""Bytes kept of a line that is too long: a header may begin in them."""


def messages(stream: io.BufferedIOBase | BinaryIO) -> Iterator[Json | Malformed]:
    """The messages until the stream ends. After malformed bytes, reading continues at the next header."""
    while (length := _length(stream)) is not None:
        if isinstance(length, Malformed):
            yield length
            continue
        body = stream.read(length)
        if len(body) < length:
            return
        yield _decoded(body)


def _length(stream: Any) -> int | Malformed | None:
    """Reads a header: the length of what follows; None at the end of the stream."""
    length, is_header, rest = None, False, b""
    while line := stream.readline(HEADER_BYTES_MAX):
        line, rest = rest + line, b""
        found = _LENGTH.search(line)
        if found is not None:
            length = int(found[1])
        elif not line.endswith(b"\n"):
            rest = line[-_BEFORE_HEADER_BYTES:]
        elif line.strip():
            is_header = True
        elif length is not None:
            break
        elif is_header:
            return Malformed("a header without a Content-Length")
    else:
        return None
    if length > MESSAGE_BYTES_MAX:
        reason = f"a message of {length} bytes; the limit is {MESSAGE_BYTES_MAX}"
        return Malformed(reason, _seq_in(stream.peek(HEADER_BYTES_MAX)))
    return length


def _decoded(body: bytes) -> Json | Malformed:
    try:
        message = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return Malformed(f"a message that is not JSON: {error}", _seq_in(body))
    return message if isinstance(message, dict) else Malformed("a message that is not a JSON object")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _seq_in(body: bytes) -> int | None:
    found = _SEQ.search(body[:HEADER_BYTES_MAX])
    return None if found is None else int(found[1])


class MessageWriter:
    """Numbers messages and writes them whole. Any thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._sequence = 0

    def write(self, message: Json) -> None:
        """Send a message; its ``seq`` is given here. Raises `OSError` and `ValueError` when the editor is gone."""
        with self._lock:
            self._sequence += 1
            body = json.dumps({**message, "seq": self._sequence}).encode()
            self._stream.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            self._stream.flush()
