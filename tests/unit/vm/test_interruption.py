"""What runs can be stopped from another thread: interpreted, compiled, calling itself, in precompiles, traced."""

from __future__ import annotations

import threading

import pytest

from chain.errors import ZvmdError
from chain.forks import Fork
from node.machine.assembly import build_machine
from node.machine.object_cache import FileObjectCache
from tests.bytecode import code
from tests.paths import OBJECTS
from tests.unit.vm.programs import CALLER, TARGET, World
from vm.evm.trace import Tracer
from vm.interruption import Interruption, checkpoint, interruptible
from vm.machine import Machine
from vm.message import CallKind, Message

GAS = 2 * 10**10
"""Half a minute of the fastest loop: a call that is not stopped ends without the error."""
ENGINES = {name: build_machine(engine=name, cache=FileObjectCache(OBJECTS)) for name in ("interpreter", "jit")}


class Stopped(ZvmdError):
    """What the tests stop with."""


class Deaf(Tracer):
    """Hears every step and does nothing."""

    def enter(self, message: Message) -> None: ...
    def step(self, frame: object) -> None: ...
    def leave(self, message: Message, outcome: object) -> None: ...
    def log(self, log: object, position: int) -> None: ...


def _call_self(times: int) -> bytes:
    one = code(0, 0, 0, 0, 0, "ADDRESS", "GAS", "CALL", "POP")
    return one * times


def _precompile(address: int, size: int, prefix: bytes = b"") -> bytes:
    """Call it again and again, with all gas, on memory that holds the prefix."""
    head = b"".join(code(byte, at, "MSTORE8") for at, byte in enumerate(prefix))
    loop = code("JUMPDEST", 0, 0, size, 0, address, "GAS", "STATICCALL", "POP")
    return head + loop + bytes([0x60 + 2, *len(head).to_bytes(3, "big")]) + code("JUMP")


PROGRAMS = {
    "loop": code("JUMPDEST", 0, "JUMP"),
    "conditional loop": code("JUMPDEST", 1, 0, "JUMPI"),
    "computed loop": code("JUMPDEST", "PC", "POP", "CALLVALUE", "JUMP"),
    "long loop": code("JUMPDEST") + code(1, "POP") * 3_000 + code(0, "JUMP"),
    "keccak of a megabyte": code("JUMPDEST", 1 << 20, 0, "KECCAK256", "POP", 0, "JUMP"),
    "storage": code("JUMPDEST", "GAS", "GAS", "SSTORE", 0, "JUMP"),
    "transient storage": code("JUMPDEST", "GAS", "GAS", "TSTORE", 0, "JUMP"),
    "logs": code("JUMPDEST", 0, 0, "LOG0", 0, "JUMP"),
    "calls without a loop": _call_self(2),
    "recursion": code("JUMPDEST") + _call_self(1) + code(0, "JUMP"),
    "creations": code("JUMPDEST", 0, 0, 0, "CREATE", "POP", 0, "JUMP"),
    "identity": _precompile(4, 64),
    "blake2f without rounds": _precompile(9, 213),
    "blake2f once": code(0xFF, 0, "MSTORE8", 0xFF, 1, "MSTORE8", 0, 0, 213, 0, 9, "GAS", "STATICCALL"),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_call_is_stopped_and_the_next_one_runs(name: str, engine: str) -> None:
    interruption = Interruption()
    with pytest.raises(Stopped):
        _run(name, ENGINES[engine], interruption)
    assert _end(ENGINES[engine]) == (7).to_bytes(32, "big")


@pytest.mark.parametrize("name", ["loop", "recursion", "identity"])
def test_a_traced_call_is_stopped(name: str) -> None:
    with pytest.raises(Stopped):
        _run(name, ENGINES["interpreter"], Interruption(), Deaf())


def test_what_is_stopped_before_it_begins_does_not_begin() -> None:
    interruption = Interruption()
    interruption.stop(Stopped("early"))
    with pytest.raises(Stopped, match="early"):
        _run("loop", ENGINES["jit"], interruption)
    with interruptible(interruption), pytest.raises(Stopped):
        checkpoint()
    checkpoint()


def test_the_first_reason_counts_and_what_ended_is_left_alone() -> None:
    interruption = Interruption()
    interruption.stop(Stopped("first"))
    interruption.stop(Stopped("second"))
    with pytest.raises(Stopped, match="first"):
        interruption.check()
    done = Interruption()
    with interruptible(done):
        assert _end(ENGINES["interpreter"]) == (7).to_bytes(32, "big")
    done.stop(Stopped("late"))
    assert _end(ENGINES["interpreter"]) == (7).to_bytes(32, "big")


def test_what_a_call_holds_is_seen_while_it_runs() -> None:
    """The memory of its frames, and what its journal remembers."""
    for name, least in (("transient storage", 1 << 24), ("logs", 1 << 20)):
        interruption, enough = Interruption(), threading.Event()

        def look(
            interruption: Interruption = interruption, least: int = least, enough: threading.Event = enough
        ) -> None:
            while not enough.wait(0.005):
                if interruption.held_bytes() > least:
                    interruption.stop(Stopped("too much"))
                    enough.set()

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            with pytest.raises(Stopped, match="too much"):
                _run(name, ENGINES["interpreter"], interruption, stop_after=None)
        finally:
            enough.set()
            watcher.join()


def _run(
    name: str,
    machine: Machine,
    interruption: Interruption,
    tracer: Tracer | None = None,
    stop_after: float | None = 0.03,
) -> None:
    world = World(fork=Fork.CANCUN)
    world.state.put(TARGET, PROGRAMS[name])
    message = Message(CallKind.CALL, CALLER, TARGET, TARGET, 0, b"", GAS)
    timer = threading.Timer(stop_after, interruption.stop, [Stopped("time")]) if stop_after is not None else None
    if timer is not None:
        timer.start()
    try:
        with interruptible(interruption):
            machine.execute(message, world.context, tracer)
    finally:
        if timer is not None:
            timer.cancel()


def _end(machine: Machine) -> bytes:
    """What a loop of ten turns returns, on the thread's same tables."""
    world = World(fork=Fork.CANCUN)
    body = code(10, "JUMPDEST", 1, "SWAP1", "SUB", "DUP1", 2, "JUMPI", 7, 0, "MSTORE", 32, 0, "RETURN")
    world.state.put(TARGET, body)
    message = Message(CallKind.CALL, CALLER, TARGET, TARGET, 0, b"", 100_000)
    return machine.execute(message, world.context).output
