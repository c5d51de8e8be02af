"""``zvmd dap``: a debug adapter on standard input and output."""

from __future__ import annotations

import json
import sys
from typing import Any, BinaryIO

import click

from node.cli.link import link_options, open_link
from node.dap.adapter import Adapter

MESSAGE_BYTES_MAX = 16 << 20


@click.command()
@link_options
def dap(http: bool, url: str | None, data_dir: str | None) -> None:
    """Serve the Debug Adapter Protocol to an editor, on sessions of a running node."""
    with open_link(http, url, data_dir) as link:
        adapter = Adapter(link.rpc)
        while not adapter.is_over and (request := read_message(sys.stdin.buffer)) is not None:
            for message in adapter.handle(request):
                body = json.dumps(message).encode()
                sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            sys.stdout.buffer.flush()


def read_message(stream: BinaryIO) -> dict[str, Any] | None:
    """The next request; None at the end, or when what comes is none."""
    length = 0
    while (line := stream.readline(4096).strip()) or not length:
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
