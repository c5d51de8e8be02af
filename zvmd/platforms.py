"""Where the node runs: the platforms it has been tried on (docs/platforms.md), and the refusal of all others.

It has to load where zvmd does not run, and with older Pythons: the standard library only, in the syntax of Python 3.8.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NamedTuple

PYTHONS = ((3, 11), (3, 13))
"""First and last version of Python that was tried; pyproject.toml says the same in ``requires-python``."""
MACHINES = ("x86_64", "aarch64")
"""Processors, as Linux calls them."""
_PAGE = "docs/platforms.md tells what was tried"


class Platform(NamedTuple):
    """A computer and its Python, as far as they decide whether zvmd runs there."""

    system: str
    """`sys.platform`."""
    machine: str
    """``uname -m``; empty where there is no such call."""
    libc: str
    """Name and version of the C library if it is glibc, else empty."""
    implementation: str
    """``cpython``, ``pypy``."""
    python: tuple[int, int]
    pointer_bits: int
    """Width of the Python's addresses: 32 also for a 32-bit Python on a 64-bit system."""
    flags: str
    """`sys.abiflags`: has a ``t`` if this Python has no global interpreter lock."""
    proc: bool
    """Whether ``/proc`` is mounted."""

    @classmethod
    def here(cls) -> Platform:
        """The one that this process runs on."""
        uname, confstr = getattr(os, "uname", None), getattr(os, "confstr", None)
        names = getattr(os, "confstr_names", {})
        return cls(
            system=sys.platform,
            machine=uname().machine if uname else "",
            libc=(confstr("CS_GNU_LIBC_VERSION") or "") if confstr and "CS_GNU_LIBC_VERSION" in names else "",
            implementation=sys.implementation.name,
            python=(sys.version_info[0], sys.version_info[1]),
            pointer_bits=sys.maxsize.bit_length() + 1,
            flags=getattr(sys, "abiflags", ""),
            proc=os.path.exists("/proc/self/status"),  # noqa: PTH110
        )


class UnsupportedPlatform(Exception):
    """The node was never seen to work on this platform, or cannot."""

    code = "install.platform"
    exit_code = 71
    """EX_OSERR of sysexits.h, used for nothing else."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint
        """What to do instead."""


class _Need(NamedTuple):
    """What a platform must have."""

    is_met: Callable[[Platform], bool]
    what: str
    found: str
    """What there is instead: a format of the platform's fields."""
    hint: str


_NEEDS = (
    _Need(
        lambda it: it.system == "linux",
        "Linux",
        "{it.system}",
        f"use a Linux machine, virtual or real; {_PAGE}, and what other systems lack",
    ),
    _Need(
        lambda it: it.machine in MACHINES and it.pointer_bits == 64,
        "64-bit x86-64 and ARM",
        "{it.pointer_bits} bits on {it.machine}",
        f"use a 64-bit Python on an x86_64 or aarch64 machine; {_PAGE}",
    ),
    _Need(
        lambda it: it.libc.startswith("glibc"),
        "glibc",
        "another C library",
        f"use a distribution with glibc instead of musl, such as Debian, Ubuntu or Fedora; {_PAGE}",
    ),
    _Need(
        lambda it: it.proc,
        "Linux with /proc",
        "a system without it",
        "mount it (in a changed root: mount -t proc proc /proc): memory use and the holders of locks are read there",
    ),
    _Need(
        lambda it: it.implementation == "cpython" and "t" not in it.flags,
        "CPython with its global lock",
        "{it.implementation} with the ABI flags '{it.flags}'",
        f"use the usual CPython; {_PAGE}",
    ),
    _Need(
        lambda it: PYTHONS[0] <= it.python <= PYTHONS[1],
        "Python {}.{} to {}.{}".format(*PYTHONS[0], *PYTHONS[1]),
        "Python {it.python[0]}.{it.python[1]}",
        f"make the virtual environment with one of these versions; {_PAGE}",
    ),
)
"""In the order in which they are asked."""


def check(platform: Platform) -> None:
    """Raise `UnsupportedPlatform` unless the node runs on this platform."""
    for need in _NEEDS:
        if not need.is_met(platform):
            raise UnsupportedPlatform(f"zvmd runs on {need.what}; this is {need.found.format(it=platform)}", need.hint)
