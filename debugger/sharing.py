"""Session files: self-contained, versioned, compressed and with a digest; untrusted files are parsed defensively.

    magic "ZVMDSESS" · version u16 · header length u16 (header: BLAKE2b-256 of all that follows the header,
    section count u32, and if it is signed Ed25519 public key and signature) · compressed sections: for each,
    kind u8, length u32, bytes · little-endian

Section 1 is JSON for people (who wrote it, names), section 2 the `SessionRecord` as MessagePack. No paths, no
code of ours, nothing compressed twice; importing runs nothing. Limits are those of `debugger.limits`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

import msgspec

from chain.errors import ZvmdError
from debugger.errors import (
    NotASessionFile,
    SessionFileDamaged,
    SessionFileMalformed,
    SessionFileRefused,
    SessionFileTooLarge,
    SessionFileTooNew,
    SessionSignatureWrong,
)
from debugger.limits import (
    FILE_BYTES,
    FILE_SECTIONS,
    INFLATE_FREE,
    INFLATE_RATIO,
    INFLATED_BYTES,
)
from debugger.memory_access import TOUCHES
from debugger.msgpack_shape import check_shape
from debugger.persist import SessionRecord, check_record, complete_witness, decode_record, encode_record, record_of
from debugger.session import Session
from debugger.slices import Slices, finish

MAGIC: Final = b"ZVMDSESS"
VERSION: Final = 2
"""The latest format. A file has the lowest that tells all it holds (`version_of`), so that older programs open it."""
_START: Final = struct.Struct("<8sHH")
_HEADER: Final = struct.Struct("<32sI")
_SEAL: Final = struct.Struct("<32s64s")
_SECTION: Final = struct.Struct("<BI")
_SIGNED: Final = b"ZVMDSESS signed\0"
"""Prefix of the signed message, before digest and section count."""
ABOUT: Final = 1
RECORD: Final = 2
_SLICE: Final = 65_536


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file's description of itself, for display; it is not trusted."""

    name: str
    tags: tuple[str, ...]
    fork: str
    position: int
    is_complete: bool
    """Whether the file has all state that the program reads up to its end, on every branch."""
    note: str = ""


class Imported(msgspec.Struct, frozen=True):
    """A validated file."""

    about: About
    record: SessionRecord
    digest: bytes
    """BLAKE2b-256 of the content: the file's identity."""


def export_session(session: Session, note: str = "") -> bytes:
    """The session as a file. Runs ahead, on executions of its own, to learn what state it needs.

    Raises `SessionFileTooLarge`.
    """
    return finish(export_slices(session, note))


def export_slices(session: Session, note: str = "") -> Slices[bytes]:
    """`export_session` in slices: others may work after every ``yield``."""
    is_complete = yield from complete_witness(session)
    record = record_of(session)
    about = About(
        record.name, record.tags, session.launch.environment.fork.name.lower(), record.position, is_complete, note
    )
    return pack({ABOUT: msgspec.json.encode(about), RECORD: encode_record(record)}, version_of(record))


def version_of(record: SessionRecord) -> int:
    """The format version a record needs: 2 for breakpoints on memory."""
    return 2 if any(point.kind in TOUCHES for point in record.breakpoints) else 1


def pack(sections: dict[int, bytes], version: int = 1) -> bytes:
    """A file of sections. Raises `SessionFileTooLarge`."""
    content = b"".join(_SECTION.pack(kind, len(data)) + data for kind, data in sections.items())
    # A level that keeps ordinary content below the ratio limit; content of mere repetition is stored.
    body = zlib.compress(content, 6)
    if len(content) > max(INFLATE_FREE, INFLATE_RATIO * len(body)):
        body = zlib.compress(content, 0)
    header = _HEADER.pack(blake2b(body, digest_size=32).digest(), len(sections))
    data = _START.pack(MAGIC, version, len(header)) + header + body
    if len(data) > FILE_BYTES or len(content) > INFLATED_BYTES:
        raise SessionFileTooLarge(f"{len(data)} bytes; session files have at most {FILE_BYTES}")
    return data


