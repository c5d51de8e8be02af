"""Objects become images: relocations of both processors; what cannot be linked is an error and never a wrong image."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llvmlite import binding as llvm

from tests.unit.vm.test_ir_kit import sum_of_squares
from vm.errors import NativeCodeUnavailable
from vm.ir import image
from vm.ir.builder import declared_exports
from vm.ir.elf import AARCH64, X86_64, flat_image

TRIPLES = {X86_64: "x86_64-linux-gnu", AARCH64: "aarch64-linux-gnu"}
RELOCATION = struct.Struct("<QIIq")


def compiled(text: str, machine: int, level: int = 0) -> bytes:
    """The object of a text for a processor, as `vm.ir.compiler` makes it for this one."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(TRIPLES[machine]).create_target_machine(
        opt=level, reloc="pic", codemodel="small"
    )
    module = llvm.parse_assembly(text)
    module.triple = TRIPLES[machine]
    module.data_layout = str(target.target_data)
    return bytes(target.emit_object(module))


def everything() -> str:
    """A module with every kind of reference: constants by size, tables of addresses, imports, tail calls, a switch."""
    loads = "".join(
        f"  %p{w} = getelementptr [64 x i{w}], ptr @table{w}, i64 0, i64 3\n"
        f"  %v{w} = load i{w}, ptr %p{w}\n  %z{w} = zext i{w} %v{w} to i64\n"
        for w in (8, 16, 32)
    )
    tables = "".join(
        f"@table{w} = internal constant [64 x i{w}] [{', '.join(f'i{w} {(3 * i + w) % 127}' for i in range(64))}]\n"
        for w in (8, 16, 32, 64)
    )
    cases = "\n".join(f"  i64 {i}, label %case{i}" for i in range(9))
    bodies = "".join(f"case{i}:\n  ret i64 {i * i + 100}\n" for i in range(9))
    return (
        f"{tables}"
        "declare i64 @outside(i64)\n"
        "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)\n"
        "@functions = internal constant [2 x ptr] [ptr @sums, ptr @switched]\n"
        f"define i64 @sums(i64 %n) nounwind {{\n{loads}"
        "  %p64 = getelementptr [64 x i64], ptr @table64, i64 0, i64 %n\n  %v64 = load i64, ptr %p64\n"
        "  %a = add i64 %z8, %z16\n  %b = add i64 %a, %z32\n  %c = add i64 %b, %v64\n  ret i64 %c\n}\n"
        f"define i64 @switched(i64 %n) nounwind {{\n  switch i64 %n, label %other [\n{cases}\n  ]\n{bodies}"
        "other:\n  %r = tail call i64 @outside(i64 %n)\n  ret i64 %r\n}\n"
        "define i64 @through(i64 %n, i64 %which) nounwind {\n"
        "  %p = getelementptr [2 x ptr], ptr @functions, i64 0, i64 %which\n  %f = load ptr, ptr %p\n"
        "  %r = call i64 %f(i64 %n)\n  %s = call i64 @outside(i64 %r)\n  ret i64 %s\n}\n"
        "define ptr @imported() nounwind {\n  ret ptr @outside\n}\n"
        "define i128 @vector(i128 %n) nounwind {\n"
        "  %r = mul i128 %n, 340282366920938463463374607431768211297\n  ret i128 %r\n}\n"
        + declared_exports(("sums", "switched", "through", "imported", "vector"))
    )


@cache
def whole(machine: int, level: int = 0) -> bytes:
    return compiled(everything(), machine, level)


