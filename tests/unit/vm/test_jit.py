"""The JIT: what goes wrong natively when guards, indexes, caches or the compiling process go wrong."""

from __future__ import annotations

import gc
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chain.forks import Fork
from chain.hashing import keccak256
from node.machine.assembly import build_machine, machine_parts
from node.machine.compile_messages import decode_request, encode_request
from node.machine.compile_worker import CompileWorker
from tests.paths import REPO
from tests.unit.vm.programs import World, code, returning_top
from vm.code import Code
from vm.evm.jit.entry_table import EntryTable
from vm.evm.jit.foresight import FORESEEN_BYTES_MAX, WAITING_MAX
from vm.evm.jit.ports import WORKER_LOST, CompileRequest
from vm.evm.jit.profile import FAILURES_MAX
from vm.evm.jit.program import SegmentedCode
from vm.evm.jit.tier import CALLS_WORTH_COMPILING, BackgroundTier
from vm.evm.native import load_interpreter
from vm.machine import Machine
from vm.message import Halt, Outcome  # noqa: F401 - Halt is for the programs run in a process of their own

LOOP = code(0, b"\x5b", 1, "ADD DUP1", 30_000, "GT", 2, "JUMPI", 0, "MSTORE", 32, 0, "RETURN")
RETURNING = code(b"\x5b", 0, "MSTORE", 32, 0, "RETURN")
GAS = 5_000_000