def sign_file(data: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """The file of `pack`, signed. ``sign`` gives Ed25519 public key and signature of a message."""
    _, version, _ = _START.unpack_from(data)
    header = data[_START.size : _START.size + _HEADER.size]
    seal = sign(_SIGNED + header)
    return _START.pack(MAGIC, version, len(header) + len(seal)) + header + seal + data[_START.size + _HEADER.size :]


def signer_of(data: bytes) -> bytes | None:
    """Public key that a file is signed with; None: it is not signed."""
    _, _, header_size = _START.unpack_from(data)
    return data[_START.size + _HEADER.size :][:32] if header_size > _HEADER.size else None


def _check_seal(header: bytes, seal: bytes) -> None:
    from debugger.signatures import is_signed  # loads a library that few nodes need

    public, signature = _SEAL.unpack(seal)
    if not is_signed(_SIGNED + header, public, signature):
        raise SessionSignatureWrong("the signature is not that of the key beside it")


def import_session(data: bytes) -> Imported:
    """Parse and validate a file; nothing in it is executed.

    Raises a `SessionFileRefused` subclass; `debugger.persist.restore` then makes the session.
    """
    digest, sections = unpack(data)
    if set(sections) != {ABOUT, RECORD}:
        raise SessionFileMalformed(f"sections {sorted(sections)} instead of {ABOUT} and {RECORD}")
    try:
        about = msgspec.json.decode(sections[ABOUT], type=About)
        check_shape(sections[RECORD])
        record = decode_record(sections[RECORD])
        if encode_record(record) != sections[RECORD]:
            raise SessionFileMalformed("the record is not in canonical form")
        if _START.unpack_from(data)[1] != version_of(record):
            raise SessionFileMalformed(f"a record of format {version_of(record)} in a file of another")
        check_record(record)
    except SessionFileRefused:
        raise
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SessionFileMalformed(str(error)[:300]) from None
    except ZvmdError as error:
        raise SessionFileMalformed(f"{error.code}: {error}"[:300]) from error
    return Imported(about, record, digest)


def unpack(data: bytes) -> tuple[bytes, dict[int, bytes]]:
    """Digest and sections of a file. Raises a `SessionFileRefused` subclass."""
    if len(data) > FILE_BYTES:
        raise SessionFileTooLarge(f"{len(data)} bytes; session files have at most {FILE_BYTES}")
    if data[: len(MAGIC)] != MAGIC:
        raise NotASessionFile("does not begin with ZVMDSESS")
    if len(data) < _START.size:
        raise SessionFileDamaged("cut short in its first bytes")
    _, version, header_size = _START.unpack_from(data)
    if version > VERSION:
        raise SessionFileTooNew(f"format {version}; this version reads up to {VERSION}")
    if version < 1:
        raise NotASessionFile(f"format {version}")
    body_at = _START.size + header_size
    if header_size not in (_HEADER.size, _HEADER.size + _SEAL.size):
        raise SessionFileMalformed(f"a header of {header_size} bytes")
    if len(data) < body_at:
        raise SessionFileDamaged("cut short in its header")
    digest, count = _HEADER.unpack_from(data, _START.size)
    if count > FILE_SECTIONS:
        raise SessionFileTooLarge(f"{count} sections; the limit is {FILE_SECTIONS}")
    body = data[body_at:]
    if blake2b(body, digest_size=32).digest() != digest:
        raise SessionFileDamaged("the content has another digest")
    if header_size > _HEADER.size:
        header = data[_START.size : _START.size + _HEADER.size]
        _check_seal(header, data[_START.size + _HEADER.size : body_at])
    return digest, _sections(_inflate(body), count)


def _inflate(body: bytes) -> bytes:
    """Decompress in slices, checking size and ratio."""
    inflater = zlib.decompressobj()
    out = bytearray()
    pending = body
    try:
        while not inflater.eof:
            piece = inflater.decompress(pending, _SLICE)
            if not piece and not inflater.unconsumed_tail and not inflater.eof:
                break  # cut short
            out += piece
            pending = inflater.unconsumed_tail
            consumed = len(body) - len(pending) - len(inflater.unused_data)
            if len(out) > INFLATED_BYTES:
                raise SessionFileTooLarge(f"inflates beyond {INFLATED_BYTES} bytes")
            # Input in the inflater's own buffer counts as consumed, so the ratio is never overstated.
            if len(out) > INFLATE_FREE and len(out) > INFLATE_RATIO * max(consumed, 1):
                raise SessionFileTooLarge(f"inflates more than {INFLATE_RATIO} to 1")
    except zlib.error as error:
        raise SessionFileDamaged(f"not zlib data: {error}") from None
    if not inflater.eof or inflater.unused_data:
        raise SessionFileDamaged("compressed data ends too early or too late")
    return bytes(out)


def _sections(content: bytes, count: int) -> dict[int, bytes]:
    sections: dict[int, bytes] = {}
    at = 0
    while at < len(content):
        if len(content) - at < _SECTION.size:
            raise SessionFileMalformed("a section is cut short")
        kind, size = _SECTION.unpack_from(content, at)
        at += _SECTION.size
        if size > len(content) - at:
            raise SessionFileMalformed("a section is longer than the file")
        if kind in sections:
            raise SessionFileMalformed(f"section {kind} is there twice")
        sections[kind] = content[at : at + size]
        at += size
    if len(sections) != count:
        raise SessionFileMalformed(f"{len(sections)} sections, {count} announced")
    return sections
