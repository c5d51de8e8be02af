"""Chromium without a window, driven over the DevTools protocol, and a server of pages for it."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.daemon import _die_with_the_tests

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0",
)  # fmt: skip
NO_QUIC = "--disable-quic"
ANSWER_BYTES_MAX = 16 * 2**20
SECONDS = 60


def find_chromium() -> str | None:
    """Chromium as Debian names it, if it is installed."""
    return shutil.which("chromium") or shutil.which("chromium-headless-shell")


class Page:
    """A tab. Its scripts' errors become ``{"failed": text}``."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def go(self, url: str) -> None:
        """Load a page and wait for it."""
        self._browser.command("Page.enable", session=self._session)
        self._browser.command("Page.navigate", session=self._session, url=url)
        self._browser.wait_for("Page.loadEventFired", self._session)

    def run(self, script: str, **values: Any) -> Any:
        """The value of a script's last expression (a promise is awaited); ``values`` are its constants."""
        constants = "".join(f"const {name} = {json.dumps(value)};" for name, value in values.items())
        expression = f"(async () => {{ try {{ {constants} return await (async () => {{ {script} }})(); }}"
        expression += " catch (error) { return {failed: String(error)}; } })()"
        answer = self._browser.command(
            "Runtime.evaluate", session=self._session, expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")


class Browser:
    """A running browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._events: list[dict[str, Any]] = []
        self._id = 0

    def command(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Result of a command of the protocol."""
        self._id += 1
        message = {"id": self._id, "method": method, "params": params} | ({"sessionId": session} if session else {})
        self._connection.send(json.dumps(message))
        while True:
            answer = self._receive()
            if answer.get("id") == self._id:
                assert "error" not in answer, (method, answer)
                return dict(answer["result"])
            self._events.append(answer)

    def wait_for(self, event: str, session: str) -> None:
        """Until an event came, which may have been before."""
        while True:
            for position, known in enumerate(self._events):
                if (known.get("method"), known.get("sessionId")) == (event, session):
                    del self._events[: position + 1]
                    return
            self._events.append(self._receive())

    def open_page(self) -> Page:
        """A new empty tab."""
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        return Page(self, self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])

    def _receive(self) -> dict[str, Any]:
        return dict(json.loads(self._connection.recv(SECONDS)))


@contextmanager
def chromium(program: str, profile: Path, *flags: str, quic: bool = False) -> Iterator[Browser]:
    """A browser with an empty profile that talks to nobody but loopback."""
    flags = flags if quic else (NO_QUIC, *flags)
    process = subprocess.Popen(
        [program, *FLAGS, f"--user-data-dir={profile}", *flags, "about:blank"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=_die_with_the_tests,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.match(r"DevTools listening on (ws://\S+)", line):
                break
        else:
            raise AssertionError(f"the browser ended with status {process.wait()}")
        threading.Thread(target=process.stderr.read, daemon=True).start()  # so that the pipe does not fill
        with connect(found[1], max_size=ANSWER_BYTES_MAX, compression=None) as connection:
            yield Browser(connection)
    finally:
        process.kill()
        process.wait()


class _Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>a page</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        return


@contextmanager
def page_server() -> Iterator[int]:
    """A web server with one empty page at every path; its port on 127.0.0.1."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
