"""Ways to compute on alt_bn128, one after the other in each round: ours, Python over GMP, py-ecc.

The time is this thread's processor time, the least of the rounds. Each way's answer is checked first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import py_ecc.optimized_bn128 as py_ecc

from benchmarks.worst_inputs import bn254_inputs
from chain.forks import Fork
from chain.types import Address
from tests.unit.vm import bn254_pairing_reference
from tests.unit.vm.bn254_reference import Point, affine_add, affine_multiple
from vm.ir import compiler
from vm.precompiles import bn254, precompile
from vm.precompiles.bn254_native import library

Way = Callable[[bytes], bytes]

_SECONDS = 0.05
"""A way is repeated for about so long in a round."""


def _numbers(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 32], "big") for at in range(0, len(data), 32)]


def _encoded(point: Point) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in point or (0, 0))


def _word(value: bool) -> bytes:
    return int(value).to_bytes(32, "big")


def _gmp_add(data: bytes) -> bytes:
    x1, y1, x2, y2 = _numbers(data)
    return _encoded(affine_add((x1, y1), (x2, y2)))


def _gmp_mul(data: bytes) -> bytes:
    x, y, scalar = _numbers(data)
    return _encoded(affine_multiple((x, y), scalar))


def _gmp_pairing(data: bytes) -> bytes:
    pairs = []
    numbers = [bn254_pairing_reference.mpz(number) for number in _numbers(data)]
    for at in range(0, len(numbers), 6):
        x, y, x1, x0, y1, y0 = numbers[at : at + 6]
        twisted = ((x0, x1), (y0, y1))
        assert bn254_pairing_reference.is_in_g2(twisted)
        pairs.append(((x, y), twisted))
    return _word(bn254_pairing_reference.product_is_one(pairs))


def _ecc_point(x: int, y: int) -> object:
    return py_ecc.FQ(x), py_ecc.FQ(y), py_ecc.FQ(1)


def _ecc_encoded(point: object) -> bytes:
    x, y = py_ecc.normalize(point)
    return _encoded((int(x), int(y)))


def _ecc_add(data: bytes) -> bytes:
    x1, y1, x2, y2 = _numbers(data)
    return _ecc_encoded(py_ecc.add(_ecc_point(x1, y1), _ecc_point(x2, y2)))


def _ecc_mul(data: bytes) -> bytes:
    x, y, scalar = _numbers(data)
    return _ecc_encoded(py_ecc.multiply(_ecc_point(x, y), scalar))


def _ecc_pairing(data: bytes) -> bytes:
    numbers, product = _numbers(data), py_ecc.FQ12.one()
    for at in range(0, len(numbers), 6):
        x, y, x1, x0, y1, y0 = numbers[at : at + 6]
        twisted = py_ecc.FQ2([x0, x1]), py_ecc.FQ2([y0, y1]), py_ecc.FQ2.one()
        assert py_ecc.is_inf(py_ecc.multiply(twisted, py_ecc.curve_order))
        product *= py_ecc.pairing(twisted, _ecc_point(x, y), final_exponentiate=False)
    return _word(py_ecc.final_exponentiate(product) == py_ecc.FQ12.one())


_WAYS: dict[int, dict[str, Way]] = {
    6: {"LLVM": bn254.add, "GMP": _gmp_add, "py-ecc": _ecc_add},
    7: {"LLVM": bn254.mul, "GMP": _gmp_mul, "py-ecc": _ecc_mul},
    8: {"LLVM": bn254.pairing, "GMP": _gmp_pairing, "py-ecc": _ecc_pairing},
}
"""By the contract's address."""


def _seconds(way: Way, data: bytes, times: int) -> float:
    start = time.thread_time()
    for _ in range(times):
        way(data)
    return (time.thread_time() - start) / times


def _compile() -> str:
    start = time.perf_counter()
    text = library.ir()
    written = time.perf_counter() - start
    compiler.target_machine()
    start = time.thread_time()
    code = compiler.compile_optimised(text)
    return f"IR written in {written * 1e3:.0f} ms, compiled in {time.thread_time() - start:.2f} s, {len(code):,} bytes"


def main() -> None:
    """Print microseconds and Mgas/s of each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(_compile())
    print("\n| case | way | us | Mgas/s |\n|---|---|---:|---:|")
    for case in bn254_inputs():
        data, ways = case.data, _WAYS[case.address]
        contract = precompile(Fork.OSAKA, Address(case.address.to_bytes(20, "big")))
        assert contract is not None
        assert len({way(data) for way in ways.values()}) == 1, case.name
        times = {name: max(1, int(_SECONDS / _seconds(way, data, 1))) for name, way in ways.items()}
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(rounds):
            for name, way in ways.items():
                best[name] = min(best[name], _seconds(way, data, times[name]))
        for name, seconds in best.items():
            print(f"| {case.name} | {name} | {seconds * 1e6:,.1f} | {contract.gas(data) / seconds / 1e6:.2f} |")


if __name__ == "__main__":
    main()
