"""zvmd beside a distribution whose packages have the names of ours, and run in a folder that has such packages too.

Before, the five packages lay at the top of site-packages: the distribution that was installed last overwrote the
other's files, and uninstalling zvmd deleted them.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path

import pytest

from tests.bytecode import code
from tests.daemon import Daemon, clean_environment
from tests.packaging.conftest import run
from tests.paths import REPO

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("wheel")]

NAMES = ("chain", "debugger", "node", "storage", "vm")
COUNTING = code(0, "JUMPDEST", 1, "ADD DUP1", 100_000, "GT", 2, "JUMPI STOP")
COMPILED_SECONDS = 60.0


def hostile_packages(folder: Path) -> None:
    """Packages named like ours, which tell their owner and break zvmd when they are imported by it."""
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("OWNER = 'neighbour'\n")


def neighbour_wheel(folder: Path) -> Path:
    """A wheel of another distribution, ``neighbour``, with the hostile packages."""
    hostile_packages(folder / "contents")
    described = folder / "contents" / "neighbour-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: neighbour\nVersion: 1.0\n")
    (described / "WHEEL").write_text("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    files = [path for path in sorted((folder / "contents").rglob("*")) if path.is_file()]
    names = [str(path.relative_to(folder / "contents")) for path in files]
    (described / "RECORD").write_text("".join(f"{name},,\n" for name in [*names, "neighbour-1.0.dist-info/RECORD"]))
    wheel = folder / "neighbour-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in (*files, described / "RECORD"):
            archive.write(path, path.relative_to(folder / "contents"))
    return wheel


class Installation:
    """A virtual environment with the neighbour and zvmd; what else zvmd needs is borrowed from this environment."""

    def __init__(self, folder: Path, way: str, wheel: Path) -> None:
        self.folder = folder
        run(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"), cwd=folder)
        self.binaries = folder / "venv" / "bin"
        (self.packages,) = folder.glob("venv/lib/python*/site-packages")
        (self.packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        neighbour = [str(neighbour_wheel(folder))]
        zvmd = ["--editable", str(REPO)] if way == "editable" else [str(wheel)]
        for what in (zvmd, neighbour) if way == "zvmd first" else (neighbour, zvmd):
            self.pip("install", "--no-deps", "--ignore-installed", *what)
        self.place = folder / "place"
        """A folder to run in, which has the hostile packages too."""
        hostile_packages(self.place)

    def pip(self, command: str, *arguments: str) -> None:
        python = str(self.binaries / "python")
        run(sys.executable, "-m", "pip", "--python", python, command, "-q", *arguments, cwd=self.folder)

    def zvmd(self, *arguments: str) -> str:
        return run(str(self.binaries / "zvmd"), *arguments, cwd=self.place)

    def owners(self) -> list[str]:
        """Whom the names belong to in the user's own programs."""
        program = f"import importlib; print(*(importlib.import_module(name).OWNER for name in {NAMES}))"
        return run(str(self.binaries / "python"), "-c", program, cwd=self.folder).split()

    def neighbours_files(self) -> dict[str, str]:
        """Path to digest of what lies in the neighbour's packages, compiled code aside."""
        files = [path for name in NAMES for path in (self.packages / name).rglob("*.py")]
        return {str(path.relative_to(self.packages)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(
    scope="module", params=["neighbour first", "editable", pytest.param("zvmd first", marks=pytest.mark.full)]
)
def installation(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("neighbours"), request.param, wheel)


def test_each_process_gets_its_own_packages(installation: Installation) -> None:
    assert installation.zvmd("--version").startswith("zvmd")
    assert "zvmd" in run(str(installation.binaries / "python"), "-m", "zvmd", "--version", cwd=installation.place)
    assert installation.owners() == ["neighbour"] * len(NAMES)
    assert len(installation.neighbours_files()) == len(NAMES)


def test_a_node_runs_with_its_workers_and_its_debug_adapter(installation: Installation) -> None:
    data_dir = installation.place / "data"
    daemon = Daemon(data_dir, command=(str(installation.binaries / "zvmd"),))
    try:
        assert daemon.start().startswith("READY")
        rpc = daemon.rpc()
        session = rpc.call("zvmd_session_create", {"code": "0x6001600201"})["id"]
        assert rpc.call("zvmd_session_import", rpc.call("zvmd_session_export", session))["id"] != session
        call = {"to": "0x" + "11" * 20, "gas": hex(20_000_000)}
        override = {call["to"]: {"code": "0x" + COUNTING.hex()}}
        ends = time.monotonic() + COMPILED_SECONDS
        while not (jit := rpc.call("zvmd_status")["vm"])["compiled"]:
            assert time.monotonic() < ends, jit
            rpc.call("eth_call", call, "latest", override)
        served = [str(installation.binaries / "zvmd"), "dap", "--port", "0", "--data-dir", str(data_dir)]
        with subprocess.Popen(
            served, stdout=subprocess.PIPE, text=True, cwd=installation.place, env=clean_environment()
        ) as adapter:
            assert adapter.stdout is not None
            assert adapter.stdout.readline().startswith("READY dap=127.0.0.1:")
            adapter.kill()
        assert daemon.stop() == 0
    finally:
        daemon.close()


def test_uninstalling_leaves_the_neighbours_files_whole(installation: Installation) -> None:
    """The last of this module's tests."""
    before = installation.neighbours_files()
    installation.pip("uninstall", "--yes", "zvmd")
    assert installation.neighbours_files() == before
    assert installation.owners() == ["neighbour"] * len(NAMES)
    assert not [path for path in installation.packages.iterdir() if "zvmd" in path.name]
