"""Frame snapshots, stepping, tracing, the object cache, and use from several threads."""

from __future__ import annotations

import sys
import threading
from subprocess import run as run_process

import pytest

from chain.forks import Fork
from chain.receipts import Log
from node.machine.assembly import build_machine
from tests.paths import REPO
from tests.unit.vm.programs import MACHINE, OTHER, World, code, returning_top
from vm.errors import EngineUnavailable, SnapshotInvalid
from vm.evm.frame import Frame
from vm.evm.trace import Tracer
from vm.ir import image, loader
from vm.message import Message, Outcome

LOOP = code(
    1, "DUP1 POP JUMPDEST", 3, "MUL DUP1", 0, "MSTORE", 64, 0, "KECCAK256 ADD",
    "DUP1", 5, "SSTORE DUP1", 13, "MOD", 4, "JUMPI", 0, "MSTORE", 64, 0, "RETURN",
)  # fmt: skip


def test_stepping_ends_like_running() -> None:
    ran = World().call(LOOP)
    world = World()
    world.journal.set_code(world.message().to, LOOP)
    execution = MACHINE.begin(world.message(), world.context)
    steps = 0
    while execution.step(1) is None:
        steps += 1
    assert execution.outcome == ran
    assert steps > 20
    for batch in (2, 7, 10_000):
        again = World()
        again.journal.set_code(again.message().to, LOOP)
        execution = MACHINE.begin(again.message(), again.context)
        while execution.step(batch) is None:
            pass
        assert execution.outcome == ran


def test_snapshot_and_restore_continue_alike() -> None:
    ran = World().call(LOOP)
    world = World()
    world.journal.set_code(world.message().to, LOOP)
    execution = MACHINE.begin(world.message(), world.context)
    execution.step(20)
    frame = execution.frames[-1]
    kept, position = frame.snapshot(), (frame.pc, frame.gas, frame.stack(), frame.memory_bytes())
    execution.step(7)
    assert (frame.pc, frame.gas, frame.stack(), frame.memory_bytes()) != position
    frame.restore(kept)
    assert (frame.pc, frame.gas, frame.stack(), frame.memory_bytes()) == position
    assert frame.snapshot() == kept
    assert execution.run().output == ran.output


@pytest.mark.parametrize(
    "damage", [lambda s: s[:-1], lambda s: s + b"\0", lambda s: b"????" + s[4:], lambda _: b""]
)
def test_damaged_snapshots_are_refused(damage) -> None:  # type: ignore[no-untyped-def]
    world = World()
    world.journal.set_code(world.message().to, LOOP)
    execution = MACHINE.begin(world.message(), world.context)
    execution.step(5)
    with pytest.raises(SnapshotInvalid):
        execution.frames[-1].restore(damage(execution.frames[-1].snapshot()))
    execution.close()


class Recorder(Tracer):
    """Writes down what a tracer hears."""

    hears_steps = True

    def __init__(self) -> None:
        self.heard: list[object] = []

    def enter(self, message: Message) -> None:
        self.heard.append(("enter", message.depth))

    def step(self, frame: Frame) -> None:
        self.heard.append((frame.pc, frame.gas, frame.depth))

    def leave(self, message: Message, outcome: Outcome) -> None:
        self.heard.append(("leave", message.depth, outcome.halt))

    def log(self, log: Log, position: int) -> None:
        self.heard.append(("log", position, log))


def test_tracer_hears_steps_calls_and_logs() -> None:
    world = World()
    world.journal.set_code(OTHER, code(0, 0, "LOG0"))
    world.journal.set_code(world.message().to, code(0, 0, 0, 0, 0, int.from_bytes(OTHER, "big"), "GAS CALL"))
    recorder = Recorder()
    outcome = MACHINE.execute(world.message(), world.context, recorder)
    assert outcome.success
    assert recorder.heard[:3] == [("enter", 0), (0, 1_000_000, 0), (2, 999_997, 1)]
    assert ("log", 0, Log(OTHER, (), b"")) in recorder.heard
    assert ("leave", 1, 0) in recorder.heard
    assert recorder.heard[-1] == ("leave", 0, 0)
    assert sum(isinstance(h, tuple) and isinstance(h[0], int) for h in recorder.heard) == 8 + 1 + 4


