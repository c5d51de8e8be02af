"""``zvmd dap``: a debug adapter on standard input and output, or on a port."""

from __future__ import annotations

import queue
import socketserver
import sys
import threading
from typing import Any, BinaryIO

import click

from node.cli.link import link_options, open_link
from node.cli.output import say
from node.dap.adapter import AT_ONCE, answer
from node.dap.debuggee import Ask, Debuggee
from node.dap.protocol import Writer, read_message

REQUESTS_WAITING = 1_000
PAUSE_AGAIN_S = 0.2


@click.command()
@click.option("--port", type=int, help="Serve editors that connect to this port of 127.0.0.1, until interrupted.")
@link_options
def dap(port: int | None, http: bool, url: str | None, data_dir: str | None) -> None:
    """Serve the Debug Adapter Protocol to an editor, on sessions of a running node."""
    with open_link(http, url, data_dir) as link:
        if port is None:
            serve(link.rpc, sys.stdin.buffer, sys.stdout.buffer)
            return

        class Editor(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                serve(link.rpc, self.rfile, self.wfile)  # type: ignore[arg-type]

        with _Server(("127.0.0.1", port), Editor) as server:
            say(f"READY dap=127.0.0.1:{server.server_address[1]}")
            server.serve_forever()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def serve(ask: Ask, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer an editor until it leaves: requests in their order in one thread, a pause at once in this one."""
    debuggee, writer = Debuggee(ask), Writer(answers)
    waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(REQUESTS_WAITING)

    def work() -> None:
        while not debuggee.is_over and (request := waiting.get()) is not None:
            try:
                for message in answer(debuggee, request):
                    writer.write(message)
            except OSError:  # the editor is gone; the session stays
                return

    worker = threading.Thread(target=work, name="dap", daemon=True)
    worker.start()
    while (request := read_message(requests)) is not None:
        if request.get("command") in AT_ONCE:
            for message in answer(debuggee, request):
                writer.write(message)
            continue
        if request.get("command") == "disconnect":
            break
        waiting.put(request)
    waiting.put(request)
    waiting.put(None)
    while worker.is_alive():
        # a run under way would keep the rest waiting, and one that is just beginning does not hear the first pause
        list(answer(debuggee, {"command": "pause"}))
        worker.join(PAUSE_AGAIN_S)
