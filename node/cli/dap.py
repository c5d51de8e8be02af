"""``zvmd dap``: a debug adapter on standard input and output, or on a port."""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import sys
from collections.abc import Callable

import click

from node.cli.link import Link, connect, link_options
from node.cli.output import say
from node.dap.caretaker import Caretaker
from node.dap.conversation import Conversation


@click.command()
@click.option("--port", type=int, help="Serve editors that connect to this port of 127.0.0.1, until interrupted.")
@link_options
def dap(port: int | None, http: bool, url: str | None, data_dir: str | None) -> None:
    """Serve the Debug Adapter Protocol to an editor, on sessions of a running node."""

    def to_node() -> Link:
        return connect(http, url, data_dir)

    caretaker = Caretaker(to_node)
    try:
        if port is None:
            # not sys.stdin: the interpreter takes its lock when it exits, and a thread still reads then
            requests = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
            Conversation(to_node, caretaker, sys.stdout.buffer).serve(requests)
        else:
            serve_port(port, to_node, caretaker)
    finally:
        caretaker.dismiss()


def serve_port(port: int, to_node: Callable[[], Link], caretaker: Caretaker) -> None:
    """A conversation for each editor that connects."""

    class Editor(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                Conversation(to_node, caretaker, self.wfile).serve(self.rfile)  # type: ignore[arg-type]
            finally:
                with contextlib.suppress(OSError):  # ends the thread that still reads
                    self.connection.shutdown(socket.SHUT_RDWR)

    with _Server(("127.0.0.1", port), Editor) as server:
        say(f"READY dap=127.0.0.1:{server.server_address[1]}")
        server.serve_forever()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