def relocations(data: bytes) -> list[int]:
    """Offsets in the object of its relocations."""
    start, entry, count = struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HH", data, 58)
    found = []
    for i in range(count):
        kind = struct.unpack_from("<I", data, start + i * entry + 4)[0]
        offset, size = struct.unpack_from("<QQ", data, start + i * entry + 24)
        if kind == 4:
            found += range(offset, offset + size, RELOCATION.size)
    return found


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("machine", TRIPLES)
def test_objects_of_both_processors_become_images(machine: int, level: int) -> None:
    found = image.decode(flat_image(whole(machine, level)))
    assert {symbol for _, symbol in found.imports} == {"outside"}
    assert len(found.places) == 5 + 2
    words = struct.unpack(f"<{len(found.content) // 8}Q", found.content)
    exported = words[found.exports // 8 : found.exports // 8 + 5]
    assert len(set(exported)) == 5
    assert all(address % 4 == 0 and address < found.exports for address in exported)


def expected() -> dict[str, list[int]]:
    tables = {w: [(3 * i + w) % 127 for i in range(64)] for w in (8, 16, 32, 64)}
    sums = [sum(tables[w][3] for w in (8, 16, 32)) + tables[64][n] for n in range(64)]
    switched = [n * n + 100 if n < 9 else outside(n) for n in range(12)]
    return {"sums": sums, "switched": switched, "through": [outside(value) for value in switched]}


def outside(n: int) -> int:
    return n * 7 + 1


RUN = """
import ctypes, sys
sys.path.insert(0, sys.argv[1])
from tests.unit.vm.test_elf import compiled, everything, expected, outside, X86_64
from vm.ir import image
from vm.ir.elf import flat_image
word = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)
theirs = word(outside)
for level in range(3):
    address = ctypes.cast(theirs, ctypes.c_void_p).value
    library = image.load(flat_image(compiled(everything(), X86_64, level)), {"outside": address})
    sums, switched, through, imported, vector = (ctypes.c_uint64 * 5).from_address(library.exports)
    want = expected()
    assert [word(sums)(n) for n in range(64)] == want["sums"]
    assert [word(switched)(n) for n in range(12)] == want["switched"]
    both = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64)(through)
    assert [both(n, 1) for n in range(12)] == want["through"]
    assert ctypes.CFUNCTYPE(ctypes.c_uint64)(imported)() == address
print("ran")
"""


QEMU = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
BASE = 0x4000_0000
CALLS = [(name, n) for name in ("sums", "switched") for n in range(64 if name == "sums" else 12)]


def program() -> str:
    """`everything`, with what it imports and a function that stores the results of `CALLS` and of ``through``."""
    calls = [f"%r{i} = call i64 @{name}(i64 {n})" for i, (name, n) in enumerate(CALLS)]
    calls += [f"%r{len(CALLS) + n} = call i64 @through(i64 {n}, i64 1)" for n in range(12)]
    stores = "".join(
        f"  {call}\n  %p{i} = getelementptr i64, ptr %out, i64 {i}\n  store i64 %r{i}, ptr %p{i}\n"
        for i, call in enumerate(calls)
    )
    return (
        everything().partition("@exports")[0]
        + "define i64 @theirs(i64 %n) nounwind {\n  %a = mul i64 %n, 7\n  %b = add i64 %a, 1\n  ret i64 %b\n}\n"
        f"define void @fill(ptr %out) nounwind {{\n{stores}  ret void\n}}\n" + declared_exports(("theirs", "fill"))
    )


def entry(fill: int) -> bytes:
    """Instructions that call a function so many bytes further on with room for results, write these and exit with 0."""
    count = len(CALLS) + 12
    call = (fill - 8) // 4 & (1 << 26) - 1
    return struct.pack(
        "<11I",
        *(0xD14007FF, 0x910003E0, 0x94000000 | call),  # sub sp, sp, 4096; mov x0, sp; bl fill
        *(0xD2800020, 0x910003E1, 0xD2800002 | 8 * count << 5, 0xD2800808, 0xD4000001),  # write(1, sp, 8 * count)
        *(0xD2800000, 0xD2800BA8, 0xD4000001),  # exit(0)
    )


@pytest.mark.skipif(QEMU is None, reason="no emulator of AArch64 here")
@pytest.mark.parametrize("level", [0, 1, 2])
def test_they_run_on_the_other_processor(level: int, tmp_path: Path) -> None:
    """The image, loaded as `image.load` does, as an executable file of one segment."""
    found = image.decode(flat_image(compiled(program(), AARCH64, level)))
    memory = bytearray(found.content)
    for place in found.places:
        struct.pack_into("<Q", memory, place, struct.unpack_from("<Q", memory, place)[0] + BASE)
    theirs, fill = struct.unpack_from("<QQ", memory, found.exports)
    begin = BASE + len(memory)
    memory += entry(fill - begin)
    for place, _ in found.imports:
        struct.pack_into("<Q", memory, place, theirs)
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, AARCH64, 1, begin, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 4096, BASE, BASE, len(memory), len(memory), 4096)
    file = tmp_path / "program"
    file.write_bytes((head + segment).ljust(4096, b"\0") + memory)
    file.chmod(0o700)
    assert QEMU is not None
    done = subprocess.run([QEMU, str(file)], capture_output=True, check=False, timeout=60)
    want = expected()
    assert done.returncode == 0, done.stderr
    written = struct.unpack(f"<{len(done.stdout) // 8}Q", done.stdout)
    assert [*written] == want["sums"] + want["switched"] + want["through"]