def test_a_damaged_or_foreign_object_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cache(dict[str, bytes]):
        def put(self, key: str, data: bytes) -> None:
            self[key] = data

    cache, compiled = Cache(), []
    code = image.encode(image.Image(b"any code", 0, (), ()))
    made = loader.LibraryCompiler(lambda ir: compiled.append(ir) or code, lambda: ("this computer",))
    monkeypatch.setattr(loader, "_compiler", made)
    for _ in range(2):
        assert loader.image_for("text", "name", cache) == code
    assert compiled == ["text"]
    (key,) = cache
    cache[key] = cache[key][:-1] + b"X"
    assert loader.image_for("text", "name", cache) == code
    assert loader.image_for("other text", "name", cache) == code
    assert compiled == ["text", "text", "other text"]
    cache[loader.object_key("text", "name")] = cache[loader.object_key("other text", "name")]
    loader.image_for("text", "name", cache)
    assert len(compiled) == 4


def test_a_stored_object_loads_and_runs() -> None:
    """In a process of its own: an object that does not load may end the process."""
    program = """
from vm.evm import native
from vm.ir import loader
from chain.forks import Fork
kept = {}
class Cache:
    def get(self, key): return kept.get(key)
    def put(self, key, data): kept[key] = data
native.load_interpreter(Fork.OSAKA, Cache())
native._interpreter.cache_clear(); loader._libraries.clear()
def never(ir): raise AssertionError
loader.use(loader.LibraryCompiler(never, loader.compiled_for), None)
native.load_interpreter(Fork.OSAKA, Cache())
from tests.unit.vm.programs import World
assert World(Fork.OSAKA).top(7, 35, "ADD") == 42
"""
    assert run_process([sys.executable, "-c", program], cwd=REPO, timeout=60, check=False).returncode == 0


def test_endless_loops_end_with_their_gas() -> None:
    program = (
        "from tests.unit.vm.programs import run; assert run('JUMPDEST', 0, 'JUMP', gas=10**8).halt == 32"
    )
    assert run_process([sys.executable, "-c", program], cwd=REPO, timeout=60, check=False).returncode == 0


def test_threads_do_not_disturb_each_other() -> None:
    program = returning_top(*[(i * 7) % 251 for i in range(60)], *(["ADD"] * 59), 3000, "MLOAD ADD")
    want = sum((i * 7) % 251 for i in range(60)).to_bytes(32, "big")
    wrong: list[bytes] = []

    def work() -> None:
        for _ in range(200):
            got = World(Fork.CANCUN).call(program).output
            if got != want:
                wrong.append(got)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_unknown_engine() -> None:
    with pytest.raises(EngineUnavailable):
        build_machine(engine="abacus")


def test_an_opcode_that_grows_the_memory_is_one_step() -> None:
    world = World()
    world.journal.set_code(world.message().to, code(1, 5000, "MSTORE", 2, 200_000, "MSTORE8 MSIZE STOP"))
    execution = MACHINE.begin(world.message(), world.context)
    positions = [execution.frames[-1].pc]
    while execution.step(1) is None:
        positions.append(execution.frames[-1].pc)
    assert positions == [0, 2, 5, 6, 8, 12, 13, 14]
    assert execution.outcome is not None
    assert execution.outcome.success


@pytest.mark.parametrize("steps", [1, 100, None])
def test_storage_changed_between_steps_is_seen(steps: int | None) -> None:
    world = World()
    world.journal.set_code(world.message().to, returning_top(1, "SLOAD POP", 1, "SLOAD"))
    execution = MACHINE.begin(world.message(), world.context)
    execution.step(3)
    world.journal.set_storage(world.message().to, 1, 99)
    execution.forget_slots()
    while execution.outcome is None:
        if steps is None:
            execution.run()
        else:
            execution.step(steps)
    assert int.from_bytes(execution.outcome.output, "big") == 99
