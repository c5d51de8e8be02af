"""What a node writes and prints is for its owner only: modes of files, links, private keys, mnemonics."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from chain.errors import ZvmdError
from node.engine.accounts import DevAccounts
from node.settings import DEV_MNEMONIC, load_settings
from storage.directory import layout
from tests.commands import run_command
from tests.crash.forked_daemon import ForkedDaemon, Zygote
from tests.daemon import DaemonFailed, clean_environment
from tests.durability import starts
from tests.durability.started import refusal
from tests.paths import REPO

SECRET = "legal winner thank year wave sausage worth useful legal winner thank yellow"
WORDS = "winner thank year"
PORTS = ("--http-port", "0", "--quic-port", "0")


def key_of(mnemonic: str) -> bytes:
    accounts = DevAccounts.of_mnemonic(mnemonic, 1)
    return accounts.secret(accounts.addresses[0])


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """Its daemons begin with a umask that would let everybody read and write."""
    before = os.umask(0)
    try:
        made = Zygote(tmp_path_factory.mktemp("zygote") / "log")
    finally:
        os.umask(before)
    yield made
    made.close()


def said_by(zygote: Zygote, place: Path, environment: Mapping[str, str], *arguments: str) -> str:
    """All that a daemon printed and logged until it was READY and stopped, or refused to start."""
    log = place / "log"
    with log.open("w") as file:
        variables = clean_environment() | {"ZVMD_LOG__LEVEL": "debug"} | environment
        command = ["start", "--dev", "--data-dir", str(place / "data"), *PORTS, *arguments]
        process = zygote.fork(command, variables, place, "", file)
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("READY"):
            process.send_signal(15)
    process.wait(30)
    return said + log.read_text()


def files_hold(directory: Path, secret: bytes) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and secret in path.read_bytes()]


@pytest.mark.parametrize("given", ["variable", "credential", "settings file", "flag"])
def test_keys_of_a_secret_mnemonic_go_to_no_pipe_and_no_file(zygote: Zygote, tmp_path: Path, given: str) -> None:
    """They were printed at each start: under systemd into the journal, though the mnemonic was a credential."""
    environment, arguments = {}, ()
    if given == "variable":
        environment = {"ZVMD_NODE__MNEMONIC": SECRET}
    elif given == "flag":
        arguments = ("--mnemonic", SECRET)
    elif given == "credential":
        (tmp_path / "credentials").mkdir()
        (tmp_path / "credentials" / "node.mnemonic").write_text(SECRET)
        environment = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    else:
        (tmp_path / "zvmd.toml").write_text(f'[node]\nmnemonic = "{SECRET}"\n')
        environment = {"ZVMD_CONFIG": str(tmp_path / "zvmd.toml")}
    said = said_by(zygote, tmp_path, environment, *arguments)
    assert "READY" in said
    assert "0x" + DevAccounts.of_mnemonic(SECRET, 1).addresses[0].hex() in said
    assert "keys are shown on a terminal only" in said
    assert key_of(SECRET).hex() not in said
    assert WORDS not in said
    for secret in (key_of(SECRET), key_of(SECRET).hex().encode(), WORDS.encode()):
        assert not files_hold(tmp_path / "data", secret)


def test_keys_of_the_public_mnemonic_are_printed_however_it_is_spaced(zygote: Zygote, tmp_path: Path) -> None:
    said = said_by(zygote, tmp_path, {"ZVMD_NODE__MNEMONIC": DEV_MNEMONIC.replace(" ", "  ")})
    assert key_of(DEV_MNEMONIC).hex() in said


def test_keys_are_shown_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "node.cli.main", "start", "--dev", "--data-dir", str(tmp_path / "d"), *PORTS]
    environment = clean_environment() | {"PYTHONPATH": str(REPO), "ZVMD_NODE__MNEMONIC": SECRET}
    process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    said = b""
    while b"READY" not in said:
        said += os.read(ours, 65_536)
    process.terminate()
    assert process.wait(30) == 0
    os.close(ours)
    assert key_of(SECRET).hex().encode() in said


@pytest.mark.parametrize(
    "toml",
    [
        f"mnemonic = {SECRET.split()}", f'mnemonic = {{ words = "{SECRET}" }}', f'mnemonic = "{SECRET} wrong"',
        f'mnemonic = "{SECRET.replace("yellow", "winner")}"', f'mnemonic = "{SECRET}\\u0000"',
        f'mnemonic = "{SECRET.replace("winner", "winer")}"', f'mnemonic = "{SECRET}"\nnothing = 1',
    ],
)  # fmt: skip
def test_no_refusal_tells_the_mnemonic(zygote: Zygote, tmp_path: Path, toml: str) -> None:
    (tmp_path / "zvmd.toml").write_text(f"[node]\n{toml}\n")
    said = said_by(zygote, tmp_path, {"ZVMD_CONFIG": str(tmp_path / "zvmd.toml")})
    assert "error[settings." in said
    assert not [word for word in ("legal", "winner", "sausage") if word in said], said


def test_no_refusal_of_a_variable_or_credential_tells_the_mnemonic(tmp_path: Path) -> None:
    (tmp_path / "node.mnemonic").write_bytes(SECRET.encode() + b"\xff")
    for environ in ({"CREDENTIALS_DIRECTORY": str(tmp_path)}, {"ZVMD_NODE__MNEMONIC": SECRET + "\udcff"}):
        with pytest.raises(ZvmdError) as refused:
            load_settings(flags={}, environ=environ)
        assert "winner" not in str(refused.value)


def modes(directory: Path) -> dict[str, int]:
    """Of everything in a directory and of itself, where it is not for the owner only."""
    found = {str(path): stat.S_IMODE(path.lstat().st_mode) for path in (directory, *directory.rglob("*"))}
    return {path: mode for path, mode in found.items() if mode != (0o700 if Path(path).is_dir() else 0o600)}


def test_files_are_for_their_owner_only(zygote: Zygote, tmp_path: Path) -> None:
    """LevelDB's, SQLite's, the cache's and the addresses' were 0644."""
    sound = starts.make(zygote, tmp_path / "made")
    data = sound.place / "data"
    assert {layout.STATE, layout.INDEX, layout.EXPORTS, layout.SESSIONS, layout.TLS} <= {p.name for p in data.iterdir()}
    assert modes(data) == {}
    before = os.umask(0)
    try:
        for command in (
            ("backup", str(tmp_path / "backup"), "--data-dir", str(data)),
            ("restore", str(tmp_path / "backup"), "--data-dir", str(tmp_path / "restored")),
        ):
            done = run_command(*command)
            assert done.returncode == 0, done.stderr
    finally:
        os.umask(before)
    assert modes(tmp_path / "backup") == {}
    assert modes(tmp_path / "restored") == {}


@pytest.mark.parametrize(
    "name",
    [
        "LOCK", "FORMAT", "FORMAT.tmp", "genesis.json.tmp", "token", "token.tmp", "endpoints.json.tmp",
        "index.sqlite", "index.sqlite-wal", "ballast", "suspect.tmp", "tls/key.pem.tmp", "tls/authority.pem",
        "wal/watermark", "wal/0000000000000000.seg.tmp", "state/CURRENT", "state/LOG", "state/LOCK",
    ],
)  # fmt: skip
def test_links_are_not_followed(zygote: Zygote, tmp_path: Path, name: str) -> None:
    """A link named LOCK or endpoints.json.tmp had its target overwritten."""
    victim, link = tmp_path / "victim", tmp_path / "data" / name
    victim.write_bytes(b"mine\n" * 3000)
    link.parent.mkdir(parents=True, mode=0o700)
    link.symlink_to(victim)
    daemon = ForkedDaemon(zygote, tmp_path / "data")
    try:
        with pytest.raises(DaemonFailed) as failed:
            daemon.start()
        assert refusal(daemon, failed.value) == 65
    finally:
        daemon.close()
    assert victim.read_bytes() == b"mine\n" * 3000
