"""Records and session files: the same bytes back, the same state elsewhere, and strangers' files refused."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.hashing import keccak256
from chain.state import Account
from chain.types import Address, Hash32
from debugger import moves, msgpack_shape, sharing
from debugger.breakpoints import Breakpoint
from debugger.diff import compare
from debugger.edits import Edit
from debugger.errors import (
    NotASessionFile,
    SessionDiverged,
    SessionError,
    SessionFileDamaged,
    SessionFileMalformed,
    SessionFileRefused,
    SessionFileTooLarge,
    SessionFileTooNew,
    SessionSignatureWrong,
    SessionStateMismatch,
)
from debugger.limits import FILE_BYTES, INFLATE_FREE, INFLATE_RATIO
from debugger.msgpack_shape import check_shape
from debugger.persist import decode_record, encode_record, record_of, restore
from debugger.program import Program
from debugger.session import Session
from debugger.sharing import ABOUT, MAGIC, RECORD, export_session, import_session, pack, sign_file, signer_of, unpack
from debugger.slices import finish
from debugger.trace3155 import trace_lines
from tests.paths import REPO
from tests.unit.debugger.programs import CALL_OTHER, MACHINE, REVERTING, length, programs, session, to_end
from tests.unit.vm.programs import OTHER, TARGET, MemoryState, code


@settings(max_examples=40, deadline=None)
@given(programs(), st.data())
def test_a_restored_record_equals_the_saved_one_byte_for_byte(chosen: Program, data: st.DataObject) -> None:
    run = session(chosen)
    end = length(run)
    run.set_breakpoint(Breakpoint("log"))
    run.rename("a name", ["one", "two"])
    finish(moves.seek(run, data.draw(st.integers(0, end))))
    if data.draw(st.booleans()) and run.halt() is None:
        run.edit(Edit("push", value=3))
        finish(moves.step(run, data.draw(st.integers(0, 5))))
    saved = encode_record(record_of(run))
    back = restore(decode_record(saved), MACHINE)
    assert encode_record(record_of(back)) == saved
    assert (back.state(), back.digest()) == (run.state(), run.digest())
    finish(moves.step(back))
    finish(moves.step(run))
    assert back.digest() == run.digest()


def world() -> MemoryState:
    """A state a call session runs on."""
    state = MemoryState()
    state.put(TARGET, CALL_OTHER + code(2, "SLOAD", 1, "SLOAD ADD", 5, "BLOCKHASH POP", 3, "SSTORE STOP"))
    state.put(OTHER, REVERTING, balance=5)
    state.slots = {TARGET: {1: 10, 2: 20, 99: 1}, OTHER: {3: 4}}
    return state


def called() -> Session:
    run = Session(Program(to="0x" + TARGET.hex()), MACHINE, world(), lambda n: Hash32(bytes([n]) * 32))
    finish(moves.step(run, 11))
    return run


def test_a_file_opens_elsewhere_with_the_same_state_and_trace() -> None:
    run = called()
    run.edit(Edit("push", value=1))
    imported = import_session(export_session(run, "look at this"))
    assert (imported.about.note, imported.about.is_complete) == ("look at this", True)
    assert run.step_index == 11
    back = restore(imported.record, MACHINE)
    assert back.state() == run.state()
    assert list(trace_lines(back)) == list(trace_lines(run))
    assert compare(run, back).is_equal
    to_end(back)
    to_end(run)
    assert back.digest() == run.digest()
    assert not back.base.below.assumed  # type: ignore[attr-defined]
    witness = {bytes(a.address): a for a in imported.record.witness.accounts}
    assert [slot for slot, _ in witness[TARGET].slots] == [b"\1", b"\2", b"\3"], "only what was read"


def test_a_session_on_another_state_has_diverged() -> None:
    run = called()
    to_end(run)
    other = world()
    other.slots[TARGET][1] = 11
    with pytest.raises(SessionDiverged):
        restore(record_of(run), MACHINE, other)
    with pytest.raises(SessionDiverged):
        restore(msgspec.structs.replace(record_of(run), position=10_000), MACHINE)


def test_equal_exports_are_equal_files() -> None:
    assert export_session(called()) == export_session(called())


def called_elsewhere() -> bytes:
    """The file of another session."""
    run = called()
    finish(moves.step(run))
    return export_session(run)


def test_a_signed_file_says_by_whom() -> None:
    imported = import_session(SIGNED)
    assert imported.record == import_session(GOOD).record
    assert signer_of(SIGNED) == KEY.public_key().public_bytes_raw()
    assert signer_of(GOOD) is None


def test_a_file_says_the_lowest_format_that_tells_all_it_holds() -> None:
    """Who reads format 1 only is told to use a later version, not that the file is damaged."""
    run = called()
    run.set_breakpoint(Breakpoint("memory_read", offset=4, length=8))
    newer = export_session(run)
    signed = sign_file(newer, lambda m: KEY.public_key().public_bytes_raw() + KEY.sign(m))
    assert [struct.unpack_from("<8sH", data)[1] for data in (GOOD, SIGNED, newer, signed)] == [1, 1, 2, 2]
    for data in (newer, signed):
        assert import_session(data).record.breakpoints == tuple(run.breakpoints.values())


# Files of strangers

GOOD = export_session(called())
SECTIONS = unpack(GOOD)[1]
FIELDS: dict[str, Any] = msgspec.msgpack.decode(SECTIONS[RECORD])


def container(content: bytes, count: int = 2, version: int = 1, level: int = 6) -> bytes:
    """A file with any content, its digest right."""
    body = zlib.compress(content, level)
    header = struct.pack("<32sI", blake2b(body, digest_size=32).digest(), count)
    return struct.pack("<8sHH", MAGIC, version, len(header)) + header + body


def section(kind: int, data: bytes) -> bytes:
    return struct.pack("<BI", kind, len(data)) + data


def with_record(data: bytes) -> bytes:
    return pack({ABOUT: SECTIONS[ABOUT], RECORD: data})


def changed(**fields: Any) -> bytes:
    """A file whose record has other fields."""
    return with_record(msgspec.msgpack.encode(FIELDS | fields))


def other_witness(change: Callable[[list[Any]], None]) -> bytes:
    witness = msgspec.msgpack.decode(msgspec.msgpack.encode(FIELDS["witness"]))
    change(witness)
    return changed(witness=witness)


def assign(*path: int, value: Any) -> Callable[[list[Any]], None]:
    def change(witness: list[Any]) -> None:
        inner = witness
        for index in path[:-1]:
            inner = inner[index]
        inner[path[-1]] = value

    return change


def branch(number: int, parent: int | None, step: int = 0, edits: tuple[Any, ...] = ()) -> dict[str, Any]:
    return {"id": number, "parent": parent, "step": step, "edits": edits, "name": ""}


def flipped(at: int) -> bytes:
    data = bytearray(GOOD)
    data[at] ^= 1
    return bytes(data)


SMALL = bytes(byte & 0x7F for byte in range(256))
"""Makes any bytes MessagePack's one-byte numbers."""
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def sealed(message: bytes) -> bytes:
    return KEY.public_key().public_bytes_raw() + KEY.sign(message)


