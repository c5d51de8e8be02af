"""Implements sd_notify(3): tells the service manager READY, WATCHDOG and STOPPING over its datagram socket.

The protocol needs no library: newline-separated assignments in one AF_UNIX datagram.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

import structlog

log = structlog.get_logger("zvmd.notify")

SEND_TIMEOUT_SECONDS = 1.0
STATUS_LIMIT_CHARS = 256


class Notifier:
    """Sends messages to the service manager; without ``NOTIFY_SOCKET`` every call does nothing.

    A message that cannot be sent is logged but does not stop the node: a manager that misses one acts by itself, and
    ``NOTIFY_SOCKET`` is often inherited from a unit that has ended.
    """

    def __init__(self, address: str = "", watchdog_seconds: float | None = None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_seconds = watchdog_seconds
        """The manager's watchdog timeout; feed it at least twice as often. ``None``: no watchdog for us."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], pid: int | None = None) -> Notifier:
        """The notifier that ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` describe."""
        pid = os.getpid() if pid is None else pid
        microseconds = environ.get("WATCHDOG_USEC", "")
        ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        seconds = int(microseconds) / 1e6 if ours and microseconds.isdecimal() and int(microseconds) else None
        return cls(environ.get("NOTIFY_SOCKET", ""), seconds)

    def ready(self, status: str) -> None:
        """Start-up (recovery included) is over and requests are answered."""
        self._send(f"READY=1\nSTATUS={_one_line(status)}")

    def watchdog(self) -> None:
        """The writer is alive. Called by the writer itself, so that a stuck writer is noticed."""
        if self.watchdog_seconds is not None:
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Shutdown has begun."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(SEND_TIMEOUT_SECONDS)
            try:
                channel.sendto(message.encode(), self._address)
            except OSError as error:
                name = self._address.replace("\0", "@")
                log.warning("the service manager was not notified", message=message, socket=name, error=str(error))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:STATUS_LIMIT_CHARS]
