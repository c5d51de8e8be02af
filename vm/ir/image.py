"""Machine code that is linked but for its address: the form in which objects are kept, sent and loaded.

An image is one piece of memory, code first, then constants and addresses. Inside it everything finds everything else by
distance; what remains to be done where it comes to lie is to add its address at some places, and to fill in what it
imports. `vm.ir.elf` makes images, so that a process that only runs machine code needs no LLVM and no ELF.

    magic 8 bytes | u32 content length | u32 offset of @exports | u32 places | u32 imports
    u32 place ...             a word of the content that holds an offset in it
    u32 place | 32-byte name  ...    a word of the content that is to hold the address of a symbol
    content

All integers are little-endian, all words have 64 bits and are aligned.
"""

from __future__ import annotations

import ctypes
import struct
import weakref
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from vm.errors import NativeCodeUnavailable

MAGIC: Final = b"ZVMDIMG1"
CONTENT_BYTES_MAX: Final = 32 << 20
SYMBOL_CHARS_MAX: Final = 32
_HEAD: Final = struct.Struct("<8s4I")
_PLACE_BYTES: Final = 4
_IMPORT: Final = struct.Struct(f"<I{SYMBOL_CHARS_MAX}s")
_WORD: Final = 8
_READ, _WRITE, _EXECUTE, _PRIVATE, _ANONYMOUS = 1, 2, 4, 2, 0x20
_FAILED: Final = 2**64 - 1
"""Linux's constants of ``sys/mman.h``."""


class Import(NamedTuple):
    """A word that is to hold the address of a symbol of somebody else's."""

    place: int
    symbol: str
    """At most `SYMBOL_CHARS_MAX` ASCII characters."""


class Image(NamedTuple):
    """The parts of an image."""

    content: bytes
    """Whole words."""
    exports: int
    """Offset of ``@exports``."""
    places: tuple[int, ...]
    """Offsets of words that hold an offset in the content."""
    imports: tuple[Import, ...]


class Library(NamedTuple):
    """An image in memory."""

    exports: int
    """Address of its ``@exports``."""
    keep: object
    """What the code's memory hangs on: it is unmapped with it."""


def encode(image: Image) -> bytes:
    """The bytes of an image."""
    return b"".join(
        (
            _HEAD.pack(MAGIC, len(image.content), image.exports, len(image.places), len(image.imports)),
            struct.pack(f"<{len(image.places)}I", *image.places),
            *(_IMPORT.pack(place, symbol.encode("ascii")) for place, symbol in image.imports),
            image.content,
        )
    )


def decode(data: bytes) -> Image:
    """The image in these bytes; nothing in it points outside. Raises `NativeCodeUnavailable` if they are not one."""
    try:
        magic, length, exports, places, imports = _HEAD.unpack_from(data)
        first = _HEAD.size + places * _PLACE_BYTES
        content = first + imports * _IMPORT.size
        if magic != MAGIC or len(data) != content + length:
            raise ValueError("wrong length or magic")
        image = Image(
            data[content:],
            exports,
            struct.unpack_from(f"<{places}I", data, _HEAD.size),
            tuple(_imports(data[first:content])),
        )
        check(image)
    except (struct.error, ValueError) as error:
        raise NativeCodeUnavailable(f"not an image of machine code: {error}") from error
    return image


def _imports(data: bytes) -> Iterable[Import]:
    for place, name in _IMPORT.iter_unpack(data):
        yield Import(place, name.rstrip(b"\0").decode("ascii"))


def check(image: Image) -> None:
    """Raises `ValueError` for an image in which something points outside."""
    length = len(image.content)
    if length % _WORD or not 0 < length <= CONTENT_BYTES_MAX:
        raise ValueError(f"{length} bytes of content")
    words = [*image.places, *(place for place, _ in image.imports)]
    if any(place % _WORD or place + _WORD > length for place in (image.exports, *words)):
        raise ValueError("a place outside the content, or between two words")
    if len(set(words)) != len(words):
        raise ValueError("a place is named twice")
    with memoryview(image.content).cast("Q") as content:
        if any(content[place // _WORD] >= length for place in image.places):
            raise ValueError("an address outside the content")


def is_image(data: bytes) -> bool:
    """Whether `decode` can read these bytes."""
    try:
        decode(data)
    except NativeCodeUnavailable:
        return False
    return True


def load(data: bytes, symbols: Mapping[str, int]) -> Library:
    """Bring an image into memory and make it executable, with these addresses for what it imports.

    The memory is written first and never again: no page is writable and executable. The bytes must come from this
    computer's compiler or out of `vm.ir.loader.unseal`. Raises `NativeCodeUnavailable`.
    """
    image = decode(data)
    size = len(image.content)
    pages = _Pages(size)
    start = pages.start
    ctypes.memmove(start, image.content, size)
    words = (ctypes.c_uint64 * (size // _WORD)).from_address(start)
    for place in image.places:
        words[place // _WORD] += start
    for place, symbol in image.imports:
        address = symbols.get(symbol) or _of_the_c_library(symbol)
        if address is None:
            raise NativeCodeUnavailable(f"machine code needs {symbol!r}, which is not there")
        words[place // _WORD] = address
    # Linux has AArch64's instruction cache see pages when they become executable for the first time.
    if _system().mprotect(start, size, _READ | _EXECUTE):
        raise _refused("be made executable")
    return Library(start + image.exports, pages)


class _Pages:
    """Memory from the system, writable at first, and given back with the object.

    Not at the end of the process: threads may run in it until then.
    """

    __slots__ = ("__weakref__", "start")

    def __init__(self, size: int) -> None:
        system = _system()
        self.start: int = system.mmap(None, size, _READ | _WRITE, _PRIVATE | _ANONYMOUS, -1, 0)
        if self.start == _FAILED:
            raise _refused("have memory")
        weakref.finalize(self, system.munmap, self.start, size).atexit = False


def _refused(what: str) -> NativeCodeUnavailable:
    return NativeCodeUnavailable(f"machine code cannot {what}: {_system().strerror(ctypes.get_errno()).decode()}")


C_LIBRARY: Final = frozenset({"memcmp", "memcpy", "memmove", "memset"})
"""Functions that LLVM calls on its own account."""


@cache
def _of_the_c_library(symbol: str) -> int | None:
    """Address of one of `C_LIBRARY`, None for any other."""
    if symbol not in C_LIBRARY:
        return None
    return ctypes.cast(getattr(_system(), symbol), ctypes.c_void_p).value


@cache
def _system() -> Any:
    """The C library's functions for memory."""
    library = ctypes.CDLL(None, use_errno=True)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    library.mmap.restype, library.mmap.argtypes = pointer, (pointer, size, number, number, number, ctypes.c_long)
    library.mprotect.argtypes = (pointer, size, number)
    library.munmap.argtypes = (pointer, size)
    library.strerror.restype = ctypes.c_char_p
    return library
