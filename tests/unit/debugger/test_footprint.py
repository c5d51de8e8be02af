"""What a session is said to take is what it takes."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from benchmarks.sessions import stateful
from debugger import moves
from debugger.edits import Edit
from debugger.footprint import footprint
from debugger.program import Program
from debugger.session import Session
from debugger.slices import finish
from tests.unit.debugger.programs import MACHINE
from tests.unit.vm.programs import code

STORES = code(0, "JUMPDEST", 1, "ADD DUP1 DUP1 SSTORE DUP1", 4_000, "GT", 2, "JUMPI STOP")
MEMORY = code(0, "JUMPDEST", 1, "ADD DUP1", 64, "MUL DUP2 SWAP1 MSTORE DUP1", 8_000, "GT", 2, "JUMPI STOP")
LOGS = code(0, "JUMPDEST", 1, "ADD DUP1", 0, "MSTORE", 320, 0, "LOG0 DUP1", 4_000, "GT", 2, "JUMPI STOP")


@pytest.mark.parametrize("body", [stateful(6_000), STORES, MEMORY, LOGS], ids=["stateful", "stores", "memory", "logs"])
def test_the_footprint_is_what_was_allocated(body: bytes) -> None:
    program = Program(code="0x" + body.hex(), gas=10**10)
    Session(program, MACHINE).close()
    gc.collect()
    tracemalloc.start()
    try:
        run = Session(program, MACHINE, spacing=4_096)
        finish(moves.run(run))
        for step in (20_000, 7_000, 30_000):
            finish(moves.seek(run, step))
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
        assert 0.6 * taken < footprint(run) < 1.5 * taken + (64 << 10)
        run.close()
        del run
        assert tracemalloc.get_traced_memory()[0] < taken // 4, "closing gives it back without a collection"
    finally:
        tracemalloc.stop()


def test_long_texts_count() -> None:
    small = Session(Program(code="0x00"), MACHINE)
    large = Session(Program(code="0x00", calldata="0x" + "11" * (1 << 20)), MACHINE)
    assert footprint(small) < 128 << 10
    assert footprint(large) - footprint(small) >= 3 << 20
    edited = Session(Program(code="0x00"), MACHINE)
    edited.edit(Edit("calldata", data="0x" + "11" * (1 << 20)))
    assert footprint(edited) - footprint(small) >= 2 << 20
