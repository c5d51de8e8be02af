"""Machine code is loaded into whatever address space is left: a process leaves itself one hole, and loads an object.

LLVM's older linker put the code into the hole and its constants gigabytes away, which no instruction reaches: an
assertion ended the process. The same was reported of other programs on ARM64 (4 GiB there, 2 GiB on x86-64).
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.daemon import clean_environment
from tests.paths import REPO

CROWDED = """
import ctypes, mmap, sys
from vm.ir.compiler import compile_optimised
from vm.ir.image import load

ROOM, FAR = int(sys.argv[1]) * mmap.PAGESIZE, 6 << 30
RESERVED = 0x4000 | 0x22 | 0x100000  # MAP_NORESERVE, private and anonymous, MAP_FIXED_NOREPLACE
reserve = ctypes.CDLL(None).mmap
reserve.restype = ctypes.c_void_p
reserve.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)

def holes():
    rows = [line.split() for line in open("/proc/self/maps")]
    used = [row[0] for row in rows if row[-1] not in ("[stack]", "[vsyscall]")]
    bounds = [[int(bound, 16) for bound in area.split("-")] for area in used]
    return [(end, start) for (_, end), (start, _) in zip(bounds, bounds[1:]) if start > end]

def largest():
    return max(holes(), key=lambda hole: hole[1] - hole[0])

numbers = ", ".join(f"i64 {7 * at + 1}" for at in range(16))
code = compile_optimised(f'''
@numbers = private constant [16 x i64] [{numbers}]
@exports = constant [1 x i64] [i64 ptrtoint (ptr @number to i64)]
define i64 @number(i64 %at) {{
  %where = getelementptr [16 x i64], ptr @numbers, i64 0, i64 %at
  %number = load i64, ptr %where
  ret i64 %number
}}''')
keep = [load(code, {})]
for start, end in holes():
    if start >= largest()[1]:
        reserve(start, end - start, 0, RESERVED, -1, 0)
top = largest()[1] - ROOM
assert reserve(top - FAR, FAR, 0, RESERVED, -1, 0) == top - FAR
keep.append(load(code, {}))
number = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(ctypes.c_uint64.from_address(keep[1].exports).value)
print([number(at) for at in range(4)])
"""


@pytest.mark.parametrize("pages", [1, 2, 3, 4])
def test_an_object_is_loaded_with_one_small_hole_left(pages: int) -> None:
    result = subprocess.run(
        [sys.executable, "-c", CROWDED, str(pages)],
        capture_output=True, text=True, env=clean_environment() | {"PYTHONPATH": str(REPO)}, timeout=120, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout.strip()) == (0, "[1, 8, 15, 22]"), result.stderr[-2_000:]
