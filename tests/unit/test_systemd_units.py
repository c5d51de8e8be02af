"""The unit files: systemd accepts them, they are confined, and the installer renders them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.cli.systemd import render, systemd
from node.ops.errors import UnitsNotInstalled

ANALYZE = shutil.which("systemd-analyze")
EXPOSURE_LIMIT_TENTHS = 10
"""1.0 of 10; reached although MemoryDenyWriteExecute is off, which LLVM rules out (see the unit)."""

needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze here: apt-get install systemd")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze; it needs no running systemd for what is asked here."""
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, *arguments], capture_output=True, text=True, timeout=60, check=False)


def rendered(folder: Path, source: str) -> Path:
    """The unit with an ExecStart that exists on this machine, as ``zvmd.service``."""
    unit = folder / "zvmd.service"
    unit.write_text(render(source, sys.executable))
    return unit


@needs_systemd
@pytest.mark.parametrize("source", ["zvmd.service", "zvmd-user.service"])
def test_systemd_verifies_the_unit(tmp_path: Path, source: str) -> None:
    result = analyze("verify", "--man=no", str(rendered(tmp_path, source)))
    assert result.returncode == 0, result.stderr
    assert "zvmd" not in result.stderr


@needs_systemd
def test_the_system_unit_is_confined(tmp_path: Path) -> None:
    unit = rendered(tmp_path, "zvmd.service")
    result = analyze(
        "security", "--offline=true", f"--threshold={EXPOSURE_LIMIT_TENTHS}", "--no-pager", str(unit)
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_ends_that_a_restart_cannot_mend_are_not_restarted() -> None:
    for source in ("zvmd.service", "zvmd-user.service"):
        assert "RestartPreventExitStatus=65 66 67 71 75 78" in render(source, "zvmd")


def test_print_shows_the_files_with_a_real_command() -> None:
    output = CliRunner().invoke(systemd, ["print"], catch_exceptions=False).output
    assert "etc/systemd/system/zvmd.service" in output
    assert "u zvmd -" in output
    assert "@ZVMD@" not in output
    command = next(line for line in output.splitlines() if line.startswith("ExecStart="))
    assert os.access(command.removeprefix("ExecStart=").split()[0], os.X_OK)


def test_install_writes_and_keeps_what_was_edited(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(systemd, ["install", "--root", str(tmp_path)], catch_exceptions=False).exit_code == 0
    unit = tmp_path / "etc/systemd/system/zvmd.service"
    assert (tmp_path / "etc/sysusers.d/zvmd.conf").is_file()
    unit.write_text("edited")
    assert runner.invoke(systemd, ["install", "--root", str(tmp_path)], catch_exceptions=False).exit_code == 0
    assert unit.with_name("zvmd.service.bak").read_text() == "edited"
    assert "Type=notify" in unit.read_text()


def test_install_for_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert CliRunner().invoke(systemd, ["install", "--user"], catch_exceptions=False).exit_code == 0
    assert "WantedBy=default.target" in (tmp_path / "systemd/user/zvmd.service").read_text()


def test_install_where_it_cannot_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file")
    result = CliRunner().invoke(systemd, ["install", "--root", str(tmp_path)])
    assert isinstance(result.exception, UnitsNotInstalled)
