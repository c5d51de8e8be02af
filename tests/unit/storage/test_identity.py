"""A damaged genesis.json is refused, whichever bit it is, and never read as another chain."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from chain.forks import Fork
from chain.genesis import Genesis, dev_genesis
from storage.directory.identity import CHECKSUM, read_genesis, write_genesis
from storage.directory.layout import GENESIS, WAL
from storage.errors import DataDirectoryDamaged
from storage.io.files import RealFs

SMALL = replace(dev_genesis(31_337, [], Fork.OSAKA, 30_000_000, timestamp=1_700_000_000), alloc={})


def read(directory: Path, content: bytes) -> Genesis | None:
    """What is read of this file, None if it is refused."""
    (directory / GENESIS).write_bytes(content)
    return look(directory)


def look(directory: Path) -> Genesis | None:
    try:
        return read_genesis(RealFs(directory))
    except DataDirectoryDamaged:
        return None


def written(directory: Path) -> bytes:
    write_genesis(RealFs(directory), SMALL)
    return (directory / GENESIS).read_bytes()


def test_every_flipped_bit_is_refused_or_without_effect(tmp_path: Path) -> None:
    """Before there was a checksum, a flip in a fork's time or a blob target made another chain of the next block."""
    content = written(tmp_path)
    assert read(tmp_path, content) == SMALL
    refused = 0
    with (tmp_path / GENESIS).open("r+b", buffering=0) as file:
        for bit in range(len(content) * 8):
            hurt = bytearray(content)
            hurt[bit // 8] ^= 1 << bit % 8
            file.seek(0)
            file.write(hurt)
            found = look(tmp_path)
            assert found in (None, SMALL), bit
            refused += found is None
    assert refused > len(content) * 8 - 8 * len(CHECKSUM) - 8


@pytest.mark.parametrize("content", [b"", b"\0" * 900, b"[]", b"null", b"{}", b"[" * 100_000, b"\xff\xfe{"])
def test_what_is_no_genesis_is_refused(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content) is None
    for cut in range(0, len(whole := written(tmp_path)), 97):
        assert read(tmp_path, whole[:cut]) is None
    assert read(tmp_path, whole + b"x") is None


def test_a_missing_file_is_a_new_directory_only_without_a_log(tmp_path: Path) -> None:
    fs = RealFs(tmp_path)
    assert read_genesis(fs) is None
    fs.makedirs(WAL)
    with pytest.raises(DataDirectoryDamaged, match="missing"):
        read_genesis(fs)


def test_files_of_before_the_checksum_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, json.dumps(SMALL.to_json()).encode()) == SMALL