def test_they_run() -> None:
    """In a process of its own: a wrong relocation ends it."""
    root = str(Path(__file__).resolve().parents[3])
    done = subprocess.run([sys.executable, "-c", RUN, root], capture_output=True, text=True, check=False)
    assert done.stdout == "ran\n", done.stderr


@pytest.mark.parametrize("machine", TRIPLES)
@given(st.data())
def test_a_damaged_object_is_an_error_or_an_image(machine: int, data: Any) -> None:
    """Whatever the bytes are, nothing else is raised, and no image points outside itself."""
    bad = bytearray(whole(machine))
    places = st.one_of(st.integers(0, 63), st.integers(len(bad) - 2_000, len(bad) - 1), st.integers(0, len(bad) - 1))
    for _ in range(data.draw(st.integers(1, 3))):
        bad[data.draw(places)] = data.draw(st.integers(0, 255))
    try:
        found = flat_image(bytes(bad))
    except NativeCodeUnavailable:
        return
    assert image.is_image(found)


@pytest.mark.parametrize("machine", TRIPLES)
@given(st.data())
def test_a_cut_object_is_an_error(machine: int, data: Any) -> None:
    whole_object = whole(machine)
    with pytest.raises(NativeCodeUnavailable):
        flat_image(whole_object[: data.draw(st.integers(0, len(whole_object) - 1))])


@pytest.mark.parametrize("machine", TRIPLES)
@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("relocation type", lambda offset, kind, symbol, addend: (offset, 250, symbol, addend)),
        ("outside its section", lambda offset, kind, symbol, addend: (1 << 40, kind, symbol, addend)),
        ("outside its section", lambda offset, kind, symbol, addend: (offset, kind, 60_000, addend)),
    ],
)
def test_a_relocation_that_cannot_be_carried_out_is_an_error(machine: int, what: str, change: Any) -> None:
    bad = bytearray(whole(machine))
    place = relocations(bad)[0]
    RELOCATION.pack_into(bad, place, *change(*RELOCATION.unpack_from(bad, place)))
    with pytest.raises(NativeCodeUnavailable, match=what):
        flat_image(bytes(bad))


@pytest.mark.parametrize("machine", TRIPLES)
def test_a_distance_that_does_not_fit_is_an_error(machine: int) -> None:
    """Never a jump to somewhere else. What has no range, addresses and the low bits of them, is left out."""
    ranged = {X86_64: {2, 4, 9, 41, 42}, AARCH64: {261, 274, 275, 279, 280, 282, 283, 311}}[machine]
    tried = 0
    for place in relocations(whole(machine)):
        offset, kind, symbol, addend = RELOCATION.unpack_from(whole(machine), place)
        if kind in ranged:
            bad = bytearray(whole(machine))
            RELOCATION.pack_into(bad, place, offset, kind, symbol, addend + (1 << 52))
            with pytest.raises(NativeCodeUnavailable):
                flat_image(bytes(bad))
            tried += 1
    assert tried


@pytest.mark.parametrize(
    "text",
    [
        "@exports = global i64 0\n",
        "@x = thread_local global i64 0\n@exports = constant [1 x ptr] [ptr @x]\n",
        "@exports = external constant i64\ndefine ptr @f() {\n  ret ptr @exports\n}\n",
        "define void @f() {\n  ret void\n}\n",
        f"declare void @{'x' * 33}()\ndefine void @exports() {{\n  call void @{'x' * 33}()\n  ret void\n}}\n",
        "declare void @x()\n@exports = constant [1 x ptr] [ptr getelementptr (i8, ptr @x, i64 8)]\n",
    ],
)
def test_what_an_image_cannot_be_is_an_error(text: str) -> None:
    with pytest.raises(NativeCodeUnavailable):
        flat_image(compiled(text, X86_64))


def test_other_files_are_errors() -> None:
    executable = Path(sys.executable).resolve().read_bytes()[:4096]
    for data in (b"", b"\x7fELF", executable, sum_of_squares().encode()):
        with pytest.raises(NativeCodeUnavailable):
            flat_image(data)