SIGNED = sign_file(GOOD, sealed)
CONTENT = section(ABOUT, SECTIONS[ABOUT]) + section(RECORD, SECTIONS[RECORD])
NESTED = b"\x91" * 100_000 + b"\xc0"
DOUBLED = b"\x82" + b"\xa4name\xa1x" * 2

HOSTILE: dict[str, tuple[bytes, type[Exception]]] = {
    "empty": (b"", NotASessionFile),
    "text": (b"hello, this is not a session", NotASessionFile),
    "zip": (b"PK\x03\x04" + bytes(100), NotASessionFile),
    "pickle": (b"\x80\x04\x95" + bytes(50), NotASessionFile),
    "magic alone": (MAGIC, SessionFileDamaged),
    "version 0": (container(CONTENT, version=0), NotASessionFile),
    "future version": (container(CONTENT, version=3), SessionFileTooNew),
    "later version than needed": (container(CONTENT, version=2), SessionFileMalformed),
    "breakpoint of a later version": (
        changed(breakpoints=[{"kind": "memory_write", "id": 1}], breakpoint_ids=1), SessionFileMalformed
    ),
    "far future": (container(CONTENT, version=65535), SessionFileTooNew),
    "cut in the header": (GOOD[:30], SessionFileDamaged),
    "cut after the header": (GOOD[:48], SessionFileDamaged),
    "cut in the middle": (GOOD[: len(GOOD) // 2], SessionFileDamaged),
    "last byte missing": (GOOD[:-1], SessionFileDamaged),
    "a byte too many": (GOOD + b"\0", SessionFileDamaged),
    "digest flipped": (flipped(20), SessionFileDamaged),
    "body flipped": (flipped(100), SessionFileDamaged),
    "header size": (GOOD[:10] + b"\xff\xff" + GOOD[12:], SessionFileMalformed),
    "too large": (GOOD + bytes(FILE_BYTES), SessionFileTooLarge),
    "bomb": (container(bytes(200 << 20), level=9), SessionFileTooLarge),
    "bomb of sections": (container(section(3, bytes(64 << 20)), 1, level=9), SessionFileTooLarge),
    "small bomb": (container(bytes(1 << 20), level=9), SessionFileTooLarge),
    "not compressed": (
        (lambda b: struct.pack("<8sHH32sI", MAGIC, 1, 36, blake2b(b, digest_size=32).digest(), 2) + b)(b"plain"),
        SessionFileDamaged,
    ),
    "two streams": (
        (lambda b: struct.pack("<8sHH32sI", MAGIC, 1, 36, blake2b(b, digest_size=32).digest(), 2) + b)(
            zlib.compress(CONTENT) * 2
        ),
        SessionFileDamaged,
    ),
    "huge count": (container(CONTENT, 2**32 - 1), SessionFileTooLarge),
    "10,001 sections": (container(section(1, b"") * 10_001, 10_001), SessionFileTooLarge),
    "wrong count": (container(CONTENT, 3), SessionFileMalformed),
    "no sections": (container(b"", 0), SessionFileMalformed),
    "section doubled": (container(CONTENT + section(ABOUT, SECTIONS[ABOUT]), 3), SessionFileMalformed),
    "unknown section": (container(CONTENT + section(9, b""), 3), SessionFileMalformed),
    "record missing": (container(section(ABOUT, SECTIONS[ABOUT]), 1), SessionFileMalformed),
    "section too long": (container(struct.pack("<BI", 1, 2**32 - 1) + b"x", 1), SessionFileMalformed),
    "section cut": (container(CONTENT[:-3]), SessionFileMalformed),
    "section header cut": (container(CONTENT + b"\1\0"), SessionFileMalformed),
    "about no JSON": (pack({ABOUT: b"{", RECORD: SECTIONS[RECORD]}), SessionFileMalformed),
    "about nested": (pack({ABOUT: b"[" * 100_000, RECORD: SECTIONS[RECORD]}), SessionFileMalformed),
    "about unknown field": (
        pack({ABOUT: SECTIONS[ABOUT][:-1] + b',"run":"rm"}', RECORD: SECTIONS[RECORD]}), SessionFileMalformed
    ),
    "record nested": (with_record(NESTED), SessionFileTooLarge),
    "record doubled keys": (with_record(DOUBLED), SessionFileMalformed),
    "record cut": (with_record(SECTIONS[RECORD][:-1]), SessionFileMalformed),
    "record and more": (with_record(SECTIONS[RECORD] + b"\xc0"), SessionFileMalformed),
    "record of an array of billions": (with_record(b"\xdd\xff\xff\xff\xff"), SessionFileMalformed),
    "record of a map of billions": (with_record(b"\xdf\x7f\xff\xff\xff"), SessionFileMalformed),
    "record of a long string": (with_record(b"\xc6\x7f\xff\xff\xff"), SessionFileTooLarge),
    "record of two million values": (
        with_record(b"\xdd" + struct.pack(">I", 2_000_000) + random.Random(1).randbytes(2_000_000).translate(SMALL)),
        SessionFileTooLarge,
    ),
    "record of nothing": (with_record(b"\xc0"), SessionFileMalformed),
    "record of an extension": (with_record(b"\xc7\x01\x01\x00"), SessionFileMalformed),
    "not canonical": (
        with_record(msgspec.msgpack.encode(FIELDS, order="deterministic")), SessionFileMalformed
    ),
    "unknown field": (changed(exec="import os"), SessionFileMalformed),
    "missing field": (
        with_record(msgspec.msgpack.encode({k: v for k, v in FIELDS.items() if k != "digest"})),
        SessionFileMalformed,
    ),
    "record version": (changed(version=2), SessionFileMalformed),
    "wrong types": (changed(name=7), SessionFileMalformed),
    "negative position": (changed(position=-1), SessionFileMalformed),
    "endless position": (changed(position=2**62), SessionFileTooLarge),
    "name too long": (changed(name="x" * 1000), SessionFileMalformed),
    "tags too many": (changed(tags=["x"] * 100), SessionFileMalformed),
    "digest too short": (changed(digest=b"short"), SessionFileMalformed),
    "branch of nothing": (changed(branch=5), SessionFileMalformed),
    "branches missing": (changed(branches=[]), SessionFileMalformed),
    "branches in a circle": (changed(branches=[branch(0, None), branch(1, 2), branch(2, 1)]), SessionFileMalformed),
    "its own parent": (changed(branches=[branch(0, None), branch(1, 1)]), SessionFileMalformed),
    "root with edits": (
        changed(branches=[branch(0, None, 0, ({"kind": "pop"},))]), SessionFileMalformed
    ),
    "branches too many": (
        changed(branches=[branch(0, None), *(branch(i, 0) for i in range(1, 100))]), SessionFileMalformed
    ),
    "edits unordered": (
        changed(branches=[branch(0, None), branch(1, 0, 3, ({"kind": "pop", "step": 3}, {"kind": "pop"}))]),
        SessionFileMalformed,
    ),
    "breakpoint ids doubled": (
        changed(breakpoints=[{"kind": "log", "id": 1}] * 2, breakpoint_ids=2), SessionFileMalformed
    ),
    "breakpoint of no kind": (changed(breakpoints=[{"kind": "exec", "id": 1}], breakpoint_ids=1), SessionFileMalformed),
    "expression of Python": (
        changed(
            breakpoints=[{"kind": "expression", "id": 1, "expression": "__import__('os')"}], breakpoint_ids=1
        ),
        SessionFileMalformed,
    ),
    "program of nothing": (changed(program={}), SessionFileMalformed),
    "program of two": (changed(program={"code": "0x", "to": "0x" + "00" * 20}), SessionFileMalformed),
    "program of bad hex": (changed(program={"code": "0xzz"}), SessionFileMalformed),
    "program of much gas": (changed(program={"code": "0x", "gas": 2**63}), SessionFileMalformed),
    "program of a bad transaction": (changed(program={"transaction": "0x02c0"}), SessionFileMalformed),
    "wrong root": (changed(witness_root=bytes(32)), SessionStateMismatch),
    "balance altered": (other_witness(assign(0, -1, 3, value=b"\x77")), SessionStateMismatch),
    "slot altered": (other_witness(assign(0, -1, 6, 0, 1, value=b"\x77")), SessionStateMismatch),
    "code altered": (other_witness(assign(1, 0, value=b"\x60\x00")), SessionStateMismatch),
    "code missing": (other_witness(assign(1, value=[])), SessionStateMismatch),
    "code doubled": (other_witness(lambda w: w[1].append(w[1][0])), SessionFileMalformed),
    "accounts doubled": (other_witness(lambda w: w[0].append(w[0][-1])), SessionFileMalformed),
    "accounts unordered": (other_witness(lambda w: w[0].reverse()), SessionFileMalformed),
    "address too short": (other_witness(assign(0, 0, 0, value=b"\1")), SessionFileMalformed),
    "slots unordered": (other_witness(lambda w: w[0][-1][6].reverse()), SessionFileMalformed),
    "slot number padded": (other_witness(assign(0, -1, 6, 0, 0, value=b"\0\1")), SessionFileMalformed),
    "slot value too long": (other_witness(assign(0, -1, 6, 0, 1, value=b"\1" * 33)), SessionFileMalformed),
    "signature of other content": (
        SIGNED[:12] + called_elsewhere()[12:48] + SIGNED[48:144] + called_elsewhere()[48:], SessionSignatureWrong
    ),
    "signature altered": (SIGNED[:100] + bytes([SIGNED[100] ^ 1]) + SIGNED[101:], SessionSignatureWrong),
    "another's key": (SIGNED[:48] + bytes(32) + SIGNED[80:], SessionSignatureWrong),
    "signature cut": (SIGNED[:120], SessionFileDamaged),
    "signature of half": (struct.pack("<8sHH", MAGIC, 1, 84) + SIGNED[12:96] + SIGNED[144:], SessionFileMalformed),
    "block hash too short": (other_witness(assign(2, value=[[1, b"\1"]])), SessionFileMalformed),
}  # fmt: skip


def test_there_are_enough_hostile_files_and_the_good_one_is_good() -> None:
    assert len(HOSTILE) >= 50
    assert import_session(GOOD).record == decode_record(SECTIONS[RECORD])
    assert changed() == GOOD


class Counting:
    """zlib that counts what it gives out."""

    error = zlib.error
    inflated = 0

    def decompressobj(self) -> Counting:
        self._inflater = zlib.decompressobj()
        return self

    def decompress(self, data: bytes, limit: int) -> bytes:
        piece = self._inflater.decompress(data, limit)
        self.inflated += len(piece)
        return piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inflater, name)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_with_little_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What little work takes in time and memory, `tests.unit.node.test_import_worker` lets the kernel measure."""
    data, error = HOSTILE[name]
    counting, looks = Counting(), 0
    head = msgpack_shape._head

    def counted(content: bytes, at: int) -> tuple[int, int, int, bool]:
        nonlocal looks
        looks += 1
        return head(content, at)

    monkeypatch.setattr(sharing, "zlib", counting)
    monkeypatch.setattr(msgpack_shape, "_head", counted)
    with pytest.raises(error) as caught:
        import_session(data)
    assert isinstance(caught.value, SessionFileRefused)
    assert len(str(caught.value)) < 500
    assert counting.inflated <= max(INFLATE_FREE + 65_536, INFLATE_RATIO * len(data))
    assert looks <= msgpack_shape.ITEMS


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SECTIONS[RECORD]) - 1), st.binary(min_size=1, max_size=4))
def test_any_damage_inside_is_refused_or_harmless(at: int, damage: bytes) -> None:
    record = SECTIONS[RECORD][:at] + damage + SECTIONS[RECORD][at + len(damage) :]
    try:
        imported = import_session(with_record(record))
    except SessionFileRefused:
        return
    try:
        restore(imported.record, MACHINE).close()
    except SessionError:
        return


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_shapes_of_any_bytes(data: bytes) -> None:
    try:
        check_shape(data)
    except SessionFileRefused:
        return
    # What the look passes, the decoder reads without trouble of nesting or size.
    try:
        msgspec.msgpack.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    except TypeError:
        return  # keys that Python cannot hash


def test_repetitive_sessions_can_still_be_exported() -> None:
    state = world()
    big = bytes(20_000)
    state.put(OTHER, big)
    assert state.account(OTHER) == Account(0, 0, keccak256(big))
    run = Session(Program(to="0x" + TARGET.hex(), calldata="0x" + "00" * 200_000), MACHINE, state)
    imported = import_session(export_session(run))
    assert len(restore(imported.record, MACHINE).launch.calldata) == 200_000


def test_exports_hold_no_secrets_of_where_they_were_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Canaries in the environment, the working directory and the state's untouched part; none of them in the file."""
    canaries = ["canary-key-7f3a", "https://user:canary-pass@rpc.example", "canary-untouched"]
    monkeypatch.setenv("ZVMD_TOKEN", canaries[0])
    monkeypatch.setenv("ZVMD_PRIVATE_KEY", "0x" + canaries[0].encode().hex())
    monkeypatch.setenv("ZVMD_URL", canaries[1])
    folder = tmp_path / "canary-folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    state = world()
    state.put(Address(b"\x09" * 20), canaries[2].encode())
    run = Session(Program(to="0x" + TARGET.hex()), MACHINE, state)
    to_end(run)
    content = b"".join(unpack(export_session(run, "a note"))[1].values())
    for canary in (*canaries, "canary", str(Path.home()), str(tmp_path), str(REPO)):
        assert canary.encode() not in content
        assert canary.encode().hex().encode() not in content
