"""Files and folders of a data directory taken away under a loaded daemon; what it answered then, and how it ended.

Nothing here depends on how long something took: an answer to a request that was sent after the removal was complete has
to be in the log that lies at the path, and a daemon that ends with 0 has everything there that it ever answered.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from chain.hashing import keccak256
from storage.directory import layout
from storage.errors import StorageError
from storage.io.files import RealFs
from storage.wal import RecordType, inspect
from tests.contracts import dev_account
from tests.crash.forked_daemon import ForkedDaemon, Zygote
from tests.crash.load import BROKEN, RpcChannel
from tests.daemon import CHAIN_ID, DaemonFailed
from tests.rpc import RpcFailed

PANIC = 70
PATIENCE_SECONDS = 30.0
"""How long a daemon may take to end or to make a file anew: a bound on waiting, far above what it takes."""
LOAD_SECONDS = 0.06
AFTER_SECONDS = 0.04
TWIN = ".aside"
"""What is renamed goes beside the data directory, under this ending."""
SETTINGS = {"ZVMD_SESSIONS__FILE_BYTES": "65536", "ZVMD_STORAGE__EXPORT_SECONDS": "0.3"}


class End(NamedTuple):
    """How a daemon may go on after a removal."""

    ends: bool
    """It has to end with 70 by itself."""
    remade: bool = False
    """The file has to be there again."""
    either: bool = False
    """Whether it is in use is LevelDB's affair."""


ENDS, STAYS, REMADE, EITHER = End(True), End(False), End(False, True), End(False, either=True)
SMALL = ("token", "signing.key", "endpoints.json", "tls")


def expected(path: str, action: str) -> End:
    """By the table of `storage.presence`, for a path inside the data directory; empty: the directory itself."""
    top, _, rest = path.partition("/")
    same = action == "replaced by a copy"
    if action == "made read-only":
        return ENDS if path in ("", layout.WAL, layout.STATE) else EITHER
    if path in ("", layout.WAL, layout.STATE) or (top == layout.WAL and not rest.endswith(".tmp")):
        return ENDS
    if top == layout.STATE:
        if rest in ("CURRENT", "LOCK") or rest.startswith("MANIFEST"):
            return EITHER if action.startswith("replaced") else ENDS
        return EITHER
    if top == layout.SESSIONS:
        return STAYS if action.startswith("replaced") else ENDS
    if path == layout.LOCK or path in SMALL or top == "tls":
        return STAYS if action.startswith("replaced") else REMADE
    if path in (layout.GENESIS, layout.FORMAT):
        return REMADE if not action.startswith("replaced") else STAYS if same else ENDS
    return EITHER if top.startswith(layout.INDEX) else STAYS


def take_away(path: Path, aside: Path, action: str) -> bool:
    """Do it, whole before this returns; False if it could not be done, since the daemon works there too."""
    try:
        if action == "removed":
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        elif action == "renamed":
            path.rename(aside)
        elif action == "replaced by a copy":
            path.rename(aside)
            (shutil.copytree if aside.is_dir() else shutil.copy2)(aside, path)
        elif action == "replaced by garbage":
            other = aside.with_name("garbage")
            other.write_bytes(b"garbage\n" * 99)
            other.replace(path)
        else:
            subprocess.run(["mount", "--bind", path, path], check=True, capture_output=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True, capture_output=True)
    except (OSError, shutil.Error, subprocess.CalledProcessError):
        return False
    return True


ACTIONS = ("removed", "renamed", "replaced by a copy", "replaced by garbage", "made read-only")


class Load(threading.Thread):
    """Transfers one after another, each with the moment it was sent, until one is not answered."""

    def __init__(self, url: str, nonce: int) -> None:
        super().__init__(daemon=True)
        self._url, self._nonce = url, nonce
        self._account = dev_account(1)
        self.answered: list[tuple[float, bytes]] = []
        """When it was sent, and its hash."""
        self.stop = threading.Event()

    def run(self) -> None:
        """Until told to stop, or the daemon is gone."""
        channel = RpcChannel(self._url)
        try:
            while not self.stop.is_set():
                fields: dict[str, Any] = {
                    "type": 2, "chainId": CHAIN_ID, "nonce": self._nonce, "gas": 21_000, "maxFeePerGas": 10**11,
                    "maxPriorityFeePerGas": 10**9, "to": bytes(19) + b"\x77", "value": 1, "data": "0x",
                }  # fmt: skip
                signed = self._account.sign_transaction(fields)
                self._nonce += 1
                sent = time.monotonic()
                channel.send("0x" + bytes(signed.raw_transaction).hex())
                self.answered.append((sent, bytes(signed.hash)))
        except (*BROKEN, RpcFailed):
            return
        finally:
            channel.close()


def logged(directory: Path) -> set[bytes]:
    """Hashes of the transactions in the log that lies there now."""
    try:
        findings = list(inspect(RealFs(directory), layout.WAL))
    except (StorageError, OSError):
        return set()
    records = (finding.record for finding in findings if finding.sound and finding.record is not None)
    return {bytes(keccak256(record.payload)) for record in records if record.type == RecordType.TRANSACTION}


