"""Frames between pages nobody may touch: an overrun by one byte ends the process, and no program causes one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.paths import REPO

ENVIRONMENT = os.environ | {"ZVMD_GUARD_PAGES": "1"}

OVERRUN = """
import ctypes, sys
from node.machine.native_memory import allocate_guarded
from vm.evm.frame import Frame
from vm.evm.layout import FRAME_BYTES
frame = Frame(allocate_guarded)
start = {"frame": frame.address, "memory": frame.memory_address}[sys.argv[1]]
size = {"frame": FRAME_BYTES, "memory": len(frame.memory)}[sys.argv[1]]
ctypes.memset(start, 1, size)
print("inside", flush=True)
ctypes.memset(start + size, 1, 1)
"""


def python(*arguments: str, seconds: int = 280) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=REPO,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@pytest.mark.parametrize("buffer", ["frame", "memory"])
def test_an_overrun_of_one_byte_is_fatal(buffer: str) -> None:
    done = python("-c", OVERRUN, buffer)
    assert done.stdout == "inside\n"
    assert done.returncode == -signal.SIGSEGV


def test_random_programs_overrun_nothing() -> None:
    done = python("-m", "tests.differential.fuzz", "--alone", "--seed", "77", "--programs", "40")
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    assert done.stdout.strip().startswith("seed 77: 40 programs")


def test_the_hostile_programs_overrun_nothing() -> None:
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/vm/test_memory_and_flow.py")
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]


@pytest.mark.full
@pytest.mark.timeout(2_000)
def test_many_random_programs_overrun_nothing() -> None:
    fuzz = ("-m", "tests.differential.fuzz", "--alone", "--seed", "78", "--programs", "20000")
    done = python(*fuzz, seconds=1_900)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
