"""Values at and around the limits of every setting, made from its declared type."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec

from node.settings import DEV_MNEMONIC, PATHS, SECTIONS

WRONG_TEXTS = (
    "",
    " ",
    "x",
    "1e3x",
    "0x10",
    "1_000",
    "-1",
    "nan",
    "inf",
    "-inf",
    "1e309",
    "9" * 400,
    "[]",
    "null",
    "\x7f",
)
ODD_NUMBERS = ("0", "1", "+1", "01", "1.0", "1.5", "-0.0", "1e-300", "1e300", " 5", "5 ", "\t5")
TEXTS: dict[str, tuple[str, ...]] = {
    "node.data_dir": ("", "/proc/nothing", "/dev/null", "/dev/null/below", "x" * 300, "~nobody-of-this-name/x"),
    "node.genesis": ("/nowhere.json", "/dev/null", "/dev/zero", "/proc/self/mem", "/", "~nobody-of-this-name/x"),
    "node.mnemonic": ("", "test", DEV_MNEMONIC, f" {DEV_MNEMONIC}\n", DEV_MNEMONIC.upper(), "\u00e9" * 9),
    "http.host": (
        "127.0.0.1", "::1", "127.9.9.9", "localhost", "", "0.0.0.0", "::", "10.0.0.1", "[::1]", "::ffff:127.0.0.1",
        "127.0.0.1:80", "127.1", "1", "::1%lo", "256.0.0.1",
    ),
    "quic.host": (
        "127.0.0.1", "::1", "127.9.9.9", "localhost", "", "0.0.0.0", "::", "203.0.113.1", "[::1]", "::ffff:127.0.0.1",
        "224.0.0.1", "255.255.255.255", "fe80::1", "::1%lo", "ff02::1",
    ),
    "ipc.path": (
        "", "/dev/null", "/proc/nothing", "/dev/null/below", "~nobody-of-this-name/x", "x.sock", "/", ".", "x" * 300,
        "/nowhere/zvmd.ipc",
    ),
    "http.tls_certificate": ("/nowhere.pem", "/dev/null", "/dev/zero", "/", "~nobody-of-this-name/x"),
    "http.tls_key": ("/nowhere.pem", "~nobody-of-this-name/x"),
    "http.client_authority": ("auto", "/nowhere.pem", "/dev/zero", "~nobody-of-this-name/x"),
    "vm.jit_dump": ("", "/dev/null", "/proc/nothing", "/dev/null/below", "~nobody-of-this-name/x"),
}  # fmt: skip
"""Of settings that are any text, what else they may say."""


class Edge(NamedTuple):
    """One value of one setting, as an environment variable would say it."""

    name: str
    text: str
    limit: bool
    """It is the lowest or the highest allowed, or a choice: it must be accepted."""


def edges() -> Iterator[Edge]:
    """All of them."""
    for section, kind in SECTIONS.items():
        for field in msgspec.structs.fields(kind):
            name = f"{section}.{field.name}"
            for text, limit in _of(name, field.type, field.default):
                yield Edge(name, text, limit)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return "ZVMD_" + name.replace(".", "__").upper()


def _of(name: str, kind: Any, default: object) -> Iterator[tuple[str, bool]]:
    if get_origin(kind) is Literal:
        yield from ((choice, True) for choice in get_args(kind))
        yield from ((text, False) for text in (*WRONG_TEXTS, "1", "true"))
    elif kind is str:
        yield from ((text, False) for text in (*TEXTS[name], "\udcff", *(() if name in PATHS else ("\u202e",))))
    elif get_origin(kind) is tuple:
        yield ",".join(default), True  # type: ignore[call-overload]
        yield from ((text, False) for text in ("", ",", " , ", "\udcff", "\u202e", "a b", "x" * 5_000))
    elif kind is bool:
        yield from (("true", True), ("false", True), ("1", True), ("0", True))
        yield from ((text, False) for text in (*WRONG_TEXTS, "yes", "on", "TRUE", "2"))
    else:
        yield str(default), True
        yield from _numbers(kind)
        yield from ((text, False) for text in (*WRONG_TEXTS, *ODD_NUMBERS))


def _numbers(kind: Any) -> Iterator[tuple[str, bool]]:
    """The limits, and the nearest beyond them."""
    limits = kind.__metadata__[0]
    is_float = get_args(kind)[0] is float if get_args(kind) else False
    step = limits.multiple_of or 1
    for end, sign in ((limits.ge, -1), (limits.le, 1), (limits.gt, -1)):
        if end is None:
            continue
        beyond = math.nextafter(float(end), sign * math.inf) if is_float else end + sign
        strictly = end is limits.gt
        yield repr(float(end)) if is_float else str(end), not strictly
        yield repr(beyond) if is_float else str(beyond), False
        inside = math.nextafter(float(end), -sign * math.inf) if is_float else end - sign * step
        yield repr(inside) if is_float else str(inside), True
