"""Where zvmd runs is one table; it is refused elsewhere by the real command, before anything of the node is loaded."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest

from chain import errors
from tests.daemon import clean_environment
from tests.paths import REPO
from zvmd.platforms import MACHINES, PYTHONS, Platform, UnsupportedPlatform, check

PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
PAGE = (REPO / "docs/platforms.md").read_text()
VERSIONS = [(3, minor) for minor in range(PYTHONS[0][1], PYTHONS[1][1] + 1)]
LINUX = Platform("linux", "x86_64", "glibc 2.36", "cpython", (3, 12), 64, "", True)

REFUSED = {
    "macOS": (LINUX._replace(system="darwin", machine="arm64", libc=""), "runs on Linux; this is darwin"),
    "Windows": (LINUX._replace(system="win32", machine="", libc=""), "runs on Linux; this is win32"),
    "FreeBSD": (LINUX._replace(system="freebsd14", machine="amd64", libc=""), "this is freebsd14"),
    "Cygwin": (LINUX._replace(system="cygwin", libc=""), "this is cygwin"),
    "Android": (LINUX._replace(system="android", machine="aarch64", libc=""), "this is android"),
    "Android up to Python 3.12": (LINUX._replace(machine="aarch64", libc=""), "glibc; this is another C library"),
    "Alpine": (LINUX._replace(libc=""), "glibc; this is another C library"),
    "32-bit x86": (LINUX._replace(machine="i686", pointer_bits=32), "this is 32 bits on i686"),
    "32-bit Python on a 64-bit system": (LINUX._replace(pointer_bits=32), "this is 32 bits on x86_64"),
    "Raspberry Pi OS, 32 bits": (LINUX._replace(machine="armv7l", pointer_bits=32), "32 bits on armv7l"),
    "big-endian ARM": (LINUX._replace(machine="aarch64_be"), "64 bits on aarch64_be"),
    "big-endian POWER": (LINUX._replace(machine="ppc64"), "64 bits on ppc64"),
    "IBM Z": (LINUX._replace(machine="s390x"), "64 bits on s390x"),
    "RISC-V": (LINUX._replace(machine="riscv64"), "64 bits on riscv64"),
    "a chroot without /proc": (LINUX._replace(proc=False), "Linux with /proc; this is a system without it"),
    "PyPy": (LINUX._replace(implementation="pypy", python=(3, 11)), "this is pypy with"),
    "GraalPy": (LINUX._replace(implementation="graalpy"), "this is graalpy"),
    "free-threaded": (LINUX._replace(python=(3, 13), flags="t"), "this is cpython with the ABI flags 't'"),
    "an old Python": (LINUX._replace(python=(3, 10)), "Python 3.11 to 3.13; this is Python 3.10"),
    "a new Python": (LINUX._replace(python=(3, 14)), "Python 3.11 to 3.13; this is Python 3.14"),
    "a far Python": (LINUX._replace(python=(4, 0)), "this is Python 4.0"),
}


@pytest.mark.parametrize("python", VERSIONS, ids=str)
@pytest.mark.parametrize("machine", MACHINES)
def test_what_was_tried_is_accepted(machine: str, python: tuple[int, int]) -> None:
    check(LINUX._replace(machine=machine, python=python))


@pytest.mark.parametrize("platform", list(REFUSED))
def test_all_else_is_refused_with_what_was_found_and_what_to_do(platform: str) -> None:
    facts, words = REFUSED[platform]
    with pytest.raises(UnsupportedPlatform) as refused:
        check(facts)
    assert words in str(refused.value)
    assert refused.value.hint.split()[0] in ("use", "make", "mount")
    assert ("docs/platforms.md" in refused.value.hint) == facts.proc


def test_this_computer_is_described_as_it_is() -> None:
    here = Platform.here()
    check(here)
    assert here.python == sys.version_info[:2]
    assert (here.pointer_bits, here.system) == (64, "linux")
    assert re.fullmatch(r"glibc \d+\.\d+", here.libc)


def test_the_command_ends_before_it_imports_anything_else() -> None:
    """``setarch`` has the kernel tell a process that its processor is another one."""
    result = subprocess.run(
        ["setarch", "i686", sys.executable, "-v", "-m", "zvmd", "start", "--dev"],
        capture_output=True, text=True, env=clean_environment(), cwd=REPO, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == UnsupportedPlatform.exit_code
    assert result.stdout == ""
    said = [line for line in result.stderr.splitlines() if line.startswith(("error[", "hint: "))]
    assert said[0] == "error[install.platform]: zvmd runs on 64-bit x86-64 and ARM; this is 64 bits on i686"
    assert len(said) == 2
    imported = set(re.findall(r"^import '([\w.]+)'", result.stderr, re.MULTILINE))
    assert "zvmd.platforms" in imported
    assert not {name for name in imported if name.split(".")[0] in {"click", "node", "msgspec", "qh3", "llvmlite"}}


def test_the_exit_status_means_nothing_else_and_no_service_manager_tries_again() -> None:
    status = UnsupportedPlatform.exit_code
    assert status not in {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert f"| {status} | the platform" in (REPO / "docs/operations.md").read_text()
    for unit in (REPO / "systemd").glob("zvmd*.service"):
        if "RestartPreventExitStatus" in unit.read_text():
            (statuses,) = re.findall(r"^RestartPreventExitStatus=(.*)$", unit.read_text(), re.MULTILINE)
            assert str(status) in statuses.split()


def test_the_package_claims_what_the_table_says() -> None:
    (first, last) = PYTHONS
    assert PROJECT["requires-python"] == f">={first[0]}.{first[1]},<{last[0]}.{last[1] + 1}"
    claimed = {name.rpartition(" :: ")[2] for name in PROJECT["classifiers"] if re.search(r":: \d\.\d+$", name)}
    assert claimed == {f"{major}.{minor}" for major, minor in VERSIONS}
    systems = {name for name in PROJECT["classifiers"] if name.startswith("Operating System")}
    assert systems == {"Operating System :: POSIX :: Linux"}


@pytest.mark.parametrize("python", VERSIONS, ids=str)
def test_each_version_of_python_has_a_row_of_what_was_run(python: tuple[int, int]) -> None:
    version = re.escape(f"{python[0]}.{python[1]}")
    assert re.search(rf"^\| Linux x86-64[^|]*\| {version}(\.\d+)? \| [^|]+\| [^|]{{10,}}\|", PAGE, re.MULTILINE)
