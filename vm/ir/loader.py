"""Libraries of machine code by name, through an object cache that never runs bytes it did not write."""

from __future__ import annotations

import ctypes
import hashlib
import hmac
import threading
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from chain.brief import before_long_work
from vm.ir import image
from vm.ir.image import Library

_DIGEST_BYTES: Final = 32


class ObjectCache(Protocol):
    """Where images are kept between runs of the daemon."""

    def get(self, key: str) -> bytes | None:
        """The bytes put under the key, or None. What comes back is checked before use."""

    def put(self, key: str, data: bytes) -> None:
        """Keep the bytes. May forget them at any time."""


class LibraryCompiler(NamedTuple):
    """Who makes images of libraries for this process."""

    compile: Callable[[str], bytes]
    """Optimised machine code of a module's text, as an image. Raises `NativeCodeUnavailable`."""
    compiled_for: Callable[[], tuple[str, ...]]
    """What decides machine code besides the text: the compiler's version, and this computer. Asked once a process."""


_loading = threading.RLock()
"""Held while a library is looked for, compiled and loaded: no two threads compile the same."""
_libraries: dict[str, Library] = {}
"""By name. Written by `load_library` only."""
_cache: ObjectCache | None = None
_compiler: LibraryCompiler | None = None
_computer: tuple[str, ...] = ()
"""The process's: set by the caller that loads an interpreter, used for all libraries. Written by `use` only."""


def use(compiler: LibraryCompiler | None, cache: ObjectCache | None) -> None:
    """Make libraries with this compiler and keep them in this cache from now on; what is None stays as it is.

    A process that names no compiler loads LLVM itself.
    """
    global _cache, _compiler
    with _loading:
        _cache = _cache if cache is None else cache
        _compiler = _compiler if compiler is None else compiler


def _made_with() -> LibraryCompiler:
    if _compiler is not None:
        return _compiler
    from vm.ir import compiler  # loads LLVM

    return LibraryCompiler(compiler.compile_optimised, compiler.compiled_for)


def compiled_for() -> tuple[str, ...]:
    """What decides machine code besides the text, `vm.ir.image` included."""
    global _computer
    with _loading:
        if not _computer:
            _computer = (image.MAGIC.decode(), *_made_with().compiled_for())
        return _computer


def object_key(ir: str, name: str) -> str:
    """Cache key: all that decides the machine code. The text stands for emitters, fork and layout."""
    parts = (name, ir, *compiled_for())
    return f"{name}-" + hashlib.blake2b("\0".join(parts).encode(), digest_size=20).hexdigest()


def seal(key: str, code: bytes) -> bytes:
    """The image with the digest that ties it to its key."""
    return hashlib.blake2b(code, key=key.encode()[:64], digest_size=_DIGEST_BYTES).digest() + code


def unseal(key: str, stored: bytes) -> bytes | None:
    """The image that was sealed under this key; None if these bytes are damaged, another's, or not an image."""
    code = stored[_DIGEST_BYTES:]
    return code if hmac.compare_digest(seal(key, code), stored) and image.is_image(code) else None


def image_for(ir: str, name: str, cache: ObjectCache | None) -> bytes:
    """The image of this IR, from the cache if an intact one is there. Raises `NativeCodeUnavailable`."""
    key = object_key(ir, name)
    stored = cache.get(key) if cache is not None else None
    code = unseal(key, stored) if stored is not None else None
    if code is None:
        code = _made_with().compile(ir)
        if cache is not None:
            cache.put(key, seal(key, code))
    return code


def load_library(name: str, text: Callable[[], str], exported: tuple[str, ...]) -> dict[str, int]:
    """Addresses, by name, of the functions and tables of a module; it is loaded once in a process and never unloaded.

    ``text`` makes the IR, which lists what is ``exported`` in ``@exports``, in the same order. Raises
    `NativeCodeUnavailable`.
    """
    if name not in _libraries:
        before_long_work()
    with _loading:
        library = _libraries.get(name)
        if library is None:
            library = _libraries[name] = image.load(image_for(text(), name, _cache), {})
    table = (ctypes.c_uint64 * len(exported)).from_address(library.exports)
    return dict(zip(exported, table, strict=True))