class Objects:
    """An object cache in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    def put(self, key: str, data: bytes) -> None:
        self.kept[key] = data

    @property
    def jit_keys(self) -> list[str]:
        return [key for key in self.kept if key.startswith("jit-")]


def call(machine: Machine, program: bytes, gas: int = GAS) -> Outcome:
    world = World()
    world.journal.set_code(world.message().to, program)
    return machine.execute(world.message(gas), world.context)


def until(condition: object, machine: Machine, program: bytes) -> None:
    """Call the program until the condition, a function, holds."""
    deadline = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, machine.status()
        call(machine, program)
        time.sleep(0.02)


def test_indexes_agree_between_native_code_and_python() -> None:
    source = random.Random(9)
    for fork in (Fork.OSAKA, Fork.FRONTIER):
        interpreter = load_interpreter(fork)
        for _ in range(100):
            text = bytes(
                source.choice([0x5B, 0x60, 0x7F, 0xF1, 0x31, 0x54, source.randrange(256)]) for _ in range(90)
            )
            program, table = SegmentedCode(text, fork), EntryTable(Code(text, interpreter.map_jumps), interpreter)
            assert table.jumpdests() == program.targets
            assert table.resume_points() == program.entries
            assert table.count == 2 + len(program.targets) + len(program.entries)


def test_a_failed_guard_ends_in_the_interpreter() -> None:
    # In a process of its own: guard and jit table could send each other back and forth for ever.
    text = (
        "from tests.unit.vm.test_jit import *\n"
        "m = build_machine(engine='jit')\n"
        "for gas in [*range(400), 29_000, 100_000]:\n"
        "    assert call(m, LOOP, gas) == Outcome(Halt.OUT_OF_GAS, 0), gas\n"
        "deep = code(b'\\x5b', 'PC', 0, 'JUMP')\n"
        "assert call(m, deep).halt is Halt.STACK_OVERFLOW\n"
        "assert call(m, code(b'\\x5b', 'POP', 0, 'JUMP')).halt is Halt.STACK_UNDERFLOW\n"
        "print('ended', m.status()['engine'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=REPO, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout == "ended jit\n", done.stderr


@pytest.mark.parametrize("last", ["GAS", "CALLER BALANCE", "GAS POP"])
def test_a_segment_that_ends_before_a_jumpdest_is_paid_once(last: str) -> None:
    program = returning_top(0, 1, 8, "JUMPI", 0, b"\x5b" * 3, last, b"\x5b", "GAS")
    assert call(build_machine(engine="jit"), program) == call(build_machine(), program)


def test_hot_code_is_compiled_in_the_background_and_found_again() -> None:
    objects = Objects()
    machine = build_machine(objects, "auto")
    expected = call(machine, LOOP)
    until(lambda: machine.metrics.compiled, machine, LOOP)
    assert call(machine, LOOP) == expected
    machine.close()
    again = build_machine(objects, "auto")
    until(lambda: again.metrics.loaded, again, LOOP)
    assert call(again, LOOP) == expected
    assert again.metrics.compiled == 0
    assert again.metrics.machine_code_bytes > 0
    again.close()


def test_a_damaged_object_is_not_executed() -> None:
    objects = Objects()
    expected = call(build_machine(objects, "jit"), LOOP)
    (key,) = objects.jit_keys
    good = objects.kept[key]
    for bad in (good[:-1], good[:40] + bytes([good[40] ^ 1]) + good[41:], b"", b"\x7fELF" * 20):
        objects.kept[key] = bad
        machine = build_machine(objects, "jit")
        assert call(machine, LOOP) == expected
        assert (machine.metrics.rejected, machine.metrics.compiled) == (1, 1)
        assert objects.kept[key] == good


def test_another_contracts_object_is_not_executed() -> None:
    objects = Objects()
    other = code(7, 0, "MSTORE", 32, 0, "RETURN")
    call(build_machine(objects, "jit"), other)
    (foreign,) = objects.jit_keys
    call(build_machine(objects, "jit"), LOOP)
    (key,) = set(objects.jit_keys) - {foreign}
    objects.kept[key] = objects.kept[foreign]
    machine = build_machine(objects, "jit")
    assert call(machine, LOOP) == call(build_machine(), LOOP)
    assert machine.metrics.rejected == 1


def test_a_compiling_process_that_hangs_is_killed_and_the_next_one_works() -> None:
    worker = CompileWorker(seconds_max=0.01)
    answers: list[tuple[bytes | None, str]] = []
    ready = threading.Event()

    def done(_: CompileRequest, found: bytes | None, reason: str) -> None:
        answers.append((found, reason))
        ready.set()

    request = CompileRequest(Fork.CANCUN, 0, LOOP, (2,))
    assert worker.submit(lambda: request, done)
    assert ready.wait(30)
    assert answers[0][0] is None
    assert worker.killed == 1
    worker._seconds_max = 60.0
    ready.clear()
    assert worker.submit(lambda: request, done)
    assert ready.wait(60)
    assert answers[1][0]
    worker.close()
    assert worker.status().process_id is None


def test_a_compiling_process_without_work_ends_and_the_next_work_starts_another() -> None:
    worker = CompileWorker(idle_seconds=0.05)
    found: queue.Queue[bytes | None] = queue.Queue()
    request = CompileRequest(Fork.CANCUN, 0, LOOP, (2,))
    objects = []
    for _ in range(2):
        assert worker.submit(lambda: request, lambda _, code, __: found.put(code))
        objects.append(found.get(timeout=60))
        deadline = time.monotonic() + 30
        while worker.status().process_id is not None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert objects[0] == objects[1] is not None
    assert worker.status().restarts == 0
    worker.close()


class Asked:
    """A compile worker, and the answers it gave."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("node.machine.compile_worker.PAUSE_SECONDS", 0.0)
        self.worker = CompileWorker()
        self.answers: queue.Queue[tuple[bytes | None, str]] = queue.Queue()

    def ask(
        self, prepare: Callable[[], CompileRequest | None] = lambda: CompileRequest(Fork.CANCUN, 0, LOOP, (2,))
    ) -> bool:
        return self.worker.submit(prepare, lambda _, found, reason: self.answers.put((found, reason)))

    def answer(self) -> tuple[bytes | None, str]:
        return self.answers.get(timeout=60)


