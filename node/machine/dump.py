"""``--jit-dump DIR``: blocks, IR and assembly of every object the JIT compiles, for people to read."""

from __future__ import annotations

from pathlib import Path

from chain.forks import Fork
from chain.types import Hash32
from vm.code import Code
from vm.evm.jit.program import SegmentedCode


class DirectoryDump:
    """Implements `vm.evm.jit.ports.Dump` in one directory. Raises `OSError`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, code: Code, code_hash: Hash32, fork: Fork, kind: str, text: str, level: int) -> None:
        """One object's files: ``HASH-FORK-KIND.blocks.txt``, ``.ll`` and ``.s``."""
        from vm.ir.compiler import parse, target_machine  # loads LLVM

        self._directory.mkdir(parents=True, exist_ok=True)
        stem = f"{code_hash.hex()[:16]}-{fork.name.lower()}-{kind}"
        (self._directory / f"{stem}.blocks.txt").write_text(_blocks(code, fork))
        (self._directory / f"{stem}.ll").write_text(text)
        machine = target_machine(level)
        (self._directory / f"{stem}.s").write_text(machine.emit_assembly(parse(text, machine)))


def _blocks(code: Code, fork: Fork) -> str:
    """The code with its segments, and for each its gas, the stack words it needs and by how many it grows the stack."""
    program = SegmentedCode(code.bytes, fork)
    lines, pc = [], 0
    while pc < code.length:
        segment = program.segment(pc, program.targets)
        lines.append(f"segment at {pc}: gas {segment.gas}, needs {segment.needs}, grows {segment.grows}")
        for operation in segment.operations:
            value = f" {operation.value:#x}" if operation.row.immediate else ""
            lines.append(f"  {operation.pc:5} {operation.row.name}{value}")
        pc = segment.operations[-1].next_pc
    return "\n".join(lines) + "\n"
