"""Gas is defined in one module: no other writes the numbers, and emitters charge nothing they have not read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from chain.gas_schedule import SCHEDULES
from tests.paths import REPO

SCHEDULE = "chain/gas_schedule.py"
SMALLEST = 250
"""Numbers below it mean too much else: sizes, offsets, statuses."""
ROOMS = ("chain", "vm", "debugger", "node/engine", "node/tracers", "node/conformance")
"""Where gas is computed."""
SKIPPED = {"errors.py", "limits.py"}
"""Codes of JSON-RPC errors; sizes and counts."""
OTHERS = {
    ("chain/difficulty.py", 100_000): "blocks",
    ("chain/header_rules.py", 5_000): "the least gas limit of a block",
    ("node/tracers/calls.py", 400): "bytes",
    ("vm/evm/jit/tier.py", 500): "characters",
    ("vm/evm/jit/tier.py", 20_000): "how often code ran",
    ("vm/evm/jit/worker.py", 500): "characters",
    ("vm/evm/jit/worker.py", 600): "seconds",
    ("vm/ir/compiler.py", 500): "characters",
    ("vm/ir/elf.py", 500): "characters",
    ("vm/journal.py", 400): "bytes",
    ("vm/precompiles/bls12_381.py", 600): "a thousandth",
    ("vm/precompiles/bls12_381.py", 750): "a thousandth",
}
"""Numbers that are not gas though some price is the same, and what they are."""
CHARGES = {"charge", "charge_size"}


def prices() -> set[int]:
    """Every number of every schedule."""
    found: set[int] = set()
    pending: list[object] = [vars(schedule) for schedule in SCHEDULES]
    while pending:
        value = pending.pop()
        if isinstance(value, int):
            found.add(abs(value))
        elif hasattr(value, "values"):
            pending.extend(value.values())
        elif isinstance(value, tuple):
            pending.extend(value)
    return {price for price in found if price >= SMALLEST and price.bit_count() > 1}


def literals(path: Path) -> Iterator[int]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            yield node.value


def test_no_other_module_writes_a_price() -> None:
    known = prices()
    assert {20_000, 2_600, 21_000, 34_000, 6_900} <= known
    found = {
        (str(path.relative_to(REPO)), number)
        for room in ROOMS
        for path in (REPO / room).rglob("*.py")
        for number in literals(path)
        if number in known and path.name not in SKIPPED and str(path.relative_to(REPO)) != SCHEDULE
    }
    assert found <= OTHERS.keys(), "read these prices from the fork's schedule"


def test_native_code_charges_only_what_it_has_read() -> None:
    for path in sorted((REPO / "vm").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHARGES:
                numbers = [n for n in ast.walk(node) if isinstance(n, ast.Constant) and type(n.value) is int]
                assert not numbers, f"{path}:{node.lineno}"
