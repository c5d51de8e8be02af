"""The FORMAT stamp: written first, checked at every boot, refused when newer or damaged."""

from __future__ import annotations

from contextlib import suppress

import pytest

from storage.directory.layout import FORMAT
from storage.directory.stamp import (
    CURRENT,
    Stamp,
    Version,
    decode_stamp,
    encode_stamp,
    take_directory,
    write_stamp,
)  # fmt: skip
from storage.errors import DataDirectoryDamaged, DataDirectoryLocked, StoreTooNew
from tests.simulation.simfaults import SimCrash
from tests.simulation.simfs import SimFs


def test_the_first_boot_writes_the_stamp_and_later_ones_read_it() -> None:
    fs = SimFs()
    lock = take_directory(fs, "0.1.0")
    assert stamp_of(fs) == Stamp(CURRENT, "0.1.0", "0.1.0")
    with pytest.raises(DataDirectoryLocked):
        take_directory(fs, "0.1.0")
    lock.release()
    take_directory(fs, "0.2.0")
    assert stamp_of(fs).writer == "0.1.0", "only another format rewrites it"


def test_an_older_minor_version_is_stamped_anew() -> None:
    fs = SimFs()
    write_stamp(fs, Stamp({**CURRENT, "wal": Version(1, 0)}, "0.0.9", "0.0.9"))
    take_directory(fs, "0.1.0")
    assert stamp_of(fs) == Stamp(CURRENT, "0.1.0", "0.1.0")


def stamp_of(fs: SimFs) -> Stamp:
    return decode_stamp(fs.read_file(FORMAT))


def test_later_formats_are_refused_with_exit_67() -> None:
    for stores in ({**CURRENT, "wal": Version(CURRENT["wal"].major + 1, 0)}, {**CURRENT, "unheard of": Version(1, 0)}):
        fs = SimFs()
        write_stamp(fs, Stamp(stores, "9.1.0", "9.0.0"))
        with pytest.raises(StoreTooNew, match=r"9\.0\.0") as caught:
            take_directory(fs, "0.1.0")
        assert caught.value.exit_code == 67
        with pytest.raises(StoreTooNew):  # and the lock was given back
            take_directory(fs, "0.1.0")
    fs = SimFs()
    write_stamp(fs, Stamp({**CURRENT, "wal": Version(1, 7)}, "1.5.0", "1.0.0"))
    take_directory(fs, "0.1.0")


def test_every_flipped_bit_of_the_stamp_is_noticed() -> None:
    data = encode_stamp(Stamp(CURRENT, "0.1.0", "0.1.0"))
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DataDirectoryDamaged):
            decode_stamp(bytes(changed))
    for length in range(len(data)):
        with pytest.raises(DataDirectoryDamaged):
            decode_stamp(data[:length])


def test_data_without_a_stamp_is_refused() -> None:
    fs = SimFs()
    fs.makedirs("wal")
    with pytest.raises(DataDirectoryDamaged, match="wal is there") as caught:
        take_directory(fs, "0.1.0")
    assert caught.value.exit_code == 65


def test_a_crash_at_every_call_of_the_first_boot() -> None:
    for call in range(30):
        fs = SimFs()
        fs.crash_at(call)
        with suppress(SimCrash):
            take_directory(fs, "0.1.0")
        fs.crash()
        for _, image in fs.survivors(call):
            take_directory(image, "0.1.0")
            assert stamp_of(image).writer == "0.1.0"
