"""A pruned log as the log sees it: where it begins is believed if the file and the first segment both say so."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import DataLossRefused, WalCorrupt, WalPruned
from storage.io.files import FileSystem
from storage.wal import RecordType, Wal, WalIdentity, inspect
from storage.wal.bounds import Beginning, read_beginning, write_beginning
from storage.wal.repair import accept_loss
from storage.wal.segments import begin_pruned, remove_pruned, segment_name, survey
from tests.simulation.simfs import SimFs

CHAIN = WalIdentity(genesis_hash=bytes(range(32)), chain_id=31337)
RECORDS = 24
EXPORT = "exports/some.snap"


def payload(lsn: int) -> bytes:
    return b"%04d" % lsn * 350


def filled() -> SimFs:
    """Twelve segments of two records each."""
    fs = SimFs()
    log = Wal.open(fs, "wal", CHAIN, segment_size=8192)
    for lsn in range(1, RECORDS + 1):
        log.append(RecordType.TRANSACTION, payload(lsn))
        log.flush()
    log.close()
    return fs.restart()


def beginnings(fs: FileSystem) -> list[Beginning]:
    """Every place between two segments."""
    segments = survey(fs, "wal", CHAIN).segments
    return [
        Beginning(segment.header.sequence + 1, segment.footer.last_lsn, segment.footer.chain, EXPORT)
        for segment in segments[:-1]
        if segment.footer is not None
    ]


def pruned(number: int) -> tuple[SimFs, Beginning]:
    fs = filled()
    beginning = beginnings(fs)[number]
    write_beginning(fs, "wal", beginning)
    remove_pruned(fs, "wal", [f"wal/{segment_name(sequence)}" for sequence in range(beginning.sequence)])
    return fs.restart(), beginning


def read(fs: FileSystem, from_lsn: int = 0) -> list[int]:
    log = Wal.open(fs, "wal", CHAIN)
    found = []
    for record in log.records(from_lsn):
        assert record.payload == payload(record.lsn)
        found.append(record.lsn)
    assert log.first_lsn == found[0] or from_lsn
    return found


def test_what_is_left_is_read_and_goes_on() -> None:
    for number in range(len(beginnings(filled()))):
        fs, beginning = pruned(number)
        assert all(finding.sound for finding in inspect(fs, "wal"))
        assert read(fs) == list(range(beginning.first_lsn, RECORDS + 1))
        fs = fs.restart()
        assert read(fs, beginning.first_lsn + 1)[0] == beginning.first_lsn + 1
        log = Wal.open(fs.restart(), "wal", CHAIN)
        with pytest.raises(WalPruned, match=f"begins at LSN {beginning.first_lsn}"):
            list(log.records(beginning.last_lsn))
        assert log.append(RecordType.TRANSACTION, b"more") == RECORDS + 1


def names(fs: SimFs) -> list[str]:
    return [name for name in fs.listdir("wal") if name.endswith(".seg")]


def damaged() -> Iterator[tuple[str, SimFs]]:
    fs, _ = pruned(3)
    left = names(fs)
    for name in left[:-1]:
        other = fs.restart()
        other.unlink(f"wal/{name}")
        yield f"without {name}", other
    for first, second in permutations(left[:-1], 2):
        other = fs.restart()
        other.rename(f"wal/{first}", f"wal/{second}")
        yield f"{first} as {second}", other
    for number, beginning in enumerate(beginnings(filled())):
        if number != 3:
            other = fs.restart()
            write_beginning(other, "wal", beginning)
            yield f"beginning with segment {beginning.sequence}", other
    other = fs.restart()
    other.unlink("wal/beginning")
    yield "without the file", other
    for name in left:
        other.unlink(f"wal/{name}")
    yield "nothing", other


def test_nothing_else_is_believed() -> None:
    refused = 0
    for what, fs in damaged():
        if what.startswith("beginning") and int(what.split()[-1]) > 4:
            continue  # a later beginning is what a prune that was killed leaves
        with pytest.raises(WalCorrupt) as error:
            Wal.open(fs, "wal", CHAIN, witness_lsn=RECORDS)
        assert error.value.exit_code == 65, what
        refused += 1
    assert refused > 40


def test_segments_before_the_beginning_go_at_the_next_start() -> None:
    fs = filled()
    beginning = beginnings(fs)[5]
    write_beginning(fs, "wal", beginning)
    fs = fs.restart()
    assert {finding.verdict for finding in inspect(fs, "wal")} >= {"beginning", "pruned"}
    assert read(fs)[0] == beginning.first_lsn
    assert names(fs)[0] == segment_name(beginning.sequence)


def test_loss_is_accepted_behind_the_beginning() -> None:
    fs, beginning = pruned(3)
    lost = beginnings(filled())[6]
    fs.unlink(f"wal/{segment_name(lost.sequence)}")
    with pytest.raises(DataLossRefused, match=f"LSN {lost.first_lsn}"):
        accept_loss(fs, "wal", CHAIN, lost.first_lsn + 1)
    accept_loss(fs, "wal", CHAIN, lost.first_lsn)
    assert read(fs.restart()) == list(range(beginning.first_lsn, lost.first_lsn))
    fs, beginning = pruned(3)
    fs.unlink(f"wal/{segment_name(beginning.sequence)}")
    with pytest.raises(DataLossRefused):
        accept_loss(fs, "wal", CHAIN, beginning.first_lsn)


@given(st.integers(0, 2**63), st.integers(0, 2**63), st.binary(min_size=16, max_size=16), st.text(min_size=1))
def test_it_says_what_was_written(sequence: int, lsn: int, chain: bytes, export: str) -> None:
    fs, beginning = SimFs(), Beginning(sequence, lsn, chain, export)
    fs.makedirs("wal")
    write_beginning(fs, "wal", beginning)
    assert read_beginning(fs, "wal") == beginning


def test_a_log_may_be_made_that_begins_later() -> None:
    fs = SimFs()
    fs.makedirs("wal")
    begin_pruned(fs, "wal", CHAIN, Beginning(7, 99, bytes(16), EXPORT))
    log = Wal.open(fs, "wal", CHAIN, segment_size=8192)
    assert (log.first_lsn, log.next_lsn) == (100, 100)
    assert [log.append(RecordType.TRANSACTION, b"a"), log.flush()] == [100, 100]
