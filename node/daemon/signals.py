"""What signals ask of a node: to stop, or to read its TLS files again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable


class Signals:
    """Listens for signals from its making on. One that arrives during recovery takes effect afterwards.

    SIGTERM and SIGINT stop the node. SIGHUP means two things: the terminal was closed, which stops a node that was
    started on it, unless with nohup; or an operator has new files for it.
    """

    def __init__(self) -> None:
        self.stopped = asyncio.Event()
        """Set when the node is to stop."""
        self._loop = asyncio.get_running_loop()
        self._reload: Callable[[], object] | None = None
        is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._ends_with_terminal = not is_ignored and has_terminal()
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._loop.add_signal_handler(number, self.stopped.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._hangup)

    def reload_with(self, reload: Callable[[], object]) -> None:
        """Call ``reload`` in a thread when it is asked for. It logs its errors itself."""
        self._reload = reload

    def _hangup(self) -> None:
        if self._ends_with_terminal and not has_terminal():
            self.stopped.set()
        elif self._reload is not None:
            self._loop.run_in_executor(None, self._reload)


def has_terminal() -> bool:
    """Whether this process has a controlling terminal, which closing takes away (tty(4))."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
