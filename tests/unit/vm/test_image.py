"""Images of machine code: what is not one is refused before anything of it is in memory; no page is written and run."""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.effort import tries
from tests.unit.vm.test_ir_kit import Cache, cache, sum_of_squares, total  # noqa: F401 - a fixture
from vm.errors import NativeCodeUnavailable
from vm.ir import compiler, image, loader
from vm.ir.builder import declared_exports
from vm.ir.image import CONTENT_BYTES_MAX, Image, Import

WORD = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)


def calling_out() -> bytes:
    """``twice(n)`` calls an imported function, ``address()`` gives that function's address."""
    return compiler.compile_quickly(
        "declare i64 @outside(i64)\n"
        "define i64 @twice(i64 %n) {\n  %a = call i64 @outside(i64 %n)\n  %b = call i64 @outside(i64 %a)\n"
        "  ret i64 %b\n}\n"
        "define ptr @address() {\n  ret ptr @outside\n}\n" + declared_exports(("twice", "address", "outside")),
        0,
    )


def exported(library: image.Library, number: int) -> int:
    return (ctypes.c_uint64 * (number + 1)).from_address(library.exports)[number]


def permissions(address: int) -> str:
    """Of the pages at an address."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if start <= address < end:
            return line.split()[1]
    return "unmapped"


def test_imported_functions_are_called_at_any_distance() -> None:
    outside = WORD(lambda n: n * 3 + 1)
    address = ctypes.cast(outside, ctypes.c_void_p).value
    assert address is not None
    library = image.load(calling_out(), {"outside": address})
    assert WORD(exported(library, 0))(5) == (5 * 3 + 1) * 3 + 1
    assert ctypes.CFUNCTYPE(ctypes.c_uint64)(exported(library, 1))() == address
    assert exported(library, 2) == address


def test_what_is_not_there_is_an_error() -> None:
    with pytest.raises(NativeCodeUnavailable, match="outside"):
        image.load(calling_out(), {})
    system = Image(bytes(8), 0, (), (Import(0, "system"),))
    with pytest.raises(NativeCodeUnavailable, match="system"):
        image.load(image.encode(system), {})


def test_code_is_never_writable_and_ends_with_its_owner() -> None:
    library = image.load(compiler.compile_optimised(sum_of_squares()), {})
    start = library.exports
    assert permissions(start) == permissions(exported(library, 0)) == "r-xp"
    begin = start & -mmap.PAGESIZE
    del library
    assert permissions(begin) != "r-xp"


def word(number: int) -> bytes:
    return struct.pack("<Q", number)


@pytest.mark.parametrize(
    "bad",
    [
        Image(b"", 0, (), ()),
        Image(bytes(12), 0, (), ()),
        Image(bytes(16), 16, (), ()),
        Image(bytes(16), 4, (), ()),
        Image(bytes(16), 0, (16,), ()),
        Image(bytes(16), 0, (12,), ()),
        Image(bytes(16), 0, (0, 0), ()),
        Image(bytes(16), 0, (0,), (Import(0, "memcpy"),)),
        Image(bytes(16), 0, (), (Import(2**32 - 8, "memcpy"),)),
        Image(word(16) + word(0), 0, (0,), ()),
        Image(word(2**64 - 1) + word(0), 0, (0,), ()),
    ],
)
def test_an_image_that_points_outside_itself_is_refused(bad: Image) -> None:
    data = image.encode(bad)
    assert not image.is_image(data)
    with pytest.raises(NativeCodeUnavailable):
        image.load(data, {"memcpy": 4096})


def test_a_length_beyond_the_limit_is_refused() -> None:
    head = struct.pack("<8s4I", image.MAGIC, CONTENT_BYTES_MAX + 8, 0, 0, 0)
    assert not image.is_image(head + bytes(CONTENT_BYTES_MAX + 8))
    assert not image.is_image(struct.pack("<8s4I", image.MAGIC, 8, 0, 2**32 - 1, 2**32 - 1) + bytes(8))


GOOD = compiler.compile_optimised(sum_of_squares())


@pytest.mark.parametrize(
    "change", [lambda whole: whole[:-1], lambda whole: whole + b"\0", lambda _: b"", lambda whole: whole[8:]]
)
def test_cut_or_lengthened_images_are_refused(change: Callable[[bytes], bytes]) -> None:
    assert image.is_image(GOOD)
    assert not image.is_image(change(GOOD))


@given(st.data())
def test_damage_is_refused_or_stays_inside(data: Any) -> None:
    """Decoding never raises anything else, and what it accepts points at nothing outside."""
    bad = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        bad[data.draw(st.integers(0, min(80, len(bad) - 1)))] = data.draw(st.integers(0, 255))
    try:
        found = image.decode(bytes(bad))
    except NativeCodeUnavailable:
        return
    assert all(0 <= place <= len(found.content) - 8 for place in (found.exports, *found.places))


@given(st.binary(min_size=1, max_size=40).map(lambda b: b + bytes(-len(b) % 8)), st.integers(0, 6))
def test_encoding_and_decoding_agree(content: bytes, exports: int) -> None:
    whole = Image(content, exports * 8 % len(content), (), (Import(0, "a" * 32),))
    assert image.decode(image.encode(whole)) == whole


def test_a_sealed_image_that_is_none_is_made_again(cache: Cache) -> None:  # noqa: F811
    """As a file would be that somebody else wrote with the right digest."""
    assert total(loader.load_library("again", sum_of_squares, ("total",)))(10) == 385
    (key,) = cache
    good = cache[key]
    for bad in (b"\x7fELF" * 20, GOOD[:-8], b""):
        cache[key] = loader.seal(key, bad)
        loader._libraries.clear()
        assert total(loader.load_library("again", sum_of_squares, ("total",)))(10) == 385
        assert cache[key] == good


@pytest.mark.parametrize("bits", range(tries(8, 64)))
def test_damage_of_the_file_is_found(bits: int, cache: Cache) -> None:  # noqa: F811
    key = f"key-{bits}"
    sealed = bytearray(loader.seal(key, GOOD))
    sealed[bits * 37 % len(sealed)] ^= 1 << bits % 8
    assert loader.unseal(key, bytes(sealed)) is None
    assert loader.unseal("another", loader.seal(key, GOOD)) is None
