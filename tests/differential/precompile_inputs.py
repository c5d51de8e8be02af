"""Inputs of precompiles, often ones they accept, often a little off."""

from __future__ import annotations

import random
from functools import lru_cache

from chain.crypto import sign
from tests.conformance.archives import precompile_cases
from tests.differential.programs import EDGES

SECRET = bytes(31) + b"\xa1"
"""Signs what ECRECOVER is given."""
official_inputs = lru_cache(maxsize=1)(precompile_cases)

FIELD = 0x30644E72E131A029B85045B68181585D97816A916871CA8D3C208C16D87CFD47
ORDER = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001


def words(*numbers: int) -> bytes:
    """32 bytes each."""
    return b"".join((number % 2**256).to_bytes(32, "big") for number in numbers)


def precompile_input(chance: random.Random) -> tuple[int, bytes]:
    """A precompile and an input, often one it accepts, often a little off."""
    place = chance.choice((1, 2, 3, 4, 5, 5, 5, 6, 6, 7, 7, 8, 9, 9, *[10] * (chance.random() < 0.2), *[11] * 4))
    if place == 11:
        _, place, vector = chance.choice(official_inputs())
        data = bytearray.fromhex(vector["Input"])
    elif place == 5:
        sizes = [chance.choice((0, 1, 31, 32, 33, 64, 200, 1_024, 1_025)) for _ in range(3)]
        told = [size if chance.random() < 0.95 else chance.choice(EDGES) for size in sizes]
        data = bytearray(words(*told) + b"".join(odd_number(chance, size) for size in sizes))
    elif place in (6, 7):
        data = bytearray(point(chance) + (point(chance) if place == 6 else words(scalar(chance))))
    elif place == 8:
        pairs = chance.choice((0, 0, 1, 1, 2))
        data = bytearray(b"".join(point(chance) + chance.choice((G2, bytes(128))) for _ in range(pairs)))
    elif place == 9:
        rounds = chance.choice((0, 1, 12, 500, 2**32 - 1))
        data = bytearray(rounds.to_bytes(4, "big") + chance.randbytes(208) + bytes([chance.randrange(3)]))
    elif place == 1:
        parity, r, s = sign(keccak_of(chance), SECRET)
        data = bytearray(keccak_of(chance) + words(27 + parity, r, s))
    else:
        data = bytearray(chance.randbytes(chance.choice((0, 1, 31, 32, 64, 192, 300))))
    kind = chance.random()
    if kind < 0.2 and data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif kind < 0.3:
        data = data[: chance.randrange(len(data) + 1)]
    elif kind < 0.4:
        data += bytes(chance.choice((1, 32)))
    return place, bytes(data)


G2 = words(
    0x198E9393920D483A7260BFB731FB5D25F1AA493335A9E71297E485B7AEF312C2,
    0x1800DEEF121F1E76426A00665E5C4479674322D4F75EDADD46DEBD5CD992F6ED,
    0x090689D0585FF075EC9E99AD690C3395BC4B313370B38EF355ACDADCD122975B,
    0x12C85EA5DB8C6DEB4AAB71808DCB408FE3D1E7690C43D37B4CE6CC0166FA7DAA,
)


def keccak_of(chance: random.Random) -> bytes:
    """One of few digests."""
    return bytes([chance.randrange(2)]) * 32


def odd_number(chance: random.Random, size: int) -> bytes:
    """So many bytes: random, none, all, one, even."""
    kind = chance.random()
    if kind < 0.6:
        return chance.randbytes(size)
    if kind < 0.7:
        return bytes(size)
    return bytes(max(size - 1, 0)) + bytes([chance.choice((1, 2, 3, 128, 255))]) * (size > 0)


def point(chance: random.Random) -> bytes:
    """A point on bn254's curve, mostly."""
    known = ((1, 2), (1, FIELD - 2), (0, 0), (1, 2 + FIELD), (1, 3), (FIELD, 2), (FIELD, FIELD), (0, 1))
    return words(*chance.choice(known[: 3 if chance.random() < 0.7 else len(known)]))


def scalar(chance: random.Random) -> int:
    """A multiplier."""
    return chance.choice((0, 1, 2, ORDER - 1, ORDER, ORDER + 1, FIELD, 2**256 - 1, chance.getrandbits(256)))
