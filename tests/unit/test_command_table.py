"""The command table: every row leads to a command, start-up stays light, errors are a line, a hint and a status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from node.cli.main import COMMANDS, cli
from node.cli.wal import MEANINGS, meaning
from node.ops.errors import InvalidSetting
from storage.wal import Record, RecordType
from tests.daemon import clean_environment
from tests.paths import REPO


def zvmd(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process."""
    return subprocess.run(
        [sys.executable, "-m", "node.cli.main", *arguments],
        capture_output=True,
        text=True,
        cwd=REPO,
        env=clean_environment() | environment,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_row_leads_to_a_command_with_a_docstring(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help


def test_help_lists_every_command_and_imports_none() -> None:
    result = zvmd("--help")
    assert result.returncode == 0
    for name, row in COMMANDS.items():
        assert name in result.stdout
        assert row.summary[:40] in result.stdout
    heavy = "print([name for name in ('llvmlite', 'plyvel', 'qh3', 'rocksdict') if name in sys.modules])"
    program = f"import sys; import node.cli.main; {heavy}"
    listed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=REPO, timeout=60, check=True
    )
    assert listed.stdout.strip() == "[]"


def test_an_expected_error_is_a_line_and_a_hint_with_its_own_status() -> None:
    result = zvmd("config", "show", ZVMD_HTTP__PROT="1")
    assert result.returncode == InvalidSetting.exit_code == 78
    assert result.stdout == ""
    first, second = result.stderr.splitlines()
    assert first.startswith("error[settings.unknown]: ")
    assert second.startswith("hint: ")


@pytest.mark.parametrize(
    ("arguments", "status", "slug"),
    [
        (("--genesis", "no.json"), 78, "settings.invalid"),
        (("--genesis", "text.json"), 78, "settings.invalid"),
        (("--dev", "--chain-id", str(2**64)), 78, "settings.invalid"),
        (("--data-dir", "text.json/below"), 78, "storage.unusable"),
    ],
)
def test_a_start_that_cannot_be_is_a_line_and_a_hint(
    tmp_path: Path, arguments: tuple[str, ...], status: int, slug: str
) -> None:
    (tmp_path / "text.json").write_text("no genesis")
    words = [str(tmp_path / word) if ".json" in word else word for word in arguments]
    result = zvmd("start", *words, ZVMD_NODE__DATA_DIR=str(tmp_path / "data"))
    first, second = result.stderr.splitlines()
    assert (result.returncode, first.partition(":")[0], second[:6]) == (status, f"error[{slug}]", "hint: ")


def test_an_unknown_command_is_wrong_usage() -> None:
    assert zvmd("strat").returncode == 2


def test_every_kind_of_record_has_a_meaning_that_wal_inspect_shows() -> None:
    assert set(MEANINGS) == set(RecordType)
    for kind in RecordType:
        assert meaning(Record(1, kind, b"{\xc1"))
