"""Messages of the Debug Adapter Protocol on byte streams, and what this adapter can do."""

from __future__ import annotations

import json
import threading
from typing import Any, BinaryIO

Json = dict[str, Any]

MESSAGE_BYTES_MAX = 16 << 20
HEADER_BYTES_MAX = 4096

CAPABILITIES: Json = {
    "supportsConfigurationDoneRequest": True,
    "supportsStepBack": True,
    "supportsSteppingGranularity": True,
    "supportsRestartRequest": True,
    "supportsRestartFrame": True,
    "supportsGotoTargetsRequest": True,
    "supportTerminateDebuggee": True,
    "supportsConditionalBreakpoints": True,
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
    "supportsEvaluateForHovers": True,
    "supportsValueFormattingOptions": False,
}


def read_message(stream: BinaryIO) -> Json | None:
    """The next request; None at the end, or when what comes is none."""
    length = 0
    while (line := stream.readline(HEADER_BYTES_MAX).strip()) or not length:
        if not line:
            return None
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
    if length > MESSAGE_BYTES_MAX:
        return None
    try:
        request = json.loads(stream.read(length))
    except ValueError:
        return None
    return request if isinstance(request, dict) else None


class Writer:
    """Numbers messages and writes them whole. Any thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._sequence = 0

    def write(self, message: Json) -> None:
        """Send a message; its ``seq`` is given here."""
        with self._lock:
            self._sequence += 1
            body = json.dumps({**message, "seq": self._sequence}).encode()
            self._stream.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            self._stream.flush()
