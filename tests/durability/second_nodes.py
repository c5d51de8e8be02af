"""Second daemons and other programs on a data directory in use: each is refused with 75, and harms nothing.

One daemon lives through many attempts; every attempt puts something in the way of the exclusion, starts a second one,
or has another program hold a part of a stopped directory, and looks whether what was answered is there.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from storage.directory import layout
from storage.directory.stamp import engine_of
from storage.io.files import RealFs
from tests.contracts import dev_account
from tests.crash.forked_daemon import ForkedDaemon, Zygote
from tests.daemon import CHAIN_ID, DaemonFailed
from tests.rpc import Rpc

IN_USE = 75
NOBODY = 65534
LEVELDB = "import plyvel,sys; kept = plyvel.DB(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
LEVELDB_WRITER = "import plyvel,sys; kept = plyvel.DB(sys.argv[1]); kept.put(b'\\xff' * 32, b'', sync=True); "
LEVELDB_WRITER += "print('held', flush=True); sys.stdin.read()"
ROCKSDB = "import rocksdict,sys; kept = rocksdict.Rdict(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
HOLDERS = {"leveldb": LEVELDB, "rocksdb": ROCKSDB}
"""A program that opens a state store of this engine, and keeps it."""
WRITERS = HOLDERS | {"leveldb": LEVELDB_WRITER}
"""One that has a file of it open for writing, beside its LOCK. RocksDB has at once."""
SQLITE = "import sqlite3,sys; kept = sqlite3.connect(sys.argv[1], isolation_level=None); "
SQLITE += "kept.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()"


@contextlib.contextmanager
def holding(program: str, path: Path) -> Iterator[None]:
    """Another program that holds a store, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


