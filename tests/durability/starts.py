"""Starts over each file that a start reads, in each state that a disk, a person or a wrong clock may leave it in.

What is right: the start ends within its deadline with a documented status, an ``error[...]`` line and a hint, and once
the file is put back the same chain is there; or the node says READY, has the same chain, and clients connect to it
over HTTP and QUIC with the files they find.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import random
import shutil
import socket
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from node.auth.tls import load_or_create_certificate
from storage.directory import layout
from tests.crash.forked_daemon import ForkedDaemon, Zygote
from tests.daemon import DaemonFailed
from tests.durability.started import over_quic, refusal
from tests.rpc import Rpc

HUGE_BYTES = 2**30
BLOCKS = 4
DYING_SECONDS = 10.0
"""Within these a node has ended that is about to."""
HOLDER = "0x00000000000000000000000000000000000b0b00"
CONFIG, GENESIS, CREDENTIALS = "zvmd.toml", "given.json", "credentials"
"""Beside the data directory: what the settings name."""
Damage = Callable[[Path, random.Random], object]


def _replaced(content: Callable[[bytes, random.Random], bytes]) -> Damage:
    """Damage that leaves a file with another content, made of the one before."""

    def write(path: Path, chance: random.Random) -> None:
        before = path.read_bytes() if path.is_file() else b""
        _gone(path, chance)
        path.write_bytes(content(before, chance))
        path.chmod(0o600)

    return write


def _put(make: Callable[[Path], object]) -> Damage:
    """Damage that puts something that is not a file in its place."""

    def put(path: Path, chance: random.Random) -> None:
        _gone(path, chance)
        make(path)

    return put


def _gone(path: Path, _: random.Random) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path is at most 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _linked(path: Path, _: random.Random) -> None:
    """A link to what was there."""
    if path.exists():
        kept = path.parent.parent / f"kept-{path.name}"
        path.rename(kept)
        path.symlink_to(kept)
    else:
        path.symlink_to(path.parent / layout.FORMAT)


def _mode(mode: int) -> Damage:
    return lambda path, _: path.exists() and path.chmod(mode)


def _modified(seconds: int) -> Damage:
    return lambda path, _: path.exists() and os.utime(path, (seconds, seconds))


def _flipped(before: bytes, chance: random.Random) -> bytes:
    if not before:
        return b"\0"
    at = chance.randrange(len(before))
    return before[:at] + bytes((before[at] ^ 1 << chance.randrange(8),)) + before[at + 1 :]


DAMAGES: dict[str, Damage] = {
    "missing": _gone,
    "empty": _replaced(lambda _, chance: b""),
    "one byte": _replaced(lambda _, chance: chance.randbytes(1)),
    "garbage": _replaced(lambda before, chance: chance.randbytes(len(before) or 100)),
    "zeros": _replaced(lambda before, _: bytes(len(before) or 100)),
    "not UTF-8": _replaced(lambda before, _: b"\xff\xfe" + before),
    "a byte order mark": _replaced(lambda before, _: b"\xef\xbb\xbf" + before),
    "lines of Windows": _replaced(lambda before, _: before.replace(b"\n", b"\r\n")),
    "cut": _replaced(lambda before, chance: before[: chance.randrange(len(before) or 1)]),
    "grown": _replaced(lambda before, chance: before + chance.randbytes(chance.choice((1, 100, 5000)))),
    "doubled": _replaced(lambda before, _: before + before),
    "a bit flipped": _replaced(_flipped),
    "null": _replaced(lambda _, chance: chance.choice((b"null\n", b"[]\n", b"{}\n", b"1\n", b'""\n'))),
    "deep": _replaced(lambda _, chance: chance.choice((b"[", b'{"a":', b"a=[")) * 200_000),
    "huge": _put(lambda path: os.truncate(_touched(path), HUGE_BYTES)),
    "a directory": _put(Path.mkdir),
    "a FIFO": _put(os.mkfifo),
    "a socket": _put(_socket),
    "a link to nowhere": _put(lambda path: path.symlink_to("nowhere")),
    "a link to itself": _put(lambda path: path.symlink_to(path.name)),
    "a link to /dev/zero": _put(lambda path: path.symlink_to("/dev/zero")),
    "a link to /dev/null": _put(lambda path: path.symlink_to("/dev/null")),
    "a link": _linked,
    "unreadable": _mode(0),
    "read-only": _mode(0o400),
    "open to others": _mode(0o666),
    "modified in 1970": _modified(0),
    "modified in 2100": _modified(4_102_444_800),
}

DIRECTORY_DAMAGES: dict[str, Damage] = {
    **{
        name: DAMAGES[name]
        for name in DAMAGES
        if name.startswith("a link to") or name in ("missing", "a FIFO", "a socket")
    },
    "a file": _put(Path.touch),
    "an empty directory": _put(Path.mkdir),
    "unreadable": _mode(0),
    "read-only": _mode(0o500),
    "not to be entered": _mode(0o600),
    "open to others": _mode(0o777),
}

TLS = "data/tls"
CLOCKS = {f"of a clock {days} days off": days for days in (-20_000, -4_000, -400, -31, 1, 30, 400, 36_500)}
"""Certificates of a first start with a wrong clock."""
ANOTHERS = "another node's"
NEW_CHAINS = {("data", "missing"), ("data", "an empty directory")}
"""Begin a new chain, rightly."""
ABSENT = (
    "data/panic", "data/suspect", "data/signing.key", "data/ballast", "data/token.tmp", "data/endpoints.json.tmp",
    "data/FORMAT.tmp",
    "data/genesis.json.tmp", "data/tls/key.pem.tmp", "data/tls/authority.pem.tmp", "data/wal/watermark.tmp",
    "data/wal/beginning", "data/index.sqlite-journal", "data/index.sqlite-wal", "data/index.sqlite-shm",
    "data/quarantine", "data/verifying", "data/cache", "data/unknown", "data/exports/unknown.snap",
    "data/sessions/unknown", "data/state/unknown.ldb", "data/cache/unknown",
)  # fmt: skip
"""Names that a start looks for, or meets, and that are not always there."""


def _touched(path: Path) -> Path:
    path.touch(0o600)
    return path


class Sound(NamedTuple):
    """A directory with a chain, what the settings name beside it, and what its node says."""

    place: Path
    facts: dict[str, Any]
    targets: tuple[str, ...]
    other: Path
    """A directory of the same kind, of another node and chain."""


def make(zygote: Zygote, place: Path) -> Sound:
    """A chain with everything that a data directory may hold, stopped in order; and another one beside it."""
    facts, other = _grow(zygote, place), place.with_name(f"{place.name}-other")
    _grow(zygote, other, "--chain-id", "7")
    found = (str(path.relative_to(place)) for path in sorted(place.rglob("*")) if path.name != "data.log")
    return Sound(place, facts, (*found, *ABSENT), other)


def _grow(zygote: Zygote, place: Path, *arguments: str) -> dict[str, Any]:
    place.mkdir()
    daemon = ForkedDaemon(zygote, place / "data", *arguments)
    daemon.start()
    try:
        rpc = daemon.rpc()
        sender = rpc.call("eth_accounts")[0]
        for value in range(BLOCKS):
            rpc.call("eth_sendTransaction", {"from": sender, "to": HOLDER, "value": hex(value)})
        small = rpc.call("zvmd_session_create", {"code": "0x6001600201"})["id"]
        rpc.call("zvmd_session_create", {"code": "0x" + "5b" * 20_000})
        rpc.call("zvmd_session_export", small)
        while not list((place / "data" / layout.EXPORTS).glob("*.snap")):
            time.sleep(0.05)
        while rpc.call("zvmd_status")["index"]["indexing"]:
            time.sleep(0.05)
        facts = _facts(rpc)
        rpc.close()
        assert daemon.stop() == 0, daemon.log()
    finally:
        daemon.close()
    (place / CONFIG).write_text("[limits]\npool_transactions = 5000\n")
    (place / CREDENTIALS).mkdir()
    (place / CREDENTIALS / "sessions.expiry_seconds").write_text("50\n")
    shutil.copy(place / "data" / layout.GENESIS, place / GENESIS)
    shutil.rmtree(place / "data" / layout.CACHE, ignore_errors=True)
    return facts


def _facts(rpc: Rpc) -> dict[str, Any]:
    blocks = rpc.batch([("eth_getBlockByNumber", (hex(number), False)) for number in range(BLOCKS + 2)])
    return {
        "blocks": [block and block["hash"] for block in blocks],
        "balance": rpc.call("eth_getBalance", HOLDER, "latest"),
        "sessions": [session["id"] for session in rpc.call("zvmd_session_list")],
    }


def cases(sound: Sound) -> list[tuple[str, str]]:
    """(path, damage) of every single damage."""
    found = []
    for path in sound.targets:
        names = list(DIRECTORY_DAMAGES if (sound.place / path).is_dir() else DAMAGES)
        names += CLOCKS if path == TLS else ()
        names += [ANOTHERS] if (sound.other / path).is_file() else ()
        found += [(path, name) for name in names if (path, name) not in NEW_CHAINS]
    return found


def some(sound: Sound, chance: random.Random) -> list[tuple[str, str]]:
    """Two or three damages at once."""
    chosen = dict(chance.sample(cases(sound), chance.choice((2, 3))))
    log = next((path for path in chosen if path.startswith("data/wal")), "")
    kept = [path for path in chosen if path == log or not log or not _remembers(path)]
    return [(path, chosen[path]) for path in kept if not any(path.startswith(f"{other}/") for other in kept)]


def _remembers(path: str) -> bool:
    """Whether it tells how far the log went: with that damaged as well, a shorter chain may be all there is."""
    return path.startswith(("data/wal", "data/state", "data/index", "data/exports"))


def hurt(zygote: Zygote, sound: Sound, target: Path, damages: list[tuple[str, str]], chance: random.Random) -> str:
    """Start over the damages; says how it ended. Raises AssertionError if not rightly."""
    _copy(sound.place, target)
    for path, name in damages:
        _damage(sound, target, path, name, chance)
    outcome = _start(zygote, sound, target)
    if outcome != "READY":
        for path, _ in damages:
            _put_back(sound.place, target, path)
        again = _start(zygote, sound, target)
        assert again == "READY", f"{outcome}, and {again} with the file put back"
    return outcome


def _damage(sound: Sound, target: Path, path: str, name: str, chance: random.Random) -> None:
    place = target / path
    place.parent.mkdir(exist_ok=True)
    if name in CLOCKS:
        from_another_clock(place, CLOCKS[name])
    elif name == ANOTHERS:
        shutil.copy2(sound.other / path, place)
    else:
        kinds = DIRECTORY_DAMAGES if place.is_dir() else DAMAGES
        (kinds if name in kinds else DAMAGES | DIRECTORY_DAMAGES)[name](place, chance)


def _copy(source: Path, target: Path) -> None:
    if target.exists():
        for folder in [target, *target.rglob("*")]:
            if folder.is_dir() and not folder.is_symlink():
                folder.chmod(0o700)
        shutil.rmtree(target)
    shutil.copytree(source, target, symlinks=True)


def _put_back(source: Path, target: Path, path: str) -> None:
    place = target / path
    if place.is_dir() and not place.is_symlink():
        place.chmod(0o700)
    _gone(place, random.Random())
    if (source / path).is_dir():
        shutil.copytree(source / path, place)
    elif (source / path).exists():
        shutil.copy2(source / path, place)


def _start(zygote: Zygote, sound: Sound, target: Path) -> str:
    """READY, or the status with which the start ended, each as it must be."""
    daemon = ForkedDaemon(zygote, target / "data")
    daemon.unprivileged = True
    daemon._environment |= {
        "ZVMD_CONFIG": str(target / CONFIG),
        "CREDENTIALS_DIRECTORY": str(target / CREDENTIALS),
        "ZVMD_NODE__GENESIS": str(target / GENESIS),
    }
    daemon.log_file = target.with_suffix(".log")
    daemon.log_file.unlink(missing_ok=True)
    try:
        daemon.start()
        rpc = daemon.rpc()
        found = _facts(rpc)
        rpc.close()
        assert found == sound.facts, found
        assert asyncio.run(over_quic(target / "data")) == hex(BLOCKS)
        assert "Traceback" not in daemon.log(), daemon.log()
        status = daemon.stop()
        assert status == 0, f"stopped with {status}: {daemon.log()}"
    except DaemonFailed as failed:
        return f"status {refusal(daemon, failed)}"
    except (OSError, HTTPException) as broken:  # the connection: of a node that ended, or of one that goes on
        raise AssertionError(f"{broken!r} after READY; {_ending(daemon)}") from broken
    finally:
        daemon.close()
    return "READY"


def _ending(daemon: ForkedDaemon) -> str:
    """How a node ended that should have answered, and what it said."""
    try:
        return f"ended with {daemon.wait(DYING_SECONDS)}: {daemon.log()}"
    except DaemonFailed as alive:
        return str(alive)


def from_another_clock(directory: Path, days: float) -> None:
    """The certificates that a first start makes when the clock is off by so much."""
    shutil.rmtree(directory, ignore_errors=True)
    load_or_create_certificate(directory, datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days))
