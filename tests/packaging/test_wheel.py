"""The wheel, installed in an empty virtual environment: the command, its data files, a running node."""

from __future__ import annotations

import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.daemon import Daemon
from tests.packaging.conftest import run
from tests.paths import REPO

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("wheel")]

RESOURCES = ("migrations", "config/zvmd.toml", "systemd/zvmd.service")


@pytest.fixture(scope="module", params=["borrowed", pytest.param("own", marks=pytest.mark.full)])
def installed(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of a virtual environment that holds nothing but the wheel and its dependencies.

    They are installed from the index, ``own``, or ``borrowed`` from this environment, which takes a minute less.
    """
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "venv", str(folder / "venv"), cwd=folder)
    binaries = folder / "venv" / "bin"
    is_borrowed = request.param == "borrowed"
    only = ["--no-deps"] if is_borrowed else []
    run(str(binaries / "python"), "-m", "pip", "install", "-q", *only, str(wheel), cwd=folder)
    if is_borrowed:  # the wheel comes first on the path
        (packages,) = folder.glob("venv/lib/python*/site-packages")
        (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return binaries


def test_the_wheel_takes_one_name_in_site_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [Path(name).parts for name in archive.namelist()]
    assert {parts[0] for parts in names if not parts[0].endswith(".dist-info")} == {"zvmd"}
    assert {"chain", "vm", "storage", "debugger", "node", "migrations", "config", "systemd"} == {
        parts[2] for parts in names if parts[1] == "_root"
    }


def test_the_command_tells_its_version(installed: Path, tmp_path: Path) -> None:
    version = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["version"]
    assert version in run(str(installed / "zvmd"), "--version", cwd=tmp_path)
    assert version in run(str(installed / "python"), "-m", "zvmd", "--version", cwd=tmp_path)


@pytest.mark.parametrize("name", RESOURCES)
def test_data_files_are_found_inside_the_wheel(installed: Path, tmp_path: Path, name: str) -> None:
    program = f"import sys; from zvmd.__main__ import packages_root as root; sys.path.insert(0, str(root())); \
from node import resources; print(resources.path({name!r}))"
    found = Path(run(str(installed / "python"), "-c", program, cwd=tmp_path).strip())
    assert found.exists()
    assert found.is_relative_to(installed.parent)


def test_the_units_name_the_installed_command(installed: Path, tmp_path: Path) -> None:
    printed = run(str(installed / "zvmd"), "systemd", "print", cwd=tmp_path)
    assert f"ExecStart={installed / 'zvmd'} start" in printed


def test_the_installed_command_starts_a_node(installed: Path, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data", command=(str(installed / "zvmd"),))
    try:
        assert daemon.start().startswith("READY")
        assert daemon.rpc().call("eth_chainId") == hex(31_337)
        assert daemon.stop() == 0
    finally:
        daemon.close()
