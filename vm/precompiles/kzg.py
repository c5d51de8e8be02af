"""Point evaluation of a blob's KZG commitment (EIP-4844).

One pairing equation with the ceremony's [s]G2 suffices, so no trusted setup file is read.
"""

from __future__ import annotations

import hashlib

try:
    from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar
except ImportError:  # pragma: no cover - a platform without the wheel
    GT = G1Point = G2Point = Scalar = None

from vm.errors import PrecompileError, PrecompileUnavailable

BLS_MODULUS = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
FIELD_ELEMENTS_PER_BLOB = 4_096
_RESULT = FIELD_ELEMENTS_PER_BLOB.to_bytes(32, "big") + BLS_MODULUS.to_bytes(32, "big")

# Second element of g2_monomial in the mainnet trusted setup.
_S_G2 = bytes.fromhex(
    "b5bfd7dd8cdeb128843bc287230af38926187075cbfbefa81009a2ce615ac53d2914e5870cb452d2afaaab24f3499f72"
    "185cbfee53492714734429b7b38608e23926c911cceceac9a36851477ba4c60b087041de621000edc98edada20c1def2"
)


def point_evaluation(data: bytes) -> bytes:
    """Blob size and field modulus, if the proof shows p(z) = y: versioned hash, z, y, commitment, proof."""
    if len(data) != 192:
        raise PrecompileError("input is not 192 bytes")
    commitment = data[96:144]
    if data[:32] != b"\x01" + hashlib.sha256(commitment).digest()[1:]:
        raise PrecompileError("the versioned hash is another commitment's")
    if max(data[32:64], data[64:96]) >= BLS_MODULUS.to_bytes(32, "big"):
        raise PrecompileError("z or y is not a field element")
    if G1Point is None:
        raise PrecompileUnavailable("kzg_point_evaluation", 0x0A)
    try:
        holds = _verify(commitment, data[32:64], data[64:96], data[144:])
    except ValueError as error:
        raise PrecompileError(str(error)) from None
    if not holds:
        raise PrecompileError("the proof does not hold")
    return _RESULT


def _verify(commitment: bytes, z: bytes, y: bytes, proof: bytes) -> bool:
    """e(C - y G1, G2) = e(proof, s G2 - z G2), as a product of two pairings."""
    generator_1, generator_2 = G1Point(), G2Point()
    left = G1Point.from_compressed_bytes(commitment) - generator_1 * Scalar.from_be_bytes(y)
    right = G2Point.from_compressed_bytes(_S_G2) - generator_2 * Scalar.from_be_bytes(z)
    quotient = G1Point.from_compressed_bytes(proof)
    return bool(GT.pairing_check([left, -quotient], [generator_2, right]))
