"""The expensive inputs of `benchmarks.worst_cases`: programs for opcodes, calldata for precompiles."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import py_arkworks_bls12381 as curve
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from chain.crypto import address_of_secret, sign
from chain.forks import Fork
from chain.types import Address
from tests.unit.vm.programs import OTHER, code
from vm.evm.opcodes import Opcode, opcodes
from vm.precompiles import bn254, precompile

_M = 2**256
_BIG = _M - 189
_SPREAD = int.from_bytes(hashlib.sha256(b"operand").digest(), "big")
KIB24 = 24_576
BODY_BYTES = 20_000
CHEAP = 1_000
"""Repetitions of a body that costs less than 1,000 gas."""

OPERANDS: dict[str, tuple[int, ...]] = {
    "DIV": (2**129 + 7, _BIG),
    "SDIV": (2**129 + 7, _BIG >> 1),
    "MOD": (2**129 + 7, _BIG),
    "SMOD": (2**129 + 7, _BIG >> 1),
    "ADDMOD": (2**255 + 95, _BIG, _BIG - 2),
    "MULMOD": (2**255 + 95, _BIG, _SPREAD | 2**255),
    "EXP": (_M - 1, _BIG),
    "SHL": (_SPREAD, 77),
    "SHR": (_SPREAD, 77),
    "SAR": (_BIG, 77),
    "BYTE": (_SPREAD, 13),
    "SIGNEXTEND": (_SPREAD, 17),
    "KECCAK256": (136, 0),
    "MLOAD": (1,),
    "MSTORE": (_SPREAD, 1),
    "MSTORE8": (_SPREAD, 1),
    "CALLDATALOAD": (3,),
    "CALLDATACOPY": (32, 0, 0),
    "CODECOPY": (32, 0, 0),
    "RETURNDATACOPY": (0, 0, 0),
    "MCOPY": (33, 0, 1),
    "EXTCODECOPY": (32, 0, 0, int.from_bytes(OTHER, "big")),
    "SLOAD": (1,),
    "SSTORE": (1, 1),
    "TLOAD": (1,),
    "TSTORE": (1, 1),
    "BLOCKHASH": (900,),
    "CREATE": (0, 0, 0),
    "CALL": (0, 0, 0, 0, 0, int.from_bytes(OTHER, "big"), 1_000),
    "CALLCODE": (0, 0, 0, 0, 0, int.from_bytes(OTHER, "big"), 1_000),
    "DELEGATECALL": (0, 0, 0, 0, int.from_bytes(OTHER, "big"), 1_000),
    "STATICCALL": (0, 0, 0, 0, int.from_bytes(OTHER, "big"), 1_000),
}
"""Operands, the deepest first; other opcodes get large numbers."""
ENDINGS = {"STOP", "RETURN", "REVERT", "INVALID", "SELFDESTRUCT"}
"""These end a frame: each is run by a contract that is called again and again."""


@dataclass
class Program:
    """What to run."""

    name: str
    code: bytes
    data: bytes = bytes(256)
    accounts: dict[Address, bytes] = field(default_factory=dict)
    succeeds: bool = True


@dataclass
class Input:
    """An input of a precompile and what its output must satisfy."""

    name: str
    address: int
    data: bytes
    check: Callable[[bytes], bool]


def loop(body: bytes, times: int = 30, before: bytes = b"") -> bytes:
    """The body so many times (at most 20 KB), that again and again while 5,000,000 gas are left."""
    start = before + code("JUMPDEST")
    return (
        start
        + body * max(1, min(BODY_BYTES // len(body), times))
        + code(5_000_000, "GAS GT", len(before), "JUMPI")
    )


def _call(address: int, gas: int = 10**9, size: int = 0, value: int = 0) -> bytes:
    return code(0, 0, size, 0, value, address, gas, "CALL POP")


def _body(row: Opcode) -> bytes:
    if row.name.startswith(("DUP", "SWAP")):
        return code(row.name) + (code("POP") if row.name[0] == "D" else b"")
    if row.name == "CREATE2":
        return code("GAS", 0, 0, 0, "CREATE2 POP")  # a salt of its own for each
    if row.name.startswith("PUSH"):
        return bytes([row.byte]) + b"\x5a" * row.immediate + code("POP")
    operands = OPERANDS.get(
        row.name, (0,) * row.pops if row.name.startswith("LOG") else (_SPREAD,) * row.pops
    )
    return code(*operands, row.name) + code("POP") * row.pushes


def opcode_programs() -> Iterator[Program]:
    """A program for every opcode of Osaka."""
    other = int.from_bytes(OTHER, "big")
    for row in opcodes(Fork.OSAKA).values():
        if row.name in ENDINGS:
            ending = {OTHER: code(*(0,) * row.pops, row.name)}
            yield Program(row.name, loop(_call(other, 30_000)), accounts=ending)
        elif row.name == "JUMP":
            yield Program("JUMP", code("JUMPDEST") * 256 + _jumps("JUMP"))
        elif row.name == "JUMPI":
            yield Program("JUMPI", code("JUMPDEST") * 256 + _jumps("JUMPI"))
        elif row.name.startswith(("DUP", "SWAP")):
            yield Program(row.name, loop(_body(row), CHEAP, code(*range(1, 18))))
        else:
            before = code(1, 1, "SSTORE") if row.name in ("SLOAD", "SSTORE") else b""
            yield Program(
                row.name, loop(_body(row), 30 if row.gas > 50 or row.name == "SSTORE" else CHEAP, before)
            )


def _jumps(name: str) -> bytes:
    """5,000 jumps, each to the next one."""
    out = b""
    for _ in range(3_000):
        at = 256 + len(out)
        condition = b"\x60\x01" if name == "JUMPI" else b""
        out += condition + b"\x61" + (at + 5 + len(condition) - 1).to_bytes(2, "big") + code(name, "JUMPDEST")
    return out


def secondary_programs() -> Iterator[Program]:
    """Accesses that are cold, new or large."""
    other = int.from_bytes(OTHER, "big")
    yield Program("SLOAD, cold", loop(code("GAS SLOAD POP")))
    yield Program("SSTORE, new slots", loop(code(1, "GAS SSTORE")))
    yield Program("TLOAD, new slots", loop(code("GAS TLOAD POP")))
    yield Program("TSTORE, new slots", loop(code(1, "GAS TSTORE")))
    for name in ("BALANCE", "EXTCODESIZE", "EXTCODEHASH"):
        yield Program(f"{name}, cold accounts", loop(code("GAS", name, "POP")))
    yield Program("EXTCODECOPY, cold accounts", loop(code(0, 0, 0, "GAS EXTCODECOPY")))
    yield Program("CALL, cold accounts", loop(code(0, 0, 0, 0, 0, "GAS", 0, "CALL POP")))
    yield Program("CALL with value, new accounts", loop(code(0, 0, 0, 0, 1, "GAS", 0, "CALL POP")))
    yield Program(
        "EXTCODECOPY of 24 KiB",
        loop(code(KIB24, 0, 0, other, "EXTCODECOPY")),
        accounts={OTHER: b"\x5b" * KIB24},
    )
    for name in ("CALLDATACOPY", "CODECOPY", "MCOPY"):
        yield Program(f"{name} of 128 KiB", loop(code(131_072, 1, 0, name)), bytes(131_072))
    yield Program("KECCAK256 of 128 KiB", loop(code(131_072, 0, "KECCAK256 POP")))
    yield Program("KECCAK256 of 1 byte", loop(code(1, 0, "KECCAK256 POP"), CHEAP))
    yield Program("LOG4 of 8 KiB", loop(code(1, 2, 3, 4, 8_192, 0, "LOG4")))
    yield Program("LOG0", loop(code(0, 0, "LOG0")))
    yield Program("memory grown to 1.75 MiB", code(1, 7 << 18, "MSTORE"))
    yield Program(
        "CREATE with 48 KiB of JUMPDESTs",
        loop(code(49_152, 0, 0, "CREATE POP"), 30, code(49_152, 0, 0, "CALLDATACOPY")),
        b"\x5b" * 49_152,
    )
    yield Program(
        "CREATE deploying 24 KiB",
        loop(code(10, 0, 0, "CREATE POP"), 1, code(0x6160005FF3 << 216, 0, "MSTORE")),
    )
    yield Program(
        "CALL, 24 KiB codes analysed",
        b"".join(_call(0x1000 + i, 40_000) for i in range(150)),
        accounts={
            Address((0x1000 + i).to_bytes(20, "big")): i.to_bytes(2, "big").join((b"\x61", b"\x5b" * KIB24))[
                :KIB24
            ]
            for i in range(150)
        },
    )
    yield Program(
        "SELFDESTRUCT to new accounts",
        loop(_call(other, 50_000, value=1)),
        accounts={OTHER: code("GAS SELFDESTRUCT")},
    )
    yield Program("EXP by 1", loop(code(1, _BIG, "EXP POP"), CHEAP))
    yield Program("DIV by one limb", loop(code(3, _BIG, "DIV POP"), CHEAP))


def precompile_program(case: Input) -> Program:
    """The precompile called in a loop with its input, output in memory too; returns the last output."""
    size = len(case.data)
    body = code(0, 0, size, 0, case.address, "GAS STATICCALL POP")
    before = code(size, 0, 0, "CALLDATACOPY")
    price = _gas_of(case)
    text = loop(body, max(1, 2_000_000 // (price + 150)), before) if price < 2_000_000 else before + body
    return Program(
        case.name,
        text + code("RETURNDATASIZE", 0, 0, "RETURNDATACOPY RETURNDATASIZE", 0, "RETURN"),
        case.data,
    )


def _gas_of(case: Input) -> int:
    contract = precompile(Fork.OSAKA, Address(case.address.to_bytes(20, "big")))
    assert contract is not None
    return contract.gas(case.data)


def _words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in numbers)


def precompile_inputs() -> Iterator[Input]:
    """Worst known inputs of every precompile."""
    secret = b"\x11" * 32
    digest = hashlib.sha256(b"worst").digest()
    parity, r, s = sign(digest, secret)
    signer = bytes(12) + address_of_secret(secret)
    yield Input("ecrecover", 1, digest + _words(27 + parity, r, s), signer.__eq__)
    for size in (1, 131_072):
        data = b"\x7e" * size
        yield Input(f"sha256 of {size}", 2, data, hashlib.sha256(data).digest().__eq__)
        yield Input(f"ripemd160 of {size}", 3, data, lambda out: len(out) == 32)
        yield Input(f"identity of {size}", 4, data, data.__eq__)
    for base, exponent, modulus in (
        (b"\xff" * 32, b"\xff" * 5, _BIG),
        (b"\xff" * 32, b"\xff" * 32, _BIG),
        (b"\xff" * 40, b"\x03", 2**320 - 197),
        (b"\xff" * 1_024, b"\x03", 2**8_192 - 1),
        (b"\xff" * 264, b"\xff" * 8, 2**2_112 - 2),
    ):
        length = len(base)
        expected = pow(int.from_bytes(base, "big"), int.from_bytes(exponent, "big"), modulus).to_bytes(
            length, "big"
        )
        data = _words(length, len(exponent), length) + base + exponent + modulus.to_bytes(length, "big")
        yield Input(f"modexp {length}^{len(exponent)} bytes", 5, data, expected.__eq__)
    yield from bn254_inputs()
    yield from _bls()
    yield Input("blake2f, no rounds", 9, bytes(212) + b"\1", lambda out: len(out) == 64)
    yield Input(
        "blake2f, 100,000 rounds",
        9,
        (100_000).to_bytes(4, "big") + bytes(208) + b"\1",
        lambda out: len(out) == 64,
    )
    point = bytes.fromhex("c0" + "00" * 47)
    versioned = b"\x01" + hashlib.sha256(point).digest()[1:]
    yield Input("kzg point evaluation", 10, versioned + bytes(64) + point + point, lambda out: len(out) == 64)
    key = ec.derive_private_key(0xDECAF, ec.SECP256R1())
    r, s = utils.decode_dss_signature(key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256()))))
    public = key.public_key().public_numbers()
    yield Input("p256verify", 0x100, digest + _words(r, s, public.x, public.y), _words(1).__eq__)


def bn254_inputs() -> Iterator[Input]:
    """Of addition, multiplication and the pairing check; the multiplier has no short form by the endomorphism."""
    generator = _words(1, 2)
    point = bn254.mul(generator + _words(_SPREAD))
    twist = bytes.fromhex(
        "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c21800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed"
        "090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa"
    )
    yield Input("bn254 add", 6, point + generator, lambda out: len(out) == 64)
    yield Input("bn254 mul", 7, point + _words(_SPREAD), lambda out: len(out) == 64)
    minus = bn254.mul(point + _words(bn254.ORDER - 1))
    for pairs in (2, 10):
        yield Input(
            f"bn254 pairing, {pairs} pairs",
            8,
            (point + twist + minus + twist) * (pairs // 2),
            _words(1).__eq__,
        )


def _bls() -> Iterator[Input]:
    def padded(raw: bytes) -> bytes:
        return b"".join(bytes(16) + raw[at : at + 48] for at in range(0, len(raw), 48))

    one = padded(bytes(curve.G1Point().to_xy_bytes_be()))
    two = padded(bytes(curve.G2Point().to_xy_bytes_be()))
    minus = padded(bytes((-curve.G1Point()).to_xy_bytes_be()))
    scalar = _words(0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000000)
    yield Input("bls12 g1add", 11, one + one, lambda out: len(out) == 128)
    yield Input("bls12 g2add", 13, two + two, lambda out: len(out) == 256)
    for count in (1, 16, 128):
        yield Input(f"bls12 g1msm of {count}", 12, (one + scalar) * count, lambda out: len(out) == 128)
        yield Input(f"bls12 g2msm of {count}", 14, (two + scalar) * count, lambda out: len(out) == 256)
    for pairs in (2, 8):
        yield Input(
            f"bls12 pairing, {pairs} pairs", 15, (one + two + minus + two) * (pairs // 2), _words(1).__eq__
        )
    yield Input("bls12 map fp to g1", 16, bytes(63) + b"\x07", lambda out: len(out) == 128)
    yield Input(
        "bls12 map fp2 to g2", 17, bytes(63) + b"\x07" + bytes(63) + b"\x09", lambda out: len(out) == 256
    )
