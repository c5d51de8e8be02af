"""Point evaluation of a blob's KZG commitment (EIP-4844).

One pairing equation with the ceremony's [s]G2 suffices, so no trusted setup file is read.
"""

from __future__ import annotations

import hashlib

from vm.errors import PrecompileError
from vm.precompiles.contract import native

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
        raise PrecompileError("invalid input length")
    commitment = data[96:144]
    if data[:32] != b"\x01" + hashlib.sha256(commitment).digest()[1:]:
        raise PrecompileError("mismatched versioned hash")
    if max(data[32:64], data[64:96]) >= BLS_MODULUS.to_bytes(32, "big"):
        raise PrecompileError("error verifying kzg proof: scalar is not canonical")
    try:
        holds = _verify(commitment, data[32:64], data[64:96], data[144:])
    except ValueError as error:
        raise PrecompileError(f"error verifying kzg proof: {error}") from None
    if not holds:
        raise PrecompileError("error verifying kzg proof: can't verify opening proof")
    return _RESULT


def _verify(commitment: bytes, z: bytes, y: bytes, proof: bytes) -> bool:
    """e(C - y G1, G2) = e(proof, s G2 - z G2), as a product of two pairings."""
    curve = native("py_arkworks_bls12381", "kzg_point_evaluation", 0x0A)
    read, scalar = curve.G1Point.from_compressed_bytes, curve.Scalar.from_be_bytes
    g1, g2 = curve.G1Point(), curve.G2Point()
    left = read(commitment) - g1 * scalar(y)
    right = curve.G2Point.from_compressed_bytes(_S_G2) - g2 * scalar(z)
    return bool(curve.GT.pairing_check([left, -read(proof)], [g2, right]))
