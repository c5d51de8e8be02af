"""The IR kit: names, alignment and labels of the builder; libraries through the object cache."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from chain.forks import LATEST_FORK, Fork
from tests.paths import REPO
from vm.errors import NativeCodeUnavailable
from vm.evm import convention
from vm.evm.interpreter import interpreter_ir
from vm.evm.layout import Field
from vm.evm.routines import modes
from vm.evm.watch import TraceDigest, Watch
from vm.ir import compiler, loader
from vm.ir.builder import Builder, declared_exports


class Cache(dict[str, bytes]):
    def put(self, key: str, data: bytes) -> None:
        self[key] = data


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> Cache:
    """The process's cache and libraries, empty for one test."""
    cache = Cache()
    monkeypatch.setattr(loader, "_cache", cache)
    monkeypatch.setattr(loader, "_libraries", {})
    return cache


NEVER = loader.LibraryCompiler(lambda _: pytest.fail("it is in the cache"), compiler.compiled_for)


def sum_of_squares() -> str:
    """``total(n)``: 1 + 4 + ... + n * n, which needs a loop, phis, memory and a branch."""
    b = Builder()
    b.place("start")
    place = b.let("alloca [2 x i64]")
    b.put("i64", 0, place, 8)
    b.go("loop")
    b.place("loop")
    number = b.choose("i64", (("%n", "start"), ("%less", "loop")))
    total = b.get("i64", place, 8)
    b.store("i64", b.let(f"add i64 {total}, {b.let(f'mul i64 {number}, {number}')}"), b.element("i64", place, 1))
    b.do(f"%less = sub i64 {number}, 1")
    b.branch(b.let("icmp ne i64 %less, 0"), "loop", "done")
    b.place("done")
    b.do(f"ret i64 {b.get('i64', place, 8)}")
    return b.function("define i64 @total(i64 %n)") + declared_exports(("total",))


def total(at: dict[str, int]) -> Any:
    return ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(at["total"])


def test_what_is_built_runs_and_is_found_in_the_cache(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    assert total(loader.load_library("squares", sum_of_squares, ("total",)))(10) == 385
    (key,) = cache
    assert loader.unseal(key, cache[key]) is not None
    loader._libraries.clear()
    monkeypatch.setattr(loader, "_compiler", NEVER)
    assert total(loader.load_library("squares", sum_of_squares, ("total",)))(3) == 14


def test_a_library_is_loaded_once_in_a_process(cache: Cache) -> None:
    written = []

    def text() -> str:
        written.append(1)
        return sum_of_squares()

    first, second = (loader.load_library("once", text, ("total",)) for _ in range(2))
    assert first == second
    assert written == [1]


def test_stepping_modes_come_from_the_cache(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    (key,) = cache
    assert key.startswith("modes-")
    loader._libraries.clear()
    monkeypatch.setattr(loader, "_compiler", NEVER)
    assert TraceDigest().table != watch.table


def test_words_of_native_memory_are_aligned() -> None:
    b = Builder()
    b.put("i256", b.get("i256", "%frame", 32), "%frame", 64)
    b.put("i64", b.get("i64", "%frame", 8), "%frame", 16)
    aligned = [line for line in b.lines if "align 32" in line]
    assert len(aligned) == 2
    assert all("i256" in line for line in aligned)


@pytest.mark.parametrize("text", ["nonsense", "define i64 @f() {\n  ret i32 0\n}\n"])
def test_text_that_llvm_refuses_is_an_error(text: str) -> None:
    with pytest.raises(NativeCodeUnavailable):
        compiler.compile_optimised(text)


def test_the_convention_has_one_signature() -> None:
    """What ``musttail`` needs: every function of every module with registers in its signature is alike."""
    modules = (interpreter_ir(LATEST_FORK), interpreter_ir(Fork.FRONTIER), modes.watching_ir())
    for text in modules:
        for line in text.splitlines():
            if line.startswith("define") and "%ip" in line:
                assert f"{convention.SIGNATURE} @" in line
                assert f"({convention.PARAMETERS})" in line


def test_a_register_is_at_its_place() -> None:
    b = Builder()
    convention.get_field(b, Field.SP)
    convention.set_field(b, Field.GAS, 7, frame="%other")
    assert b.lines == [
        f"  %v1 = getelementptr i8, ptr %frame, i64 {8 * Field.SP}",
        "  %v2 = load i64, ptr %v1",
        f"  %v3 = getelementptr i8, ptr %other, i64 {8 * Field.GAS}",
        "  store i64 7, ptr %v3",
    ]


def test_only_the_compiler_imports_llvmlite() -> None:
    importing = {
        str(path.relative_to(REPO))
        for package in ("vm", "node", "debugger", "storage")
        for path in (REPO / package).rglob("*.py")
        if "import llvmlite" in path.read_text() or "from llvmlite" in path.read_text()
    }
    assert importing == {"vm/ir/compiler.py"}
