"""Tells all that happens in a transaction under the execution specification: pickled batches in, events out.

Started with the Python of the oracles' environment; imports nothing of this repository but its neighbour. The events
are the specification's own trace, with the begin and end of each message from around its `process_message`.
"""

from __future__ import annotations

import pickle
import sys
import threading
from functools import cache
from importlib import import_module
from typing import Any

import eels_chain_worker as chain
from ethereum.trace import EvmStop, OpEnd, OpException, OpStart, set_evm_trace
from ethereum_types.bytes import Bytes32

CALLS = {0xF0, 0xF1, 0xF2, 0xF4, 0xF5, 0xFA}
Events = list[tuple[Any, ...]]


class Listener(chain.Work):
    """Hears the trace."""

    def __init__(self, modules: Modules) -> None:
        super().__init__()
        self.events: Events = []
        self.modules = modules
        self.last_op: dict[int, tuple[Any, ...]] = {}

    def __call__(self, evm: Any, event: Any) -> None:
        """One event."""
        super().__call__(evm, event)
        if isinstance(event, OpStart):
            self._start(evm, event.op.value)
        elif isinstance(event, OpEnd):
            self._end(evm)
        elif isinstance(event, EvmStop):
            if evm.running and len(evm.code):
                self._line(evm, 0)
        elif isinstance(event, OpException):
            self._fault(evm, event.error)

    def _start(self, evm: Any, byte: int) -> None:
        self._line(evm, byte)
        stack = [int(word) for word in evm.stack[-7:]][::-1]
        self.last_op[id(evm)] = (byte, len(evm.stack), stack, int(evm.gas_left))
        message = evm.message
        if byte in CALLS:
            account = self.modules.state.get_account(message.block_env.state, message.current_target)
            place = (bytes(message.current_target), int(account.balance), int(account.nonce), int(message.depth))
            self.events.append(("call", byte, stack, bytes(evm.memory), *place))
        elif byte == 0xFF and stack:
            account = self.modules.state.get_account(message.block_env.state, message.current_target)
            self.events.append(("dying", bytes(message.current_target), stack[0] % 2**160, int(account.balance)))

    def _line(self, evm: Any, byte: int) -> None:
        slot = None
        if byte in (0x54, 0x55) and evm.stack:
            key = Bytes32(int(evm.stack[-1]).to_bytes(32, "big"))
            target = evm.message.current_target
            value = self.modules.state.get_storage(evm.message.block_env.state, target, key)
            slot = (bytes(target), int(evm.stack[-1]), int(value))
        stack = tuple(map(int, evm.stack))
        place = (int(evm.pc), byte, int(evm.gas_left), int(evm.message.depth) + 1)
        returned = bytes(getattr(evm, "return_data", b""))
        self.events.append(("line", *place, stack, bytes(evm.memory), returned, slot))

    def _end(self, evm: Any) -> None:
        byte = self.last_op[id(evm)][0]
        if byte in CALLS:
            self.events.append(("called",))
        elif 0xA0 <= byte <= 0xA4:
            log = evm.logs[-1]
            self.events.append(("log", bytes(log.address), [bytes(topic) for topic in log.topics], bytes(log.data)))
        elif byte == 0xFF:
            self.events.append(("died",))
        else:
            self.events.append(("paid", self.last_op[id(evm)][3] - int(evm.gas_left)))

    def _fault(self, evm: Any, error: Any) -> None:
        name = type(error).__name__
        if name == "InvalidOpcode":
            byte = int(error.code) if hasattr(error, "code") else evm.code[int(evm.pc)]
            self._line(evm, byte)
            self.last_op[id(evm)] = (byte, len(evm.stack), [], int(evm.gas_left))
        self.events.append(("fault", name, *self.last_op.get(id(evm), (None, 0, [], 0))))


class Modules:
    """The modules of one fork, whose message functions tell a listener."""

    def __init__(self, name: str) -> None:
        package = f"ethereum.forks.{chain.SPECIFICATIONS.get(name, name.lower())}"
        self.interpreter: Any = import_module(f"{package}.vm.interpreter")
        self.system: Any = import_module(f"{package}.vm.instructions.system")
        self.state: Any = import_module(f"{package}.state")
        self.listener: Listener | None = None
        self._wrap_messages()
        for function in ("calculate_message_call_gas", "max_message_call_gas"):
            if hasattr(self.system, function):
                self._wrap_gas(function)

    def listen(self) -> Listener:
        """A new listener."""
        self.listener = Listener(self)
        return self.listener

    def tell(self, *event: Any) -> None:
        """An event."""
        if self.listener is not None:
            self.listener.events.append(event)

    def _wrap_messages(self) -> None:
        message_of, create_of = self.interpreter.process_message, self.interpreter.process_create_message

        def process_message(message: Any) -> Any:
            sizes = bytes(message.caller), bytes(message.current_target), int(message.value)
            data = bytes(message.data) or (bytes(message.code) if message.code_address is None else b"")
            self.tell("begin", *sizes, data, int(message.gas), int(message.depth))
            evm = message_of(message)
            self.tell("end", int(evm.gas_left), type(evm.error).__name__ if evm.error else "", bytes(evm.output))
            return evm

        def process_create_message(message: Any) -> Any:
            evm = create_of(message)
            self.tell("created", int(evm.gas_left), type(evm.error).__name__ if evm.error else "")
            return evm

        self.interpreter.process_message = process_message
        self.interpreter.process_create_message = process_create_message

    def _wrap_gas(self, name: str) -> None:
        original = getattr(self.system, name)

        def wrapped(*arguments: Any) -> Any:
            found = original(*arguments)
            self.tell("granted", int(getattr(found, "sub_call", getattr(found, "stipend", found))))
            return found

        setattr(self.system, name, wrapped)


@cache
def modules_of(name: str) -> Modules:
    """Imported when first asked for."""
    return Modules(name)


def run(case: dict[str, Any]) -> dict[str, Any]:
    """Run one case."""
    listener = modules_of(case["fork"]).listen()
    set_evm_trace(listener)
    try:
        return chain.run_transaction(case) | {"events": listener.events}
    except chain.TooLong:
        return {"given_up": True}
    except Exception as error:
        return {"refusal": chain.refusal(error)}


def serve() -> None:
    """Answer until the input ends."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            batch = pickle.load(source)
        except EOFError:
            return
        pickle.dump([run(case) for case in batch["cases"]], sink, protocol=5)
        sink.flush()


if __name__ == "__main__":
    sys.setrecursionlimit(60_000)
    threading.stack_size(512 << 20)
    threading.Thread(target=serve).start()