class SecondNodes:
    """A first daemon under a trickle of transactions, and a zygote for the second ones."""

    def __init__(self, place: Path, second: Zygote | None = None) -> None:
        """``second``: a zygote for the second daemons, if there is one already."""
        self._place = place
        self.directory = place / "data"
        self._first_zygote = Zygote(place / "first.log")
        self._second_zygote, self._is_borrowed = second or Zygote(place / "second.log"), second is not None
        self._first = ForkedDaemon(self._first_zygote, self.directory)
        self._account, self._nonce = dev_account(2), 0
        self._answered: list[str] = []
        self._first.start()
        self._rpc: Rpc = self._first.rpc()

    def close(self) -> None:
        """End everything."""
        self._first.close()
        self._first_zygote.close()
        if not self._is_borrowed:
            self._second_zygote.close()

    def run(self, seed: int) -> str:
        """One attempt; which. Raises AssertionError for what must not be."""
        chance = random.Random(seed)
        name = chance.choice(sorted(RUNNING if chance.random() < 0.85 else STOPPED))
        try:
            self.attempt(name)
        except BaseException as error:
            error.add_note(f"seed {seed}, {name}: {self._first.log(1500)}")
            raise
        return name

    def attempt(self, name: str) -> None:
        """One way, between transactions that are there afterwards."""
        self._send(2)
        (RUNNING | STOPPED)[name](self)
        self._send(1)
        self._check(everything=name in STOPPED)

    def kill_and_start(self) -> None:
        """``kill -9`` of the first, and everything is there when it is back."""
        self._first.kill()
        self._start()
        self._check(everything=True)

    def _send(self, count: int) -> None:
        for _ in range(count):
            fields: dict[str, Any] = {
                "type": 2, "chainId": CHAIN_ID, "nonce": self._nonce, "gas": 21_000, "maxFeePerGas": 10**11,
                "maxPriorityFeePerGas": 10**9, "to": bytes(19) + b"\x77", "value": 1, "data": "0x",
            }  # fmt: skip
            signed = self._account.sign_transaction(fields)
            self._answered.append(self._rpc.call("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex()))
            self._nonce += 1

    def _check(self, *, everything: bool) -> None:
        names = self._answered if everything else self._answered[-4:]
        for at in range(0, len(names), 50):
            asked = [("eth_getTransactionReceipt", (name,)) for name in names[at : at + 50]]
            assert all(self._rpc.batch(asked)), "answered and lost"
        assert not list(self.directory.glob(f"{layout.QUARANTINE}/*")), "something in use was put aside"

    def refused(self, directory: Path | None = None, *, user: int = 0) -> None:
        """A second daemon ends with 75 and says so."""
        second = self._second(directory or self.directory)
        second.user = user
        second._environment["HOME"] = str(self._place)
        said = ""
        try:
            second.start()
        except DaemonFailed as error:
            said = str(error)
        finally:
            second.close()
        assert f"status {IN_USE}" in said, said or "a second daemon is ready"
        assert "error[storage.locked]" in said, said

    def starts(self, directory: Path) -> None:
        """A copy starts as a chain of its own, or says why not; it does not touch the first."""
        second = self._second(directory)
        try:
            second.start()
            rpc = second.rpc()
            rpc.call("evm_mine")
            rpc.close()
            assert second.stop() == 0
        except DaemonFailed as error:
            if "error[" not in str(error):
                raise
        finally:
            second.close()

    def _second(self, directory: Path) -> ForkedDaemon:
        second = ForkedDaemon(self._second_zygote, directory)
        second.log_file = self._place / "second-daemon.log"
        second.log_file.unlink(missing_ok=True)
        return second

    # While the first runs

    def lock_removed(self) -> None:
        (self.directory / layout.LOCK).unlink(missing_ok=True)
        self.refused()

    def lock_replaced(self) -> None:
        other = self._place / "other"
        other.write_text("1\n")
        other.replace(self.directory / layout.LOCK)
        self.refused()

    def lock_linked(self) -> None:
        (self.directory / layout.LOCK).unlink(missing_ok=True)
        (self.directory / layout.LOCK).symlink_to(self._place / "elsewhere")
        try:
            self.refused()
        finally:
            if (self.directory / layout.LOCK).is_symlink():  # unless the first has made it anew
                (self.directory / layout.LOCK).unlink(missing_ok=True)

    def nothing_in_the_way(self) -> None:
        self.refused()

    def through_a_link(self) -> None:
        link = self._place / "link"
        link.symlink_to(self.directory)
        try:
            self.refused(link)
        finally:
            link.unlink()

    def copied(self) -> None:
        copy = self._place / "copy"
        subprocess.run(["cp", "-a", self.directory, copy], check=False, capture_output=True)
        try:
            self.starts(copy)
        finally:
            shutil.rmtree(copy)

    def linked_file_by_file(self) -> None:
        copy = self._place / "links"
        subprocess.run(["cp", "-al", self.directory, copy], check=False, capture_output=True)
        try:
            self.refused(copy)
        finally:
            shutil.rmtree(copy)

    def linked_without_lock(self) -> None:
        copy = self._place / "links"
        subprocess.run(["cp", "-al", self.directory, copy], check=False, capture_output=True)
        (copy / layout.LOCK).unlink(missing_ok=True)
        try:
            self.refused(copy)
        finally:
            shutil.rmtree(copy)

    def bind_mount(self) -> None:
        mount = self._place / "mount"
        mount.mkdir(exist_ok=True)
        subprocess.run(["mount", "--bind", self.directory, mount], check=True)
        try:
            self.refused(mount)
        finally:
            subprocess.run(["umount", "-l", mount], check=True)

    def mount_namespace(self) -> None:
        """As a container would see it: another mount namespace, where it is mounted elsewhere."""
        mount = self._place / "inside"
        mount.mkdir(exist_ok=True)
        script = f'mount --bind "$1" "$2" && exec {sys.executable} -m node.cli.main verify --data-dir "$2"'
        words = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", script, "sh", str(self.directory), str(mount)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=self._first._environment)
        assert done.returncode == IN_USE, done.stderr
        assert "error[storage.locked]" in done.stderr

    def second_user(self) -> None:
        """Who may enter the directory is told that it is in use, whatever he may do in it."""
        self._place.chmod(0o755)
        self.directory.chmod(0o755)
        try:
            self.refused(user=NOBODY)
        finally:
            self.directory.chmod(0o700)

    # While nothing runs

    def held_store(self) -> None:
        self._held(HOLDERS, layout.STATE)

    def held_store_without_its_lock(self) -> None:
        self._held(WRITERS, layout.STATE, remove="state/LOCK")

    def held_index(self) -> None:
        self._held(dict.fromkeys(HOLDERS, SQLITE), layout.INDEX)

    def held_store_under_suspicion(self) -> None:
        (self.directory / layout.SUSPECT).write_text("a test said so")
        try:
            self._held(HOLDERS, layout.STATE, start=False)
        finally:
            (self.directory / layout.SUSPECT).unlink()
            self._start()

    def _held(self, programs: Mapping[str, str], path: str, *, remove: str = "", start: bool = True) -> None:
        if self._first.is_running:
            assert self._first.stop() == 0, self._first.log()
        with holding(programs[engine_of(RealFs(self.directory))], self.directory / path):
            if remove:
                (self.directory / remove).unlink()
            held = listing(self.directory / path)
            self.refused()
            assert listing(self.directory / path) == held, f"{path} was changed"
        if start:
            self._start()

    def _start(self) -> None:
        self._first.start()
        self._rpc = self._first.rpc()


def listing(path: Path) -> set[str]:
    """Names in a directory, or the file's inode."""
    return {entry.name for entry in path.iterdir()} if path.is_dir() else {str(path.stat().st_ino)}


RUNNING: dict[str, Callable[[SecondNodes], None]] = {
    "nothing in the way": SecondNodes.nothing_in_the_way,
    "LOCK removed": SecondNodes.lock_removed,
    "LOCK replaced": SecondNodes.lock_replaced,
    "LOCK a link": SecondNodes.lock_linked,
    "through a link": SecondNodes.through_a_link,
    "copied directory": SecondNodes.copied,
    "directory of hard links": SecondNodes.linked_file_by_file,
    "hard links without LOCK": SecondNodes.linked_without_lock,
    "bind mount": SecondNodes.bind_mount,
    "another mount and PID namespace": SecondNodes.mount_namespace,
    "second user": SecondNodes.second_user,
}
STOPPED: dict[str, Callable[[SecondNodes], None]] = {
    "state store held": SecondNodes.held_store,
    "state store held, its LOCK removed": SecondNodes.held_store_without_its_lock,
    "state store held, and suspected": SecondNodes.held_store_under_suspicion,
    "index held": SecondNodes.held_index,
}
