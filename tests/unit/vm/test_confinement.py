"""Compiling under the system unit's confinement: its system call filter allows it, MemoryDenyWriteExecute does not.

The filter is that of `systemd/zvmd.service`, expanded by systemd-analyze and loaded with libseccomp into a process of
its own: no systemd has to run.
"""

from __future__ import annotations

import ctypes.util
import re
import shutil
import subprocess
import sys

import pytest

from tests.paths import REPO

ANALYZE = shutil.which("systemd-analyze")
SECCOMP = ctypes.util.find_library("seccomp")

CONFINE = """
import ctypes, errno, os, sys
seccomp = ctypes.CDLL(sys.argv[1])
seccomp.seccomp_init.restype = ctypes.c_void_p
seccomp.seccomp_init.argtypes = [ctypes.c_uint32]
seccomp.seccomp_rule_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint]
seccomp.seccomp_load.argtypes = [ctypes.c_void_p]
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
rules = seccomp.seccomp_init(REFUSE)
for name in sys.argv[2].split():
    number = seccomp.seccomp_syscall_resolve_name(name.encode())
    if number >= 0:
        assert seccomp.seccomp_rule_add(rules, ALLOW, number, 0) == 0, name
assert seccomp.seccomp_load(rules) == 0
try:
    os.setpriority(os.PRIO_PROCESS, 0, 5)
except PermissionError:
    pass
else:
    raise SystemExit("the filter is not there")
"""

COMPILE = """
import os, time
from tests.unit.vm.test_jit import LOOP, call
from node.machine.assembly import build_machine
machine = build_machine(engine="auto")
expected = call(build_machine(), LOOP)
end = time.monotonic() + 90
while not machine.metrics.entered:
    assert call(machine, LOOP) == expected
    assert time.monotonic() < end, machine.status()
    time.sleep(0.02)
assert call(machine, LOOP) == expected
process = machine.compiler.process_id
limits = open(f"/proc/{process}/limits").read()
status = machine.status()
assert status["workersKilled"] == status["failed"] == 0, status
assert status["compiled"], status
limited = [line.split()[3] for line in limits.splitlines() if line.startswith(("Max cpu time", "Max address space"))]
print("compiled, limits", *limited)
machine.close()
"""

DENIED = """
import ctypes
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
    print("this kernel has no such rule")
    raise SystemExit
from chain.forks import Fork
from node.machine.assembly import build_machine
from vm.errors import NativeCodeUnavailable
try:
    build_machine().runtime(Fork.OSAKA)
except NativeCodeUnavailable as error:
    print(error.hint)
"""


def allowed() -> list[str]:
    """The system calls the unit allows."""
    names: set[str] = set()
    for line in (REPO / "systemd" / "zvmd.service").read_text().splitlines():
        if found := re.fullmatch(r"SystemCallFilter=(~?)(.+)", line):
            listed = set().union(*map(expanded, found[2].split()))
            names = names - listed if found[1] else names | listed
    return sorted(names)


def expanded(name: str) -> set[str]:
    """A set's system calls; the name itself if it is not a set."""
    if not name.startswith("@"):
        return {name}
    assert ANALYZE is not None
    text = subprocess.run([ANALYZE, "syscall-filter", name], capture_output=True, text=True, check=True).stdout
    members = [line.strip() for line in text.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return set().union(*map(expanded, members))


def run(text: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", text, *arguments], cwd=REPO, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2_000:]
    return done.stdout


@pytest.mark.skipif(ANALYZE is None or SECCOMP is None, reason="no systemd-analyze or libseccomp here")
def test_the_compiling_process_works_under_the_filter() -> None:
    assert SECCOMP is not None
    assert run(CONFINE + COMPILE, SECCOMP, " ".join(allowed())) == f"compiled, limits 600 {4 << 30}\n"


def test_machine_code_that_may_not_be_made_executable_is_a_named_error() -> None:
    said = run(DENIED)
    assert "MemoryDenyWriteExecute must be off" in said or said == "this kernel has no such rule\n"
