"""Mutations of a signed transaction's bytes: signatures, fields that are too long, too many, of the wrong kind."""

from __future__ import annotations

import random
from typing import Any

from chain import rlp
from chain.crypto import CURVE_ORDER, HALF_CURVE_ORDER

ODD_V = (0, 1, 2, 26, 27, 28, 29, 34, 35, 36, 37, 38, 39, 40, 255, 256, 2**64 + 37, 2**256 - 1)
ODD_SIGNATURES = (0, 1, HALF_CURVE_ORDER, HALF_CURVE_ORDER + 1, CURVE_ORDER - 1, CURVE_ORDER, 2**256 - 1, 2**256)
ODD_INTEGERS = (b"", b"\0", b"\0\1", b"\xff" * 8, b"\1" + bytes(8), b"\xff" * 32, b"\1" + bytes(32))
ODD_BYTES = (b"", bytes(19), bytes(20), bytes(21), bytes(31), bytes(32), bytes(33))


def integer(number: int) -> bytes:
    """As RLP has them."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def mutated_wire(chance: random.Random, raw: bytes) -> bytes:
    """The transaction with one thing changed after it was signed."""
    kind = raw[:1] if raw[0] < 0xC0 else b""
    fields: list[Any] = rlp.decode_list(raw[len(kind) :])
    what = chance.random()
    if what < 0.15:
        fields[-3] = integer(chance.choice(ODD_V))
    elif what < 0.35:
        fields[-chance.choice((1, 2))] = integer(chance.choice(ODD_SIGNATURES))
    elif what < 0.45:  # the other signature of the same key
        fields[-1] = integer((CURVE_ORDER - int.from_bytes(fields[-1], "big")) % 2**256)
        if kind or fields[-3] in (b"\x1b", b"\x1c"):
            flipped = {b"\x1b": b"\x1c", b"\x1c": b"\x1b", b"": b"\1", b"\1": b""}
            fields[-3] = flipped.get(fields[-3], fields[-3])
    elif what < 0.9:
        _change(chance, fields)
    elif what < 0.95:
        kind = chance.choice((b"", b"\0", b"\1", b"\2", b"\3", b"\4", b"\5", b"\x7f"))
    else:
        encoded = kind + rlp.encode(fields)
        return encoded[:-1] if chance.random() < 0.5 else encoded + b"\0"
    return kind + rlp.encode(fields)


def _change(chance: random.Random, items: list[Any]) -> None:
    """Change a field, or something in it if it is a list."""
    at = chance.randrange(len(items))
    item = items[at]
    if isinstance(item, list) and item and chance.random() < 0.8:
        _change(chance, item)
        return
    kind = chance.random()
    if kind < 0.1:
        del items[at]
    elif kind < 0.2:
        items.insert(at, chance.choice((b"", b"\1", [])))
    elif kind < 0.3:
        items[at] = [item] if isinstance(item, bytes) else rlp.encode(item)
    elif isinstance(item, bytes) and len(item) in (20, 32):
        items[at] = chance.choice(ODD_BYTES)
    elif isinstance(item, bytes) and kind < 0.5:
        items[at] = b"\0" + item
    else:
        items[at] = chance.choice(ODD_INTEGERS)

