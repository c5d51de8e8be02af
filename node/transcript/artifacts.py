"""ABIs on disk: compilers' artifacts in folders that the user names, and those kept of contracts deployed from here."""

from __future__ import annotations

import json
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from chain.hashing import keccak256
from node.api.errors import AbiRefused
from node.transcript.abis import Abis, abi_entries, contract_of

FILES_MAX: Final = 10_000
"""Files of all folders that are looked at."""
FILE_MAX_BYTES: Final = 8 * 2**20
"""A larger file is passed over."""
KEPT_MAX: Final = 256
"""ABIs kept in the data directory; the oldest make room."""
KEPT_MAX_BYTES: Final = 2**20
"""Largest ABI that is kept."""
KEPT_DIRECTORY: Final = "abi"
LOOK_AGAIN_SECONDS: Final = 2.0
"""Folders are read again at most so often, and only when something unknown is met."""
_PASSED_OVER: Final = ("build-info", "node_modules", "cache")

log = logging.getLogger(__name__)
"""The standard library's: commands, which configure no log, print nothing of its debug lines."""


class Artifacts:
    """Adds to `Abis` what it finds in folders of Foundry (``out``) and Hardhat (``artifacts``), and what was kept."""

    def __init__(
        self, data_dir: Path | None, folders: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``data_dir``: where ABIs are kept; None keeps none."""
        self._kept = None if data_dir is None else data_dir / KEPT_DIRECTORY
        self._folders = [Path(folder).expanduser() for folder in folders]
        if self._kept is not None:
            self._folders.insert(0, self._kept)
        self._clock = clock
        self._looked: float | None = None
        self._read: dict[Path, int] = {}
        """Modification time of files that were read, ns."""

    def look(self, abis: Abis) -> None:
        """Read files that are new or changed, unless that was done a moment ago."""
        now = self._clock()
        if self._looked is not None and now - self._looked < LOOK_AGAIN_SECONDS:
            return
        self._looked = now
        for path in self._files():
            try:
                status = path.stat()
                is_readable = stat.S_ISREG(status.st_mode) and status.st_size <= FILE_MAX_BYTES
                if not is_readable or self._read.get(path) == status.st_mtime_ns:
                    continue
                self._read[path] = status.st_mtime_ns
                _add(abis, path)
            except (OSError, ValueError, RecursionError) as error:  # being written, or no artifact
                log.debug("no ABI in %s: %s", path, error)

    def keep(self, abis: Abis, name: str, abi: object, code_hash: bytes) -> None:
        """Know the ABI of contracts with this runtime code, now and after restarts. Raises `AbiRefused`."""
        assert self._kept is not None
        try:
            contract = contract_of(name, abi)
        except ValueError as error:
            raise AbiRefused(f"the ABI of {name[:80]!r} cannot be used: {error}") from None
        content = json.dumps({"contractName": name, "abi": abi, "codeHash": code_hash.hex()}).encode()
        if len(content) > KEPT_MAX_BYTES:
            raise AbiRefused(f"an ABI of {len(content)} bytes; the limit is {KEPT_MAX_BYTES}")
        try:
            self._kept.mkdir(exist_ok=True)
            beside = self._kept / f"{code_hash.hex()}.new"
            beside.write_bytes(content)
            beside.replace(beside.with_suffix(".json"))
            kept = sorted(self._kept.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
            for path in kept[:-KEPT_MAX]:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise AbiRefused(f"the ABI cannot be kept: {error}") from None
        abis.add(contract, code_hash)

    def _files(self) -> Iterator[Path]:
        count = 0
        for folder in self._folders:
            for parent, folders, names in os.walk(folder):
                folders[:] = sorted(set(folders).difference(_PASSED_OVER))
                for name in sorted(names):
                    if not name.endswith(".json") or name.endswith(".dbg.json"):
                        continue
                    count += 1
                    if count > FILES_MAX:
                        log.warning("more than %d files with ABIs: not all of %s is read", FILES_MAX, folder)
                        return
                    yield Path(parent, name)


def _add(abis: Abis, path: Path) -> None:
    """Add the contract of one file. Raises `ValueError` for a file without an ABI."""
    value = json.loads(path.read_bytes())
    contract = contract_of(contract_name(path, value), abi_entries(value))
    abis.add(contract, _code_hash(value))


def contract_name(path: Path, value: Any) -> str:
    """The name in a compiler's JSON, else the file's."""
    name = value.get("contractName") if isinstance(value, dict) else None
    return name if isinstance(name, str) and name else path.stem


def _code_hash(value: Any) -> bytes | None:
    """The hash of the runtime code in a compiler's JSON; None if it is not known before the deployment."""
    if not isinstance(value, dict):
        return None
    known = value.get("codeHash")
    if isinstance(known, str):
        return bytes.fromhex(known)
    code = value.get("deployedBytecode")
    if isinstance(code, dict):
        if code.get("immutableReferences"):
            return None
        code = code.get("object")
    if not isinstance(code, str) or len(code) <= 2 or value.get("immutableReferences"):
        return None
    try:
        return keccak256(bytes.fromhex(code.removeprefix("0x")))
    except ValueError:  # libraries are not linked yet
        return None