class Removals:
    """A directory with one of everything, copied for each run, and daemons out of a zygote."""

    def __init__(self, place: Path, zygote: Zygote | None = None) -> None:
        """``zygote``: one for the daemons, if there is one already."""
        self._place = place
        self.zygote, self._is_borrowed = zygote or Zygote(place / "zygote.log"), zygote is not None
        self._template = place / "template"
        self._nonce = 0
        self._make_template()

    def close(self) -> None:
        """End the zygote, unless it was borrowed."""
        if not self._is_borrowed:
            self.zygote.close()

    def _daemon(self, directory: Path) -> ForkedDaemon:
        daemon = ForkedDaemon(self.zygote, directory)
        daemon._environment.update(SETTINGS)
        return daemon

    def _make_template(self) -> None:
        """Sealed and compressed segments, a checkpoint, an export, a session in a file, a signing key."""
        daemon = self._daemon(self._template)
        daemon.start()
        load = Load(daemon.http_url, 0)
        load.start()
        rpc = daemon.rpc()
        session = rpc.call("zvmd_session_create", {"code": "0x" + "5b" * 80_000})
        rpc.call("zvmd_session_export", session["id"])
        end = time.monotonic() + PATIENCE_SECONDS
        while not (list(self._template.glob("wal/*.zst")) and list(self._template.glob("exports/*.snap"))):
            assert time.monotonic() < end, sorted(self._template.rglob("*"))
            time.sleep(0.05)
        load.stop.set()
        load.join()
        rpc.close()
        self._nonce = len(load.answered)
        assert daemon.stop() == 0, daemon.log()

    def run(self, seed: int) -> str:
        """One removal; what was done. Raises AssertionError for what must not be."""
        chance = random.Random(seed)
        directory = self._place / "data"
        shutil.copytree(self._template, directory)
        daemon = self._daemon(directory)
        path = action = ""
        load = Load(daemon.http_url, self._nonce)
        try:
            daemon.start()
            load.start()
            time.sleep(chance.uniform(0, LOAD_SECONDS))
            path, action = self._choose(chance, directory)
            begun = take_away(directory / path, directory.with_name("data" + TWIN), action)
            after = time.monotonic()
            time.sleep(chance.uniform(0, AFTER_SECONDS))
            if begun:
                self._judge(daemon, load, path, action, after, at_once=chance.random() < 0.3)
            return action if begun else "could not be done whole, since the daemon works there"
        except BaseException as error:
            error.add_note(f"seed {seed}, {action} {path!r}: {daemon.log(1500) if daemon.log_file.exists() else ''}")
            raise
        finally:
            load.stop.set()
            daemon.close()
            if load.is_alive():
                load.join(PATIENCE_SECONDS)
            self._clean(directory)

    def _choose(self, chance: random.Random, directory: Path) -> tuple[str, str]:
        paths = ["", *sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))]
        path = chance.choice(["", layout.WAL, layout.STATE, *paths, *paths])
        actions = [name for name in ACTIONS if (directory / path).is_file() or name != "replaced by garbage"]
        return path, chance.choice(actions)

    def _judge(
        self, daemon: ForkedDaemon, load: Load, path: str, action: str, after: float, *, at_once: bool
    ) -> None:
        directory, wanted = daemon.data_dir, expected(path, action)
        if at_once:
            status = daemon.stop()
        elif wanted.ends:
            status = daemon.wait(PATIENCE_SECONDS)
        else:
            if wanted.remade:
                until(lambda: (directory / path).exists(), f"{path} is not recreated")
            status = daemon.stop()
        load.stop.set()
        load.join(PATIENCE_SECONDS)
        there = logged(directory)
        lost = [name for _, name in load.answered if name not in there]
        late = [name for sent, name in load.answered if sent > after and name not in there]
        assert not late, f"{path!r} {action}: {len(late)} answers to requests sent afterwards are lost"
        assert status in (0, PANIC), f"{path!r} {action}: ended with {status}"
        assert status == PANIC or not lost, f"{path!r} {action}: ended with 0, though {len(lost)} answers are lost"
        if wanted.ends:
            assert status == PANIC, f"{path!r} {action}: ended with {status}"
        elif not wanted.either:
            assert status == 0, f"{path!r} {action}: ended with {status}"
        if status == PANIC:
            assert "error[" in daemon.log(), f"{path!r} {action}: no typed error"
        if not wanted.ends and not lost:
            self._comes_back(daemon, {name for _, name in load.answered})

    def _comes_back(self, daemon: ForkedDaemon, answered: set[bytes]) -> None:
        """With everything; unless the start says what is wrong with a file that was replaced."""
        if is_mounted(daemon.data_dir):
            return
        try:
            daemon.start()
        except DaemonFailed as error:
            if "error[" not in str(error):
                raise
            return
        rpc = daemon.rpc()
        asked = [("eth_getTransactionReceipt", ("0x" + name.hex(),)) for name in sorted(answered)[:20]]
        assert not asked or all(rpc.batch(asked)), "answered and lost"
        rpc.close()

    def _clean(self, directory: Path) -> None:
        for mount in reversed(mounts_below(directory.parent)):
            subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
        for path in (directory, directory.with_name("data" + TWIN)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        daemon_log = directory.with_name("data.log")
        daemon_log.unlink(missing_ok=True)


def until(done: Callable[[], bool], complaint: str) -> None:
    """Wait for it. Raises AssertionError."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < end, complaint
        time.sleep(0.01)


def mounts_below(place: Path) -> list[str]:
    """Mount points below a directory, oldest first."""
    rows = (line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines())
    return [row for row in rows if row.startswith(f"{place}{os.sep}")]


def is_mounted(directory: Path) -> bool:
    """Whether it, or something below it, is a mount point."""
    return any(row.startswith(str(directory)) for row in mounts_below(directory.parent))
