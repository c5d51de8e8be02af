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
    raise_stamp,
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


def test_an_older_version_is_stamped_anew_by_who_will_write() -> None:
    fs = SimFs()
    older = Stamp({**CURRENT, "wal": Version(1, 0)}, "0.0.9", "0.0.9")
    write_stamp(fs, older)
    take_directory(fs, "0.1.0")
    assert stamp_of(fs) == older, "a start that is refused changes nothing"
    raise_stamp(fs, "0.1.0")
    assert stamp_of(fs) == Stamp(CURRENT, "0.1.0", "0.1.0")
    raise_stamp(fs, "0.1.1")
    assert stamp_of(fs).writer == "0.1.0", "only another format rewrites it"


def test_no_version_is_lowered() -> None:
    """A later minor version of one store, written before a program without it: what it wrote is there still."""
    fs = SimFs()
    later = {**CURRENT, "state": Version(CURRENT["state"].major, 99)}
    write_stamp(fs, Stamp(later, "1.5.0", "1.0.0"))
    raise_stamp(fs, "0.1.0")
    assert stamp_of(fs) == Stamp(later, "1.5.0", "1.0.0")
    write_stamp(fs, Stamp({**later, "wal": Version(2, 4)}, "1.5.0", "1.0.0"))
    raise_stamp(fs, "0.1.0")
    assert stamp_of(fs) == Stamp(later, "0.1.0", "1.0.0")


def test_the_stamp_names_critical_records_that_a_log_may_hold() -> None:
    """They may lie before the checkpoint, where no start reads."""
    fs = SimFs()
    write_stamp(fs, Stamp(CURRENT, "1.5.0", "1.4.0", ("FORK_BASE", "FORK_READ")))
    before = fs.read_file(FORMAT)
    for _ in range(2):
        with pytest.raises(StoreTooNew, match=r"FORK_BASE, FORK_READ; written by zvmd 1\.5\.0, readable from 1\.4\.0"):
            take_directory(fs, "0.1.0")
    with pytest.raises(StoreTooNew):
        raise_stamp(fs, "0.1.0")
    assert fs.read_file(FORMAT) == before
    with pytest.raises(DataDirectoryDamaged):
        decode_stamp(encode_stamp(Stamp(CURRENT, "1.5.0", "1.4.0", ("X",) * 257)))


def test_programs_of_log_format_2_refuse_this_one() -> None:
    """Their rule: a store's major version is at most theirs."""
    assert CURRENT["wal"].major > 2


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