def test_a_fault_of_the_worker_costs_one_contract_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by taking all file descriptors: the thread ended, and nothing was compiled until the next start."""
    it = Asked(monkeypatch)

    def fail() -> CompileRequest:
        raise OSError(24, "Too many open files")

    assert it.ask(fail)
    with monkeypatch.context() as patch:
        patch.setattr("node.ops.worker.subprocess.Popen", lambda *_, **__: fail())
        assert it.ask()
        assert it.answer() == (None, WORKER_LOST)
    assert it.ask()
    assert it.answer()[0]
    assert it.worker.faults == 2
    assert "Too many open files" in it.worker.last_fault
    it.worker.close()


def test_a_compiling_process_that_was_killed_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    it = Asked(monkeypatch)
    assert it.ask()
    assert it.answer()[0]
    process = it.worker._process
    process.kill()
    while not process.is_lost:
        time.sleep(0.01)
    assert it.ask()
    assert it.answer()[0], "no contract is to blame for what died while it waited"
    assert it.worker.killed == 1
    it.worker.close()


def test_a_thread_that_ended_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    it = Asked(monkeypatch)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    def panic() -> CompileRequest:
        raise SystemExit

    assert it.ask(panic)
    thread = it.worker._thread
    assert thread is not None
    thread.join(30)
    assert it.ask()
    assert it.answer()[0]
    assert it.worker.faults == 1
    it.worker.close()


def test_without_a_thread_contracts_are_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    it = Asked(monkeypatch)

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        assert not it.ask()
    assert it.ask()
    assert it.answer()[0]
    it.worker.close()


def test_a_contract_is_compiled_though_the_process_was_lost_before(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = CompileWorker()
    lost = [(None, WORKER_LOST)] * 2
    real = worker._compile
    monkeypatch.setattr(worker, "_compile", lambda request: lost.pop() if lost else real(request))
    machine = Machine(machine_parts(Objects(), "auto")._replace(compiler=worker))
    until(lambda: machine.metrics.compiled, machine, LOOP)
    assert machine.metrics.failed == 2
    machine.close()


def test_a_contract_that_costs_the_process_each_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = CompileWorker()
    monkeypatch.setattr(worker, "_compile", lambda _: (None, WORKER_LOST))
    machine = Machine(machine_parts(Objects(), "auto")._replace(compiler=worker))
    until(lambda: machine.metrics.failed >= FAILURES_MAX, machine, LOOP)
    for _ in range(200):
        call(machine, LOOP)
    assert machine.metrics.failed == FAILURES_MAX
    machine.close()


def test_the_queue_is_bounded() -> None:
    worker = CompileWorker()
    hold = threading.Event()

    def prepare() -> None:
        hold.wait(30)

    taken = [worker.submit(prepare, lambda *_: None) for _ in range(100)]
    assert 64 <= sum(taken) <= 65
    hold.set()
    worker.close()


def test_a_contract_that_got_hot_while_it_waited_behind_another_is_compiled() -> None:
    """Of 1,000 contracts called 80 times each, three quarters were not: each look at the counts found them waiting."""
    worker = CompileWorker()
    machine = Machine(machine_parts(Objects(), "auto")._replace(compiler=worker))
    hold = threading.Event()

    def prepare() -> None:
        hold.wait(60)

    assert worker.submit(prepare, lambda *_: None)
    for _ in range(2 * CALLS_WORTH_COMPILING):
        call(machine, RETURNING)
    hold.set()
    settled(lambda: machine.metrics.compiled, machine)
    machine.close()


def test_eviction_leaves_running_code_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = build_machine(Objects(), "auto")
    until(lambda: machine.metrics.compiled, machine, LOOP)
    world = World()
    world.journal.set_code(world.message().to, LOOP)
    execution = machine.begin(world.message(GAS), world.context)
    monkeypatch.setattr("vm.evm.jit.tier.LOADED_CONTRACTS_MAX", 0)
    other = LOOP + b"\x00"
    until(lambda: machine.metrics.evicted >= 2, machine, other)
    gc.collect()
    assert execution.run() == call(build_machine(), LOOP)
    execution.close()
    assert machine.metrics.machine_code_bytes == 0
    machine.close()


def test_counting_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = build_machine(engine="auto")
    runtime = machine.runtime(Fork.CANCUN)
    tier = runtime.tier
    assert isinstance(tier, BackgroundTier)
    codes = [Code(LOOP + bytes([i]), runtime.interpreter.map_jumps) for i in range(20)]
    monkeypatch.setattr("vm.evm.jit.tier.COUNTED_BYTES_MAX", 5 * EntryTable(codes[0], runtime.interpreter).size)
    monkeypatch.setattr(CompileWorker, "submit", lambda *_: False)
    for each in codes:
        for _ in range(3):
            tier.entry_table_of(each)
    assert sum(profile.table is not None for profile in tier._profiles.values()) == 5
    machine.close()


def test_a_profile_goes_with_its_code() -> None:
    machine = build_machine(engine="auto")
    runtime = machine.runtime(Fork.CANCUN)
    tier = runtime.tier
    assert isinstance(tier, BackgroundTier)
    for i in range(20):
        tier.entry_table_of(Code(LOOP + bytes([i]), runtime.interpreter.map_jumps))
    kept = Code(LOOP, runtime.interpreter.map_jumps)
    tier.entry_table_of(kept)
    gc.collect()
    assert [profile.calls for profile in tier._profiles.values()] == [1]
    machine.close()


def test_an_idle_machine_forgets_code_that_is_neither_counted_nor_compiled() -> None:
    machine = build_machine(Objects(), "auto")
    until(lambda: machine.metrics.machine_code_bytes, machine, LOOP)
    call(machine, RETURNING)
    codes = machine.runtime(Fork.CANCUN).codes
    assert codes.get(keccak256(RETURNING)) is not None
    compiled = codes.get(keccak256(LOOP))
    machine.tidy()
    assert codes.get(keccak256(RETURNING)) is None
    assert codes.get(keccak256(LOOP)) is compiled is not None
    assert call(machine, RETURNING) == call(build_machine(), RETURNING)
    machine.close()


def test_requests_keep_their_parts() -> None:
    request = CompileRequest(Fork.OSAKA, 1, bytes(range(256)), (0, 7, 24_575))
    assert decode_request(encode_request(request)) == request


def test_a_dump_has_blocks_ir_and_assembly(tmp_path: Path) -> None:
    call(build_machine(engine="jit", dump=tmp_path), LOOP)
    assert sorted("".join(path.suffixes) for path in tmp_path.iterdir()) == [".blocks.txt", ".ll", ".s"]
    assert "JUMPI" in next(tmp_path.glob("*.blocks.txt")).read_text()


def settled(condition: Callable[[], object], machine: Machine) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, machine.status()
        time.sleep(0.02)


def test_a_created_contract_is_compiled_before_it_is_called() -> None:
    objects = Objects()
    machine = build_machine(objects, "auto")
    created = {keccak256(program): program for program in (LOOP, LOOP + b"\x00")}
    machine.foresee(Fork.CANCUN, created)
    settled(lambda: machine.metrics.compiled == 2, machine)
    assert machine.metrics.machine_code_bytes == 0, "nothing is loaded for a contract that nobody calls"
    expected = call(build_machine(), LOOP)
    until(lambda: machine.metrics.machine_code_bytes, machine, LOOP)
    assert call(machine, LOOP) == expected
    assert (machine.metrics.compiled, machine.metrics.loaded) == (2, 1)
    machine.foresee(Fork.CANCUN, created)
    settled(lambda: not machine.compiler.waiting, machine)
    assert machine.metrics.compiled == 2, "what is kept is not compiled again"
    machine.close()


def test_foresight_is_bounded_and_needs_a_place_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[CompileRequest] = []

    def submit(_: CompileWorker, prepare: Callable[[], CompileRequest | None], __: object) -> bool:
        request = prepare()
        asked.extend([request] if request is not None else [])
        return True

    monkeypatch.setattr(CompileWorker, "submit", submit)
    machine = build_machine(Objects(), "auto")
    programs = [LOOP + n.to_bytes(2) for n in range(100)] + [LOOP + bytes(FORESEEN_BYTES_MAX), b""]
    machine.foresee(Fork.CANCUN, {keccak256(program): program for program in programs})
    tier = machine.runtime(Fork.CANCUN).tier
    assert isinstance(tier, BackgroundTier)
    assert [request.code for request in asked] == [LOOP + bytes(2)], "one at a time"
    assert len(tier._foresight._waiting) == WAITING_MAX
    forgetful = build_machine(None, "auto")
    forgetful.foresee(Fork.CANCUN, {keccak256(LOOP): LOOP})
    assert len(asked) == 1
    machine.close()
    forgetful.close()


def test_a_compiler_that_takes_nothing_stops_foresight_only_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = build_machine(Objects(), "auto")
    with monkeypatch.context() as patch:
        patch.setattr(CompileWorker, "submit", lambda *_: False)
        machine.foresee(Fork.CANCUN, {keccak256(LOOP): LOOP})
    other = LOOP + b"\x00"
    machine.foresee(Fork.CANCUN, {keccak256(other): other})
    settled(lambda: machine.metrics.compiled == 1, machine)
    machine.close()


def test_heat_that_is_spread_over_many_jumps_compiles_the_whole_contract() -> None:
    passes = code(0, b"\x5b", *[b"\x5b"] * 2_000, 1, "ADD DUP1", 200, "GT", 2, "JUMPI", 0, "MSTORE", 32, 0, "RETURN")
    objects = Objects()
    machine = build_machine(objects, "auto")
    expected = call(build_machine(), passes)
    until(lambda: machine.metrics.machine_code_bytes, machine, passes)
    assert [key for key in objects.jit_keys if key.startswith("jit-whole")]
    assert call(machine, passes) == expected
    before = machine.status()["interpreted"]
    for _ in range(5):
        call(machine, passes)
    assert machine.status()["interpreted"] - before < 5 * 2_000, "most jumps are compiled"
    machine.close()
