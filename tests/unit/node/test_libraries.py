"""Libraries are compiled in a process of their own, and here if there is none; what was compiled for what is known."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import structlog

from node.machine import libraries
from node.ops import worker
from tests.unit.vm.test_ir_kit import sum_of_squares
from vm.errors import NativeCodeUnavailable
from vm.ir import compiler, image

FAILING = {
    "no such program": ["/no/such/program"],
    "it ends": [sys.executable, "-c", "raise SystemExit(3)"],
    "it is killed": [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"],
    "it answers nonsense": [sys.executable, "-c", "print('x' * 100)"],
    "it answers part": [sys.executable, "-c", r"import sys; sys.stdout.buffer.write(b'\x09\0\0\0\x01')"],
}


def test_a_library_comes_from_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    here = compiler.compile_optimised(sum_of_squares())
    monkeypatch.setattr(compiler, "compile_optimised", lambda _: pytest.fail("not here"))
    assert libraries.compile_library(sum_of_squares()) == here
    assert image.is_image(here)


@pytest.mark.parametrize("command", FAILING)
def test_without_that_process_it_is_compiled_here(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr(worker, "command", lambda *_: FAILING[command])
    with structlog.testing.capture_logs() as logged:
        assert image.is_image(libraries.compile_library(sum_of_squares()))
    assert [entry["log_level"] for entry in logged] == ["warning"]


def test_a_text_that_llvm_refuses_is_the_error_of_here() -> None:
    with pytest.raises(NativeCodeUnavailable, match="nonsense"):
        libraries.compile_library("nonsense")


def test_the_computer_is_known_without_llvm_or_asked_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not libraries._PROCESSOR.exists():
        pytest.skip("this system does not describe its processor")
    with monkeypatch.context() as patch:
        patch.setattr(worker, "command", lambda *_: pytest.fail("a process was started"))
        known = libraries.compiled_for()
    assert "cpu:" in known[2]
    (tmp_path / "another").write_text("cpu:type:x86,ven0001")
    monkeypatch.setattr(libraries, "_PROCESSOR", tmp_path / "another")
    assert libraries.compiled_for() != known, "a cache that came from another computer is not used"
    monkeypatch.setattr(libraries, "_PROCESSOR", tmp_path / "missing")
    assert libraries.compiled_for()[2] == "\n".join(compiler.compiled_for())
    monkeypatch.setattr(worker, "command", lambda *_: FAILING["it ends"])
    assert libraries.compiled_for() == compiler.compiled_for()
