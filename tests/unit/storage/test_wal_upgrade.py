"""Logs of format 2.4 and earlier open, are sealed where they end, and go on in a segment that their programs refuse."""

from __future__ import annotations

from contextlib import suppress
from errno import ENOSPC
from functools import partial

import pytest

from storage.directory.layout import FORMAT
from storage.directory.stamp import CURRENT, Stamp, Version, decode_stamp, raise_stamp, write_stamp
from storage.errors import StorageFull
from storage.wal.format import SEGMENT_HEADER_SIZE, VERSION
from tests.simulation.simfaults import Fault, SimCrash
from tests.unit.storage.wal_of_others import (
    KNOWN,
    Entry,
    as_of_format_1,
    entries,
    files,
    filling,
    log_of,
    opened,
    segments,
    versions,
)

LOGS: dict[str, tuple[tuple[Entry, ...], ...]] = {
    "empty": (),
    "a record": ((KNOWN,),),
    "groups": ((KNOWN, KNOWN), (KNOWN,)),
    "a full segment": (filling(),),
    "two segments": (filling(), (KNOWN,)),
}


@pytest.mark.parametrize("name", LOGS)
def test_it_goes_on_in_a_new_segment(name: str) -> None:
    whole = [entry for group in LOGS[name] for entry in group]
    fs = as_of_format_1(log_of(*LOGS[name]))
    old = segments(fs)
    log = opened(fs)
    assert log.scan_report.cut is None
    assert entries(log, unknown=True) == whole
    assert versions(fs) == [1] * len(old) + [VERSION]
    assert log.append(*KNOWN[:2]) == len(whole) + 1
    log.flush()
    log.close()
    for _ in range(2):
        fs = fs.restart()
        log = opened(fs, read_from=0)
        assert entries(log, unknown=True) == [*whole, KNOWN]
        assert versions(fs) == [1] * len(old) + [VERSION], "once"
        log.close()


def test_programs_of_format_2_4_refuse_the_new_segment() -> None:
    """Their rule (`decode_segment_header` of then): the minimum reader at offset 10 is at most 1."""
    fs = as_of_format_1(log_of((KNOWN,)))
    (old,) = segments(fs)
    opened(fs)
    new = segments(fs)[-1]
    assert fs.content(old)[8:12] == b"\x01\0\x01\0"
    assert fs.content(new)[8:12] == b"\x02\0\x02\0"


def test_a_torn_tail_of_it_is_cut_as_ever() -> None:
    fs = as_of_format_1(log_of((KNOWN,), (KNOWN,)))
    (path,) = segments(fs)
    content = bytearray(fs.content(path))
    content[SEGMENT_HEADER_SIZE + 48] ^= 1  # in the second record, which is the last group
    fs.replace(path, bytes(content))
    fs.remove("wal/watermark")
    log = opened(fs)
    assert log.scan_report.cut is not None
    assert entries(log, unknown=True) == [KNOWN]
    assert versions(fs) == [1, VERSION]


@pytest.mark.parametrize("name", ["empty", "groups", "two segments"])
def test_a_crash_at_every_call_of_the_first_start(name: str) -> None:
    whole = [entry for group in LOGS[name] for entry in group]
    images = 0
    for call in range(200):
        fs = as_of_format_1(log_of(*LOGS[name]))
        fs.crash_at(call)
        with suppress(SimCrash):
            log = opened(fs, read_from=0)
            log.append(*KNOWN[:2])
            log.flush()
            assert versions(fs)[-1] == VERSION
            break
        fs.crash()
        for _, image in fs.survivors(call, 6):
            images += 1
            log = opened(image, read_from=0)
            found = entries(log, unknown=True)
            assert found in (whole, [*whole, KNOWN]), "what was not acknowledged may be there"
            log.append(*KNOWN[:2])
            log.flush()
            log.close()
            again = opened(image.restart(), read_from=0)
            assert entries(again, unknown=True) == [*found, KNOWN]
            assert versions(image)[-1] == VERSION
    assert images > 20


def test_the_stamp_says_so_before_the_first_segment_of_this_version_is_there() -> None:
    """In every state that a power loss may leave: a program of 2.4 is refused by the stamp, if it has to be."""
    older = Stamp({**CURRENT, "wal": Version(2, 4)}, "0.1.0", "0.1.0")
    seen = set()
    for call in range(200):
        fs = as_of_format_1(log_of((KNOWN,)))
        write_stamp(fs, older)
        fs = fs.restart()
        fs.crash_at(call)
        with suppress(SimCrash):
            opened(fs, before_change=partial(raise_stamp, fs, "0.2.0"))
            break
        fs.crash()
        for _, image in fs.survivors(call, 8):
            stamp = decode_stamp(image.read_file(FORMAT))
            assert stamp in (older, Stamp(CURRENT, "0.2.0", "0.2.0"))
            assert VERSION not in versions(image) or stamp.stores == CURRENT
            seen.add((stamp.stores == CURRENT, VERSION in versions(image)))
    assert seen == {(False, False), (True, False), (True, True)}


def test_without_room_for_the_new_segment_the_start_is_repeated() -> None:
    fs = as_of_format_1(log_of((KNOWN,)))
    opened(fs)
    refused = 0
    for call in range(fs.calls):
        fs = as_of_format_1(log_of((KNOWN,)))
        fs.fail_at(Fault(call, ENOSPC, forever=True))
        try:
            opened(fs)
        except StorageFull:
            refused += 1
        fs.recover_from_faults()
        log = opened(fs.restart())
        assert entries(log, unknown=True) == [KNOWN]
    assert refused > 3


def test_a_refused_start_leaves_it_to_its_program() -> None:
    fs = as_of_format_1(log_of((KNOWN,)))
    before = files(fs)

    def refuse() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        opened(fs, before_change=refuse)
    assert files(fs) == before
