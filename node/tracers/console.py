"""``consoleTracer``: the lines that a transaction or call prints with console.log."""

from __future__ import annotations

from chain.console_log import CONSOLE, shown
from node.api.tracing import RunTracer
from vm.console import ConsoleCalls
from vm.message import Message, Outcome
from vm.transaction import TransactionResult


class ConsoleTracer(RunTracer):
    """Lines of console.log, also of frames that reverted; calldata with an unknown signature is shown as hex."""

    def __init__(self) -> None:
        self._console = ConsoleCalls()

    def leave(self, message: Message, outcome: Outcome) -> None:
        """A call of the console ended; one refused for its depth or value prints nothing."""
        if message.to == CONSOLE and outcome.success:
            self._console.add(message.data)

    def result(self, ended: TransactionResult) -> list[str]:  # noqa: ARG002
        """The lines, and at the end the number of lines above the limit."""
        lines = [shown(data) for data in self._console.calls]
        dropped = self._console.dropped
        return [*lines, f"({dropped} more calls were not kept)"] if dropped else lines
